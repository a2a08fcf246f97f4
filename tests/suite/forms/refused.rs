//! Starts that are refused: on a registry that has something of a form that is not read, and beside a broker that could not
//! read what would be written.

use keyward::broker::ports::{Action, ChangeSet, Fault, Registry, Shelf, StoredRecord, Write};
use keyward::domain::audit::{Call, Head, Principal};
use keyward::domain::form::Form;
use keyward::embedded::{check_audit_log, open_registry};

use super::next::unread;
use crate::harness::{folder, start_time};
use crate::peers::Peer;
use crate::registry::between::Between;
use crate::registry::pair;
use crate::registry::tables::{self, Layout, TABLE};

const SAID: &str = "has records of the form 3, which a newer Keyward has written; this one reads forms up to 2";

/// A record that was there for a moment only: somebody has begun to write the form.
async fn write_newer(registry: &dyn Registry) {
    let write = |expected, action| {
        let write = Write { shelf: Shelf::Tenant, key: "acme".to_owned(), expected, action };
        ChangeSet { writes: vec![write], events: Vec::new() }
    };
    let put = |form| Action::Put { body: b"{}".to_vec(), form, due_time: None };
    registry.commit(write(None, put(unread()))).await.expect("committed");
    let kept = registry.get(Shelf::Tenant, "acme").await.expect("read").expect("there");
    assert_eq!((kept.form, kept.version), (unread(), 1));
    registry.commit(write(Some(1), put(Form::FIRST))).await.expect("committed");
    let kept = registry.get(Shelf::Tenant, "acme").await.expect("read").expect("there");
    assert_eq!((kept.form, kept.version), (Form::FIRST, 2));
    registry.commit(write(Some(2), Action::Delete)).await.expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_newer_forms_is_not_opened() {
    let (one, other, between) = pair(Peer::ministack().await).await;
    write_newer(&one).await;
    // One that runs does not make it forgotten.
    write_newer_than_nothing(&other).await;
    let refused = between.open(TABLE).await.map(drop).expect_err("refused").to_string();
    assert!(refused.contains("registry.table: the table keyward") && refused.contains(SAID), "{refused}");
}

async fn write_newer_than_nothing(registry: &dyn Registry) {
    let action = Action::Put { body: b"{}".to_vec(), form: Form::FIRST, due_time: None };
    let write = Write { shelf: Shelf::Tenant, key: "globex".to_owned(), expected: None, action };
    registry.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_with_newer_forms_is_not_opened_nor_checked() {
    let (_folder, path) = folder();
    let registry = open_registry(&path).await.expect("opened");
    drop(open_registry(&path).await.expect("and once more"));
    write_newer(&*registry).await;
    write_newer_than_nothing(&*registry).await;
    for refused in [
        open_registry(&path).await.map(drop).expect_err("refused").to_string(),
        check_audit_log(&path, None).map(drop).expect_err("refused").to_string(),
    ] {
        assert!(refused.contains("keyward.db") && refused.contains(SAID), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_into_a_table_keeps_its_form_and_the_table_tells() {
    let between = Between::before(Peer::ministack().await).await;
    tables::make(&between.sdk(), TABLE, Layout::default()).await;
    let target = between.aws().await.open_for_import(TABLE).await.expect("opened");
    let record =
        |key: &str, form| StoredRecord { key: key.to_owned(), version: 3, body: b"{}".to_vec(), form, due_time: None };
    let records = [record("a", Form::FIRST), record("b", unread())];
    target.begin(start_time()).await.expect("begun");
    target.bring(Shelf::Tenant, &records).await.expect("brought");
    target.finish(Head { sequence: 0, digest: None }, 1, 0, unread()).await.expect("finished");
    assert_eq!(target.records(Shelf::Tenant, None, 9).await.expect("read"), records);
    let refused = between.open(TABLE).await.map(drop).expect_err("refused").to_string();
    assert!(refused.contains(SAID), "{refused}");
}

#[tokio::test]
async fn an_event_in_a_newer_form_in_a_data_file_is_told() {
    let (_folder, path) = folder();
    let registry = open_registry(&path).await.expect("opened");
    let call = Call { principal: Principal::Keyward, method: "test".into(), call_id: "1".into(), request: None };
    let events = vec![call.event(start_time(), "a"), call.event(start_time(), "b")];
    registry.commit(ChangeSet { writes: Vec::new(), events }).await.expect("committed");
    let file = rusqlite::Connection::open(path.join("keyward.db")).expect("opened");
    file.execute("UPDATE events SET form = 3 WHERE sequence = 2", []).expect("changed");
    assert_eq!(registry.events(0, 1).await.expect("read").len(), 1);
    let refused = registry.events(0, 2).await.expect_err("not read");
    assert!(refused.is(Fault::NewerForm(unread())), "{refused}");
}
