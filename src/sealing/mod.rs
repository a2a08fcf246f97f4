//! Values that only whoever has the key can read: AES-256-GCM, under keys derived from a master key.
//!
//! Each purpose has a key of its own, derived by HKDF-SHA256 from the master key and a salt of the place where the sealed
//! values are, so that neither a key nor a nonce is ever shared between purposes or stores. A ciphertext is bound to its
//! place by associated data: moved to another one it does not open. Nothing here knows what is sealed or where it is kept,
//! and no error says more than that something does not open.
//!
//! A sealed value is `format (1) | nonce (12) | ciphertext | tag (16)`. Nonces are random; 2^32 values may be sealed
//! under one key (NIST SP 800-38D, section 8.3).

mod master_key;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::{digest, error::Unspecified};
use zeroize::Zeroizing;

pub use master_key::{MasterKey, MasterKeyError, private, sync_folder};

const FORMAT: u8 = 1;

/// What all keys of one store are derived from.
pub struct Root(Prk);

impl Root {
    /// `salt` is the store's own, and no secret.
    pub fn of(master: &MasterKey, salt: &[u8]) -> Self {
        Root(Salt::new(HKDF_SHA256, salt).extract(master.expose()))
    }

    pub fn seal(&self, purpose: &str) -> Result<Seal, Unspecified> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.bytes(purpose)?).map(Seal)
    }

    /// Of every purpose others; from them nobody finds the master key or those of another purpose.
    pub fn bytes(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
        let mut key = Zeroizing::new([0; 32]);
        self.0.expand(&[purpose.as_bytes()], KeyLength)?.fill(key.as_mut_slice())?;
        Ok(key)
    }
}

/// Where a sealed value belongs, such as table, name, version. The parts are told apart whatever they contain.
#[derive(Clone, Copy)]
pub struct Place<'a, const N: usize>(pub [&'a str; N]);

impl<const N: usize> Place<'_, N> {
    /// A name for the place that says nothing of its parts: SHA-256 in hexadecimal digits.
    pub fn digest(self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.encode()))
    }

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
pub struct Seal(RandomizedNonceKey);

impl Seal {
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

/// The length of every derived key, in bytes.
struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn seal(byte: u8) -> Seal {
        let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        Root::of(&MasterKey::from_base64(&key).expect("valid"), b"salt").seal("test").expect("derived")
    }

    #[test]
    fn a_value_opens_only_in_its_place() {
        let seal = seal(1);
        let sealed = seal.seal(Place(["versions", "ab", "c"]), b"content".to_vec()).expect("sealed");
        assert!(!sealed.windows(7).any(|part| part == b"content"));
        let content = seal.open(Place(["versions", "ab", "c"]), sealed.clone()).expect("opens");
        assert_eq!(**content, *b"content");
        for elsewhere in [["versions", "a", "bc"], ["versions", "ab", "d"], ["other", "ab", "c"]] {
            assert!(seal.open(Place(elsewhere), sealed.clone()).is_err(), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_changed_value_does_not_open() {
        let seal = seal(1);
        let sealed = seal.seal(Place(["a"]), b"content".to_vec()).expect("sealed");
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(seal.open(Place(["a"]), changed).is_err(), "byte {i}");
        }
        for length in 0..sealed.len() {
            assert!(seal.open(Place(["a"]), sealed[..length].to_vec()).is_err(), "length {length}");
        }
    }

    #[test]
    fn the_same_content_is_sealed_differently_each_time() {
        let seal = seal(1);
        let sealed = || seal.seal(Place(["a"]), b"content".to_vec()).expect("sealed");
        assert_ne!(sealed(), sealed());
    }
}
