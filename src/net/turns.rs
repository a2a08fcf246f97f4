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
        Turns(PollSemaphore::new(Arc::new(Semaphore::new(half))))
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
