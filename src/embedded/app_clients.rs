//! The rules of app clients and their secrets, inside one transaction of the caller's.
//!
//! A secret is kept as a salted verifier only: the value cannot be had from the file, master key or not. Its id ends
//! in a second that is later than that of every secret the app client ever had, so an id is never given twice. A
//! value's own form (24 to 64 of `[A-Za-z0-9_+]`) is the promise of [`ClientSecret`].

use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::random;
use super::resource_servers;
use super::sealing::Sealing;
use super::store::{Asking, Failure, limit_of};
use crate::broker::ports::{AppClientSeen, AppClientSpec, Fault, PortPage, PortResult};
use crate::domain::client::check_token_validity;
use crate::domain::id::{AppClientId, SecretId, UserPoolId};
use crate::domain::rotation::MAX_SECRETS;
use crate::domain::scope::{MAX_SCOPES_PER_CLIENT, ScopeSet};
use crate::domain::secret::ClientSecret;

/// App clients of one pool: Cognito's quota, raised as far as it goes.
pub(super) const MAX_APP_CLIENTS: u32 = 10_000;

/// What is kept of a secret: enough to recognise it.
pub(super) struct Verifier {
    salt: [u8; 16],
    digest: Vec<u8>,
}

impl Verifier {
    pub fn of(sealing: &Sealing, client: &AppClientId, secret: &ClientSecret) -> Result<Self, Unspecified> {
        let salt = random::bytes()?;
        Ok(Verifier { salt, digest: sealing.verifiers.make(&salt, client.as_str(), secret.expose()) })
    }
}

/// An app client as the token endpoint needs it.
pub(super) struct AppClient {
    pub scopes: ScopeSet,
    pub validity_seconds: i64,
    verifiers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl AppClient {
    /// Compares with every secret, also after a match, so that the time does not tell which one it was.
    pub fn is_authenticated_by(&self, sealing: &Sealing, client: &AppClientId, secret: &ClientSecret) -> bool {
        let matches = |(salt, digest): &(Vec<u8>, Vec<u8>)| {
            sealing.verifiers.is_of(digest, salt, client.as_str(), secret.expose())
        };
        self.verifiers.iter().filter(|verifier| matches(verifier)).count() > 0
    }
}

/// What can be checked without the file.
pub(super) fn check(asking: Asking, spec: &AppClientSpec) -> PortResult<()> {
    check_name(asking, &spec.marker)?;
    if check_token_validity(spec.access_token_validity).is_err() {
        return Err(asking.error(Fault::Refused, "a token is valid for 5 minutes to 1 day, in whole seconds"));
    }
    if !(1..=MAX_SCOPES_PER_CLIENT).contains(&spec.scopes.len()) {
        return Err(asking.error(Fault::Refused, format!("an app client has 1 to {MAX_SCOPES_PER_CLIENT} scopes")));
    }
    Ok(())
}

pub(super) fn check_name(asking: Asking, name: &str) -> PortResult<()> {
    let fits = (1..=128).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_+=,.@-".contains(c));
    if !fits {
        return Err(asking.error(Fault::Refused, r"a name is 1 to 128 characters of [\w\s+=,.@-]"));
    }
    Ok(())
}

pub(super) fn check_scopes(tx: &Transaction<'_>, user_pool: &UserPoolId, scopes: &ScopeSet) -> Result<(), Failure> {
    for scope in scopes.iter() {
        if !resource_servers::defines(tx, user_pool, scope)? {
            return Err(Failure::refused(format!("no resource server of {user_pool} defines the scope {scope}")));
        }
    }
    Ok(())
}

/// Fails with NotFound unless the app client is there, in that pool.
pub(super) fn require(tx: &Transaction<'_>, user_pool: &UserPoolId, client: &AppClientId) -> Result<(), Failure> {
    if is_there(tx, user_pool, client)? {
        return Ok(());
    }
    Err(Failure::told(Fault::NotFound, format!("there is no app client {client} in {user_pool}")))
}

fn is_there(tx: &Transaction<'_>, user_pool: &UserPoolId, client: &AppClientId) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM app_clients WHERE id = ?1 AND user_pool = ?2";
    tx.prepare_cached(sql)?.exists([client.as_str(), user_pool.as_str()])
}

pub(super) fn create(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    id: &AppClientId,
    spec: &AppClientSpec,
    verifier: &Verifier,
    now: Timestamp,
) -> Result<(), Failure> {
    check_scopes(tx, user_pool, &spec.scopes)?;
    let sql = "SELECT count(*) FROM app_clients WHERE user_pool = ?1";
    let count: u32 = tx.prepare_cached(sql)?.query_row([user_pool.as_str()], |row| row.get(0))?;
    if count >= MAX_APP_CLIENTS {
        let detail = format!("{user_pool} has {MAX_APP_CLIENTS} app clients");
        return Err(Failure::told(Fault::LimitExceeded, detail));
    }
    let second = now.as_second();
    let sql = "INSERT INTO app_clients (id, user_pool, name, scopes, validity_seconds, last_secret_second)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (scopes, validity) = (spec.scopes.to_string(), spec.access_token_validity.as_secs());
    tx.prepare_cached(sql)?.execute(params![id.as_str(), user_pool.as_str(), spec.marker, scopes, validity, second])?;
    keep_secret(tx, id, second, verifier)
}

/// The oldest of that name; names need not be unique.
pub(super) fn find(tx: &Transaction<'_>, user_pool: &UserPoolId, name: &str) -> Result<Option<AppClientId>, Failure> {
    let sql = "SELECT id FROM app_clients WHERE user_pool = ?1 AND name = ?2 ORDER BY ordinal LIMIT 1";
    let place = [user_pool.as_str(), name];
    let id: Option<String> = tx.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
    id.map(|id| AppClientId::parse("app_client", &id).map_err(|_| Failure::broken("app client id"))).transpose()
}

pub(super) fn describe(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
) -> Result<Option<AppClientSeen>, Failure> {
    let sql =
        "SELECT name, scopes, validity_seconds, sign_in IS NULL FROM app_clients WHERE id = ?1 AND user_pool = ?2";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?));
    let found = tx.prepare_cached(sql)?.query_row([client.as_str(), user_pool.as_str()], row).optional()?;
    Ok(found.map(|(name, scopes, seconds, is_machine)| AppClientSeen {
        name,
        scopes: ScopeSet::from_claim(&scopes),
        access_token_validity: Duration::from_secs(seconds),
        is_machine,
    }))
}

/// Those after the one that was made as number `after`, in the order in which they were made.
pub(super) fn list(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    after: i64,
    limit: usize,
) -> Result<PortPage<(AppClientId, String)>, Failure> {
    let sql = "SELECT ordinal, id, name FROM app_clients WHERE user_pool = ?1 AND ordinal > ?2
               ORDER BY ordinal LIMIT ?3";
    let mut statement = tx.prepare_cached(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?));
    let rows = statement.query_map(params![user_pool.as_str(), after, limit_of(limit)], row)?;
    let (mut items, mut last) = (Vec::new(), after);
    for row in rows {
        let (ordinal, id, name) = row?;
        items.push((AppClientId::parse("app_client", &id).map_err(|_| Failure::broken("app client id"))?, name));
        last = ordinal;
    }
    Ok(PortPage { next: (items.len() == limit).then(|| last.to_string()), items })
}

pub(super) fn update(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
    spec: &AppClientSpec,
) -> Result<(), Failure> {
    require(tx, user_pool, client)?;
    check_scopes(tx, user_pool, &spec.scopes)?;
    let sql = "UPDATE app_clients SET scopes = ?2, validity_seconds = ?3 WHERE id = ?1";
    let (scopes, validity) = (spec.scopes.to_string(), spec.access_token_validity.as_secs());
    tx.prepare_cached(sql)?.execute(params![client.as_str(), scopes, validity])?;
    Ok(())
}

pub(super) fn add_secret(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
    verifier: &Verifier,
    now: Timestamp,
) -> Result<SecretId, Failure> {
    require(tx, user_pool, client)?;
    if secrets(tx, client)?.len() >= MAX_SECRETS {
        return Err(Failure::told(Fault::LimitExceeded, format!("{client} has {MAX_SECRETS} secrets")));
    }
    let sql = "UPDATE app_clients SET last_secret_second = max(?2, last_secret_second + 1) WHERE id = ?1
               RETURNING last_secret_second";
    let second = tx.prepare_cached(sql)?.query_row(params![client.as_str(), now.as_second()], |row| row.get(0))?;
    keep_secret(tx, client, second, verifier)?;
    secret_id(client, second)
}

/// Oldest first.
pub(super) fn secrets(tx: &Transaction<'_>, client: &AppClientId) -> Result<Vec<SecretId>, Failure> {
    let sql = "SELECT second FROM client_secrets WHERE app_client = ?1 ORDER BY second";
    let mut statement = tx.prepare_cached(sql)?;
    let seconds = statement.query_map([client.as_str()], |row| row.get::<_, i64>(0))?;
    seconds.map(|second| secret_id(client, second?)).collect()
}

pub(super) fn delete_secret(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
    secret: &SecretId,
) -> Result<(), Failure> {
    if !is_there(tx, user_pool, client)? {
        return Ok(());
    }
    let secrets = secrets(tx, client)?;
    if !secrets.contains(secret) {
        return Ok(());
    }
    if secrets.len() == 1 {
        return Err(Failure::refused(format!("{secret} is the last secret of {client}")));
    }
    let sql = "DELETE FROM client_secrets WHERE app_client = ?1 AND ?1 || '--' || second = ?2";
    tx.prepare_cached(sql)?.execute([client.as_str(), secret.as_str()])?;
    Ok(())
}

/// What the token endpoint needs to know; `None` when there is no such app client in that pool.
pub(super) fn load(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
) -> Result<Option<AppClient>, Failure> {
    let sql = "SELECT scopes, validity_seconds FROM app_clients WHERE id = ?1 AND user_pool = ?2";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let place = [client.as_str(), user_pool.as_str()];
    let Some((scopes, validity_seconds)) = tx.prepare_cached(sql)?.query_row(place, row).optional()? else {
        return Ok(None);
    };
    let mut statement = tx.prepare_cached("SELECT salt, verifier FROM client_secrets WHERE app_client = ?1")?;
    let verifiers = statement.query_map([client.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let verifiers = verifiers.collect::<rusqlite::Result<_>>()?;
    Ok(Some(AppClient { scopes: ScopeSet::from_claim(&scopes), validity_seconds, verifiers }))
}

fn keep_secret(tx: &Transaction<'_>, client: &AppClientId, second: i64, verifier: &Verifier) -> Result<(), Failure> {
    let sql = "INSERT INTO client_secrets (app_client, second, salt, verifier) VALUES (?1, ?2, ?3, ?4)";
    let (salt, digest) = (verifier.salt.as_slice(), &verifier.digest);
    tx.prepare_cached(sql)?.execute(params![client.as_str(), second, salt, digest])?;
    Ok(())
}

fn secret_id(client: &AppClientId, second: i64) -> Result<SecretId, Failure> {
    SecretId::parse("secret", &format!("{client}--{second}")).map_err(|_| Failure::broken("secret id"))
}
