//! Where people sign in: what is asked, and what is answered. None of it can be printed: a hint may tell who somebody is, and
//! a `state` is whoever's it is.

use crate::domain::id::{AppClientId, ClientId, ClientName, Issuer, PoolId, TenantId};

/// Who wants to sign in, and how that shall be made.
pub struct SignInQuestion {
    pub hint: Hint,
    /// Which of the tenant's interactive clients; `None` for the one that is for that.
    pub client: Option<ClientId>,
    /// Where the person shall come back to; `None` for the first place of the client's.
    pub redirect_uri: Option<String>,
    /// Empty for all of the client's.
    pub scopes: Vec<String>,
    pub passed: PassedOn,
}

/// What is known of who wants to sign in.
pub enum Hint {
    /// The domain of an email address, in its ASCII form.
    Email(String),
    /// The same form.
    Host(String),
    Tenant(TenantId),
    Issuer(Issuer),
    AppClient(AppClientId),
}

impl Hint {
    pub(in crate::broker) fn text(&self) -> &str {
        match self {
            Hint::Email(name) | Hint::Host(name) => name,
            Hint::Tenant(tenant) => tenant.as_str(),
            Hint::Issuer(issuer) => issuer.as_str(),
            Hint::AppClient(app_client) => app_client.as_str(),
        }
    }
}

/// What a sign-in gets as it was given; empty where nothing was.
#[derive(Clone, Default)]
pub struct PassedOn {
    pub state: String,
    pub nonce: String,
    /// Of the method S256.
    pub code_challenge: String,
}

/// Where to send a person.
pub struct Matched {
    /// `None` where the hint is not known.
    pub found: Option<SignIn>,
    /// Where those sign in whose hint is not known; `None` where there is nothing for them.
    pub fallback: Option<String>,
}

pub struct SignIn {
    pub client: ClientName,
    pub pool: PoolId,
    pub app_client: AppClientId,
    pub issuer: Issuer,
    /// What the provider is called that `url` names; empty where it names none.
    pub provider: String,
    /// `None` where the pool has no hosted sign-in.
    pub url: Option<String>,
}
