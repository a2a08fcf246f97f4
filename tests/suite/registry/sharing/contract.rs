//! What `broker::ports::TokenShelf` says, played to DynamoDB: two who put things into one place.

use jiff::Timestamp;
use keyward::broker::ports::{ChangeFeed as _, Fault, SealedToken, SeenItem, ShelfItem, TokenPlace, TokenShelf as _};
use keyward::domain::id::BrokerId;
use keyward::domain::lease::Lease;

use super::super::{START, at, pair};
use super::fleet::CHECKOUT;
use crate::harness::brokers::client_name;
use crate::peers::Peer;

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_the_contract_of_the_shelf_on_ministack() {
    play(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_the_contract_of_the_shelf_on_moto() {
    play(Peer::moto().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_the_contract_of_the_shelf_on_dynoxide() {
    play(Peer::dynoxide().await).await;
}

async fn play(peer: Peer) {
    let (one, other, between) = pair(peer).await;
    let place = |digit: &str| TokenPlace { client: client_name(CHECKOUT), digest: digit.repeat(64) };
    let (here, there) = (place("a"), place("b"));
    assert_eq!(one.look(&here).await.expect("read"), None);

    let holder = BrokerId::parse("broker", &"0a".repeat(16)).expect("an id");
    let lease = Lease { holder, expire_time: Timestamp::new(START, 7).expect("in range"), fence: 3 };
    let leased = ShelfItem { sealed: None, lease: Some(lease.clone()), keep_until: at(START + 60) };
    one.put(&here, None, &leased).await.expect("nothing was there");
    let seen = other.look(&here).await.expect("read");
    assert_eq!(seen, Some(SeenItem { item: leased.clone(), version: 1 }));
    assert_eq!(other.look(&there).await.expect("read"), None);

    let bytes = (0..=255).collect();
    let sealed = Some(SealedToken { key_id: "a key".to_owned(), bytes });
    let whole = ShelfItem { sealed, lease: Some(lease.given_up()), keep_until: at(START + 3_600) };
    for stale in [None, Some(2)] {
        let refused = other.put(&here, stale, &whole).await.expect_err("something else is there");
        assert!(refused.is(Fault::Conflict), "{stale:?}: {refused:?}");
    }
    other.put(&here, Some(1), &whole).await.expect("that was there");
    assert_eq!(one.look(&here).await.expect("read"), Some(SeenItem { item: whole.clone(), version: 2 }));
    let refused = one.put(&here, Some(1), &leased).await.expect_err("it is another by now");
    assert!(refused.is(Fault::Conflict), "{refused:?}");
    // What has gone is not written over either, but anew.
    let refused = one.put(&there, Some(1), &leased).await.expect_err("nothing is there");
    assert!(refused.is(Fault::Conflict), "{refused:?}");
    one.put(&there, None, &whole).await.expect("nothing was there");

    assert_eq!(one.last_change().await.expect("read"), 0, "the registry knows nothing of it");
    assert_eq!(between.complaints(), Vec::<String>::new());
}
