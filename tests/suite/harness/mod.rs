//! Daemons to test against.

pub mod acting;
mod asks;
pub mod audit_lines;
pub mod aws_bench;
pub mod backend;
mod binary;
pub mod brokers;
mod calls;
mod errors;
pub mod flowing;
pub mod forge;
mod gate;
pub mod http2;
pub mod idling;
pub mod members;
mod metrics;
mod mutation;
pub mod on_aws;
mod outage;
pub mod outside;
pub mod pki;
pub mod ports;
pub mod propagation;
mod raw;
pub mod readings;
pub mod rotations;
mod state;
pub mod tolls;
mod tools;
pub mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::broker::Ports;
use keyward::broker::ports::Clock;
use keyward::config::Config;
use keyward::daemon::{self, Running};
use keyward::proto;
use keyward::proto::audit_service_client::AuditServiceClient;
use keyward::proto::catalog_service_client::CatalogServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use keyward::proto::verify_token_response::Verdict;
use keyward::runtime::clock::{ManualClock, SystemClock};
use keyward::runtime::shutdown::Drained;
use tempfile::TempDir;
use tonic::transport::Channel;

pub use asks::{
    assert_invalid, claims, get_tenant, mask, new_client, new_resource_server, new_tenant, new_tenant_with_pool,
    refusal, rejection, span,
};
pub use binary::Binary;
pub use calls::{
    SCOPES, connect, create_client, create_interactive, create_tenant, folder, put_orders_api, token, verify,
};
pub use errors::{ErrorDetails, details};
pub use gate::Gate;
pub use metrics::{Metrics, metrics};
pub use mutation::{Answer, Mutation};
pub use outage::{INNER_DETAIL, Outage};
pub use raw::{ask_with_bytes, methods, send_bytes};
pub use state::{State, event_after, events, events_of, last_event, pools};
pub use tools::{dynoxide, grpcurl};

/// To wait for between two looks at something. Whoever was late waits all the same, so that others have their turn.
pub fn pauses(period: Duration) -> tokio::time::Interval {
    let mut pauses = tokio::time::interval(period);
    pauses.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pauses
}

/// A daemon in this process, on a free port, over real gRPC, on a real file.
pub struct Daemon {
    running: Running,
    pub channel: Channel,
    pub clock: Arc<dyn Clock>,
    config: Config,
    folder: Arc<TempDir>,
    /// How to reach it over TLS, where it speaks that.
    reach: Option<rustls::ClientConfig>,
}

impl Daemon {
    /// With the time of day.
    pub async fn start() -> Self {
        Daemon::start_with(Arc::new(SystemClock), |_| {}).await
    }

    /// With a clock that the test moves. It starts at [`start_time`].
    pub async fn start_at_rest() -> (Self, Arc<ManualClock>) {
        Daemon::start_at_rest_with(|_| {}).await
    }

    pub async fn start_at_rest_with(edit: impl FnOnce(&mut Config)) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(start_time()));
        (Daemon::start_with(clock.clone(), edit).await, clock)
    }

    pub async fn start_with(clock: Arc<dyn Clock>, edit: impl FnOnce(&mut Config)) -> Self {
        Daemon::start_through(clock, edit, |ports| ports).await
    }

    /// With the daemon seeing its backend through `through`: see [`daemon::start_through`].
    pub async fn start_through(
        clock: Arc<dyn Clock>,
        edit: impl FnOnce(&mut Config),
        through: impl FnOnce(Ports) -> Ports,
    ) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the data folder");
        let key = data.join("master.key");
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
        let mut config = Config::dev("127.0.0.1:0".parse().expect("an address"), data).expect("a configuration");
        edit(&mut config);
        Box::pin(Daemon::on(folder, config, clock, None, through)).await
    }

    /// One that speaks TLS as `edit` says, reached as `reach` says. Nobody is trusted for being on this machine.
    pub async fn start_with_tls(
        clock: Arc<dyn Clock>,
        reach: rustls::ClientConfig,
        edit: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the data folder");
        keyward::embedded::MasterKey::generate_file(&data.join("master.key")).expect("a master key");
        let mut config = Config::dev("127.0.0.1:0".parse().expect("an address"), data).expect("a configuration");
        config.callers.trust_loopback = false;
        edit(&mut config);
        Box::pin(Daemon::on(folder, config, clock, Some(reach), |ports| ports)).await
    }

    async fn on(
        folder: Arc<TempDir>,
        config: Config,
        clock: Arc<dyn Clock>,
        reach: Option<rustls::ClientConfig>,
        through: impl FnOnce(Ports) -> Ports,
    ) -> Self {
        let started = Box::pin(daemon::start_through(config.clone(), clock.clone(), through)).await;
        let running = started.expect("the daemon starts");
        let address = running.local_addr().to_string();
        let channel = match &reach {
            Some(reach) => pki::connect_tls(&address, reach.clone()).await.expect("connected"),
            None => connect(&address).await,
        };
        Daemon { running, channel, clock, config, folder, reach }
    }

    pub fn address(&self) -> String {
        self.running.local_addr().to_string()
    }

    /// Where it serves OAuth 2.0. Fails the test where it does not.
    pub fn oauth_address(&self) -> String {
        self.running.oauth_addresses().first().expect("it serves OAuth 2.0").to_string()
    }

    /// Where its metrics are, if it serves them.
    pub fn status_address(&self) -> Option<SocketAddr> {
        self.running.status_address()
    }

    pub fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// Stops it; every test should, so that what it left running fails the test and not the next one.
    pub async fn stop(self) {
        assert_eq!(self.drain().await, Drained::Clean, "the daemon leaves something running");
    }

    /// Stops it; how that ended.
    pub async fn drain(self) -> Drained {
        drop(self.channel);
        Box::pin(self.running.stop()).await
    }

    /// Stops it and starts another one on the same folder.
    pub async fn restart(self) -> Self {
        Box::pin(self.restart_through(|ports| ports)).await
    }

    /// The same, with the next one seeing its backend through `through`.
    pub async fn restart_through(self, through: impl FnOnce(Ports) -> Ports) -> Self {
        let Daemon { running, channel, clock, config, folder, reach } = self;
        drop(channel);
        assert_eq!(Box::pin(running.stop()).await, Drained::Clean, "the daemon leaves something running");
        Box::pin(Daemon::on(folder, config, clock, reach, through)).await
    }

    /// The same, with another configuration.
    pub async fn restart_with(mut self, edit: impl FnOnce(&mut Config)) -> Self {
        edit(&mut self.config);
        Box::pin(self.restart()).await
    }

    pub fn tenants(&self) -> TenantServiceClient<Channel> {
        TenantServiceClient::new(self.channel.clone())
    }

    pub fn clients(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.channel.clone())
    }

    pub fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    pub fn verification(&self) -> VerificationServiceClient<Channel> {
        VerificationServiceClient::new(self.channel.clone())
    }

    pub fn catalog(&self) -> CatalogServiceClient<Channel> {
        CatalogServiceClient::new(self.channel.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    pub async fn put_orders_api(&self) -> proto::ResourceServer {
        put_orders_api(&self.channel).await
    }

    /// A tenant in a shared pool.
    pub async fn create_tenant(&self, id: &str) -> proto::Tenant {
        create_tenant(&self.channel, id, proto::Isolation::AppClient).await
    }

    /// A client with both scopes of the orders API and every default.
    pub async fn create_client(&self, tenant: &str, id: &str) -> proto::Client {
        create_client(&self.channel, tenant, id).await
    }

    /// A token with all of the client's scopes.
    pub async fn token(&self, client: &str) -> proto::AccessToken {
        token(&self.channel, client).await.expect("a token")
    }

    pub async fn verify(&self, token: &str) -> Verdict {
        verify(&self.channel, token).await
    }
}

/// Where the clock of a daemon at rest starts: 2026-01-01T00:00:00Z.
pub fn start_time() -> Timestamp {
    Timestamp::from_second(1_767_225_600).expect("in range")
}
