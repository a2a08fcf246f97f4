//! Brokers that share a registry: one at a time is at work on a journal, and another takes it over when its lease lapses.
//!
//! Each broker has a clock of its own, which differs from the other's by as much as is tolerated, either way. What all
//! orders of events come to is for `tests/model`; here is that the daemon's own loop keeps the rules.

mod stalled;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyward::broker::Ports;
use keyward::broker::api::RotationRequest;
use keyward::broker::ports::{Clock as _, Shelf};
use keyward::domain::client::ClientState;
use keyward::domain::journal::{Journal, Renewal};
use keyward::domain::lease::LeaseTerms;
use keyward::domain::rotation::{Rotation, RotationState, Trigger};
use keyward::domain::tenant::Isolation;
use keyward::runtime::clock::ManualClock;

use crate::harness::brokers::{Bench, Working, call, client_name};
use crate::harness::rotations::eventually;
use crate::harness::start_time;
use crate::harness::stops::At;
use crate::harness::tolls::tolled;
use crate::harness::watch::Watch;

const CLIENT: &str = "tenants/acme/clients/checkout";
const OVERLAP: Duration = Duration::from_secs(3_600);

/// By the other broker's clock: 30 s of the lease and 5 s for clocks that differ.
const LAPSE: SignedDuration = SignedDuration::from_secs(35);

#[tokio::test]
async fn a_call_that_comes_late_is_refused_and_the_broker_that_was_ahead_has_taken_over() {
    another_takes_over(5, At::Before("add_secret")).await;
}

#[tokio::test]
async fn a_call_that_comes_late_is_refused_and_the_broker_that_was_behind_has_taken_over() {
    another_takes_over(-5, At::Before("add_secret")).await;
}

#[tokio::test]
async fn an_answer_that_comes_late_is_for_nothing_and_the_broker_that_was_ahead_has_taken_over() {
    another_takes_over(5, At::After("add_secret")).await;
}

#[tokio::test]
async fn an_answer_that_comes_late_is_for_nothing_and_the_broker_that_was_behind_has_taken_over() {
    another_takes_over(-5, At::After("add_secret")).await;
}

/// The first broker is held up while it registers a secret, and the second one's clock is ahead by so many seconds.
async fn another_takes_over(ahead: i64, at: At) {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    let second = Sharing::open(&bench, ahead).await;
    first.watch.stop.at(at);

    let (caller, name) = (call(), client_name(CLIENT));
    let rotated = first.broker.rotations.rotate(&caller, &name, request(false), false);
    let meanwhile = async {
        first.watch.stop.reached().await;
        second.broker.work();
        let lapse_time = start_time() + LAPSE;
        second.clock.set(lapse_time - SignedDuration::from_secs(1));
        eventually("it has looked and waits for the lease to lapse", || async {
            second.clock.next_wake() == Some(lapse_time)
        })
        .await;
        assert_eq!(second.watch.changes(), Vec::<&str>::new(), "what somebody else holds is left alone");

        second.clock.set(lapse_time);
        first.clock.set(lapse_time - SignedDuration::from_secs(ahead));
        eventually("the other one carries it on", || async { newest(&bench).await.state == RotationState::Overlap })
            .await;
        first.watch.forget();
        first.watch.stop.go();
    };
    let (rotated, ()) = tokio::join!(rotated, meanwhile);
    assert_eq!(rotated.expect("whoever waits is answered").rotation.state, RotationState::Overlap);
    assert_eq!(first.watch.changes(), Vec::<&str>::new(), "it has found out before it changed anything more");

    settle(&bench, &second).await;
    first.broker.stop().await;
    second.broker.stop().await;
    bench.check(&[CLIENT]).await;
    assert!(second.watch.changes().contains(&"delete_secret"));
}

#[tokio::test]
async fn whoever_asks_for_what_another_broker_is_at_work_on_is_answered_and_changes_nothing_by_themselves() {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    let second = Sharing::open(&bench, 5).await;
    first.watch.stop.at(At::Before("add_secret"));

    let (caller, name) = (call(), client_name(CLIENT));
    let rotated = first.broker.rotations.rotate(&caller, &name, request(false), false);
    let meanwhile = async {
        first.watch.stop.reached().await;
        let held = journal(&bench).await.lease.expect("held");
        // It supersedes what is under way, and is carried on by whoever is at work already.
        let superseding = second.broker.rotations.rotate(&caller, &name, request(true), false).await.expect("started");
        assert_eq!(superseding.rotation.trigger, Trigger::Compromise);
        assert_eq!(superseding.rotation.state, RotationState::Running);
        assert_eq!(second.watch.changes(), Vec::<&str>::new());
        assert_eq!(journal(&bench).await.lease, Some(held), "the lease is kept through it");
        first.watch.stop.go();
    };
    let (rotated, ()) = tokio::join!(rotated, meanwhile);
    assert_eq!(rotated.expect("answered").rotation.state, RotationState::Failed, "superseded");
    assert_eq!(newest(&bench).await.state, RotationState::Succeeded);
    assert_eq!(second.watch.changes(), Vec::<&str>::new());
    first.broker.stop().await;
    second.broker.stop().await;
    bench.check(&[CLIENT]).await;
}

#[tokio::test]
async fn a_client_that_another_broker_issues_is_creating_and_says_so() {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    let second = Sharing::open(&bench, 5).await;
    first.watch.stop.at(At::Before("create_app_client"));

    let other = "tenants/acme/clients/billing";
    let created = first.broker.create_client(other);
    let meanwhile = async {
        first.watch.stop.reached().await;
        let seen = second.broker.clients.get(&client_name(other)).await.expect("it is there");
        assert_eq!(seen.client.state, ClientState::Creating);
        assert_eq!(seen.state_reason, "another broker is at work on it");
        let own = first.broker.clients.get(&client_name(other)).await.expect("it is there");
        assert_eq!(own.state_reason, "");
        first.watch.stop.go();
    };
    let (created, ()) = tokio::join!(created, meanwhile);
    assert_eq!(created.expect("created").client.state, ClientState::Active);
    first.broker.stop().await;
    second.broker.stop().await;
}

#[tokio::test]
async fn a_lease_is_renewed_between_steps_and_given_up_at_the_end_of_a_run() {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    let (caller, name) = (call(), client_name(CLIENT));
    let lease = async || journal(&bench).await.lease.expect("held");

    first.watch.stop.at(At::Before("add_secret"));
    let rotated = first.broker.rotations.rotate(&caller, &name, request(false), false);
    let meanwhile = async {
        first.watch.stop.reached().await;
        assert_eq!((lease().await.fence, lease().await.expire_time), (1, start_time() + SignedDuration::from_secs(30)));
        first.clock.advance(Duration::from_secs(10));
        first.watch.stop.at(At::Before("fetch"));
        first.watch.stop.go();

        first.watch.stop.reached().await;
        assert_eq!((lease().await.fence, lease().await.expire_time), (1, start_time() + SignedDuration::from_secs(40)));
        // Beyond what it may act under: it has to be taken again.
        first.clock.advance(Duration::from_secs(25));
        first.watch.stop.at(At::Before("promote"));
        first.watch.stop.go();

        first.watch.stop.reached().await;
        assert_eq!((lease().await.fence, lease().await.expire_time), (2, start_time() + SignedDuration::from_secs(65)));
        first.watch.stop.go();
    };
    let (rotated, ()) = tokio::join!(rotated, meanwhile);
    let rotation = rotated.expect("rotated").rotation;
    let left = journal(&bench).await;
    assert_eq!(left.lease.map(|lease| (lease.fence, lease.expire_time)), Some((2, Timestamp::UNIX_EPOCH)));
    assert_eq!(Some(left.due_time), rotation.retire_time);
    first.broker.stop().await;
}

#[tokio::test]
async fn a_lease_is_renewed_under_a_step_that_takes_longer_and_lapses_when_its_holder_is_gone() {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    let second = Sharing::open(&bench, 5).await;
    first.watch.stop.at(At::Before("add_secret"));

    let (caller, name) = (call(), client_name(CLIENT));
    let rotated = first.broker.rotations.rotate(&caller, &name, request(false), false);
    let meanwhile = async {
        first.watch.stop.reached().await;
        for second in [10, 20, 30, 40] {
            is_renewed(&bench, &first, start_time() + SignedDuration::from_secs(second)).await;
        }
        let held = journal(&bench).await;
        assert_eq!(held.lease.map(|lease| lease.expire_time), Some(start_time() + SignedDuration::from_secs(30)));

        // By the journal alone it would have lapsed.
        second.broker.work();
        second.clock.set(start_time() + SignedDuration::from_secs(45));
        let lapse_time = start_time() + SignedDuration::from_secs(40) + LAPSE;
        eventually("it has looked and waits for the renewed lease to lapse", || async {
            second.clock.next_wake() == Some(lapse_time)
        })
        .await;
        assert_eq!(second.watch.changes(), Vec::<&str>::new());

        second.clock.set(lapse_time);
        eventually("the other one carries it on", || async { newest(&bench).await.state == RotationState::Overlap })
            .await;
        assert_eq!(renewals(&bench).await, []);
        // The first one's own clock has stood still, and so it thinks that it is at work; its next write is refused.
        first.watch.forget();
        first.watch.stop.go();
    };
    let (rotated, ()) = tokio::join!(rotated, meanwhile);
    assert_eq!(rotated.expect("whoever waits is answered").rotation.state, RotationState::Overlap);
    settle(&bench, &second).await;
    first.broker.stop().await;
    second.broker.stop().await;
    bench.check(&[CLIENT]).await;
}

#[tokio::test]
async fn a_step_whose_lease_was_renewed_ends_as_any_other_and_leaves_nothing() {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    first.watch.stop.at(At::After("add_secret"));
    let (caller, name) = (call(), client_name(CLIENT));
    let rotated = first.broker.rotations.rotate(&caller, &name, request(false), false);
    let meanwhile = async {
        first.watch.stop.reached().await;
        let before = first.watch.count("add_secret");
        for second in [10, 20, 30] {
            is_renewed(&bench, &first, start_time() + SignedDuration::from_secs(second)).await;
        }
        first.watch.stop.go();
        before
    };
    let (rotated, before) = tokio::join!(rotated, meanwhile);
    assert_eq!(rotated.expect("rotated").rotation.state, RotationState::Overlap);
    assert_eq!(first.watch.count("add_secret"), before, "the step had to be made again");
    let left = journal(&bench).await.lease.expect("given up");
    assert!(left.is_given_up());
    // What is over is dropped.
    first.broker.work();
    first.clock.set(start_time() + SignedDuration::from_secs(30) + LAPSE);
    eventually("the renewal is dropped", || async { renewals(&bench).await.is_empty() }).await;
    first.broker.stop().await;
}

#[tokio::test]
async fn a_lease_is_not_renewed_for_ever() {
    let bench = with_client().await;
    let first = Sharing::open(&bench, 0).await;
    first.watch.stop.at(At::Before("add_secret"));
    let (caller, name) = (call(), client_name(CLIENT));
    let rotated = first.broker.rotations.rotate(&caller, &name, request(false), false);
    let meanwhile = async {
        first.watch.stop.reached().await;
        let end = start_time() + SignedDuration::from_mins(15);
        let mut now = start_time();
        while now + SignedDuration::from_secs(10) < end {
            now += SignedDuration::from_secs(10);
            is_renewed(&bench, &first, now).await;
        }
        first.clock.set(end);
        eventually("nobody waits to renew it", || async { first.clock.next_wake().is_none() }).await;
        let last = renewals(&bench).await;
        assert_eq!(last[0].lease.expire_time, now + SignedDuration::from_secs(30));
        first.watch.stop.go();
    };
    let (rotated, ()) = tokio::join!(rotated, meanwhile);
    assert_eq!(rotated.expect("rotated").rotation.state, RotationState::Overlap);
    first.broker.stop().await;
}

#[tokio::test]
async fn a_lease_costs_one_write_a_run_and_nothing_where_there_is_one_broker() {
    let mut writes = Vec::new();
    for terms in [None, Some(LeaseTerms::default())] {
        let bench = with_client().await;
        let sharing = Sharing::open_with(&bench, 0, terms).await;
        sharing.broker.create_client("tenants/acme/clients/billing").await.expect("created");
        sharing.broker.rotations.rotate(&call(), &client_name(CLIENT), request(false), false).await.expect("rotated");
        assert_eq!(journal(&bench).await.lease.is_some(), terms.is_some());
        writes.push(sharing.watch.count("commit"));
        sharing.broker.stop().await;
    }
    assert_eq!(writes[1], writes[0] + 2, "two runs were made");
}

/// A broker with a lease and a clock of its own.
struct Sharing {
    broker: Working,
    clock: Arc<ManualClock>,
    watch: Arc<Watch>,
}

impl Sharing {
    async fn open(bench: &Bench, ahead: i64) -> Self {
        Sharing::open_with(bench, ahead, Some(LeaseTerms::default())).await
    }

    async fn open_with(bench: &Bench, ahead: i64, terms: Option<LeaseTerms>) -> Self {
        let clock = Arc::new(ManualClock::new(bench.clock.now() + SignedDuration::from_secs(ahead)));
        let watch = Arc::new(Watch::default());
        let ports = Ports { clock: clock.clone(), ..bench.ports() };
        let opened = Working::open_with(tolled(ports, watch.clone()), |settings| settings.journal.lease = terms).await;
        Sharing { broker: opened.expect("a broker"), clock, watch }
    }
}

async fn with_client() -> Bench {
    let bench = Bench::new().await;
    let broker = Working::open(bench.ports()).await.expect("a broker");
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    broker.create_client(CLIENT).await.expect("a client");
    broker.stop().await;
    bench
}

fn request(immediate: bool) -> RotationRequest {
    let overlap = (!immediate).then_some(OVERLAP);
    RotationRequest { immediate, overlap, reason: String::new(), replace: false }
}

async fn journal(bench: &Bench) -> Journal {
    let journals = bench.backend.journals().await;
    let [journal] = journals.as_slice() else { panic!("not one: {journals:?}") };
    journal.clone()
}

async fn renewals(bench: &Bench) -> Vec<Renewal> {
    bench.backend.records(Shelf::Renewal).await
}

/// Moves the clock of a broker in mid-step to `now`, at which a renewal is due, and returns when it is made.
async fn is_renewed(bench: &Bench, sharing: &Sharing, now: Timestamp) {
    eventually("it waits to renew", || async { sharing.clock.next_wake() == Some(now) }).await;
    sharing.clock.set(now);
    let until = now + SignedDuration::from_secs(30);
    eventually("the lease is renewed", || async {
        renewals(bench).await.iter().any(|renewal| renewal.lease.expire_time == until)
    })
    .await;
}

async fn newest(bench: &Bench) -> Rotation {
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    rotations.last().expect("a rotation").clone()
}

/// Moves the clock of a broker that is at work on to what it waits for, until every journal is struck out.
async fn settle(bench: &Bench, sharing: &Sharing) {
    loop {
        eventually("it waits, or is done", || async {
            let journals = bench.backend.journals().await;
            journals.iter().all(|journal| sharing.clock.next_wake().is_some_and(|wake| wake <= journal.due_time))
        })
        .await;
        let Some(journal) = bench.backend.journals().await.pop() else { return };
        sharing.clock.set(journal.due_time);
    }
}
