//! The change feed: two registries over one table, and a reader who must miss nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyward::broker::ports::{Action, ChangeFeed as _, Clock as _, Followed, Registry as _, Shelf};
use keyward::runtime::clock::SystemClock;
use tokio::task::JoinSet;

use super::tables::TABLE;
use super::{START, at, changes, event, pair, put, write};
use crate::peers::Peer;

#[tokio::test(flavor = "multi_thread")]
async fn twelve_who_commit_at_one_time_leave_no_gap_on_ministack() {
    committers_leave_no_gap(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_who_commit_at_one_time_leave_no_gap_on_moto() {
    committers_leave_no_gap(Peer::moto().await).await;
}

/// A third registry follows while twelve write through two.
async fn committers_leave_no_gap(peer: Peer) {
    const EACH: usize = 8;
    let (one, other, between) = pair(peer).await;
    let reader = between.open(TABLE).await.expect("opened");
    let (one, other) = (Arc::new(one), Arc::new(other));
    let mut running = JoinSet::new();
    for writer in 0..12 {
        let registry = if writer % 2 == 0 { one.clone() } else { other.clone() };
        running.spawn(async move {
            for round in 0..EACH {
                let key = format!("{writer}-{round}");
                let events = if round % 2 == 0 { vec![event(START, &key)] } else { Vec::new() };
                registry.commit(changes(vec![put(&key, None, &key)], events)).await.expect("committed");
            }
        });
    }
    let (mut seen, mut after, mut touched) = (Vec::new(), 0, BTreeSet::new());
    loop {
        let is_over = running.is_empty();
        match reader.follow(after, 5).await.expect("read") {
            Followed::Changes(changes) if changes.is_empty() && is_over => break,
            Followed::Changes(changes) => {
                for change in changes {
                    // What is in the feed is in the table.
                    for (shelf, key) in &change.touched {
                        assert!(reader.get(*shelf, key).await.expect("read").is_some(), "{key}");
                    }
                    after = change.number;
                    seen.push(change.number);
                    touched.extend(change.touched);
                }
            }
            Followed::Lost { last } => panic!("lost between {after} and {last}"),
        }
        while let Some(ended) = running.try_join_next() {
            ended.expect("no panic");
        }
    }
    assert_eq!(seen, (1..=after).collect::<Vec<_>>());
    assert_eq!(reader.last_change().await.expect("read"), after);
    assert_eq!(touched.len(), 12 * EACH);
    assert_eq!(between.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_line_says_what_was_touched_and_expires_after_a_day() {
    let (one, other, between) = pair(Peer::ministack().await).await;
    assert_eq!(one.last_change().await.expect("read"), 0);
    assert_eq!(one.follow(0, 10).await.expect("read"), Followed::Changes(Vec::new()));
    let owner = keyward::broker::ports::Write { shelf: Shelf::Owner, ..put("app https://issuer", None, "") };
    one.commit(changes(vec![put("a", None, ""), owner], vec![event(START, "")])).await.expect("committed");
    let check = write("a", Some(1), Action::Check);
    one.commit(changes(vec![check.clone()], Vec::new())).await.expect("nothing changes");
    other.commit(changes(vec![check, write("b", None, Action::Delete)], Vec::new())).await.expect("committed");
    other.commit(changes(Vec::new(), vec![event(START, ""), event(START, "")])).await.expect("committed");
    let lines = one.changes(0, 10).await.expect("read");
    let seen: Vec<_> = lines.iter().map(|line| (line.number, line.touched.clone(), line.last_event)).collect();
    let touched = |of: &[(Shelf, &str)]| of.iter().map(|(shelf, key)| (*shelf, (*key).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            (1, touched(&[(Shelf::Tenant, "a"), (Shelf::Owner, "app https://issuer")]), 1),
            (2, touched(&[(Shelf::Tenant, "b")]), 1),
            (3, Vec::new(), 3),
        ]
    );
    assert_eq!(one.changes(1, 1).await.expect("read"), lines[1..2]);

    let line = between.sdk().get_item().table_name(TABLE);
    let line = line.key("pk", text("change")).key("sk", text(&format!("{:020}", 1))).send().await.expect("read");
    let ttl: i64 = line.item().expect("there")["ttl"].as_n().expect("a number").parse().expect("whole");
    let day = ttl - SystemClock.now().as_second();
    assert!((86_300..=86_400).contains(&day), "{day} s from now");
}

#[tokio::test]
async fn a_reader_who_was_away_for_longer_than_lines_are_kept_finds_that_out() {
    let (one, other, between) = pair(Peer::moto().await).await;
    for number in 0..6 {
        one.commit(changes(vec![put(&number.to_string(), None, "")], Vec::new())).await.expect("committed");
    }
    let expire = async |number: u64| {
        let request = between.sdk().delete_item().table_name(TABLE).key("pk", text("change"));
        request.key("sk", text(&format!("{number:020}"))).send().await.expect("expired");
    };
    let count = |followed: Followed| match followed {
        Followed::Changes(changes) => changes.len(),
        Followed::Lost { last } => panic!("lost at {last}"),
    };
    assert_eq!(count(other.follow(0, 10).await.expect("read")), 6);
    let lost = Followed::Lost { last: 6 };
    // The first; then one in between, since DynamoDB expires items in no certain order; then all.
    expire(1).await;
    assert_eq!(other.follow(0, 10).await.expect("read"), lost);
    assert_eq!(count(other.follow(1, 10).await.expect("read")), 5);
    expire(4).await;
    assert_eq!(other.follow(1, 10).await.expect("read"), lost);
    assert_eq!(count(other.follow(1, 2).await.expect("read")), 2, "what comes before the gap");
    for number in [2, 3, 5, 6] {
        expire(number).await;
    }
    assert_eq!(other.follow(5, 10).await.expect("read"), lost);
    assert_eq!(count(other.follow(6, 10).await.expect("read")), 0, "who is up to date has missed nothing");
    assert_eq!(other.follow(7, 10).await.expect("read"), lost, "the table is an older one than it was");
    one.prune_events(at(START), 10).await.expect("nothing to do");
    one.commit(changes(vec![put("later", None, "")], Vec::new())).await.expect("committed");
    assert_eq!(count(other.follow(6, 10).await.expect("read")), 1);
}

fn text(value: &str) -> aws_sdk_dynamodb::types::AttributeValue {
    aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned())
}
