//! Waiting for as long as things come on.
//!
//! A machine that has much else to do is slow, and not still. So nothing here has to be done by a time: what is waited for
//! has to come on.

use std::time::{Duration, Instant};

/// So long nothing may come on. Longer than what is waited for in silence: a share of the quotas after a broker has died.
const STANDSTILL: Duration = Duration::from_secs(60);

/// How much is left, and since when.
pub struct Progress {
    least: usize,
    since: Instant,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { least: usize::MAX, since: Instant::now() }
    }

    /// So much is left now. Says whether that has been so for too long.
    pub fn stands_still(&mut self, left: usize) -> bool {
        if left < self.least {
            *self = Progress { least: left, since: Instant::now() };
        }
        self.since.elapsed() > STANDSTILL
    }
}
