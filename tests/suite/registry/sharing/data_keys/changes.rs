//! Another data key, or another KMS key: brokers follow without a restart, and nothing that is sealed under the old one is
//! taken for something else.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::super::super::between::Fate;
use super::*;
use crate::harness::ports::in_time;
use crate::harness::rotations::eventually;
use crate::harness::start_time;

const DAYS_90: SignedDuration = SignedDuration::from_hours(90 * 24);

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_that_an_operator_takes_away_is_replaced_and_the_new_one_is_followed() {
    let keys = Keys::before(Peer::ministack().await).await;
    let clock = &keys.fleet.bench.clock;
    let followers = [keys.begun().await, keys.begun().await];
    let broker = keys.fleet.broker_under(followers[0].clone(), FETCH_TIMEOUT).await;
    let sealed = token(&broker, CHECKOUT).await;
    broker.stop().await;
    let old = id(&followers[0]);
    let item = keys.items().await.remove(0);
    let delete = keys.fleet.between.sdk().delete_item().table_name(TABLE);
    delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.expect("deleted");

    let stop_following = CancellationToken::new();
    let follow = |keys: &Arc<TokenKeys>| {
        let (keys, clock, stop) = (keys.clone(), clock.clone(), stop_following.clone());
        tokio::spawn(async move { keys.follow(&*clock, stop).await })
    };
    let following: Vec<_> = followers.iter().map(follow).collect();
    clock.wait_for_sleepers(2).await;
    assert_eq!(clock.next_wake(), Some(start_time() + SignedDuration::from_secs(60)));
    clock.set(start_time() + SignedDuration::from_secs(60));
    let have_it = || async { id(&followers[0]) != old && id(&followers[0]) == id(&followers[1]) };
    eventually("both have the same new key", have_it).await;
    stop_following.cancel();
    for task in following {
        in_time(task).await.expect("it ends");
    }

    // What the old one has sealed counts as absent.
    let broker = keys.fleet.broker_under(followers[1].clone(), FETCH_TIMEOUT).await;
    assert_ne!(token(&broker, CHECKOUT).await.expose(), sealed.expose());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_is_renewed_after_ninety_days_by_one_of_all_and_used_on_where_it_cannot_be() {
    let keys = Keys::before(Peer::ministack().await).await;
    let clock = &keys.fleet.bench.clock;
    let old = keys.begun().await;
    clock.set(start_time() + DAYS_90);
    assert_eq!(id(&*keys.begun().await), id(&old));
    clock.set(start_time() + DAYS_90 + SignedDuration::from_secs(1));
    keys.fleet.between.order(MAKE, &[Fate::Refused("AccessDeniedException"), Fate::Unsent]);
    for _ in 0..2 {
        assert_eq!(id(&*keys.begun().await), id(&old), "it is used on");
    }
    keys.calls();
    let all = keys.begun_at_once().await;
    assert!(id(&all[0]) != id(&old) && all.iter().all(|keys| id(keys) == id(&all[0])));
    assert_eq!(keys.items().await.len(), 1);
    old.begin(&**clock).await;
    assert_eq!(id(&old), id(&all[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_is_moved_to_another_kms_key_brings_another_data_key() {
    let keys = Keys::before(Peer::ministack().await).await;
    let old = keys.begun().await;
    let other = new_kms_key(&keys.fleet).await;
    let moved = keys.fleet.between.kms().update_alias().alias_name(ALIAS).target_key_id(&other);
    moved.send().await.expect("moved");
    let new = keys.begun().await;
    assert_ne!(id(&new), id(&old));
    let items = keys.items().await;
    assert_eq!((items.len(), items[0]["kms_key"].as_s().expect("text")), (1, &other));
    old.begin(&*keys.fleet.bench.clock).await;
    assert_eq!(id(&old), id(&new));
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_given_another_kms_key_one_after_the_other_do_not_disturb_those_that_are_not_yet() {
    let keys = Keys::before(Peer::moto().await).await;
    let old = keys.begun().await;
    let other = new_kms_key(&keys.fleet).await;
    let new = TokenKeys::found(keys.port(TABLE, &other).await, TABLE);
    new.begin(&*keys.fleet.bench.clock).await;
    assert_ne!(id(&new), id(&old));
    assert_eq!(id(&*keys.begun().await), id(&old));
    assert_eq!(keys.items().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_put_there_is_replaced_if_kms_says_that_it_never_opens() {
    let keys = Keys::before(Peer::moto().await).await;
    let old = keys.begun().await;
    let mut item = keys.items().await.remove(0);
    let mut changed = item["data_key"].as_b().expect("bytes").clone().into_inner();
    *changed.last_mut().expect("bytes") ^= 1;
    item.insert("data_key".to_owned(), AttributeValue::B(Blob::new(changed)));
    keys.fleet.put(item).await;
    let new = keys.begun().await;
    assert_ne!(id(&new), id(&old));
    old.begin(&*keys.fleet.bench.clock).await;
    assert_eq!(id(&old), id(&new));

    // Where nothing that is made opens, it is made once a look.
    keys.calls();
    keys.fleet.between.order("Decrypt", &[Fate::Refused("InvalidCiphertextException"); 2]);
    assert!(keys.begun().await.current().is_none());
    assert_eq!(keys.calls(), [1, 2]);
}
