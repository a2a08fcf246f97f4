//! Many who write at one time, through two registries over one store.

use std::sync::Arc;

use keyward::broker::ports::{Fault, Shelf};
use tokio::task::JoinSet;

use super::contract::walk;
use super::{START, Store, changes, event, put};

const WRITERS: usize = 12;

/// Of those who expect the same version, one wins, in each of several rounds.
pub async fn twelve_writers(store: &Store) {
    let before = store.one.last_event().await.expect("read");
    store.one.commit(changes(vec![put("race", None, "start")], Vec::new())).await.expect("made");
    let first = store.one.get(Shelf::Tenant, "race").await.expect("read").expect("there").version;
    for round in first..first + 5 {
        let mut running = JoinSet::new();
        for writer in 0..WRITERS {
            let registry = Arc::clone(if writer % 2 == 0 { &store.one } else { &store.other });
            let said = format!("{round} {writer}");
            let set = changes(vec![put("race", Some(round), &said)], vec![event(START, &said)]);
            running.spawn(async move { (said, registry.commit(set).await) });
        }
        let mut winners = Vec::new();
        while let Some(ended) = running.join_next().await {
            match ended.expect("no panic") {
                (said, Ok(_)) => winners.push(said),
                (said, Err(error)) => assert!(error.is(Fault::Conflict), "{said}: {error:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let record = store.other.get(Shelf::Tenant, "race").await.expect("read").expect("there");
        assert_eq!((record.version, record.body.as_slice()), (round + 1, winners[0].as_bytes()));
    }
    assert_eq!(store.one.last_event().await.expect("read"), before + 5, "an event of one who lost");
}

/// Those who are in nobody's way all come through, and their events are one chain.
pub async fn twelve_appenders(store: &Store) {
    const EACH: usize = 10;
    let before = store.one.last_event().await.expect("read");
    let mut running = JoinSet::new();
    for writer in 0..WRITERS {
        let registry = Arc::clone(if writer % 2 == 0 { &store.one } else { &store.other });
        running.spawn(async move {
            let mut numbers = Vec::new();
            for round in 0..EACH {
                let key = format!("append {writer} {round}");
                let set = changes(vec![put(&key, None, &key)], vec![event(START, &key)]);
                numbers.push((key, registry.commit(set).await.expect("committed")));
            }
            numbers
        });
    }
    let mut told = Vec::new();
    while let Some(numbers) = running.join_next().await {
        told.extend(numbers.expect("no panic"));
    }
    told.sort_by_key(|(_, number)| *number);
    let numbers: Vec<_> = told.iter().map(|(_, number)| *number).collect();
    let all = (WRITERS * EACH) as u64;
    assert_eq!(numbers, (before + 1..=before + all).collect::<Vec<_>>(), "each is told the number of its own event");
    let events = store.one.events(before, 1_000).await.expect("read");
    let details: Vec<_> = events.iter().map(|event| event.event.detail.clone()).collect();
    assert_eq!(details, told.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
    walk(&*store.one, 1).await;
}
