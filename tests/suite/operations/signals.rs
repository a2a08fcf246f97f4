//! How the program ends when it is asked to.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use keyward::proto;
use keyward::proto::tenant_service_client::TenantServiceClient;
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{ended, serve, tail};
use crate::harness::{Binary, details, folder};

#[tokio::test]
async fn calls_under_way_are_finished_and_long_streams_are_ended() {
    for signal in ["TERM", "INT"] {
        let (_folder, path) = folder();
        let (broker, call, mut events) = with_a_call_under_way(&path, "latency = \"500ms\"").await;
        broker.signal(signal);

        let tenant = call.await.expect("the call ends").expect("it is finished");
        assert_eq!(tenant.state(), proto::TenantState::Active, "SIG{signal}");
        let end = loop {
            match events.message().await {
                Ok(event) => assert!(event.is_some(), "the stream ended without a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!((end.code(), details(&end).reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"), "SIG{signal}");
        let (status, log) = ended(broker).await;
        assert_eq!(status.code(), Some(0), "SIG{signal}: {log}");
    }
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_deadline_is_exit_code_3_and_the_next_start_finishes_it() {
    let (_folder, path) = folder();
    let slow = "latency = \"10s\"\n[shutdown]\ndrain_deadline = \"100ms\"";
    let (broker, call, _events) = with_a_call_under_way(&path, slow).await;
    broker.signal("TERM");
    let (status, log) = ended(broker).await;
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(call.await.expect("the call ends").is_err());

    let broker = serve(&path, "");
    let mut events = tail(&broker.channel().await).await;
    loop {
        let event = events.message().await.expect("an event").expect("an event");
        if event.method == "keyward.onboarding/activate" {
            break assert_eq!(event.resource, "tenants/acme");
        }
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (_folder, path) = folder();
        let (broker, _call, _events) = with_a_call_under_way(&path, "latency = \"10s\"").await;
        let mut health = HealthClient::new(broker.channel().await);
        let mut watched = health.watch(HealthCheckRequest::default()).await.expect("watched").into_inner();
        assert_eq!(watched.message().await.expect("sent").expect("a status").status(), ServingStatus::Serving);
        broker.signal(signal);
        // The first one has been seen, so the second is not taken for it.
        assert_eq!(watched.message().await.expect("sent").expect("a status").status(), ServingStatus::NotServing);
        broker.signal(signal);
        let (status, log) = ended(broker).await;
        assert_eq!((status.code(), status.signal()), (Some(code), None), "SIG{signal}: {log}");
    }
}

type Call = JoinHandle<Result<proto::Tenant, Status>>;

/// A broker whose backend is slow, a `CreateTenant` that it has begun, and its audit log.
async fn with_a_call_under_way(folder: &Path, more: &str) -> (Binary, Call, Streaming<proto::AuditEvent>) {
    let broker = serve(folder, more);
    let channel = broker.channel().await;
    let mut events = tail(&channel).await;
    let tenant = proto::Tenant { isolation: proto::Isolation::AppClient.into(), ..Default::default() };
    let request = proto::CreateTenantRequest { tenant_id: "acme".into(), tenant: Some(tenant), ..Default::default() };
    let call = tokio::spawn(async move {
        TenantServiceClient::new(channel).create_tenant(request).await.map(|answer| answer.into_inner())
    });
    // Written before the backend is asked.
    let event = events.message().await.expect("an event").expect("an event");
    assert_eq!(event.method, "keyward.v1.TenantService/CreateTenant");
    (broker, call, events)
}
