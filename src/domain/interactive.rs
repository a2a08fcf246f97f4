//! A client that people sign in with: an app client of the authorization-code grant (RFC 6749, section 4.1).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::provider::ProviderId;

/// Who signs in with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// A backend service, with a secret and the client-credentials grant as its only flow.
    Machine,
    /// People, through the hosted sign-in of the pool.
    Interactive,
}

/// Cognito's defaults (`CreateUserPoolClient`).
pub const DEFAULT_ID_TOKEN_VALIDITY: Duration = Duration::from_secs(60 * 60);
pub const DEFAULT_REFRESH_TOKEN_VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How people sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InteractiveSettings {
    /// Where the hosted sign-in may send people back to, compared exactly (RFC 6749, section 3.1.2). The first is the one
    /// that is taken where nobody says which.
    pub callback_urls: Vec<String>,
    pub sign_out_urls: Vec<String>,
    /// The scopes that belong to no resource server.
    pub standard_scopes: BTreeSet<StandardScope>,
    /// The tenant's providers that people may use. Empty means all that the tenant has.
    pub identity_providers: BTreeSet<ProviderId>,
    /// Whether the pool's own accounts may sign in beside the providers. Where the tenant has no provider they may anyway.
    pub allow_native_accounts: bool,
    pub id_token_validity: Duration,
    pub refresh_token_validity: Duration,
    /// Whether `MatchTenant` answers with it where several would do.
    pub default_sign_in: bool,
}

/// Scopes that Cognito defines itself (OpenID Connect Core 1.0, section 5.4, and its own for the user's API).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StandardScope {
    #[serde(rename = "openid")]
    OpenId,
    #[serde(rename = "email")]
    Email,
    #[serde(rename = "phone")]
    Phone,
    #[serde(rename = "profile")]
    Profile,
    #[serde(rename = "aws.cognito.signin.user.admin")]
    UserAdmin,
}

impl StandardScope {
    pub const ALL: [StandardScope; 5] = [
        StandardScope::OpenId,
        StandardScope::Email,
        StandardScope::Phone,
        StandardScope::Profile,
        StandardScope::UserAdmin,
    ];

    /// As it stands in a request and in a token.
    pub const fn as_str(self) -> &'static str {
        match self {
            StandardScope::OpenId => "openid",
            StandardScope::Email => "email",
            StandardScope::Phone => "phone",
            StandardScope::Profile => "profile",
            StandardScope::UserAdmin => "aws.cognito.signin.user.admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_scope_is_stored_as_it_is_asked_for() {
        for scope in StandardScope::ALL {
            assert_eq!(serde_json::to_string(&scope).expect("JSON"), format!("{:?}", scope.as_str()));
            assert_eq!(StandardScope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(StandardScope::parse("OpenID"), None);
    }
}
