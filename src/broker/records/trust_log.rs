//! What has changed lately of that which verification looks at, in order, for those who are told of it.
//!
//! The log holds names and no content: whoever reads it looks up what is there now, in the views or the registry, and so
//! never passes on what is out of date, however late it comes. It is one for all readers; a reader has a number, up to which
//! it has read, and nothing is kept for it. The oldest names make room for new ones. A reader whose place is gone, or that
//! comes with a number which the log never gave, is told so and must begin with everything: that is never passed over.
//!
//! Something is noted after it can be seen by whoever looks, and before whoever changed it is answered.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::broker::ports::Shelf;
use crate::domain::id::Issuer;

/// Names that are kept: 3 to 8 MB, once so much has changed. That is what some seconds of the fastest writers come to.
const KEPT: usize = 1 << 15;

/// What has changed, or may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::broker) enum Touched {
    /// A record, by its key; made, changed or deleted.
    Record(Shelf, String),
    /// The keys of an issuer.
    Keys(Issuer),
}

/// What came after a number.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::broker) enum Read {
    /// In order, and the number up to which that is. Empty where there is nothing.
    Touched(Vec<Touched>, u64),
    /// Nobody knows any more.
    Lost,
}

pub(in crate::broker) struct TrustLog {
    log: Mutex<Log>,
    last: watch::Sender<u64>,
    max: usize,
}

struct Log {
    /// The number of the last one that was noted.
    last: u64,
    kept: VecDeque<Touched>,
}

impl Default for TrustLog {
    fn default() -> Self {
        TrustLog::holding(KEPT)
    }
}

impl TrustLog {
    fn holding(max: usize) -> Self {
        TrustLog { log: Mutex::new(Log { last: 0, kept: VecDeque::new() }), last: watch::Sender::new(0), max }
    }

    /// To be told of every change; what verification does not look at is passed over.
    pub fn note(&self, touched: &[(Shelf, String)]) {
        let counts = |shelf: Shelf| {
            matches!(shelf, Shelf::Tenant | Shelf::Client | Shelf::Owner | Shelf::Issuer | Shelf::RevokedToken)
        };
        if touched.iter().any(|(shelf, _)| counts(*shelf)) {
            let touched = touched.iter().filter(|(shelf, _)| counts(*shelf));
            self.append(touched.map(|(shelf, key)| Touched::Record(*shelf, key.clone())));
        }
    }

    /// To be told when other keys of an issuer were read, or could not be any more.
    pub fn note_keys(&self, issuer: &Issuer) {
        self.append([Touched::Keys(issuer.clone())].into_iter());
    }

    /// To be told where changes were missed: every reader has to begin anew.
    pub fn lose(&self) {
        let mut log = self.lock();
        log.kept.clear();
        log.last += 1;
        self.last.send_replace(log.last);
    }

    /// The number of the last change. It grows while the process lives.
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// What came after `after`, at most `limit` of it.
    pub fn read(&self, after: u64, limit: usize) -> Read {
        let log = self.lock();
        let Some(missing) = log.last.checked_sub(after).and_then(|missing| usize::try_from(missing).ok()) else {
            return Read::Lost;
        };
        let Some(start) = log.kept.len().checked_sub(missing) else { return Read::Lost };
        let touched: Vec<_> = log.kept.iter().skip(start).take(limit).cloned().collect();
        let up_to = after + touched.len() as u64;
        Read::Touched(touched, up_to)
    }

    /// Changes with every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    fn append(&self, touched: impl Iterator<Item = Touched>) {
        let mut log = self.lock();
        for touched in touched {
            log.kept.push_back(touched);
            log.last += 1;
        }
        let excess = log.kept.len().saturating_sub(self.max);
        log.kept.drain(..excess);
        self.last.send_replace(log.last);
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // A panic in between leaves numbers without names, which readers find to be lost.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u64) -> (Shelf, String) {
        (Shelf::Tenant, format!("t{number}"))
    }

    fn touched(numbers: impl IntoIterator<Item = u64>) -> Vec<Touched> {
        numbers.into_iter().map(|number| Touched::Record(Shelf::Tenant, format!("t{number}"))).collect()
    }

    #[test]
    fn a_reader_gets_what_came_after_its_number_or_is_told_that_it_is_lost() {
        let log = TrustLog::holding(3);
        assert_eq!(log.read(0, 10), Read::Touched(vec![], 0));
        for number in 1..=3 {
            log.note(&[tenant(number)]);
        }
        assert_eq!(log.read(0, 10), Read::Touched(touched(1..=3), 3));
        assert_eq!(log.read(1, 1), Read::Touched(touched([2]), 2));
        assert_eq!(log.read(3, 10), Read::Touched(vec![], 3));
        assert_eq!(log.read(4, 10), Read::Lost, "a number of another process");
        log.note(&[tenant(4), tenant(5)]);
        assert_eq!(log.read(1, 10), Read::Lost);
        assert_eq!(log.read(2, 10), Read::Touched(touched(3..=5), 5));
    }

    #[test]
    fn where_changes_were_missed_every_reader_is_lost() {
        let log = TrustLog::holding(3);
        log.note(&[tenant(1)]);
        log.lose();
        assert_eq!((log.read(0, 10), log.read(1, 10)), (Read::Lost, Read::Lost));
        let last = log.last();
        assert_eq!(log.read(last, 10), Read::Touched(vec![], last));
        log.note(&[tenant(2)]);
        assert_eq!(log.read(last, 10), Read::Touched(touched([2]), last + 1));
    }

    #[test]
    fn what_verification_does_not_look_at_is_not_noted() {
        let log = TrustLog::default();
        let mut seen = log.watch();
        log.note(&[(Shelf::Journal, "j".to_owned()), (Shelf::Credential, "acme/orders".to_owned())]);
        assert!(!seen.has_changed().expect("the log is there") && log.last() == 0);
        log.note(&[(Shelf::Journal, "j".to_owned()), tenant(1)]);
        assert!(seen.has_changed().expect("the log is there") && *seen.borrow_and_update() == 1);
    }
}
