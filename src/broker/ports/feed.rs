//! The change feed: what the brokers that share one registry learn of each other's changes.
//!
//! A registry that several share numbers its changes from 1, without gaps, in the transaction that makes each, and keeps
//! a line for each for [`KEPT`]. A broker remembers the number up to which it has dropped what it held in memory, and asks
//! for what came after. Lines go when their time is over, in no certain order; a reader that was away for that long must
//! find that out, and forget everything.

use std::time::Duration;

use async_trait::async_trait;

use super::change_sets::Shelf;
use super::faults::PortResult;

/// How long a line is kept at the least.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A registry's changes, in the order in which they were made.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// The number of the last change, 0 when there was none. Read after whoever made it was answered, it counts it.
    async fn last_change(&self) -> PortResult<u64>;

    /// The lines that are left of those numbered above `after`, in order, at most `limit`. Where lines are gone, numbers
    /// are missing: [`follow`](Self::follow) tells.
    async fn changes(&self, after: u64, limit: usize) -> PortResult<Vec<LoggedChange>>;

    /// What came after the change `after`, at most `limit` changes. Where nothing did, this is one read of one small item.
    async fn follow(&self, after: u64, limit: usize) -> PortResult<Followed> {
        let last = self.last_change().await?;
        if last == after {
            return Ok(Followed::Changes(Vec::new()));
        }
        // A registry that was restored from a backup is behind its reader.
        let changes = if last > after { self.changes(after, limit).await? } else { Vec::new() };
        let follows = changes.iter().zip(after + 1..).all(|(change, number)| change.number == number);
        Ok(if follows && !changes.is_empty() { Followed::Changes(changes) } else { Followed::Lost { last } })
    }
}

/// A change of one or several change sets, made at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedChange {
    pub number: u64,
    /// The records that were made, changed or deleted. Empty where events alone were appended.
    pub touched: Vec<(Shelf, String)>,
    /// The number of the last event after it.
    pub last_event: u64,
}

/// What a reader of the feed has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Forget what these touched, and go on after the last of them. Empty where there is nothing new.
    Changes(Vec<LoggedChange>),
    /// Forget everything, and go on after the change `last`: some lines are gone, or the registry is not the one it was.
    Lost { last: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of these numbers, of a registry whose last change was this one.
    struct Lines(u64, Vec<u64>);

    #[async_trait]
    impl ChangeFeed for Lines {
        async fn last_change(&self) -> PortResult<u64> {
            Ok(self.0)
        }

        async fn changes(&self, after: u64, limit: usize) -> PortResult<Vec<LoggedChange>> {
            Ok(self.1.iter().copied().filter(|number| *number > after).take(limit).map(line).collect())
        }
    }

    fn line(number: u64) -> LoggedChange {
        LoggedChange { number, touched: vec![(Shelf::Tenant, number.to_string())], last_event: 0 }
    }

    #[tokio::test]
    async fn a_reader_learns_what_came_after_or_that_some_of_it_is_gone() {
        let changes = |numbers: &[u64]| Followed::Changes(numbers.iter().copied().map(line).collect());
        let lost = |last| Followed::Lost { last };
        for (last, left, after, due) in [
            (0, vec![], 0, changes(&[])),
            (3, vec![1, 2, 3], 0, changes(&[1, 2])),
            (3, vec![1, 2, 3], 2, changes(&[3])),
            (3, vec![1, 2, 3], 3, changes(&[])),
            // The first are gone, one in between, all of them.
            (3, vec![2, 3], 0, lost(3)),
            (4, vec![1, 2, 4], 1, lost(4)),
            (3, vec![], 1, lost(3)),
            (3, vec![], 3, changes(&[])),
            // Another registry, or an older state of this one.
            (3, vec![1, 2, 3], 9, lost(3)),
        ] {
            let said = Lines(last, left.clone()).follow(after, 2).await.expect("reads");
            assert_eq!(said, due, "{left:?} of {last} after {after}");
        }
    }
}
