//! What a service manager, such as systemd, is told of the program's life.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyward::proto;
use keyward::proto::tenant_service_client::TenantServiceClient;
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{command, ended};
use crate::harness::{Binary, folder};

/// Where a manager hears what it is told.
struct Ear(UnixDatagram);

impl Ear {
    fn at(path: &Path) -> Self {
        Ear(UnixDatagram::bind(path).expect("a socket"))
    }

    async fn hear(&self) -> String {
        let mut words = [0; 1_024];
        let length = timeout(Duration::from_secs(30), self.0.recv(&mut words)).await.expect("told in time");
        String::from_utf8(words[..length.expect("received")].to_vec()).expect("UTF-8")
    }

    /// The next that is not a sign of life.
    async fn hear_news(&self) -> String {
        loop {
            let words = self.hear().await;
            if words != "WATCHDOG=1" {
                return words;
            }
        }
    }
}

#[tokio::test]
async fn it_is_told_when_the_program_serves_that_it_lives_and_when_it_ends() {
    let (_folder, path) = folder();
    let ear = Ear::at(&path.join("notify"));
    let broker = Binary::start(supervised(&path, "").env("WATCHDOG_USEC", "200000"));
    assert_eq!(ear.hear_news().await, "STATUS=starts");
    assert_eq!(ear.hear_news().await, format!("READY=1\nSTATUS=serves at {}", broker.address));
    // Somebody who waited for that may call now.
    let answer = HealthClient::new(broker.channel().await).check(HealthCheckRequest::default()).await;
    assert_eq!(answer.expect("answered").into_inner().status(), ServingStatus::Serving);
    for _ in 0..3 {
        assert_eq!(ear.hear().await, "WATCHDOG=1");
    }

    broker.signal("TERM");
    let words = ear.hear_news().await;
    assert!(words.starts_with("STOPPING=1\nSTATUS=ends"), "{words}");
    let (status, log) = ended(broker).await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn an_end_may_take_as_long_as_it_says_and_calls_under_way_are_finished_after_it_was_said() {
    let (_folder, path) = folder();
    let ear = Ear::at(&path.join("notify"));
    let slow = "latency = \"1s\"\n[shutdown]\ndrain_deadline = \"30s\"";
    let broker = Binary::start(&mut supervised(&path, slow));
    let mut tenants = TenantServiceClient::new(broker.channel().await);
    let mut events = super::tail(&broker.channel().await).await;
    let tenant = proto::Tenant { isolation: proto::Isolation::AppClient.into(), ..Default::default() };
    let request = proto::CreateTenantRequest { tenant_id: "acme".into(), tenant: Some(tenant), ..Default::default() };
    let call = tokio::spawn(async move { tenants.create_tenant(request).await });
    let begun = events.message().await.expect("an event").expect("an event");
    assert_eq!(begun.method, "keyward.v1.TenantService/CreateTenant");
    broker.signal("TERM");
    let mut words = ear.hear_news().await;
    while !words.starts_with("STOPPING=1") {
        words = ear.hear_news().await;
    }
    // Twice the deadline, and what a membership may take to end.
    assert!(words.ends_with("\nEXTEND_TIMEOUT_USEC=70000000"), "{words}");
    assert!(!call.is_finished(), "nothing was under way when it said that it ends");
    call.await.expect("the call ends").expect("it is finished");
    let (status, log) = ended(broker).await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_program_that_does_not_start_never_says_that_it_serves() {
    let (_folder, path) = folder();
    let ear = Ear::at(&path.join("notify"));
    let output = supervised(&path, "[status]\nlisten = \"192.0.2.1:1\"").output().expect("it ran");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(ear.hear().await, "STATUS=starts");
    let further = ear.0.try_recv(&mut [0; 64]).expect_err("nothing else was said");
    assert_eq!(further.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_manager_that_cannot_be_told_is_complained_of_and_the_program_serves() {
    let (_folder, path) = folder();
    let broker = Binary::start(&mut supervised(&path, ""));
    broker.logs("NOTIFY_SOCKET cannot be used").await;
    let answer = HealthClient::new(broker.channel().await).check(HealthCheckRequest::default()).await;
    assert_eq!(answer.expect("answered").into_inner().status(), ServingStatus::Serving);
}

/// `keyward serve` whose manager listens at `notify` in its folder.
fn supervised(folder: &Path, more: &str) -> Command {
    let mut command = command(folder, more);
    command.env("NOTIFY_SOCKET", folder.join("notify"));
    command
}
