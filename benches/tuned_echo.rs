//! The echo server that leaves nothing undone, for `calls` to measure beside the daemon.

#[allow(dead_code, reason = "the other bench program serves the stock one")]
#[path = "calls/echo.rs"]
mod echo;

use std::path::Path;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo bench` starts it too, and wants nothing of it.
    if arguments.get(1).is_some_and(|argument| argument == "serve") {
        echo::tuned(&echo::Answers::read(Path::new(&arguments[2])));
    }
}
