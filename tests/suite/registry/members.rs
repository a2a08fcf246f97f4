//! Memberships in the table, beside the registry's records.

use std::time::Duration;

use keyward::broker::ports::{ChangeFeed as _, Clock as _, Fault, Members as _, Registry as _};
use keyward::domain::form::Form;
use keyward::domain::id::BrokerId;
use keyward::domain::share::Member;
use keyward::runtime::clock::SystemClock;

use super::between::Fate;
use super::tables::TABLE;
use super::{START, at, changes, event, pair, put};
use crate::peers::Peer;

fn member(number: u8, expire_second: i64) -> Member {
    let broker = BrokerId::parse("broker", &format!("{number:032x}")).expect("valid");
    Member { broker, expire_time: at(START + expire_second), read_time: None, reads: Form::FIRST }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_is_seen_by_all_until_they_leave_on_ministack() {
    play(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_is_seen_by_all_until_they_leave_on_moto() {
    play(Peer::moto().await).await;
}

async fn play(peer: Peer) {
    let (one, other, between) = pair(peer).await;
    one.commit(changes(vec![put("a", None, "")], vec![event(START, "")])).await.expect("committed");
    assert_eq!(one.members().await.expect("read"), []);

    let (first, second) = (member(1, 20), Member { read_time: Some(at(START)), ..member(2, 21) });
    one.beat(&first).await.expect("written");
    other.beat(&second).await.expect("written");
    for registry in [&one, &other] {
        assert_eq!(registry.members().await.expect("read"), [first.clone(), second.clone()]);
    }
    // Less than a millisecond later, and the same again, late.
    let expire_time = first.expire_time + Duration::from_nanos(1);
    let next = Member { expire_time, read_time: Some(at(START + 1)), ..first.clone() };
    one.beat(&next).await.expect("written");
    for late in [&first, &next] {
        let error = one.beat(late).await.expect_err("one that expires later is there");
        assert!(error.is(Fault::Conflict), "{error}");
    }
    assert_eq!(other.members().await.expect("read"), [next.clone(), second.clone()]);

    // It lives without the registry: no change, no event, and nothing for its readers.
    assert_eq!((one.last_change().await.expect("read"), one.last_event().await.expect("read")), (1, 1));
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let item = between.sdk().get_item().table_name(TABLE).key("pk", text("member"));
    let item = item.key("sk", text(next.broker.as_str())).send().await.expect("read").item.expect("there");
    let ttl: i64 = item["ttl"].as_n().expect("a number").parse().expect("whole");
    assert_eq!(ttl, START + 20 + 3_600);

    for _ in 0..2 {
        one.leave(&next.broker).await.expect("gone");
        assert_eq!(other.members().await.expect("read"), std::slice::from_ref(&second));
    }

    between.order("TransactWriteItems", &[Fate::Refused("ProvisionedThroughputExceededException")]);
    assert!(one.beat(&member(3, 20)).await.expect_err("refused").is(Fault::Throttled));
    between.order("Query", &[Fate::Unsent]);
    assert!(one.members().await.expect_err("no answer").is(Fault::Unavailable));
    assert_eq!(between.complaints(), Vec::<String>::new());
}

/// Two brokers' rounds by the machine's clock, on one table.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_alone_has_all_at_once_and_takes_itself_out() {
    use keyward::domain::share::{Membership, Share, ShareTerms};

    let (one, other, between) = pair(Peer::ministack().await).await;
    let clock = SystemClock;
    let mut first = Membership::new(ShareTerms::default(), member(1, 0).broker);
    let record = first.record(clock.now()).expect("it may write");
    one.beat(&record).await.expect("written");
    first.written(&record, clock.now());
    let began = clock.now();
    first.read(began, &one.members().await.expect("read"));
    assert!(matches!(first.share(), Share::Part { place: 0, among: 1, .. }), "{:?}", first.share());
    first.leave();
    one.leave(&record.broker).await.expect("gone");
    assert_eq!((first.share(), other.members().await.expect("read")), (Share::Nothing, Vec::new()));
    assert_eq!(between.complaints(), Vec::<String>::new());
}
