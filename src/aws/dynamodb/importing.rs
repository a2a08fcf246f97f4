//! Bringing the records of another registry into a table, with their versions, and its log with numbers and digests.
//!
//! A marker is in the table from before the first record until after the last, and no broker opens a table that has one;
//! the head is written with the marker's removal. So whoever is cut off leaves a table that nobody takes for whole, and
//! can begin again. What is there already is never overwritten.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::Timestamp;

use super::items::{self, Item, TableHead, Unreadable};
use super::opening::{self, OpenTableError};
use super::reading;
use super::table::{Sent, Table, asking, broken, is_absent};
use super::transaction::{deleted, put, written};
use super::writing::token;
use crate::broker::ports::{Fault, PortError, PortResult, Shelf, StoredRecord};
use crate::domain::audit::{Head, NumberedEvent};
use crate::domain::form::Form;

/// Items of one transaction, and their bytes: bodies, keys and something for the rest.
const MOST_ITEMS: usize = 100;
const MOST_BYTES: usize = 3_000_000;
const BESIDES: usize = 200;

/// A table that is to be filled.
pub struct Importing {
    table: Table,
}

impl Importing {
    /// Fails unless the table has the keys and the index that are needed.
    pub(in crate::aws) async fn open(table: Table) -> Result<Self, OpenTableError> {
        opening::check(&table).await?;
        Ok(Importing { table })
    }

    /// The end of the log, where it was written: a migration that came to its end, or a broker.
    pub async fn head(&self) -> PortResult<Option<Head>> {
        let head = self.table.head(asking("read the head")).await?;
        Ok((head != TableHead::default()).then_some(head.log))
    }

    /// Records of the table, as [`Registry::scan`](crate::broker::ports::Registry::scan) gives them.
    pub async fn records(&self, shelf: Shelf, after: Option<&str>, limit: usize) -> PortResult<Vec<StoredRecord>> {
        reading::scan(&self.table, shelf, "", after, limit).await
    }

    pub async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        reading::events(&self.table, after, limit).await
    }

    /// Says that the table is being filled. Repeating it changes nothing.
    pub async fn begin(&self, now: Timestamp) -> PortResult<()> {
        let mut marker = items::key(items::MIGRATION, items::MIGRATION);
        marker.insert("begun".to_owned(), items::text(items::text_of(now)));
        self.send(vec![written(put(&self.table.name, marker))]).await
    }

    /// Brings records in, none of which is there.
    pub async fn bring(&self, shelf: Shelf, records: &[StoredRecord]) -> PortResult<()> {
        let sized =
            records.iter().map(|record| (items::record_item(shelf, record), record.key.len() + record.body.len()));
        self.put_all(sized).await
    }

    /// Brings events in, none of which is there.
    pub async fn bring_events(&self, events: &[NumberedEvent]) -> PortResult<()> {
        let asking = asking("bring events in");
        let written = events.iter().map(items::event_item).collect::<Result<Vec<_>, Unreadable>>();
        let sized = |item: Item| {
            let bytes = item.get("body").and_then(|body| body.as_b().ok()).map_or(0, |body| body.as_ref().len());
            (item, bytes)
        };
        self.put_all(written.map_err(broken(asking))?.into_iter().map(sized)).await
    }

    /// Writes the head and takes the marker away; `form` is the newest of all that was brought. The change feed begins here:
    /// its first number is that of this change, which has no line, so a reader forgets everything. Versions go on above
    /// `deleted_version`.
    pub async fn finish(&self, log: Head, chain_start: u64, deleted_version: u64, form: Form) -> PortResult<()> {
        let head = items::head_item(&TableHead { change: 1, log, chain_start, deleted_version, form });
        let table = &self.table.name;
        let put = put(table, head).condition_expression(is_absent());
        self.send(vec![written(put), deleted(table, items::key(items::MIGRATION, items::MIGRATION))]).await
    }

    async fn put_all(&self, sized: impl Iterator<Item = (Item, usize)>) -> PortResult<()> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for (item, size) in sized {
            if items.len() == MOST_ITEMS || bytes + size + BESIDES > MOST_BYTES {
                self.send(std::mem::take(&mut items)).await?;
                bytes = 0;
            }
            items.push(written(put(&self.table.name, item).condition_expression(is_absent())));
            bytes += size + BESIDES;
        }
        if items.is_empty() { Ok(()) } else { self.send(items).await }
    }

    async fn send(&self, items: Vec<TransactWriteItem>) -> PortResult<()> {
        let asking = asking("bring records in");
        let token = token().ok_or_else(|| asking.error(Fault::Unavailable, "the system gives no random bytes"))?;
        match self.table.transact(asking, items, &token).await? {
            Sent::Done => Ok(()),
            Sent::Cancelled(reasons) => Err(cancelled(reasons.iter().filter_map(|reason| reason.code()))),
        }
    }
}

fn cancelled<'a>(codes: impl Iterator<Item = &'a str>) -> PortError {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    codes.filter(|code| *code != "None").for_each(|code| *counts.entry(code).or_default() += 1);
    let fault = if counts.contains_key("ConditionalCheckFailed") { Fault::Conflict } else { Fault::Throttled };
    asking("bring records in").error(fault, format_args!("cancelled: {counts:?}; somebody else writes to the table"))
}
