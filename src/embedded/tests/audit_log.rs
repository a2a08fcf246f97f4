//! The chain of the audit log: written, pruned, begun late, and found out when it was tampered with.

use rusqlite::{Connection, params};

use super::*;
use crate::broker::ports::ChangeSet;
use crate::domain::audit::{Event, NumberedEvent, Outcome};
use crate::domain::chain::{Break, Noted, Walked};
use crate::embedded::{CheckedLog, check_audit_log};

fn event(second: i64, detail: &str) -> Event {
    Event {
        time: at(second),
        principal: "operator:test".to_owned(),
        method: "test".to_owned(),
        resource: "tenants/acme".to_owned(),
        outcome: Outcome::Denied,
        reason: "BECAUSE".to_owned(),
        detail: detail.to_owned(),
        request_id: "request".to_owned(),
        call_id: "call".to_owned(),
    }
}

/// Two events in each change set.
async fn append(world: &World, pairs: i64) {
    for pair in 0..pairs {
        let events = vec![event(START + pair, "first"), event(START + pair, "second")];
        world.registry().commit(ChangeSet { writes: Vec::new(), events }).await.expect("committed");
    }
}

async fn events(world: &World) -> Vec<NumberedEvent> {
    world.registry().events(0, 1_000).await.expect("events")
}

fn check(world: &World, noted: Option<Noted>) -> Result<Walked, Break> {
    check_audit_log(&world.file(), noted).expect("checked").outcome
}

fn noted(event: &NumberedEvent) -> Noted {
    Noted { number: event.sequence, digest: event.digest() }
}

fn sql(world: &World) -> Connection {
    Connection::open(world.file()).expect("opens")
}

#[tokio::test]
async fn each_event_carries_the_digest_of_the_one_before_also_within_a_change_set_and_after_a_restart() {
    let world = World::new().await;
    append(&world, 3).await;
    let world = world.reopened().await;
    append(&world, 2).await;
    let events = events(&world).await;
    assert_eq!(events[0].previous_digest, None);
    for pair in events.windows(2) {
        assert_eq!(pair[1].previous_digest, Some(pair[0].digest()));
    }
    let walked = check(&world, Some(noted(&events[4]))).expect("whole");
    assert_eq!((walked.count, walked.range, walked.head), (10, Some((1, 10)), Some(noted(&events[9]))));
}

#[tokio::test]
async fn a_pruned_log_is_still_one_chain_and_one_that_was_pruned_away_goes_on() {
    let world = World::new().await;
    append(&world, 5).await;
    let all = events(&world).await;
    assert_eq!(world.registry().prune_events(at(START + 2), 100).await.expect("pruned"), 4);
    let walked = check(&world, Some(noted(&all[3]))).expect("the first that is left tells of the last that is gone");
    assert_eq!(walked.range, Some((5, 10)));
    assert_eq!(check(&world, Some(noted(&all[2]))), Err(Break::NotThereAnyMore { number: 3 }));

    assert_eq!(world.registry().prune_events(at(START + 99), 100).await.expect("pruned"), 6);
    assert_eq!(check(&world, None).expect("whole").range, None);
    append(&world, 1).await;
    assert_eq!(events(&world).await[0].previous_digest, Some(all[9].digest()));
    assert_eq!(check(&world, Some(noted(&all[9]))).expect("whole").range, Some((11, 12)));
}

#[tokio::test]
async fn a_file_without_digests_begins_its_chain_with_the_next_event() {
    let world = World::new().await;
    append(&world, 2).await;
    // As the first schema had it.
    let first_schema = "ALTER TABLE events DROP COLUMN previous_digest; ALTER TABLE last_event DROP COLUMN digest;
                        ALTER TABLE last_event DROP COLUMN chain_start; DROP INDEX secrets_deletion;
                        ALTER TABLE last_event DROP COLUMN deleted_version; ALTER TABLE last_event DROP COLUMN form;
                        ALTER TABLE events DROP COLUMN form; ALTER TABLE records DROP COLUMN form;
                        ALTER TABLE app_clients DROP COLUMN sign_in; DROP TABLE identity_providers;
                        PRAGMA user_version = 1";
    sql(&world).execute_batch(first_schema).expect("as it was");
    let error = check_audit_log(&world.file(), None).expect_err("older").to_string();
    assert!(error.contains("schema 1 is older than 6"), "{error}");

    let world = world.reopened().await;
    assert_eq!(check(&world, None).expect("whole").start, 5);
    append(&world, 2).await;
    let events = events(&world).await;
    assert!(events[..5].iter().all(|event| event.previous_digest.is_none()));
    for pair in events[4..].windows(2) {
        assert_eq!(pair[1].previous_digest, Some(pair[0].digest()));
    }
    let walked = check(&world, None).expect("whole");
    assert_eq!((walked.range, walked.start), (Some((1, 8)), 5));
    // What is newer than the beginning cannot be passed off as older.
    sql(&world).execute("UPDATE events SET previous_digest = NULL WHERE sequence = 6", []).expect("changed");
    assert!(matches!(check(&world, None), Err(Break::Changed { number: 6, .. })));
}

#[tokio::test]
async fn every_field_that_is_changed_is_found_out_wherever_it_is() {
    let world = World::new().await;
    append(&world, 3).await;
    let connection = sql(&world);
    let fields = ["time", "principal", "method", "resource", "outcome", "reason", "detail", "request_id", "call_id"];
    for sequence in 1..=6_i64 {
        let read = "SELECT body FROM events WHERE sequence = ?1";
        let body: Vec<u8> = connection.query_row(read, [sequence], |row| row.get(0)).expect("there");
        let write = |body: &[u8]| {
            let sql = "UPDATE events SET body = ?2 WHERE sequence = ?1";
            assert_eq!(connection.execute(sql, params![sequence, body]).expect("changed"), 1);
        };
        for field in fields {
            let mut json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let value = json.get_mut(field).unwrap_or_else(|| panic!("no {field}"));
            *value = match field {
                "time" => "2027-01-15T08:00:00.000000001Z".into(),
                "outcome" => "Succeeded".into(),
                _ => format!("{}x", value.as_str().expect("text")).into(),
            };
            write(&serde_json::to_vec(&json).expect("JSON"));
            let broken = check(&world, None).expect_err(field);
            let said = broken.describe("event");
            assert!(said.contains(&format!("event {sequence} was changed")), "{field} of {sequence}: {said}");
        }
        write(b"{}");
        let unreadable = u64::try_from(sequence).expect("positive");
        assert_eq!(check(&world, None), Err(Break::Unreadable { number: unreadable }));
        write(&body);
        check(&world, None).expect("whole again");
    }
}

#[tokio::test]
async fn what_is_removed_exchanged_or_added_is_found_out() {
    let tampered = async |change: &str| {
        let world = World::new().await;
        append(&world, 4).await;
        sql(&world).execute_batch(change).unwrap_or_else(|error| panic!("{change}: {error}"));
        check(&world, None)
    };
    assert_eq!(tampered("DELETE FROM events WHERE sequence = 3").await, Err(Break::Missing { first: 3, last: 3 }));
    assert_eq!(tampered("DELETE FROM events WHERE sequence > 6").await, Err(Break::Missing { first: 7, last: 8 }));
    let exchange =
        "UPDATE events SET sequence = 99 WHERE sequence = 4; UPDATE events SET sequence = 4 WHERE sequence = 5;
                    UPDATE events SET sequence = 5 WHERE sequence = 99";
    assert_eq!(tampered(exchange).await, Err(Break::Moved { number: 4 }));
    let add = "INSERT INTO events (sequence, time, previous_digest, body)
               SELECT 9, time, previous_digest, body FROM events WHERE sequence = 8";
    assert!(matches!(tampered(add).await, Err(Break::Changed { number: 9, .. })));
    // Taken out, and the numbers behind it closed up.
    let close_up =
        "DELETE FROM events WHERE sequence = 5; UPDATE events SET sequence = sequence - 1 WHERE sequence > 5";
    assert!(matches!(tampered(close_up).await, Err(Break::Changed { number: 5, .. })));
    let forget = "UPDATE events SET previous_digest = NULL WHERE sequence = 4";
    assert!(matches!(tampered(forget).await, Err(Break::Changed { number: 4, .. })));
    let chop = "DELETE FROM events WHERE sequence = 8; UPDATE last_event SET sequence = 7";
    assert_eq!(tampered(chop).await, Err(Break::NotTheEnd { number: 7 }));
}

#[tokio::test]
async fn a_check_changes_nothing_and_sees_a_whole_log_while_it_is_written_to() {
    let world = World::new().await;
    append(&world, 1).await;
    let registry = world.registry();
    let writing = tokio::spawn(async move {
        for i in 0..200 {
            let events = vec![event(START + i, "more"); 3];
            registry.commit(ChangeSet { writes: Vec::new(), events }).await.expect("committed");
        }
    });
    let mut counts = Vec::new();
    while !writing.is_finished() {
        let file = world.file();
        let checked = tokio::task::spawn_blocking(move || check_audit_log(&file, None)).await.expect("no panic");
        let CheckedLog { outcome, last_event } = checked.expect("checked");
        assert_eq!(outcome.expect("whole").count, last_event);
        counts.push(last_event);
    }
    writing.await.expect("no panic");
    assert!(counts.len() > 1, "{counts:?}");
    assert_eq!(check(&world, None).expect("whole").count, 602);

    let file = world.file();
    drop(world.registry());
    let before = std::fs::read(&file).expect("read");
    check_audit_log(world.folder.path(), None).expect("by its folder");
    assert!(std::fs::read(&file).expect("read") == before);
    let missing = world.folder.path().join("nowhere.db");
    let error = check_audit_log(&missing, None).expect_err("missing").to_string();
    assert!(error.contains("nowhere.db") && !missing.exists(), "{error}");
}
