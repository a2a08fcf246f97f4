//! `[limits]`: what callers may take, and the limits of each key.

use serde::Deserialize;

use super::setting::{Setting, count};

/// `[limits]`: how often callers may call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls of one caller a second: 1 to 1,000,000. A stream counts as one call.
    pub calls_per_second: u32,
    /// How many of them may come at once: 1 to 1,000,000.
    pub calls_burst: u32,
    /// Calls from one source address a second that fail to prove who makes them: 1 to 1,000. Ten seconds' worth of them may
    /// come at once.
    pub failures_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { calls_per_second: 1_000, calls_burst: 2_000, failures_per_second: 5 }
    }
}

/// Every key of the section, in the order in which they are explained.
pub(super) fn settings(limits: &Limits) -> Vec<Setting> {
    vec![
        Setting::new("limits.calls_per_second", count(limits.calls_per_second), "Calls of each caller a second")
            .within(1, 1_000_000),
        Setting::new("limits.calls_burst", count(limits.calls_burst), "How many of them may come at once")
            .within(1, 1_000_000),
        Setting::new(
            "limits.failures_per_second",
            count(limits.failures_per_second),
            "Calls of each source address that fail to prove who makes them; ten seconds' worth may come at once",
        )
        .within(1, 1_000),
    ]
}
