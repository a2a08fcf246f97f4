//! The daemon's clock as rate limiters want it.

use std::sync::Arc;

use governor::nanos::Nanos;

use crate::broker::ports::Clock;

/// Nanoseconds since 1970. It can be set back, which limiters do not expect: whoever waits for one bounds the wait.
#[derive(Clone)]
pub struct WallClock(pub Arc<dyn Clock>);

impl governor::clock::Clock for WallClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(u64::try_from(self.0.now().as_nanosecond()).unwrap_or(0))
    }
}
