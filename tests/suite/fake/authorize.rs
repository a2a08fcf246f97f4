//! `/oauth2/authorize`, where the browser of somebody who wants to sign in is sent, by the hosts that AWS has for that.
//!
//! By the developer guide's page on the authorize endpoint and RFC 6749, section 4.1.2.1. Where these are silent, the less
//! convenient: an identity provider that the app client does not support, and a parameter that comes twice, are
//! `invalid_request`; a scope that the app client does not have is `invalid_scope`, though the guide once said that it is ignored.
//! Nobody signs in here: what is answered is where the browser goes next.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::http::{Answer, Asked};
use super::tokens::{json_answer, read_form};
use super::world::{AppClient, Pool, World, texts_of};

type Pairs = Vec<(String, String)>;

/// Why a browser is not sent on to where people sign in.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It stays here, with a page: whom the request is of, or where it would go back to, is not known.
    Page(u16, &'static str),
    /// It goes back to this `redirect_uri`, with the error.
    Back(String, &'static str),
}

/// Where the browser goes.
pub fn authorize(world: &World, asked: &Asked, now: Timestamp) -> Result<String, Refusal> {
    let page = |status, why| Err(Refusal::Page(status, why));
    let host = asked.header("host");
    let Some(pool) = pool_at(world, host, now) else { return page(404, "no such host") };
    if asked.method != "GET" {
        return page(405, "only GET");
    }
    let Some(pairs) = read_form(&asked.query) else { return page(400, "invalid_request") };
    let (client, redirect_uri) = (only(&pairs, "client_id"), only(&pairs, "redirect_uri"));
    let Some(client) = client.and_then(|id| pool.clients.get(id)) else { return page(400, "invalid client") };
    let callbacks = texts_of(&client.settings, "CallbackURLs");
    let Some(redirect_uri) = redirect_uri.filter(|uri| callbacks.iter().any(|callback| callback == uri)) else {
        return page(400, "redirect_mismatch");
    };
    check(client, &pairs).map_err(|error| Refusal::Back(redirect_uri.to_owned(), error))?;
    Ok(match only(&pairs, "identity_provider").and_then(|name| pool.providers.get(name)) {
        Some(provider) => at_provider(provider, host),
        None => format!("https://{host}/login?{}", asked.query),
    })
}

pub fn answer(outcome: &Result<String, Refusal>) -> Answer {
    let sent = |to: String| Answer { status: 302, headers: vec![("location", to)], body: Vec::new() };
    match outcome {
        Ok(to) => sent(to.clone()),
        Err(Refusal::Page(status, why)) => json_answer(*status, &json!({ "page": why })),
        Err(Refusal::Back(redirect_uri, error)) => {
            let sign = if redirect_uri.contains('?') { '&' } else { '?' };
            sent(format!("{redirect_uri}{sign}error={error}"))
        }
    }
}

/// The pool that is served at a host: below the Region's name, or at a name of somebody's own.
fn pool_at<'w>(world: &'w World, host: &str, now: Timestamp) -> Option<&'w Pool> {
    let custom = world.custom_domains.get(host).filter(|custom| custom.is_served(now)).map(|custom| &custom.pool);
    let prefix = || {
        let (prefix, region) = host.strip_suffix(".amazoncognito.com")?.split_once(".auth.")?;
        world.domains.get(&(region.to_owned(), prefix.to_owned()))
    };
    world.pools.get(custom.or_else(prefix)?)
}

/// A parameter that is there once, and not empty.
fn only<'p>(pairs: &'p Pairs, name: &str) -> Option<&'p str> {
    let mut found = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    found.next().filter(|value| found.next().is_none() && !value.is_empty())
}

fn check(client: &AppClient, pairs: &Pairs) -> Result<(), &'static str> {
    let given = |name: &str| pairs.iter().any(|(known, _)| known == name);
    let is_twice = |(name, _): &(String, String)| pairs.iter().filter(|(known, _)| known == name).count() > 1;
    if pairs.iter().any(is_twice) {
        return Err("invalid_request");
    }
    let flow = match only(pairs, "response_type") {
        Some("code") => "code",
        Some("token") => "implicit",
        _ => return Err("invalid_request"),
    };
    let settings = &client.settings;
    let has_flow = texts_of(settings, "AllowedOAuthFlows").iter().any(|allowed| allowed == flow);
    if !has_flow || settings["AllowedOAuthFlowsUserPoolClient"] != true {
        return Err("unauthorized_client");
    }
    if let Some(name) = only(pairs, "identity_provider")
        && !texts_of(settings, "SupportedIdentityProviders").iter().any(|supported| supported == name)
    {
        return Err("invalid_request");
    }
    let challenge = only(pairs, "code_challenge");
    let is_challenge = |text: &str| {
        (43..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    match (challenge, only(pairs, "code_challenge_method")) {
        (None, None) if !given("code_challenge") && !given("code_challenge_method") => {}
        (Some(challenge), Some("S256")) if is_challenge(challenge) => {}
        _ => return Err("invalid_request"),
    }
    let (allowed, asked) = (texts_of(settings, "AllowedOAuthScopes"), only(pairs, "scope").unwrap_or_default());
    let asked: Vec<_> = asked.split_whitespace().collect();
    let needs_openid = |scope: &&str| ["email", "phone", "profile"].contains(scope);
    let is_known = |scope: &&str| allowed.iter().any(|known| known == scope);
    if !asked.iter().all(is_known) || (asked.iter().any(needs_openid) && !asked.contains(&"openid")) {
        return Err("invalid_scope");
    }
    Ok(())
}

/// Where a provider has people sign in. Cognito finds that out from the provider's own metadata.
fn at_provider(provider: &Value, host: &str) -> String {
    let details = &provider["ProviderDetails"];
    let said = |key: &str| details[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match provider["ProviderType"].as_str() {
        Some("OIDC") => {
            let issuer = said("oidc_issuer").unwrap_or_default();
            let place = said("authorize_url").unwrap_or_else(|| format!("{issuer}/authorize"));
            let client = said("client_id").unwrap_or_default();
            format!("{place}?client_id={client}&redirect_uri=https%3A%2F%2F{host}%2Foauth2%2Fidpresponse")
        }
        _ => format!("https://saml.example/{}?SAMLRequest=x", provider["ProviderName"].as_str().unwrap_or_default()),
    }
}
