//! The end: signals that ask for it, and waiting for what is under way, with a deadline.
//!
//! It does not know what drains. Being asked to end is a [`CancellationToken`], so that tests and other parts can ask
//! as well as the operating system.

use std::io;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A token that SIGTERM or SIGINT (Ctrl-C) cancels. A second signal ends the process at once with 128 plus the
/// signal's number, as a shell reports it: 143 or 130.
///
/// Call it once, within a runtime. The task that listens lives as long as the process.
#[expect(clippy::exit, reason = "the second signal asks for exactly this")]
pub fn on_signals() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let asked = token.clone();
    tokio::spawn(async move {
        let first = signals.next().await;
        tracing::info!(signal = first.name, "asked to end; once more ends at once");
        asked.cancel();
        let second = signals.next().await;
        tracing::warn!(signal = second.name, "asked to end again: not waiting for calls under way");
        std::process::exit(128 + second.number);
    });
    Ok(token)
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// Everything ended by itself.
    Clean,
    /// The deadline passed with this many tasks still running.
    Late(usize),
}

impl Drained {
    /// Of two drains as one.
    pub fn and(self, other: Drained) -> Drained {
        match (self, other) {
            (Drained::Clean, Drained::Clean) => Drained::Clean,
            (Drained::Late(n), Drained::Clean) | (Drained::Clean, Drained::Late(n)) => Drained::Late(n),
            (Drained::Late(n), Drained::Late(m)) => Drained::Late(n.saturating_add(m)),
        }
    }
}

/// Waits until every task of `tracker` has ended, for `deadline` at the longest. Ask the tasks to end first; those that
/// are late go on running, for whoever owns them to abort.
pub async fn drain(tracker: TaskTracker, deadline: Duration) -> Drained {
    tracker.close();
    match tokio::time::timeout(deadline, tracker.wait()).await {
        Ok(()) => Drained::Clean,
        Err(_) => match tracker.len() {
            // The last one ended as the deadline passed.
            0 => Drained::Clean,
            late => Drained::Late(late),
        },
    }
}

struct Signal {
    name: &'static str,
    number: i32,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal { name: "SIGTERM", number: 15 },
            _ = self.interrupt.recv() => Signal { name: "SIGINT", number: 2 },
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal { name: "Ctrl-C", number: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_what_is_under_way() {
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        for _ in 0..3 {
            let token = token.clone();
            tracker.spawn(async move { token.cancelled().await });
        }
        let draining = tokio::spawn(drain(tracker.clone(), Duration::from_secs(60)));
        tokio::task::yield_now().await;
        assert!(!draining.is_finished());
        token.cancel();
        assert_eq!(draining.await.expect("drained"), Drained::Clean);
    }

    #[tokio::test]
    async fn a_drain_ends_at_its_deadline_and_says_how_many_are_late() {
        let tracker = TaskTracker::new();
        tracker.spawn(std::future::ready(()));
        for _ in 0..2 {
            tracker.spawn(std::future::pending::<()>());
        }
        assert_eq!(drain(tracker, Duration::from_millis(20)).await, Drained::Late(2));
    }

    #[tokio::test]
    async fn with_nothing_under_way_a_drain_is_over_at_once() {
        assert_eq!(drain(TaskTracker::new(), Duration::ZERO).await, Drained::Clean);
        assert_eq!(Drained::Late(2).and(Drained::Late(1)).and(Drained::Clean), Drained::Late(3));
    }
}
