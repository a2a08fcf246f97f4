//! Tokens that several brokers share through a table: one fetch for all of them, whoever comes first, whoever dies; and no
//! table that costs anybody a token.

mod contract;
mod data_keys;
mod fleet;
mod sealed;
mod trouble;

use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use keyward::broker::api::{ClientPatch, NewRevocation, NewRevocationTarget, RotationRequest, WantedScopes};
use keyward::broker::ports::Clock as _;
use keyward::domain::scope::ScopeSet;

use crate::harness::brokers::{call, client_name};
use crate::harness::rotations::eventually;
use crate::harness::start_time;
use crate::peers::Peer;
use fleet::{BILLING, CHECKOUT, Fleet, stop, token};

#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_that_are_asked_at_once_fetch_one_token_on_ministack() {
    one_token_for_three(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_that_are_asked_at_once_fetch_one_token_on_moto() {
    one_token_for_three(Peer::moto().await).await;
}

async fn one_token_for_three(peer: Peer) {
    let fleet = Fleet::before(peer).await;
    let brokers: [_; 3] = fleet.brokers().await;
    let gate = fleet.fetches.hold_next();
    let callers = join_all(brokers.iter().map(|broker| token(broker, CHECKOUT)));
    let opener = async {
        fleet.fetches.wait_for(1).await;
        // Both others have seen that it is being fetched, and wait.
        fleet.wait_for_pauses(2).await;
        gate.open();
    };
    let (tokens, ()) = fleet.flowing(async { tokio::join!(callers, opener) }).await;
    assert!(tokens.iter().all(|token| token.expose() == tokens[0].expose()), "they have different tokens");
    assert_eq!(fleet.fetches.count(), 1);

    // Another client's is another token.
    let other = fleet.flowing(token(&brokers[1], BILLING)).await;
    assert_ne!(other.expose(), tokens[0].expose());
    assert_eq!(fleet.fetches.count(), 2);
    stop(brokers).await;
    assert_eq!(fleet.between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_of_all_brokers_fetches_nothing_that_is_fresh_and_one_successor_of_what_ages_on_ministack() {
    all_start(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_of_all_brokers_fetches_nothing_that_is_fresh_and_one_successor_of_what_ages_on_moto() {
    all_start(Peer::moto().await).await;
}

async fn all_start(peer: Peer) {
    let fleet = Fleet::before(peer).await;
    let brokers: [_; 3] = fleet.brokers().await;
    let calls = || ["GetItem", "PutItem"].map(|operation| fleet.between.calls_of(operation));
    calls();
    let old = fleet.flowing(token(&brokers[0], CHECKOUT)).await;
    stop(brokers).await;
    assert_eq!(calls(), [1, 2], "a look, the lease, the token");

    // At 70 % of its hour it may begin to age.
    fleet.bench.clock.set(start_time() + SignedDuration::from_secs(2_500));
    let brokers: [_; 3] = fleet.brokers().await;
    calls();
    for token in fleet.flowing(join_all(brokers.iter().map(|broker| token(broker, CHECKOUT)))).await {
        assert_eq!((token.expose(), token.issue_time), (old.expose(), old.issue_time));
        assert_eq!((token.expire_time, &token.scopes), (old.expire_time, &old.scopes));
    }
    assert_eq!(calls(), [3, 0], "a look each");
    assert_eq!(fleet.fetches.count(), 1);

    // All see it age; one fetches, behind the callers.
    fleet.bench.clock.set(start_time() + SignedDuration::from_secs(2_700));
    for token in fleet.flowing(join_all(brokers.iter().map(|broker| token(broker, CHECKOUT)))).await {
        assert_eq!(token.expose(), old.expose());
    }
    let have_it = eventually("all have its successor", || async {
        let tokens = join_all(brokers.iter().map(|broker| token(broker, CHECKOUT))).await;
        tokens.iter().all(|token| token.expose() != old.expose() && token.expose() == tokens[0].expose())
    });
    fleet.flowing(have_it).await;
    assert_eq!(fleet.fetches.count(), 2);
    stop(brokers).await;
    assert_eq!(fleet.between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_last_long_enough_is_fetched_and_then_the_longer_one_is_shared() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let [one, other, third] = fleet.brokers().await;
    let first = token(&one, CHECKOUT).await;
    // It is on the shelf then. Before, whoever looks there waits until the clock is moved.
    one.stop().await;
    fleet.bench.clock.set(start_time() + SignedDuration::from_secs(2_000));
    let name = client_name(CHECKOUT);
    // It is fresh, and has 1,600 s left.
    let longer = other.tokens.get(&name, &ScopeSet::default(), Duration::from_secs(1_800)).await.expect("a token");
    assert_ne!(longer.expose(), first.expose());
    other.stop().await;
    assert_eq!(token(&third, CHECKOUT).await.expose(), longer.expose());
    assert_eq!(fleet.fetches.count(), 2);
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_leaves_the_shared_token_and_other_scopes_or_a_revocation_do_not() {
    let fleet = Fleet::before(Peer::ministack().await).await;
    let (caller, name) = (call(), client_name(CHECKOUT));
    let [broker] = fleet.brokers().await;
    let old = token(&broker, CHECKOUT).await;

    let request = RotationRequest { immediate: false, overlap: None, reason: String::new(), replace: false };
    broker.rotations.rotate(&caller, &name, request, false).await.expect("rotated");
    // Proving the new secret takes tokens, which are nobody's to serve.
    fleet.fetches.forget();
    broker.stop().await;
    let [broker] = fleet.brokers().await;
    assert_eq!(token(&broker, CHECKOUT).await.expose(), old.expose());
    assert_eq!(fleet.fetches.count(), 0);

    let fewer = ScopeSet::parse("scopes", &["orders/read"]).expect("scopes");
    let scopes = Some(WantedScopes { resource: fewer.clone(), ..Default::default() });
    let patch = ClientPatch { scopes, ..Default::default() };
    broker.clients.update(&caller, &name, patch, None, false).await.expect("updated");
    broker.stop().await;
    let [broker] = fleet.brokers().await;
    let narrow = token(&broker, CHECKOUT).await;
    assert_eq!((&narrow.scopes, fleet.fetches.count()), (&fewer, 1));

    // One token by its id: the item is still there, and is not used.
    let token_id = narrow.token_id.clone().expect("a JWT");
    let revoke = |target| NewRevocation { target, issued_before: None, reason: String::new() };
    let target = NewRevocationTarget::TokenId(token_id);
    broker.revocations.revoke(&caller, revoke(target)).await.expect("revoked");
    broker.stop().await;
    let [broker] = fleet.brokers().await;
    let next = token(&broker, CHECKOUT).await;
    assert!(next.expose() != narrow.expose() && fleet.fetches.count() == 2);

    // All that were issued before.
    fleet.bench.clock.advance(Duration::from_millis(500));
    let target = NewRevocationTarget::Client(name.clone());
    broker.revocations.revoke(&caller, revoke(target)).await.expect("revoked");
    broker.stop().await;
    let [broker] = fleet.brokers().await;
    let asked = token(&broker, CHECKOUT);
    let second = async {
        // It waits for the second that tells its token from those that are revoked.
        fleet.bench.clock.wait_for_sleepers(1).await;
        eventually("it waits for nothing else", || async {
            fleet.bench.clock.next_wake().is_some_and(|wake| wake.as_second() == start_time().as_second() + 1)
        })
        .await;
        fleet.bench.clock.set(start_time() + SignedDuration::from_secs(1));
    };
    let (last, ()) = tokio::join!(asked, second);
    assert!(last.expose() != next.expose() && fleet.fetches.count() == 3);
    assert!(last.issue_time > start_time() && fleet.bench.clock.now() >= last.issue_time);
    broker.stop().await;
}
