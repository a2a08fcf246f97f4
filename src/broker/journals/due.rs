//! Which records somebody has to look at now, and when the next.

use jiff::Timestamp;

use crate::broker::ports::StoredRecord;
use crate::broker::records::{Record, Records, Versioned, decode};
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
    ///
    /// Records of a form that this broker does not read are left to brokers that do, and are no reason to look again at once:
    /// where they fill all of `limit`, nothing behind them is seen until those brokers have moved them on.
    pub async fn due<T: Record>(&self, now: Timestamp, limit: usize) -> Result<Due<T>> {
        let is_due = |record: &StoredRecord| record.due_time.is_some_and(|time| time <= now);
        let mut stored = self.registry.due(T::SHELF, 1).await?;
        if stored.first().is_some_and(is_due) {
            stored = self.registry.due(T::SHELF, limit).await?;
        }
        let waits = stored.iter().find(|record| !is_due(record)).and_then(|record| record.due_time);
        let is_full = stored.len() == limit;
        let due = stored.into_iter().filter(|record| is_due(record) && record.form.is_read());
        let records = due.map(decode).collect::<Result<Vec<_>>>()?;
        let more = (is_full && !records.is_empty()).then_some(now);
        Ok(Due { records, next: waits.or(more) })
    }
}
