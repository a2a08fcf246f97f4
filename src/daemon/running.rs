//! A daemon that serves: where, whether it is ready, and its end.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::stopping;
use crate::net::{Address, Cores, Serving};
use crate::runtime::behind::Behind;
use crate::runtime::readiness::Readiness;
use crate::runtime::shutdown::{Drained, drain};
use crate::traces::Traces;

/// A daemon that listens.
pub struct Running {
    pub(super) addresses: Vec<Address>,
    pub(super) status_address: Option<SocketAddr>,
    pub(super) readiness: Readiness,
    pub(super) health: HealthReporter,
    /// Ends the long streams and the taking of new calls.
    pub(super) draining: CancellationToken,
    /// Ends the background work.
    pub(super) stopping: CancellationToken,
    pub(super) tracker: TaskTracker,
    /// Ends the membership among the brokers that share a registry.
    pub(super) leaving: CancellationToken,
    pub(super) membership: JoinHandle<()>,
    pub(super) server: Serving,
    pub(super) oauth_addresses: Vec<Address>,
    /// Serves OAuth 2.0, where that is wanted.
    pub(super) oauth: Option<Serving>,
    pub(super) traces: Option<Arc<Traces>>,
    /// Its threads serve for as long as the daemon runs.
    pub(super) cores: Cores,
    /// And on these its background works.
    pub(super) behind: Behind,
    pub(super) drain_deadline: Duration,
    /// Held for as long as the daemon runs.
    pub(super) _data_lock: File,
}

impl Running {
    /// Where it listens, in the configuration's order, with the real port where that asked for 0. At least one.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The first of [`addresses`](Self::addresses).
    pub fn local_addr(&self) -> &Address {
        &self.addresses[0]
    }

    /// Where it serves OAuth 2.0, as [`addresses`](Self::addresses) are told; none where it does not.
    pub fn oauth_addresses(&self) -> &[Address] {
        &self.oauth_addresses
    }

    /// Where it serves its metrics, and tells whether it is alive and ready, with the real port.
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.status_address
    }

    /// Ready once health answers SERVING.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// All that something runs on, apart from the runtime that it was started on. Each takes a task at any time, unless a
    /// thread of it hangs.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.cores.runtimes().chain([self.behind.runtime()]).collect()
    }

    /// How long [`stop`](Self::stop) takes at the most, see [`longest_stop`](super::longest_stop).
    pub fn longest_stop(&self) -> Duration {
        stopping::within(self.drain_deadline)
    }

    /// Returns when one of its servers has ended by itself.
    pub async fn wait(&mut self) {
        let oauth = async {
            match &mut self.oauth {
                Some(oauth) => oauth.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.server.ended() => {}
            () = oauth => {}
        }
    }

    /// Stops serving: NOT_SERVING, no new calls, then waits for what is under way until the drain deadline.
    pub async fn stop(self) -> Drained {
        let deadline = self.drain_deadline;
        let _draining = self.readiness.hold("draining");
        announce(&self.health, ServingStatus::NotServing).await;
        self.draining.cancel();
        let oauth = async {
            match self.oauth {
                Some(oauth) => oauth.drain(deadline).await,
                None => 0,
            }
        };
        let (grpc, oauth) = tokio::join!(self.server.drain(deadline), oauth);
        let calls = match grpc + oauth {
            0 => Drained::Clean,
            late => Drained::Late(late),
        };
        self.stopping.cancel();
        let drained = calls.and(drain(self.tracker, deadline).await);
        self.leaving.cancel();
        // It ends in time by itself; that it panicked changes nothing any more.
        let _ = self.membership.await;
        if let Some(traces) = self.traces {
            // It blocks; that it panicked changes nothing any more.
            let _ = tokio::task::spawn_blocking(move || traces.end()).await;
        }
        drained
    }
}

/// Says it for the daemon as a whole and for each of its services, since clients ask for either.
pub(super) async fn announce(health: &HealthReporter, status: ServingStatus) {
    for service in ["", "Token", "Verification", "Tenant", "Client", "Catalog", "Audit"] {
        let name = if service.is_empty() { String::new() } else { format!("keyward.v1.{service}Service") };
        health.set_service_status(name, status).await;
    }
    health.set_service_status("envoy.service.auth.v3.Authorization", status).await;
}
