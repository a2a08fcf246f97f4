//! What people sign in with, as a backend is told of it: app clients of the authorization-code grant (RFC 6749, section
//! 4.1), and the identity providers that these name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::interactive::StandardScope;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::ClientSecret;

/// An app client for people, as it should be: without a secret, with the authorization-code grant as its only flow.
/// Lists that Cognito keeps no order of are sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractiveSpec {
    /// Its name at Cognito, unique, by which a crash finds it again.
    pub marker: String,
    /// Of resource servers; may be empty.
    pub scopes: ScopeSet,
    pub standard_scopes: BTreeSet<StandardScope>,
    pub access_token_validity: Duration,
    pub id_token_validity: Duration,
    /// Not shorter than the other two.
    pub refresh_token_validity: Duration,
    /// At least one.
    pub callback_urls: BTreeSet<String>,
    pub sign_out_urls: BTreeSet<String>,
    /// The identity providers that people may use, as they are called in the pool, where they must be.
    pub providers: BTreeSet<String>,
    /// Whether people may use accounts of the pool itself.
    pub native_accounts: bool,
}

/// An app client for people as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InteractiveSeen {
    pub spec: InteractiveSpec,
    /// Whether it has no secret, the authorization-code grant as its only flow, and no way past the hosted sign-in for
    /// accounts that this does not offer.
    pub is_interactive: bool,
}

/// An identity provider of a pool, as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSpec {
    /// What it is called in the pool, unique there.
    pub name: String,
    pub protocol: ProtocolSpec,
    /// From an attribute of the pool to the provider's claim or attribute.
    pub attribute_mapping: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolSpec {
    Oidc(OidcSpec),
    Saml(SamlSpec),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSpec {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: ClientSecret,
    pub scopes: Vec<String>,
    /// Each is empty where it is discovered from the issuer.
    pub authorize_url: String,
    pub token_url: String,
    pub user_info_url: String,
    pub jwks_uri: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamlSpec {
    pub metadata: SamlSource,
    pub sign_out: bool,
    pub encrypted_responses: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SamlSource {
    Url(String),
    /// XML.
    Document(String),
}

/// Which settings of an identity provider are not as they should be, each by its path in the contract's
/// `IdentityProvider`. What a backend does not tell of one is not among them.
pub type ProviderDrift = BTreeSet<&'static str>;
