//! Key pairs of pools, and the tokens that they sign.

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Making one takes a tenth of a second, so every pool of the process uses one of these, each under an id of its own.
const PAIRS: usize = 4;

#[derive(Clone)]
pub struct PoolKey {
    /// In the form of Cognito's: 32 bytes of base64 with its padding.
    pub kid: String,
    pair: &'static KeyPair,
}

impl PoolKey {
    /// The `number`-th of the pool.
    pub fn new(pool: &str, number: usize) -> Self {
        static MADE: OnceLock<Vec<KeyPair>> = OnceLock::new();
        let make = |_| KeyPair::generate(KeySize::Rsa2048).expect("a key pair");
        let made = MADE.get_or_init(|| (0..PAIRS).map(make).collect());
        let kid = STANDARD.encode(digest(&SHA256, format!("{pool} {number}").as_bytes()));
        PoolKey { kid, pair: &made[number % PAIRS] }
    }

    /// As the key set has it (RFC 7517).
    pub fn public(&self) -> Value {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.pair.public_key());
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        json!({ "alg": "RS256", "e": e, "kid": self.kid, "kty": "RSA", "n": n, "use": "sig" })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = json!({ "kid": self.kid, "alg": "RS256" });
        let message = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature);
        signed.expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
