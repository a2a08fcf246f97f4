//! `keyward migrate`: the records of a single broker, brought to where several can share them.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use keyward::config::Config;
use keyward::daemon::{self, Migrated};
use keyward::runtime::clock::SystemClock;

use super::Outcome;

/// Bring the records and the audit log of a data folder into a table that several brokers share.
///
/// The configuration names both: data_dir and registry.table. No broker may work on the folder meanwhile, and the table
/// must be there and be empty. Everything is compared when it is over; the folder is not changed. If it is cut off, run it
/// again: until it has come to its end no broker starts on the table. It refuses a table that has anything else in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward migrate --from sqlite --to dynamodb --config keyward.toml")]
pub(super) struct Args {
    /// Where the records are
    #[arg(long)]
    from: From,
    /// Where they are to be
    #[arg(long)]
    to: To,
    /// The configuration that brokers on the table will have
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// In data_dir
    Sqlite,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    /// In registry.table
    Dynamodb,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let (From::Sqlite, To::Dynamodb) = (args.from, args.to);
    let config = Config::load(&args.config)?;
    // In a box, since it holds a call of the SDK.
    let Migrated { records, events, brought } = Box::pin(daemon::migrate(&config, Arc::new(SystemClock))).await?;
    println!("ok: {records} records and {events} events are the same on both sides; {brought} were brought over now");
    println!("Start brokers with this configuration, and none on {} any more.", config.data_dir.display());
    Ok(Outcome::Done)
}
