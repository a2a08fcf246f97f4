//! Turns for strangers. A handshake's cryptography and the headers of a call take up to milliseconds, in which a thread does
//! nothing else. Where many strangers come at once, known callers would wait behind all of them. So strangers are worked for on
//! half of the processors, and there for half of the time: after a long step its turn rests as long as the step took, and
//! whoever waits for the processor has it then, where a thread that goes on would keep it for some ticks of the kernel's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// A step that is shorter is followed by the next one at once.
const LONG_STEP: Duration = Duration::from_micros(100);

#[derive(Clone, Debug)]
pub(super) struct Turns(PollSemaphore);

impl Turns {
    pub fn new() -> Self {
        let half = std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1));
        Turns::of(half)
    }

    fn of(turns: usize) -> Self {
        Turns(PollSemaphore::new(Arc::new(Semaphore::new(turns))))
    }

    /// Waits no longer for a turn. One that comes to somebody who does not take it would be nobody's any more.
    pub fn leave(&mut self) {
        // The clone waits for nothing, and what was waiting is dropped.
        self.0 = self.0.clone();
    }

    /// Polls `future` once it has a turn. It has none while it waits for its peer.
    pub fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let turn = ready!(self.0.poll_acquire(cx));
        let start = Instant::now();
        let outcome = future.poll(cx);
        let took = start.elapsed();
        if let Some(turn) = turn.filter(|_| took >= LONG_STEP) {
            tokio::spawn(rest(turn, took));
        }
        outcome
    }
}

/// Gives the turn back after as long as it took; tokio rounds that up to whole milliseconds.
async fn rest(turn: OwnedSemaphorePermit, took: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + took).await;
    drop(turn);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::task::noop_waker;

    use super::*;

    #[test]
    fn a_turn_that_comes_to_who_waits_no_longer_goes_to_the_next() {
        let (mut known, mut next) = {
            let turns = Turns::of(1);
            (turns.clone(), turns)
        };
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let taken = next.0.clone_inner().try_acquire_owned().expect("free");
        assert!(known.poll(pin!(std::future::ready(())), &mut cx).is_pending(), "it has to wait");
        known.leave();
        drop(taken);
        assert!(next.poll(pin!(std::future::ready(())), &mut cx).is_ready(), "the turn is lost");
    }
}
