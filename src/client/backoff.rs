//! How long to wait before a stream is opened again: longer each time, and never the same for everybody.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// 100 ms, doubled with each failure up to 10 s; of that a random part between half and all is waited, so that those who have
/// lost one broker do not come to the next at one moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something has come through.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub async fn wait(&mut self) {
        let wait = self.next(random());
        sleep_until(Instant::now() + wait).await;
    }

    /// `part` of 255.
    fn next(&mut self, part: u8) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full / 2 + full / 2 * u32::from(part) / 255
    }
}

fn random() -> u8 {
    let mut byte = [0];
    // Without any, all wait for the same time.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next(255)).collect();
        assert_eq!((waits[0], waits[1], waits[19]), (FIRST, 2 * FIRST, LONGEST));
        assert!(waits.is_sorted());
        backoff.reset();
        assert_eq!(backoff.next(0), FIRST / 2);
    }
}
