//! How connections come in: TLS, limits, sockets, the drain.
//!
//! Nearly all of it is seen without a caller: health answers everybody, and a call that is answered UNAUTHENTICATED came
//! through.

mod certificates;
mod ending;
mod handed_over;
mod limits;
mod reload;
mod sockets;
mod tls;

use std::path::Path;
use std::sync::Arc;

use keyward::config::Config;
use keyward::runtime::clock::ManualClock;
use tokio::io::AsyncReadExt as _;
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::pki::{Authority, Identity, Leaf, handshake, trusting};
use crate::harness::{Daemon, folder, start_time};

/// A server's and its clients' authority, a server with TLS, and the files of its certificates.
struct Site {
    servers: Authority,
    clients: Authority,
    daemon: Daemon,
    clock: Arc<ManualClock>,
    _files: tempfile::TempDir,
}

impl Site {
    /// Clients must show a certificate of `clients`, unless `edit` says otherwise.
    async fn start(edit: impl FnOnce(&mut Config)) -> Site {
        let (files, path) = folder();
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let client = clients.issue(Leaf::client().uri("spiffe://example.org/operators/first"));
        let clock = Arc::new(ManualClock::new(start_time()));
        let configure = |config: &mut Config| {
            secure(config, &path, &servers.issue(Leaf::server()), Some(&clients));
            edit(config);
        };
        let daemon = Daemon::start_with_tls(clock.clone(), trusting(&servers, Some(&client)), configure).await;
        Site { servers, clients, daemon, clock, _files: files }
    }

    /// Whether a client of this identity is served.
    async fn serves(&self, identity: Option<&Identity>) -> bool {
        self.serves_with(trusting(&self.servers, identity)).await
    }

    async fn serves_with(&self, config: rustls::ClientConfig) -> bool {
        // Tried by hand, since a channel would try again.
        let Ok(stream) = handshake(&self.daemon.address(), config).await else { return false };
        is_http_2(stream).await
    }
}

/// Has TCP speak TLS with this certificate; clients must show one of `clients`, where there are such.
fn secure(config: &mut Config, folder: &Path, server: &Identity, clients: Option<&Authority>) {
    let (certificate, key) = server.write(folder, "tls");
    config.tls.certificate_file = Some(certificate);
    config.tls.key_file = Some(key);
    if let Some(clients) = clients {
        let file = folder.join("clients.pem");
        std::fs::write(&file, clients.pem()).expect("written");
        config.tls.client_ca_file = Some(file);
        config.tls.client_certificates = keyward::config::Demand::Required;
    }
}

/// Whether the server speaks HTTP/2 on this connection.
async fn is_http_2(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> bool {
    let Ok((_sender, mut connection)) = h2::client::handshake(stream).await else { return false };
    // The answer to a ping proves it.
    let mut ping = connection.ping_pong().expect("the first to ask");
    tokio::select! {
        pong = ping.ping(h2::Ping::opaque()) => pong.is_ok(),
        _ended = &mut connection => false,
    }
}

/// Asks for the health of the whole daemon.
async fn health(channel: &Channel) -> Result<i32, Status> {
    let answer = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status)
}

/// Returns when the other end has closed the connection.
async fn closed(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut rest).await;
}
