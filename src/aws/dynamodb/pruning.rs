//! Forgetting old events: from the front, in order, as many at once as one transaction holds, and never the head.
//!
//! A crash in between leaves a shorter log, not one with a gap. Two brokers that do it at one time get in each other's way,
//! and the slower one does less.

use jiff::Timestamp;

use super::items::{self, PK, SK};
use super::table::{Range, Sent, Table, asking, broken};
use super::transaction::deleted;
use super::writing::token;
use crate::broker::ports::{Fault, PortResult};

/// What one transaction holds.
const AT_ONCE: usize = 100;

/// Returns how many went.
pub async fn prune(table: &Table, before: Timestamp, limit: usize) -> PortResult<usize> {
    let asking = asking("prune events");
    let range = Range { pk: items::EVENTS.to_owned(), prefix: "", after: None, limit };
    let oldest = table.query(asking, range).await?;
    let mut old = Vec::new();
    for item in oldest {
        let time = items::time_at(&item, "time").ok_or(items::Unreadable("event")).map_err(broken(asking))?;
        // Up to the first that stays: a clock that once went back must not tear a gap.
        if time >= before {
            break;
        }
        old.push(item.into_iter().filter(|(name, _)| name == PK || name == SK).collect::<items::Item>());
    }
    let mut gone = 0;
    for keys in old.chunks(AT_ONCE) {
        let items = keys.iter().map(|key| deleted(&table.name, key.clone())).collect();
        let token = token().ok_or_else(|| asking.error(Fault::Unavailable, "the system gives no random bytes"))?;
        match table.transact(asking, items, &token).await? {
            Sent::Done => gone += keys.len(),
            Sent::Cancelled(_) => break,
        }
    }
    Ok(gone)
}
