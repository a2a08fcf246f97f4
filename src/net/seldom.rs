//! Lines of the log that a stranger can cause, at most one a second of each kind.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// One kind of line.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Said>>);

#[derive(Debug)]
struct Said {
    last: Instant,
    unsaid: u64,
}

impl Seldom {
    pub const fn new() -> Self {
        Seldom(Mutex::new(None))
    }

    /// Whether to say it now; how many were left unsaid since it was said last.
    pub fn turn(&self) -> Option<u64> {
        self.turn_at(Instant::now())
    }

    fn turn_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *said {
            Some(said) if now.saturating_duration_since(said.last) < INTERVAL => {
                said.unsaid += 1;
                None
            }
            other => {
                let unsaid = other.as_ref().map_or(0, |said| said.unsaid);
                *other = Some(Said { last: now, unsaid: 0 });
                Some(unsaid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_said_and_the_others_are_counted() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.turn_at(start), Some(0));
        for _ in 0..3 {
            assert_eq!(seldom.turn_at(start + INTERVAL / 2), None);
        }
        assert_eq!(seldom.turn_at(start + INTERVAL), Some(3));
        assert_eq!(seldom.turn_at(start + INTERVAL * 3), Some(0));
    }
}
