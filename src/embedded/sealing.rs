//! What keeps secrets unreadable in the file: seals for what must be read again, HMAC-SHA256 for what must only be
//! recognised.
//!
//! Each purpose has a key of its own, derived from the master key and a salt of the file, so that neither a key nor a nonce
//! is ever shared between purposes or files. Nothing here does I/O, and no error says more than that something does not
//! open. A rotation every second seals as many values as one key may after a century.

use aws_lc_rs::{error::Unspecified, hmac};
use zeroize::Zeroizing;

use crate::sealing::{MasterKey, Place, Root, Seal};

/// Sealed into every file, so that a wrong master key is told at once and not at the first secret.
const CHECK: &[u8] = b"keyward";
const CHECK_PLACE: Place<'static, 2> = Place(["meta", "check"]);

/// All keys of one file.
pub(super) struct Sealing {
    check: Seal,
    pub vault: Seal,
    pub signing_keys: Seal,
    pub verifiers: Verifiers,
}

impl Sealing {
    pub fn derive(master: &MasterKey, salt: &[u8]) -> Result<Self, Unspecified> {
        let root = Root::of(master, salt);
        Ok(Sealing {
            check: root.seal("keyward/v1/check")?,
            vault: root.seal("keyward/v1/vault")?,
            signing_keys: root.seal("keyward/v1/signing-keys")?,
            verifiers: Verifiers(hmac::Key::new(hmac::HMAC_SHA256, &*root.bytes("keyward/v1/verifiers")?)),
        })
    }

    /// What a new file keeps to recognise its master key by.
    pub fn seal_check(&self) -> Result<Vec<u8>, Unspecified> {
        self.check.seal(CHECK_PLACE, CHECK.to_vec())
    }

    pub fn is_master_key_of(&self, check: Vec<u8>) -> bool {
        self.check.open(CHECK_PLACE, check).is_ok_and(|content| *content == CHECK)
    }
}

/// A key that makes verifiers of client secrets: enough to recognise a secret, of no use to whoever steals the file.
pub(super) struct Verifiers(hmac::Key);

impl Verifiers {
    pub fn make(&self, salt: &[u8], app_client: &str, secret: &str) -> Vec<u8> {
        hmac::sign(&self.0, &message(salt, app_client, secret)).as_ref().to_vec()
    }

    /// In constant time.
    pub fn is_of(&self, verifier: &[u8], salt: &[u8], app_client: &str, secret: &str) -> bool {
        hmac::verify(&self.0, &message(salt, app_client, secret), verifier).is_ok()
    }
}

fn message(salt: &[u8], app_client: &str, secret: &str) -> Zeroizing<Vec<u8>> {
    // Reserved in full, because a vector that grows leaves a copy of what it held.
    let mut message = Zeroizing::new(Vec::with_capacity(16 + salt.len() + app_client.len() + secret.len()));
    for part in [salt, app_client.as_bytes()] {
        message.extend((part.len() as u64).to_be_bytes());
        message.extend(part);
    }
    message.extend(secret.as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn sealing(byte: u8, salt: &[u8]) -> Sealing {
        let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        Sealing::derive(&MasterKey::from_base64(&key).expect("valid"), salt).expect("derived")
    }

    #[test]
    fn purposes_files_and_master_keys_have_keys_of_their_own() {
        let keys = sealing(1, b"salt");
        let sealed = keys.vault.seal(Place(["a"]), b"content".to_vec()).expect("sealed");
        assert!(keys.signing_keys.open(Place(["a"]), sealed.clone()).is_err(), "another purpose");
        assert!(sealing(1, b"other").vault.open(Place(["a"]), sealed.clone()).is_err(), "another file");
        assert!(sealing(2, b"salt").vault.open(Place(["a"]), sealed).is_err(), "another master key");
        let check = keys.seal_check().expect("sealed");
        assert!(sealing(1, b"salt").is_master_key_of(check.clone()));
        assert!(!sealing(2, b"salt").is_master_key_of(check));
    }

    #[test]
    fn a_verifier_is_of_one_secret_of_one_app_client() {
        let verifiers = sealing(1, b"salt").verifiers;
        let verifier = verifiers.make(b"salt", "client", "secret");
        assert!(verifiers.is_of(&verifier, b"salt", "client", "secret"));
        assert!(!verifiers.is_of(&verifier, b"salt", "client", "secreT"));
        assert!(!verifiers.is_of(&verifier, b"salt", "clients", "ecret"));
        assert!(!verifiers.is_of(&verifier, b"tlas", "client", "secret"));
    }
}
