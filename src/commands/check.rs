//! `keyward check`: parses a configuration, prints what is in force, and exits.

use std::path::PathBuf;

use keyward::config::{Config, MasterKeySource};

use super::Outcome;

/// Check a configuration file and print what is in force.
///
/// Prints every key with its value, its default, its limits and what it is for, as TOML that can be used as it is.
/// What is wrong is one line that names the file, the line and the key, and exit code 2. No secret is read or printed,
/// and nothing is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward check --config keyward.toml\n  \
                        keyward check --config keyward.toml > full.toml    write every key out")]
pub(super) struct Args {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load(&args.config)?;
    let source = config.master_key_source().map_err(|error| error.in_file(&args.config))?;
    if let Some(MasterKeySource::File(path)) = &source {
        super::home::check_key_file(path).map_err(|error| error.in_file(&args.config))?;
    }
    let origin = match source {
        Some(MasterKeySource::File(path)) => format!(" The master key comes from the file {}.", path.display()),
        Some(MasterKeySource::Variable(name)) => format!(" The master key comes from the environment variable {name}."),
        None => String::new(),
    };
    println!("# {} is valid.{origin}\n", args.config.display());
    print!("{}", config.explain());
    Ok(Outcome::Done)
}
