//! What things are called: pools and their domains at Cognito, issuers, token endpoints and key sets by Region.
//!
//! The one place where such names are built; everybody else takes them from [`MadePool`]. Partitions are those whose
//! names are public: the commercial Regions, GovCloud, China. Of the European Sovereign Cloud only the API's domain is
//! known, so a token endpoint there must be configured, or tokens come from `GetClientToken`. Elsewhere nothing is guessed.

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
        domain: Domain<'_>,
        need: Need,
    ) -> Result<MadePool, String> {
        let issuer = issuer(region, &user_pool, issuer_type)?;
        let token_endpoint = match self.token_endpoint(region, &user_pool, domain) {
            Err(_) if need == Need::NoDomain => String::new(),
            outcome => outcome?,
        };
        let jwks_uri = match self.endpoints.jwks.as_str() {
            "" => format!("{issuer}/.well-known/jwks.json"),
            template => template.replace("{region}", region).replace("{user_pool}", user_pool.as_str()),
        };
        Ok(MadePool { user_pool, region: region.to_owned(), issuer, token_endpoint, jwks_uri })
    }

    fn token_endpoint(&self, region: &str, user_pool: &UserPoolId, domain: Domain<'_>) -> Result<String, String> {
        let name = match domain {
            Domain::Prefix(name) | Domain::Custom(name) => Some(name),
            Domain::Absent => None,
        };
        let template = self.endpoints.token.as_str();
        let no_domain = || format!("the user pool {user_pool} has no domain, so it has no token endpoint");
        if !template.is_empty() {
            let known = template.replace("{region}", region).replace("{user_pool}", user_pool.as_str());
            return match name {
                Some(name) => Ok(known.replace("{domain}", name)),
                None if known.contains("{domain}") => Err(no_domain()),
                None => Ok(known),
            };
        }
        match domain {
            Domain::Custom(host) => Ok(format!("https://{host}/oauth2/token")),
            Domain::Prefix(prefix) => {
                let (middle, end) = partition(region)?.domains.ok_or_else(|| {
                    format!("where domains of {region} are is not known: set aws.endpoints.token or aws.token_source")
                })?;
                Ok(format!("https://{prefix}.{middle}.{region}.{end}/oauth2/token"))
            }
            Domain::Absent => Err(no_domain()),
        }
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
