//! Tasks of the daemon panic with a secret in the message, and nobody hears it.
//!
//! The hook and the log are the process's own, so the daemon runs in a process of its own: this test program again.

use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use keyward::broker::ports::PortResult;
use keyward::proto;
use keyward::runtime::clock::SystemClock;
use keyward::runtime::{hygiene, telemetry};
use tonic::{Code, Status};

use super::needles::Needles;
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Daemon, new_tenant, refusal, token};

const SECRET: &str = "kZq3vX8bN1mT6yR0wE5uJ2hL9cF4aD7g";

/// Trips over whatever is written or fetched, and says over which secret.
struct Tripping;

#[async_trait]
impl Toll for Tripping {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        assert!(!["commit", "fetch"].contains(&call), "{call} makes no sense of {SECRET}");
        Ok(())
    }

    async fn after(&self, _: &'static str) -> PortResult<()> {
        Ok(())
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
    let daemon = daemon.restart_through(|ports| tolled(ports, Arc::new(Tripping))).await;
    let told = |status: Status| {
        println!("TOLD {status:?}");
        assert_eq!(refusal::<()>(Err(status)).0, Code::Internal);
    };
    // A task that callers share, a task that goes on without its caller, and the task of the connection itself.
    told(token(&daemon.channel, &name).await.expect_err("it panics"));
    told(
        daemon.tenants().create_tenant(new_tenant("globex", proto::Isolation::AppClient)).await.expect_err("it panics"),
    );
    let request = proto::RevealClientSecretRequest { name, reason: "a look".to_owned() };
    println!("TOLD {:?}", daemon.clients().reveal_client_secret(request).await.expect_err("it panics"));
    println!("DONE");
}

#[test]
fn a_panic_with_a_secret_in_its_message_is_heard_without_it() {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "hygiene::panics::child", "--ignored", "--nocapture"]);
    let output = child.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1").output().expect("ran");
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("DONE") && output.status.success(), "{out}{log}");
    // It was heard of three times, by the hook and, where somebody waited for the task, in the error that tells of it.
    assert_eq!(log.matches("a panic; its message is left out").count(), 3, "{log}");
    assert!(log.contains("panics.rs:"), "{log}");
    for error in ["waiting for shared work: its task panicked", "carrying out a call: its task panicked"] {
        assert!(log.contains(error), "{error:?} is not in\n{log}");
    }
    let mut needles = Needles::default();
    needles.add_secret(SECRET);
    for line in log.lines().chain(out.lines()) {
        assert_eq!(needles.first_in(line.as_bytes()), None, "in {line:.160}");
    }
}
