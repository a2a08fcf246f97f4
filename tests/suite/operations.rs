//! What whoever runs a daemon sees of it: health, reflection, signals, deadlines, logs.

mod deadlines;
mod health;
mod logs;
mod reflection;
mod service_manager;
mod signals;

use std::path::Path;
use std::process::{Command, ExitStatus};

use keyward::proto;
use keyward::proto::audit_service_client::AuditServiceClient;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::harness::Binary;

/// Every service of the contract, and Envoy's.
const SERVICES: [&str; 7] = [
    "envoy.service.auth.v3.Authorization",
    "keyward.v1.AuditService",
    "keyward.v1.CatalogService",
    "keyward.v1.ClientService",
    "keyward.v1.TenantService",
    "keyward.v1.TokenService",
    "keyward.v1.VerificationService",
];

/// `keyward serve` in `folder` on a free port, with `more` in its configuration after `[embedded]`.
fn serve(folder: &Path, more: &str) -> Binary {
    Binary::start(&mut command(folder, more))
}

/// The same, not started.
fn command(folder: &Path, more: &str) -> Command {
    let (key, config) = (folder.join("master.key"), folder.join("keyward.toml"));
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n[callers]\ntrust_loopback = true\n\
         [embedded]\nmaster_key_file = {key:?}\n{more}",
        folder.join("data")
    );
    std::fs::write(&config, text).expect("written");
    let mut command = Binary::command();
    command.arg("serve").arg("--config").arg(config);
    command
}

/// Waits until it has ended by itself, while this test's own connections go on.
async fn ended(broker: Binary) -> (ExitStatus, String) {
    tokio::task::spawn_blocking(|| broker.wait()).await.expect("waited for")
}

/// The audit log from its beginning.
async fn tail(channel: &Channel) -> Streaming<proto::AuditEvent> {
    let request = proto::TailAuditEventsRequest { after_sequence: Some(0), ..Default::default() };
    let events = AuditServiceClient::new(channel.clone()).tail_audit_events(request).await;
    events.expect("the audit log is followed").into_inner()
}
