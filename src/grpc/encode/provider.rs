//! A tenant's identity providers, without what is secret of them.

use crate::domain::provider::{IdentityProvider, OidcProvider, ProviderProtocol, SamlMetadata, SamlProvider};
use crate::proto::{self, identity_provider::Protocol, saml_provider::Metadata};

pub fn provider(provider: IdentityProvider) -> proto::IdentityProvider {
    let protocol = match provider.protocol {
        ProviderProtocol::Oidc(given) => Protocol::Oidc(oidc(given)),
        ProviderProtocol::Saml(given) => Protocol::Saml(saml(given)),
    };
    proto::IdentityProvider {
        provider_id: provider.id.into(),
        provider_name: provider.name,
        protocol: Some(protocol),
        attribute_mapping: provider.attribute_mapping,
    }
}

fn oidc(provider: OidcProvider) -> proto::OidcProvider {
    proto::OidcProvider {
        issuer: provider.issuer,
        client_id: provider.client_id,
        client_secret: String::new(),
        scopes: provider.scopes,
        authorize_url: provider.authorize_url,
        token_url: provider.token_url,
        user_info_url: provider.user_info_url,
        jwks_uri: provider.jwks_uri,
    }
}

fn saml(provider: SamlProvider) -> proto::SamlProvider {
    let metadata = match provider.metadata {
        SamlMetadata::Url(url) => Metadata::MetadataUrl(url),
        // It is there, and too long for an answer.
        SamlMetadata::Document(_) => Metadata::MetadataXml(String::new()),
    };
    proto::SamlProvider {
        metadata: Some(metadata),
        sign_out: provider.sign_out,
        encrypted_responses: provider.encrypted_responses,
    }
}
