//! Which records with a due time this process has written within the last moments.
//!
//! The index that says what is due follows the table with a delay, mostly of milliseconds. A broker that writes down what
//! it must do in a second and then looks for what is due would find nothing, and sleep too long. It is a hint: what is
//! named here is read from the table before anybody believes it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::aws::governor::later;
use crate::broker::ports::{Action, ChangeSet, Shelf};

/// How long a record is named: far longer than the index is ever behind while DynamoDB is well.
const NAMED: Duration = Duration::from_secs(5);
/// So many are named at the most; the oldest go first.
const MOST: usize = 1_000;

#[derive(Default)]
pub struct Recent(Mutex<VecDeque<Named>>);

struct Named {
    shelf: Shelf,
    key: String,
    due: Timestamp,
    until: Timestamp,
}

impl Recent {
    /// `changes` were made.
    pub fn note(&self, changes: &ChangeSet, now: Timestamp) {
        let until = later(now, NAMED);
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for write in &changes.writes {
            if matches!(write.action, Action::Check) {
                continue;
            }
            named.retain(|named| (named.shelf, &named.key) != (write.shelf, &write.key));
            if let Action::Put { due_time: Some(due), .. } = write.action {
                named.push_back(Named { shelf: write.shelf, key: write.key.clone(), due, until });
            }
        }
        while named.len() > MOST || named.front().is_some_and(|named| named.until <= now) {
            named.pop_front();
        }
    }

    /// The keys of those that are due first, at most `limit`.
    pub fn keys(&self, shelf: Shelf, now: Timestamp, limit: usize) -> Vec<String> {
        let named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still: Vec<_> = named.iter().filter(|named| named.shelf == shelf && named.until > now).collect();
        still.sort_by_key(|named| named.due);
        still.into_iter().take(limit).map(|named| named.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::ports::Write;
    use crate::domain::form::Form;

    fn changes(key: &str, due_time: Option<Timestamp>) -> ChangeSet {
        let action = Action::Put { body: Vec::new(), form: Form::FIRST, due_time };
        let write = Write { shelf: Shelf::Journal, key: key.to_owned(), expected: None, action };
        ChangeSet { writes: vec![write], events: Vec::new() }
    }

    #[test]
    fn what_was_written_with_a_due_time_is_named_for_a_while() {
        let (recent, now) = (Recent::default(), Timestamp::from_second(1_767_225_600).expect("in range"));
        recent.note(&changes("a", Some(now)), now);
        recent.note(&changes("b", None), now);
        assert_eq!(recent.keys(Shelf::Journal, now, 9), ["a"]);
        assert!(recent.keys(Shelf::Client, now, 9).is_empty());
        assert!(recent.keys(Shelf::Journal, later(now, NAMED), 9).is_empty());
        recent.note(&changes("c", Some(now - Duration::from_secs(1))), now);
        assert_eq!(recent.keys(Shelf::Journal, now, 9), ["c", "a"]);
        assert_eq!(recent.keys(Shelf::Journal, now, 1), ["c"]);
        recent.note(&changes("c", None), now);
        assert_eq!(recent.keys(Shelf::Journal, now, 1), ["a"], "what waits no longer hides what does");
        for number in 0..MOST {
            recent.note(&changes(&number.to_string(), Some(now)), now);
        }
        let keys = recent.keys(Shelf::Journal, now, usize::MAX);
        assert_eq!((keys.len(), keys[0].as_str()), (MOST, "0"), "the oldest has gone");
    }
}
