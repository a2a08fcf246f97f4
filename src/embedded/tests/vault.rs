//! Versions and labels as Secrets Manager moves them.

use super::*;
use crate::broker::ports::{Label, Wanted};
use crate::domain::rotation::Labels;
use crate::embedded::vault::PURGE;

async fn labels(world: &World) -> Option<Labels> {
    world.vault().labels(&name("a")).await.expect("labels")
}

fn on(current: &str, pending: Option<&str>, previous: Option<&str>) -> Option<Labels> {
    Some(Labels { current: Some(version(current)), pending: pending.map(version), previous: previous.map(version) })
}

async fn stage(world: &World, id: &str, byte: u8) {
    world.vault().stage(&name("a"), &version(id), &document(byte)).await.expect("staged");
}

async fn content(world: &World, id: &str) -> Option<SecretDocument> {
    world.vault().read(&name("a"), Wanted::Version(&version(id))).await.expect("read")
}

#[tokio::test]
async fn the_first_version_is_current_and_the_next_pending() {
    let world = World::new().await;
    assert_eq!(labels(&world).await, None);
    assert_eq!(world.vault().read(&name("a"), Wanted::Current).await.expect("read"), None);
    stage(&world, "v1", 1).await;
    assert_eq!(labels(&world).await, on("v1", Some("v1"), None));
    stage(&world, "v2", 2).await;
    assert_eq!(labels(&world).await, on("v1", Some("v2"), None));
    assert_eq!(world.vault().read(&name("a"), Wanted::Current).await.expect("read"), Some(document(1)));
    assert_eq!(content(&world, "v2").await, Some(document(2)));
    assert_eq!(content(&world, "v3").await, None);
}

#[tokio::test]
async fn the_first_writers_value_stands() {
    let world = World::new().await;
    stage(&world, "v1", 1).await;
    stage(&world, "v2", 2).await;
    stage(&world, "v3", 3).await;
    stage(&world, "v2", 4).await;
    assert_eq!(content(&world, "v2").await, Some(document(2)));
    assert_eq!(labels(&world).await, on("v1", Some("v2"), None), "AWSPENDING did not come back");
}

#[tokio::test]
async fn promotion_is_a_compare_and_swap() {
    let world = World::new().await;
    let vault = world.vault();
    assert_fault(vault.promote(&name("a"), &version("v1"), &version("v2")).await, Fault::NotFound);
    stage(&world, "v1", 1).await;
    assert_fault(vault.promote(&name("a"), &version("v1"), &version("v2")).await, Fault::NotFound);
    stage(&world, "v2", 2).await;
    vault.promote(&name("a"), &version("v1"), &version("v2")).await.expect("promoted");
    assert_eq!(labels(&world).await, on("v2", Some("v2"), Some("v1")));
    vault.promote(&name("a"), &version("v1"), &version("v2")).await.expect("repeated");
    assert_eq!(labels(&world).await, on("v2", Some("v2"), Some("v1")), "repeating moved something");
    stage(&world, "v3", 3).await;
    assert_fault(vault.promote(&name("a"), &version("v1"), &version("v3")).await, Fault::Conflict);
    assert_eq!(labels(&world).await, on("v2", Some("v3"), Some("v1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_promotions_at_once_one_wins() {
    let world = World::new().await;
    stage(&world, "v0", 1).await;
    let mut current = "v0".to_owned();
    for round in 1..=10 {
        let candidates = [format!("a{round}"), format!("b{round}")];
        for candidate in &candidates {
            stage(&world, candidate, 2).await;
        }
        let promote = |to: &String| {
            let (vault, from, to) = (world.vault(), version(&current), version(to));
            tokio::spawn(async move { vault.promote(&name("a"), &from, &to).await })
        };
        let running: Vec<_> = candidates.iter().map(promote).collect();
        let mut winners = Vec::new();
        for (candidate, ended) in candidates.iter().zip(running) {
            match ended.await.expect("no panic") {
                Ok(()) => winners.push(candidate.clone()),
                Err(error) => assert_eq!(error.fault, Fault::Conflict),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let labels = labels(&world).await.expect("there");
        assert_eq!((labels.current, labels.previous), (Some(version(&winners[0])), Some(version(&current))));
        current = winners.remove(0);
    }
}

#[tokio::test]
async fn a_label_is_cleared_only_from_the_version_it_is_on() {
    let world = World::new().await;
    let vault = world.vault();
    vault.clear(&name("a"), Label::Pending, &version("v1")).await.expect("nothing to clear");
    stage(&world, "v1", 1).await;
    stage(&world, "v2", 2).await;
    vault.clear(&name("a"), Label::Pending, &version("v1")).await.expect("not there");
    assert_eq!(labels(&world).await, on("v1", Some("v2"), None));
    vault.promote(&name("a"), &version("v1"), &version("v2")).await.expect("promoted");
    vault.clear(&name("a"), Label::Pending, &version("v2")).await.expect("cleared");
    vault.clear(&name("a"), Label::Previous, &version("v1")).await.expect("cleared");
    assert_eq!(labels(&world).await, on("v2", None, None));
    assert_eq!(content(&world, "v1").await, Some(document(1)), "a version without a label is kept for a while");
}

#[tokio::test]
async fn of_versions_without_a_label_the_newest_ten_are_kept() {
    let world = World::new().await;
    stage(&world, "v0", 0).await;
    for i in 1..=12 {
        stage(&world, &format!("v{i}"), i).await;
    }
    // v0 is current and v12 pending; between them are eleven without a label.
    assert_eq!(content(&world, "v1").await, None);
    for i in (2..=12).chain([0]) {
        assert_eq!(content(&world, &format!("v{i}")).await, Some(document(i)), "v{i}");
    }
}

#[tokio::test]
async fn a_secret_scheduled_for_deletion_is_out_of_sight_until_it_is_restored() {
    let world = World::new().await;
    let vault = world.vault();
    vault.schedule_deletion(&name("a"), 7 * DAY).await.expect("nothing to delete");
    stage(&world, "v1", 1).await;
    stage(&world, "v2", 2).await;
    vault.schedule_deletion(&name("a"), 7 * DAY).await.expect("scheduled");
    assert_eq!(labels(&world).await, None);
    assert_eq!(content(&world, "v1").await, None);
    assert_eq!(vault.read(&name("a"), Wanted::Current).await.expect("read"), None);
    assert_fault(vault.promote(&name("a"), &version("v1"), &version("v2")).await, Fault::NotFound);
    vault.clear(&name("a"), Label::Pending, &version("v2")).await.expect("nothing to see");

    world.clock.advance(7 * DAY - Duration::from_secs(1));
    stage(&world, "v3", 3).await;
    assert_eq!(labels(&world).await, on("v1", Some("v3"), None), "a restored secret keeps its current version");
    assert_eq!(content(&world, "v2").await, Some(document(2)));
    world.clock.advance(30 * DAY);
    stage(&world, "v4", 4).await;
    assert_eq!(content(&world, "v1").await, Some(document(1)), "a restored secret was purged");
}

#[tokio::test]
async fn a_secret_is_gone_when_its_window_is_over() {
    let world = World::new().await;
    let vault = world.vault();
    stage(&world, "v1", 1).await;
    vault.schedule_deletion(&name("a"), 7 * DAY).await.expect("scheduled");
    world.clock.advance(6 * DAY);
    vault.schedule_deletion(&name("a"), 7 * DAY).await.expect("repeated");
    world.clock.advance(DAY);
    stage(&world, "v2", 2).await;
    assert_eq!(labels(&world).await, on("v2", Some("v2"), None), "repeating put the deletion off");
    assert_eq!(content(&world, "v1").await, None);
}

#[tokio::test]
async fn a_purged_secret_leaves_the_file() {
    let world = World::new().await;
    stage(&world, "v1", 1).await;
    world.vault().schedule_deletion(&name("a"), 7 * DAY).await.expect("scheduled");
    world.clock.advance(7 * DAY);
    world.vault().stage(&name("b"), &version("v1"), &document(1)).await.expect("staged");
    let connection = rusqlite::Connection::open(world.file()).expect("opens");
    let count = |table: &str| -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counted")
    };
    assert_eq!((count("secrets"), count("versions"), count("labels")), (1, 1, 2));
}

#[tokio::test]
async fn a_recovery_window_is_7_to_30_days_or_none() {
    let world = World::new().await;
    let vault = world.vault();
    stage(&world, "v1", 1).await;
    for window in [Duration::from_secs(1), 7 * DAY - Duration::from_secs(1), 31 * DAY, Duration::MAX] {
        assert_fault(vault.schedule_deletion(&name("a"), window).await, Fault::Refused);
    }
    assert_eq!(labels(&world).await, on("v1", Some("v1"), None));
    vault.schedule_deletion(&name("a"), Duration::ZERO).await.expect("deleted");
    stage(&world, "v2", 2).await;
    assert_eq!(content(&world, "v1").await, None, "deleted at once, yet restored");
}

#[tokio::test]
async fn a_document_moved_to_another_place_does_not_open() {
    let world = World::new().await;
    stage(&world, "v1", 1).await;
    stage(&world, "v2", 2).await;
    let connection = rusqlite::Connection::open(world.file()).expect("opens");
    let swap = "UPDATE versions SET sealed = (SELECT sealed FROM versions WHERE id = 'v2') WHERE id = 'v1'";
    connection.execute(swap, []).expect("moved");
    let error = world.vault().read(&name("a"), Wanted::Current).await.expect_err("does not open");
    assert!(error.is(Fault::Broken) && error.to_string().contains("v1"), "{error}");
}

#[tokio::test]
async fn a_write_does_not_look_through_all_secrets() {
    let world = World::new().await;
    let file = rusqlite::Connection::open(world.file()).expect("opened");
    let explain = format!("EXPLAIN QUERY PLAN {}", PURGE);
    let plan: String = file.query_row(&explain, ["2024"], |row| row.get(3)).expect("a plan");
    assert!(plan.starts_with("SEARCH secrets USING") && plan.contains("secrets_deletion"), "{plan}");
}
