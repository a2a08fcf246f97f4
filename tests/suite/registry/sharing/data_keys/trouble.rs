//! KMS is away, does not answer, or refuses: nobody waits for it and nobody lacks a token.

use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::super::super::between::Fate;
use super::*;
use crate::harness::ports::in_time;
use crate::harness::rotations::eventually;
use crate::harness::start_time;

#[tokio::test(flavor = "multi_thread")]
async fn without_kms_a_broker_starts_and_fetches_and_shares_what_it_has_when_kms_is_back() {
    let keys = Keys::before(Peer::ministack().await).await;
    let (fleet, clock) = (&keys.fleet, &keys.fleet.bench.clock);
    // At the start, and at three looks after it.
    fleet.between.order("Decrypt", &[Fate::Unsent, Fate::Refused("KMSInternalException"), Fate::Unsent]);
    fleet.between.order("Decrypt", &[Fate::Refused("AccessDeniedException")]);
    let late = keys.begun().await;
    assert!(late.current().is_none());
    let broker = fleet.broker_under(late.clone(), FETCH_TIMEOUT).await;
    fleet.between.calls_of("GetItem");
    let alone = token(&broker, CHECKOUT).await;
    assert_eq!((fleet.fetches.count(), fleet.between.calls_of("GetItem")), (1, 0));

    let stop_following = CancellationToken::new();
    let following = tokio::spawn({
        let (late, clock, stop) = (late.clone(), clock.clone(), stop_following.clone());
        async move { late.follow(&*clock, stop).await }
    });
    let mut due = start_time();
    for pause in [1, 2, 4, 8] {
        assert!(late.current().is_none(), "before a pause of {pause} s");
        due += SignedDuration::from_secs(pause);
        eventually("it pauses", || async { clock.next_wake() == Some(due) }).await;
        clock.set(due);
    }
    eventually("the key is there", || async { late.current().is_some() }).await;
    due += SignedDuration::from_secs(60);
    eventually("it pauses for a minute", || async { clock.next_wake() == Some(due) }).await;
    stop_following.cancel();
    in_time(following).await.expect("it ends");

    // The next look at the table takes along what was not shared.
    token(&broker, BILLING).await;
    broker.stop().await;
    let next = keys.broker().await;
    assert_eq!(token(&next, CHECKOUT).await.expose(), alone.expose());
    assert_eq!(fleet.fetches.count(), 2);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_five_seconds_for_a_kms_that_does_not_answer() {
    let keys = Keys::before(Peer::ministack().await).await;
    let (fleet, clock) = (&keys.fleet, &keys.fleet.bench.clock);
    fleet.between.order(MAKE, &[Fate::Held]);
    let port = keys.port(TABLE, ALIAS).await;
    let late = TokenKeys::found(port, TABLE);
    let start = late.begin(&**clock);
    let held = async {
        fleet.between.holds().await;
        assert_eq!(clock.next_wake(), Some(start_time() + SignedDuration::from_secs(5)));
        clock.advance(Duration::from_secs(5));
    };
    in_time(async { tokio::join!(start, held) }).await;
    assert!(late.current().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_kms_key_is_nothing_to_who_holds_the_data_key_and_keeps_it_from_who_does_not() {
    let keys = Keys::before(Peer::ministack().await).await;
    let kms = keys.fleet.between.kms();
    let before = keys.begun().await;
    kms.disable_key().key_id(&keys.kms_key).send().await.expect("disabled");
    let after = keys.begun().await;
    assert!(after.current().is_none());
    // It looks, finds what it holds, and asks nobody.
    keys.calls();
    before.begin(&*keys.fleet.bench.clock).await;
    assert!(before.current().is_some() && keys.calls() == [0, 0]);
    assert_eq!(keys.items().await.len(), 1, "what cannot be opened now is left alone");
    kms.enable_key().key_id(&keys.kms_key).send().await.expect("enabled");
    after.begin(&*keys.fleet.bench.clock).await;
    assert_eq!((id(&after), keys.calls()), (id(&before), [0, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_table_there_is_no_key_and_one_that_is_held_stays() {
    let keys = Keys::before(Peer::ministack().await).await;
    let holder = keys.begun().await;
    keys.fleet.between.order("GetItem", &[Fate::Unsent, Fate::Refused("AccessDeniedException")]);
    let had = id(&holder);
    holder.begin(&*keys.fleet.bench.clock).await;
    assert_eq!(id(&holder), had);
    assert!(keys.begun().await.current().is_none());
    // A data key that was made and whose keeping nobody heard of is found the next time.
    for item in keys.items().await {
        let delete = keys.fleet.between.sdk().delete_item().table_name(TABLE);
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.expect("deleted");
    }
    keys.fleet.between.order("PutItem", &[Fate::Unheard]);
    let next = keys.begun().await;
    assert!(next.current().is_none());
    keys.calls();
    next.begin(&*keys.fleet.bench.clock).await;
    assert!(next.current().is_some() && keys.calls() == [0, 1]);
}
