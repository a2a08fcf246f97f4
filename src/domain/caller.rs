//! Who calls, as it was proven, and what they ask for: what permissions are decided on.
//!
//! A [`Principal`] is a name that only its owner can prove. What a principal may do is not said here: policies decide, over
//! the roles and the tenant that the configuration gives it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{ClientId, ClientName, TenantId};

/// Who did it. Its text is what audit events, policies and the configuration call it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// A person or program with an operator's rights, by name: everybody, where callers are not told apart.
    Operator(Arc<str>),
    /// The broker by itself: schedules, journals finished after a crash.
    Keyward,
    /// Nobody that is known.
    Anonymous,
    /// A workload of a SPIFFE trust domain, by its SPIFFE ID, however that was proven: `spiffe://example.org/orders`.
    Spiffe(Arc<str>),
    /// The holder of a certificate with this one DNS name.
    Dns(Arc<str>),
    /// The subject of a token of a trusted issuer.
    Subject { issuer: Arc<str>, subject: Arc<str> },
    /// An AWS identity, by ARN; of an assumed role, the role's.
    Aws(Arc<str>),
    /// A tenant's client, by its own app client id and secret.
    Client(ClientName),
    /// A process of this machine, by the user that it runs as.
    User(u32),
}

impl Principal {
    /// How it was proven, in a word: what policies see as `context.proof`.
    pub fn proof(&self) -> &'static str {
        match self {
            Principal::Operator(_) => "loopback",
            Principal::Keyward => "keyward",
            Principal::Anonymous => "none",
            Principal::Spiffe(_) => "spiffe",
            Principal::Dns(_) => "certificate",
            Principal::Subject { .. } => "token",
            Principal::Aws(_) => "aws",
            Principal::Client(_) => "client_secret",
            Principal::User(_) => "unix",
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Operator(name) => write!(f, "operator:{name}"),
            Principal::Keyward => f.write_str("keyward"),
            Principal::Anonymous => f.write_str("anonymous"),
            // A SPIFFE ID names its own scheme.
            Principal::Spiffe(id) => f.write_str(id),
            Principal::Dns(name) => write!(f, "dns:{name}"),
            Principal::Subject { issuer, subject } => write!(f, "token:{issuer}#{subject}"),
            Principal::Aws(arn) => write!(f, "aws:{arn}"),
            Principal::Client(name) => write!(f, "client:{name}"),
            Principal::User(uid) => write!(f, "unix:{uid}"),
        }
    }
}

/// What a caller is to Keyward, by configuration. The default policies give each its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May do everything.
    Operator,
    /// An internal service that verifies tokens.
    Verifier,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Verifier => "verifier",
        }
    }
}

/// A principal with what the configuration says of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub principal: Principal,
    /// Sorted, each once.
    pub roles: Vec<Role>,
    /// The tenant that it belongs to.
    pub tenant: Option<TenantId>,
    /// The one client of that tenant that it is; `None` for any.
    pub client: Option<ClientId>,
    /// Until when the proof holds (`exp` of a token, `notAfter` of a certificate); `None` for as long as the connection does.
    pub valid_until: Option<Timestamp>,
}

impl Caller {
    /// A principal of which nothing else is known.
    pub fn of(principal: Principal) -> Self {
        Caller { principal, roles: Vec::new(), tenant: None, client: None, valid_until: None }
    }

    /// Everybody, where callers are not told apart.
    pub fn operator(name: &str) -> Self {
        Caller { roles: vec![Role::Operator], ..Caller::of(Principal::Operator(name.into())) }
    }
}

/// What a call is about, as far as permission goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// What belongs to no tenant (catalogue, pools, audit log), and everything at once.
    Platform,
    Tenant(TenantId),
    Client(ClientName),
}

impl Target {
    /// What a resource name is about. What lies below a client counts as the client; a name that is none of a tenant's, or no
    /// name at all, as the platform, which only those may touch who may touch everything.
    pub fn of(resource: &str) -> Self {
        let mut parts = resource.split('/');
        let tenant = match (parts.next(), parts.next()) {
            (Some("tenants"), Some(tenant)) => TenantId::parse("name", tenant),
            _ => return Target::Platform,
        };
        let Ok(tenant) = tenant else { return Target::Platform };
        match (parts.next(), parts.next()) {
            (None, _) => Target::Tenant(tenant),
            (Some("clients"), Some(client)) => match ClientId::parse("name", client) {
                Ok(client) => Target::Client(ClientName::new(tenant, client)),
                Err(_) => Target::Platform,
            },
            _ => Target::Platform,
        }
    }
}

/// One question of permission: may `caller` do `action` to `target`?
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub caller: &'a Caller,
    /// The method's name without its service: `GetToken`.
    pub action: &'static str,
    pub target: Target,
    /// The scopes that are asked for, as the caller wrote them.
    pub scopes: &'a [String],
    /// Where the call comes from; `None` for a Unix socket.
    pub source: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_about_a_tenant_a_client_or_the_platform() {
        let client = |text: &str| Target::Client(ClientName::parse("name", text).expect("a name"));
        assert_eq!(Target::of("tenants/acme"), Target::Tenant(TenantId::parse("name", "acme").expect("an id")));
        let orders = "tenants/acme/clients/orders";
        assert_eq!(Target::of(orders), client(orders));
        assert_eq!(Target::of(&format!("{orders}/rotations/r1")), client(orders));
        for other in [
            "",
            "tenants",
            "tenants/-",
            "tenants/Acme",
            "tenants/acme/",
            "tenants/acme/x",
            "pools/p",
            "tenants/acme/clients/O",
        ] {
            assert_eq!(Target::of(other), Target::Platform, "{other}");
        }
    }
}
