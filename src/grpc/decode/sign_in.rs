//! Names that tenants claim, and who wants to sign in.
//!
//! What a person gave is in no error: what is wrong with it is said in words that hold nothing of it.

use std::collections::BTreeSet;

use crate::broker::api::{Hint, PassedOn, SignInQuestion, ascii_name, email_domain};
use crate::domain::error::{Error, Result};
use crate::domain::id::{AppClientId, ClientId, Issuer, TenantId};
use crate::domain::interactive::StandardScope;
use crate::domain::scope::MAX_SCOPES_PER_CLIENT;
use crate::domain::sign_in::{MAX_SIGN_IN_DOMAINS, SignInDomain, SignInDomainKind};
use crate::proto::{self, match_tenant_request as given};

use super::enumeration;

/// The longest address of a mailbox (RFC 5321, section 4.5.3.1), with room for the non-ASCII spelling of its domain.
const MAX_EMAIL: usize = 1_024;
const MAX_STATE: usize = 2_048;
const MAX_NONCE: usize = 512;
/// As long as a callback URL may be.
const MAX_REDIRECT_URI: usize = 1_024;
const MAX_SCOPE: usize = 256;

/// The names that a tenant is to claim.
pub fn domains(given: Vec<proto::SignInDomain>) -> Result<Vec<SignInDomain>> {
    const FIELD: &str = "tenant.sign_in_domains";
    if given.len() > MAX_SIGN_IN_DOMAINS {
        return Err(Error::invalid(FIELD, format!("at most {MAX_SIGN_IN_DOMAINS} names")));
    }
    let (mut names, mut seen) = (Vec::with_capacity(given.len()), BTreeSet::new());
    for (at, given) in given.into_iter().enumerate() {
        let field = format!("{FIELD}[{at}]");
        let kind = match enumeration(&format!("{field}.kind"), given.kind)? {
            proto::SignInDomainKind::Email => SignInDomainKind::Email,
            proto::SignInDomainKind::Host => SignInDomainKind::Host,
            proto::SignInDomainKind::Unspecified => {
                return Err(Error::invalid(format!("{field}.kind"), "is required"));
            }
        };
        let field_of_domain = format!("{field}.domain");
        match ascii_name(&given.domain) {
            Some(name) if name == given.domain => {}
            // So that nobody claims another name than the one that they see.
            Some(name) => return Err(Error::invalid(field_of_domain, format!("must be written as {name}"))),
            None => return Err(Error::invalid(field_of_domain, "must be the name of a domain, such as example.com")),
        }
        let name = SignInDomain::claimable(&field_of_domain, &given.domain, kind)?;
        if !seen.insert(name.clone()) {
            return Err(Error::invalid(field, "is there twice"));
        }
        names.push(name);
    }
    Ok(names)
}

/// Who wants to sign in.
pub fn question(request: proto::MatchTenantRequest) -> Result<SignInQuestion> {
    let hint = match request.hint {
        None => return Err(Error::invalid("hint", "one is required")),
        Some(given::Hint::Email(email)) if email.len() <= MAX_EMAIL => Hint::Email(
            email_domain(&email).ok_or_else(|| Error::invalid("email", "must be an email address or a domain"))?,
        ),
        Some(given::Hint::Email(_)) => return Err(Error::invalid("email", "is too long")),
        Some(given::Hint::Host(host)) => Hint::Host(
            ascii_name(&host).ok_or_else(|| Error::invalid("host", "must be the name of a host, without a port"))?,
        ),
        Some(given::Hint::Tenant(name)) => Hint::Tenant(TenantId::from_name("tenant", &name)?),
        Some(given::Hint::Issuer(issuer)) => Hint::Issuer(Issuer::parse("issuer", &issuer)?),
        Some(given::Hint::AppClientId(id)) => Hint::AppClient(AppClientId::parse("app_client_id", &id)?),
    };
    let client = match request.client_id.as_str() {
        "" => None,
        id => Some(ClientId::parse("client_id", id)?),
    };
    at_most("redirect_uri", &request.redirect_uri, MAX_REDIRECT_URI)?;
    if request.scopes.len() > MAX_SCOPES_PER_CLIENT {
        return Err(Error::invalid("scopes", format!("at most {MAX_SCOPES_PER_CLIENT} scopes")));
    }
    for (at, scope) in request.scopes.iter().enumerate() {
        // RFC 6749, section 3.3.
        let is_token = scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        if scope.is_empty() || scope.len() > MAX_SCOPE || !is_token {
            return Err(Error::invalid(format!("scopes[{at}]"), "is not a scope"));
        }
    }
    StandardScope::check("scopes", request.scopes.iter().filter_map(|scope| StandardScope::parse(scope)))?;
    Ok(SignInQuestion {
        hint,
        client,
        redirect_uri: Some(request.redirect_uri).filter(|uri| !uri.is_empty()),
        scopes: request.scopes,
        passed: passed(request.state, request.nonce, request.code_challenge, &request.code_challenge_method)?,
    })
}

fn passed(state: String, nonce: String, code_challenge: String, method: &str) -> Result<PassedOn> {
    at_most("state", &state, MAX_STATE)?;
    at_most("nonce", &nonce, MAX_NONCE)?;
    // RFC 7636, section 4.2.
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let fits = code_challenge.is_empty() || (43..=128).contains(&code_challenge.len());
    if !fits || !code_challenge.bytes().all(is_unreserved) {
        return Err(Error::invalid("code_challenge", "must be 43 to 128 characters of [A-Za-z0-9._~-]"));
    }
    match (method, code_challenge.is_empty()) {
        ("", _) | ("S256", false) => Ok(PassedOn { state, nonce, code_challenge }),
        ("S256", true) => Err(Error::invalid("code_challenge", "is required with a code_challenge_method")),
        _ => Err(Error::invalid("code_challenge_method", "must be S256")),
    }
}

fn at_most(field: &str, text: &str, most: usize) -> Result<()> {
    match text.chars().count() > most {
        true => Err(Error::invalid(field, format!("must be at most {most} characters"))),
        false => Ok(()),
    }
}
