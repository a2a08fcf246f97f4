//! `RotateClientSecrets`: who is rotated, what is told of whom, and what goes on when the call does not.

mod disturbed;
mod repeated;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::broker::Ports;
use keyward::proto;
use keyward::proto::RotationState::{Overlap, Succeeded};
use keyward::proto::RotationStepKind::{Promote, Prove, Register, Retire, Stage};
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::runtime::clock::ManualClock;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::bad_input::{bad_durations, bad_labels, bad_tenant_names, bad_timestamps, bad_words};
use crate::harness::backend::Backend;
use crate::harness::rotations::{get_client, get_rotation, list_rotations, rotate, steps};
use crate::harness::{
    Daemon, Gate, State, assert_invalid, create_interactive, details, events, new_client, refusal, span, start_time,
};

const CHECKOUT: &str = "tenants/acme/clients/checkout";
const HOUR: Duration = Duration::from_secs(3_600);

/// All messages of a call, and how it ended.
async fn told(
    channel: &Channel,
    request: proto::RotateClientSecretsRequest,
) -> (Vec<proto::RotateClientSecretsResponse>, Result<(), Status>) {
    let (mut clients, mut seen) = (ClientServiceClient::new(channel.clone()), Vec::new());
    let mut stream = match clients.rotate_client_secrets(request).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (seen, Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) => seen.push(message),
            Ok(None) => return (seen, Ok(())),
            Err(status) => return (seen, Err(status)),
        }
    }
}

/// What is told of a call that goes to its end: of each client in the order of their names, and the last message.
async fn rotate_many(
    channel: &Channel,
    request: proto::RotateClientSecretsRequest,
) -> (Vec<proto::RotateClientSecretsResponse>, proto::RotateClientSecretsResponse) {
    let (mut seen, ended) = told(channel, request).await;
    ended.expect("it goes to its end");
    let last = seen.pop().expect("a last message");
    assert!(last.done && last.client.is_empty() && last.rotation.is_none(), "{last:?}");
    assert!(seen.iter().all(|message| !message.done && !message.client.is_empty()), "{seen:?}");
    seen.sort_by(|one, other| one.client.cmp(&other.client));
    (seen, last)
}

/// Matched, promoted, failed, skipped.
fn counts(message: &proto::RotateClientSecretsResponse) -> [i64; 4] {
    [message.matched_count, message.promoted_count, message.failed_count, message.skipped_count]
}

fn clients(messages: &[proto::RotateClientSecretsResponse]) -> Vec<&str> {
    messages.iter().map(|message| message.client.as_str()).collect()
}

fn of(parent: &str) -> proto::RotateClientSecretsRequest {
    proto::RotateClientSecretsRequest { parent: parent.to_owned(), ..Default::default() }
}

fn rotation(message: &proto::RotateClientSecretsResponse) -> &proto::Rotation {
    message.rotation.as_ref().expect("a rotation")
}

fn proto_time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// A daemon at rest with `billing`, `checkout` and `mailer` of acme and `orders` of globex.
async fn ready_through(through: impl FnOnce(Ports) -> Ports) -> (Daemon, Backend, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, through).await;
    daemon.put_orders_api().await;
    for (tenant, ids) in [("acme", &["billing", "checkout", "mailer"][..]), ("globex", &["orders"])] {
        daemon.create_tenant(tenant).await;
        for id in ids {
            daemon.create_client(tenant, id).await;
        }
    }
    (daemon, backend, clock)
}

async fn ready() -> (Daemon, Backend, Arc<ManualClock>) {
    ready_through(|ports| ports).await
}

#[tokio::test]
async fn all_of_a_tenants_secrets_are_rotated_and_nobody_elses() {
    let (daemon, backend, _) = ready().await;
    let before = backend.must_see(CHECKOUT).await.credential.current.version;
    let request = proto::RotateClientSecretsRequest {
        overlap: span(HOUR),
        reason: "somebody left".to_owned(),
        request_id: "leaver-1".to_owned(),
        ..of("tenants/acme")
    };
    let (told, last) = rotate_many(&daemon.channel, request).await;

    let expected = ["billing", "checkout", "mailer"].map(|id| format!("tenants/acme/clients/{id}"));
    assert_eq!(clients(&told), expected);
    assert_eq!(counts(&last), [3, 3, 0, 0]);
    let promoted: BTreeSet<_> = told.iter().map(|message| message.promoted_count).collect();
    assert_eq!(promoted, BTreeSet::from([1, 2, 3]), "each message counts what was promoted so far");
    for message in &told {
        let rotation = rotation(message);
        assert_eq!(message.error_reason, "");
        assert_eq!((rotation.state(), rotation.reason.as_str()), (Overlap, "somebody left"));
        assert_eq!(rotation.trigger(), proto::RotationTrigger::Requested);
        assert_eq!(rotation.retire_time, Some(proto_time(start_time() + HOUR)));
        assert_eq!(*rotation, get_rotation(&daemon.channel, &rotation.name).await);
        assert_eq!(list_rotations(&daemon.channel, &message.client).await.len(), 1);
        backend.check_current_works(&message.client).await;
    }
    assert_ne!(backend.must_see(CHECKOUT).await.credential.current.version, before);
    assert_eq!(list_rotations(&daemon.channel, "tenants/globex/clients/orders").await, []);

    // The call, each rotation as it was begun, and the end are on record.
    let method = "keyward.v1.ClientService/RotateClientSecrets";
    let log = events(&daemon.channel).await;
    let mut begun: Vec<_> = log.iter().filter(|event| event.method == method).collect();
    begun.sort_by(|one, other| one.resource.cmp(&other.resource));
    let resources: Vec<_> = begun.iter().map(|event| event.resource.as_str()).collect();
    let rotations = told.iter().map(|message| rotation(message).name.as_str());
    assert_eq!(resources, ["tenants/acme"].into_iter().chain(rotations).collect::<Vec<_>>());
    assert!(begun.iter().all(|event| event.request_id == "leaver-1" && event.detail == "somebody left"), "{begun:?}");
    let end: Vec<_> = log.iter().filter(|event| event.method == "keyward.fleet/done").collect();
    let [end] = end.as_slice() else { panic!("{end:?}") };
    assert_eq!(end.resource, "tenants/acme");
    assert_eq!(end.detail, "3 matched: 3 promoted, 0 failed, 0 skipped");
    assert_eq!(end.call_id, begun[0].call_id);
    daemon.stop().await;
}

#[tokio::test]
async fn only_those_are_rotated_for_whom_every_condition_holds() {
    let (daemon, _, clock) = ready().await;
    let labelled = |id: &str, labels: &[(&str, &str)]| {
        let mut request = new_client("globex", id);
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        request.client.as_mut().expect("set").labels = labels.collect();
        request
    };
    for request in
        [labelled("both", &[("env", "prod"), ("team", "a")]), labelled("other", &[("env", "prod"), ("team", "b")])]
    {
        daemon.clients().create_client(request).await.expect("created");
    }
    crate::harness::create_tenant(&daemon.channel, "initech", proto::Isolation::UserPool).await;
    let own = daemon.create_client("initech", "orders").await;
    clock.advance(HOUR);
    rotate(&daemon.channel, CHECKOUT).await;

    let matching = async |request: proto::RotateClientSecretsRequest| {
        let request = proto::RotateClientSecretsRequest { validate_only: true, ..request };
        let (told, last) = rotate_many(&daemon.channel, request).await;
        assert_eq!(usize::try_from(last.matched_count), Ok(told.len()));
        told.into_iter()
            .map(|message| message.client.replace("/clients/", ".").replace("tenants/", ""))
            .collect::<Vec<_>>()
    };
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let all: Vec<String> = matching(of("tenants/-")).await;
    let everybody = [
        "acme.billing",
        "acme.checkout",
        "acme.mailer",
        "globex.both",
        "globex.orders",
        "globex.other",
        "initech.orders",
    ];
    assert_eq!(all, everybody);
    let found =
        matching(proto::RotateClientSecretsRequest { match_labels: labels(&[("env", "prod")]), ..of("tenants/-") });
    assert_eq!(found.await, ["globex.both", "globex.other"]);
    let match_labels = labels(&[("env", "prod"), ("team", "a")]);
    let found = matching(proto::RotateClientSecretsRequest { match_labels, ..of("tenants/globex") });
    assert_eq!(found.await, ["globex.both"]);
    let found = matching(proto::RotateClientSecretsRequest { pool: own.pool.clone(), ..of("tenants/-") });
    assert_eq!(found.await, ["initech.orders"]);
    let found = matching(proto::RotateClientSecretsRequest { pool: own.pool.clone(), ..of("tenants/acme") });
    assert_eq!(found.await, Vec::<String>::new());
    let rotated_before = Some(proto_time(start_time() + HOUR));
    let found = matching(proto::RotateClientSecretsRequest { rotated_before, ..of("tenants/acme") });
    assert_eq!(found.await, ["acme.billing", "acme.mailer"], "checkout's secret became current at that instant");
    daemon.stop().await;
}

#[tokio::test]
async fn who_cannot_be_rotated_is_told_by_a_reason_and_holds_up_nobody() {
    let (daemon, _, _) = ready().await;
    let running = rotate(&daemon.channel, CHECKOUT).await;
    create_interactive(&daemon.channel, "acme", "portal").await;
    let mut hasty = new_client("acme", "hasty");
    let policy = proto::RotationPolicy { period: span(2 * HOUR), ..Default::default() };
    hasty.client.as_mut().expect("set").rotation_policy = Some(policy);
    daemon.clients().create_client(hasty).await.expect("created");
    let suspend = proto::SuspendTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(suspend).await.expect("suspended");

    for validate_only in [true, false] {
        let request = proto::RotateClientSecretsRequest { overlap: span(2 * HOUR), validate_only, ..of("tenants/-") };
        let (told, last) = rotate_many(&daemon.channel, request).await;
        let reasons: Vec<_> = told.iter().map(|it| (it.client.as_str(), it.error_reason.as_str())).collect();
        let expected = [
            ("tenants/acme/clients/billing", ""),
            (CHECKOUT, "ROTATION_RUNNING"),
            ("tenants/acme/clients/hasty", "FIELD_INVALID"),
            ("tenants/acme/clients/mailer", ""),
            ("tenants/acme/clients/portal", "CLIENT_KIND_MISMATCH"),
            ("tenants/globex/clients/orders", ""),
        ];
        assert_eq!(reasons, expected);
        assert!(told.iter().all(|it| it.rotation.is_some() == it.error_reason.is_empty()), "{told:?}");
        assert_eq!(counts(&last), [6, if validate_only { 0 } else { 3 }, 0, 3]);
    }
    let listed = list_rotations(&daemon.channel, CHECKOUT).await;
    assert_eq!(listed.iter().map(|rotation| &rotation.name).collect::<Vec<_>>(), [&running.name]);
    daemon.stop().await;
}

#[tokio::test]
async fn an_immediate_one_ends_what_is_under_way_and_leaves_no_old_secret() {
    let (daemon, backend, clock) = ready().await;
    let first = rotate(&daemon.channel, CHECKOUT).await;
    clock.advance(Duration::from_secs(60));
    let request = proto::RotateClientSecretsRequest { immediate: true, ..of("tenants/acme") };
    let (told, last) = rotate_many(&daemon.channel, request).await;
    assert_eq!(counts(&last), [3, 3, 0, 0]);
    for message in &told {
        let rotation = rotation(message);
        assert_eq!((rotation.state(), rotation.immediate), (Succeeded, true));
        backend.check_settled(&message.client).await;
    }
    assert_eq!(get_rotation(&daemon.channel, &first.name).await.state(), Succeeded);
    daemon.stop().await;
}

#[tokio::test]
async fn validate_only_tells_every_step_and_changes_nothing() {
    let (daemon, _, _) = ready().await;
    let before = State::of(&daemon.channel).await;
    let request = proto::RotateClientSecretsRequest {
        overlap: span(HOUR),
        validate_only: true,
        request_id: "dry".to_owned(),
        ..of("tenants/acme")
    };
    let (told, last) = rotate_many(&daemon.channel, request.clone()).await;
    assert_eq!(counts(&last), [3, 0, 0, 0]);
    for message in &told {
        let plan = rotation(message);
        assert_eq!((plan.name.as_str(), plan.state()), ("", proto::RotationState::Unspecified));
        assert_eq!(steps(&plan.planned_steps), [Stage, Register, Prove, Promote, Retire]);
        assert_eq!(plan.planned_steps[4].time, Some(proto_time(start_time() + HOUR)));
        assert_eq!(list_rotations(&daemon.channel, &message.client).await, []);
    }
    assert_eq!(State::of(&daemon.channel).await, before);

    // The id is not used up.
    let other = proto::RotateClientSecretsRequest { validate_only: false, overlap: span(2 * HOUR), ..request };
    assert_eq!(counts(&rotate_many(&daemon.channel, other).await.1), [3, 3, 0, 0]);
    daemon.stop().await;
}

#[tokio::test]
async fn without_second_secrets_app_clients_are_replaced() {
    let gate = Gate::without_second_secrets();
    let (daemon, _, _) = ready_through(|ports| gate.through(ports)).await;
    let before = get_client(&daemon.channel, CHECKOUT).await.app_client_id;
    let (told, last) = rotate_many(&daemon.channel, of("tenants/acme")).await;
    assert_eq!(counts(&last), [3, 3, 0, 0]);
    for message in &told {
        assert_eq!(rotation(message).method(), proto::RotationMethod::ReplaceAppClient);
    }
    let after = get_client(&daemon.channel, CHECKOUT).await.app_client_id;
    assert_ne!(after, before);
    assert_eq!((&rotation(&told[1]).app_client_id, &rotation(&told[1]).replaced_app_client_id), (&after, &before));
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_malformed_or_about_nobody_is_refused_and_changes_nothing() {
    let (daemon, _, _) = ready().await;
    let before = State::of(&daemon.channel).await;
    let acme = || of("tenants/acme");
    let mut cases: Vec<_> =
        bad_tenant_names().into_iter().filter(|name| name != "tenants/-").map(|name| (of(&name), "parent")).collect();
    for labels in bad_labels() {
        let request = proto::RotateClientSecretsRequest { match_labels: labels.into_iter().collect(), ..acme() };
        cases.push((request, "match_labels"));
    }
    for pool in ["shared-one", "pools/", "pools/a b", "pools/a/b"] {
        cases.push((proto::RotateClientSecretsRequest { pool: pool.to_owned(), ..acme() }, "pool"));
    }
    for time in bad_timestamps() {
        let request = proto::RotateClientSecretsRequest { rotated_before: Some(time), ..acme() };
        cases.push((request, "rotated_before"));
    }
    for overlap in bad_durations() {
        cases.push((proto::RotateClientSecretsRequest { overlap: Some(overlap), ..acme() }, "overlap"));
    }
    let both = proto::RotateClientSecretsRequest { immediate: true, overlap: span(HOUR), ..acme() };
    cases.push((both, "overlap"));
    for reason in bad_words(512) {
        cases.push((proto::RotateClientSecretsRequest { reason, ..acme() }, "reason"));
    }
    let bad_id = proto::RotateClientSecretsRequest { request_id: "not one".to_owned(), ..acme() };
    cases.push((bad_id, "request_id"));
    for (request, field) in cases {
        let what = format!("{request:?}").chars().take(300).collect::<String>();
        let Err(status) = told(&daemon.channel, request).await.1 else { panic!("{field} passes: {what}") };
        let told = details(&status);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{what}");
        assert!(told.fields.len() == 1 && told.fields[0].starts_with(field), "{field}, but {:?}: {what}", told.fields);
    }
    let unknown = (Code::NotFound, "RESOURCE_NOT_FOUND".to_owned());
    assert_eq!(refusal(told(&daemon.channel, of("tenants/nobody")).await.1), unknown);
    let nowhere = proto::RotateClientSecretsRequest { pool: "pools/nowhere".to_owned(), ..acme() };
    assert_eq!(refusal(told(&daemon.channel, nowhere).await.1), unknown);
    assert_eq!(State::of(&daemon.channel).await, before);

    let again = proto::RotateClientSecretsRequest { request_id: "once".to_owned(), ..acme() };
    rotate_many(&daemon.channel, again.clone()).await;
    let other = proto::RotateClientSecretsRequest { immediate: true, ..again };
    assert_invalid(told(&daemon.channel, other).await.1, "REQUEST_ID_REUSED", "request_id");
    daemon.stop().await;
}
