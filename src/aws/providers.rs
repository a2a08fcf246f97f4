//! Identity providers of a user pool.
//!
//! `UpdateIdentityProvider` comes first and `CreateIdentityProvider` only where there is nothing to update, so either can
//! be repeated. What Cognito tells of one is compared here, since it tells the client secret too, which is to go no
//! further.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_cognitoidentityprovider::types::{IdentityProviderType, IdentityProviderTypeType};
use zeroize::Zeroize as _;

use super::cognito::{Cognito, PAGE, asking};
use super::faults::if_there;
use crate::broker::ports::{
    Fault, OidcSpec, PortPage, PortResult, ProtocolSpec, ProviderDrift, ProviderSpec, SamlSource, SamlSpec,
};
use crate::domain::pool::MadePool;

/// The mapping that Cognito makes by itself for OpenID Connect.
const OWN_MAPPING: &str = "username";

impl Cognito {
    pub(super) async fn put_provider(&self, pool: &MadePool, spec: &ProviderSpec) -> PortResult<()> {
        let asking = asking("put an identity provider");
        let region = self.regions.get(asking, &pool.region)?;
        let mapping: HashMap<_, _> = spec.attribute_mapping.clone().into_iter().collect();
        let request = region.cognito.update_identity_provider().user_pool_id(pool.user_pool.as_str());
        let request = request.provider_name(&spec.name).set_provider_details(Some(details_of(&spec.protocol)));
        let request = request.set_attribute_mapping(Some(mapping.clone()));
        let updated = if_there(self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await)?;
        if updated.is_some() {
            return Ok(());
        }
        let request = region.cognito.create_identity_provider().user_pool_id(pool.user_pool.as_str());
        let request = request.provider_name(&spec.name).provider_type(type_of(&spec.protocol));
        let request = request.set_provider_details(Some(details_of(&spec.protocol)));
        let request = request.set_attribute_mapping(Some(mapping).filter(|mapping| !mapping.is_empty()));
        self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        Ok(())
    }

    pub(super) async fn compare_provider(
        &self,
        pool: &MadePool,
        spec: &ProviderSpec,
    ) -> PortResult<Option<ProviderDrift>> {
        let asking = asking("describe an identity provider");
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.describe_identity_provider();
        let request = request.user_pool_id(pool.user_pool.as_str()).provider_name(&spec.name);
        let answer = if_there(self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await)?;
        let Some(answer) = answer else { return Ok(None) };
        let no_provider =
            || asking.error(Fault::Unavailable, "DescribeIdentityProvider answered without an identity provider");
        let mut seen = answer.identity_provider.ok_or_else(no_provider)?;
        let differing = compare(spec, &seen);
        if let Some(secret) = seen.provider_details.as_mut().and_then(|details| details.get_mut("client_secret")) {
            secret.zeroize();
        }
        Ok(Some(differing))
    }

    pub(super) async fn list_providers(&self, pool: &MadePool, after: Option<&str>) -> PortResult<PortPage<String>> {
        let asking = asking("list identity providers");
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.list_identity_providers().user_pool_id(pool.user_pool.as_str());
        let request = request.max_results(PAGE).set_next_token(after.map(str::to_owned));
        let page = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
        let names = page.providers().iter().filter_map(|provider| provider.provider_name().map(str::to_owned));
        Ok(PortPage { items: names.collect(), next: page.next_token().map(str::to_owned) })
    }

    pub(super) async fn delete_provider(&self, pool: &MadePool, name: &str) -> PortResult<()> {
        let asking = asking("delete an identity provider");
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.delete_identity_provider();
        let request = request.user_pool_id(pool.user_pool.as_str()).provider_name(name);
        if_there(self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await)?;
        Ok(())
    }
}

fn type_of(protocol: &ProtocolSpec) -> IdentityProviderTypeType {
    match protocol {
        ProtocolSpec::Oidc(_) => IdentityProviderTypeType::Oidc,
        ProtocolSpec::Saml(_) => IdentityProviderTypeType::Saml,
    }
}

/// `ProviderDetails`, by the API reference of `CreateIdentityProvider`.
pub(super) fn details_of(protocol: &ProtocolSpec) -> HashMap<String, String> {
    let mut details = HashMap::new();
    let mut set = |key: &str, value: &str| drop(details.insert(key.to_owned(), value.to_owned()));
    match protocol {
        ProtocolSpec::Oidc(oidc) => {
            set("client_id", &oidc.client_id);
            set("client_secret", oidc.client_secret.expose());
            set("attributes_request_method", "GET");
            set("oidc_issuer", &oidc.issuer);
            set("authorize_scopes", &oidc.scopes.join(" "));
            for (key, _, url) in endpoints(oidc).into_iter().filter(|(_, _, url)| !url.is_empty()) {
                set(key, url);
            }
        }
        ProtocolSpec::Saml(SamlSpec { metadata, sign_out, encrypted_responses }) => {
            match metadata {
                SamlSource::Url(url) => set("MetadataURL", url),
                SamlSource::Document(document) => set("MetadataFile", document),
            }
            set("IDPSignout", &sign_out.to_string());
            set("EncryptedResponses", &encrypted_responses.to_string());
        }
    }
    details
}

/// Each with its key, its path in the contract, and the URL.
fn endpoints(oidc: &OidcSpec) -> [(&'static str, &'static str, &str); 4] {
    [
        ("authorize_url", "identity_providers.oidc.authorize_url", &oidc.authorize_url),
        ("token_url", "identity_providers.oidc.token_url", &oidc.token_url),
        ("attributes_url", "identity_providers.oidc.user_info_url", &oidc.user_info_url),
        ("jwks_uri", "identity_providers.oidc.jwks_uri", &oidc.jwks_uri),
    ]
}

/// What Cognito does not tell is taken to be right: it says nothing of a document, perhaps nothing of a secret, and of an
/// endpoint what it has discovered.
pub(super) fn compare(spec: &ProviderSpec, seen: &IdentityProviderType) -> ProviderDrift {
    let empty = HashMap::new();
    let details = seen.provider_details().unwrap_or(&empty);
    let says = |key: &str| details.get(key).map(String::as_str);
    let mut differing = BTreeSet::new();
    let mut expect = |path: &'static str, holds: bool| {
        if !holds {
            differing.insert(path);
        }
    };
    let no_mapping = HashMap::new();
    let mapping: BTreeMap<_, _> = seen.attribute_mapping().unwrap_or(&no_mapping).iter().collect();
    let is_wanted = |(key, value): (&&String, &&String)| {
        spec.attribute_mapping.get(*key).map_or(*key == OWN_MAPPING, |wanted| wanted == *value)
    };
    let has_all = spec.attribute_mapping.keys().all(|key| mapping.contains_key(key));
    expect("identity_providers.attribute_mapping", has_all && mapping.iter().all(is_wanted));
    match &spec.protocol {
        ProtocolSpec::Oidc(oidc) => {
            expect("identity_providers.oidc", seen.provider_type() == Some(&IdentityProviderTypeType::Oidc));
            expect("identity_providers.oidc.issuer", says("oidc_issuer").is_none_or(|issuer| issuer == oidc.issuer));
            expect("identity_providers.oidc.client_id", says("client_id").is_none_or(|id| id == oidc.client_id));
            expect(
                "identity_providers.oidc.client_secret",
                says("client_secret").is_none_or(|secret| oidc.client_secret.is(secret)),
            );
            let set = |scopes: &str| scopes.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
            let wanted: BTreeSet<_> = oidc.scopes.iter().cloned().collect();
            expect(
                "identity_providers.oidc.scopes",
                says("authorize_scopes").is_none_or(|scopes| set(scopes) == wanted),
            );
            for (key, path, url) in endpoints(oidc) {
                expect(path, url.is_empty() || says(key) == Some(url));
            }
        }
        ProtocolSpec::Saml(saml) => {
            expect("identity_providers.saml", seen.provider_type() == Some(&IdentityProviderTypeType::Saml));
            let holds = match &saml.metadata {
                SamlSource::Url(url) => says("MetadataURL") == Some(url),
                SamlSource::Document(document) => {
                    says("MetadataURL").is_none_or(str::is_empty)
                        && says("MetadataFile").is_none_or(|seen| seen == document)
                }
            };
            expect("identity_providers.saml.metadata", holds);
            let is_true = |key: &str| says(key).is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
            expect("identity_providers.saml.sign_out", is_true("IDPSignout") == saml.sign_out);
            expect(
                "identity_providers.saml.encrypted_responses",
                is_true("EncryptedResponses") == saml.encrypted_responses,
            );
        }
    }
    differing
}
