//! The value of an app client's secret. It can be compared and given away on purpose; it cannot be printed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::{Error, Result};

/// A client secret. Keyward's own are 24 to 64 characters of `[A-Za-z0-9_+]`, Cognito's rule for values of one's own
/// (`AddUserPoolClientSecret`); one that was taken over, or that a backend chose, may have others. Wiped from memory when
/// dropped; `Debug` is censored; there is no `Display`.
#[derive(Clone)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// A new secret from 32 random bytes: 64 hexadecimal characters, which Cognito's rule admits.
    pub fn from_entropy(entropy: &Zeroizing<[u8; 32]>) -> Self {
        ClientSecret(Zeroizing::new(hex::encode(entropy.as_slice())))
    }

    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let fits = (24..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'+');
        if fits {
            Ok(ClientSecret(Zeroizing::new(text.to_owned())))
        } else {
            Err(Error::invalid(field, "must be 24 to 64 characters of [A-Za-z0-9_+]"))
        }
    }

    /// One that somebody else chose: 1 to 256 printable ASCII characters without spaces. Cognito's own are `[A-Za-z0-9_+]`,
    /// but what stands in for Cognito makes others, and RFC 6749 (appendix A.2) allows them.
    pub fn parse_foreign(field: &str, text: &str) -> Result<Self> {
        if (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(ClientSecret(Zeroizing::new(text.to_owned())))
        } else {
            Err(Error::invalid(field, "must be 1 to 256 printable ASCII characters without spaces"))
        }
    }

    /// Whether this is the secret's value. In constant time for values of one length.
    pub fn is(&self, value: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), value.as_bytes()).is_ok()
    }

    /// The value itself. Every use is a place where the secret leaves: to Cognito, to the vault, to `RevealClientSecret`.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for ClientSecret {
    /// In constant time for values of one length.
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for ClientSecret {}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(censored)")
    }
}

impl Serialize for ClientSecret {
    /// For the document that the vault seals; nothing else that is serialised holds a secret.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        ClientSecret::parse_foreign("client_secret", &text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = ClientSecret::from_entropy(&Zeroizing::new([7; 32]));
        assert_eq!(format!("{secret:?}"), "ClientSecret(censored)");
        let error = ClientSecret::parse("client_secret", "too short but private").expect_err("invalid");
        assert!(!format!("{error:?}").contains("private"));
    }

    #[test]
    fn a_secret_of_somebody_elses_may_have_another_form() {
        for given in ["short", "with/slash+and=more", "1example23456789abcdefghijklmnopqrstuvwxyz0123456789"] {
            let secret = ClientSecret::parse_foreign("client_secret", given).expect(given);
            assert_eq!(format!("{secret:?}"), "ClientSecret(censored)");
            let stored = serde_json::to_string(&secret).expect("JSON");
            assert_eq!(serde_json::from_str::<ClientSecret>(&stored).expect("read back"), secret);
        }
        for bad in ["", "with space", "line\nbreak", "\u{e9}", &"x".repeat(257)] {
            let error = ClientSecret::parse_foreign("client_secret", bad).expect_err("invalid");
            assert!(bad.is_empty() || !format!("{error:?}").contains(bad));
        }
    }

    #[test]
    fn what_is_generated_is_what_cognito_admits() {
        let secret = ClientSecret::from_entropy(&Zeroizing::new([255; 32]));
        assert_eq!(ClientSecret::parse("s", secret.expose()).expect("valid"), secret);
    }
}
