//! Streams that outlive what permitted them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use keyward::domain::caller::Caller;
use keyward::proto::{self, AuditOutcome};
use prost_types::FieldMask;
use tonic::{Code, Status, Streaming};

use super::{get_tenant, until, with_policies};
use crate::harness::acting::of_tenant;
use crate::harness::{Daemon, details, events, folder, refusal, start_time};

const ORDERS: &str = "tenants/acme/clients/orders";
const NO_TOKENS: &str = "forbid (principal, action in Keyward::Action::\"tokens\", resource);";

async fn watch(daemon: &Daemon) -> Streaming<proto::AccessToken> {
    let request = proto::WatchTokenRequest { name: ORDERS.to_owned(), ..Default::default() };
    daemon.tokens().watch_token(request).await.expect("a stream").into_inner()
}

async fn tail(daemon: &Daemon) -> Streaming<proto::AuditEvent> {
    daemon.audit().tail_audit_events(proto::TailAuditEventsRequest::default()).await.expect("a stream").into_inner()
}

/// How a stream ends that has nothing more to send.
async fn end<T: std::fmt::Debug>(stream: &mut Streaming<T>) -> (Code, String) {
    let next = tokio::time::timeout(Duration::from_secs(60), stream.message()).await.expect("it ends");
    let status: Status = next.expect_err("an error");
    let told = details(&status);
    (told.code, told.reason)
}

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
}

fn expired() -> (Code, String) {
    (Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned())
}

async fn acme(daemon: &Daemon) {
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_client("acme", "orders").await;
}

#[tokio::test]
async fn a_stream_ends_with_the_permission_that_it_was_opened_under() {
    let (_folder, path) = folder();
    std::fs::write(path.join("none.cedar"), "forbid (principal, action == Keyward::Action::\"ListPools\", resource);")
        .expect("written");
    let daemon = Daemon::start_at_rest_with(with_policies(&path)).await.0;
    acme(&daemon).await;
    let daemon = daemon.restart_as(of_tenant("acme", None)).await;
    let mut stream = watch(&daemon).await;
    stream.message().await.expect("a stream").expect("a token");

    std::fs::write(path.join("tokens.cedar"), NO_TOKENS).expect("written");
    assert_eq!(end(&mut stream).await, denied());
    let daemon = daemon.restart().await;
    let denials: Vec<_> =
        events(&daemon.channel).await.into_iter().filter(|event| event.outcome() == AuditOutcome::Denied).collect();
    let [event] = denials.as_slice() else { panic!("{denials:?}") };
    assert_eq!((event.method.as_str(), event.resource.as_str()), ("keyward.v1.TokenService/WatchToken", ORDERS));
    assert_eq!(event.principal, "spiffe://example.org/acme");
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_when_a_change_does_not_concern_it() {
    let (_folder, path) = folder();
    std::fs::write(path.join("one.cedar"), "permit (principal, action, resource);").expect("written");
    let daemon = Daemon::start_at_rest_with(with_policies(&path)).await.0;
    let mut stream = tail(&daemon).await;
    std::fs::write(path.join("two.cedar"), "forbid (principal, action == Keyward::Action::\"GetTenant\", resource);")
        .expect("written");
    until(async || matches!(get_tenant(&daemon, "tenants/acme").await, Err(status) if status.code() == Code::PermissionDenied)).await;
    daemon.create_tenant("acme").await;
    let created = async {
        loop {
            let event = stream.message().await.expect("goes on").expect("an event");
            if event.method.ends_with("/CreateTenant") {
                return event;
            }
        }
    };
    let event = tokio::time::timeout(Duration::from_secs(60), created).await.expect("it comes");
    assert_eq!(event.resource, "tenants/acme");
    drop(stream);
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_a_label_takes_its_permission_away() {
    let (_folder, path) = folder();
    let policies = path.join("labels.cedar");
    std::fs::write(&policies, "permit (principal, action, resource) unless { resource.hasTag(\"frozen\") };")
        .expect("written");
    let daemon = Daemon::start_at_rest_with(|config| {
        with_policies(&policies)(config);
        config.permission.replace_defaults = true;
    })
    .await
    .0;
    acme(&daemon).await;
    let mut stream = watch(&daemon).await;
    stream.message().await.expect("a stream").expect("a token");
    let change = async |labels: BTreeMap<String, String>| {
        let client = proto::Client { name: ORDERS.to_owned(), labels, ..Default::default() };
        let update_mask = Some(FieldMask { paths: vec!["labels".to_owned()] });
        let request = proto::UpdateClientRequest { client: Some(client), update_mask, ..Default::default() };
        daemon.clients().update_client(request).await
    };
    change(BTreeMap::from([("colour".to_owned(), "red".to_owned())])).await.expect("changed");
    assert!(tokio::time::timeout(Duration::from_millis(300), stream.message()).await.is_err(), "it goes on");
    change(BTreeMap::from([("frozen".to_owned(), String::new())])).await.expect("changed");
    assert_eq!(end(&mut stream).await, denied());
    daemon.stop().await;
}

#[tokio::test]
async fn nothing_outlives_the_proof_of_who_calls() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    acme(&daemon).await;
    let end_time: Timestamp = start_time() + Duration::from_secs(3_600);
    let caller = Caller { valid_until: Some(end_time), ..Caller::operator("short") };
    let daemon = daemon.restart_as(caller).await;
    let mut tokens = watch(&daemon).await;
    tokens.message().await.expect("a stream").expect("a token");
    let mut events_seen = tail(&daemon).await;
    let (questions, asked) = tokio::sync::mpsc::channel(1);
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut verdicts = daemon.verification().verify_tokens(asked).await.expect("a stream").into_inner();
    let ask = |token: &str| {
        let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
        proto::VerifyTokensRequest { correlation_id: "one".to_owned(), request: Some(request) }
    };
    questions.send(ask("not a token")).await.expect("sent");
    verdicts.message().await.expect("a stream").expect("a verdict");
    get_tenant(&daemon, "tenants/acme").await.expect("it holds yet");

    clock.set(end_time);
    assert_eq!(end(&mut tokens).await, expired());
    assert_eq!(end(&mut verdicts).await, expired());
    // What was written until then may still be on its way.
    let rest = async {
        loop {
            match events_seen.message().await {
                Ok(event) => assert!(event.is_some(), "it ended well"),
                Err(status) => return details(&status),
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(60), rest).await.expect("it ends");
    assert_eq!((told.code, told.reason), expired());
    assert_eq!(refusal(get_tenant(&daemon, "tenants/acme").await), expired());
    drop(questions);
    daemon.stop().await;
}
