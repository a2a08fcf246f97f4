//! How long a stop takes, for whoever waits for it and would kill the process.

use std::time::Duration;

use crate::config::Config;

/// The end of a membership takes a write to the table, which is given up after 4 s; what comes after it is little.
const LEAVING: Duration = Duration::from_secs(10);

/// How long a daemon with this configuration takes to stop at the most.
pub fn longest_stop(config: &Config) -> Duration {
    within(config.shutdown.drain_deadline)
}

/// Calls, then background work, each for the whole deadline; then the membership ends.
pub(super) fn within(drain_deadline: Duration) -> Duration {
    2 * drain_deadline + LEAVING
}
