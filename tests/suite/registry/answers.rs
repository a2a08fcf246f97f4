//! Answers of DynamoDB that are lost, and bursts that go together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::broker::ports::{ChangeFeed as _, Fault, Registry as _, Shelf};
use tokio::task::JoinSet;

use super::between::Fate::{Refused, Unheard, Unsent};
use super::contract::walk;
use super::{START, changes, event, pair, put};
use crate::peers::Peer;

const TRANSACTION: &str = "TransactWriteItems";

/// ministack and dynoxide know a transaction's token again, moto does not: there the line in the change feed tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_answer_is_lost_is_made_once() {
    for peer in [Peer::ministack().await, Peer::moto().await, Peer::dynoxide().await] {
        let (one, other, between) = pair(peer).await;
        let set = |number: u64| {
            let expected = (number > 1).then(|| number - 1);
            changes(vec![put("a", expected, &number.to_string())], vec![event(START, &number.to_string())])
        };
        for (number, fate) in (1..).zip([Unheard, Unsent]) {
            between.order(TRANSACTION, &[fate]);
            assert_eq!(one.commit(set(number)).await.expect("made"), number, "{fate:?}");
            assert_eq!(between.calls_of(TRANSACTION), 2);
            let record = other.get(Shelf::Tenant, "a").await.expect("read").expect("there");
            assert_eq!(record.version, number);
        }

        // Nobody can tell, and that is what is said.
        between.order(TRANSACTION, &[Unheard, Unheard]);
        let error = one.commit(set(3)).await.expect_err("nobody knows");
        assert!(error.is(Fault::Unavailable), "{error:?}");
        assert_eq!(other.get(Shelf::Tenant, "a").await.expect("read").expect("there").version, 3, "it was made");
        between.order(TRANSACTION, &[Unsent, Unsent]);
        let error = one.commit(set(4)).await.expect_err("nobody knows");
        assert!(error.is(Fault::Unavailable), "{error:?}");
        assert_eq!(other.get(Shelf::Tenant, "a").await.expect("read").expect("there").version, 3, "it was not made");
        assert_eq!(one.commit(set(4)).await.expect("made"), 4);
        let error = one.commit(set(4)).await.expect_err("made before");
        assert!(error.is(Fault::Conflict), "{error:?}");
        walk(&one, 1).await;
        assert_eq!(between.complaints(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dynamodb_says_of_itself_is_told_as_the_port_says() {
    let (one, _, between) = pair(Peer::moto().await).await;
    let set = || changes(vec![put("a", None, "")], Vec::new());
    for (said, fault, sent) in [
        ("ProvisionedThroughputExceededException", Fault::Throttled, 1),
        ("ThrottlingException", Fault::Throttled, 1),
        ("AccessDeniedException", Fault::Refused, 1),
        // A second time, under the same token: the first may have been made.
        ("InternalServerError", Fault::Unavailable, 2),
        ("TransactionInProgressException", Fault::Unavailable, 2),
    ] {
        between.order(TRANSACTION, &[Refused(said), Refused(said)][..sent]);
        let error = one.commit(set()).await.expect_err(said);
        assert!(error.is(fault), "{said}: {error:?}");
        assert_eq!(between.calls_of(TRANSACTION), sent, "{said}");
        assert_eq!(one.get(Shelf::Tenant, "a").await.expect("read"), None, "{said}");
    }
    for operation in ["GetItem", "Query"] {
        between.order(operation, &[Unsent]);
    }
    assert!(one.get(Shelf::Tenant, "a").await.expect_err("no answer").is(Fault::Unavailable));
    assert!(one.scan(Shelf::Tenant, "", None, 1).await.expect_err("no answer").is(Fault::Unavailable));
    one.commit(set()).await.expect("made");
}

/// After anything but Unavailable a caller may take it that nothing happened, and here it did.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_may_have_been_made_is_no_certain_failure_whatever_the_look_for_it_meets() {
    let (one, other, between) = pair(Peer::moto().await).await;
    let set = |number: u64| changes(vec![put("a", (number > 1).then(|| number - 1), "")], Vec::new());
    one.commit(set(1)).await.expect("made");
    let met = ["AccessDeniedException", "ProvisionedThroughputExceededException", "InternalServerError"];
    for (number, said) in (2..).zip(met) {
        // So that it knows the head, and has nothing to read before.
        one.commit(changes(vec![put(said, None, "")], Vec::new())).await.expect("made");
        between.order(TRANSACTION, &[Unheard]);
        between.order("GetItem", &[Refused(said)]);
        let error = one.commit(set(number)).await.expect_err("nobody knows");
        assert!(error.is(Fault::Unavailable), "{said}: {error:?}");
        let record = other.get(Shelf::Tenant, "a").await.expect("read").expect("there");
        assert_eq!(record.version, number, "it was made");
    }
}

/// One process that never pauses does not shut another out, however often that is behind it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_busy_lets_others_in() {
    let (one, other, between) = pair(Peer::ministack().await).await;
    let one = Arc::new(one);
    between.distance(Duration::from_millis(20));
    let busy = (0..4).map(|writer| {
        let one = one.clone();
        tokio::spawn(async move {
            for number in 0.. {
                one.commit(changes(vec![put(&format!("{writer} {number}"), None, "")], Vec::new()))
                    .await
                    .expect("made");
            }
        })
    });
    let busy: Vec<_> = busy.collect();
    one.commit(changes(vec![put("begun", None, "")], Vec::new())).await.expect("made");
    for number in 0..5 {
        let before = one.last_change().await.expect("read");
        other.commit(changes(vec![put(&number.to_string(), None, "")], Vec::new())).await.expect("made");
        let meanwhile = one.last_change().await.expect("read") - before;
        println!("let in after {meanwhile} changes");
        // It is let in again after every eighth, and may miss that when it is late itself.
        assert!(meanwhile <= 200, "{meanwhile} others came first");
    }
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Two hundred revocations at once, each with an event, from one process that is 200 ms away.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_takes_as_many_round_trips_as_it_fills_transactions() {
    const BURST: usize = 200;
    let (one, other, between) = pair(Peer::ministack().await).await;
    let one = Arc::new(one);
    between.distance(Duration::from_millis(200));
    // One that cannot be made must not take others with it.
    other.commit(changes(vec![put("17", None, "")], Vec::new())).await.expect("made");
    between.calls_of(TRANSACTION);
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for number in 0..BURST {
        let one = one.clone();
        running.spawn(async move {
            let key = number.to_string();
            one.commit(changes(vec![put(&key, None, "")], vec![event(START, &key)]))
                .await
                .map_err(|error| (number, error))
        });
    }
    let mut lost = Vec::new();
    while let Some(ended) = running.join_next().await {
        if let Err((number, error)) = ended.expect("no panic") {
            assert!(error.is(Fault::Conflict), "{error:?}");
            lost.push(number);
        }
    }
    let (took, sent) = (begun.elapsed(), between.calls_of(TRANSACTION));
    println!("{BURST} change sets: {sent} transactions, {} ms", took.as_millis());
    assert_eq!(lost, [17]);
    assert_eq!(one.last_event().await.expect("read"), BURST as u64 - 1);
    // 98 items are 49 sets; and the first goes alone, two know the head by another's change, and one has a set that fails.
    assert!(sent <= 10, "{sent} transactions");
    walk(&*one, 1).await;
}
