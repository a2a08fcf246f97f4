//! What the port's documentation says, step by step. Each part is about shelves and events of its own.

use jiff::SignedDuration;
use keyward::broker::ports::{Action, ChangeSet, Fault, Registry, Shelf, StoredRecord, Write};
use keyward::domain::chain::Walk;
use keyward::domain::form::Form;

use super::{START, Store, at, changes, event, put, races, write};

pub async fn play(store: Store) {
    let registry = &*store.one;
    versions(registry, &*store.other).await;
    forms(registry).await;
    wrong_expectations(registry).await;
    limits(registry).await;
    scans(registry).await;
    due(registry).await;
    events(registry, &*store.other).await;
    races::twelve_writers(&store).await;
    races::twelve_appenders(&store).await;
    pruning(registry).await;
    store.close();
}

async fn get(registry: &dyn Registry, key: &str) -> Option<StoredRecord> {
    registry.get(Shelf::Tenant, key).await.expect("read")
}

async fn commit(registry: &dyn Registry, writes: Vec<Write>) -> u64 {
    registry.commit(changes(writes, Vec::new())).await.expect("committed")
}

async fn refused(registry: &dyn Registry, set: ChangeSet, fault: Fault) {
    let said = format!("{:?}", set.writes.last());
    let error = registry.commit(set).await.expect_err(&said);
    assert!(error.is(fault), "{said}: {error:?}");
}

async fn sequences(registry: &dyn Registry) -> Vec<u64> {
    registry.events(0, 1_000).await.expect("read").iter().map(|numbered| numbered.sequence).collect()
}

async fn version(registry: &dyn Registry, key: &str) -> u64 {
    get(registry, key).await.expect("there").version
}

async fn versions(registry: &dyn Registry, other: &dyn Registry) {
    assert_eq!(get(registry, "v").await, None);
    assert_eq!(registry.get(Shelf::Tenant, "").await.expect("read"), None);
    commit(registry, vec![put("v", None, "1")]).await;
    commit(registry, vec![put("v", Some(1), "2")]).await;
    let record = get(registry, "v").await.expect("there");
    assert_eq!((record.key.as_str(), record.version, record.body.as_slice()), ("v", 2, b"2".as_slice()));
    assert_eq!(registry.get(Shelf::Client, "v").await.expect("read"), None, "another shelf");
    commit(registry, vec![write("v", Some(2), Action::Delete)]).await;
    assert_eq!(get(registry, "v").await, None);
    commit(registry, vec![write("v", None, Action::Delete)]).await;
    commit(registry, vec![put("v", None, "")]).await;
    let again = get(registry, "v").await.expect("there");
    assert_eq!((again.version, again.body.len()), (3, 0), "made anew, and empty");
    commit(registry, vec![put("w", None, "")]).await;
    assert_eq!(version(registry, "w").await, 3, "its own are above those of all that were deleted");

    // Whoever has seen a version finds out, whatever became of the key since and through whom.
    let (mut seen, mut brokers) = (vec![1, 2, 3], [registry, other].into_iter().cycle());
    for _ in 0..3 {
        let mut broker = || brokers.next().expect("without end");
        let last = *seen.last().expect("some");
        commit(broker(), vec![put("v", Some(last), "x")]).await;
        commit(broker(), vec![write("v", Some(last + 1), Action::Delete)]).await;
        let (wrong, broker) = (put("v", Some(last + 1), "late"), broker());
        refused(broker, changes(vec![wrong.clone()], Vec::new()), Fault::Conflict).await;
        // What makes it anew may come with what deletes another.
        let with = [put("v", None, "y"), write("w", Some(version(broker, "w").await), Action::Delete)];
        commit(broker, with.into()).await;
        commit(broker, vec![put("w", None, "")]).await;
        refused(broker, changes(vec![wrong], Vec::new()), Fault::Conflict).await;
        seen.extend([last + 1, version(broker, "v").await]);
    }
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
}

/// A form is kept with its record, whichever it is.
async fn forms(registry: &dyn Registry) {
    let form = |number| Form::new(number).expect("a form");
    let on = |expected, form, due_time| {
        let action = Action::Put { body: b"{}".to_vec(), form, due_time };
        Write { shelf: Shelf::Issuer, ..write("form", expected, action) }
    };
    let mut version = None;
    for number in [1, 7, u64::from(u32::MAX), 1] {
        commit(registry, vec![on(version, form(number), Some(at(START)))]).await;
        let read = registry.get(Shelf::Issuer, "form").await.expect("read").expect("there");
        version = Some(read.version);
        assert_eq!(read.form, form(number));
        assert_eq!(registry.scan(Shelf::Issuer, "", None, 9).await.expect("read"), std::slice::from_ref(&read));
        assert_eq!(registry.due(Shelf::Issuer, 9).await.expect("read"), [read]);
    }
}

async fn wrong_expectations(registry: &dyn Registry) {
    commit(registry, vec![put("a", None, "1"), put("b", None, "1")]).await;
    let first = version(registry, "a").await;
    let wrong = [
        put("a", None, "x"),
        put("a", Some(first + 1), "x"),
        put("a", Some(first - 1), "x"),
        put("none", Some(first), "x"),
        write("a", Some(first + 1), Action::Check),
        write("none", Some(first), Action::Check),
        write("a", None, Action::Check),
        write("a", None, Action::Delete),
        write("none", Some(first), Action::Delete),
    ];
    for wrong in wrong {
        let said = format!("{wrong:?}");
        let writes = vec![put("b", Some(first), "x"), put("new", None, "x"), wrong.clone()];
        refused(registry, changes(writes, vec![event(START, "lost")]), Fault::Conflict).await;
        refused(registry, changes(vec![wrong], Vec::new()), Fault::Conflict).await;
        assert_eq!(get(registry, "a").await.expect("there").body, b"1", "{said}");
        assert_eq!(version(registry, "b").await, first, "{said}");
        assert_eq!(get(registry, "new").await, None, "{said}");
        assert_eq!(registry.last_event().await.expect("read"), 0, "{said}");
    }
    let check = || write("a", Some(first), Action::Check);
    commit(registry, vec![check(), write("none", None, Action::Check), put("b", Some(first), "2")]).await;
    commit(registry, vec![check()]).await;
    assert_eq!(version(registry, "a").await, first, "a check changed the record");
    assert_eq!(commit(registry, Vec::new()).await, 0, "nothing at all");
}

async fn limits(registry: &dyn Registry) {
    let many = |count: usize| (0..count).map(|i| put(&format!("limit{i}"), None, "")).collect::<Vec<_>>();
    refused(registry, changes(many(ChangeSet::MAX_WRITES + 1), Vec::new()), Fault::Refused).await;
    refused(registry, changes(vec![put("x", None, "1"), put("x", None, "2")], Vec::new()), Fault::Refused).await;
    refused(registry, changes(vec![put("", None, "1")], Vec::new()), Fault::Refused).await;
    let large = "x".repeat(ChangeSet::MAX_BODY_BYTES);
    refused(registry, changes(vec![put("limit0", None, &(large.clone() + "x"))], Vec::new()), Fault::Refused).await;
    for key in ["limit0", "x"] {
        assert_eq!(get(registry, key).await, None);
    }
    commit(registry, many(ChangeSet::MAX_WRITES)).await;
    let key = "k".repeat(ChangeSet::MAX_KEY_BYTES);
    let records = (0..7).map(|i| put(&format!("large{i}"), None, &large)).chain([put(&key, None, "1")]).collect();
    commit(registry, records).await;
    assert_eq!(get(registry, "large6").await.expect("there").body.len(), ChangeSet::MAX_BODY_BYTES);
    assert!(get(registry, &key).await.is_some());
    // More than one page of DynamoDB, which is 1 MB.
    let found = registry.scan(Shelf::Tenant, "large", None, 100).await.expect("read");
    assert_eq!(found.len(), 7);
    let gone = found.iter().map(|record| write(&record.key, Some(record.version), Action::Delete)).collect();
    commit(registry, gone).await;
}

async fn scans(registry: &dyn Registry) {
    let keys = [" ", "a", "a%", "a%b", "a/1", "a/2", "a/3", "a0", "a_", "ab", "b", "\u{D7FF}x", "\u{10FFFF}y"];
    let on = |shelf, key: &str| Write { shelf, ..put(key, None, key) };
    commit(registry, keys.iter().map(|key| on(Shelf::Pool, key)).collect()).await;
    commit(registry, vec![on(Shelf::Client, "a/4")]).await;
    let scan = async |prefix: &str, after: Option<&str>, limit: usize| {
        let found = registry.scan(Shelf::Pool, prefix, after, limit).await.expect("read");
        assert!(found.iter().all(|record| record.body == record.key.as_bytes()));
        found.into_iter().map(|record| record.key).collect::<Vec<_>>()
    };
    let none = [""; 0];
    assert_eq!(scan("", None, 100).await, keys, "not in byte order");
    assert_eq!(scan("a/", None, 100).await, ["a/1", "a/2", "a/3"]);
    assert_eq!(scan("a%", None, 100).await, ["a%", "a%b"]);
    assert_eq!(scan("a_", None, 100).await, ["a_"]);
    assert_eq!(scan("\u{D7FF}", None, 100).await, ["\u{D7FF}x"]);
    assert_eq!(scan("\u{10FFFF}", None, 100).await, ["\u{10FFFF}y"]);
    assert_eq!(scan("A", None, 100).await, none);
    assert_eq!(scan("a/", Some("a/1"), 1).await, ["a/2"]);
    assert_eq!(scan("a/", Some("a/17"), 9).await, ["a/2", "a/3"], "after what is not there");
    assert_eq!(scan("a/", Some("a/3"), 100).await, none);
    assert_eq!(scan("a/", Some("a"), 100).await, ["a/1", "a/2", "a/3"], "before the prefix");
    assert_eq!(scan("a/", Some("b"), 100).await, none, "behind the prefix");
    assert_eq!(scan("", Some(""), 2).await, [" ", "a"]);
    assert_eq!(scan("", None, 0).await, none);
    let mut paged = Vec::new();
    while let [key] = &scan("", paged.last().map(String::as_str), 1).await[..] {
        paged.push(key.clone());
    }
    assert_eq!(paged, keys, "page by page");
}

async fn due(registry: &dyn Registry) {
    let on = |key: &str, expected, due_time| {
        let action = Action::Put { body: Vec::new(), form: Form::FIRST, due_time };
        Write { shelf: Shelf::Journal, ..write(key, expected, action) }
    };
    let (nanosecond, base) = (SignedDuration::from_nanos(1), at(START));
    let writes = vec![
        on("late", None, Some(base + nanosecond)),
        on("early", None, Some(base - nanosecond)),
        on("exact", None, Some(base)),
        on("exact-too", None, Some(base)),
        on("old", None, Some(at(5))),
        on("never", None, None),
    ];
    commit(registry, writes).await;
    let first = registry.get(Shelf::Journal, "old").await.expect("read").expect("there").version;
    let due = async |limit: usize| {
        let found = registry.due(Shelf::Journal, limit).await.expect("read");
        found.into_iter().map(|record| (record.key, record.due_time)).collect::<Vec<_>>()
    };
    let keys: Vec<_> = due(10).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["old", "early", "exact", "exact-too", "late"]);
    assert_eq!(due(10).await[4].1, Some(base + nanosecond), "not all of the time was kept");
    assert_eq!(due(2).await.len(), 2);
    assert!(registry.due(Shelf::Rotation, 10).await.expect("read").is_empty());
    commit(registry, vec![on("old", Some(first), None), on("early", Some(first), Some(base + nanosecond * 2))]).await;
    let keys: Vec<_> = due(3).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["exact", "exact-too", "late"]);
    let gone = Write { shelf: Shelf::Journal, ..write("exact", Some(first), Action::Delete) };
    commit(registry, vec![gone]).await;
    assert_eq!(due(1).await[0].0, "exact-too");
}

/// Another registry over the same store sees all of it at once.
async fn events(registry: &dyn Registry, other: &dyn Registry) {
    let append = async |registry: &dyn Registry, details: &[&str]| {
        let events = details.iter().zip(0..).map(|(detail, second)| event(START + second, detail)).collect();
        registry.commit(changes(Vec::new(), events)).await.expect("appended")
    };
    assert_eq!(append(registry, &["a", "b"]).await, 2);
    refused(registry, changes(vec![put("y", Some(9), "")], vec![event(START, "")]), Fault::Conflict).await;
    assert_eq!(other.last_event().await.expect("read"), 2);
    assert_eq!(append(other, &["c"]).await, 3);
    assert_eq!(append(registry, &["d"]).await, 4, "after somebody else's");
    assert_eq!(commit(registry, vec![put("y", None, "")]).await, 4, "without an event");
    let after = registry.events(1, 2).await.expect("read");
    let seen: Vec<_> = after.iter().map(|numbered| (numbered.sequence, numbered.event.detail.as_str())).collect();
    assert_eq!(seen, [(2, "b"), (3, "c")]);
    assert_eq!(registry.events(4, 9).await.expect("read"), []);
    walk(registry, 1).await;
}

/// The chain is whole from this event on.
pub async fn walk(registry: &dyn Registry, first: u64) {
    let mut walk = Walk::new(1, None);
    let events = registry.events(0, 10_000).await.expect("read");
    assert_eq!(events.first().map(|event| event.sequence), Some(first));
    for event in &events {
        walk.step(event.link()).expect("it follows");
    }
    let last = registry.last_event().await.expect("read");
    walk.finish(Some((last, None))).expect("it is whole");
}

async fn pruning(registry: &dyn Registry) {
    let gone = registry.prune_events(at(START + 1_000_000), 10_000).await.expect("pruned");
    assert!(gone > 100, "all that the parts before have left, more than one transaction: {gone}");
    let last = registry.last_event().await.expect("read");
    assert_eq!((sequences(registry).await, last), (Vec::new(), gone as u64));
    // The clock goes back between the third and the fourth.
    let seconds = [0, 1, 10, 2, 3, 20];
    let events = seconds.iter().map(|second| event(START + second, "")).collect();
    assert_eq!(registry.commit(changes(Vec::new(), events)).await.expect("appended"), last + 6);
    let left = |from: u64| (last + from..=last + 6).collect::<Vec<_>>();
    assert_eq!(registry.prune_events(at(START), 100).await.expect("pruned"), 0, "before is exclusive");
    assert_eq!(registry.prune_events(at(START + 5), 1).await.expect("pruned"), 1);
    assert_eq!(sequences(registry).await, left(2));
    assert_eq!(registry.prune_events(at(START + 5), 100).await.expect("pruned"), 1);
    assert_eq!(sequences(registry).await, left(3));
    assert_eq!(registry.prune_events(at(START + 11), 100).await.expect("pruned"), 3);
    assert_eq!(sequences(registry).await, left(6));
    walk(registry, last + 6).await;
}
