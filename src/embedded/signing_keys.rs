//! The key pairs of the pools: sealed in the file, parsed in memory once used.
//!
//! A private key leaves the file sealed and stays in memory parsed, so that signing costs one signature (jsonwebtoken
//! would parse the key again for every token). What is signed is not known here.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;

use super::sealing::Sealing;
use super::store::{Asking, Failure, Store};
use crate::broker::ports::{Fault, PortResult};
use crate::domain::id::UserPoolId;
use crate::sealing::Place;

/// Pools whose parsed private key is kept in memory.
const MAX_PARSED_KEYS: u64 = 1_000;

/// The private keys of the pools: sealed in the file, parsed in memory once used.
#[derive(Clone)]
pub(super) struct KeyRing {
    pub store: Arc<Store>,
    pub sealing: Arc<Sealing>,
    parsed: moka::sync::Cache<String, Arc<SigningKey>>,
}

pub(super) struct SigningKey {
    kid: String,
    pair: KeyPair,
}

impl SigningKey {
    /// A JWS of these claims in its compact form (RFC 7515, section 3.1). `None` when the cryptography fails.
    pub fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let header = part(serde_json::to_vec(&Header { kid: &self.kid, alg: "RS256" }).ok()?);
        let payload = part(serde_json::to_vec(claims).ok()?);
        let message = format!("{header}.{payload}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl KeyRing {
    pub fn new(store: Arc<Store>, sealing: Arc<Sealing>) -> Self {
        KeyRing { store, sealing, parsed: moka::sync::Cache::new(MAX_PARSED_KEYS) }
    }

    /// Of a pool that was deleted.
    pub fn forget(&self, user_pool: &str) {
        self.parsed.invalidate(user_pool);
    }

    pub async fn signing_key(&self, asking: Asking, user_pool: &UserPoolId) -> PortResult<Arc<SigningKey>> {
        if let Some(key) = self.parsed.get(user_pool.as_str()) {
            return Ok(key);
        }
        let wanted = user_pool.clone();
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT kid, private_key FROM signing_keys WHERE user_pool = ?1
                       ORDER BY create_time DESC, kid LIMIT 1";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?));
            let found = tx.prepare_cached(sql)?.query_row([wanted.as_str()], row).optional()?;
            found.ok_or_else(|| Failure::told(Fault::NotFound, format!("{wanted} has no signing key")))
        };
        let (kid, sealed) = self.store.read(asking, query).await?;
        let clear = self.sealing.signing_keys.open(place(user_pool.as_str(), &kid), sealed).ok();
        let pair = clear.and_then(|pkcs8| KeyPair::from_pkcs8(&pkcs8).ok());
        let pair = pair.ok_or_else(|| asking.error(Fault::Broken, format!("signing key {kid} does not open")))?;
        let key = Arc::new(SigningKey { kid, pair });
        self.parsed.insert(user_pool.to_string(), Arc::clone(&key));
        Ok(key)
    }
}

fn place<'a>(user_pool: &'a str, kid: &'a str) -> Place<'a, 3> {
    Place(["signing_keys", user_pool, kid])
}

/// A key pair that is not in the file yet.
pub(super) struct NewKey {
    kid: String,
    modulus: String,
    exponent: String,
    sealed: Vec<u8>,
}

impl NewKey {
    /// Takes a tenth of a second or more; call it where blocking is allowed. `None` when the cryptography fails.
    pub fn generate(sealing: &Sealing, user_pool: &UserPoolId) -> Option<NewKey> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        // In the form of Cognito's: 32 bytes of base64 with its padding.
        let kid = STANDARD.encode(digest(&SHA256, &n));
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
        let sealed = sealing.signing_keys.seal(place(user_pool.as_str(), &kid), pkcs8.as_ref().to_vec()).ok()?;
        Some(NewKey { kid, modulus: URL_SAFE_NO_PAD.encode(n), exponent: URL_SAFE_NO_PAD.encode(e), sealed })
    }

    pub fn keep(&self, tx: &Transaction<'_>, user_pool: &str, now: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO signing_keys (kid, user_pool, modulus, exponent, private_key, create_time)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        tx.execute(sql, params![self.kid, user_pool, self.modulus, self.exponent, self.sealed, now])?;
        Ok(())
    }
}

/// The header of Cognito's tokens, which has no `typ`.
#[derive(Serialize)]
struct Header<'a> {
    kid: &'a str,
    alg: &'static str,
}
