//! A client that people sign in with: an app client of the authorization-code grant (RFC 6749, section 4.1).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::check_token_validity;
use super::error::{Error, Result};
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

/// Cognito's bounds for a refresh token (`CreateUserPoolClient`). An ID token has those of an access token.
pub const MIN_REFRESH_TOKEN_VALIDITY: Duration = Duration::from_secs(60 * 60);
pub const MAX_REFRESH_TOKEN_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// URLs of one list, and characters of one (`CreateUserPoolClient`, `CallbackURLs` and `LogoutURLs`).
pub const MAX_REDIRECT_URLS: usize = 100;
pub const MAX_REDIRECT_URL: usize = 1024;

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

impl InteractiveSettings {
    /// How long its tokens live beside an access token, which with a refresh token that ends before it would make no
    /// sense, and which Cognito refuses. Field paths are relative to `interactive`.
    pub fn check_validities(&self, access_token_validity: Duration) -> Result<()> {
        if check_token_validity(self.id_token_validity).is_err() {
            return Err(Error::invalid("id_token_validity", "must be 5 minutes to 1 day, in whole seconds"));
        }
        let refresh = self.refresh_token_validity;
        if !(MIN_REFRESH_TOKEN_VALIDITY..=MAX_REFRESH_TOKEN_VALIDITY).contains(&refresh) || refresh.subsec_nanos() != 0
        {
            return Err(Error::invalid("refresh_token_validity", "must be 1 hour to 3,650 days, in whole seconds"));
        }
        if refresh < self.id_token_validity.max(access_token_validity) {
            let rule = "must be at least as long as that of ID and access tokens";
            return Err(Error::invalid("refresh_token_validity", rule));
        }
        Ok(())
    }
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

    /// Fails where one of these is granted only together with `openid`, which is not among them: Cognito answers
    /// `invalid_scope` to whoever wants to sign in with them
    /// (<https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-app-idp-settings.html>).
    pub fn check(field: &str, scopes: impl Iterator<Item = StandardScope> + Clone) -> Result<()> {
        let has = |wanted| scopes.clone().any(|scope| scope == wanted);
        let describes = [StandardScope::Email, StandardScope::Phone, StandardScope::Profile];
        match describes.into_iter().find(|scope| has(*scope)) {
            Some(scope) if !has(StandardScope::OpenId) => {
                Err(Error::invalid(field, format!("`{}` is granted only together with `openid`", scope.as_str())))
            }
            _ => Ok(()),
        }
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
