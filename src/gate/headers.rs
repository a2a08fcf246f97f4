//! What a call's headers say about its caller: the call's id, and the credentials.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use hyper::http::{HeaderMap, HeaderValue};

/// The header in which a caller may give a call's id, and in which every answer carries it.
pub const CALL_ID_HEADER: &str = "x-request-id";

/// The values of all `authorization` headers of a call.
pub fn authorization(headers: &HeaderMap) -> Vec<&[u8]> {
    headers.get_all("authorization").iter().map(HeaderValue::as_bytes).collect()
}

/// The caller's own id where it is 1 to 64 characters of `[A-Za-z0-9._-]`, otherwise a new one of 16 hexadecimal
/// digits. It ties log lines together and proves nothing.
pub fn call_id(given: Option<&HeaderValue>) -> Arc<str> {
    match harmless(given) {
        Some((_, id)) => Arc::from(id),
        None => Arc::from(format!("{:016x}", new_id())),
    }
}

/// The same as it is sent, without a copy of a given one.
pub fn call_id_value(given: Option<&HeaderValue>) -> Option<HeaderValue> {
    match harmless(given) {
        Some((value, _)) => Some(value.clone()),
        None => {
            let mut digits = [0; 16];
            hex::encode_to_slice(new_id().to_be_bytes(), &mut digits).ok()?;
            HeaderValue::from_bytes(&digits).ok()
        }
    }
}

fn harmless(given: Option<&HeaderValue>) -> Option<(&HeaderValue, &str)> {
    let value = given?;
    let id = value.to_str().ok()?;
    let fits = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    fits.then_some((value, id))
}

/// Randomly keyed by the standard library, and unable to fail.
fn new_id() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_kept_when_it_is_harmless() {
        let id = |text: &str| {
            let given = HeaderValue::from_str(text).expect("header");
            let (id, value) = (call_id(Some(&given)), call_id_value(Some(&given)).expect("one"));
            assert!(value.len() == id.len() && (value == *id || *id != *text), "{id} {value:?}");
            id.to_string()
        };
        assert_eq!(id("a.B-9_z"), "a.B-9_z");
        assert_eq!(id(&"x".repeat(64)), "x".repeat(64));
        for bad in ["", "a b", "a\tb", "{}", &"x".repeat(65)] {
            let made = id(bad);
            assert_eq!(made.len(), 16, "{bad:?} gave {made}");
            assert!(made.bytes().all(|b| b.is_ascii_hexdigit()));
        }
        assert_ne!(call_id(None), call_id(None));
    }
}
