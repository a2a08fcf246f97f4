//! Brokers that die in mid-fetch, endpoints that fail, and a table that is away or does not answer.

use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use keyward::broker::ports::{Clock as _, Fault};
use keyward::domain::scope::ScopeSet;

use super::super::between::Fate;
use super::fleet::{CHECKOUT, Fleet, stop, token, try_token};
use crate::harness::brokers::{Working, client_name};
use crate::harness::ports::in_time;
use crate::harness::start_time;
use crate::peers::Peer;

const PATIENT: Duration = Duration::from_secs(60);
/// A lease lasts 2 s longer than a fetch may take.
const BRIEF: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn when_the_one_that_fetches_dies_one_of_those_who_wait_takes_over_on_ministack() {
    another_takes_over(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_one_that_fetches_dies_one_of_those_who_wait_takes_over_on_moto() {
    another_takes_over(Peer::moto().await).await;
}

async fn another_takes_over(peer: Peer) {
    let fleet = Fleet::before(peer).await;
    let dying = fleet.broker_with(1, PATIENT).await;
    let waiting = [fleet.broker_with(1, BRIEF).await, fleet.broker_with(1, BRIEF).await];
    let gate = fleet.fetches.hold_next();
    let never = token(&dying, CHECKOUT);
    let others = async {
        fleet.fetches.wait_for(1).await;
        let tokens = fleet.flowing(join_all(waiting.iter().map(|broker| token(broker, CHECKOUT)))).await;
        assert_eq!(tokens[0].expose(), tokens[1].expose());
        assert_eq!(fleet.fetches.count(), 2, "one fetch more");
        let waited = fleet.bench.clock.now().duration_since(start_time());
        assert!(waited >= SignedDuration::from_secs(7), "it was taken over after {waited}");
        // It was not dead, only slow: its answer does no harm.
        gate.open();
        tokens[0].clone()
    };
    let (late, shared) = tokio::join!(never, others);
    assert_ne!(late.expose(), shared.expose());
    dying.stop().await;
    stop(waiting).await;
    let next = fleet.broker().await;
    assert_eq!(token(&next, CHECKOUT).await.expire_time, shared.expire_time.max(late.expire_time));
    assert_eq!(fleet.fetches.count(), 2);
    next.stop().await;
    assert_eq!(fleet.between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_takes_a_lease_over_when_it_has_lapsed_by_any_clock() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [dying, later] = fleet.brokers().await;
    let gate = fleet.fetches.hold_next();
    let never = token(&dying, CHECKOUT);
    let other = async {
        fleet.fetches.wait_for(1).await;
        // 62 s of the lease and 5 s for clocks that differ; and a little before that.
        fleet.bench.clock.set(start_time() + SignedDuration::from_millis(66_500));
        fleet.flowing(token(&later, CHECKOUT)).await;
        assert_eq!(fleet.bench.clock.now(), start_time() + SignedDuration::from_secs(67));
        gate.open();
    };
    tokio::join!(never, other);
    assert_eq!(fleet.fetches.count(), 2);
    stop([dying, later]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_waited_for_a_fetch_that_failed_one_fetches() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [failing, one, other] = fleet.brokers().await;
    let [first, second] = [(); 2].map(|()| fleet.fetches.hold_next());
    fleet.fetches.fail(Fault::Unavailable);
    let fails = try_token(&failing, CHECKOUT);
    let others = async {
        fleet.fetches.wait_for(1).await;
        tokio::join!(token(&one, CHECKOUT), token(&other, CHECKOUT))
    };
    let opener = async {
        fleet.fetches.wait_for(1).await;
        fleet.wait_for_pauses(2).await;
        first.open();
        fleet.fetches.wait_for(2).await;
        fleet.fetches.recover();
        second.open();
    };
    let all = Box::pin(async { tokio::join!(fails, others, opener) });
    let (failed, (one_has, other_has), ()) = fleet.flowing(all).await;
    assert!(failed.is_err());
    assert_eq!(one_has.expose(), other_has.expose());
    let waited = fleet.bench.clock.now().duration_since(start_time());
    assert!(waited < SignedDuration::from_secs(30), "they waited for {waited}");
    assert_eq!(fleet.fetches.count(), 2);
    stop([failing, one, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_has_just_started_serves_what_ages_where_no_successor_is_to_be_had() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [broker] = fleet.brokers().await;
    let old = token(&broker, CHECKOUT).await;
    broker.stop().await;
    fleet.bench.clock.set(start_time() + SignedDuration::from_secs(2_700));
    fleet.fetches.fail(Fault::Unavailable);
    let [broker] = fleet.brokers().await;
    for _ in 0..3 {
        assert_eq!(token(&broker, CHECKOUT).await.expose(), old.expose());
    }
    // The endpoint is left alone for a while, as after every failure.
    assert_eq!(fleet.fetches.count(), 2);
    broker.stop().await;
    fleet.bench.clock.set(old.expire_time);
    let [broker] = fleet.brokers().await;
    assert!(try_token(&broker, CHECKOUT).await.is_err(), "it has expired");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_each_broker_fetches_and_what_it_has_is_shared_when_the_table_is_back() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [one, other] = fleet.brokers().await;
    // Each looks once before its fetch, and once after it to put it there.
    fleet.between.order("GetItem", &[Fate::Unsent; 4]);
    let first = token(&one, CHECKOUT).await;
    let second = token(&other, CHECKOUT).await;
    assert_ne!(first.expose(), second.expose());
    assert_eq!(fleet.fetches.count(), 2);
    other.stop().await;
    assert_eq!(fleet.items().await.len(), 0);

    // The next answer of the table: a token of another client is asked for.
    token(&one, super::BILLING).await;
    one.stop().await;
    let [next] = fleet.brokers().await;
    assert_eq!(token(&next, CHECKOUT).await.expose(), first.expose());
    assert_eq!(fleet.fetches.count(), 3);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_taken_costs_no_token() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    for fate in [Fate::Unsent, Fate::Unheard, Fate::Refused("AccessDeniedException")] {
        let [broker] = fleet.brokers().await;
        fleet.fetches.forget();
        for item in fleet.items().await {
            let delete = fleet.between.sdk().delete_item().table_name(super::super::TABLE);
            let delete = delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
            delete.send().await.expect("deleted");
        }
        fleet.between.order("PutItem", &[fate]);
        let fetched = token(&broker, CHECKOUT).await;
        broker.stop().await;
        let [next] = fleet.brokers().await;
        assert_eq!(token(&next, CHECKOUT).await.expose(), fetched.expose(), "{fate:?}");
        assert_eq!(fleet.fetches.count(), 1, "{fate:?}");
        next.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_does_not_answer_holds_a_caller_up_for_a_second() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [broker] = fleet.brokers().await;
    fleet.between.order("GetItem", &[Fate::Held]);
    let asked = token(&broker, CHECKOUT);
    let clock = async {
        fleet.between.holds().await;
        assert_eq!(fleet.bench.clock.next_wake(), Some(start_time() + SignedDuration::from_secs(1)));
        assert_eq!(fleet.fetches.count(), 0);
        fleet.bench.clock.advance(Duration::from_secs(1));
    };
    in_time(async { tokio::join!(asked, clock) }).await;
    assert_eq!(fleet.fetches.count(), 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_hangs_holds_up_one_caller_every_ten_seconds_and_nobody_else() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [broker] = fleet.brokers().await;
    let looks = || fleet.between.calls_of("GetItem");
    looks();
    fleet.between.order("GetItem", &[Fate::Held; 4]);
    let a_call_ends = async || {
        fleet.between.holds().await;
        fleet.bench.clock.advance(Duration::from_secs(1));
    };
    // A look, the putting of what was fetched, another look.
    let (first, ()) = in_time(async { tokio::join!(token(&broker, CHECKOUT), a_call_ends()) }).await;
    a_call_ends().await;
    in_time(async { tokio::join!(token(&broker, super::BILLING), a_call_ends()) }).await;
    assert_eq!((looks(), fleet.fetches.count()), (3, 2));

    // Time stands still, and nobody waits.
    for client in [CHECKOUT, super::BILLING] {
        with_scope(&broker, client, "orders/read").await;
    }
    assert_eq!((looks(), fleet.fetches.count()), (0, 4));

    fleet.bench.clock.advance(Duration::from_secs(10));
    in_time(async { tokio::join!(with_scope(&broker, CHECKOUT, "orders/write"), a_call_ends()) }).await;
    assert_eq!((looks(), fleet.fetches.count()), (1, 5), "one tries, and what it fetched is kept");

    // It is back: whoever tries next finds that out, and all that was fetched meanwhile is shared.
    fleet.bench.clock.advance(Duration::from_secs(10));
    with_scope(&broker, super::BILLING, "orders/write").await;
    broker.stop().await;
    let [next] = fleet.brokers().await;
    assert_eq!(token(&next, CHECKOUT).await.expose(), first.expose());
    for client in [CHECKOUT, super::BILLING] {
        for scope in ["orders/read", "orders/write"] {
            with_scope(&next, client, scope).await;
        }
    }
    assert_eq!(fleet.fetches.count(), 6);
    next.stop().await;
}

/// Gets a token with one scope.
async fn with_scope(broker: &Working, client: &str, scope: &str) {
    let scopes = ScopeSet::parse("scopes", &[scope]).expect("a scope");
    in_time(broker.tokens.get(&client_name(client), &scopes, Duration::ZERO)).await.expect("a token");
}
