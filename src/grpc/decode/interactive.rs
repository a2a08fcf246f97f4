//! How people sign in with a client, and which of its settings belong to which kind.

use std::collections::BTreeSet;

use super::url::redirects;
use super::{duration, enumeration, not_offered};
use crate::broker::api::WantedScopes;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::interactive::{
    ClientKind, DEFAULT_ID_TOKEN_VALIDITY, DEFAULT_REFRESH_TOKEN_VALIDITY, InteractiveSettings, StandardScope,
};
use crate::domain::provider::{MAX_PROVIDERS_PER_TENANT, ProviderId};
use crate::domain::scope::{MAX_SCOPES_PER_CLIENT, Scope};
use crate::proto;

const PATH: &str = "client.interactive";

pub fn kind(client: &proto::Client) -> Result<ClientKind> {
    Ok(match enumeration("client.kind", client.kind)? {
        proto::ClientKind::Unspecified | proto::ClientKind::Machine => ClientKind::Machine,
        proto::ClientKind::Interactive => ClientKind::Interactive,
    })
}

/// How people sign in with a client of this kind, without its standard scopes. Fails where a setting belongs to the other
/// kind.
pub fn of_kind(client: &proto::Client) -> Result<Option<InteractiveSettings>> {
    let mismatch = |field: &str, rule: &str| Err(Error::invalid_because(Reason::ClientKindMismatch, field, rule));
    match (kind(client)?, &client.interactive) {
        (ClientKind::Machine, None) => Ok(None),
        (ClientKind::Machine, Some(_)) => mismatch(PATH, "is only for a client of kind INTERACTIVE"),
        (ClientKind::Interactive, None) => Err(required()),
        (ClientKind::Interactive, Some(_)) if client.rotation_policy.is_some() => {
            mismatch("client.rotation_policy", "is only for a client with a secret")
        }
        (ClientKind::Interactive, Some(_)) if !client.secret_readers.is_empty() => {
            mismatch("client.secret_readers", "is only for a client with a secret")
        }
        (ClientKind::Interactive, Some(given)) => settings(given.clone()).map(Some),
    }
}

pub fn required() -> Error {
    Error::invalid(PATH, "is required for a client of kind INTERACTIVE")
}

/// All but the standard scopes, which are among the client's `scopes`. How long its tokens are valid beside each other
/// is for whoever knows the rest of the client.
pub fn settings(given: proto::InteractiveSettings) -> Result<InteractiveSettings> {
    let at = |field: &str| format!("{PATH}.{field}");
    not_offered(&at("confidential"), given.confidential)?;
    let callback_urls = redirects(&at("callback_urls"), given.callback_urls)?;
    if callback_urls.is_empty() {
        return Err(Error::invalid(at("callback_urls"), "must hold at least one URL"));
    }
    let field = at("identity_provider_ids");
    if given.identity_provider_ids.len() > MAX_PROVIDERS_PER_TENANT {
        return Err(Error::invalid(field, format!("at most {MAX_PROVIDERS_PER_TENANT} providers")));
    }
    let id = |(i, id): (usize, &String)| ProviderId::parse(&format!("{field}[{i}]"), id);
    let identity_providers = given.identity_provider_ids.iter().enumerate().map(id).collect::<Result<_>>()?;
    let id_token = duration(&at("id_token_validity"), given.id_token_validity.as_ref())?;
    let refresh_token = duration(&at("refresh_token_validity"), given.refresh_token_validity.as_ref())?;
    Ok(InteractiveSettings {
        callback_urls,
        sign_out_urls: redirects(&at("sign_out_urls"), given.sign_out_urls)?,
        standard_scopes: BTreeSet::new(),
        identity_providers,
        allow_native_accounts: given.allow_native_accounts,
        id_token_validity: id_token.unwrap_or(DEFAULT_ID_TOKEN_VALIDITY),
        refresh_token_validity: refresh_token.unwrap_or(DEFAULT_REFRESH_TOKEN_VALIDITY),
        default_sign_in: given.default_sign_in,
    })
}

/// The scopes of a client of either kind, at least one.
pub fn scopes(client: &proto::Client) -> Result<WantedScopes> {
    const FIELD: &str = "client.scopes";
    if client.scopes.len() > MAX_SCOPES_PER_CLIENT {
        return Err(Error::invalid(FIELD, format!("at most {MAX_SCOPES_PER_CLIENT} scopes")));
    }
    if client.scopes.is_empty() {
        return Err(Error::invalid(FIELD, "a client needs at least one scope"));
    }
    let (mut standard, mut resource) = (BTreeSet::new(), Vec::new());
    for (i, text) in client.scopes.iter().enumerate() {
        match StandardScope::parse(text) {
            Some(scope) => drop(standard.insert(scope)),
            None => resource.push(Scope::parse(&format!("{FIELD}[{i}]"), text)?),
        }
    }
    Ok(WantedScopes { resource: resource.into_iter().collect(), standard })
}

/// Fails where a machine is to have scopes that only people get, or people ones that they do not get.
pub fn check_scopes(kind: ClientKind, scopes: &WantedScopes) -> Result<()> {
    if kind == ClientKind::Machine && !scopes.standard.is_empty() {
        let rule = "a machine client has scopes of resource servers alone";
        return Err(Error::invalid_because(Reason::ClientKindMismatch, "client.scopes", rule));
    }
    StandardScope::check("client.scopes", scopes.standard.iter().copied())
}
