//! Threads for work that nobody waits for as they wait for the answer to a call.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::priority::give_way;

/// A runtime whose threads let all others go first. It ends when this is dropped, and whatever runs there with it.
#[derive(Debug)]
pub struct Behind {
    runtime: Handle,
    _stop: DropGuard,
}

impl Behind {
    /// One thread for each processor that the process may use, and more for what blocks. Fails where the system gives no
    /// thread.
    pub fn start() -> io::Result<Behind> {
        let runtime =
            Builder::new_multi_thread().enable_all().thread_name("behind").on_thread_start(give_way).build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        // A runtime cannot be dropped where tasks run, and this may be.
        std::thread::Builder::new().name("behind".to_owned()).spawn(move || {
            give_way();
            runtime.block_on(stopped.cancelled());
            runtime.shutdown_background();
        })?;
        Ok(Behind { runtime: handle, _stop: stop.drop_guard() })
    }

    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }
}
