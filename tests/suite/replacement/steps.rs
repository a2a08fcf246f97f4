//! What a caller says and is told: validation, dry runs, repeats, steps, events.

use std::time::Duration;

use keyward::proto;
use keyward::proto::RotationStepKind as Kind;
use tonic::Code;

use super::{HOUR, client, furnish, kinds, replace, replace_over, replace_request, until_state};
use crate::harness::{Daemon, details};

#[tokio::test]
async fn its_steps_are_those_of_a_rotation() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let replaced = replace_over(&daemon, &name, HOUR).await;
    assert_eq!(kinds(&replaced.steps), [Kind::Stage, Kind::Register, Kind::Prove, Kind::Promote]);
    clock.advance(HOUR);
    let ended = until_state(&daemon, &replaced.name, proto::RotationState::Succeeded).await;
    assert_eq!(kinds(&ended.steps), [Kind::Stage, Kind::Register, Kind::Prove, Kind::Promote, Kind::Retire]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let before = daemon.create_client("acme", "orders").await;
    let request = proto::ReplaceClientRequest { validate_only: true, ..replace_request(&before.name) };
    let planned = replace(&daemon, request).await.expect("a plan");
    assert_eq!(planned.name, "");
    assert_eq!(planned.method(), proto::RotationMethod::ReplaceAppClient);
    assert_eq!(planned.app_client_id, "");
    assert_eq!(planned.replaced_app_client_id, before.app_client_id);
    assert_eq!(kinds(&planned.planned_steps), [Kind::Stage, Kind::Register, Kind::Prove, Kind::Promote, Kind::Retire]);
    assert_eq!(client(&daemon, &before.name).await, before);
    daemon.stop().await;
}

#[tokio::test]
async fn repeating_a_request_replaces_once() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let request = proto::ReplaceClientRequest { request_id: "once".to_owned(), ..replace_request(&name) };
    let first = replace(&daemon, request.clone()).await.expect("a rotation");
    let between = client(&daemon, &name).await;
    let again = replace(&daemon, request.clone()).await.expect("the same rotation");
    assert_eq!(again, first);
    assert_eq!(client(&daemon, &name).await, between);
    let other = proto::ReplaceClientRequest { reason: "another".to_owned(), ..request };
    let error = details(&replace(&daemon, other).await.expect_err("another request"));
    assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    daemon.stop().await;
}

#[tokio::test]
async fn only_a_compromise_does_not_wait_for_the_rotation_before() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    replace_over(&daemon, &name, HOUR).await;
    let error = details(&replace(&daemon, replace_request(&name)).await.expect_err("it overlaps"));
    assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "ROTATION_RUNNING"));
    let request = proto::ReplaceClientRequest { immediate: true, ..replace_request(&name) };
    let replaced = replace(&daemon, request).await.expect("a rotation");
    assert_eq!(replaced.state(), proto::RotationState::Succeeded);
    daemon.stop().await;
}

#[tokio::test]
async fn a_bad_request_names_its_field() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let request = || replace_request(&name);
    let bad = [
        ("name", proto::ReplaceClientRequest { name: "tenants/acme".to_owned(), ..request() }),
        ("overlap", proto::ReplaceClientRequest { overlap: seconds(-1), ..request() }),
        ("overlap", proto::ReplaceClientRequest { overlap: seconds(46 * 86_400), ..request() }),
        ("overlap", proto::ReplaceClientRequest { overlap: seconds(1), immediate: true, ..request() }),
        ("reason", proto::ReplaceClientRequest { reason: "x".repeat(513), ..request() }),
        ("request_id", proto::ReplaceClientRequest { request_id: "not one".to_owned(), ..request() }),
    ];
    for (field, request) in bad {
        let error = details(&replace(&daemon, request).await.expect_err(field));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{field}");
        assert_eq!(error.fields, [field]);
    }
    let unknown =
        details(&replace(&daemon, replace_request("tenants/acme/clients/nobody")).await.expect_err("unknown"));
    assert_eq!((unknown.code, unknown.reason.as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    daemon.stop().await;
}

#[tokio::test]
async fn every_step_is_on_record_and_names_who_asked() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let before = daemon.create_client("acme", "orders").await;
    let overlap = Some(prost_types::Duration::try_from(Duration::ZERO).expect("in range"));
    let reason = "the id was printed".to_owned();
    let request = proto::ReplaceClientRequest { overlap, reason: reason.clone(), ..replace_request(&before.name) };
    let replaced = replace(&daemon, request).await.expect("a rotation");
    let filter = proto::AuditEventFilter { resource_prefix: before.name.clone(), ..Default::default() };
    let request = proto::ListAuditEventsRequest { filter: Some(filter), page_size: 100, ..Default::default() };
    let mut events = daemon.audit().list_audit_events(request).await.expect("events").into_inner().audit_events;
    events.sort_by_key(|event| event.sequence);
    let begun = events.iter().position(|event| event.method == "keyward.v1.ClientService/ReplaceClient");
    let events = &events[begun.expect("the call is on record")..];
    let methods: Vec<_> = events.iter().map(|event| event.method.as_str()).collect();
    let steps = ["stage", "register", "prove", "promote", "remove-app-client", "retire"];
    let expected = steps.map(|step| format!("keyward.rotation/{step}"));
    assert_eq!(methods[1..], expected);
    assert_eq!((events[0].resource.as_str(), events[0].detail.as_str()), (replaced.name.as_str(), reason.as_str()));
    assert_eq!(events[2].detail, replaced.app_client_id);
    assert_eq!(events[5].detail, before.app_client_id);
    assert!(events.iter().all(|event| event.principal == events[0].principal && event.call_id == events[0].call_id));
    daemon.stop().await;
}
