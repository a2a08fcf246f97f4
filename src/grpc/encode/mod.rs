//! The broker's views as messages of the contract.

mod audit;
mod authorizer;
mod catalog;
pub mod check;
mod client;
mod drift;
mod fleet;
mod provider;
mod sign_in;
mod tenant;
mod token;
mod trust;

use std::time::Duration;

use jiff::Timestamp;

pub use audit::audit_event;
pub use authorizer::authorizer;
pub use catalog::{pool, quotas, resource_server};
pub use client::{client, planned_rotation, revealed, revocation, rotation};
pub use drift::reconciled;
pub use fleet::fleet_progress;
pub use sign_in::matched;
pub use tenant::{isolation, issuer_type, tenant};
pub use token::{access_token, framed, framed_access_token, verdict};
pub use trust::trust;

use crate::domain::id::Issuer;
use crate::domain::scope::ScopeSet;

pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    // jiff counts nanoseconds before 1970 backwards, protobuf always forwards.
    match time.subsec_nanosecond() {
        nanos if nanos < 0 => prost_types::Timestamp { seconds: time.as_second() - 1, nanos: nanos + 1_000_000_000 },
        nanos => prost_types::Timestamp { seconds: time.as_second(), nanos },
    }
}

pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// The etag of a record's version; [`decode::etag`](super::decode::etag) reads it. Version 0 is of what was only tried.
pub fn etag(version: u64) -> String {
    if version == 0 { String::new() } else { format!("v{version}") }
}

fn scopes(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A display name, or the id where there is none.
fn display_name(name: String, id: impl ToString) -> String {
    if name.is_empty() { id.to_string() } else { name }
}

fn issuer(issuer: Option<Issuer>) -> String {
    issuer.map(String::from).unwrap_or_default()
}
