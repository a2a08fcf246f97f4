//! Records, expectations, events.

use super::*;
use crate::broker::ports::{Action, ChangeSet, Shelf, StoredRecord, Write};
use crate::domain::audit::{Event, Outcome};
use crate::domain::form::Form;

fn write(key: &str, expected: Option<u64>, action: Action) -> Write {
    Write { shelf: Shelf::Tenant, key: key.to_owned(), expected, action }
}

fn put(key: &str, expected: Option<u64>, body: &str) -> Write {
    write(key, expected, Action::Put { body: body.as_bytes().to_vec(), form: Form::FIRST, due_time: None })
}

fn due(key: &str, time: Timestamp) -> Write {
    write(key, None, Action::Put { body: Vec::new(), form: Form::FIRST, due_time: Some(time) })
}

fn event(second: i64, detail: &str) -> Event {
    Event {
        time: at(second),
        principal: "keyward".to_owned(),
        method: "test".to_owned(),
        resource: "tenants/acme".to_owned(),
        outcome: Outcome::Succeeded,
        reason: String::new(),
        detail: detail.to_owned(),
        request_id: String::new(),
        call_id: String::new(),
    }
}

async fn commit(world: &World, writes: Vec<Write>) -> PortResult<u64> {
    world.registry().commit(ChangeSet { writes, events: Vec::new() }).await
}

async fn append(world: &World, events: Vec<Event>) -> u64 {
    world.registry().commit(ChangeSet { writes: Vec::new(), events }).await.expect("committed")
}

async fn get(world: &World, key: &str) -> Option<StoredRecord> {
    world.registry().get(Shelf::Tenant, key).await.expect("get")
}

async fn scan(world: &World, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let found = world.registry().scan(Shelf::Tenant, prefix, after, limit).await.expect("scan");
    found.into_iter().map(|record| record.key).collect()
}

async fn sequences(world: &World) -> Vec<u64> {
    let events = world.registry().events(0, 1000).await.expect("events");
    events.iter().map(|numbered| numbered.sequence).collect()
}

#[tokio::test]
async fn a_record_counts_its_changes() {
    let world = World::new().await;
    commit(&world, vec![put("a", None, "1")]).await.expect("created");
    commit(&world, vec![put("a", Some(1), "2")]).await.expect("changed");
    let record = get(&world, "a").await.expect("there");
    assert_eq!((record.version, record.body.as_slice()), (2, b"2".as_slice()));
    assert_eq!(world.registry().get(Shelf::Client, "a").await.expect("get"), None, "another shelf");
    commit(&world, vec![write("a", Some(2), Action::Delete)]).await.expect("deleted");
    assert_eq!(get(&world, "a").await, None);
    commit(&world, vec![put("a", None, "3")]).await.expect("created again");
    assert_eq!(get(&world, "a").await.expect("there").version, 3, "a version came back");
    commit(&world, vec![put("b", None, "1")]).await.expect("created");
    assert_eq!(get(&world, "b").await.expect("there").version, 3);
    let world = world.reopened().await;
    commit(&world, vec![write("b", Some(3), Action::Delete)]).await.expect("deleted");
    commit(&world, vec![put("b", None, "2")]).await.expect("created again");
    assert_eq!(get(&world, "b").await.expect("there").version, 4);
}

#[tokio::test]
async fn one_wrong_expectation_undoes_everything() {
    let world = World::new().await;
    commit(&world, vec![put("a", None, "1"), put("b", None, "1")]).await.expect("created");
    let wrong = [
        put("a", None, "x"),
        put("a", Some(2), "x"),
        put("none", Some(1), "x"),
        write("a", Some(2), Action::Check),
        write("none", Some(1), Action::Check),
        write("a", None, Action::Check),
        write("a", None, Action::Delete),
        write("none", Some(1), Action::Delete),
    ];
    for wrong in wrong {
        let said = format!("{wrong:?}");
        let writes = vec![put("b", Some(1), "x"), put("new", None, "x"), wrong];
        let changes = ChangeSet { writes, events: vec![event(START, "lost")] };
        let error = world.registry().commit(changes).await.expect_err(&said);
        assert!(error.is(Fault::Conflict), "{said}: {error}");
        assert_eq!(get(&world, "a").await.expect("there").body, b"1", "{said}");
        assert_eq!(get(&world, "b").await.expect("there").version, 1, "{said}");
        assert_eq!(get(&world, "new").await, None, "{said}");
        assert_eq!(world.registry().last_event().await.expect("read"), 0, "{said}");
    }
    let right = vec![write("a", Some(1), Action::Check), write("none", None, Action::Check), put("b", Some(1), "2")];
    commit(&world, right).await.expect("all hold");
    assert_eq!(get(&world, "a").await.expect("there").version, 1, "a check changed the record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_expect_the_same_version_one_wins() {
    let world = World::new().await;
    commit(&world, vec![put("a", None, "0")]).await.expect("created");
    let change = |i: usize| {
        let registry = world.registry();
        let changes =
            ChangeSet { writes: vec![put("a", Some(1), &i.to_string())], events: vec![event(START, &i.to_string())] };
        tokio::spawn(async move { registry.commit(changes).await.map(|_| i) })
    };
    let running: Vec<_> = (0..20).map(change).collect();
    let mut winners = Vec::new();
    for ended in running {
        winners.extend(ended.await.expect("no panic").ok());
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&world, "a").await.expect("there").body, winners[0].to_string().as_bytes());
    assert_eq!(sequences(&world).await, [1]);
}

#[tokio::test]
async fn a_change_set_holds_90_writes_each_of_another_record() {
    let world = World::new().await;
    let writes = |count: usize| (0..count).map(|i| put(&format!("k{i}"), None, "")).collect::<Vec<_>>();
    assert_fault(commit(&world, writes(91)).await, Fault::Refused);
    assert_eq!(get(&world, "k0").await, None);
    commit(&world, writes(90)).await.expect("fits");
    assert_fault(commit(&world, vec![put("x", None, "1"), put("x", None, "2")]).await, Fault::Refused);
    assert_eq!(get(&world, "x").await, None);
}

#[tokio::test]
async fn a_prefix_is_taken_as_it_is_written() {
    let world = World::new().await;
    let keys = [" ", "a", "a%", "a%b", "a/1", "a/2", "a/3", "a0", "a_", "ab", "b", "\u{D7FF}x", "\u{10FFFF}y"];
    commit(&world, keys.iter().map(|key| put(key, None, "")).collect()).await.expect("created");
    let other = Write { shelf: Shelf::Client, ..put("a/4", None, "") };
    commit(&world, vec![other]).await.expect("created");

    assert_eq!(scan(&world, "", None, 100).await, keys, "not in byte order");
    assert_eq!(scan(&world, "a/", None, 100).await, ["a/1", "a/2", "a/3"]);
    assert_eq!(scan(&world, "a%", None, 100).await, ["a%", "a%b"]);
    assert_eq!(scan(&world, "a_", None, 100).await, ["a_"]);
    assert_eq!(scan(&world, "\u{D7FF}", None, 100).await, ["\u{D7FF}x"]);
    assert_eq!(scan(&world, "\u{10FFFF}", None, 100).await, ["\u{10FFFF}y"]);
    assert_eq!(scan(&world, "A", None, 100).await, [""; 0]);
    assert_eq!(scan(&world, "a/", Some("a/1"), 1).await, ["a/2"]);
    assert_eq!(scan(&world, "a/", Some("a/3"), 100).await, [""; 0]);
    assert_eq!(scan(&world, "a/", Some("a"), 100).await, ["a/1", "a/2", "a/3"], "before the prefix");
    assert_eq!(scan(&world, "a/", Some("b"), 100).await, [""; 0], "behind the prefix");
    assert_eq!(scan(&world, "", None, 0).await, [""; 0]);
}

#[tokio::test]
async fn what_is_due_comes_in_order_of_time() {
    let world = World::new().await;
    let nanosecond = SignedDuration::from_nanos(1);
    let base = at(START);
    let writes = vec![
        due("late", base + nanosecond),
        due("early", base - nanosecond),
        due("exact", base),
        due("old", at(-5)),
        put("never", None, ""),
    ];
    commit(&world, writes).await.expect("created");
    let found = world.registry().due(Shelf::Tenant, 10).await.expect("due");
    let keys: Vec<_> = found.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["old", "early", "exact", "late"]);
    assert_eq!(found[3].due_time, Some(base + nanosecond), "not all of the time was kept");
    assert_eq!(world.registry().due(Shelf::Tenant, 2).await.expect("due").len(), 2);
    assert!(world.registry().due(Shelf::Client, 10).await.expect("due").is_empty());
    commit(&world, vec![put("old", Some(1), "")]).await.expect("changed");
    assert_eq!(world.registry().due(Shelf::Tenant, 1).await.expect("due")[0].key, "early");
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_no_number_comes_twice() {
    let world = World::new().await;
    assert_eq!(world.registry().last_event().await.expect("read"), 0);
    assert_eq!(append(&world, vec![event(START, "a"), event(START + 1, "b")]).await, 2);
    assert_fault(
        world
            .registry()
            .commit(ChangeSet { writes: vec![put("x", Some(9), "")], events: vec![event(START, "")] })
            .await,
        Fault::Conflict,
    );
    assert_eq!(append(&world, vec![event(START + 2, "c")]).await, 3);
    assert_eq!(commit(&world, vec![put("a", None, "")]).await.expect("committed"), 3, "without an event");
    let after = world.registry().events(1, 1).await.expect("events");
    assert_eq!((after.len(), after[0].sequence, after[0].event.detail.as_str()), (1, 2, "b"));

    assert_eq!(world.registry().prune_events(at(START + 100), 100).await.expect("pruned"), 3);
    assert_eq!(sequences(&world).await, [0_u64; 0]);
    let world = world.reopened().await;
    assert_eq!(world.registry().last_event().await.expect("read"), 3);
    assert_eq!(append(&world, vec![event(START + 3, "d")]).await, 4);
    assert_eq!(sequences(&world).await, [4]);
}

#[tokio::test]
async fn pruning_takes_the_oldest_and_tears_no_gap() {
    let world = World::new().await;
    // The clock goes back between the third and the fourth.
    let seconds = [0, 1, 10, 2, 3, 20];
    append(&world, seconds.iter().map(|second| event(START + second, "")).collect()).await;
    let registry = world.registry();
    assert_eq!(registry.prune_events(at(START), 100).await.expect("pruned"), 0, "before is exclusive");
    assert_eq!(registry.prune_events(at(START + 5), 1).await.expect("pruned"), 1);
    assert_eq!(sequences(&world).await, [2, 3, 4, 5, 6]);
    assert_eq!(registry.prune_events(at(START + 5), 100).await.expect("pruned"), 1);
    assert_eq!(sequences(&world).await, [3, 4, 5, 6]);
    assert_eq!(registry.prune_events(at(START + 11), 100).await.expect("pruned"), 3);
    assert_eq!(sequences(&world).await, [6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_file_wait_for_each_other() {
    let world = World::new().await;
    let second = open(world.folder.path(), 1, Options::default(), &world.clock).await.expect("opens");
    let work = |registry: Arc<dyn Registry>, who: &'static str| {
        tokio::spawn(async move {
            for i in 0..25 {
                let writes = vec![put(&format!("{who}{i}"), None, "")];
                registry.commit(ChangeSet { writes, events: vec![event(START, who)] }).await?;
            }
            PortResult::Ok(())
        })
    };
    let running = [work(world.registry(), "a"), work(second.registry(), "b")];
    for ended in running {
        ended.await.expect("no panic").expect("no write was turned away");
    }
    assert_eq!(sequences(&world).await, (1..=50).collect::<Vec<_>>());
}
