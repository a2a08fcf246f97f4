//! The system's clock, and one that is moved by hand.
//!
//! Neither knows who waits or why. What is due is told by the wall clock and not by how long a timer ran, since a
//! machine that slept or whose clock was set would otherwise rotate and expire at the wrong time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::broker::ports::Clock;

/// How long a sleeper trusts its timer before it looks at the wall clock again.
pub const RECHECK: Duration = Duration::from_secs(30);

/// The wall clock. A jump of it, forwards or back, is noticed by sleepers within [`RECHECK`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is to ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is to ask")]
    async fn sleep_until(&self, time: Timestamp) {
        while let Some(step) = next_step(self.now(), time) {
            tokio::time::sleep(step).await;
        }
    }
}

/// How long to sleep before looking again; `None` when `time` has come.
fn next_step(now: Timestamp, time: Timestamp) -> Option<Duration> {
    let left = time.duration_since(now);
    if left <= SignedDuration::ZERO {
        return None;
    }
    // A timer may fire a little early by the wall clock; a step of at least a millisecond keeps that from spinning.
    Some(left.unsigned_abs().clamp(Duration::from_millis(1), RECHECK))
}

/// A clock that stands still until it is moved, for tests that walk through days in milliseconds. Clones are the same
/// clock.
///
/// Moving it wakes exactly the sleepers whose time has come, the earliest first, and those of one instant in the order
/// in which they went to sleep. A sleeper that is dropped is forgotten.
///
/// ```
/// # use std::time::Duration;
/// # use keyward::broker::ports::Clock as _;
/// # use keyward::runtime::clock::ManualClock;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = ManualClock::new(jiff::Timestamp::UNIX_EPOCH);
/// let due = clock.now() + Duration::from_secs(90 * 86_400);
/// let sleeper = tokio::spawn({
///     let clock = clock.clone();
///     async move { clock.sleep_until(due).await }
/// });
/// clock.wait_for_sleepers(1).await;
/// assert_eq!(clock.next_wake(), Some(due));
/// clock.set(due);
/// sleeper.await.unwrap();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    sleeping: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// By when to wake, then by who came first.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next_id: u64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        let state = State { now, sleepers: BTreeMap::new(), next_id: 0 };
        ManualClock { shared: Arc::new(Shared { state: Mutex::new(state), sleeping: watch::Sender::new(0) }) }
    }

    /// Moves it forwards; at the end of time it stops.
    pub fn advance(&self, by: Duration) {
        let mut state = self.shared.lock();
        let now = state.now.saturating_add(by).unwrap_or(Timestamp::MAX);
        self.shared.wake(&mut state, now);
    }

    /// Moves it to `now`, which may lie back, as wall clocks jump.
    pub fn set(&self, now: Timestamp) {
        self.shared.wake(&mut self.shared.lock(), now);
    }

    /// When the next sleeper is due; `None` when nobody sleeps.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.shared.lock().sleepers.keys().next().map(|(time, _)| *time)
    }

    /// Returns once at least `count` sleepers wait: what a test needs to know before it moves the clock.
    pub async fn wait_for_sleepers(&self, count: usize) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.shared.sleeping.subscribe().wait_for(|sleeping| *sleeping >= count).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: &mut State, now: Timestamp) {
        state.now = now;
        let later = state.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        self.count(state);
        for sleeper in due.into_values() {
            // One that was dropped meanwhile needs no waking.
            let _ = sleeper.send(());
        }
    }

    fn count(&self, state: &State) {
        self.sleeping.send_replace(state.sleepers.len());
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shared.lock().now
    }

    async fn sleep_until(&self, time: Timestamp) {
        let (sender, woken) = oneshot::channel();
        let _place = {
            let mut state = self.shared.lock();
            if time <= state.now {
                return;
            }
            let key = (time, state.next_id);
            state.next_id += 1;
            state.sleepers.insert(key, sender);
            self.shared.count(&state);
            Place { shared: &self.shared, key }
        };
        let _ = woken.await;
    }
}

/// A sleeper's place, given up when it wakes or is dropped.
struct Place<'a> {
    shared: &'a Shared,
    key: (Timestamp, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.sleepers.remove(&self.key).is_some() {
            self.shared.count(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_sleeper_looks_at_the_wall_clock_at_least_every_half_minute() {
        assert_eq!(next_step(at(0), at(86_400)), Some(RECHECK));
        assert_eq!(next_step(at(0), at(10)), Some(Duration::from_secs(10)));
        assert_eq!(next_step(at(0), at(0) + Duration::from_nanos(5)), Some(Duration::from_millis(1)));
        assert_eq!(next_step(at(10), at(10)), None);
        assert_eq!(next_step(at(10), Timestamp::MIN), None);
        assert_eq!(next_step(Timestamp::MIN, Timestamp::MAX), Some(RECHECK));
    }

    #[tokio::test]
    async fn the_system_clock_sleeps_until_the_time_has_come() {
        let due = SystemClock.now() + Duration::from_millis(20);
        SystemClock.sleep_until(due).await;
        assert!(SystemClock.now() >= due);
        SystemClock.sleep_until(Timestamp::MIN).await;
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_times_and_no_sooner() {
        let clock = ManualClock::new(at(0));
        let (woken, mut order) = tokio::sync::mpsc::unbounded_channel();
        for day in [3, 1, 2, 1] {
            let (clock, woken) = (clock.clone(), woken.clone());
            tokio::spawn(async move {
                clock.sleep_until(at(day * 86_400)).await;
                woken.send(day).expect("received");
            });
        }
        clock.wait_for_sleepers(4).await;
        clock.advance(DAY - Duration::from_nanos(1));
        tokio::task::yield_now().await;
        assert!(order.try_recv().is_err(), "too soon");
        clock.advance(Duration::from_nanos(1));
        assert_eq!((order.recv().await, order.recv().await), (Some(1), Some(1)));
        assert_eq!(clock.next_wake(), Some(at(2 * 86_400)));
        clock.advance(30 * DAY);
        assert_eq!((order.recv().await, order.recv().await), (Some(2), Some(3)));
        assert_eq!(clock.next_wake(), None);
    }

    #[tokio::test]
    async fn thousands_sleep_and_each_wakes_once() {
        let clock = ManualClock::new(at(0));
        let sleepers: Vec<_> = (1..=5_000)
            .map(|second| {
                let clock = clock.clone();
                tokio::spawn(async move { clock.sleep_until(at(second)).await })
            })
            .collect();
        clock.wait_for_sleepers(5_000).await;
        clock.advance(Duration::from_secs(5_000));
        for sleeper in sleepers {
            sleeper.await.expect("woken");
        }
    }

    #[tokio::test]
    async fn a_dropped_sleeper_is_forgotten() {
        let clock = ManualClock::new(at(0));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(at(1)).await }
        });
        clock.wait_for_sleepers(1).await;
        sleeper.abort();
        assert!(sleeper.await.expect_err("aborted").is_cancelled());
        assert_eq!(clock.next_wake(), None);
    }

    #[tokio::test]
    async fn a_clock_set_back_keeps_its_sleepers_and_stops_at_the_end_of_time() {
        let clock = ManualClock::new(at(1_000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(at(1_001)).await }
        });
        clock.wait_for_sleepers(1).await;
        clock.set(at(0));
        assert_eq!((clock.now(), clock.next_wake()), (at(0), Some(at(1_001))));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
        sleeper.await.expect("woken");
    }
}
