//! How callers are told apart, from the configuration.

use std::sync::Arc;

use async_trait::async_trait;

use super::StartError;
use crate::broker::Logins;
use crate::broker::background::Background;
use crate::broker::ports::Clock;
use crate::callers::{
    AwsOptions, Callers, ClientSecrets, IssuerOptions, JwtOptions, KeysAt, Options, Rates, SpiffeOptions,
};
use crate::config::{Config, Limits, SpiffeDomain, TokenIssuer};
use crate::domain::error::Result;
use crate::domain::grant::Grants;
use crate::domain::id::ClientName;
use crate::domain::spiffe::TrustDomain;

/// `logins` are asked where the configuration says that tenants' clients may call by their own secrets.
pub(super) fn callers(
    config: &Config,
    logins: Arc<Logins>,
    clock: Arc<dyn Clock>,
    background: Background,
) -> Result<Callers, StartError> {
    if config.callers.trust_loopback {
        return Ok(Callers::everybody_is_operator("dev"));
    }
    let client_secrets = config.callers.client_secrets.then(|| Arc::new(OwnSecrets(logins)) as Arc<dyn ClientSecrets>);
    Ok(Callers::by_proof(options(config), client_secrets, clock, background)?)
}

/// The broker's knowledge of its clients' secrets.
pub(super) struct OwnSecrets(pub Arc<Logins>);

#[async_trait]
impl ClientSecrets for OwnSecrets {
    async fn check(&self, app_client_id: &str, secret: &str) -> Result<Option<ClientName>> {
        self.0.check(app_client_id, secret).await
    }
}

/// What principals are to Keyward, as the configuration says.
pub fn grants(config: &Config) -> Grants {
    Grants::new(config.callers.grant.iter().filter_map(|grant| grant.read().ok()).collect())
}

fn options(config: &Config) -> Options {
    let (callers, limits, verification) = (&config.callers, &config.limits, &config.verification);
    let aws = (!callers.aws.accounts.is_empty()).then(|| AwsOptions {
        broker_id: callers.aws.broker_id.clone(),
        accounts: callers.aws.accounts.clone(),
        regions: callers.aws.regions.clone(),
        endpoint: callers.aws.endpoint.trim_end_matches('/').to_owned(),
    });
    Options {
        // Trust domains and grants were read when the configuration was; otherwise it would not be one.
        spiffe: callers.spiffe.iter().filter_map(spiffe).collect(),
        issuers: callers.issuer.iter().map(issuer).collect(),
        aws,
        unix: callers.unix,
        grants: grants(config),
        rates: rates(limits),
        leeway: verification.leeway,
        key_refetch_floor: verification.key_refetch_floor,
        key_max_age: verification.key_max_age,
    }
}

pub(super) fn rates(limits: &Limits) -> Rates {
    Rates {
        calls_per_second: limits.calls_per_second,
        calls_burst: limits.calls_burst,
        failures_per_second: limits.failures_per_second,
    }
}

fn spiffe(domain: &SpiffeDomain) -> Option<SpiffeOptions> {
    let keys = match (&domain.jwt_bundle_file, &domain.jwt_bundle_url) {
        (Some(file), _) => Some(KeysAt::File(file.clone())),
        (None, Some(url)) => Some(KeysAt::Url(url.clone())),
        (None, None) => None,
    };
    let jwt = keys.map(|keys| JwtOptions {
        audience: domain.audience.clone(),
        keys,
        ca_file: domain.ca_file.clone(),
        token_file: None,
    });
    let has_own_authorities = domain.x509_bundle_file.is_some();
    Some(SpiffeOptions { trust_domain: TrustDomain::parse(&domain.trust_domain)?, has_own_authorities, jwt })
}

fn issuer(issuer: &TokenIssuer) -> IssuerOptions {
    let keys = match (&issuer.jwks_file, &issuer.jwks_url) {
        (Some(file), _) => KeysAt::File(file.clone()),
        (None, Some(url)) => KeysAt::Url(url.clone()),
        (None, None) => KeysAt::Discovery(issuer.issuer.clone()),
    };
    let jwt = JwtOptions {
        audience: issuer.audience.clone(),
        keys,
        ca_file: issuer.ca_file.clone(),
        token_file: issuer.token_file.clone(),
    };
    IssuerOptions { issuer: issuer.issuer.clone(), jwt }
}
