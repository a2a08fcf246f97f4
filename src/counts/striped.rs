//! Counters of what happens thousands of times a second on several processors.
//!
//! Each has as many stripes as twice the processors, 64 at the most, and each thread adds to one of them: threads that
//! answer calls are as many as processors, so they rarely share one, and if they do nothing is lost. Whoever reads adds the
//! stripes up. What is read was so at no single moment, but nothing is counted twice or goes back.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// More stripes are not worth their memory.
const MOST: usize = 64;

/// The bounds of durations in seconds, as OpenTelemetry advises for `rpc.server.call.duration`. There is one bucket more,
/// for what is above all of them.
pub const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const BUCKETS: usize = BOUNDS.len() + 1;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The number of this thread among those that count.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let known = NUMBER.get();
    if known != usize::MAX {
        return known;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    number
}

/// As many as a power of two.
fn stripes() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).next_power_of_two().min(MOST)
}

/// The stripe of this thread.
fn own<T>(stripes: &[T]) -> &T {
    // In range, as their number is a power of two.
    &stripes[number() & (stripes.len() - 1)]
}

/// A counter.
#[derive(Debug)]
pub struct Striped(Box<[Line]>);

/// Alone in its lines of the cache, of which processors fetch two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Default for Striped {
    fn default() -> Self {
        Striped((0..stripes()).map(|_| Line::default()).collect())
    }
}

impl Striped {
    /// One more.
    pub fn count(&self) {
        own(&self.0).0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

/// How often something took how long.
#[derive(Debug)]
pub struct Histogram(Box<[Durations]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Durations {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

/// What a [`Histogram`] has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// How many were within each of [`BOUNDS`] and above the one before, and how many above all of them.
    pub buckets: [u64; BUCKETS],
    pub seconds: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram((0..stripes()).map(|_| Durations::default()).collect())
    }
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        let durations = own(&self.0);
        durations.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        durations.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        for durations in &self.0 {
            for (sum, bucket) in observed.buckets.iter_mut().zip(&durations.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            observed.seconds += Duration::from_nanos(durations.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        }
        observed
    }
}

impl Observed {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_or_counted_twice_however_many_threads_count() {
        let (counter, histogram) = (Striped::default(), Histogram::default());
        std::thread::scope(|scope| {
            for _ in 0..3 * MOST {
                scope.spawn(|| {
                    for _ in 0..100 {
                        counter.count();
                        histogram.observe(Duration::from_millis(20));
                    }
                });
            }
        });
        let all = 3 * MOST as u64 * 100;
        let observed = histogram.observed();
        assert_eq!((counter.get(), observed.count(), observed.buckets[2]), (all, all, all));
        assert!((observed.seconds - all as f64 * 0.02).abs() < 1e-6, "{}", observed.seconds);
    }

    #[test]
    fn a_bound_is_in_its_bucket_and_what_is_above_all_of_them_in_the_last() {
        let histogram = Histogram::default();
        for milliseconds in [0, 5, 6, 10_000, 10_001] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let buckets = histogram.observed().buckets;
        assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (2, 1, 1, 1));
    }
}
