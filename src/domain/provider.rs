//! A tenant's external identity provider, as Cognito federates with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::id::ProviderId;
use super::id::VersionId;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityProvider {
    pub id: ProviderId,
    /// What it is called at Cognito: unique in its pool, so in a shared one it is not the id.
    pub name: String,
    pub protocol: ProviderProtocol,
    /// From an attribute of the user pool to the provider's claim or attribute.
    pub attribute_mapping: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderProtocol {
    /// OpenID Connect.
    Oidc(OidcProvider),
    /// SAML 2.0.
    Saml(SamlProvider),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcProvider {
    pub issuer: String,
    pub client_id: String,
    /// The version in the vault that has its client secret. The secret is nowhere else, but at Cognito.
    pub secret: VersionId,
    /// The scopes to ask for.
    pub scopes: Vec<String>,
    /// The endpoints. Each is empty where Cognito discovers it from the issuer.
    pub authorize_url: String,
    pub token_url: String,
    pub user_info_url: String,
    pub jwks_uri: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamlProvider {
    pub metadata: SamlMetadata,
    pub sign_out: bool,
    pub encrypted_responses: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SamlMetadata {
    /// Where Cognito reads it, again and again.
    Url(String),
    /// The SHA-256 of a document, in hexadecimal. The document is too large for a record that is read often, so it is on a shelf of its own.
    Document(String),
}
