//! A manual clock that also moves by itself: past every wait of whoever has it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::ports::Clock;
use keyward::runtime::clock::ManualClock;

/// For the AWS backend, which waits for its turn under the quotas: that costs a test no time, but the clock some.
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
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        if time > self.clock.now() {
            self.clock.set(time);
        }
    }
}
