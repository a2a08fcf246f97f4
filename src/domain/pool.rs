//! A user pool as Keyward knows it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::form::Form;
use super::id::{Issuer, PoolId, TenantId, UserPoolId};
use super::scope::Identifier;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub id: PoolId,
    /// The tenant whose own it is; `None` for a shared one.
    pub tenant: Option<TenantId>,
    /// An AWS Region; empty for the broker's own.
    pub region: String,
    /// What Cognito made of it; `None` until it has.
    pub made: Option<MadePool>,
    /// Set for one that was there before Keyward and was taken over.
    #[serde(default)]
    pub adopted: Option<Adopted>,
    /// Keyward's app clients that are there or have their place kept. Those of others are not counted.
    pub app_clients: u32,
    /// The version of the catalogue that was last applied to it.
    pub catalog_version: u64,
    pub create_time: Timestamp,
}

/// What Keyward may touch in a pool that is not its own: its app clients, and these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Resource servers that Keyward brought. Others are never deleted.
    pub resource_servers: BTreeSet<Identifier>,
}

/// What is known of a pool only once the backend has made it. Never built from parts: the backend says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadePool {
    pub user_pool: UserPoolId,
    /// The Region that it is in, the broker's own included.
    pub region: String,
    pub issuer: Issuer,
    /// What its OAuth 2.0 domain is called: a prefix, or a host of the operator's own. Empty where it has none, and in
    /// records from before this was kept.
    #[serde(default)]
    pub domain: String,
    /// Where the record of a domain of the operator's own must point to (a name of CloudFront's). Empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cname_target: String,
    /// Where everybody gets tokens, and the keys of the issuer. A broker may be told to ask elsewhere, through a proxy or an
    /// endpoint in its own network: that is a matter of that broker, and not written down.
    pub token_endpoint: String,
    pub jwks_uri: String,
}

impl MadePool {
    /// Where people sign in, without a slash at the end; `None` where nobody can. It is a domain of the operator's own, which has
    /// a dot in it, where there is one that is served; else that of the token endpoint. A pool of the embedded backend has its
    /// issuer for a domain, and no sign-in.
    pub fn hosted_sign_in(&self) -> Option<Cow<'_, str>> {
        if self.domain.contains('.') {
            return Some(Cow::Owned(format!("https://{}", self.domain)));
        }
        let domain = self.token_endpoint.strip_suffix("/oauth2/token")?;
        (domain != self.issuer.as_str()).then_some(Cow::Borrowed(domain))
    }
}

impl Pool {
    /// Where it is, as far as that is known before it is made.
    pub fn region(&self) -> &str {
        self.made.as_ref().map_or(&self.region, |made| &made.region)
    }

    /// Whether both are in one Region, as far as that is known.
    pub fn is_beside(&self, other: &Pool) -> bool {
        self.region == other.region || self.region() == other.region()
    }

    /// The least form in which it can be stored.
    pub fn form(&self) -> Form {
        let is_plain = self.made.as_ref().is_none_or(|made| made.cname_target.is_empty());
        if is_plain { Form::FIRST } else { Form::SECOND }
    }

    pub fn has_room(&self, limit: u32) -> bool {
        self.app_clients < limit
    }
}
