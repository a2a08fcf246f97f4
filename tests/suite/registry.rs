//! One contract for every registry: what `broker::ports::Registry` says, played to SQLite and to DynamoDB on three programs of
//! others, each as two registries over one store. And what DynamoDB alone has: the change feed, and answers that are lost.

mod answers;
pub mod between;
mod brokers;
mod contract;
mod feed;
mod following;
mod members;
mod migration;
mod races;
mod sharing;
pub mod tables;

use std::sync::Arc;

use jiff::Timestamp;
use keyward::aws::DynamoDb;
use keyward::broker::ports::{Action, ChangeSet, Registry, Shelf, Write};
use keyward::domain::audit::{Event, Outcome};
use keyward::domain::form::Form;
use keyward::embedded::open_registry;
use tempfile::TempDir;

use crate::peers::Peer;
use between::Between;
use tables::{Layout, TABLE};

const START: i64 = 1_800_000_000;

/// A store, and two registries over it, as two brokers would have them.
struct Store {
    one: Arc<dyn Registry>,
    other: Arc<dyn Registry>,
    between: Option<Between>,
    _folder: Option<TempDir>,
}

impl Store {
    async fn sqlite() -> Store {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || open_registry(folder.path());
        let (one, other) = (open().await.expect("opened"), open().await.expect("opened"));
        Store { one, other, between: None, _folder: Some(folder) }
    }

    async fn dynamodb(peer: Peer) -> Store {
        let (one, other, between) = pair(peer).await;
        Store { one: Arc::new(one), other: Arc::new(other), between: Some(between), _folder: None }
    }

    /// Nothing went wrong on the way that the registry did not tell.
    fn close(self) {
        if let Some(between) = self.between {
            assert_eq!(between.complaints(), Vec::<String>::new());
        }
    }
}

/// Two registries over one new table.
pub async fn pair(peer: Peer) -> (DynamoDb, DynamoDb, Between) {
    let between = Between::before(peer).await;
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    let (one, other) = (between.open(TABLE).await.expect("opened"), between.open(TABLE).await.expect("opened"));
    (one, other, between)
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract_of_the_registry() {
    contract::play(Store::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_the_contract_of_the_registry_on_ministack() {
    contract::play(Store::dynamodb(Peer::ministack().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_the_contract_of_the_registry_on_moto() {
    contract::play(Store::dynamodb(Peer::moto().await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_the_contract_of_the_registry_on_dynoxide() {
    contract::play(Store::dynamodb(Peer::dynoxide().await).await).await;
}

#[tokio::test]
async fn a_table_that_is_not_the_one_needed_is_named_with_what_is_wrong() {
    let between = Between::before(Peer::ministack().await).await;
    let missing = between.open("nothing").await.map(|_| ()).expect_err("no table").to_string();
    assert!(missing.contains("registry.table") && missing.contains("no table nothing in eu-central-1"), "{missing}");
    let number = aws_sdk_dynamodb::types::ScalarAttributeType::N;
    for (name, layout, said) in [
        (
            "another-partition-key",
            Layout { partition: "id", ..Layout::default() },
            "it has the partition key id, not pk",
        ),
        ("another-sort-key", Layout { sort: "range", ..Layout::default() }, "it has the sort key range, not sk"),
        ("numbers", Layout { sort_type: number, ..Layout::default() }, "it has a sort key sk that is no text (S)"),
        ("another-index", Layout { index: "overdue", ..Layout::default() }, "it has no index due"),
        (
            "another-order",
            Layout { index_sort: "made", ..Layout::default() },
            "its index due has the sort key made, not due",
        ),
    ] {
        tables::make(&between.sdk(), name, layout).await;
        let error = between.open(name).await.map(|_| ()).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(said) && error.contains("registry.table"), "{error}");
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn write(key: &str, expected: Option<u64>, action: Action) -> Write {
    Write { shelf: Shelf::Tenant, key: key.to_owned(), expected, action }
}

fn put(key: &str, expected: Option<u64>, body: &str) -> Write {
    write(key, expected, Action::Put { body: body.as_bytes().to_vec(), form: Form::FIRST, due_time: None })
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

fn changes(writes: Vec<Write>, events: Vec<Event>) -> ChangeSet {
    ChangeSet { writes, events }
}
