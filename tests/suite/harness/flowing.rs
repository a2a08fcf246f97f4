//! A manual clock that also moves by itself: past every short wait of whoever has it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::ports::Clock;
use keyward::runtime::clock::ManualClock;

/// Longer than the longest wait for a turn (a second), shorter than the time that a call may take.
const SHORT: Duration = Duration::from_secs(5);

/// For the AWS backend, which waits for its turn under the quotas: that costs a test no time, but the clock some. The end
/// of a call that hangs comes when the test moves the clock there.
#[derive(Clone)]
pub struct Flowing {
    clock: ManualClock,
    /// Or of two who wait, one would set the clock back.
    moving: Arc<Mutex<()>>,
}

impl Flowing {
    pub fn new(clock: ManualClock) -> Self {
        Flowing { clock, moving: Arc::default() }
    }
}

#[async_trait]
impl Clock for Flowing {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep_until(&self, time: Timestamp) {
        {
            let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            if now < time && time <= now + SHORT {
                self.clock.set(time);
            }
        }
        self.clock.sleep_until(time).await;
    }
}
