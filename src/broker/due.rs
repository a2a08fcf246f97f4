//! Which records somebody has to look at now, and when the next.

use jiff::Timestamp;

use super::ports::StoredRecord;
use super::records::{Record, Records, Versioned, decode};
use crate::domain::error::Result;

/// What is due of one kind.
pub struct Due<T> {
    /// The earliest first.
    pub records: Vec<Versioned<T>>,
    /// When to look again: at once where there may be more than fitted, never where there is nothing more.
    pub next: Option<Timestamp>,
}

impl Records {
    /// What is due now, at most `limit` of it. Only that is decoded: this is asked after every change, and mostly nothing
    /// is due while very much is waiting.
    pub async fn due<T: Record>(&self, now: Timestamp, limit: usize) -> Result<Due<T>> {
        let is_due = |record: &StoredRecord| record.due_time.is_some_and(|time| time <= now);
        let mut stored = self.registry.due(T::SHELF, 1).await?;
        if stored.first().is_some_and(is_due) {
            stored = self.registry.due(T::SHELF, limit).await?;
        }
        let waits = stored.iter().find(|record| !is_due(record)).and_then(|record| record.due_time);
        let next = if stored.len() == limit { Some(waits.unwrap_or(now)) } else { waits };
        let records = stored.into_iter().filter(is_due).map(decode).collect::<Result<_>>()?;
        Ok(Due { records, next })
    }
}
