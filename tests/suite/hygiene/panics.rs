//! A task of the daemon panics with a secret in its message, and nobody hears it.
//!
//! The hook and the log are the process's own, so the daemon runs in a process of its own: this test program again.

use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{Label, PortPage, PortResult, SecretDocument, Vault, Wanted};
use keyward::domain::id::{SecretName, VersionId};
use keyward::domain::rotation::Labels;
use keyward::proto;
use keyward::runtime::clock::SystemClock;
use keyward::runtime::{hygiene, telemetry};
use tonic::Code;
use zeroize::Zeroizing;

use super::needles::Needles;
use crate::harness::{Daemon, refusal};

/// A vault that trips over every secret that it reads, and tells which in its last words.
struct Tripping(Arc<dyn Vault>);

#[async_trait]
impl Vault for Tripping {
    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>> {
        let read = self.0.read(name, version).await?;
        if let Some(document) = &read {
            // For the parent: what must not be heard, on the way that is not searched.
            println!("NEEDLE {}", document.client_secret.expose());
            panic!("{} makes no sense", document.client_secret.expose());
        }
        Ok(read)
    }

    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.0.stage(name, version, document).await
    }

    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>> {
        self.0.labels(name).await
    }

    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()> {
        self.0.promote(name, from, to).await
    }

    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()> {
        self.0.clear(name, label, version).await
    }

    async fn schedule_deletion(&self, name: &SecretName, window: std::time::Duration) -> PortResult<()> {
        self.0.schedule_deletion(name, window).await
    }

    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()> {
        self.0.set_readers(name, readers).await
    }

    async fn read_foreign(&self, name: &str) -> PortResult<Option<Zeroizing<String>>> {
        self.0.read_foreign(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>> {
        self.0.list(prefix, after).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is the child of another test"]
async fn child() {
    hygiene::censor_panics();
    telemetry::init(telemetry::Format::Text, "trace").expect("logs");
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.secrets.reveal = true).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let name = daemon.create_client("acme", "orders").await.name;
    let trip = |ports: Ports| Ports { vault: Arc::new(Tripping(ports.vault.clone())), ..ports };
    let daemon = daemon.restart_through(trip).await;
    // A read, whose task is the connection's; a fetch of a token, which is a task of its own; a change.
    let request = proto::RevealClientSecretRequest { name: name.clone(), reason: "a look".to_owned() };
    daemon.clients().reveal_client_secret(request).await.expect_err("it panics");
    let request = proto::GetTokenRequest { name: name.clone(), ..Default::default() };
    let status = daemon.tokens().get_token(request).await.expect_err("it panics");
    println!("TOLD {} {:?}", status.message(), status.metadata());
    let request = proto::RotateClientSecretRequest { name, immediate: true, ..Default::default() };
    if let Err(status) = daemon.clients().rotate_client_secret(request).await {
        assert_eq!(refusal::<()>(Err(status)).0, Code::Internal);
    }
    println!("DONE");
}

#[test]
fn a_panic_with_a_secret_in_its_message_is_heard_without_it() {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "hygiene::panics::child", "--ignored", "--nocapture"]);
    let output = child.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1").output().expect("ran");
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("DONE") && output.status.success(), "{out}{log}");
    let mut needles = Needles::default();
    let secrets: Vec<_> = out.lines().filter_map(|line| line.split_once("NEEDLE ").map(|(_, secret)| secret)).collect();
    assert!(secrets.len() >= 2, "{out}");
    secrets.iter().for_each(|secret| needles.add_secret(secret));
    assert!(log.matches("a panic; its message is left out").count() >= 2 && log.contains("panics.rs:"), "{log}");
    // Whoever waits for a task is told how it ended by an error that quotes the message.
    assert!(log.contains("its task panicked"), "{log}");
    for line in log.lines() {
        assert_eq!(needles.first_in(line.as_bytes()), None, "in {line:.160}");
    }
    for line in out.lines().filter(|line| line.contains("TOLD ")) {
        assert_eq!(needles.first_in(line.as_bytes()), None);
    }
}
