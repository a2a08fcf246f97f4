//! `keyward audit verify`: whether the audit log is whole, from its first event to its last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use keyward::audit_file;
use keyward::config::Config;
use keyward::daemon;
use keyward::domain::chain::{Break, Noted, Walked};
use keyward::embedded::{self, CheckedLog};
use keyward::runtime::clock::SystemClock;

use super::Outcome;

/// Look at the audit log from outside.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward audit verify --config keyward.toml")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(Verify),
}

/// Check that no event of the audit log was changed, removed, added or moved.
///
/// Reads the whole log, or the audit file, and follows its chain of digests. Prints how much there is, and as its last
/// line the number and digest of the end, to be noted elsewhere: whoever can rewrite the whole log can make another whole
/// chain, which only --expect with an earlier note finds out. Exits 1 at the first break, and says where it is. Changes
/// nothing, needs no master key, and works while a broker runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward audit verify --config keyward.toml\n  \
                        keyward audit verify --data /var/lib/keyward --expect 1042:9f86d081…\n  \
                        keyward audit verify --file /var/log/keyward/audit.jsonl")]
struct Verify {
    #[command(flatten)]
    of: Source,
    /// An event (with --file, a line) as it was noted: the last line that an earlier check printed
    #[arg(long, value_name = "N:DIGEST")]
    expect: Option<Noted>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The log in the data folder, or the table, of this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The log in this data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// This audit file, as `audit.file` names it, or one that was rotated away
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let Command::Verify(Verify { of, expect }) = args.command;
    match of {
        Source { file: Some(file), .. } => check_file(&file, expect),
        Source { data: Some(folder), .. } => check_log(&folder, expect),
        Source { config: Some(config), .. } => {
            let config = Config::load(&config)?;
            // In a box, since it holds a call of the SDK.
            match Box::pin(daemon::check_shared_log(&config, expect, Arc::new(SystemClock))).await? {
                Some(checked) => Ok(report_log(&checked)),
                None => check_log(&config.data_dir, expect),
            }
        }
        // The command line is refused without one of them.
        Source { .. } => anyhow::bail!("nothing to verify was named"),
    }
}

fn check_file(file: &Path, expect: Option<Noted>) -> anyhow::Result<Outcome> {
    let outcome = audit_file::check_file(file, expect).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(report("line", &outcome, ""))
}

fn check_log(folder: &Path, expect: Option<Noted>) -> anyhow::Result<Outcome> {
    Ok(report_log(&embedded::check_audit_log(folder, expect)?))
}

fn report_log(CheckedLog { outcome, last_event }: &CheckedLog) -> Outcome {
    let pruned = match outcome {
        Ok(Walked { range: None, .. }) if *last_event > 0 => format!("; {last_event} were pruned"),
        Ok(Walked { range: Some((first, _)), start, .. }) if *start > *first => {
            format!("; the chain begins at event {start}, what is older has no digests and is not protected")
        }
        Ok(Walked { range: Some((first, _)), .. }) if *first > 1 => format!("; {} were pruned", first - 1),
        _ => String::new(),
    };
    report("event", outcome, &pruned)
}

fn report(what: &str, outcome: &Result<Walked, Break>, more: &str) -> Outcome {
    match outcome {
        Ok(walked) => {
            match walked.range {
                Some((first, last)) => println!("ok: {} {what}s, {first} to {last}{more}", walked.count),
                None => println!("ok: no {what}s{more}"),
            }
            if let Some(head) = walked.head {
                println!("{head}");
            }
            Outcome::Done
        }
        Err(broken) => {
            println!("broken: {}", broken.describe(what));
            Outcome::Unmet
        }
    }
}
