//! The command line: `dev`, `serve`, `check`, `tour`, `audit verify`, `migrate`, `plan`, `completions` and `man`, and what the shell
//! learns of how they ended.
//!
//! Commands put configuration, logs, signals and the daemon together and print for people. What the daemon does is not
//! known here.

mod asking;
mod audit;
mod check;
mod completions;
mod dev;
mod home;
mod manual;
mod migrate;
mod plan;
mod ready_file;
mod serve;
mod tour;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use keyward::config::ConfigError;
use keyward::daemon::{MigrateError, StartError};
use keyward::net::InheritError;
use keyward::net::Inherited;
use keyward::runtime::hygiene;
use keyward::tour::TourError;

const ABOUT: &str = "Keeps the machine-to-machine credentials of a multi-tenant platform on Amazon Cognito: issues an \
                     app client for each tenant backend, rotates its secret without anybody noticing, hands out cached \
                     access tokens, tells internal services whose token they are looking at, and sends people to their tenant's \
                     sign-in.";

const AFTER: &str = "\
Examples:
  keyward tour                             go through the whole life of a credential
  keyward dev                              start a broker to play with on 127.0.0.1:7443
  keyward check --config keyward.toml      say what is in force, or what is wrong
  keyward serve --config keyward.toml      run a broker
  keyward audit verify --config keyward.toml
                                           check that nobody changed the audit log
  keyward migrate --from sqlite --to dynamodb --config keyward.toml
                           bring the records to where several brokers share them
  keyward plan --tenants 1000 --tokens-per-hour 60
                                           say what a platform costs, and what bounds it
  keyward completions bash                 have the shell complete command lines; keyward man prints the manual
  grpcurl -plaintext 127.0.0.1:7443 list   ask a running broker what it offers

Exit codes:
  0         done, or stopped by SIGTERM or SIGINT with every call under way finished
  1         it did not start, or it failed, or the tour found something that should not be, or check --live missed something,
            or check --as is denied, or the audit log is not whole
  2         the command line or the configuration is wrong; nothing was started
  3         stopped by a signal, with calls still under way at shutdown.drain_deadline
  130, 143  ended at once by a second SIGINT or SIGTERM

Environment:
  KEYWARD_MASTER_KEY  base64 of 32 bytes, where embedded.master_key_file is not set
  NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS
                      of systemd: whom to tell that it serves and lives, and sockets to listen on
  RUST_LOG            what is logged, such as info,keyward::broker=debug
  NO_COLOR            set to anything: no colours";

/// What can be asked for.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, about = ABOUT, after_help = AFTER, max_term_width = 120, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    Check(check::Args),
    Tour(tour::Args),
    Audit(audit::Args),
    Migrate(migrate::Args),
    Plan(plan::Args),
    Completions(completions::Args),
    Man(manual::Args),
}

/// What whoever started the process listens on for it.
type Sockets = Result<Inherited, InheritError>;

/// How a command ended well, or not quite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The tour's expectations were not all met, something is missing, or the audit log is broken. It has said so.
    Unmet,
    /// Calls were under way when the drain deadline passed.
    Late,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    // Before there is another thread, or another descriptor.
    let sockets = Inherited::from_env();
    // Before anything is read that is secret.
    hygiene::censor_panics();
    hygiene::protect();
    let result = match Cli::parse().command {
        Command::Dev(args) => in_runtime(dev::run(args, sockets)),
        Command::Serve(args) => in_runtime(serve::run(args, sockets)),
        Command::Check(args) => in_runtime(check::run(args)),
        Command::Tour(args) => in_runtime(tour::run(args)),
        Command::Audit(args) => in_runtime(audit::run(args)),
        Command::Migrate(args) => in_runtime(migrate::run(args)),
        Command::Plan(args) => plan::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => manual::run(&args),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Unmet) => ExitCode::from(1),
        Ok(Outcome::Late) => ExitCode::from(3),
        Err(error) => {
            eprintln!("keyward: {error:#}");
            ExitCode::from(if is_misuse(&error) { 2 } else { 1 })
        }
    }
}

/// Whether what was asked for is at fault, so that asking again is of no use.
fn is_misuse(error: &anyhow::Error) -> bool {
    let is_target = |cause: &TourError| matches!(cause, TourError::Target { .. });
    let is_misfit = |cause: &StartError| {
        matches!(cause, StartError::Policies(_) | StartError::Config(_) | StartError::HandedOver(_))
    };
    let is_of_a_start = |cause: &MigrateError| matches!(cause, MigrateError::Start(cause) if is_misfit(cause));
    error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.downcast_ref().is_some_and(is_target)
            || cause.downcast_ref().is_some_and(is_misfit)
            || cause.downcast_ref().is_some_and(is_of_a_start)
    })
}

fn in_runtime(command: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(command)
}

/// Where to write the address once calls are answered.
#[derive(Debug, clap::Args)]
struct ReadyFile {
    /// Write the address that is listened on, such as 127.0.0.1:7443, to this file once health answers SERVING, all at
    /// once, so that whoever waits for the file never reads half of it. It is removed when the daemon ends
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
