//! Calls that take too long, for the broker or for their caller.

use std::sync::Arc;
use std::time::Duration;

use keyward::proto;
use keyward::runtime::clock::SystemClock;
use prost::Message as _;
use tonic::codegen::http::Request;
use tonic::{Code, Status};

use crate::harness::http2::framed;
use crate::harness::{Daemon, details};

/// Long enough for a call that waits for nothing but the disk, on a busy machine.
const SHORT: Duration = Duration::from_secs(1);
/// Of every call of the backend.
const LATENCY: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_call_beyond_the_brokers_own_limit_is_told_so() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| {
        config.embedded.latency = LATENCY;
        config.grpc.request_timeout = SHORT;
    })
    .await;
    let status = daemon.tenants().create_tenant(request()).await.expect_err("too slow");
    expect_deadline_exceeded(&status);
    expect_it_is_done_nevertheless(&daemon).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_beyond_its_callers_limit_is_told_so() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.embedded.latency = LATENCY).await;
    let status = create_tenant_within(&daemon.address(), "1S").await;
    expect_deadline_exceeded(&status);
    let id = status.metadata().get("x-request-id").expect("the id of the call");
    assert_eq!(id, "order-4711");
    expect_it_is_done_nevertheless(&daemon).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_may_last_longer_than_a_call() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.grpc.request_timeout = SHORT).await;
    let mut events = super::tail(&daemon.channel).await;
    // Nothing happens for longer than a call may take.
    let silence = tokio::time::timeout(2 * SHORT, events.message()).await;
    assert!(silence.is_err(), "{silence:?}");
    daemon.put_orders_api().await;
    assert!(events.message().await.expect("an event").is_some());
    drop(events);
    daemon.stop().await;
}

fn expect_deadline_exceeded(status: &Status) {
    let found = details(status);
    assert_eq!((found.code, found.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{status:?}");
}

/// What was begun goes on, so that it can be asked for again.
async fn expect_it_is_done_nevertheless(daemon: &Daemon) {
    let mut events = super::tail(&daemon.channel).await;
    loop {
        let event = events.message().await.expect("an event").expect("an event");
        if event.method == "keyward.onboarding/activate" {
            break assert_eq!(event.resource, "tenants/acme");
        }
    }
}

fn request() -> proto::CreateTenantRequest {
    let tenant = proto::Tenant { isolation: proto::Isolation::AppClient.into(), ..Default::default() };
    proto::CreateTenantRequest { tenant_id: "acme".into(), tenant: Some(tenant), ..Default::default() }
}

/// As a caller that tells its deadline and waits for the answer all the same, so that it is the broker's.
async fn create_tenant_within(address: &str, timeout: &str) -> Status {
    let stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let (caller, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut caller = caller.ready().await.expect("ready");
    let head = Request::post(format!("http://{address}/keyward.v1.TenantService/CreateTenant"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .header("x-request-id", "order-4711");
    let (answer, mut body) = caller.send_request(head.body(()).expect("a request"), false).expect("sent");
    body.send_data(framed(&request().encode_to_vec()).into(), true).expect("sent");
    let answer = answer.await.expect("answered");
    connection.abort();
    Status::from_header_map(answer.headers()).expect("a status and no message")
}
