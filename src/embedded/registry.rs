//! The broker's records and the audit trail in SQLite.
//!
//! A change set is one IMMEDIATE transaction: every expectation is checked and every write and event made, or none.
//! Nothing here knows what a record says, or reads less for
//! its form. Fails with Conflict when an expectation does not hold, Refused when a change
//! set is too large or names a record twice (as DynamoDB's transactions do).

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::store::{Asking, Failure, Store, limit_of, text_of, time_of};
use crate::broker::ports::{Action, ChangeSet, Fault, Peer, PortResult, Registry, Shelf, StoredRecord, Write};
use crate::domain::audit::{Event, Head, NumberedEvent};
use crate::domain::chain::Digest;
use crate::domain::form::Form;

pub(super) struct SqliteRegistry {
    store: Arc<Store>,
}

impl SqliteRegistry {
    pub fn new(store: Arc<Store>) -> Self {
        SqliteRegistry { store }
    }
}

const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::Registry, doing }
}

#[async_trait]
impl Registry for SqliteRegistry {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        let key = key.to_owned();
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT key, version, body, form, due FROM records WHERE shelf = ?1 AND key = ?2";
            one(tx.prepare_cached(sql)?.query_row(params![shelf.name(), key], parts).optional()?)
        };
        self.store.read(asking("read a record"), query).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        let (first, end) = (prefix.to_owned(), successor(prefix));
        let after = after.map(str::to_owned);
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT key, version, body, form, due FROM records
                       WHERE shelf = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) AND (?4 IS NULL OR key > ?4)
                       ORDER BY key LIMIT ?5";
            let mut statement = tx.prepare_cached(sql)?;
            // The lower bound is one value, so that a page far into the shelf starts there.
            let start = after.as_deref().filter(|after| *after > first.as_str()).unwrap_or(&first);
            let rows = statement.query_map(params![shelf.name(), start, end, after, limit_of(limit)], parts)?;
            rows.map(|row| record(row?)).collect()
        };
        self.store.read(asking("list records"), query).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT key, version, body, form, due FROM records WHERE shelf = ?1 AND due IS NOT NULL
                       ORDER BY due, key LIMIT ?2";
            let mut statement = tx.prepare_cached(sql)?;
            let rows = statement.query_map(params![shelf.name(), limit_of(limit)], parts)?;
            rows.map(|row| record(row?)).collect()
        };
        self.store.read(asking("list due records"), query).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        let asking = asking("change records");
        changes.check().map_err(|detail| asking.error(Fault::Refused, detail))?;
        let change = move |tx: &Transaction<'_>| {
            for write in &changes.writes {
                apply(tx, write)?;
            }
            let form = changes.newest_form();
            if form > Form::FIRST {
                tx.prepare_cached("UPDATE last_event SET form = max(form, ?1)")?.execute([form.number()])?;
            }
            append(tx, &changes.events)
        };
        self.store.write(asking, change).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT sequence, previous_digest, body, form FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
            let mut statement = tx.prepare_cached(sql)?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![after, limit_of(limit)], stored_event)?;
            rows.map(|row| event_of(row?)).collect()
        };
        self.store.read(asking("read events"), query).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        let query = |tx: &Transaction<'_>| Ok(head(tx)?.sequence);
        self.store.read(asking("read the last event's number"), query).await
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        let before = text_of(before);
        let change = move |tx: &Transaction<'_>| {
            // Only from the front, and up to the first that stays: a clock that once went back must not tear a gap.
            let sql = "DELETE FROM events WHERE sequence IN (SELECT sequence FROM events ORDER BY sequence LIMIT ?2)
                       AND sequence < coalesce(
                           (SELECT sequence FROM events WHERE time >= ?1 ORDER BY sequence LIMIT 1),
                           9223372036854775807)";
            Ok(tx.prepare_cached(sql)?.execute(params![before, limit_of(limit)])?)
        };
        self.store.write(asking("prune events"), change).await
    }
}

fn apply(tx: &Transaction<'_>, write: &Write) -> Result<(), Failure> {
    let place = params![write.shelf.name(), write.key];
    let sql = "SELECT version FROM records WHERE shelf = ?1 AND key = ?2";
    let found: Option<u64> = tx.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
    if found != write.expected {
        let say = |version: Option<u64>| version.map_or("none".to_owned(), |version| format!("version {version}"));
        let (expected, found) = (say(write.expected), say(found));
        let detail = format!("{} {}: expected {expected}, found {found}", write.shelf.name(), write.key);
        return Err(Failure::told(Fault::Conflict, detail));
    }
    match &write.action {
        Action::Check => {}
        Action::Put { body, form, due_time } => {
            let sql = "INSERT INTO records (shelf, key, version, body, form, due)
                       VALUES (?1, ?2, (SELECT deleted_version + 1 FROM last_event), ?3, ?4, ?5)
                       ON CONFLICT DO UPDATE SET version = version + 1, body = excluded.body, form = excluded.form,
                                                 due = excluded.due";
            let (form, due) = (form.number(), due_time.map(text_of));
            tx.prepare_cached(sql)?.execute(params![write.shelf.name(), write.key, body, form, due])?;
        }
        Action::Delete => {
            tx.prepare_cached("DELETE FROM records WHERE shelf = ?1 AND key = ?2")?.execute(place)?;
            let sql = "UPDATE last_event SET deleted_version = max(deleted_version, ?1)";
            tx.prepare_cached(sql)?.execute(params![found.unwrap_or(0)])?;
        }
    }
    Ok(())
}

fn append(tx: &Transaction<'_>, events: &[Event]) -> Result<u64, Failure> {
    let mut head = head(tx)?;
    for event in events {
        let numbered = head.append(event.clone());
        let body = serde_json::to_vec(event)
            .map_err(|_| Failure::told(Fault::Broken, "an event cannot be written as JSON"))?;
        let previous = numbered.previous_digest.as_ref().map(Digest::as_bytes);
        let sql = "INSERT INTO events (sequence, time, previous_digest, body, form) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (time, form) = (text_of(event.time), event.form().number());
        tx.prepare_cached(sql)?.execute(params![numbered.sequence, time, previous, body, form])?;
    }
    if !events.is_empty() {
        let digest = head.digest.as_ref().map(Digest::as_bytes);
        tx.prepare_cached("UPDATE last_event SET sequence = ?1, digest = ?2")?
            .execute(params![head.sequence, digest])?;
    }
    Ok(head.sequence)
}

/// The last event ever appended, whether or not it is still there.
pub(super) fn head(connection: &rusqlite::Connection) -> Result<Head, Failure> {
    let mut statement = connection.prepare_cached("SELECT sequence, digest FROM last_event")?;
    let (sequence, digest) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Head { sequence, digest: digest_of(digest)? })
}

/// An event's number, the digest of the event before, its body, and the form of that.
pub(super) type StoredEvent = (u64, Option<Vec<u8>>, Vec<u8>, u64);

pub(super) fn stored_event(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

pub(super) fn event_of((sequence, previous, body, form): StoredEvent) -> Result<NumberedEvent, Failure> {
    let form = form_of(form)?;
    if !form.is_read() {
        return Err(Failure::told(Fault::NewerForm(form), format!("event {sequence} is in the form {form}")));
    }
    let event = serde_json::from_slice(&body).map_err(|_| Failure::broken("event"))?;
    Ok(NumberedEvent { sequence, previous_digest: digest_of(previous)?, event })
}

fn digest_of(stored: Option<Vec<u8>>) -> Result<Option<Digest>, Failure> {
    let read = |bytes: Vec<u8>| Digest::from_bytes(&bytes).ok_or_else(|| Failure::broken("digest"));
    stored.map(read).transpose()
}

fn form_of(number: u64) -> Result<Form, Failure> {
    Form::new(number).ok_or_else(|| Failure::broken("form"))
}

type Parts = (String, u64, Vec<u8>, u64, Option<String>);

fn parts(row: &Row<'_>) -> rusqlite::Result<Parts> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn record((key, version, body, form, due): Parts) -> Result<StoredRecord, Failure> {
    let due_time = due.as_deref().map(time_of).transpose()?;
    Ok(StoredRecord { key, version, body, form: form_of(form)?, due_time })
}

fn one(parts: Option<Parts>) -> Result<Option<StoredRecord>, Failure> {
    parts.map(record).transpose()
}

/// The first key, in byte order, after all that start with `prefix`; `None` when nothing comes after them. SQLite
/// compares text as UTF-8 bytes, whose order is that of the characters.
pub(super) fn successor(prefix: &str) -> Option<String> {
    let mut rest = prefix.to_owned();
    while let Some(last) = rest.pop() {
        let next = match u32::from(last) + 1 {
            // The surrogates are no characters.
            0xD800 => Some('\u{E000}'),
            code => char::from_u32(code),
        };
        if let Some(next) = next {
            rest.push(next);
            return Some(rest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_ends_a_prefix() {
        assert_eq!(successor("ab"), Some("ac".to_owned()));
        assert_eq!(successor("a/"), Some("a0".to_owned()));
        assert_eq!(successor("a\u{D7FF}"), Some("a\u{E000}".to_owned()));
        assert_eq!(successor("a\u{10FFFF}"), Some("b".to_owned()));
        assert_eq!(successor("\u{10FFFF}"), None);
        assert_eq!(successor(""), None);
    }
}
