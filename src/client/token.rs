//! A token as it is handed on.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tonic::codegen::http::HeaderValue;
use zeroize::Zeroizing;

use crate::proto;

/// An access token. Cheap to clone; `Debug` is censored; its text is wiped with the last clone.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    text: Zeroizing<String>,
    expire_time: Timestamp,
    scopes: Vec<String>,
}

impl Token {
    /// `None` where there is no token, or no instant, in it.
    pub(super) fn read(message: proto::AccessToken) -> Option<Self> {
        let proto::AccessToken { access_token, expire_time, scopes, .. } = message;
        let text = Zeroizing::new(access_token);
        let expire_time = super::wire::timestamp(expire_time)?;
        // What could not be a header is nothing that a token is made of.
        HeaderValue::from_str(&text).ok()?;
        (!text.is_empty()).then(|| Token(Arc::new(Inner { text, expire_time, scopes })))
    }

    /// The token itself. Every use is a place where it leaves the process.
    pub fn expose(&self) -> &str {
        &self.0.text
    }

    /// By the broker's clock.
    pub fn expire_time(&self) -> Timestamp {
        self.0.expire_time
    }

    /// The full scopes that it grants, in ascending order.
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// `Bearer` and the token, marked as sensitive.
    pub fn bearer(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.expose()));
        // It was one when it was read.
        let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Token");
        out.field("expire_time", &self.0.expire_time).field("scopes", &self.0.scopes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_printed_and_what_is_none_is_not_taken_for_one() {
        let message = |text: &str| proto::AccessToken {
            access_token: text.to_owned(),
            expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            ..Default::default()
        };
        let token = Token::read(message("eyJhbGciOi")).expect("a token");
        assert_eq!(token.bearer(), "Bearer eyJhbGciOi");
        let printed = format!("{token:?} {:?}", token.bearer());
        assert!(!printed.contains("eyJ"), "{printed}");
        for none in [message(""), message("a\nb"), proto::AccessToken { expire_time: None, ..message("eyJ") }] {
            assert!(Token::read(none).is_none());
        }
    }
}
