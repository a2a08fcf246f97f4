//! `keyward audit verify`: on the log of a broker that runs, on one that was tampered with, on the audit file.

use std::path::{Path, PathBuf};

use keyward::proto::Isolation;
use rusqlite::Connection;

use super::{Ran, configure, run, serve};
use crate::harness::{Binary, create_tenant, folder, last_event, put_orders_api};

fn verify(arguments: &[&str]) -> Ran {
    run(Binary::command().args(["audit", "verify"]).args(arguments))
}

/// The line that is to be noted.
fn head(ran: &Ran) -> String {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    ran.out.lines().last().expect("a line").to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A broker that wrote some events, and is still running.
async fn broker(folder: &Path) -> (Binary, PathBuf) {
    let audit = folder.join("audit.jsonl");
    let config = configure(folder, &format!("audit.file = {audit:?}\n"));
    let broker = Binary::start(&mut serve(&config));
    let channel = broker.channel().await;
    put_orders_api(&channel).await;
    for id in ["acme", "globex", "initech"] {
        create_tenant(&channel, id, Isolation::AppClient).await;
    }
    (broker, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_log_is_told_with_its_head_while_the_broker_runs_and_after() {
    let (_folder, path) = folder();
    let (broker, config) = broker(&path).await;
    let last = last_event(&broker.channel().await).await;
    let ran = verify(&["--config", text(&config)]);
    let noted = head(&ran);
    assert_eq!(ran.out.lines().next(), Some(&*format!("ok: {last} events, 1 to {last}")), "{}", ran.out);
    assert!(noted.starts_with(&format!("{last}:")) && noted.len() == format!("{last}:").len() + 64, "{noted}");
    // What was noted still holds when the log has grown.
    create_tenant(&broker.channel().await, "later", Isolation::AppClient).await;
    let grown = verify(&["--data", text(&path.join("data")), "--expect", &noted]);
    assert_ne!(head(&grown), noted);
    broker.signal("TERM");
    assert!(broker.wait().0.success());
    head(&verify(&["--config", text(&config), "--expect", &noted]));

    let wrong = noted.replacen(':', ":0", 1);
    assert_eq!(verify(&["--config", text(&config), "--expect", &wrong[..wrong.len() - 1]]).code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_tampered_with_is_told_with_the_place() {
    let (_folder, path) = folder();
    let (broker, config) = broker(&path).await;
    broker.kill();
    let noted = head(&verify(&["--config", text(&config)]));
    let data = path.join("data/keyward.db");
    let original = path.join("original.db");
    let database = Connection::open(&data).expect("opens");
    database.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())).expect("checkpoint");
    drop(database);
    std::fs::copy(&data, &original).expect("copied");
    let cases = [
        (
            "UPDATE events SET body = replace(body, 'operator:dev', 'operator:eve') WHERE sequence = 2",
            "event 2 was changed",
        ),
        ("DELETE FROM events WHERE sequence = 3", "event 3 is missing"),
        (
            "UPDATE events SET sequence = 99 WHERE sequence = 2; UPDATE events SET sequence = 2 WHERE sequence = 3; UPDATE \
             events SET sequence = 3 WHERE sequence = 99",
            "event 2 is out of order",
        ),
    ];
    for (change, said) in cases {
        std::fs::copy(&original, &data).expect("restored");
        let database = Connection::open(&data).expect("opens");
        database
            .execute_batch(
                &change
                    .replace("replace(body", "CAST(replace(CAST(body AS TEXT)")
                    .replace("'operator:eve')", "'operator:eve') AS BLOB)"),
            )
            .expect(change);
        drop(database);
        let ran = verify(&["--config", text(&config)]);
        assert_eq!(ran.code, 1, "{change}: {}{}", ran.out, ran.err);
        assert!(ran.out.starts_with("broken: ") && ran.out.contains(said), "{change}: {}", ran.out);
    }

    // Somebody who rewrites the whole log makes a whole chain. Only the note tells.
    std::fs::remove_file(&data).expect("removed");
    let (broker, _) = self::broker(&path).await;
    broker.kill();
    head(&verify(&["--config", text(&config)]));
    let ran = verify(&["--config", text(&config), "--expect", &noted]);
    assert!(ran.code == 1 && ran.out.contains("not the one that was noted"), "{}{}", ran.out, ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_file_is_checked_in_the_same_way() {
    let (_folder, path) = folder();
    let (broker, _) = broker(&path).await;
    broker.signal("TERM");
    assert!(broker.wait().0.success());
    let file = path.join("audit.jsonl");
    let noted = head(&verify(&["--file", text(&file)]));
    head(&verify(&["--file", text(&file), "--expect", &noted]));
    let whole = std::fs::read_to_string(&file).expect("read");
    let mut lines: Vec<_> = whole.lines().collect();
    assert!(lines.len() > 4);
    std::fs::write(&file, whole.replacen("operator:dev", "operator:eve", 1)).expect("changed");
    let ran = verify(&["--file", text(&file)]);
    assert!(ran.code == 1 && ran.out.contains("broken: line 2 was changed"), "{}", ran.out);
    lines.remove(2);
    std::fs::write(&file, lines.join("\n") + "\n").expect("changed");
    let ran = verify(&["--file", text(&file)]);
    assert!(ran.code == 1 && ran.out.contains("broken: line 3 is missing"), "{}", ran.out);
}

#[test]
fn what_cannot_be_verified_is_named() {
    let (_folder, path) = folder();
    let nowhere = path.join("nowhere");
    for (arguments, code) in [
        (vec![], 2),
        (vec!["--data", text(&path), "--file", text(&path)], 2),
        (vec!["--data", text(&path), "--expect", "17"], 2),
        (vec!["--data", text(&path)], 1),
        (vec!["--file", text(&nowhere)], 1),
        (vec!["--config", text(&nowhere)], 2),
    ] {
        let ran = verify(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.is_empty() && !path.join("keyward.db").exists(), "{arguments:?}");
    }
}
