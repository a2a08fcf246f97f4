//! The issuer: client-credentials tokens with exactly Cognito's claims, and the public keys that verify them.
//!
//! A token is signed in memory and kept nowhere. Private keys leave the file sealed and stay in memory parsed, so that
//! signing costs one signature (jsonwebtoken would parse the key again for every token). Wrong id or secret is
//! InvalidClient; a scope that the app client never had, or none left, is Refused; a scope that its resource server
//! no longer defines is left out without a word, as Cognito does.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;

use super::sealing::{Place, Sealing};
use super::store::{Asking, Failure, Store};
use super::{Distance, app_clients, pools, random};
use crate::broker::ports::{Fault, KeySource, Peer, PortResult, PublicKey, TokenEndpoint};
use crate::domain::id::{AppClientId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::ClientSecret;
use crate::domain::token::AccessToken;

/// Pools whose parsed private key is kept in memory.
const MAX_PARSED_KEYS: u64 = 1_000;

pub(super) struct EmbeddedIssuer {
    keys: KeyRing,
    distance: Distance,
}

impl EmbeddedIssuer {
    pub fn new(keys: KeyRing, distance: Distance) -> Self {
        EmbeddedIssuer { keys, distance }
    }
}

#[async_trait]
impl TokenEndpoint for EmbeddedIssuer {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        self.distance.travel().await;
        let asking = Asking { peer: Peer::TokenEndpoint, doing: "fetch a token" };
        let sealing = Arc::clone(&self.keys.sealing);
        let (user_pool, id) = (pool.user_pool.clone(), client.clone());
        let (secret, asked) = (secret.clone(), scopes.clone());
        let query = move |tx: &Transaction<'_>| {
            let issuer = issuer(tx, &user_pool)?;
            let app_client = app_clients::load(tx, &user_pool, &id)?
                .filter(|app_client| app_client.is_authenticated_by(&sealing, &id, &secret))
                .ok_or_else(|| Failure::told(Fault::InvalidClient, format!("invalid_client for {id}")))?;
            let granted = grant(&asked, &app_client.scopes, |scope| pools::defines(tx, &user_pool, scope))?;
            Ok((issuer, app_client.validity_seconds, granted))
        };
        let (issuer, validity_seconds, granted) = self.keys.store.read(asking, query).await?;

        let key = self.keys.signing_key(asking, &pool.user_pool).await?;
        let issued = self.distance.now().as_second();
        let expires = issued + validity_seconds;
        let claims = Claims {
            sub: client.to_string(),
            token_use: "access",
            scope: granted.to_string(),
            auth_time: issued,
            iss: issuer,
            exp: expires,
            iat: issued,
            version: 2,
            jti: random::uuid().map_err(|_| asking.error(Fault::Unavailable, "no random bytes"))?,
            client_id: client.to_string(),
        };
        // A signature takes about a millisecond, which is long for a thread that others share.
        let signed = tokio::task::spawn_blocking(move || key.sign(&claims)).await.ok().flatten();
        let text = signed.ok_or_else(|| asking.error(Fault::Broken, "the token could not be signed"))?;
        let time = |second| Timestamp::from_second(second).map_err(|error| asking.error(Fault::Broken, error));
        Ok(AccessToken::new(text, time(issued)?, time(expires)?, granted))
    }
}

#[async_trait]
impl KeySource for EmbeddedIssuer {
    async fn keys(&self, pool: &MadePool) -> PortResult<Vec<PublicKey>> {
        let asking = Asking { peer: Peer::KeySource, doing: "read an issuer's keys" };
        let user_pool = pool.user_pool.clone();
        let query = move |tx: &Transaction<'_>| {
            pools::require(tx, &user_pool)?;
            let sql = "SELECT kid, modulus, exponent FROM signing_keys WHERE user_pool = ?1 ORDER BY create_time, kid";
            let mut statement = tx.prepare_cached(sql)?;
            let key = |row: &rusqlite::Row<'_>| {
                Ok(PublicKey { kid: row.get(0)?, modulus: row.get(1)?, exponent: row.get(2)? })
            };
            Ok(statement.query_map([user_pool.as_str()], key)?.collect::<rusqlite::Result<_>>()?)
        };
        self.keys.store.read(asking, query).await
    }
}

fn issuer(tx: &Transaction<'_>, user_pool: &UserPoolId) -> Result<String, Failure> {
    pools::require(tx, user_pool)?;
    let sql = "SELECT issuer FROM user_pools WHERE id = ?1";
    Ok(tx.prepare_cached(sql)?.query_row([user_pool.as_str()], |row| row.get(0))?)
}

/// Asking for nothing asks for all that the app client may have (RFC 6749, section 3.3, leaves that to the server).
fn grant(
    asked: &ScopeSet,
    allowed: &ScopeSet,
    is_defined: impl Fn(&Scope) -> rusqlite::Result<bool>,
) -> Result<ScopeSet, Failure> {
    if let Some(scope) = asked.first_missing_in(allowed) {
        return Err(Failure::refused(format!("invalid_scope: {scope} is not allowed for this app client")));
    }
    let wanted = if asked.is_empty() { allowed } else { asked };
    let mut granted = Vec::new();
    for scope in wanted.iter() {
        if is_defined(scope)? {
            granted.push(scope.clone());
        }
    }
    if granted.is_empty() {
        return Err(Failure::refused("invalid_scope: no resource server defines any of these scopes"));
    }
    Ok(granted.into_iter().collect())
}

/// The claims of Cognito's access token for the client-credentials grant, and no others.
#[derive(Serialize)]
struct Claims {
    sub: String,
    token_use: &'static str,
    scope: String,
    auth_time: i64,
    iss: String,
    exp: i64,
    iat: i64,
    version: u8,
    jti: String,
    client_id: String,
}

/// The header of Cognito's tokens, which has no `typ`.
#[derive(Serialize)]
struct Header<'a> {
    kid: &'a str,
    alg: &'static str,
}

/// The private keys of the pools: sealed in the file, parsed in memory once used.
#[derive(Clone)]
pub(super) struct KeyRing {
    store: Arc<Store>,
    sealing: Arc<Sealing>,
    parsed: moka::sync::Cache<String, Arc<SigningKey>>,
}

struct SigningKey {
    kid: String,
    pair: KeyPair,
}

impl SigningKey {
    fn sign(&self, claims: &Claims) -> Option<String> {
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

    async fn signing_key(&self, asking: Asking, user_pool: &UserPoolId) -> PortResult<Arc<SigningKey>> {
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
