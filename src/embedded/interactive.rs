//! App clients that people would sign in with, inside one transaction of the caller's.
//!
//! They are kept, and held to Cognito's rules; nobody signs in with one, since there is no hosted sign-in here. They have no
//! secret, so the token endpoint knows none of them.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::app_clients::{MAX_APP_CLIENTS, check_name, check_scopes, require};
use super::resource_servers::require_pool;
use super::store::{Asking, Failure};
use crate::broker::ports::{Fault, InteractiveSeen, InteractiveSpec, PortResult};
use crate::domain::client::check_token_validity;
use crate::domain::id::{AppClientId, UserPoolId};
use crate::domain::interactive::{
    MAX_REDIRECT_URL, MAX_REDIRECT_URLS, MAX_REFRESH_TOKEN_VALIDITY, MIN_REFRESH_TOKEN_VALIDITY,
};
use crate::domain::scope::{MAX_SCOPES_PER_CLIENT, ScopeSet};

/// What can be checked without the file.
pub(super) fn check(asking: Asking, spec: &InteractiveSpec) -> PortResult<()> {
    let refused = |rule: &str| Err(asking.error(Fault::Refused, rule));
    check_name(asking, &spec.marker)?;
    let (access, id, refresh) = (spec.access_token_validity, spec.id_token_validity, spec.refresh_token_validity);
    if check_token_validity(access).is_err() || check_token_validity(id).is_err() {
        return refused("a token is valid for 5 minutes to 1 day, in whole seconds");
    }
    if !(MIN_REFRESH_TOKEN_VALIDITY..=MAX_REFRESH_TOKEN_VALIDITY).contains(&refresh)
        || refresh.subsec_nanos() != 0
        || refresh < access.max(id)
    {
        return refused("a refresh token is valid for 1 hour to 3,650 days, and no shorter than the other tokens");
    }
    if !(1..=MAX_SCOPES_PER_CLIENT).contains(&(spec.scopes.len() + spec.standard_scopes.len())) {
        return refused("an app client has 1 to 50 scopes");
    }
    if spec.callback_urls.is_empty() {
        return refused("the authorization-code grant needs a URL to come back to");
    }
    for urls in [&spec.callback_urls, &spec.sign_out_urls] {
        let fits = |url: &String| (1..=MAX_REDIRECT_URL).contains(&url.chars().count());
        if urls.len() > MAX_REDIRECT_URLS || !urls.iter().all(fits) {
            return refused("an app client has at most 100 URLs of a kind, each of 1 to 1,024 characters");
        }
    }
    Ok(())
}

pub(super) fn create(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    id: AppClientId,
    spec: &InteractiveSpec,
    now: Timestamp,
) -> Result<AppClientId, Failure> {
    require_pool(tx, user_pool)?;
    check_place(tx, user_pool, spec)?;
    let sql = "SELECT count(*) FROM app_clients WHERE user_pool = ?1";
    let count: u32 = tx.prepare_cached(sql)?.query_row([user_pool.as_str()], |row| row.get(0))?;
    if count >= MAX_APP_CLIENTS {
        let detail = format!("{user_pool} has {MAX_APP_CLIENTS} app clients");
        return Err(Failure::told(Fault::LimitExceeded, detail));
    }
    let sql = "INSERT INTO app_clients (id, user_pool, name, scopes, validity_seconds, last_secret_second, sign_in)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (scopes, validity, sign_in) = (spec.scopes.to_string(), spec.access_token_validity.as_secs(), text_of(spec)?);
    let (user_pool, second) = (user_pool.as_str(), now.as_second());
    tx.prepare_cached(sql)?.execute(params![id.as_str(), user_pool, spec.marker, scopes, validity, second, sign_in])?;
    Ok(id)
}

pub(super) fn describe(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
) -> Result<Option<InteractiveSeen>, Failure> {
    let sql = "SELECT name, scopes, validity_seconds, sign_in,
                      EXISTS (SELECT 1 FROM client_secrets WHERE app_client = id)
               FROM app_clients WHERE id = ?1 AND user_pool = ?2";
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?, row.get(4)?))
    };
    let found = tx.prepare_cached(sql)?.query_row([client.as_str(), user_pool.as_str()], row).optional()?;
    let Some((marker, scopes, seconds, sign_in, has_secret)) = found else { return Ok(None) };
    let has_secret: bool = has_secret;
    let is_interactive = sign_in.is_some() && !has_secret;
    // What a machine's has too is in columns of its own.
    let sign_in = match sign_in {
        Some(text) => serde_json::from_str(&text).map_err(|_| Failure::broken("app client"))?,
        None => InteractiveSpec::default(),
    };
    let access_token_validity = Duration::from_secs(seconds);
    let spec = InteractiveSpec { marker, scopes: ScopeSet::from_claim(&scopes), access_token_validity, ..sign_in };
    Ok(Some(InteractiveSeen { spec, is_interactive }))
}

pub(super) fn update(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    client: &AppClientId,
    spec: &InteractiveSpec,
) -> Result<(), Failure> {
    require(tx, user_pool, client)?;
    check_place(tx, user_pool, spec)?;
    let sql = "UPDATE app_clients SET scopes = ?2, validity_seconds = ?3, sign_in = ?4 WHERE id = ?1";
    let (scopes, validity) = (spec.scopes.to_string(), spec.access_token_validity.as_secs());
    tx.prepare_cached(sql)?.execute(params![client.as_str(), scopes, validity, text_of(spec)?])?;
    Ok(())
}

/// What hangs on the pool: its scopes and its identity providers.
fn check_place(tx: &Transaction<'_>, user_pool: &UserPoolId, spec: &InteractiveSpec) -> Result<(), Failure> {
    check_scopes(tx, user_pool, &spec.scopes)?;
    let sql = "SELECT 1 FROM identity_providers WHERE user_pool = ?1 AND name = ?2";
    for provider in &spec.providers {
        if !tx.prepare_cached(sql)?.exists([user_pool.as_str(), provider])? {
            return Err(Failure::refused(format!("{user_pool} has no identity provider {provider}")));
        }
    }
    Ok(())
}

fn text_of(spec: &InteractiveSpec) -> Result<String, Failure> {
    serde_json::to_string(spec).map_err(|_| Failure::broken("app client"))
}
