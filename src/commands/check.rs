//! `keyward check`: parses a configuration, prints what is in force or tries what it needs, and exits.

use std::path::PathBuf;
use std::sync::Arc;

use keyward::config::{Config, MasterKeySource};
use keyward::daemon::{self, Verdict};
use keyward::runtime::clock::SystemClock;

use super::Outcome;
use super::asking::Asking;

/// Check a configuration file and print what is in force.
///
/// Prints every key with its value, its default, its limits and what it is for, as TOML that can be used as it is.
/// What is wrong is one line that names the file, the line and the key, and exit code 2. No secret is read or printed,
/// and nothing is started.
///
/// With --live it tries what a broker would need instead: the data folder, and the master key of the embedded backend, or
/// on AWS credentials, endpoints, each permission, the table, the key of shared tokens and the adopted pools. One line for each: ok, missing (what is wrong
/// and what mends it), or not tried (why). Nothing is changed: a write is tried on what does not exist. Exit code 1 if
/// anything is missing.
///
/// With --as it says whether a caller may do something, and which policies say so. Exit code 1 if it may not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward check --config keyward.toml\n  \
                        keyward check --config keyward.toml > full.toml    write every key out\n  \
                        keyward check --config keyward.toml --live         try what it needs\n  \
                        keyward check --config keyward.toml --as spiffe://example.org/orders --of tenants/acme \\\n    \
                        --action GetToken --on tenants/acme/clients/orders      say whether it may")]
pub(super) struct Args {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Try what a broker with this configuration needs, and change nothing
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    if let Some(outcome) = args.asking.explain(&config)? {
        return Ok(outcome);
    }
    daemon::permissions(&config)?;
    let source = config.master_key_source().map_err(|error| error.in_file(&args.config))?;
    if let Some(MasterKeySource::File(path)) = &source {
        let checked = super::home::check_key_file("embedded.master_key_file", path);
        checked.map_err(|error| error.in_file(&args.config))?;
    }
    if let Some(path) = &config.registry.token_key_file {
        let checked = super::home::check_key_file("registry.token_key_file", path);
        checked.map_err(|error| error.in_file(&args.config))?;
    }
    let origin = match source {
        Some(MasterKeySource::File(path)) => format!(" The master key comes from the file {}.", path.display()),
        Some(MasterKeySource::Variable(name)) => format!(" The master key comes from the environment variable {name}."),
        None => String::new(),
    };
    println!("# {} is valid.{origin}\n", args.config.display());
    if args.live {
        return try_out(&config).await;
    }
    print!("{}", config.explain());
    Ok(Outcome::Done)
}

async fn try_out(config: &Config) -> anyhow::Result<Outcome> {
    let findings = daemon::try_out(config, Arc::new(SystemClock)).await?;
    for finding in &findings {
        println!("{finding}");
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let missing = count(Verdict::Missing);
    println!("\n{} ok, {missing} missing, {} not tried", count(Verdict::Fine), count(Verdict::NotTried));
    Ok(if missing == 0 { Outcome::Done } else { Outcome::Unmet })
}
