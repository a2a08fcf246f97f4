//! Work for which the threads that answer hits are too good.
//!
//! A call that changes something, or lists, decides about permission, reads a message and writes one: a quarter of a
//! millisecond and more, in which nobody behind it is answered. So it is done where handshakes are, at the priority of
//! those, and the thread that its connection is on only passes the answer on. A stranger's connection is there already, and
//! takes turns.

use std::panic::resume_unwind;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::task::AbortOnDropHandle;

/// The runtime that handshakes and strangers are on.
#[derive(Clone)]
pub(super) struct Aside(Handle);

impl Aside {
    /// The one that this is called on.
    pub fn here() -> Self {
        Aside(Handle::current())
    }

    /// Does it there, and gives it up when this is dropped.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        if Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread {
            return work.await;
        }
        match AbortOnDropHandle::new(self.0.spawn(work)).await {
            Ok(done) => done,
            // As it would have gone without a detour. Nobody aborts it but whoever no longer waits here, or the end of all.
            Err(lost) => match lost.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::oneshot;

    use super::*;

    /// The runtime that work is done on, and what does it there.
    fn elsewhere() -> (Runtime, Aside) {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let aside = runtime.block_on(async { Aside::here() });
        (runtime, aside)
    }

    fn core() -> Runtime {
        Builder::new_current_thread().build().expect("a runtime")
    }

    async fn thread() -> ThreadId {
        thread::current().id()
    }

    #[test]
    fn a_thread_that_answers_hits_does_none_of_it_and_others_do_their_own() {
        let (runtime, aside) = elsewhere();
        assert_ne!(core().block_on(aside.run(thread())), thread::current().id());
        assert_eq!(runtime.block_on(aside.run(thread())), thread::current().id());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_given_up() {
        let (_runtime, aside) = elsewhere();
        let (alive, dropped) = oneshot::channel::<()>();
        core().block_on(async {
            let waiting = aside.run(async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            });
            assert!(futures::poll!(Box::pin(waiting)).is_pending());
            assert!(dropped.await.is_err(), "its end is dropped with the work");
        });
    }

    #[test]
    #[should_panic(expected = "the work's own words")]
    fn a_panic_goes_on_where_it_was_waited_for() {
        let (_runtime, aside) = elsewhere();
        core().block_on(aside.run(async { panic!("the work's own words") }));
    }
}
