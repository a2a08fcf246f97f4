//! A look at what is to be done next, for whoever watches from outside.
//!
//! It reads the index of what is due, at most [`LOOKED_AT`] entries of it and at most once in [`KEPT`], however often it is
//! asked and however many clients there are. So of rotations it knows the next ones and not all: with fewer clients than
//! that, all of them. What cannot be read is not told, and stops nobody.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::broker::ports::Shelf;
use crate::broker::records::Records;
use crate::domain::error::Result;

/// Rotations that are looked at.
pub const LOOKED_AT: usize = 500;
/// How long what was seen is told.
const KEPT: Duration = Duration::from_secs(30);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen, and when.
#[derive(Default)]
pub struct Survey(Mutex<Option<(Timestamp, Seen)>>);

/// What is to be done next.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When the next rotations are scheduled, the earliest first: at most [`LOOKED_AT`].
    pub rotations: Vec<Timestamp>,
    /// Since when the piece of work waits that should have been done first; `None` where nothing is waiting.
    pub oldest_work: Option<Timestamp>,
}

impl Survey {
    /// What was seen within the last 30 s, or is to be seen now. `None` where it cannot be read.
    pub async fn look(&self, records: &Records, now: Timestamp) -> Option<Seen> {
        let mut known = self.0.lock().await;
        let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).ok();
        if let Some((_, seen)) = known.as_ref().filter(|(since, _)| age(*since).is_some_and(|age| age < KEPT)) {
            return Some(seen.clone());
        }
        let looked = tokio::time::timeout(PATIENCE, read(records)).await;
        *known = looked.ok().and_then(Result::ok).map(|seen| (now, seen));
        known.as_ref().map(|(_, seen)| seen.clone())
    }
}

async fn read(records: &Records) -> Result<Seen> {
    let clients = records.registry.due(Shelf::Client, LOOKED_AT).await?;
    let work = records.registry.due(Shelf::Journal, 1).await?;
    Ok(Seen {
        rotations: clients.iter().filter_map(|client| client.due_time).collect(),
        oldest_work: work.first().and_then(|journal| journal.due_time),
    })
}

/// The value that `quantile` (0 to 1) of the values are at most; `None` of none. They are in order.
pub fn quantile<T: Copy>(sorted: &[T], quantile: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    let place = (quantile * last as f64).round() as usize;
    sorted.get(place.min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        assert_eq!(quantile::<u8>(&[], 0.5), None);
        assert_eq!(quantile(&[7], 1.0), Some(7));
        let hundred: Vec<u8> = (0..=100).collect();
        for (of, value) in [(0.0, 0), (0.5, 50), (0.9, 90), (1.0, 100)] {
            assert_eq!(quantile(&hundred, of), Some(value));
        }
    }
}
