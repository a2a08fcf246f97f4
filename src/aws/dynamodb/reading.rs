//! Reading records, events and lines of the change feed.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::items::{self, Item, Unreadable};
use super::recent::Recent;
use super::table::{Range, Table, asking, broken};
use crate::broker::ports::{Fault, LoggedChange, PortResult, Shelf, StoredRecord};
use crate::domain::audit::NumberedEvent;
use crate::domain::form::Form;

/// Records of one `due` that are read at one time.
const AT_ONCE: usize = 16;

pub async fn get(table: &Table, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
    let asking = asking("read a record");
    // DynamoDB has no such key, and so nothing under it.
    if key.is_empty() {
        return Ok(None);
    }
    let item = table.get(asking, items::record_key(shelf, key)).await?;
    item.as_ref().map(items::record_of).transpose().map_err(broken(asking))
}

pub async fn scan(
    table: &Table,
    shelf: Shelf,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> PortResult<Vec<StoredRecord>> {
    let asking = asking("list records");
    let found = table.query(asking, Range { pk: items::shelf_key(shelf), prefix, after, limit }).await?;
    all(&found, items::record_of).map_err(broken(asking))
}

/// The index says which records to look at, and so does what this process has just written, since the index is behind by
/// a moment. What they say now is read from the table.
pub async fn due(table: &Table, recent: &Recent, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
    let asking = asking("list due records");
    let written = recent.keys(shelf, table.clock.now(), limit);
    let mut seen: BTreeSet<_> = written.iter().cloned().collect();
    let mut found = read(table, shelf, written).await?;
    let mut start = None;
    let mut from_index = 0;
    // A page may hold entries of records that are gone; what comes after them is as good.
    while from_index < limit {
        let (keys, next) = table.due_page(asking, shelf.name(), limit - from_index, start).await?;
        let known = keys.iter().filter(|key| seen.contains(*key)).count();
        let new: Vec<_> = keys.into_iter().filter(|key| seen.insert(key.clone())).collect();
        let records = read(table, shelf, new).await?;
        from_index += known + records.len();
        found.extend(records);
        match next {
            Some(next) => start = Some(next),
            None => break,
        }
    }
    found.sort_by(|one, other| (one.due_time, &one.key).cmp(&(other.due_time, &other.key)));
    found.truncate(limit);
    Ok(found)
}

/// Those of the records that are there and have a due time.
async fn read(table: &Table, shelf: Shelf, keys: Vec<String>) -> PortResult<Vec<StoredRecord>> {
    let reads = keys.into_iter().map(|key| async move { get(table, shelf, &key).await });
    let read = stream::iter(reads).buffered(AT_ONCE).try_collect::<Vec<_>>().await?;
    Ok(read.into_iter().flatten().filter(|record| record.due_time.is_some()).collect())
}

pub async fn events(table: &Table, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
    let asking = asking("read events");
    let found = numbered(table, items::EVENTS, after, limit, asking).await?;
    let newer = found.iter().filter_map(|item| items::form_at(item, items::FORM)).find(|form| !form.is_read());
    if let Some(form) = newer {
        return Err(asking.error(Fault::NewerForm(form), format_args!("an event is in the form {form}")));
    }
    all(&found, items::event_of).map_err(broken(asking))
}

/// Without those of a form that is not read: a reader finds that numbers are missing, and forgets everything.
pub async fn changes(table: &Table, after: u64, limit: usize) -> PortResult<Vec<LoggedChange>> {
    let asking = asking("read the change feed");
    let mut found = numbered(table, items::CHANGES, after, limit, asking).await?;
    found.retain(|item| items::form_at(item, items::FORM).is_some_and(Form::is_read));
    all(&found, items::change_of).map_err(broken(asking))
}

async fn numbered(
    table: &Table,
    pk: &str,
    after: u64,
    limit: usize,
    asking: crate::aws::faults::Asking,
) -> PortResult<Vec<Item>> {
    let after = items::padded(after);
    table.query(asking, Range { pk: pk.to_owned(), prefix: "", after: Some(&after), limit }).await
}

fn all<T>(found: &[Item], read: impl Fn(&Item) -> Result<T, Unreadable>) -> Result<Vec<T>, Unreadable> {
    found.iter().map(read).collect()
}
