//! The `keyward` program: what is asked for is read in [`commands`], what it answers goes to the shell as an exit code.

mod commands;

/// Many small blocks come and go with every call, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
