//! An AWS identity's credential: a presigned request for `GetCallerIdentity`, taken apart.
//!
//! Whoever signs such a request proves to STS, and so to whoever passes it on, which identity they have. What others have
//! got wrong with it is what this file is strict about: a host, path, method or header that the caller chooses
//! (CVE-2020-16250 of HashiCorp Vault), parameters twice, in another case, or unknown ones that STS reads differently
//! (CVE-2022-2385 of aws-iam-authenticator), and a request that was signed for somebody else, who then passes it on here.
//! Hence nothing of the URL is sent on: it is read into known parts, each with one form, and a new request is written from
//! them. A caller can only choose values, and STS holds those to the signature.
//!
//! The last is what the signed header `x-keyward-broker` is for: it names this broker, so a request that was signed for
//! another is not one for here.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::form::hex_byte;
use crate::domain::jws::MAX_TOKEN_BYTES;
use crate::domain::partition::Partition;

/// What the credential begins with, after `Bearer `. Base64url of the URL follows, without padding.
pub const PREFIX: &str = "keyward-aws-v1.";
/// The header that binds a request to one broker. It is signed, in lower case, beside `host`.
pub const BROKER_HEADER: &str = "x-keyward-broker";

/// The longest that a signature may be good for, and the oldest that it may be. STS itself says 15 minutes.
pub const LONGEST_LIFE: Duration = Duration::from_secs(900);

const SIGNED_HEADERS: &str = "host;x-keyward-broker";

/// The parameters of such a request, each with its exact name, in the order of their names.
const ACTION: &str = "Action";
const VERSION: &str = "Version";
const ALGORITHM: &str = "X-Amz-Algorithm";
const CREDENTIAL: &str = "X-Amz-Credential";
const DATE: &str = "X-Amz-Date";
const EXPIRES: &str = "X-Amz-Expires";
const SECURITY_TOKEN: &str = "X-Amz-Security-Token";
const SIGNATURE: &str = "X-Amz-Signature";
const SIGNED: &str = "X-Amz-SignedHeaders";
const NAMES: [&str; 9] = [ACTION, VERSION, ALGORITHM, CREDENTIAL, DATE, EXPIRES, SECURITY_TOKEN, SIGNATURE, SIGNED];

/// A presigned request of which every part is what it must be, but for the signature, which only STS can check.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    region: String,
    date: Timestamp,
    life: Duration,
    /// In the order of [`NAMES`]; the security token is only there for temporary credentials.
    values: [Option<String>; NAMES.len()],
}

/// What is wrong with a credential, in words that hold nothing of it.
pub type Problem = &'static str;

impl Presigned {
    /// Takes a credential apart, its [`PREFIX`] included. Reads it once, whatever it is.
    pub fn read(credential: &str) -> Result<Self, Problem> {
        if credential.len() > MAX_TOKEN_BYTES {
            return Err("it is longer than 16,384 bytes");
        }
        let encoded = credential.strip_prefix(PREFIX).ok_or("it does not begin with keyward-aws-v1.")?;
        let url = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| "it is not base64url")?;
        let url = std::str::from_utf8(&url).map_err(|_| "it is not a URL")?;
        Presigned::of_url(url)
    }

    fn of_url(url: &str) -> Result<Self, Problem> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err("its URL has characters that no such URL has");
        }
        let rest = url.strip_prefix("https://").ok_or("its URL is not https")?;
        let (host, query) = rest.split_once("/?").ok_or("its URL has another path than /")?;
        let region = region_of(host).ok_or("its host is not sts.<region>.<domain of AWS>")?;
        let values = values(query)?;
        let value = |name| NAMES.iter().position(|known| *known == name).and_then(|at| values[at].as_deref());

        let is = |name, wanted: &str| value(name) == Some(wanted);
        if !is(ACTION, "GetCallerIdentity") || !is(VERSION, "2011-06-15") {
            return Err("it asks for something else than GetCallerIdentity of 2011-06-15");
        }
        if !is(ALGORITHM, "AWS4-HMAC-SHA256") {
            return Err("its algorithm is not AWS4-HMAC-SHA256");
        }
        if !is(SIGNED, SIGNED_HEADERS) {
            return Err("its signed headers are not host;x-keyward-broker");
        }
        let text = value(DATE).ok_or("it has no date")?;
        let date = instant(text).ok_or("its date is not YYYYMMDD'T'HHMMSS'Z'")?;
        let scope: Vec<&str> = value(CREDENTIAL).unwrap_or_default().split('/').collect();
        let is_scoped = match scope.as_slice() {
            [key, day, of, "sts", "aws4_request"] => is_key_id(key) && text.starts_with(day) && *of == region,
            _ => false,
        };
        if !is_scoped || scope[1].len() != 8 {
            return Err("its credential is not a key id for STS in the Region of its host, on the day of its date");
        }
        let seconds = value(EXPIRES).and_then(number).filter(|seconds| (1..=LONGEST_LIFE.as_secs()).contains(seconds));
        let life = Duration::from_secs(seconds.ok_or("its life is not 1 to 900 seconds")?);
        let is_hex =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !value(SIGNATURE).is_some_and(is_hex) {
            return Err("its signature is not 64 hexadecimal digits");
        }
        if value(SECURITY_TOKEN).is_some_and(str::is_empty) {
            return Err("its security token is empty");
        }
        Ok(Presigned { region: region.to_owned(), date, life, values })
    }

    /// The Region whose STS it is for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The host that it was signed for.
    pub fn host(&self) -> String {
        let domain = Partition::of(&self.region).map_or("", |partition| partition.api);
        format!("sts.{}.{domain}", self.region)
    }

    /// Until when it holds, where it does at `now`. `leeway` allows for the caller's clock being a little ahead.
    pub fn valid_until(&self, now: Timestamp, leeway: Duration) -> Result<Timestamp, Problem> {
        let end = self.date.saturating_add(self.life).unwrap_or(Timestamp::MIN);
        if now >= end {
            return Err("it has expired");
        }
        if self.date > now.saturating_add(leeway).unwrap_or(Timestamp::MAX) {
            return Err("it was signed in the future");
        }
        Ok(end)
    }

    /// The query of the request to STS, written anew: names in order, everything but unreserved characters escaped
    /// (canonical, as Signature Version 4 has it).
    pub fn query(&self) -> String {
        let mut query = String::new();
        for (name, value) in NAMES.iter().zip(&self.values) {
            let Some(value) = value else { continue };
            let separator = if query.is_empty() { "" } else { "&" };
            query.push_str(separator);
            query.push_str(name);
            query.push('=');
            escape(value, &mut query);
        }
        query
    }
}

/// Holds a signature that is as good as a password while it lasts.
impl std::fmt::Debug for Presigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presigned").field("region", &self.region).field("date", &self.date).finish_non_exhaustive()
    }
}

fn region_of(host: &str) -> Option<&str> {
    let (region, domain) = host.strip_prefix("sts.")?.split_once('.')?;
    (Partition::of(region)?.api == domain).then_some(region)
}

/// Each known parameter once and no other.
fn values(query: &str) -> Result<[Option<String>; NAMES.len()], Problem> {
    let mut values: [Option<String>; NAMES.len()] = Default::default();
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').ok_or("a parameter has no value")?;
        // Names are compared as they are: an escaped one is an unknown one.
        let at = NAMES.iter().position(|known| *known == name).ok_or("it has an unknown parameter")?;
        let value = unescaped(value).ok_or("a value is not escaped as it must be")?;
        if values[at].replace(value).is_some() {
            return Err("it has a parameter twice");
        }
    }
    Ok(values)
}

/// RFC 3986, section 2.1; of a value that is printable ASCII. A `+` would be a space to some and a plus to others.
fn unescaped(text: &str) -> Option<String> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let byte = match first {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                hex_byte(digits)?
            }
            b'+' | b'=' => return None,
            byte => byte,
        };
        value.push(char::from(Some(byte).filter(u8::is_ascii_graphic)?));
    }
    Some(value)
}

fn escape(value: &str, into: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            byte => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Digits alone, without a zero in front.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// `20260101T000000Z`.
fn instant(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let part = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i16>().ok())?
    };
    let small = |range| part(range).and_then(|number| i8::try_from(number).ok());
    let (year, month, day) = (part(0..4)?, small(4..6)?, small(6..8)?);
    let (hour, minute, second) = (small(9..11)?, small(11..13)?, small(13..15)?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// IAM's rule for `AccessKeyId`: 16 to 128 word characters.
fn is_key_id(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
#[path = "presigned_tests.rs"]
mod tests;
