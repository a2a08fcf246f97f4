//! Every call is counted once, under its method and how it ended.

use futures::StreamExt as _;
use keyward::proto;
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{call_what_is_no_method, told};
use crate::harness::http2::{self, Raw, framed};
use crate::harness::ports::{Stage, in_time};
use crate::harness::{Daemon, methods, metrics, send_bytes};

const NAME: &str = "rpc_server_call_duration_seconds_count";

fn series(method: &str, code: &str) -> String {
    let error = if ["DEADLINE_EXCEEDED", "UNIMPLEMENTED"].contains(&code) {
        format!(",error_type=\"{code}\"")
    } else {
        String::new()
    };
    format!("{NAME}{{rpc_system_name=\"grpc\",rpc_method=\"{method}\",rpc_response_status_code=\"{code}\"{error}}}")
}

/// How many calls of `method` there were that ended so, and how many calls in all.
async fn counted(daemon: &Daemon, method: &str, code: &str) -> (f64, f64) {
    let metrics = metrics(daemon.status_address().expect("it tells its status")).await;
    (metrics.value(&series(method, code)).unwrap_or_default(), metrics.sum(NAME))
}

#[tokio::test]
async fn each_call_is_counted_once_whatever_becomes_of_it() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let mut all = metrics(daemon.status_address().expect("it tells its status")).await.sum(NAME);
    let mut one_more = async |method: &str, code: &str| {
        all += 1.0;
        let (so, now) = counted(daemon, method, code).await;
        assert_eq!(now, all, "after a call of {method} that ended {code}");
        assert!(so >= 1.0, "no call of {method} has ended {code}");
    };

    // A hit of memory, then the answer that is given again, by the short way.
    let get = || proto::GetTokenRequest { name: stage.client.name.clone(), ..Default::default() };
    for _ in 0..4 {
        daemon.tokens().get_token(get()).await.expect("a token");
        one_more("keyward.v1.TokenService/GetToken", "OK").await;
    }
    assert_eq!(counted(daemon, "keyward.v1.TokenService/GetToken", "OK").await.0, 4.0);
    let nobody = proto::GetTokenRequest { name: "tenants/nobody/clients/checkout".into(), ..Default::default() };
    daemon.tokens().get_token(nobody).await.expect_err("nobody's");
    one_more("keyward.v1.TokenService/GetToken", "NOT_FOUND").await;

    // The long way: a read, a refusal, a message that cannot be read, a method that there is not, a probe.
    daemon.tenants().get_tenant(proto::GetTenantRequest { name: "tenants/acme".into() }).await.expect("there");
    one_more("keyward.v1.TenantService/GetTenant", "OK").await;
    daemon.tenants().get_tenant(proto::GetTenantRequest { name: "acme".into() }).await.expect_err("no name");
    one_more("keyward.v1.TenantService/GetTenant", "INVALID_ARGUMENT").await;
    let method = methods().into_iter().find(|method| method.name() == "GetTenant").expect("a method");
    let refused = send_bytes(&daemon.channel, &method, vec![0xff; 8]).await.expect_err("no message");
    assert_eq!(refused.code(), Code::InvalidArgument);
    one_more("keyward.v1.TenantService/GetTenant", "INVALID_ARGUMENT").await;
    assert_eq!(counted(daemon, "keyward.v1.TenantService/GetTenant", "INVALID_ARGUMENT").await.0, 2.0);
    call_what_is_no_method(&daemon.channel).await;
    one_more("_OTHER", "UNIMPLEMENTED").await;
    HealthClient::new(daemon.channel.clone()).check(HealthCheckRequest::default()).await.expect("healthy");
    one_more("grpc.health.v1.Health/Check", "OK").await;

    stage.daemon.stop().await;
}

/// A stream counts when it is over; a caller that gives up, or whose time is up, as what came of it.
#[tokio::test]
async fn a_call_that_ends_early_is_counted_as_what_came_of_it() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let tail = proto::TailAuditEventsRequest { after_sequence: Some(0), ..Default::default() };
    let mut stream = daemon.audit().tail_audit_events(tail).await.expect("followed").into_inner();
    stream.next().await.expect("an event").expect("an event");
    let method = "keyward.v1.AuditService/TailAuditEvents";
    assert_eq!(counted(daemon, method, "CANCELLED").await.0, 0.0, "it is not over");
    drop(stream);
    in_time(async { while counted(daemon, method, "CANCELLED").await.0 != 1.0 {} }).await;

    let gate = stage.fetches.hold_next();
    let get = || proto::GetTokenRequest { name: stage.client.name.clone(), ..Default::default() };
    // A caller that says how long it waits, and waits longer: the broker is to be the one whose patience ends.
    let mut request = http2::get_token();
    request.headers_mut().insert("grpc-timeout", "100m".parse().expect("a header"));
    let mut caller = Raw::over(TcpStream::connect(daemon.address()).await.expect("connected")).await;
    let too_late = caller.answer(request, &framed(&get().encode_to_vec())).await.expect("answered");
    assert_eq!(too_late.code(), Code::DeadlineExceeded);
    let method = "keyward.v1.TokenService/GetToken";
    in_time(async { while counted(daemon, method, "DEADLINE_EXCEEDED").await.0 != 1.0 {} }).await;

    let call = tokio::spawn({
        let (mut tokens, request) = (daemon.tokens(), get());
        async move { tokens.get_token(request).await }
    });
    stage.fetches.wait_for(1).await;
    call.abort();
    // It may not have been sent yet when it was given up.
    assert!(call.await.is_err_and(|lost| lost.is_cancelled()));
    gate.open();
    let (ended, _) = counted(daemon, method, "DEADLINE_EXCEEDED").await;
    assert_eq!(ended, 1.0);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".into(), ..Default::default() };
    daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    for _ in 0..3 {
        let get = proto::GetTokenRequest { name: stage.client.name.clone(), ..Default::default() };
        daemon.tokens().get_token(get).await.expect_err("suspended");
    }
    let metrics = metrics(daemon.status_address().expect("it tells its status")).await;
    assert_eq!(metrics.value("keyward_refusals_total{reason=\"TENANT_SUSPENDED\"}"), Some(3.0));
    assert_eq!(metrics.sum("keyward_refusals_total"), 3.0);
    stage.daemon.stop().await;
}
