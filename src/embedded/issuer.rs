//! The issuer: client-credentials tokens with exactly Cognito's claims, and the public keys that verify them.
//!
//! A token is signed in memory and kept nowhere. Wrong id or secret is InvalidClient; a scope that the app client never
//! had, or none left, is Refused; a scope that its resource server no longer defines is left out without a word, as Cognito
//! does.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Transaction;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::signing_keys::KeyRing;
use super::store::{Asking, Failure};
use super::{Distance, app_clients, random, resource_servers};
use crate::broker::ports::{Fault, KeySource, Peer, PortResult, PublicKey, TokenEndpoint};
use crate::domain::id::{AppClientId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::ClientSecret;
use crate::domain::token::AccessToken;

pub(super) struct EmbeddedIssuer {
    keys: KeyRing,
    distance: Distance,
    /// One less than there are processors sign at one time, so that one is left for those who answer calls. More threads
    /// would each leave memory behind that is hardly used, too.
    signing: Arc<Semaphore>,
}

impl EmbeddedIssuer {
    pub fn new(keys: KeyRing, distance: Distance) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        EmbeddedIssuer { keys, distance, signing: Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))) }
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
            let granted = grant(&asked, &app_client.scopes, |scope| resource_servers::defines(tx, &user_pool, scope))?;
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
        let turn = Arc::clone(&self.signing).acquire_owned().await;
        let sign = move || {
            let signed = key.sign(&claims);
            drop(turn);
            signed
        };
        let signed = tokio::task::spawn_blocking(sign).await.ok().flatten();
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
            resource_servers::require_pool(tx, &user_pool)?;
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
    resource_servers::require_pool(tx, user_pool)?;
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
