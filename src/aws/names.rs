//! What things are called: pools and their domains at Cognito, issuers, token endpoints and key sets by Region.
//!
//! The one place where such names are built; everybody else takes them from [`MadePool`], which says what everybody may
//! use. Where this process was told to ask elsewhere is filled in when it asks, and not written down: other brokers on the
//! same records may be told otherwise. Partitions are those whose
//! names are public: the commercial Regions, GovCloud, China. Of the European Sovereign Cloud only the API's domain is
//! known, so a token endpoint there must be configured, or tokens come from `GetClientToken`. Elsewhere nothing is guessed.

use std::borrow::Cow;

use super::Endpoints;
use crate::domain::id::{Issuer, PoolId, UserPoolId};
use crate::domain::partition::Partition;
use crate::domain::pool::MadePool;
use crate::domain::tenant::IssuerType;

/// A domain's prefix at the most (`CreateUserPoolDomain`).
const MAX_DOMAIN_PREFIX: usize = 63;

pub(super) struct Names {
    prefix: String,
    endpoints: Endpoints,
}

/// Where a pool's OAuth 2.0 endpoints are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Domain<'a> {
    /// Below the Region's domain of Cognito's.
    Prefix(&'a str),
    /// A name of the operator's own.
    Custom(&'a str),
    Absent,
}

/// Of a pool that may have two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Domains<'a> {
    /// Where people sign in.
    pub sign_in: Domain<'a>,
    /// Where tokens come from. A prefix wherever there is one: it is in the pool's own Region and hangs on nobody's records,
    /// while what is under a name of the operator's own goes through CloudFront.
    pub tokens: Domain<'a>,
    /// Where the record of a name of the operator's own must point to.
    pub cname_target: &'a str,
}

impl<'a> Domains<'a> {
    /// Of a pool with one, or none.
    pub fn of(domain: Domain<'a>) -> Self {
        Domains { sign_in: domain, tokens: domain, cname_target: "" }
    }
}

/// What a domain must be known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Domain,
    /// Tokens come from the API.
    NoDomain,
}

impl Names {
    pub fn new(prefix: &str, endpoints: &Endpoints) -> Self {
        Names { prefix: prefix.to_owned(), endpoints: endpoints.clone() }
    }

    /// A pool's name at Cognito, which is also the prefix of its domain.
    pub fn pool_name(&self, id: &PoolId) -> String {
        format!("{}-{id}", self.prefix)
    }

    /// The same, or the rule that it breaks. Domains are one namespace for all accounts of a Region.
    pub fn domain_prefix(&self, id: &PoolId) -> Result<String, String> {
        let prefix = self.pool_name(id);
        if prefix.len() > MAX_DOMAIN_PREFIX {
            return Err(format!("the domain prefix {prefix} has more than {MAX_DOMAIN_PREFIX} characters"));
        }
        Ok(prefix)
    }

    /// The pool of ours that bears this name.
    pub fn pool_id(&self, name: &str) -> Option<PoolId> {
        let id = name.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        let is_ours = id.starts_with("shared-") || id.starts_with("tenant-");
        PoolId::parse("pool", id).ok().filter(|_| is_ours)
    }

    pub fn made_pool(
        &self,
        region: &str,
        user_pool: UserPoolId,
        issuer_type: IssuerType,
        domains: Domains<'_>,
        need: Need,
    ) -> Result<MadePool, String> {
        let issuer = issuer(region, &user_pool, issuer_type)?;
        let jwks_uri = own_jwks_uri(&issuer);
        let mut pool = MadePool {
            user_pool,
            region: region.to_owned(),
            issuer,
            domain: domains.sign_in.name().to_owned(),
            cname_target: domains.cname_target.to_owned(),
            token_endpoint: String::new(),
            jwks_uri,
        };
        // Where nobody knows Cognito's own name of it, the one that was configured is all that anybody can be told.
        pool.token_endpoint =
            match (own_token_endpoint(region, &pool.user_pool, domains.tokens), self.told_token_endpoint(&pool)) {
                (Ok(own), _) => own,
                (Err(_), Some(told)) => told,
                (Err(_), None) if need == Need::NoDomain => String::new(),
                (Err(why), None) => return Err(why),
            };
        Ok(pool)
    }

    /// Where this process asks for tokens of the pool's app clients: where it was told to, or where everybody does.
    pub fn token_endpoint<'a>(&self, pool: &'a MadePool) -> Cow<'a, str> {
        self.told_token_endpoint(pool).map_or(Cow::Borrowed(pool.token_endpoint.as_str()), Cow::Owned)
    }

    /// Where this process reads the issuer's keys. A record of before may have what another process was told.
    pub fn jwks_uri(&self, pool: &MadePool) -> String {
        match self.endpoints.jwks.as_str() {
            "" => own_jwks_uri(&pool.issuer),
            template => filled(template, pool),
        }
    }

    /// `None` where nothing was configured, or what was needs a domain that is not known.
    fn told_token_endpoint(&self, pool: &MadePool) -> Option<String> {
        let template = Some(self.endpoints.token.as_str()).filter(|template| !template.is_empty())?;
        let lacks_domain = pool.domain.is_empty() && template.contains("{domain}");
        (!lacks_domain).then(|| filled(template, pool))
    }
}

impl<'a> Domain<'a> {
    fn name(self) -> &'a str {
        match self {
            Domain::Prefix(name) | Domain::Custom(name) => name,
            Domain::Absent => "",
        }
    }
}

fn filled(template: &str, pool: &MadePool) -> String {
    let filled = template.replace("{region}", &pool.region).replace("{user_pool}", pool.user_pool.as_str());
    filled.replace("{domain}", token_domain(pool))
}

/// The domain that tokens come from: where people sign in elsewhere, it is in the token endpoint alone.
fn token_domain(pool: &MadePool) -> &str {
    let prefix = || {
        let (middle, end) = Partition::of(&pool.region)?.domains?;
        let host = pool.token_endpoint.strip_prefix("https://")?.split('/').next()?;
        host.strip_suffix(&format!(".{middle}.{}.{end}", pool.region))
    };
    prefix().unwrap_or(&pool.domain)
}

fn own_jwks_uri(issuer: &Issuer) -> String {
    format!("{issuer}/.well-known/jwks.json")
}

fn own_token_endpoint(region: &str, user_pool: &UserPoolId, domain: Domain<'_>) -> Result<String, String> {
    match domain {
        Domain::Custom(host) => Ok(format!("https://{host}/oauth2/token")),
        Domain::Prefix(prefix) => {
            let (middle, end) = partition(region)?.domains.ok_or_else(|| {
                format!("where domains of {region} are is not known: set aws.endpoints.token or aws.token_source")
            })?;
            Ok(format!("https://{prefix}.{middle}.{region}.{end}/oauth2/token"))
        }
        Domain::Absent => Err(format!("the user pool {user_pool} has no domain, so it has no token endpoint")),
    }
}

fn issuer(region: &str, user_pool: &UserPoolId, issuer_type: IssuerType) -> Result<Issuer, String> {
    let host = match issuer_type {
        IssuerType::Original => "cognito-idp",
        IssuerType::Updated => "issuer-cognito-idp",
    };
    let api = partition(region)?.api;
    Issuer::parse("issuer", &format!("https://{host}.{region}.{api}/{user_pool}"))
        .map_err(|error| error.message().to_owned())
}

fn partition(region: &str) -> Result<Partition, String> {
    Partition::of(region).ok_or_else(|| format!("{region} is in no partition whose names are known"))
}
