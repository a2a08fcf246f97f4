//! Where work runs that goes on behind the calls.

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

use crate::domain::error::{Error, Result};
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

    /// Carries work through to its end, whatever becomes of whoever waits for it. `what` it is is said where it panics.
    pub fn finish<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> impl Future<Output = Result<T>> {
        let task = self.spawn(work);
        async move {
            // What a panic said may quote a secret, and a `JoinError` repeats it.
            let how = |lost: JoinError| if lost.is_panic() { "its task panicked" } else { "its task was cancelled" };
            task.await.unwrap_or_else(|lost| Err(Error::internal(what, how(lost))))
        }
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

    #[tokio::test]
    async fn what_a_panic_said_is_not_told() {
        let background = Background::here(TaskTracker::new());
        let work = async { panic!("a s3cret") };
        let error = background.finish::<()>("trying", work).await.expect_err("it panicked");
        assert_eq!(error.internal_detail().as_deref(), Some("trying: its task panicked"));
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
