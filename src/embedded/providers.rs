//! Identity providers of a pool, inside one transaction of the caller's.
//!
//! They are kept so that what refers to one is held to it; nobody signs in here. So an OpenID Connect client's secret is
//! of no use, and is not kept.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::resource_servers::require_pool;
use super::store::{Failure, limit_of};
use crate::broker::ports::{Fault, PortPage, ProtocolSpec, ProviderDrift, ProviderSpec, SamlSource};
use crate::domain::id::UserPoolId;
use crate::domain::provider::MAX_PROVIDERS_PER_POOL;

/// Of each setting its path in the contract and its value.
#[derive(Serialize, Deserialize)]
struct Kept(BTreeMap<String, String>);

/// The paths of what is kept, and values; that of the protocol alone says which it is.
fn settings_of(spec: &ProviderSpec) -> BTreeMap<&'static str, String> {
    let mapping = spec.attribute_mapping.iter().map(|(key, value)| format!("{key}={value}"));
    let mut settings =
        BTreeMap::from([("identity_providers.attribute_mapping", mapping.collect::<Vec<_>>().join("\n"))]);
    match &spec.protocol {
        ProtocolSpec::Oidc(oidc) => settings.extend([
            ("identity_providers.oidc", String::new()),
            ("identity_providers.oidc.issuer", oidc.issuer.clone()),
            ("identity_providers.oidc.client_id", oidc.client_id.clone()),
            ("identity_providers.oidc.scopes", oidc.scopes.join(" ")),
            ("identity_providers.oidc.authorize_url", oidc.authorize_url.clone()),
            ("identity_providers.oidc.token_url", oidc.token_url.clone()),
            ("identity_providers.oidc.user_info_url", oidc.user_info_url.clone()),
            ("identity_providers.oidc.jwks_uri", oidc.jwks_uri.clone()),
        ]),
        ProtocolSpec::Saml(saml) => {
            let (SamlSource::Url(metadata) | SamlSource::Document(metadata)) = &saml.metadata;
            settings.extend([
                ("identity_providers.saml", String::new()),
                ("identity_providers.saml.metadata", metadata.clone()),
                ("identity_providers.saml.sign_out", saml.sign_out.to_string()),
                ("identity_providers.saml.encrypted_responses", saml.encrypted_responses.to_string()),
            ]);
        }
    }
    settings
}

/// Creates it, or brings it up to `spec`.
pub(super) fn put(tx: &Transaction<'_>, user_pool: &UserPoolId, spec: &ProviderSpec) -> Result<(), Failure> {
    require_pool(tx, user_pool)?;
    let wanted = settings_of(spec);
    match find(tx, user_pool, &spec.name)? {
        None => {
            let sql = "SELECT count(*) FROM identity_providers WHERE user_pool = ?1";
            let count: usize = tx.prepare_cached(sql)?.query_row([user_pool.as_str()], |row| row.get(0))?;
            if count >= MAX_PROVIDERS_PER_POOL {
                let detail = format!("{user_pool} has {MAX_PROVIDERS_PER_POOL} identity providers");
                return Err(Failure::told(Fault::LimitExceeded, detail));
            }
        }
        Some(seen)
            if seen.0.contains_key("identity_providers.oidc") != wanted.contains_key("identity_providers.oidc") =>
        {
            return Err(Failure::refused(format!("the protocol of {} stays as it is", spec.name)));
        }
        Some(_) => {}
    }
    let text = serde_json::to_string(&wanted).map_err(|_| Failure::broken("identity provider"))?;
    let sql = "INSERT INTO identity_providers (user_pool, name, settings) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET settings = ?3";
    tx.prepare_cached(sql)?.execute(params![user_pool.as_str(), spec.name, text])?;
    Ok(())
}

pub(super) fn compare(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    spec: &ProviderSpec,
) -> Result<Option<ProviderDrift>, Failure> {
    let Some(seen) = find(tx, user_pool, &spec.name)? else { return Ok(None) };
    let wanted = settings_of(spec);
    Ok(Some(
        wanted.into_iter().filter(|(path, value)| seen.0.get(*path) != Some(value)).map(|(path, _)| path).collect(),
    ))
}

/// Those after the one of this name, in the order of names.
pub(super) fn list(
    tx: &Transaction<'_>,
    user_pool: &UserPoolId,
    after: &str,
    limit: usize,
) -> Result<PortPage<String>, Failure> {
    require_pool(tx, user_pool)?;
    let sql = "SELECT name FROM identity_providers WHERE user_pool = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
    let mut statement = tx.prepare_cached(sql)?;
    let names = statement.query_map(params![user_pool.as_str(), after, limit_of(limit)], |row| row.get(0))?;
    let items: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    Ok(PortPage { next: items.last().filter(|_| items.len() == limit).cloned(), items })
}

/// Fails while an app client names it, so that nobody is left with a sign-in that leads nowhere.
pub(super) fn delete(tx: &Transaction<'_>, user_pool: &UserPoolId, name: &str) -> Result<(), Failure> {
    let sql = "SELECT 1 FROM app_clients, json_each(app_clients.sign_in, '$.providers')
               WHERE user_pool = ?1 AND sign_in IS NOT NULL AND json_each.value = ?2";
    if tx.prepare_cached(sql)?.exists([user_pool.as_str(), name])? {
        return Err(Failure::refused(format!("an app client of {user_pool} names {name}")));
    }
    let sql = "DELETE FROM identity_providers WHERE user_pool = ?1 AND name = ?2";
    tx.prepare_cached(sql)?.execute([user_pool.as_str(), name])?;
    Ok(())
}

fn find(tx: &Transaction<'_>, user_pool: &UserPoolId, name: &str) -> Result<Option<Kept>, Failure> {
    let sql = "SELECT settings FROM identity_providers WHERE user_pool = ?1 AND name = ?2";
    let place = [user_pool.as_str(), name];
    let text: Option<String> = tx.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| Failure::broken("identity provider"))).transpose()
}
