//! Revocation, which Cognito does not have for these tokens and so is Keyward's own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::id::{ClientName, Issuer, RevocationId, TenantId};

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevocationTarget {
    /// One token, by its `jti`.
    Token(TokenId),
    /// Every token of a client issued before `issued_before`.
    Client(ClientName),
    /// Every token of a tenant issued before `issued_before`.
    Tenant(TenantId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub id: RevocationId,
    pub target: RevocationTarget,
    /// The issuer of a token that was given whole; a bare `jti` counts for every issuer.
    pub issuer: Option<Issuer>,
    pub issued_before: Option<Timestamp>,
    pub reason: String,
    pub create_time: Timestamp,
    /// No token that this revokes can be valid after this moment.
    pub expire_time: Timestamp,
}

/// The `jti` of a token: 1 to 128 printable ASCII characters without spaces (Cognito's are UUIDs).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl TokenId {
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(TokenId(text.to_owned()))
        } else {
            Err(Error::invalid(field, "must be 1 to 128 printable ASCII characters without spaces"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        TokenId::parse("jti", &text)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> String {
        id.0
    }
}

/// A revoked `jti`, looked up by every verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    pub token: TokenId,
    /// `None`: whichever issuer it is of.
    pub issuer: Option<Issuer>,
    pub revocation: RevocationId,
    pub expire_time: Timestamp,
}
