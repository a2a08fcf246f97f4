//! Messages of the contract as the broker's requests, with every field checked for form.
//!
//! Strict: what is malformed, out of range, or for a feature that this broker does not offer is INVALID_ARGUMENT and
//! names the field by the path that the caller wrote. Nothing is dropped silently, and nothing here asks the broker.

pub mod audit;
pub mod authorizer;
pub mod catalog;
pub mod check;
pub mod client;
pub mod import;
mod interactive;
mod mask;
pub mod page;
mod provider;
pub mod sign_in;
pub mod tenant;
pub mod token;
pub mod trust;
mod url;
mod user_pool;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::error::{Error, Result};
use crate::domain::id::{PoolId, TenantId};

/// Nanoseconds of one second.
const NANOS: i32 = 1_000_000_000;
/// The longest `google.protobuf.Duration`: about 10,000 years.
const MAX_DURATION_SECONDS: i64 = 315_576_000_000;
/// 0001-01-01T00:00:00Z, the first `google.protobuf.Timestamp`.
const MIN_TIMESTAMP_SECONDS: i64 = -62_135_596_800;
/// The longest etag, in bytes.
const MAX_ETAG: usize = 64;

/// One tenant, or `None` for all, `tenants/-`.
pub fn one_or_all(field: &str, name: &str) -> Result<Option<TenantId>> {
    if name == "tenants/-" { Ok(None) } else { TenantId::from_name(field, name).map(Some) }
}

/// A pool, `pools/{pool}`.
pub fn pool(name: &str) -> Result<PoolId> {
    match name.strip_prefix("pools/") {
        Some(id) => PoolId::parse("pool", id),
        None => Err(Error::invalid("pool", "must be pools/{pool}")),
    }
}

/// A message that must be there.
pub fn required<T>(field: &str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| Error::invalid(field, "is required"))
}

/// A span of time, which has no sign here.
pub fn duration(field: &str, given: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    let Some(given) = given else { return Ok(None) };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(given.seconds), u32::try_from(given.nanos)) else {
        return Err(Error::invalid(field, "must not be negative"));
    };
    if given.nanos >= NANOS || given.seconds > MAX_DURATION_SECONDS {
        return Err(Error::invalid(field, "is not a valid google.protobuf.Duration"));
    }
    Ok(Some(Duration::new(seconds, nanos)))
}

/// An instant from the year 1 to 9999.
pub fn timestamp(field: &str, given: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>> {
    let Some(given) = given else { return Ok(None) };
    let invalid = || Error::invalid(field, "is not a valid google.protobuf.Timestamp");
    if !(0..NANOS).contains(&given.nanos) || given.seconds < MIN_TIMESTAMP_SECONDS {
        return Err(invalid());
    }
    Timestamp::new(given.seconds, given.nanos).map(Some).map_err(|_| invalid())
}

/// A value that the enum knows. The unspecified one is for the caller of this function to judge.
pub fn enumeration<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E> {
    E::try_from(number).map_err(|_| Error::invalid(field, format!("{number} is not one of its values")))
}

/// Words for people: at most `most` characters, none of them a control character.
pub fn words(field: &str, text: &str, most: usize) -> Result<()> {
    if text.chars().count() > most || text.chars().any(char::is_control) {
        let rule = format!("must be at most {most} characters, none of them a control character");
        return Err(Error::invalid(field, rule));
    }
    Ok(())
}

/// The reason that a caller gives for the audit log.
pub fn reason(text: &str) -> Result<()> {
    words("reason", text, 512)
}

/// The version that an etag stands for, `None` when there is no etag. One that this broker never made cannot be that
/// of the resource as it now is.
pub fn etag(resource: impl fmt::Display, given: &str) -> Result<Option<u64>> {
    if given.is_empty() {
        return Ok(None);
    }
    let digits = given.strip_prefix('v').filter(|digits| {
        given.len() <= MAX_ETAG && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
    });
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(version) => Ok(Some(version)),
        None => Err(Error::etag_mismatch(resource)),
    }
}

/// A field of a feature that this broker does not have: it may not be set.
pub fn not_offered(field: &str, is_set: bool) -> Result<()> {
    if is_set { Err(Error::invalid(field, "this broker does not offer it")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
