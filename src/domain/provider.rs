//! A tenant's external identity provider, as Cognito federates with it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::chain::Digest;
pub use super::id::ProviderId;
use super::id::{TenantId, VersionId};

/// Identity providers of one user pool: Cognito's quota, which is not adjustable (Amazon Cognito Developer Guide,
/// "Quotas").
pub const MAX_PROVIDERS_PER_POOL: usize = 300;
/// Identity providers of one tenant at the most.
pub const MAX_PROVIDERS_PER_TENANT: usize = 20;

/// What a provider's name in its pool says, where Keyward gave the name: `<tenant>.<who>-<which>`, of which the first part
/// is cut, `who` is a digest of the tenant's uid and `which` one of the provider's id. So it is the same whenever it is
/// asked for, another tenant's is another one, and so is that of a tenant which takes the id of one that was deleted.
///
/// 32 characters at the most, of which the first and the last are no underscore (`ProviderNameTypeV2`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderName {
    /// The tenant's id, or what there is room for of it.
    pub tenant: String,
    who: String,
    which: String,
}

impl ProviderName {
    pub fn of(tenant: &TenantId, tenant_uid: &str, provider: &ProviderId) -> Self {
        let digest = |text: String| Digest::of(text.as_bytes()).to_string();
        ProviderName {
            tenant: format!("{:.12}", tenant.as_str()),
            who: format!("{:.10}", digest(format!("keyward provider of tenant\n{tenant_uid}"))),
            which: format!("{:.8}", digest(format!("keyward provider\n{provider}"))),
        }
    }

    /// `None` for a name of another form: the provider is not Keyward's.
    pub fn read(name: &str) -> Option<Self> {
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let (rest, which) = name.rsplit_once('-').filter(|(_, which)| is_hex(which, 8))?;
        let (tenant, who) = rest.rsplit_once('.').filter(|(_, who)| is_hex(who, 10))?;
        let is_id = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=12).contains(&tenant.len()) && tenant.bytes().all(is_id);
        fits.then(|| ProviderName { tenant: tenant.to_owned(), who: who.to_owned(), which: which.to_owned() })
    }

    /// Whether it is one of this tenant's, now or once.
    pub fn is_of(&self, tenant: &TenantId, tenant_uid: &str) -> bool {
        let own =
            format!("{:.10}", Digest::of(format!("keyward provider of tenant\n{tenant_uid}").as_bytes()).to_string());
        self.who == own && tenant.as_str().starts_with(&self.tenant)
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.tenant, self.who, self.which)
    }
}

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
    /// The SHA-256 of a document, in hexadecimal. The document is too large for a record that is read often, so it is on a
    /// shelf of its own.
    Document(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse("tenant", id).expect("an id")
    }

    fn provider(id: &str) -> ProviderId {
        ProviderId::parse("provider", id).expect("an id")
    }

    #[test]
    fn a_providers_name_is_the_same_each_time_and_anothers_is_another() {
        let long = "a".repeat(63);
        for id in ["acme", "or-de-rs", &long] {
            let name = ProviderName::of(&tenant(id), "0123456789abcdef", &provider("okta"));
            let text = name.to_string();
            assert!((3..=32).contains(&text.len()), "{text}");
            assert_eq!(ProviderName::read(&text), Some(name.clone()), "{text}");
            assert_eq!(ProviderName::of(&tenant(id), "0123456789abcdef", &provider("okta")), name);
            assert!(name.is_of(&tenant(id), "0123456789abcdef"));
            for other in [
                ProviderName::of(&tenant(id), "0123456789abcdef", &provider("entra")),
                ProviderName::of(&tenant(id), "fedcba9876543210", &provider("okta")),
            ] {
                assert_ne!(other.to_string(), text);
            }
            assert!(!name.is_of(&tenant(id), "fedcba9876543210"), "it had the id before");
            assert!(!name.is_of(&tenant("zzz"), "0123456789abcdef"));
        }
    }

    #[test]
    fn a_name_of_another_form_is_not_keywards() {
        for foreign in [
            ".0123456789-01234567",
            "acme-acme-acm.0123456789-01234567",
            "Okta",
            "acme.okta",
            "acme.0123456789-0123456",
            "acme.0123456789-0123456Z",
            "ACME.0123456789-01234567",
        ] {
            assert_eq!(ProviderName::read(foreign), None, "{foreign}");
        }
    }
}
