//! A tenant's identity providers.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::url::https;
use crate::broker::api::{NewMetadata, NewOidc, NewProtocol, NewProvider, NewSaml};
use crate::domain::error::{Error, Result};
use crate::domain::provider::{MAX_PROVIDERS_PER_TENANT, ProviderId};
use crate::domain::secret::ClientSecret;
use crate::proto::{self, identity_provider::Protocol, saml_provider::Metadata};

/// Entries of an attribute mapping; of a key and a value, characters (`AttributeMappingType`).
const MAX_MAPPINGS: usize = 50;
const MAX_ATTRIBUTE: usize = 32;
const MAX_CLAIM: usize = 2_048;
/// Of a SAML document, characters; and bytes, so that it fits a record whatever its characters are.
const MAX_DOCUMENT: usize = 102_400;
const MAX_DOCUMENT_BYTES: usize = 180_000;
const MAX_CLIENT_ID: usize = 1_024;
const MAX_SCOPES: usize = 50;
const MAX_SCOPE: usize = 256;

/// All of a tenant's, each with an id of its own.
pub fn providers(given: Vec<proto::IdentityProvider>) -> Result<Vec<NewProvider>> {
    const FIELD: &str = "tenant.identity_providers";
    // Wiped also when something else is found to be wrong.
    let given: Vec<_> = given.into_iter().map(without_secret).collect();
    if given.len() > MAX_PROVIDERS_PER_TENANT {
        return Err(Error::invalid(FIELD, format!("at most {MAX_PROVIDERS_PER_TENANT} identity providers")));
    }
    let mut ids = BTreeSet::new();
    let mut providers = Vec::with_capacity(given.len());
    for (i, (provider, secret)) in given.into_iter().enumerate() {
        let field = format!("{FIELD}[{i}]");
        let provider = one(&field, provider, secret)?;
        if !ids.insert(provider.id.clone()) {
            return Err(Error::invalid(format!("{field}.provider_id"), "is there twice"));
        }
        providers.push(provider);
    }
    Ok(providers)
}

fn without_secret(mut provider: proto::IdentityProvider) -> (proto::IdentityProvider, Zeroizing<String>) {
    let secret = match &mut provider.protocol {
        Some(Protocol::Oidc(oidc)) => std::mem::take(&mut oidc.client_secret),
        Some(Protocol::Saml(_)) | None => String::new(),
    };
    (provider, Zeroizing::new(secret))
}

fn one(field: &str, given: proto::IdentityProvider, secret: Zeroizing<String>) -> Result<NewProvider> {
    Ok(NewProvider {
        id: ProviderId::parse(&format!("{field}.provider_id"), &given.provider_id)?,
        protocol: match given.protocol {
            None => return Err(Error::invalid(field, "one of oidc and saml is required")),
            Some(Protocol::Oidc(given)) => NewProtocol::Oidc(oidc(&format!("{field}.oidc"), given, &secret)?),
            Some(Protocol::Saml(given)) => NewProtocol::Saml(saml(&format!("{field}.saml"), given)?),
        },
        attribute_mapping: mapping(&format!("{field}.attribute_mapping"), given.attribute_mapping)?,
    })
}

fn oidc(field: &str, given: proto::OidcProvider, secret: &str) -> Result<NewOidc> {
    let at = |name: &str| format!("{field}.{name}");
    let optional = |name: &str, url: String| if url.is_empty() { Ok(url) } else { https(&at(name), url) };
    let is_plain = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_plain(&given.client_id, MAX_CLIENT_ID) {
        let rule = format!("must be 1 to {MAX_CLIENT_ID} printable ASCII characters without spaces");
        return Err(Error::invalid(at("client_id"), rule));
    }
    let scopes = if given.scopes.is_empty() { vec!["openid".to_owned(), "email".to_owned()] } else { given.scopes };
    if scopes.len() > MAX_SCOPES || !scopes.iter().all(|scope| is_plain(scope, MAX_SCOPE)) {
        let rule = format!("at most {MAX_SCOPES}, each 1 to {MAX_SCOPE} printable ASCII characters without spaces");
        return Err(Error::invalid(at("scopes"), rule));
    }
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(Error::invalid(at("scopes"), "must hold openid"));
    }
    let client_secret = match secret {
        "" => None,
        text => Some(ClientSecret::parse_foreign(&at("client_secret"), text)?),
    };
    Ok(NewOidc {
        issuer: https(&at("issuer"), given.issuer)?,
        client_id: given.client_id,
        client_secret,
        scopes,
        authorize_url: optional("authorize_url", given.authorize_url)?,
        token_url: optional("token_url", given.token_url)?,
        user_info_url: optional("user_info_url", given.user_info_url)?,
        jwks_uri: optional("jwks_uri", given.jwks_uri)?,
    })
}

fn saml(field: &str, given: proto::SamlProvider) -> Result<NewSaml> {
    let metadata = match given.metadata {
        None => return Err(Error::invalid(field, "one of metadata_url and metadata_xml is required")),
        Some(Metadata::MetadataUrl(url)) => NewMetadata::Url(https(&format!("{field}.metadata_url"), url)?),
        Some(Metadata::MetadataXml(text)) if text.is_empty() => NewMetadata::Kept,
        Some(Metadata::MetadataXml(text)) => NewMetadata::Document(document(&format!("{field}.metadata_xml"), text)?),
    };
    Ok(NewSaml { metadata, sign_out: given.sign_out, encrypted_responses: given.encrypted_responses })
}

/// Looks like XML; whether it is metadata is for Cognito to say.
fn document(field: &str, text: String) -> Result<String> {
    let is_text = !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    let is_xml = text.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    if !is_text || !is_xml || text.chars().count() > MAX_DOCUMENT || text.len() > MAX_DOCUMENT_BYTES {
        let rule = format!("must be XML of at most {MAX_DOCUMENT} characters and {MAX_DOCUMENT_BYTES} bytes");
        return Err(Error::invalid(field, rule));
    }
    Ok(text)
}

fn mapping(field: &str, given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    if given.len() > MAX_MAPPINGS {
        return Err(Error::invalid(field, format!("at most {MAX_MAPPINGS} attributes")));
    }
    for (attribute, claim) in &given {
        let key_fits =
            (1..=MAX_ATTRIBUTE).contains(&attribute.len()) && attribute.bytes().all(|b| b.is_ascii_graphic());
        let claim_fits = (1..=MAX_CLAIM).contains(&claim.chars().count()) && !claim.chars().any(char::is_control);
        if !key_fits || !claim_fits {
            let rule = format!(
                "an attribute is 1 to {MAX_ATTRIBUTE} printable ASCII characters without spaces, a claim 1 to {MAX_CLAIM} \
                 characters, none of them a control character"
            );
            return Err(Error::invalid(field, rule));
        }
    }
    Ok(given)
}
