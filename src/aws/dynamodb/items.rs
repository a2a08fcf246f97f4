//! What the table's items look like, and how they are read back.
//!
//! | `pk` | `sk` | further attributes |
//! | --- | --- | --- |
//! | `r#<shelf>` | a record's key | `version` N, `form` N, `body` B; with a due time `due` S and `due_shelf` S, the keys of the index `due` |
//! | `event` | number, 20 digits | `form` N, `body` B; `previous` B, the digest of the event before, where it has one; `time` S |
//! | `change` | number, 20 digits | `touched` L of S, a shelf's name, a space and a key; `last_event` N; `token` S; `ttl` N |
//! | `head` | `head` | `change` N and `event` N, the last numbers; `digest` B of the last event; `chain_start` N; `deleted_version` N; `form` N, the newest of any record or event ever written |
//! | `member` | a broker's id | `expire_time` S; `read_time` S, where it has read the members; `reads` N, the newest form that it reads; `ttl` N |
//! | `migration` | `migration` | there while records are being brought in, see [`importing`](super::importing) |
//! | `token#…` | a digest | no record: see [`tokens`](super::tokens) |
//! | `token-key` | table and KMS key | no record: see [`data_key`](super::data_key) |
//!
//! DynamoDB orders sort keys by their UTF-8 bytes; numbers are padded so that theirs is the order of counting, times have a
//! fixed width. An item that does not read back is [`Unreadable`], not skipped.
//!
//! Brokers of another release read and write the same items: see [`form`](crate::domain::form). A `form` or `reads` that is
//! absent is 1. Never rename an attribute. The head is written anew by everybody, so it must never get another one: what
//! else there is to say of the table goes into another item. Members and lines of the feed may get more, since nobody
//! rewrites another broker's; a line has a `form` once its meaning changes, and who does not read that forgets everything.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use crate::broker::ports::{LoggedChange, Shelf, StoredRecord};
use crate::domain::audit::{Event, Head, NumberedEvent};
use crate::domain::chain::Digest;
use crate::domain::form::Form;
use crate::domain::id::BrokerId;
use crate::domain::share::Member;

pub type Item = HashMap<String, AttributeValue>;

pub const PK: &str = "pk";
pub const SK: &str = "sk";
pub const DUE: &str = "due";
pub const DUE_SHELF: &str = "due_shelf";
/// The index's own name.
pub const DUE_INDEX: &str = "due";
pub const VERSION: &str = "version";
pub const CHANGE: &str = "change";
pub const FORM: &str = "form";
const DELETED_VERSION: &str = "deleted_version";
pub const EXPIRE_TIME: &str = "expire_time";
const READS: &str = "reads";
/// By this attribute DynamoDB lets lines of the change feed, members and shared tokens expire.
pub const TTL: &str = "ttl";

pub const EVENTS: &str = "event";
pub const CHANGES: &str = "change";
pub const HEAD: &str = "head";
pub const MIGRATION: &str = "migration";
pub const MEMBERS: &str = "member";

/// An item that is none of ours. Says what, not what it holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

/// The head of the table: where the log and the change feed end. Every transaction that writes anything writes it, so
/// that the number of the last change is also its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableHead {
    /// 0 in a new table, which has no such item.
    pub change: u64,
    pub log: Head,
    /// The first event that the chain protects.
    pub chain_start: u64,
    /// The highest version of a record that was ever deleted.
    pub deleted_version: u64,
    /// The newest form in which anything was ever written.
    pub form: Form,
}

impl Default for TableHead {
    fn default() -> Self {
        let log = Head { sequence: 0, digest: None };
        TableHead { change: 0, log, chain_start: 1, deleted_version: 0, form: Form::FIRST }
    }
}

pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn form(form: Form) -> AttributeValue {
    number(form.number().into())
}

fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub fn padded(number: u64) -> String {
    format!("{number:020}")
}

/// Text whose order is that of time from the year 0 on. Loses nothing.
pub fn text_of(time: Timestamp) -> String {
    format!("{time:.9}")
}

pub fn shelf_key(shelf: Shelf) -> String {
    format!("r#{}", shelf.name())
}

pub fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    HashMap::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))])
}

fn item<const N: usize>(mut key: Item, attributes: [(&str, AttributeValue); N]) -> Item {
    key.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
    key
}

pub fn record_key(shelf: Shelf, key: &str) -> Item {
    self::key(shelf_key(shelf), key)
}

pub fn record_item(shelf: Shelf, record: &StoredRecord) -> Item {
    let attributes = [(VERSION, number(record.version)), (FORM, form(record.form)), ("body", bytes(&record.body))];
    let mut item = item(record_key(shelf, &record.key), attributes);
    if let Some(time) = record.due_time {
        item.insert(DUE.to_owned(), text(text_of(time)));
        item.insert(DUE_SHELF.to_owned(), text(shelf.name()));
    }
    item
}

pub fn record_of(item: &Item) -> Result<StoredRecord, Unreadable> {
    const WHAT: Unreadable = Unreadable("record");
    let due_time = match item.get(DUE) {
        Some(_) => Some(time_at(item, DUE).ok_or(WHAT)?),
        None => None,
    };
    Ok(StoredRecord {
        key: text_at(item, SK).ok_or(WHAT)?.to_owned(),
        version: number_at(item, VERSION).ok_or(WHAT)?,
        body: bytes_at(item, "body").ok_or(WHAT)?.to_vec(),
        form: form_at(item, FORM).ok_or(WHAT)?,
        due_time,
    })
}

pub fn event_item(numbered: &NumberedEvent) -> Result<Item, Unreadable> {
    let body = serde_json::to_vec(&numbered.event).map_err(|_| Unreadable("event"))?;
    let Event { time, .. } = numbered.event;
    let attributes = [(FORM, form(numbered.event.form())), ("body", bytes(&body)), ("time", text(text_of(time)))];
    let mut item = item(key(EVENTS, padded(numbered.sequence)), attributes);
    if let Some(previous) = &numbered.previous_digest {
        item.insert("previous".to_owned(), bytes(previous.as_bytes()));
    }
    Ok(item)
}

pub fn event_of(item: &Item) -> Result<NumberedEvent, Unreadable> {
    const WHAT: Unreadable = Unreadable("event");
    Ok(NumberedEvent {
        sequence: number_of_key(item).ok_or(WHAT)?,
        previous_digest: digest_at(item, "previous").ok_or(WHAT)?,
        event: serde_json::from_slice(bytes_at(item, "body").ok_or(WHAT)?).map_err(|_| WHAT)?,
    })
}

/// `token` is that of the transaction, by which whoever lost its answer knows it again; `expiry` is in seconds since 1970.
pub fn change_item(change: &LoggedChange, token: &str, expiry: i64) -> Item {
    let touched = change.touched.iter().map(|(shelf, key)| text(format!("{} {key}", shelf.name()))).collect();
    item(
        key(CHANGES, padded(change.number)),
        [
            ("touched", AttributeValue::L(touched)),
            ("last_event", number(change.last_event)),
            ("token", text(token)),
            (TTL, AttributeValue::N(expiry.to_string())),
        ],
    )
}

/// A shelf that this Keyward does not know is passed over: it holds nothing of it in memory.
pub fn change_of(item: &Item) -> Result<LoggedChange, Unreadable> {
    const WHAT: Unreadable = Unreadable("change");
    let touched = item.get("touched").and_then(|list| list.as_l().ok()).ok_or(WHAT)?;
    let place = |value: &AttributeValue| {
        let (shelf, key) = value.as_s().ok()?.split_once(' ')?;
        Some((Shelf::named(shelf), key.to_owned()))
    };
    let touched: Vec<_> = touched.iter().map(place).collect::<Option<_>>().ok_or(WHAT)?;
    Ok(LoggedChange {
        number: number_of_key(item).ok_or(WHAT)?,
        touched: touched.into_iter().filter_map(|(shelf, key)| Some((shelf?, key))).collect(),
        last_event: number_at(item, "last_event").ok_or(WHAT)?,
    })
}

pub fn head_item(head: &TableHead) -> Item {
    let attributes = [
        (CHANGE, number(head.change)),
        ("event", number(head.log.sequence)),
        ("chain_start", number(head.chain_start)),
        (DELETED_VERSION, number(head.deleted_version)),
        (FORM, form(head.form)),
    ];
    let mut item = item(key(HEAD, HEAD), attributes);
    if let Some(digest) = &head.log.digest {
        item.insert("digest".to_owned(), bytes(digest.as_bytes()));
    }
    item
}

pub fn head_of(item: &Item) -> Result<TableHead, Unreadable> {
    const WHAT: Unreadable = Unreadable("head");
    let log = Head { sequence: number_at(item, "event").ok_or(WHAT)?, digest: digest_at(item, "digest").ok_or(WHAT)? };
    let change = number_at(item, CHANGE).ok_or(WHAT)?;
    let deleted_version = match item.get(DELETED_VERSION) {
        Some(_) => number_at(item, DELETED_VERSION).ok_or(WHAT)?,
        // Of a Keyward that did not keep it. Each change has raised a version by one at the most.
        None => change,
    };
    let (chain_start, form) = (number_at(item, "chain_start").ok_or(WHAT)?, form_at(item, FORM).ok_or(WHAT)?);
    Ok(TableHead { change, log, chain_start, deleted_version, form })
}

/// `ttl` is in seconds since 1970.
pub fn member_item(member: &Member, ttl: i64) -> Item {
    let attributes = [
        (EXPIRE_TIME, text(text_of(member.expire_time))),
        (READS, form(member.reads)),
        (TTL, AttributeValue::N(ttl.to_string())),
    ];
    let mut item = item(key(MEMBERS, member.broker.as_str()), attributes);
    if let Some(time) = member.read_time {
        item.insert("read_time".to_owned(), text(text_of(time)));
    }
    item
}

pub fn member_of(item: &Item) -> Result<Member, Unreadable> {
    const WHAT: Unreadable = Unreadable("member");
    let read_time = match item.get("read_time") {
        Some(_) => Some(time_at(item, "read_time").ok_or(WHAT)?),
        None => None,
    };
    Ok(Member {
        broker: BrokerId::parse("broker", text_at(item, SK).ok_or(WHAT)?).map_err(|_| WHAT)?,
        expire_time: time_at(item, EXPIRE_TIME).ok_or(WHAT)?,
        read_time,
        reads: form_at(item, READS).ok_or(WHAT)?,
    })
}

pub fn text_at<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub fn time_at(item: &Item, name: &str) -> Option<Timestamp> {
    text_at(item, name)?.parse().ok()
}

pub fn number_at(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// The first form where none is said; `None` for one that is said and is none.
pub fn form_at(item: &Item, name: &str) -> Option<Form> {
    match item.get(name) {
        Some(_) => Form::new(number_at(item, name)?),
        None => Some(Form::FIRST),
    }
}

fn number_of_key(item: &Item) -> Option<u64> {
    text_at(item, SK)?.parse().ok()
}

pub fn bytes_at<'a>(item: &'a Item, name: &str) -> Option<&'a [u8]> {
    item.get(name)?.as_b().ok().map(AsRef::as_ref)
}

/// `None` for one that is there and is none.
fn digest_at(item: &Item, name: &str) -> Option<Option<Digest>> {
    match item.get(name) {
        Some(value) => Digest::from_bytes(value.as_b().ok()?.as_ref()).map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Event, Outcome};

    fn event() -> Event {
        Event {
            time: Timestamp::new(1_767_225_600, 5).expect("in range"),
            principal: "operator:dev".to_owned(),
            method: "test".to_owned(),
            resource: "tenants/acme".to_owned(),
            outcome: Outcome::Succeeded,
            reason: String::new(),
            detail: "\u{e9}".to_owned(),
            request_id: String::new(),
            call_id: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let due_time = Some(Timestamp::new(1_767_225_600, 7).expect("in range"));
        for due_time in [None, due_time] {
            let form = Form::new(3).expect("a form");
            let record = StoredRecord { key: "a b/c".to_owned(), version: 7, body: b"{}".to_vec(), form, due_time };
            let item = record_item(Shelf::Owner, &record);
            assert_eq!(item[PK], text("r#owner"));
            assert_eq!(record_of(&item), Ok(record));
        }
        let form = Form::new(3).expect("a form");
        let mut head = TableHead { change: 9, chain_start: 3, deleted_version: 4, form, ..TableHead::default() };
        assert_eq!(head_of(&head_item(&head)), Ok(head.clone()));
        let mut older = head_item(&head);
        older.remove(DELETED_VERSION);
        assert_eq!(head_of(&older), Ok(TableHead { deleted_version: 9, ..head.clone() }), "none was above that");
        for _ in 0..2 {
            let numbered = head.log.append(event());
            let item = event_item(&numbered).expect("written");
            assert_eq!(item[SK], text(format!("0000000000000000000{}", numbered.sequence)));
            assert_eq!(event_of(&item), Ok(numbered));
            assert_eq!(head_of(&head_item(&head)), Ok(head.clone()));
        }
        for read_time in [None, due_time] {
            let broker = BrokerId::parse("broker", &"0a".repeat(16)).expect("valid");
            let member = Member { broker, expire_time: Timestamp::UNIX_EPOCH, read_time, reads: form };
            let mut item = member_item(&member, 7);
            assert_eq!((&item[PK], &item[TTL]), (&text(MEMBERS), &AttributeValue::N("7".to_owned())));
            assert_eq!(member_of(&item), Ok(member));
            item.insert("read_time".to_owned(), text("soon"));
            assert_eq!(member_of(&item), Err(Unreadable("member")));
        }
        let touched = vec![(Shelf::Owner, "a b c".to_owned()), (Shelf::RevokedToken, "j".to_owned())];
        let change = LoggedChange { number: 12, touched, last_event: 5 };
        let mut item = change_item(&change, "t", 1_767_225_600);
        assert_eq!(change_of(&item), Ok(change));
        let newer = AttributeValue::L(vec![text("shelf-of-tomorrow x"), text("tenant acme")]);
        item.insert("touched".to_owned(), newer);
        let read = change_of(&item).expect("read");
        assert_eq!(read.touched, [(Shelf::Tenant, "acme".to_owned())]);
    }

    #[test]
    fn an_item_that_lacks_anything_is_not_read_as_another() {
        let due_time = Some(Timestamp::UNIX_EPOCH);
        let form = Form::FIRST;
        let record = StoredRecord { key: "k".to_owned(), version: 1, body: Vec::new(), form, due_time };
        for name in [SK, VERSION, FORM, "body", DUE] {
            let mut item = record_item(Shelf::Tenant, &record);
            item.insert(name.to_owned(), AttributeValue::Bool(true));
            assert_eq!(record_of(&item), Err(Unreadable("record")), "{name}");
        }
        let mut head = TableHead::default();
        head.log.append(event());
        for name in [CHANGE, "event", "chain_start", "digest", DELETED_VERSION, FORM] {
            let mut item = head_item(&head);
            item.insert(name.to_owned(), AttributeValue::B(Blob::new("short")));
            assert_eq!(head_of(&item), Err(Unreadable("head")), "{name}");
        }
    }
}
