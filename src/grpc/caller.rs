//! What a call's metadata says about its caller: the call's id, and the credentials.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use tonic::codegen::http::{HeaderMap, HeaderValue};

/// The header in which a caller may give a call's id, and in which every answer carries it.
pub const CALL_ID_HEADER: &str = "x-request-id";

/// The values of all `authorization` headers of a call.
pub fn authorization(headers: &HeaderMap) -> Vec<&[u8]> {
    headers.get_all("authorization").iter().map(HeaderValue::as_bytes).collect()
}

/// The caller's own id where it is 1 to 64 characters of `[A-Za-z0-9._-]`, otherwise a new one of 16 hexadecimal
/// digits. It ties log lines together and proves nothing.
pub fn call_id(given: Option<&HeaderValue>) -> Arc<str> {
    let fits = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match given.and_then(|id| id.to_str().ok()).filter(fits) {
        Some(id) => Arc::from(id),
        // Randomly keyed by the standard library, and unable to fail.
        None => Arc::from(format!("{:016x}", RandomState::new().build_hasher().finish())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_kept_when_it_is_harmless() {
        let id = |text: &str| call_id(Some(&HeaderValue::from_str(text).expect("header"))).to_string();
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
