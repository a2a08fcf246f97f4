//! Sealing tokens for other brokers, and opening what they have sealed.
//!
//! A sealed token is bound to whom and what it is for: client, stamp, app client, scopes. Copied into another place it does
//! not open. The key is derived from one that an operator gives to every broker, and from the table's name.
//!
//! Sealed are four lines: when it was issued, when it expires, the scopes granted, and the token.

use std::str;

use jiff::Timestamp;

use super::held::Stamp;
use crate::broker::ports::token_shelf::{SealedToken, TokenPlace};
use crate::domain::client::Client;
use crate::domain::error::{Error, Result};
use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;
use crate::sealing::{MasterKey, Place, Root, Seal};

/// The key of the tokens that the brokers of one table share.
pub struct TokenKey {
    id: String,
    seal: Seal,
}

impl TokenKey {
    /// `table` need not be secret; the same master key has another token key for another table.
    pub fn derive(master: &MasterKey, table: &str) -> Result<Self> {
        let root = Root::of(master, table.as_bytes());
        let failed = |_| Error::internal("deriving the key of shared tokens", "the cryptography library failed");
        let id = root.bytes("keyward/v1/token-key-id").map_err(failed)?;
        let seal = root.seal("keyward/v1/tokens").map_err(failed)?;
        Ok(TokenKey { id: hex::encode(&id[..8]), seal })
    }

    /// Names the key and says nothing of it: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn seal(&self, purpose: &Purpose, token: &AccessToken) -> Result<SealedToken> {
        let head = format!("{}\n{}\n{}\n", token.issue_time, token.expire_time, token.scopes);
        // At its full size at once, since a vector that grows leaves a copy of what it held.
        let mut content = Vec::with_capacity(head.len() + token.expose().len());
        content.extend(head.as_bytes());
        content.extend(token.expose().as_bytes());
        let sealed = self.seal.seal(Place(purpose.parts()), content);
        let bytes = sealed.map_err(|_| Error::internal("sealing a token", "the cryptography library failed"))?;
        Ok(SealedToken { key_id: self.id.clone(), bytes })
    }

    /// `None` for one that was sealed with another key or for another purpose, or was changed.
    pub(super) fn open(&self, purpose: &Purpose, sealed: &SealedToken) -> Option<AccessToken> {
        if sealed.key_id != self.id {
            return None;
        }
        let content = self.seal.open(Place(purpose.parts()), sealed.bytes.clone()).ok()?;
        let mut lines = str::from_utf8(&content).ok()?.splitn(4, '\n');
        let mut time = || lines.next()?.parse::<Timestamp>().ok();
        let (issue_time, expire_time) = (time()?, time()?);
        let scopes = ScopeSet::from_claim(lines.next()?);
        Some(AccessToken::new(lines.next()?.to_owned(), issue_time, expire_time, scopes))
    }
}

/// All that a token is bound to.
pub(super) struct Purpose {
    parts: [String; 7],
    pub place: TokenPlace,
}

impl Purpose {
    /// With the app client that the record says: one that is replaced has places of its own, and a token of it that is
    /// held somewhere stays there.
    pub fn new(client: &Client, stamp: &Stamp, scopes: &ScopeSet) -> Self {
        let text = |part: Option<String>| part.unwrap_or_default();
        let parts = [
            client.name.to_string(),
            stamp.client_uid.clone(),
            stamp.epoch.to_string(),
            stamp.scopes_version.to_string(),
            text(stamp.not_before.map(|time| time.to_string())),
            text(client.app_client.as_ref().map(ToString::to_string)),
            scopes.to_string(),
        ];
        let digest = Place(parts.each_ref().map(String::as_str)).digest();
        Purpose { parts, place: TokenPlace { client: client.name.clone(), digest } }
    }

    fn parts(&self) -> [&str; 7] {
        self.parts.each_ref().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn a_key_is_of_one_master_key_and_one_table() {
        let id = |byte: u8, table: &str| {
            let master = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
            TokenKey::derive(&MasterKey::from_base64(&master).expect("valid"), table).expect("derived").id
        };
        assert_eq!(id(1, "keyward"), id(1, "keyward"));
        assert_ne!(id(1, "keyward"), id(2, "keyward"));
        assert_ne!(id(1, "keyward"), id(1, "other"));
    }
}
