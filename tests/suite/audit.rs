//! The audit log: what is in it, that nothing is missing, and how it is read.

mod chain;
mod denials;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use keyward::proto::{self, AuditOutcome, Isolation};
use keyward::runtime::clock::SystemClock;
use tonic::{Code, Request, Status};

use crate::harness::{
    Answer, Daemon, INNER_DETAIL, Mutation, Outage, State, event_after, events, events_of, new_tenant_with_pool,
    refusal,
};
use crate::requests::{mutations, world};

/// What an event of this mutation is about.
fn resource(mutation: &Mutation, answer: &Answer) -> String {
    match (mutation, answer) {
        (_, Answer::Tenant(tenant)) => tenant.name.clone(),
        (_, Answer::Client(client)) => client.name.clone(),
        (_, Answer::Rotation(rotation)) => rotation.name.clone(),
        (_, Answer::ResourceServer(server)) => server.name.clone(),
        // Found by the client whose tokens they are.
        (Mutation::RevokeTokens(_), _) => "tenants/acme/clients/orders".to_owned(),
        (Mutation::DeleteTenant(request), _) => request.name.clone(),
        (Mutation::DeleteClient(request), _) => request.name.clone(),
        (Mutation::DeleteResourceServer(request), _) => request.name.clone(),
        other => panic!("{other:?}"),
    }
}

fn call_id<T>(response: &tonic::Response<T>) -> String {
    response.metadata().get("x-request-id").expect("a call id").to_str().expect("ASCII").to_owned()
}

#[tokio::test]
async fn every_mutation_is_one_event_with_who_what_and_under_which_ids() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        let (call, request_id) = (format!("call-{i}"), format!("request-{i}"));
        let mutation = mutation.with_request_id(&request_id);
        let response = mutation.call(&daemon.channel, &call).await.expect("done");
        assert_eq!(call_id(&response), call);
        let caused: Vec<_> = events(&daemon.channel).await.into_iter().filter(|event| event.call_id == call).collect();
        let (asked, steps): (Vec<_>, Vec<_>) = caused.into_iter().partition(|event| event.method.contains(".v1."));
        let [event] = &asked[..] else { panic!("{}: {asked:?}", mutation.method()) };
        assert_eq!((event.method.as_str(), event.outcome()), (mutation.method(), AuditOutcome::Succeeded));
        assert_eq!((event.principal.as_str(), event.request_id.as_str()), ("operator:dev", request_id.as_str()));
        assert_eq!(event.resource, resource(&mutation, response.get_ref()), "{}", mutation.method());
        assert_eq!((event.name.as_str(), event.reason.as_str()), (&*format!("auditEvents/{}", event.sequence), ""));
        let now = daemon.clock.now().as_second();
        assert_eq!(event.create_time, Some(prost_types::Timestamp { seconds: now, nanos: 0 }));
        for step in steps {
            assert!(step.method.starts_with("keyward.") && step.sequence > event.sequence, "{step:?}");
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_without_a_name_gets_one_that_its_event_has_too() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    for given in ["", "not a call id", "{}"] {
        let request = crate::harness::new_resource_server("billing", &["read"]);
        let response = Mutation::PutResourceServer(request).call(&daemon.channel, given).await.expect("put");
        let made = call_id(&response);
        assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        assert!(events(&daemon.channel).await.iter().any(|event| event.call_id == made));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn every_denial_is_one_event_with_its_reason() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_tenant("idle").await;
    let client = daemon.create_client("acme", "orders").await;
    let idle = daemon.create_client("idle", "orders").await;
    let suspension = proto::SuspendTenantRequest { name: "tenants/idle".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(suspension).await.expect("suspended");
    let settings = proto::UserPoolSettings { deletion_protection: true, ..Default::default() };
    daemon.tenants().create_tenant(new_tenant_with_pool("safe", settings)).await.expect("created");

    let tokens = "keyward.v1.TokenService/GetToken";
    // Each time anew, however often the same is asked.
    for _ in 0..3 {
        let request = proto::GetTokenRequest { name: idle.name.clone(), ..Default::default() };
        let status = daemon.tokens().get_token(request).await.expect_err("suspended");
        assert_denied(&daemon, status, tokens, &idle.name, "TENANT_SUSPENDED").await;
    }

    let scopes = vec!["orders/cancel".to_owned()];
    let request = proto::GetTokenRequest { name: client.name.clone(), scopes, ..Default::default() };
    let status = daemon.tokens().get_token(request).await.expect_err("not its scope");
    assert_denied(&daemon, status, tokens, &client.name, "SCOPE_NOT_ALLOWED").await;

    let request = proto::RevealClientSecretRequest { name: client.name.clone(), reason: "because".to_owned() };
    let status = daemon.clients().reveal_client_secret(request).await.expect_err("off");
    let method = "keyward.v1.ClientService/RevealClientSecret";
    assert_denied(&daemon, status, method, &client.name, "REVEAL_DISABLED").await;

    let name = "tenants/safe".to_owned();
    let request = proto::DeleteTenantRequest { name, request_id: "mine".to_owned(), ..Default::default() };
    let status = daemon.tenants().delete_tenant(request).await.expect_err("protected");
    let method = "keyward.v1.TenantService/DeleteTenant";
    assert_denied(&daemon, status, method, "tenants/safe", "DELETION_PROTECTED").await;
    assert_eq!(events(&daemon.channel).await.last().expect("the denial").request_id, "mine");
    daemon.stop().await;
}

/// The last event is this denial, and no other event is of its call.
async fn assert_denied(daemon: &Daemon, status: Status, method: &str, resource: &str, reason: &str) {
    let call = status.metadata().get("x-request-id").expect("a call id").to_str().expect("ASCII").to_owned();
    assert_eq!(refusal::<()>(Err(status)).1, reason);
    let events = events(&daemon.channel).await;
    assert_eq!(events.iter().filter(|event| event.call_id == call).count(), 1);
    let event = events.last().expect("an event");
    assert_eq!((event.outcome(), event.reason.as_str(), &event.call_id), (AuditOutcome::Denied, reason, &call));
    assert_eq!((event.method.as_str(), event.resource.as_str()), (method, resource));
    assert_eq!(event.principal, "operator:dev");
}

#[tokio::test]
async fn a_change_that_fails_has_no_event_and_an_event_that_fails_has_no_change() {
    let outage = Outage::default();
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| outage.of_changes(ports)).await;
    world(&daemon).await;
    outage.begin();
    let before = State::of(&daemon.channel).await;
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        let status = mutation.with_request_id(&format!("id-{i}")).send(&daemon.channel).await.expect_err("fails");
        let told = crate::harness::details(&status);
        assert_eq!((told.code, told.reason.as_str(), told.retry), (Code::Unavailable, "REGISTRY_UNAVAILABLE", true));
        assert!(!format!("{status:?}").contains(INNER_DETAIL));
    }
    // A denial that cannot be written down is not answered as one.
    let name = "tenants/idle/clients/nobody".to_owned();
    let request = proto::RevealClientSecretRequest { name, reason: "x".to_owned() };
    let refused = refusal(daemon.clients().reveal_client_secret(request).await);
    assert_eq!(refused, (Code::Unavailable, "AUDIT_UNAVAILABLE".into()));
    assert_eq!(State::of(&daemon.channel).await, before);
    outage.end();
    // None of them has used up its request id.
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        mutation.with_request_id(&format!("id-{i}")).send(&daemon.channel).await.expect("done now");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_is_not_revealed_where_that_cannot_be_put_on_record() {
    let outage = Outage::default();
    let edit = |config: &mut keyward::config::Config| config.secrets.reveal = true;
    let daemon = Daemon::start_through(Arc::new(SystemClock), edit, |ports| outage.of_changes(ports)).await;
    world(&daemon).await;
    outage.begin();
    let name = "tenants/acme/clients/orders".to_owned();
    let request = proto::RevealClientSecretRequest { name, reason: "x".to_owned() };
    let refused = refusal(daemon.clients().reveal_client_secret(request).await);
    assert_eq!(refused, (Code::Unavailable, "AUDIT_UNAVAILABLE".into()));
    outage.end();
    daemon.stop().await;
}

#[tokio::test]
async fn filters_choose_by_resource_principal_method_outcome_and_time() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    for id in ["acme", "acme-2"] {
        daemon.create_tenant(id).await;
        daemon.create_client(id, "orders").await;
    }
    clock.advance(Duration::from_secs(60));
    let later = prost_types::Timestamp { seconds: clock_now(&daemon), nanos: 0 };
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let request = proto::GetTokenRequest { name: "tenants/acme/clients/orders".to_owned(), ..Default::default() };
    daemon.tokens().get_token(request).await.expect_err("denied");
    let all = events(&daemon.channel).await;

    type Wanted = fn(&proto::AuditEvent, &prost_types::Timestamp) -> bool;
    let acme = || proto::AuditEventFilter { resource_prefix: "tenants/acme".to_owned(), ..Default::default() };
    let text = str::to_owned;
    let cases: Vec<(proto::AuditEventFilter, Wanted)> = vec![
        (acme(), |event, _| event.resource == "tenants/acme" || event.resource.starts_with("tenants/acme/")),
        (
            proto::AuditEventFilter { resource_prefix: text("tenants/acme/clients/orders"), ..Default::default() },
            |event, _| event.resource == "tenants/acme/clients/orders",
        ),
        (
            proto::AuditEventFilter { method: text("keyward.v1.TenantService/CreateTenant"), ..Default::default() },
            |event, _| event.method == "keyward.v1.TenantService/CreateTenant",
        ),
        (proto::AuditEventFilter { outcome: AuditOutcome::Denied.into(), ..acme() }, |event, _| {
            event.outcome() == AuditOutcome::Denied
        }),
        (proto::AuditEventFilter { start_time: Some(later), ..Default::default() }, |event, later| {
            event.create_time.expect("set").seconds >= later.seconds
        }),
        (proto::AuditEventFilter { end_time: Some(later), ..Default::default() }, |event, later| {
            event.create_time.expect("set").seconds < later.seconds
        }),
        (proto::AuditEventFilter { principal: text("operator:dev"), ..Default::default() }, |event, _| {
            event.principal == "operator:dev"
        }),
    ];
    for (filter, wanted) in cases {
        let expected: Vec<_> = all.iter().filter(|event| wanted(event, &later)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() <= all.len(), "{filter:?}");
        assert_eq!(events_of(&daemon.channel, filter.clone()).await, expected, "{filter:?}");
    }
    for nothing in [
        proto::AuditEventFilter { resource_prefix: text("tenants/acm"), ..Default::default() },
        proto::AuditEventFilter { principal: text("operator:de"), ..Default::default() },
        proto::AuditEventFilter { method: text("keyward.v1.TenantService"), ..Default::default() },
        proto::AuditEventFilter { outcome: AuditOutcome::Failed.into(), ..Default::default() },
    ] {
        assert_eq!(events_of(&daemon.channel, nothing.clone()).await, [], "{nothing:?}");
    }
    daemon.stop().await;
}

fn clock_now(daemon: &Daemon) -> i64 {
    daemon.clock.now().as_second()
}

#[tokio::test]
async fn a_rotation_that_was_asked_for_is_its_callers_and_a_scheduled_one_the_brokers_own() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    crate::harness::create_tenant(&daemon.channel, "acme", Isolation::AppClient).await;
    let client = daemon.create_client("acme", "orders").await;
    let mut request =
        Request::new(proto::RotateClientSecretRequest { name: client.name.clone(), ..Default::default() });
    request.metadata_mut().insert("x-request-id", "rotate-me".parse().expect("ASCII"));
    let asked = daemon.clients().rotate_client_secret(request).await.expect("rotated").into_inner();
    let promoted = event_after(&daemon.channel, 0, "keyward.rotation/promote", &asked.name).await;
    assert_eq!((promoted.principal.as_str(), promoted.call_id.as_str()), ("operator:dev", "rotate-me"));
    assert_eq!(promoted.outcome(), AuditOutcome::Succeeded);

    // The overlap ends, and then the period.
    clock.advance(Duration::from_secs(86_400));
    event_after(&daemon.channel, promoted.sequence, "keyward.rotation/retire", &asked.name).await;
    let seen = crate::harness::last_event(&daemon.channel).await;
    clock.advance(Duration::from_secs(90 * 86_400));
    let promoted = event_after(&daemon.channel, seen, "keyward.rotation/promote", &client.name).await;
    assert_ne!(promoted.resource, asked.name);
    assert_eq!(promoted.principal, "keyward");
    let own = proto::AuditEventFilter { principal: "keyward".to_owned(), ..Default::default() };
    for event in events_of(&daemon.channel, own).await {
        assert!(event.sequence > seen && event.resource.starts_with(&client.name), "{event:?}");
        assert!(event.request_id.is_empty());
    }
    daemon.stop().await;
}
