//! What is told of calls to AWS: how many of each operation, how they ended, and what of the account's quotas is left.
//!
//! Operations, quotas and Regions are those of the table of operations and of the configuration. Nothing is told by pool: there
//! may be as many as tenants.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::calls::{Calls, TOKEN_ENDPOINT};
use super::governor::{Category, Limit};
use super::operations::OPERATIONS;
use crate::broker::ports::{ENDS, GIVEN_UP, PortResult, end_of};
use crate::counts::{Count, Counts, Sheet, Told};

/// Over so many seconds the use of a quota is averaged.
const SECONDS: u64 = 10;
const SLOTS: usize = 16;
/// Of a slot: the lower bits are calls, the rest is the second that they were in.
const CALL_BITS: u32 = 20;

/// How many calls there were, by operation and by how they ended.
#[derive(Debug)]
pub(super) struct Made(HashMap<&'static str, Counts<{ ENDS.len() }>>);

impl Made {
    pub fn new() -> Self {
        let operations = OPERATIONS.iter().map(|operation| operation.name).chain([TOKEN_ENDPOINT]);
        Made(operations.map(|operation| (operation, Counts::default())).collect())
    }

    /// A call begins. It was given up unless its end is said.
    pub fn begin(&self, operation: &str) -> Call<'_> {
        Call { counts: self.0.get(operation), end: GIVEN_UP }
    }
}

/// A call under way, counted when this is dropped.
pub(super) struct Call<'a> {
    counts: Option<&'a Counts<{ ENDS.len() }>>,
    end: usize,
}

impl Call<'_> {
    pub fn ended<T>(mut self, outcome: &PortResult<T>) {
        self.end = end_of(outcome);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(counts) = self.counts {
            counts.count(self.end);
        }
    }
}

/// How much of a limit was used. Only whoever has the limit's line writes to it.
#[derive(Debug, Default)]
pub(super) struct Used {
    all: Count,
    pub refused: Count,
    recent: [AtomicU64; SLOTS],
}

impl Used {
    pub fn one(&self, now: Timestamp) {
        self.all.add(1);
        let second = second(now);
        let slot = &self.recent[second as usize % SLOTS];
        let known = slot.load(Ordering::Relaxed);
        let is_same = known >> CALL_BITS == second;
        slot.store(if is_same { known + 1 } else { second << CALL_BITS | 1 }, Ordering::Relaxed);
    }

    /// Calls a second in the ten whole seconds before this one.
    fn a_second(&self, now: Timestamp) -> f64 {
        let now = second(now);
        let slots = self.recent.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = slots.filter(|slot| (1..=SECONDS).contains(&now.wrapping_sub(slot >> CALL_BITS)));
        let calls: u64 = recent.map(|slot| slot & ((1 << CALL_BITS) - 1)).sum();
        calls as f64 / SECONDS as f64
    }
}

/// As far as fits beside the calls; two seconds with one number are half a million years apart.
fn second(time: Timestamp) -> u64 {
    time.as_second().unsigned_abs() & ((1 << (64 - CALL_BITS)) - 1)
}

impl Told for Calls {
    fn tell(&self, sheet: &mut Sheet) {
        let calls = sheet.counter("keyward_aws_calls_total", "Calls to AWS by operation, and how they ended");
        let mut made: Vec<_> = self.made.0.iter().collect();
        made.sort_by_key(|(operation, _)| **operation);
        for (operation, ends) in made {
            for (end, count) in ends.counted() {
                calls.count(&[("operation", operation), ("outcome", ENDS[end])], count);
            }
        }
        let now = self.clock.now();
        let mut limits = self.governor.limits();
        limits.sort_by(|(one, _), (other, _)| (&one.0, one.1.name()).cmp(&(&other.0, other.1.name())));
        tell_of(sheet, &limits, |limit| self.governor.rate(limit, now), now);
    }
}

type Known = ((String, Category), Arc<Limit>);

fn tell_of(sheet: &mut Sheet, limits: &[Known], rate: impl Fn(&Limit) -> f64, now: Timestamp) {
    let mut gauge = |name, help, value: &dyn Fn(&Limit) -> f64| {
        let metric = sheet.gauge(name, help);
        for ((region, category), limit) in limits {
            metric.number(&[("quota", category.name()), ("region", region)], value(limit));
        }
    };
    gauge(
        "keyward_aws_quota_per_second",
        "Calls a second that this broker may make: its share of the quota, of those quotas that it has used",
        &|limit| rate(limit),
    );
    gauge(
        "keyward_aws_quota_left_per_second",
        "What of that was left, on the mean of the last ten seconds",
        &|limit| (rate(limit) - limit.used.a_second(now)).max(0.0),
    );
    let mut counter = |name, help, value: &dyn Fn(&Limit) -> u64| {
        let metric = sheet.counter(name, help);
        for ((region, category), limit) in limits {
            metric.count(&[("quota", category.name()), ("region", region)], value(limit));
        }
    };
    counter("keyward_aws_quota_used_total", "Calls that had their turn under a quota", &|limit| limit.used.all.get());
    counter(
        "keyward_aws_quota_refused_total",
        "Calls that were not made, since their turn under the quota would have come too late",
        &|limit| limit.used.refused.get(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_averaged_over_ten_whole_seconds() {
        let used = Used::default();
        let at = |second: i64| Timestamp::from_second(1_767_225_600 + second).expect("in range");
        for second in 0..40 {
            for _ in 0..second {
                used.one(at(second));
            }
        }
        // Seconds 30 to 39, and never the one that is not over.
        assert_eq!(used.a_second(at(40)), 34.5);
        assert_eq!(used.a_second(at(39)), 33.5);
        assert_eq!((used.a_second(at(60)), used.all.get()), (0.0, 780));
    }

    #[test]
    fn a_call_that_nobody_waits_for_any_more_was_given_up() {
        let made = Made::new();
        drop(made.begin("CreateUserPool"));
        made.begin("CreateUserPool").ended(&Ok(()));
        drop(made.begin("NoSuchOperation"));
        let counted: Vec<_> = made.0["CreateUserPool"].counted().collect();
        assert_eq!(counted, [(0, 1), (GIVEN_UP, 1)]);
    }
}
