//! The `keyward` program: what is asked for is read in [`commands`], what it answers goes to the shell as an exit code.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
