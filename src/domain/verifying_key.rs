//! A public key of an issuer, for RS256 and nothing else, whatever a token says of itself.

use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

/// Keys of one issuer that are looked at. Cognito has two or three.
pub const MAX_KEYS: usize = 16;
/// RSA moduli shorter than this are refused, in bytes (2,048 bits; RFC 7518, section 3.3).
const MIN_MODULUS_BYTES: usize = 256;

pub struct VerifyingKey {
    parsed: ParsedPublicKey,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl VerifyingKey {
    /// From unsigned big-endian numbers (RFC 7518, section 6.3.1). Fails with what is wrong with the key.
    pub fn parse(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Self, &'static str> {
        if modulus.len() < MIN_MODULUS_BYTES {
            return Err("it is too short");
        }
        let components = RsaPublicKeyComponents { n: &modulus, e: &exponent };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| "it is no RSA key")?;
        Ok(VerifyingKey { parsed, modulus, exponent })
    }

    /// Whether `signature`, as its bytes, is one of this key over `signed` (RFC 7518, section 3.3).
    pub fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        self.parsed.verify_sig(signed.as_bytes(), signature).is_ok()
    }

    /// Unsigned and big-endian.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Unsigned and big-endian.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus == other.modulus && self.exponent == other.exponent
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} bits)", 8 * self.modulus.len())
    }
}
