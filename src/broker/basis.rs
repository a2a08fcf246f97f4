//! What an answer was made from, and whether that still stands.
//!
//! Most questions are asked again and again, and their answers stay the same until something changes that they were made
//! from. Whoever makes an answer notes in a [`Basis`] what it is about to look at; the answer may be given again for as
//! long as its basis stands. Nobody has to find the answers that a change makes false: a change counts, in one of many
//! counters chosen by what changes, and a basis has the counts of before its answer was made.
//!
//! It must never stand on something that changed. So what is looked at is noted *before* it is looked at, a change is
//! counted *after* it can be seen and before anybody is told of it, and what does not fit into a basis makes it stand
//! never. It may fall for nothing: two things can share a counter.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::ports::Shelf;

/// 2 MiB. A change takes away one answer in 262,144 that it has nothing to do with, for each thing that one looked at. So
/// in a storm of 5,000 changes a second an answer that looked at five things falls for nothing once in ten seconds.
const COUNTERS: usize = 1 << 18;
/// The most that an answer looks at is 11 things: the verdict on a token, where policies look at labels.
const MOST_SEEN: usize = 12;

/// What can change under an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject<'a> {
    /// A record, there or not.
    Record(Shelf, &'a str),
    /// The keys that an issuer publishes.
    Keys(&'a str),
}

/// Counts changes.
pub(super) struct Changes {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Changes {
    pub fn new() -> Self {
        Changes { counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    /// To be told of each change, once whoever looks can see it.
    pub fn count(&self, subject: Subject<'_>) {
        self.counters[self.counter(subject)].fetch_add(1, Ordering::SeqCst);
    }

    /// To be told where nobody knows what has changed.
    pub fn count_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Notes that an answer will stand on this.
    pub fn note(&self, subject: Subject<'_>, basis: &mut Basis) {
        let counter = self.counter(subject);
        let count = self.counters[counter].load(Ordering::SeqCst);
        match basis.seen.get_mut(basis.len) {
            Some(seen) => *seen = Seen { counter, count },
            None => basis.never_again(),
        }
        basis.len += 1;
    }

    /// Whether nothing has changed that is noted there.
    pub fn are_none_since(&self, basis: &Basis) -> bool {
        let noted = &basis.seen[..basis.len.min(MOST_SEEN)];
        noted.iter().all(|seen| self.counters[seen.counter].load(Ordering::SeqCst) == seen.count)
    }

    fn counter(&self, subject: Subject<'_>) -> usize {
        // The remainder fits.
        (self.hasher.hash_one(subject) % COUNTERS as u64) as usize
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    counter: usize,
    count: u64,
}

/// What an answer stands on. Without anything noted it stands for ever.
#[derive(Clone, Debug)]
pub struct Basis {
    seen: [Seen; MOST_SEEN],
    len: usize,
    until: Timestamp,
}

impl Default for Basis {
    fn default() -> Self {
        Basis { seen: [Seen::default(); MOST_SEEN], len: 0, until: Timestamp::MAX }
    }
}

impl Basis {
    /// By then, at the latest, the answer may be another one.
    pub fn until(&mut self, time: Timestamp) {
        self.until = self.until.min(time);
    }

    /// The answer stands on all that another one stands on, too.
    pub(super) fn stand_on(&mut self, other: &Basis) {
        for seen in &other.seen[..other.len.min(MOST_SEEN)] {
            match self.seen.get_mut(self.len) {
                Some(place) => *place = *seen,
                None => self.never_again(),
            }
            self.len += 1;
        }
        self.until(other.until);
    }

    /// The answer is for once.
    pub fn never_again(&mut self) {
        self.until = Timestamp::MIN;
    }

    /// Until when it stands if nothing changes.
    pub fn end(&self) -> Timestamp {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str) -> Subject<'_> {
        Subject::Record(Shelf::Client, key)
    }

    #[test]
    fn a_basis_falls_with_each_thing_that_is_noted_in_it() {
        let changes = Changes::new();
        let noted = [record("acme/orders"), Subject::Record(Shelf::Tenant, "acme"), Subject::Keys("https://issuer")];
        for changed in noted {
            let mut basis = Basis::default();
            for subject in noted {
                changes.note(subject, &mut basis);
            }
            assert!(changes.are_none_since(&basis));
            changes.count(changed);
            assert!(!changes.are_none_since(&basis), "{changed:?}");
        }
    }

    #[test]
    fn a_change_leaves_nearly_all_others_standing() {
        let changes = Changes::new();
        let keys: Vec<_> = (0..1_000).map(|number| format!("acme/client-{number}")).collect();
        let basis = |key: &String| {
            let mut basis = Basis::default();
            changes.note(record(key), &mut basis);
            basis
        };
        let bases: Vec<_> = keys.iter().map(basis).collect();
        changes.count(record("acme/another"));
        let fallen = bases.iter().filter(|basis| !changes.are_none_since(basis)).count();
        assert!(fallen <= 5, "{fallen} of 1,000 fell with what they do not stand on");
    }

    #[test]
    fn what_does_not_fit_stands_never() {
        let (changes, mut basis) = (Changes::new(), Basis::default());
        for number in 0..=MOST_SEEN {
            assert_eq!(basis.end(), Timestamp::MAX, "{number} fit");
            changes.note(record(&number.to_string()), &mut basis);
        }
        assert_eq!(basis.end(), Timestamp::MIN);
        assert!(changes.are_none_since(&basis));
    }

    #[test]
    fn the_earliest_end_counts() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let mut basis = Basis::default();
        for second in [3, 2, 4] {
            basis.until(at(second));
        }
        assert_eq!(basis.end(), at(2));
        basis.never_again();
        basis.until(at(9));
        assert_eq!(basis.end(), Timestamp::MIN);
    }
}
