//! When the shelf of shared tokens is left alone: one that fails again and again is not asked by everybody who needs a token,
//! or a table that hangs would make each of them wait for the end of a call's time.
//!
//! After [`FAILURES`] calls in a row without an answer it rests for [`REST`]. Then one caller tries it, and everybody else
//! still goes without; an answer ends the rest, another failure begins the next. So a table that hangs costs one caller a
//! call's time every ten seconds, and one that is back is used again within as long. A caller who leaves while trying
//! holds nobody up: the next try comes after the next rest.
//!
//! Nothing hangs on it but time: whoever is told to go without fetches a token by themselves.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Calls in a row without an answer, of whoever: one may be an accident.
const FAILURES: u32 = 3;
/// How long it is left alone.
const REST: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct ShelfRest(Mutex<State>);

#[derive(Default)]
struct State {
    /// Since the last answer.
    failures: u32,
    /// Where there were so many: until then nobody asks.
    end_time: Timestamp,
}

impl ShelfRest {
    /// Whether the shelf may be asked at `now`; then somebody must [`note`](ShelfRest::note) what comes of it, or has left.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failures < FAILURES {
            return true;
        }
        // A clock that was set back makes no rest longer.
        if now < state.end_time && state.end_time <= now + REST {
            return false;
        }
        state.end_time = now + REST;
        true
    }

    /// Whether it failed so often that most go without.
    pub fn is_resting(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failures >= FAILURES
    }

    /// Says whether the shelf has answered. Returns whether a rest begins with that, after it was well.
    pub fn note(&self, has_answered: bool, now: Timestamp) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if has_answered {
            state.failures = 0;
            return false;
        }
        state.failures = state.failures.saturating_add(1);
        state.end_time = now + REST;
        state.failures == FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn resting() -> ShelfRest {
        let rest = ShelfRest::default();
        for failure in 1..=FAILURES {
            assert!(rest.is_over(at(0)));
            assert_eq!(rest.note(false, at(0)), failure == FAILURES);
        }
        rest
    }

    #[test]
    fn after_three_failures_in_a_row_one_caller_tries_every_ten_seconds() {
        let rest = resting();
        assert!(!rest.is_over(at(9)));
        for round in 1..4 {
            let now = at(10 * round);
            assert!(rest.is_over(now), "one tries");
            assert!(!rest.is_over(now) && !rest.is_over(now + Duration::from_secs(1)), "nobody else");
            if round % 2 == 0 {
                // The others have left.
                assert!(!rest.note(false, now), "that is no news");
            }
        }
        assert!(rest.is_over(at(40)));
        rest.note(true, at(40));
        assert!(rest.is_over(at(40)) && rest.is_over(at(40)), "all of them again");
    }

    #[test]
    fn failures_with_an_answer_between_them_are_none_in_a_row() {
        let rest = ShelfRest::default();
        for _ in 0..10 {
            for has_failed in [true, true, false] {
                assert!(!rest.note(!has_failed, at(0)));
                assert!(rest.is_over(at(0)));
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_ends_a_rest() {
        assert!(resting().is_over(at(-3_600)));
    }
}
