//! Where work runs that goes on behind the calls.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::traces;

/// Runs work as tasks of its own, all on one runtime, whichever runtime asks for it.
///
/// Calls are answered on threads that each serve many connections. What a call sets going is not to hold up the others
/// there: a fetch, a rotation, a change that goes on when its caller has left. It goes on in the trace of whoever set it going.
#[derive(Clone, Debug)]
pub struct Background {
    tracker: TaskTracker,
    runtime: Handle,
}

impl Background {
    /// A drain waits for `tracker`.
    pub fn on(runtime: Handle, tracker: TaskTracker) -> Self {
        Background { tracker, runtime }
    }

    /// On the runtime that this is called on; it panics where there is none.
    pub fn here(tracker: TaskTracker) -> Self {
        Background::on(Handle::current(), tracker)
    }

    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tracker.spawn_on(traces::carry(work), &self.runtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_where_it_was_made_whoever_asks() {
        let (here, tracker) = (std::thread::current().id(), TaskTracker::new());
        let background = Background::here(tracker.clone());
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _entered = runtime.enter();
            background.spawn(async { std::thread::current().id() })
        });
        // Its thread is this one, which is given away while it waits.
        while !elsewhere.is_finished() {
            tokio::task::yield_now().await;
        }
        let ran_on = elsewhere.join().expect("it asked").await.expect("it ran");
        assert_eq!(ran_on, here);
        tracker.close();
        tracker.wait().await;
    }
}
