//! `keyward migrate`: the program itself, from a data folder to a table, cut off, run again, and refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use keyward::broker::ports::{Action, ChangeFeed as _, Followed, Registry, Shelf, StoredRecord, Write};
use keyward::domain::audit::NumberedEvent;
use keyward::domain::form::Form;
use keyward::embedded::open_registry;
use tempfile::TempDir;

use super::between::Between;
use super::between::Fate::{Held, Passed};
use super::contract::walk;
use super::tables::{self, Layout, TABLE};
use super::{START, at, changes, event, put};
use crate::fake::{REGION, signing};
use crate::harness::{Binary, folder};
use crate::peers::Peer;

/// A data folder with all kinds of records, and a table with nothing in it.
struct Move {
    between: Between,
    config: PathBuf,
    data: PathBuf,
    _folder: TempDir,
}

impl Move {
    async fn prepared() -> Move {
        let between = Between::before(Peer::ministack().await).await;
        tables::make(&between.sdk(), TABLE, Layout::default()).await;
        let (holds, path) = folder();
        let data = path.join("data");
        let config = path.join("keyward.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ncallers.trust_loopback = true\nbackend = \"aws\"\ndata_dir = {data:?}\n\
             registry.table = {TABLE:?}\naws.region = {REGION:?}\naws.endpoints.dynamodb = {:?}\n",
            between.endpoint()
        );
        std::fs::write(&config, text).expect("written");
        fill(&*source(&data).await).await;
        Move { between, config, data, _folder: holds }
    }

    fn command(&self) -> Command {
        let mut command = Binary::command();
        command.args(["migrate", "--from", "sqlite", "--to", "dynamodb", "--config"]).arg(&self.config);
        command.env("AWS_ACCESS_KEY_ID", signing::ACCESS_KEY_ID);
        command.env("AWS_SECRET_ACCESS_KEY", signing::SECRET_ACCESS_KEY);
        command
    }

    /// What it says when it is through.
    async fn run(&self) -> (i32, String) {
        let mut command = self.command();
        let output = tokio::task::spawn_blocking(move || command.output().expect("keyward runs")).await.expect("ran");
        let Output { status, stdout, stderr } = output;
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.code().expect("not killed"), said)
    }
}

async fn source(data: &Path) -> std::sync::Arc<dyn Registry> {
    std::fs::create_dir_all(data).expect("the data folder");
    open_registry(&data.join("keyward.db")).await.expect("opened")
}

/// 1,240 records, more than a page of them on one shelf, and 200 events of which the first 50 are pruned.
async fn fill(registry: &dyn Registry) {
    for batch in 0..13 {
        let records = (0..90).map(|number| {
            let due_time = (number % 3 == 0).then(|| at(START + number));
            let action = Action::Put { body: format!("{{\"n\":{number}}}").into_bytes(), form: Form::FIRST, due_time };
            let shelf = if batch < 8 { Shelf::Client } else { Shelf::Owner };
            Write { shelf, key: format!("{batch}/\u{e9}{number}"), expected: None, action }
        });
        let events = (0..8).map(|number| event(START + batch, &format!("{batch} {number}"))).collect();
        registry.commit(changes(records.collect(), events)).await.expect("committed");
    }
    for (shelf, place) in Shelf::ALL.into_iter().zip(0..) {
        for version in 1..=place % 4 + 1 {
            let write = Write { shelf, ..put("one", (version > 1).then(|| version - 1), "{}") };
            registry.commit(changes(vec![write], vec![event(START + 100, "")])).await.expect("committed");
        }
    }
    let last = registry.last_event().await.expect("read");
    assert_eq!(registry.prune_events(at(START + 50), 50).await.expect("pruned"), 50);
    assert!(last > 130, "{last}");
}

type Contents = (Vec<(Shelf, StoredRecord)>, Vec<NumberedEvent>, u64);

async fn contents(registry: &dyn Registry) -> Contents {
    let mut records = Vec::new();
    for shelf in Shelf::ALL {
        let found = registry.scan(shelf, "", None, 10_000).await.expect("read");
        records.extend(found.into_iter().map(|record| (shelf, record)));
    }
    let events = registry.events(0, 10_000).await.expect("read");
    (records, events, registry.last_event().await.expect("read"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_cut_off_is_finished_by_the_next() {
    let moved = Move::prepared().await;
    let before = contents(&*source(&moved.data).await).await;

    moved.between.order("TransactWriteItems", &[Passed, Passed, Passed, Passed, Held]);
    let mut child = moved.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("keyward runs");
    moved.between.holds().await;
    child.kill().expect("killed");
    child.wait().expect("waited for");
    let half = moved.between.open(TABLE).await.map(|_| ()).expect_err("it is not whole").to_string();
    assert!(half.contains("not all are there") && half.contains("keyward migrate"), "{half}");

    let (code, said) = moved.run().await;
    let (records, events) = (before.0.len(), before.1.len());
    // The marker, the one tenant, and twice a hundred clients were through.
    let brought = records + events - 201;
    let due = format!("ok: {records} records and {events} events are the same on both sides; {brought} were brought");
    assert!(code == 0 && said.contains(&due), "{code}: {said}\n{due}");
    let registry = moved.between.open(TABLE).await.expect("it is whole");
    assert_eq!(contents(&registry).await, before);
    assert_eq!(contents(&*source(&moved.data).await).await, before, "the folder is not changed");
    walk(&registry, before.1[0].sequence).await;
    let due = |found: Vec<StoredRecord>| found.into_iter().map(|record| record.key).collect::<Vec<_>>();
    assert_eq!(
        due(registry.due(Shelf::Client, 20).await.expect("read")),
        due(source(&moved.data).await.due(Shelf::Client, 20).await.expect("read"))
    );
    assert_eq!(registry.follow(0, 10).await.expect("read"), Followed::Lost { last: 1 }, "nobody's memory is of it");

    // Once more changes nothing.
    let (code, said) = moved.run().await;
    assert!(code == 0 && said.contains("; 0 were brought over"), "{code}: {said}");
    // A broker goes on with the numbers; then the folder is of the past.
    let next = registry.commit(changes(vec![put("new", None, "")], vec![event(START + 200, "")])).await;
    assert_eq!(next.expect("committed"), before.2 + 1);
    walk(&registry, before.1[0].sequence).await;
    let (code, said) = moved.run().await;
    assert!(code == 1 && said.contains("has a log of events that is not in the data folder"), "{code}: {said}");
    assert_eq!(moved.between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_platform_is_not_touched() {
    let moved = Move::prepared().await;
    let sdk = moved.between.sdk();
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let put = async |key: &str, version: &str| {
        let request = sdk.put_item().table_name(TABLE).item("pk", text("r#tenant")).item("sk", text(key));
        let request = request.item("version", aws_sdk_dynamodb::types::AttributeValue::N(version.to_owned()));
        let body = aws_sdk_dynamodb::types::AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new("{}"));
        request.item("body", body).send().await.expect("put");
    };
    let clear = async |key: &str| {
        let request = sdk.delete_item().table_name(TABLE).key("pk", text("r#tenant")).key("sk", text(key));
        request.send().await.expect("deleted");
    };
    // Before all of ours, behind them, and one of ours in another version.
    for (key, version) in [("acme", "1"), ("zeta", "1"), ("one", "7")] {
        put(key, version).await;
        let (code, said) = moved.run().await;
        let due = format!("has the tenant {key} that is not in the data folder");
        assert!(code == 1 && said.contains(&due) && said.contains("registry.table"), "{code}: {said}");
        assert_eq!(moved.between.calls_of("TransactWriteItems"), 0);
        clear(key).await;
    }
    let (code, said) = moved.run().await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_cannot_be_is_refused_with_its_reason() {
    let moved = Move::prepared().await;
    let lock = std::fs::File::create(moved.data.join("keyward.lock")).expect("made");
    lock.lock().expect("locked");
    let (code, said) = moved.run().await;
    assert!(code == 1 && said.contains("another keyward works on the data folder"), "{code}: {said}");
    drop(lock);

    let text = std::fs::read_to_string(&moved.config).expect("read");
    let with = |change: &dyn Fn(&str) -> String| std::fs::write(&moved.config, change(&text)).expect("written");
    with(&|text| text.replace("\nregistry.table", "\n#registry.table"));
    let (code, said) = moved.run().await;
    assert!(code == 2 && said.contains("registry.table: must be set"), "{code}: {said}");
    with(&|text| text.replace(&format!("{TABLE:?}"), "\"elsewhere\""));
    let (code, said) = moved.run().await;
    assert!(code == 1 && said.contains("there is no table elsewhere"), "{code}: {said}");
    with(&|text| text.replace("/data\"", "/nothing\""));
    let (code, said) = moved.run().await;
    assert!(code == 1 && said.contains("data_dir: there is no") && said.contains("nothing"), "{code}: {said}");
    assert!(!moved.data.with_file_name("nothing").exists(), "a folder was made");
    assert_eq!(moved.between.calls_of("TransactWriteItems"), 0);
}
