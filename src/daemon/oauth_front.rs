//! The OAuth 2.0 front of a daemon, where it is to have one.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::calling::{OwnSecrets, grants, rates};
use super::{StartError, serving};
use crate::broker::ports::Clock;
use crate::callers::{ClientLogins, Counts};
use crate::config::Config;
use crate::counts::Told;
use crate::gate::Gate;
use crate::net::{self, Address, Cores, Listener, Protocol, Serving, Tls};
use crate::oauth::{self, Counted, Options};

/// Where it listens; nowhere unless it is told to.
pub(super) async fn bind(config: &Config) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in config.oauth.addresses() {
        let listener = Listener::bind(address).await;
        listeners.push(listener.map_err(|source| StartError::OAuth { address: address.clone(), source })?);
    }
    Ok(listeners)
}

/// Also gives back what tells of its requests; `None` where it listens nowhere.
pub(super) fn serve(
    config: &Config,
    gate: Gate,
    clock: Arc<dyn Clock>,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    cores: &Cores,
    draining: CancellationToken,
) -> Option<(Serving, Arc<dyn Told>)> {
    let first = listeners.first()?.address();
    let options = Options {
        public_url: config.oauth.public_url.clone().unwrap_or_else(|| url_of(first, tls.is_some())),
        introspection_methods: introspection_methods(config),
        call_duration: config.oauth.request_timeout,
        body_duration: config.limits.handshake_timeout,
    };
    let counts = gate.callers.counts().unwrap_or_else(|| Counts::new(&rates(&config.limits), clock));
    let secrets = Arc::new(OwnSecrets(gate.broker.logins.clone()));
    let logins = ClientLogins::new(secrets, grants(config), counts.clone());
    let counted = Arc::new(Counted::default());
    let service = oauth::service(gate, logins, counts, counted.clone(), options);
    let serving = net::serve(Protocol::Http1, listeners, tls, serving::limits(config), service, cores, draining);
    Some((serving, counted))
}

fn url_of(address: &Address, has_tls: bool) -> String {
    format!("{}://{address}", if has_tls { "https" } else { "http" })
}

/// How a caller of gRPC may prove who it is, as far as RFC 8414 has a name for that. An AWS identity is a bearer token, too.
fn introspection_methods(config: &Config) -> Vec<&'static str> {
    let callers = &config.callers;
    if callers.trust_loopback {
        return vec!["none"];
    }
    let has_tokens = !callers.issuer.is_empty()
        || !callers.aws.accounts.is_empty()
        || callers.spiffe.iter().any(|domain| domain.jwt_bundle_file.is_some() || domain.jwt_bundle_url.is_some());
    let ways = [
        (callers.client_secrets, "client_secret_basic"),
        (has_tokens, "Bearer"),
        (!serving::authorities(config).is_empty(), "tls_client_auth"),
    ];
    ways.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| name).collect()
}
