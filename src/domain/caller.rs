//! Who calls, as it was proven, and what they ask for: what permissions are decided on.
//!
//! A [`Principal`] is a name that only its owner can prove. What a principal may do is not said here: policies decide, over
//! the roles and the tenant that the configuration gives it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::Error;
use super::id::{ClientId, ClientName, TenantId};
use super::tenant::{Labels, Tenant};

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

/// Reads what [`Display`](fmt::Display) writes. An issuer holds no `#` (RFC 8414, section 2), so the first one ends it.
impl FromStr for Principal {
    type Err = Error;

    /// Fails with INVALID_ARGUMENT.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            let forms = "must be spiffe://…, dns:NAME, token:ISSUER#SUBJECT, aws:ARN, unix:UID, operator:NAME, anonymous, \
                         keyward or client:tenants/TENANT/clients/CLIENT";
            Error::invalid("principal", forms)
        };
        match text {
            "keyward" => return Ok(Principal::Keyward),
            "anonymous" => return Ok(Principal::Anonymous),
            _ if text.starts_with("spiffe://") => return Ok(Principal::Spiffe(text.into())),
            _ => {}
        }
        let (form, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(unknown)?;
        match form {
            "operator" => Ok(Principal::Operator(rest.into())),
            "dns" => Ok(Principal::Dns(rest.into())),
            "token" => {
                let (issuer, subject) = rest.split_once('#').ok_or_else(unknown)?;
                Ok(Principal::Subject { issuer: issuer.into(), subject: subject.into() })
            }
            "aws" => Ok(Principal::Aws(rest.into())),
            "client" => ClientName::parse("principal", rest).map(Principal::Client),
            // As it is written, so that one user has one text.
            "unix" => match rest.parse::<u32>() {
                Ok(uid) if uid.to_string() == rest => Ok(Principal::User(uid)),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
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
    pub const ALL: [Role; 2] = [Role::Operator, Role::Verifier];

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

/// What carries labels of the operator's choice.
pub trait Labelled: Send + Sync {
    fn labels(&self) -> &Labels;
}

impl Labelled for Tenant {
    fn labels(&self) -> &Labels {
        &self.labels
    }
}

impl Labelled for Client {
    fn labels(&self) -> &Labels {
        &self.labels
    }
}

/// What is known of the tenant and the client of a name. What does not exist has no labels.
#[derive(Clone, Default)]
pub struct Named {
    pub tenant: Option<Arc<dyn Labelled>>,
    pub client: Option<Arc<dyn Labelled>>,
}

/// The labels that a question of permission may depend on. Two are equal when their labels are.
#[derive(Clone, Default)]
pub struct Known {
    pub of_target: Named,
    /// Of the tenant and the client that the caller is.
    pub of_caller: Named,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        fn same(one: Option<&Arc<dyn Labelled>>, other: Option<&Arc<dyn Labelled>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => one.labels() == other.labels(),
                (Some(some), None) | (None, Some(some)) => some.labels().is_empty(),
                (None, None) => true,
            }
        }
        let pairs = [(&self.of_target, &other.of_target), (&self.of_caller, &other.of_caller)];
        pairs.into_iter().all(|(one, other)| {
            same(one.tenant.as_ref(), other.tenant.as_ref()) && same(one.client.as_ref(), other.client.as_ref())
        })
    }
}

/// One question of permission: may `caller` do `action` to `target`?
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub caller: &'a Caller,
    /// The method's name without its service: `GetToken`.
    pub action: &'a str,
    pub target: Target,
    /// The scopes that are asked for, as the caller wrote them.
    pub scopes: &'a [String],
    /// Where the call comes from; `None` for a Unix socket.
    pub source: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_principal() -> impl Strategy<Value = Principal> {
        let text = || "[!-~]{1,40}".prop_map(Arc::<str>::from);
        let id = || "[a-z][a-z0-9-]{1,20}[a-z0-9]";
        prop_oneof![
            text().prop_map(Principal::Operator),
            Just(Principal::Keyward),
            Just(Principal::Anonymous),
            "spiffe://[!-~]{1,40}".prop_map(|id| Principal::Spiffe(id.into())),
            text().prop_map(Principal::Dns),
            ("https://[!-\"$-~]{1,40}", text())
                .prop_map(|(issuer, subject)| Principal::Subject { issuer: issuer.into(), subject }),
            text().prop_map(Principal::Aws),
            (id(), id()).prop_map(|(tenant, client)| {
                let tenant = TenantId::parse("tenant", &tenant).expect("an id");
                Principal::Client(ClientName::new(tenant, ClientId::parse("client", &client).expect("an id")))
            }),
            any::<u32>().prop_map(Principal::User),
        ]
    }

    proptest! {
        #[test]
        fn a_principals_text_is_read_back(principal in any_principal()) {
            prop_assert_eq!(principal.to_string().parse::<Principal>().expect("its own text"), principal);
        }

        #[test]
        fn what_is_read_is_written_as_it_was(text in "(spiffe://|dns:|token:|aws:|client:|unix:|operator:)?[ -~]{0,30}") {
            if let Ok(principal) = text.parse::<Principal>() {
                prop_assert_eq!(principal.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_no_principal_is_refused() {
        for text in
            ["", "spiffe:", "dns:", "token:https://a", "client:orders", "unix:-1", "unix:007", "unix:", "somebody"]
        {
            assert!(text.parse::<Principal>().is_err(), "{text}");
        }
    }

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
