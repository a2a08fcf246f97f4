//! `keyward plan`: what a platform of so many tenants takes of AWS, in either model, before anything is made.
//!
//! It asks nobody: it computes from Amazon's list prices and quotas ([`prices`]) and from what Keyward's own steps call
//! ([`model`]). What it does not count it says.

mod model;
mod prices;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use keyward::config::Config;

use super::Outcome;
use model::Plan;

/// Say what either model of tenancy gives a platform, what it costs, what bounds it, and how long onboarding takes.
///
/// For machines alone: people who sign in, and what they cost, are not counted. Nothing is asked for and nothing is changed:
/// it is computed from Amazon's list prices and quotas, those of a configuration where one is named. Prices are those of
/// the first tier throughout, so it is an upper bound. Not counted: KMS keys of your own, DynamoDB, logs, traffic, the
/// machines that brokers run on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward plan --tenants 1000 --tokens-per-hour 60\n  \
                        keyward plan --tenants 200 --tokens-per-hour 3600 --clients-per-tenant 3 --token-validity 24h\n  \
                        keyward plan --tenants 5000 --tokens-per-hour 60 --config keyward.toml    with its quotas\n  \
                        keyward plan --tenants 1000 --tokens-per-hour 60 --markdown")]
pub(super) struct Args {
    /// Tenants
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    tenants: u32,
    /// How many tokens all backends of one tenant together ask for in an hour
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    tokens_per_hour: u32,
    /// App clients of each tenant
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients_per_tenant: u32,
    /// Different scope sets that each client asks for: each is a token of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    scope_sets: u32,
    /// How long a token lives, 5m to 24h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = validity)]
    token_validity: Duration,
    /// Resource servers of the catalogue, which each pool gets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=300))]
    resource_servers: u32,
    /// Days between two rotations of a secret
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    rotation_days: u32,
    /// Take quotas, pools and the price of a token from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a table in Markdown
    #[arg(long)]
    markdown: bool,
}

/// What Cognito takes for an access token (`AccessTokenValidity`).
fn validity(text: &str) -> Result<Duration, String> {
    let validity = keyward::config::parse_period(text)?;
    let range = Duration::from_secs(300)..=Duration::from_secs(86_400);
    if range.contains(&validity) { Ok(validity) } else { Err("must be 5m to 24h".to_owned()) }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let plan = Plan::of(args, &config);
    print!("{}", if args.markdown { table::markdown(&plan) } else { table::plain(&plan) });
    Ok(Outcome::Done)
}
