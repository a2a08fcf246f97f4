//! Calls evenly spaced, by a rate that may be another at every call: what was called before counts all the same.

use std::time::Duration;

use jiff::Timestamp;

use super::governor::later;
use crate::domain::share::Rate;

/// A wait that is longer than the spacing by more than this means that the clock was set back.
const SLACK: Duration = Duration::from_secs(1);

/// When the last call was, or would have been if those that went together had been spaced.
pub struct Pace {
    last: Timestamp,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { last: Timestamp::MIN }
    }
}

impl Pace {
    /// Whether there may be a call at `now`, or the time at which there may be one.
    pub fn look(&self, rate: Rate, now: Timestamp) -> Result<(), Timestamp> {
        match self.next(rate) {
            next if next > now && !was_set_back(next, rate, now) => Err(next),
            _ => Ok(()),
        }
    }

    /// A call at `now`, which whoever makes it has looked for.
    pub fn count(&mut self, rate: Rate, now: Timestamp) {
        let spaced = later(self.last, spacing(rate).0);
        self.last = if was_set_back(self.next(rate), rate, now) { now } else { spaced.max(now) };
    }

    fn next(&self, rate: Rate) -> Timestamp {
        let (spacing, together) = spacing(rate);
        later(self.last, spacing).saturating_sub(spacing * (together - 1)).unwrap_or(Timestamp::MIN)
    }
}

/// Whether the clock was, since the call before.
fn was_set_back(next: Timestamp, rate: Rate, now: Timestamp) -> bool {
    next > later(now, spacing(rate).0 + SLACK)
}

/// The time between calls, and how many may go at once. Timers are no finer than a millisecond, so fast limits let a few
/// pass at once, and so many fewer a second.
fn spacing(rate: Rate) -> (Duration, u32) {
    let together = (rate.calls / rate.seconds.max(1) / 50).max(1);
    let spaced = if together == 1 && rate.calls < 50 { rate.calls } else { rate.calls - together };
    // Rounded up, or one too many would fit into the last nanoseconds of a second.
    let nanoseconds = (u64::from(rate.seconds) * 1_000_000_000).div_ceil(u64::from(spaced.max(1)));
    (Duration::from_nanos(nanoseconds), together)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millisecond).expect("in range")
    }

    fn a_second(calls: u32) -> Rate {
        Rate { calls, seconds: 1 }
    }

    /// A call at that moment, or the time at which there may be one.
    fn take(pace: &mut Pace, rate: Rate, now: Timestamp) -> Result<(), Timestamp> {
        pace.look(rate, now).map(|()| pace.count(rate, now))
    }

    #[test]
    fn another_rate_counts_from_the_last_call_on() {
        let mut pace = Pace::default();
        assert_eq!(take(&mut pace, a_second(10), at(0)), Ok(()));
        assert_eq!(take(&mut pace, a_second(10), at(50)), Err(at(100)));
        assert_eq!(take(&mut pace, a_second(2), at(100)), Err(at(500)));
        assert_eq!(take(&mut pace, Rate { calls: 1, seconds: 3 }, at(500)), Err(at(3_000)));
        assert_eq!(take(&mut pace, a_second(10), at(500)), Ok(()));
        assert_eq!(take(&mut pace, a_second(10), at(599)), Err(at(600)));
    }

    #[test]
    fn fast_limits_let_a_few_pass_at_once_and_not_more_in_a_second() {
        let (mut pace, mut count) = (Pace::default(), 0);
        let mut now = at(0);
        while now < at(1_000) {
            match take(&mut pace, a_second(150), now) {
                Ok(()) => count += 1,
                Err(time) => now = time,
            }
        }
        assert!((148..=150).contains(&count), "{count}");
    }
}
