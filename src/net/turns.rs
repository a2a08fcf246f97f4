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

use super::crowd::Guest;

/// A step that is shorter is followed by the next one at once.
const LONG_STEP: Duration = Duration::from_micros(100);

#[derive(Clone, Debug)]
pub(super) struct Turns {
    turns: PollSemaphore,
    is_waiting: bool,
}

impl Turns {
    pub fn new() -> Self {
        let half = std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1));
        Turns::of(half)
    }

    fn of(turns: usize) -> Self {
        Turns { turns: PollSemaphore::new(Arc::new(Semaphore::new(turns))), is_waiting: false }
    }

    /// Polls `future`, of a stranger once it has a turn. It has none while it waits for its peer.
    pub fn poll_of<F: Future + ?Sized>(
        &mut self,
        guest: &Guest,
        future: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        if guest.is_stranger() {
            return self.poll(future, cx);
        }
        // It may have become known while it waited. A turn that comes to who does not take it would be nobody's any more.
        if std::mem::take(&mut self.is_waiting) {
            // The clone waits for nothing, and what was waiting is dropped.
            self.turns = self.turns.clone();
        }
        future.poll(cx)
    }

    /// Polls `future` once it has a turn.
    pub fn poll<F: Future + ?Sized>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.is_waiting = true;
        let turn = ready!(self.turns.poll_acquire(cx));
        self.is_waiting = false;
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

    use super::super::crowd::Crowd;
    use super::*;

    #[test]
    fn a_turn_that_comes_to_who_waits_no_longer_goes_to_the_next() {
        let (mut known, mut next) = {
            let turns = Turns::of(1);
            (turns.clone(), turns)
        };
        let crowd = Crowd::new(1);
        let place = crowd.admit().expect("room");
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let taken = next.turns.clone_inner().try_acquire_owned().expect("free");
        let mut poll = |cx: &mut _| known.poll_of(place.guest(), pin!(std::future::ready(())), cx);
        assert!(poll(&mut cx).is_pending(), "it has to wait");
        place.guest().is_known();
        assert!(poll(&mut cx).is_ready(), "it waits for a turn that it needs no more");
        drop(taken);
        assert!(next.poll(pin!(std::future::ready(())), &mut cx).is_ready(), "the turn is lost");
    }
}
