//! Listening: sockets, certificates, and the connections that come in.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::StartError;
use crate::audit_file::AuditFile;
use crate::broker::Broker;
use crate::broker::background::Background;
use crate::broker::ports::Clock;
use crate::config::{Config, Demand, MinVersion};
use crate::counts::Told;
use crate::grpc::{Counted, Hot};
use crate::http;
use crate::net::{
    self, Address, Authorities, ClientCertificates, Cores, Inherited, Limits, Listener, Protocol, Serving, Tls,
    TlsFiles,
};
use crate::traces::{self, Traces};

/// A certificate that cannot be used is complained of again after so many looks, so that nobody misses it until it is
/// too late.
const LOOKS_BETWEEN_COMPLAINTS: u32 = 60;

/// Listens at each address of the configuration: on the socket that was handed over for it, where there is one.
pub(super) async fn bind(config: &Config, mut inherited: Inherited) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in &config.listen.0 {
        let listener = match inherited.take(address) {
            Some(socket) => Listener::handed_over(address, socket),
            None => Listener::bind(address).await,
        };
        listeners.push(listener.map_err(|source| StartError::Listen { address: address.clone(), source })?);
    }
    // Callers there would wait for ever, or be served where the configuration does not say so.
    match inherited.rest() {
        Some(address) => Err(StartError::HandedOver(address.clone())),
        None => Ok(listeners),
    }
}

/// `None` where nothing is served there.
pub(super) async fn bind_status(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.status.listen else { return Ok(None) };
    let bound = http::bind(address).await;
    bound.map(Some).map_err(|source| StartError::Status { address, source })
}

/// `None` where nothing is traced. Spans are sent from the background, and by a thread that goes after others as those do.
pub(super) async fn start_traces(config: &Config, background: &Background) -> Result<Option<Arc<Traces>>, StartError> {
    let Some(endpoint) = config.traces.endpoint.clone() else { return Ok(None) };
    let options = traces::Options { endpoint, percent: config.traces.percent };
    let started = background.spawn(async move { Traces::start(&options) }).await;
    Ok(Some(Arc::new(started.map_err(|lost| StartError::Threads(lost.into()))??)))
}

/// Whoever tells of itself at the status address.
pub(super) fn told(
    broker: &Arc<Broker>,
    counted: &Arc<Counted>,
    audit_file: Option<&Arc<AuditFile>>,
    traces: Option<&Arc<Traces>>,
    backend: Option<Arc<dyn Told>>,
) -> Vec<Arc<dyn Told>> {
    let mut told: Vec<Arc<dyn Told>> = vec![counted.clone(), broker.clone()];
    told.extend(audit_file.map(|file| file.clone() as Arc<dyn Told>));
    told.extend(traces.map(|traces| traces.clone() as Arc<dyn Told>));
    told.extend(backend);
    told
}

/// `None` where there is none.
pub(super) fn load_tls(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Arc<Tls>>, StartError> {
    let (Some(certificate), Some(key)) = (config.tls.certificate_file.clone(), config.tls.key_file.clone()) else {
        return Ok(None);
    };
    let clients = match (authorities(config), config.tls.client_certificates) {
        (authorities, _) if authorities.is_empty() => ClientCertificates::Unasked,
        (authorities, Demand::Optional) => ClientCertificates::Optional(authorities),
        (authorities, Demand::Required) => ClientCertificates::Required(authorities),
    };
    let allow_tls_1_2 = config.tls.min_version == MinVersion::Tls12;
    let files = TlsFiles { certificate, key, clients, allow_tls_1_2 };
    let now = move || {
        let seconds = u64::try_from(clock.now().as_second());
        Duration::from_secs(seconds.unwrap_or_default())
    };
    Ok(Some(Arc::new(Tls::load(files, now)?)))
}

/// Those of no domain, and those of each trust domain that has its own.
pub(super) fn authorities(config: &Config) -> Vec<Authorities> {
    let of_none = config.tls.client_ca_file.iter().map(|file| Authorities { domain: None, file: file.clone() });
    let of_domains = config.callers.spiffe.iter().filter_map(|domain| {
        let file = domain.x509_bundle_file.clone()?;
        Some(Authorities { domain: Some(domain.trust_domain.as_str().into()), file })
    });
    of_none.chain(of_domains).collect()
}

/// Has new connections get changed certificates, until it is stopped.
pub(super) async fn follow_files(tls: Arc<Tls>, interval: Duration, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut complaint = String::new();
    let mut looks = 0;
    loop {
        let next = clock.now() + interval;
        tokio::select! {
            () = clock.sleep_until(next) => {}
            () = stop.cancelled() => return,
        }
        let read = tls.clone();
        let reloaded = match tokio::task::spawn_blocking(move || read.reload()).await {
            Ok(reloaded) => reloaded.map_err(|error| error.to_string()),
            Err(lost) => Err(lost.to_string()),
        };
        match reloaded {
            Ok(changed) => {
                if changed || !complaint.is_empty() {
                    tracing::info!("new connections get the certificates that are in the files now");
                }
                complaint.clear();
            }
            Err(error) => {
                looks += 1;
                if error != complaint || looks >= LOOKS_BETWEEN_COMPLAINTS {
                    tracing::error!(
                        error,
                        "the certificates in the files cannot be used; those from before stay in use"
                    );
                    (complaint, looks) = (error, 0);
                }
            }
        }
    }
}

pub(super) fn serve(
    config: &Config,
    routes: Hot<Routes>,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    cores: &Cores,
    draining: CancellationToken,
) -> Serving {
    net::serve(Protocol::Http2, listeners, tls, limits(config), routes, cores, draining)
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        max_connections: config.limits.max_connections,
        handshake_timeout: config.limits.handshake_timeout,
        idle_timeout: config.limits.idle_timeout,
        max_header_bytes: config.limits.max_header_bytes,
        max_concurrent_streams: config.grpc.max_concurrent_streams,
        keepalive_interval: config.grpc.keepalive_interval,
    }
}

/// Where they listen.
pub(super) fn addresses(listeners: &[Listener]) -> Vec<Address> {
    listeners.iter().map(|listener| listener.address().clone()).collect()
}
