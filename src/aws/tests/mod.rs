//! The pure parts of the AWS backend. What goes over the wire is tested against servers.

mod app_clients;
mod faults;
mod interactive;
mod jwks;
mod names;
mod operations;
mod policy;
mod pool_settings;
mod providers;
mod secrets;
mod tokens;

use aws_config::BehaviorVersion;
use aws_sdk_cognitoidentityprovider as cognito;

/// A client for making requests that are never sent.
fn cognito_client() -> cognito::Client {
    let region = cognito::config::Region::new("eu-central-1");
    let config = cognito::Config::builder().behavior_version(BehaviorVersion::v2026_01_12()).region(region);
    cognito::Client::from_conf(config.build())
}

/// The members of a request or answer that are not there, as its `Debug` says them.
fn absent_members(printed: &str) -> Vec<String> {
    let members = printed.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let absent = members.filter_map(|line| line.trim().strip_suffix(": None,"));
    absent.map(str::to_owned).collect()
}
