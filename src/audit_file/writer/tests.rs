//! The file as it is found: torn, foreign, renamed, full.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::audit_file::check_file;
use crate::audit_file::line::HandedOut;
use crate::audit_file::tests::clock as runtime_clock;
use crate::domain::audit::{Event, NumberedEvent, Outcome};
use crate::domain::chain::{Break, Noted};

fn event(detail: &str) -> Event {
    Event {
        time: Timestamp::from_second(1_767_225_600).expect("in range"),
        principal: "operator:test".to_owned(),
        method: "test".to_owned(),
        resource: "tenants/acme/clients/orders".to_owned(),
        outcome: Outcome::Succeeded,
        reason: String::new(),
        detail: detail.to_owned(),
        request_id: String::new(),
        call_id: "call".to_owned(),
    }
}

pub fn handed_out(detail: &str) -> Record {
    Record::HandedOut(HandedOut { event: event(detail), scopes: vec!["orders/read".to_owned()], expire_time: None })
}

fn followed(sequence: u64) -> Record {
    Record::Event(NumberedEvent { sequence, previous_digest: None, event: event("an event") })
}

fn writer(path: &Path) -> Writer {
    Writer::open(path, runtime_clock()).expect("opened")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("audit.jsonl");
    (folder, path)
}

fn whole(path: &Path) -> u64 {
    check_file(path, None).expect("read").unwrap_or_else(|broken| panic!("{}", broken.describe("line"))).count
}

#[test]
fn a_file_is_for_its_owner_alone_and_one_process_and_goes_on_where_it_ended() {
    let (_folder, path) = folder();
    let mut first = writer(&path);
    first.append([handed_out("1"), followed(7), handed_out("2")].iter()).expect("written");
    assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    assert!(Writer::open(&path, runtime_clock()).is_err(), "two write one file");
    let end = first.end();
    assert_eq!((end.line, end.last_event), (4, 7), "and a line that it was opened");
    drop(first);

    let mut second = writer(&path);
    assert_eq!(second.end(), end);
    second.append([followed(8)].iter()).expect("written");
    assert_eq!((whole(&path), second.end().last_event), (6, 8));
}

#[test]
fn half_a_line_is_cut_off_whatever_it_is() {
    let (_folder, path) = folder();
    writer(&path).append([followed(1), followed(2)].iter()).expect("written");
    let good = std::fs::read(&path).expect("read");
    let torn: [&[u8]; 5] = [b"{", b"{\"line\":4,\"previous_line\":\"", &[0; 4096], b"\xFF", &[b' '; 300_000]];
    for torn in torn {
        std::fs::write(&path, [&good, torn].concat()).expect("torn");
        if torn.len() < MAX_LINE_BYTES {
            assert_eq!(whole(&path), 3, "a torn line does not count");
        }
        let mut writer = writer(&path);
        assert_eq!((whole(&path), writer.end().last_event), (3, 2));
        writer.append([followed(3)].iter()).expect("written");
        assert_eq!(whole(&path), 5);
        assert!(std::fs::read(&path).expect("read").starts_with(&good));
    }
    // Nothing but half of the first line.
    std::fs::write(&path, &good[..20]).expect("torn");
    let mut writer = writer(&path);
    writer.append([followed(1)].iter()).expect("written");
    assert_eq!(whole(&path), 2);
}

#[test]
fn a_file_of_something_else_is_refused_and_left_as_it_is() {
    let (_folder, path) = folder();
    for content in ["a diary\n".to_owned(), "{\"line\":1}\n".to_owned(), "x".repeat(2_000_000)] {
        std::fs::write(&path, &content).expect("written");
        let error = Writer::open(&path, runtime_clock()).err().expect("refused").to_string();
        assert!(error.contains("not one of Keyward's"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
    }
}

#[test]
fn after_a_rename_the_chain_goes_on_in_a_new_file() {
    let (folder, path) = folder();
    let old = folder.path().join("audit.jsonl.1");
    let mut writer = writer(&path);
    writer.append([followed(1), followed(2)].iter()).expect("written");
    let note = |writer: &Writer| Noted { number: writer.end().line, digest: writer.end().digest.expect("written") };
    let before = note(&writer);
    std::fs::rename(&path, &old).expect("renamed");
    writer.append([handed_out("in the new one")].iter()).expect("written");
    writer.append([followed(3)].iter()).expect("written");
    assert_eq!((whole(&old), whole(&path)), (3, 3));
    // The first line of the new file tells of the last one of the old.
    let walked = check_file(&path, Some(before)).expect("read").expect("whole");
    assert_eq!(walked.range, Some((4, 6)));
    drop(writer);
    assert_eq!(super::Writer::open(&path, runtime_clock()).expect("opened").end().last_event, 3);
    // One after the other, they are one chain.
    let all = [std::fs::read(&old).expect("read"), std::fs::read(&path).expect("read")].concat();
    std::fs::write(&old, all).expect("written");
    assert_eq!(whole(&old), 6);
}

#[test]
fn where_the_file_cannot_be_made_anew_nothing_is_written_until_it_can() {
    let (folder, path) = folder();
    let below = folder.path().join("log");
    std::fs::create_dir(&below).expect("made");
    let path = below.join(path.file_name().expect("a name"));
    let mut writer = writer(&path);
    writer.append([followed(1)].iter()).expect("written");
    let moved = folder.path().join("moved");
    std::fs::rename(&below, &moved).expect("moved");
    assert!(writer.append([followed(2)].iter()).is_err());
    assert!(writer.append([followed(2)].iter()).is_err());
    std::fs::rename(&moved, &below).expect("moved back");
    writer.append([followed(2)].iter()).expect("written");
    assert_eq!(whole(&path), 4);
}

#[test]
fn a_disk_without_room_is_an_error_and_no_line_is_lost_or_there_twice_afterwards() {
    let (folder, path) = folder();
    let (good, device) = (folder.path().join("good"), Path::new("/dev/full"));
    symlink(&good, &path).expect("linked");
    let mut writer = writer(&path);
    writer.append([followed(1)].iter()).expect("written");
    std::fs::remove_file(&path).expect("removed");
    symlink(device, &path).expect("linked");
    for _ in 0..3 {
        let error = writer.append([followed(2)].iter()).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }
    std::fs::remove_file(&path).expect("removed");
    symlink(&good, &path).expect("linked");
    writer.append([followed(2)].iter()).expect("written");
    assert_eq!((whole(&path), writer.end().last_event), (4, 2));
}

#[test]
fn what_was_written_after_a_failure_or_by_others_does_not_break_it_silently() {
    let (_folder, path) = folder();
    let mut writer = writer(&path);
    writer.append([followed(1)].iter()).expect("written");
    // As a write that failed half way leaves it.
    writer.opened.as_mut().expect("open").is_torn = true;
    std::fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"{\"li")).expect("torn");
    writer.append([followed(2)].iter()).expect("written");
    assert_eq!(whole(&path), 3);
    // Somebody else's line stays, for the check to find.
    std::fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"{}\n")).expect("added");
    writer.append([followed(3)].iter()).expect("written");
    assert_eq!(check_file(&path, None).expect("read"), Err(Break::Unreadable { number: 4 }));
}

#[test]
fn every_change_of_a_file_is_found_out() {
    let (_folder, path) = folder();
    let records: Vec<Record> = (1..=6).flat_map(|n| [followed(n), handed_out(&format!("{n}"))]).collect();
    let mut writer = writer(&path);
    writer.append(records.iter()).expect("written");
    let end = Noted { number: writer.end().line, digest: writer.end().digest.expect("written") };
    let text = std::fs::read_to_string(&path).expect("read");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 13);
    let tampered = |lines: &[String], noted: Option<Noted>| {
        std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("written");
        check_file(&path, noted).expect("read")
    };
    let own = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(tampered(&own(), Some(end)).is_ok());

    let mut fields = std::collections::BTreeSet::new();
    for at in 0..lines.len() {
        let number = at as u64 + 1;
        let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(lines[at]).expect("JSON");
        for (field, value) in &json {
            fields.insert(field.clone());
            let old = format!("\"{field}\":{value}");
            let new = match value {
                serde_json::Value::Number(number) => format!("\"{field}\":{}", number.as_u64().expect("a number") + 1),
                _ => format!(
                    "\"{field}\":{}",
                    value.to_string().replacen(['o', 'e', 'c', 'a', 'S', '0', '1', '2', '3', '4', '5', '6'], "7", 1)
                ),
            };
            let mut changed = own();
            changed[at] = changed[at].replacen(&old, &new, 1);
            if changed[at] == lines[at] {
                assert_eq!((field.as_str(), value.as_str()), ("previous_line", Some("")), "{}", lines[at]);
                continue;
            }
            assert!(tampered(&changed, Some(end)).is_err(), "{field} of line {number}");
            // Without a note, the last line has nobody to vouch for it.
            assert_eq!(
                tampered(&changed, None).is_ok(),
                number == 13 && !["line", "previous_line"].contains(&&**field)
            );
        }
        let mut removed = own();
        removed.remove(at);
        let found = tampered(&removed, Some(end));
        match at {
            0 => assert!(found.is_ok(), "the lines before the first may be in an older file"),
            12 => assert_eq!(found, Err(Break::Missing { first: 13, last: 13 })),
            _ => assert_eq!(found, Err(Break::Missing { first: number, last: number })),
        }
        let mut added = own();
        added.insert(at, lines[at].to_owned());
        assert_eq!(tampered(&added, None), Err(Break::Twice { number }));
        if at + 1 < lines.len() && at > 0 {
            let mut swapped = own();
            swapped.swap(at, at + 1);
            assert_eq!(tampered(&swapped, None), Err(Break::Moved { number }));
        }
    }
    assert!(fields.len() >= 12, "{fields:?}");
}
