//! Rotation of secrets over days, by a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::proto::RotationState::{Failed, Overlap, Running, Succeeded};
use keyward::proto::RotationStepKind::{Promote, Prove, Register, Retire, Stage};
use keyward::proto::{self, RotationTrigger};
use keyward::runtime::clock::ManualClock;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::backend::Backend;
use crate::harness::propagation::Propagation;
use crate::harness::rotations::{
    Follower, get_client, get_rotation, list_rotations, rotate, rotate_at_once, steps, try_rotate,
};
use crate::harness::{Daemon, details, start_time};

const DAY: Duration = Duration::from_secs(86_400);
const RETIRED: &str = "keyward.rotation/retire";

#[tokio::test]
async fn a_rotation_makes_a_new_secret_current_and_answers_in_its_overlap() {
    let (daemon, _, _, client) = ready().await;
    let rotation = rotate(&daemon.channel, &client).await;

    assert!(rotation.name.starts_with(&format!("{client}/rotations/")), "{}", rotation.name);
    assert_eq!((rotation.state(), rotation.trigger()), (Overlap, RotationTrigger::Requested));
    assert_eq!(rotation.method(), proto::RotationMethod::SecondSecret);
    assert!(!rotation.immediate);
    assert_eq!(steps(&rotation.steps), [Stage, Register, Prove, Promote]);
    assert_eq!(steps(&rotation.planned_steps), [Retire]);
    assert_eq!(rotation.planned_steps[0].time, rotation.retire_time);
    assert_eq!(rotation.promote_time, Some(proto_time(start_time())));
    assert_eq!(rotation.retire_time, Some(proto_time(start_time() + DAY)), "the default overlap is 24 hours");
    assert_eq!((rotation.end_time, rotation.next_attempt_time), (None, None));
    assert_eq!(rotation.last_error_reason, "");
    assert_eq!(rotation, get_rotation(&daemon.channel, &rotation.name).await);
    let after = get_client(&daemon.channel, &client).await;
    assert_eq!(after.rotate_time, rotation.promote_time);
    assert_eq!(after.app_client_id, rotation.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn both_secrets_get_tokens_during_the_overlap_and_only_the_new_one_after_it() {
    let (daemon, backend, clock, client) = ready().await;
    let before = backend.must_see(&client).await;
    let rotation = rotate(&daemon.channel, &client).await;
    let during = backend.must_see(&client).await;
    let (old, new) = (before.credential.current.version, during.credential.current.version.clone());
    assert_ne!(old, new);
    assert_eq!((&during.labels.current, &during.labels.previous), (&Some(new.clone()), &Some(old.clone())));
    assert_eq!(during.labels.pending, None);
    let (old, new) = (backend.value(&during, &old).await, backend.value(&during, &new).await);

    clock.advance(DAY - Duration::from_secs(1));
    assert!(backend.takes(&during, &old).await && backend.takes(&during, &new).await);

    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(Duration::from_secs(1));
    events.until(RETIRED).await;
    assert!(!backend.takes(&during, &old).await && backend.takes(&during, &new).await);
    backend.check_settled(&client).await;
    let rotation = get_rotation(&daemon.channel, &rotation.name).await;
    assert_eq!(rotation.state(), Succeeded);
    assert_eq!(steps(&rotation.steps), [Stage, Register, Prove, Promote, Retire]);
    assert_eq!(steps(&rotation.planned_steps), []);
    assert_eq!(rotation.end_time, Some(proto_time(start_time() + DAY)));
    daemon.stop().await;
}

#[tokio::test]
async fn an_immediate_rotation_has_no_overlap() {
    let (daemon, backend, _, client) = ready().await;
    let before = backend.must_see(&client).await;
    let old = backend.value(&before, &before.credential.current.version).await;

    let rotation = rotate_at_once(&daemon.channel, &client).await;
    assert_eq!((rotation.state(), rotation.trigger()), (Succeeded, RotationTrigger::Compromise));
    assert!(rotation.immediate);
    assert_eq!(steps(&rotation.steps), [Stage, Register, Prove, Promote, Retire]);
    assert_eq!(rotation.end_time, rotation.promote_time);
    assert!(!backend.takes(&before, &old).await);
    backend.check_settled(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_immediate_rotation_ends_an_overlap_at_once() {
    let (daemon, backend, clock, client) = ready().await;
    let before = backend.must_see(&client).await;
    let oldest = backend.value(&before, &before.credential.current.version).await;
    let first = rotate(&daemon.channel, &client).await;
    let during = backend.must_see(&client).await;
    let old = backend.value(&during, &during.credential.current.version).await;

    clock.advance(Duration::from_secs(60));
    let second = rotate_at_once(&daemon.channel, &client).await;
    assert_eq!(second.state(), Succeeded);
    let first = get_rotation(&daemon.channel, &first.name).await;
    assert_eq!(first.state(), Succeeded);
    assert_eq!(first.end_time, second.end_time);
    assert!(!backend.takes(&before, &oldest).await && !backend.takes(&before, &old).await);
    backend.check_settled(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_immediate_rotation_supersedes_one_whose_secret_is_not_current_yet() {
    let clock = Arc::new(ManualClock::new(start_time()));
    let propagation = Arc::new(Propagation::default());
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| propagation.through(ports)).await;
    let client = a_client(&daemon).await;
    propagation.stop();
    let first = rotate(&daemon.channel, &client).await;
    assert_eq!(first.state(), Running);
    let stuck = backend.must_see(&client).await;
    let superseded = stuck.credential.candidate.clone().expect("registered").secret.expect("registered");

    propagation.resume();
    clock.advance(Duration::from_millis(10));
    let second = rotate_at_once(&daemon.channel, &client).await;
    assert_eq!(second.state(), Succeeded);
    let first = get_rotation(&daemon.channel, &first.name).await;
    assert_eq!((first.state(), first.last_error_reason.as_str()), (Failed, "SUPERSEDED"));
    assert_eq!(first.end_time, Some(second.create_time.expect("begun")));
    assert_eq!((first.promote_time, first.next_attempt_time), (None, None));
    assert!(!backend.must_see(&client).await.secrets.contains(&superseded));
    backend.check_settled(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_overlap_that_cannot_be_is_refused() {
    let (daemon, backend, _, client) = ready().await;
    let before = backend.must_see(&client).await.credential;
    let half_of_90_days = 45 * 86_400;
    for (immediate, seconds) in [(true, 60), (true, 0), (false, half_of_90_days + 1), (false, -1)] {
        let overlap = Some(prost_types::Duration { seconds, nanos: 0 });
        let request =
            proto::RotateClientSecretRequest { name: client.clone(), immediate, overlap, ..Default::default() };
        let refusal = details(&try_rotate(&daemon.channel, request).await.expect_err("refused"));
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert_eq!(refusal.fields, ["overlap"], "{immediate} {seconds}");
    }
    assert_eq!(backend.must_see(&client).await.credential, before);
    assert_eq!(list_rotations(&daemon.channel, &client).await, []);
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_rotation_is_refused_until_the_first_is_over_and_the_error_names_that() {
    let (daemon, _, clock, client) = ready().await;
    let first = rotate(&daemon.channel, &client).await;
    let again = proto::RotateClientSecretRequest { name: client.clone(), ..Default::default() };
    for validate_only in [false, true] {
        let request = proto::RotateClientSecretRequest { validate_only, ..again.clone() };
        let refusal = try_rotate(&daemon.channel, request).await.expect_err("refused");
        let told = details(&refusal);
        assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "ROTATION_RUNNING"));
        let info = refusal.get_error_details().error_info().expect("seen").clone();
        assert_eq!(info.metadata.get("rotation"), Some(&first.name));
    }

    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(DAY);
    events.until(RETIRED).await;
    assert_eq!(rotate(&daemon.channel, &client).await.state(), Overlap);
    daemon.stop().await;
}

#[tokio::test]
async fn validate_only_plans_every_step_and_changes_nothing() {
    let (daemon, backend, _, client) = ready().await;
    let before = (get_client(&daemon.channel, &client).await, backend.must_see(&client).await.credential);
    let overlap = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
    let request =
        proto::RotateClientSecretRequest { name: client.clone(), overlap, validate_only: true, ..Default::default() };
    let plan = try_rotate(&daemon.channel, request).await.expect("a plan");

    assert_eq!((plan.name.as_str(), plan.state()), ("", proto::RotationState::Unspecified));
    assert_eq!(steps(&plan.steps), []);
    assert_eq!(steps(&plan.planned_steps), [Stage, Register, Prove, Promote, Retire]);
    let due = plan.planned_steps.last().expect("planned").time;
    assert_eq!(due, Some(proto_time(start_time() + Duration::from_secs(3_600))));
    let after = (get_client(&daemon.channel, &client).await, backend.must_see(&client).await.credential);
    assert_eq!(after, before);
    assert_eq!(list_rotations(&daemon.channel, &client).await, []);
    assert_eq!(backend.must_see(&client).await.secrets.len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn the_latest_twenty_rotations_are_kept_and_listed_newest_first_in_pages() {
    let (daemon, _, clock, client) = ready().await;
    let mut names = Vec::new();
    for _ in 0..30 {
        clock.advance(Duration::from_millis(1));
        names.push(rotate_at_once(&daemon.channel, &client).await.name);
    }
    let kept: Vec<_> = names.iter().rev().take(20).cloned().collect();
    let listed = list_rotations(&daemon.channel, &client).await;
    assert_eq!(listed.iter().map(|rotation| rotation.name.clone()).collect::<Vec<_>>(), kept);

    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListRotationsRequest { parent: client.clone(), page_size: 7, page_token };
        let page = daemon.clients().list_rotations(request).await.expect("a page").into_inner();
        assert!(page.rotations.len() <= 7);
        paged.extend(page.rotations.into_iter().map(|rotation| rotation.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, kept);

    let forgotten = proto::GetRotationRequest { name: names[0].clone() };
    let refusal = daemon.clients().get_rotation(forgotten).await.expect_err("it is not kept");
    assert_eq!(details(&refusal).reason, "RESOURCE_NOT_FOUND");
    daemon.stop().await;
}

#[tokio::test]
async fn a_rotation_goes_on_while_its_tenant_is_suspended() {
    let (daemon, backend, clock, client) = ready().await;
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    assert_eq!(rotate(&daemon.channel, &client).await.state(), Overlap);
    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(DAY);
    events.until(RETIRED).await;
    backend.check_settled(&client).await;
    // And by schedule.
    clock.advance(90 * DAY);
    events.until("keyward.rotation/promote").await;
    daemon.stop().await;
}

#[tokio::test]
async fn no_token_call_fails_while_secrets_change_under_it() {
    let (daemon, backend, clock, client) = ready().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let scope_sets: [&[&str]; 4] = [&[], &["orders/read"], &["orders/write"], &["orders/read", "orders/write"]];
    let callers: Vec<_> = scope_sets
        .into_iter()
        .map(|scopes| {
            let (mut tokens, stop, client) = (daemon.tokens(), stop.clone(), client.clone());
            let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let request =
                        proto::GetTokenRequest { name: client.clone(), scopes: scopes.clone(), ..Default::default() };
                    let answer = tokens.get_token(request).await.expect("a token, whatever is rotated");
                    seen.insert(answer.into_inner().access_token);
                }
                seen.len()
            })
        })
        .collect();
    for round in 0..12 {
        // Whoever asks now has to fetch: the cached tokens have expired.
        clock.advance(Duration::from_secs(2 * 3_600));
        rotate_at_once(&daemon.channel, &client).await;
        if round % 2 == 0 {
            rotate(&daemon.channel, &client).await;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.expect("no call failed") > 1, "it fetched while secrets changed");
    }
    backend.check_current_works(&client).await;
    daemon.stop().await;
}

/// A daemon at rest with a client.
async fn ready() -> (Daemon, Backend, Arc<ManualClock>, String) {
    let clock = Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| ports).await;
    let client = a_client(&daemon).await;
    (daemon, backend, clock, client)
}

async fn a_client(daemon: &Daemon) -> String {
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_client("acme", "checkout").await.name
}

fn proto_time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}
