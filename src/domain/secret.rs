//! The value of an app client's secret. It can be compared and given away on purpose; it cannot be printed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::{Error, Result};

/// A client secret: 24 to 64 characters of `[A-Za-z0-9_+]`, Cognito's rule for values of one's own
/// (`AddUserPoolClientSecret`). Wiped from memory when dropped; `Debug` is censored; there is no `Display`.
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

    /// The value itself. Every use is a place where the secret leaves: to Cognito, to the vault, to `RevealClientSecret`.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for ClientSecret {
    /// In constant time for values of one length.
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
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
        ClientSecret::parse("client_secret", &text).map_err(serde::de::Error::custom)
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
    fn what_is_generated_is_what_cognito_admits() {
        let secret = ClientSecret::from_entropy(&Zeroizing::new([255; 32]));
        assert_eq!(ClientSecret::parse("s", secret.expose()).expect("valid"), secret);
    }
}
