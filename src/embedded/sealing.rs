//! What keeps secrets unreadable in the file: AES-256-GCM for what must be read again, HMAC-SHA256 for what must only
//! be recognised.
//!
//! Each purpose has a key of its own, derived by HKDF-SHA256 from the master key and a salt of the file, so that
//! neither a key nor a nonce is ever shared between purposes or files. A ciphertext is bound to its place by
//! associated data: moved to another row it does not open. Nothing here does I/O, and no error says more than that
//! something does not open.
//!
//! A sealed value is `format (1) | nonce (12) | ciphertext | tag (16)`. Nonces are random; 2^32 values may be sealed
//! under one key (NIST SP 800-38D, section 8.3), which a rotation every second reaches after a century.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{error::Unspecified, hmac};
use zeroize::Zeroizing;

use super::master_key::MasterKey;

const FORMAT: u8 = 1;

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
        let root = Salt::new(HKDF_SHA256, salt).extract(master.expose());
        Ok(Sealing {
            check: Seal::derive(&root, "keyward/v1/check")?,
            vault: Seal::derive(&root, "keyward/v1/vault")?,
            signing_keys: Seal::derive(&root, "keyward/v1/signing-keys")?,
            verifiers: Verifiers(hmac::Key::new(hmac::HMAC_SHA256, &*derive(&root, "keyward/v1/verifiers")?)),
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

/// Where a sealed value belongs: table, name, version. The parts are told apart whatever they contain.
#[derive(Clone, Copy)]
pub(super) struct Place<'a, const N: usize>(pub [&'a str; N]);

impl<const N: usize> Place<'_, N> {
    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for part in self.0 {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// A key that seals values.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    fn derive(root: &Prk, purpose: &str) -> Result<Self, Unspecified> {
        RandomizedNonceKey::new(&AES_256_GCM, &*derive(root, purpose)?).map(Seal)
    }

    /// The buffer of `content` becomes the ciphertext, so no clear copy is left behind.
    pub fn seal<const N: usize>(&self, place: Place<'_, N>, mut content: Vec<u8>) -> Result<Vec<u8>, Unspecified> {
        // Appending the tag may move the buffer and leave the old one behind, which would still be clear.
        let (nonce, tag) = self.0.seal_in_place_separate_tag(Aad::from(place.encode()), &mut content)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + content.len() + tag.as_ref().len());
        sealed.push(FORMAT);
        sealed.extend(nonce.as_ref());
        sealed.extend(&content);
        sealed.extend(tag.as_ref());
        Ok(sealed)
    }

    /// Fails when the value was sealed with another key or for another place, or was changed.
    pub fn open<const N: usize>(
        &self,
        place: Place<'_, N>,
        sealed: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let mut buffer = Zeroizing::new(sealed);
        let (head, rest) = buffer.split_at_mut_checked(1 + NONCE_LEN).ok_or(Unspecified)?;
        if head[0] != FORMAT {
            return Err(Unspecified);
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[1..])?;
        let content = self.0.open_in_place(nonce, Aad::from(place.encode()), rest)?;
        Ok(Zeroizing::new(content.to_vec()))
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

/// The length of every derived key, in bytes.
struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

fn derive(root: &Prk, purpose: &str) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    root.expand(&[purpose.as_bytes()], KeyLength)?.fill(key.as_mut_slice())?;
    Ok(key)
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
    fn a_value_opens_only_in_its_place() {
        let keys = sealing(1, b"salt");
        let sealed = keys.vault.seal(Place(["versions", "ab", "c"]), b"content".to_vec()).expect("sealed");
        assert!(!sealed.windows(7).any(|part| part == b"content"));
        let content = keys.vault.open(Place(["versions", "ab", "c"]), sealed.clone()).expect("opens");
        assert_eq!(**content, *b"content");
        for elsewhere in [["versions", "a", "bc"], ["versions", "ab", "d"], ["other", "ab", "c"]] {
            assert!(keys.vault.open(Place(elsewhere), sealed.clone()).is_err(), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_changed_value_does_not_open() {
        let keys = sealing(1, b"salt");
        let sealed = keys.vault.seal(Place(["a"]), b"content".to_vec()).expect("sealed");
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(keys.vault.open(Place(["a"]), changed).is_err(), "byte {i}");
        }
        for length in 0..sealed.len() {
            assert!(keys.vault.open(Place(["a"]), sealed[..length].to_vec()).is_err(), "length {length}");
        }
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
    fn the_same_content_is_sealed_differently_each_time() {
        let keys = sealing(1, b"salt");
        let seal = || keys.vault.seal(Place(["a"]), b"content".to_vec()).expect("sealed");
        assert_ne!(seal(), seal());
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
