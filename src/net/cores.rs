//! Threads for the connections of known callers, one for each processor.
//!
//! Each has a runtime of its own. A connection and all of its calls are on one of them, so nothing is woken across threads
//! and nobody waits for what another connection does elsewhere. Strangers are not let in: they stay where handshakes are
//! made, and wait for turns there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::turns::Turns;

/// The threads. They end when this is dropped, and whatever runs on them with them.
#[derive(Debug)]
pub struct Cores {
    cores: Arc<[Core]>,
    /// One set for all who serve, so that strangers have half of the processors however many front doors there are.
    turns: Turns,
    _stop: DropGuard,
}

/// Where to put connections.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<[Core]>);

#[derive(Debug)]
struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Cores {
    /// One thread for each processor that the process may use. Fails where the system gives no thread.
    pub fn start() -> io::Result<Cores> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = CancellationToken::new();
        let core = |number: usize| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let stopped = stop.clone();
            std::thread::Builder::new()
                .name(format!("core-{number}"))
                .spawn(move || runtime.block_on(stopped.cancelled()))?;
            Ok(Core { runtime: handle, connections: Arc::default() })
        };
        let cores = (0..processors).map(core).collect::<io::Result<_>>()?;
        Ok(Cores { cores, turns: Turns::new(), _stop: stop.drop_guard() })
    }

    /// What connections run on.
    pub fn runtimes(&self) -> impl Iterator<Item = Handle> {
        self.cores.iter().map(|core| core.runtime.clone())
    }

    pub(super) fn places(&self) -> Places {
        Places(self.cores.clone())
    }

    pub(super) fn turns(&self) -> Turns {
        self.turns.clone()
    }
}

impl Places {
    /// Runs what a connection does on the thread that has the fewest of them.
    pub fn spawn(&self, tracker: &TaskTracker, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(core) = self.0.iter().min_by_key(|core| core.connections.load(Ordering::Relaxed)) else { return };
        let counted = Counted::one(&core.connections);
        tracker.spawn_on(
            async move {
                connection.await;
                drop(counted);
            },
            &core.runtime,
        );
    }
}

/// One connection more, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_what_ended_makes_room() {
        let (cores, tracker, end) = (Cores::start().expect("threads"), TaskTracker::new(), CancellationToken::new());
        let threads = Arc::new(Mutex::new(HashMap::<_, usize>::new()));
        let places = cores.places();
        for _ in 0..4 * cores.cores.len() {
            let (threads, end) = (threads.clone(), end.clone());
            places.spawn(&tracker, async move {
                *threads.lock().expect("kept").entry(std::thread::current().id()).or_default() += 1;
                end.cancelled().await;
            });
        }
        end.cancel();
        tracker.close();
        tracker.wait().await;
        let threads = threads.lock().expect("kept");
        assert!(threads.len() == cores.cores.len() && threads.values().all(|number| *number == 4), "{threads:?}");
        assert!(cores.cores.iter().all(|core| core.connections.load(Ordering::Relaxed) == 0));
    }
}
