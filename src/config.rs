//! Every limit and period of the daemon, parsed once from TOML and checked before anything starts.
//!
//! It knows no secret: the master key is named, by file or environment variable, and read by whoever composes the
//! daemon. So a [`Config`] may be printed. Every key has a default, but without a way in for callers nothing starts; an
//! unknown key, a wrong type and a value out of range are errors that name the key, the file and the line.

mod aws;
mod callers;
mod error;
mod net;
mod oauth;
mod permission;
mod registry;
mod sections;
mod setting;
mod settings;
mod traces;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use aws::{Aws, AwsEndpoints, AwsQuotas, TokenSource};
pub use callers::{CallerGrant, Callers, CallersAws, SpiffeDomain, TokenIssuer};
pub use error::ConfigError;
use error::Document;
pub use net::{Demand, Limits, Listen, MinVersion, Status, Tls};
pub use oauth::OAuth;
pub use permission::Permission;
pub use registry::Registry;
pub use sections::{
    Audit, Backend, Embedded, Grpc, Journal, Log, MasterKeySource, Pools, Quotas, Rotation, Secrets, Shutdown, Tokens,
    Verification,
};
use setting::Setting;
pub use setting::parse_period;
use settings::settings;
pub use traces::Traces;

use crate::net::Address;

/// A longer file is not a configuration, and is not read to its end.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The environment variable that holds the master key where no file is named: base64 of 32 bytes.
pub const MASTER_KEY_VARIABLE: &str = "KEYWARD_MASTER_KEY";

/// The whole configuration, checked. Limits are those of [`Config::explain`], which prints them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served. Without TLS, a loopback address or a Unix socket.
    pub listen: Listen,
    pub backend: Backend,
    /// The folder of the database; a relative one is relative to the working directory.
    pub data_dir: PathBuf,
    pub embedded: Embedded,
    pub aws: Aws,
    pub registry: Registry,
    pub tls: Tls,
    pub callers: Callers,
    pub permission: Permission,
    pub pools: Pools,
    pub quotas: Quotas,
    pub tokens: Tokens,
    pub verification: Verification,
    pub rotation: Rotation,
    pub journal: Journal,
    pub secrets: Secrets,
    pub audit: Audit,
    pub grpc: Grpc,
    pub oauth: OAuth,
    pub limits: Limits,
    pub status: Status,
    pub traces: Traces,
    pub shutdown: Shutdown,
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: Listen(vec![Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)))]),
            backend: Backend::default(),
            data_dir: PathBuf::from("keyward-data"),
            embedded: Embedded::default(),
            aws: Aws::default(),
            registry: Registry::default(),
            tls: Tls::default(),
            callers: Callers::default(),
            permission: Permission::default(),
            pools: Pools::default(),
            quotas: Quotas::default(),
            tokens: Tokens::default(),
            verification: Verification::default(),
            rotation: Rotation::default(),
            journal: Journal::default(),
            secrets: Secrets::default(),
            audit: Audit::default(),
            grpc: Grpc::default(),
            oauth: OAuth::default(),
            limits: Limits::default(),
            status: Status::default(),
            traces: Traces::default(),
            shutdown: Shutdown::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Reads and checks a file for `keyward serve`. Whether a master key is there is for
    /// [`Embedded::master_key_source`] to say, since that asks the environment.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        use std::io::Read as _;
        let unreadable = |detail: String| ConfigError::file(path, detail);
        let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let mut text = String::new();
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(unreadable(format!("must be at most {MAX_FILE_BYTES} bytes")));
        }
        Config::parse(&text, path)
    }

    /// As [`load`](Config::load), of a text; `path` is for the errors.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let document = Document::new(text, path);
        let config: Config = toml::from_str(text).map_err(|error| document.unreadable(&error))?;
        match config.first_problem() {
            Some((key, problem)) => Err(document.invalid(&key, problem)),
            None => Ok(config),
        }
    }

    /// What `keyward dev` runs with: the defaults, on `listen`, with all data in `data_dir` and the master key in its
    /// `master.key`. Every caller is an operator.
    pub fn dev(listen: SocketAddr, data_dir: PathBuf) -> Result<Config, ConfigError> {
        let master_key_file = Some(data_dir.join("master.key"));
        let config = Config {
            listen: Listen(vec![Address::Tcp(listen)]),
            data_dir,
            embedded: Embedded { master_key_file, ..Embedded::default() },
            callers: Callers { trust_loopback: true, ..Callers::default() },
            ..Config::default()
        };
        match config.first_problem() {
            Some((key, problem)) => Err(ConfigError::key(&key, problem)),
            None => Ok(config),
        }
    }

    /// Where the master key is; `None` for a backend that has none.
    pub fn master_key_source(&self) -> Result<Option<MasterKeySource>, ConfigError> {
        match self.backend {
            Backend::Embedded => self.embedded.master_key_source().map(Some),
            Backend::Aws => Ok(None),
        }
    }

    /// The configuration that is in force: each key with its value, whether that is the default, its limits and what
    /// it is for, as TOML that can be used as it is. It holds no secret.
    pub fn explain(&self) -> String {
        let defaults = Config::default();
        let mut text = String::new();
        let mut section = "";
        for (setting, default) in settings(self).iter().zip(settings(&defaults)) {
            let (of, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            if of != section {
                section = of;
                text.push_str(&format!("\n[{section}]\n"));
            }
            let shown = setting.value.to_string();
            let origin = match (shown.is_empty(), shown == default.value.to_string()) {
                (true, _) => "not set".to_owned(),
                (false, true) => "default".to_owned(),
                (false, false) if default.value.to_string().is_empty() => "set".to_owned(),
                (false, false) => format!("set; default {}", default.value),
            };
            let limits = setting.limits.to_string();
            let limits = if limits.is_empty() { limits } else { format!("; {limits}") };
            let line = if shown.is_empty() { format!("# {name} =") } else { format!("{name} = {shown}") };
            text.push_str(&format!("{line:<40} # {origin}{limits}. {}\n", setting.about));
        }
        for list in callers::lists(&self.callers) {
            for table in list.tables {
                text.push_str(&format!("\n[[{}]]\n", list.key));
                let set = table.iter().map(|(name, value)| (name, value.to_string()));
                for (name, shown) in set.filter(|(_, shown)| !shown.is_empty()) {
                    text.push_str(&format!("{name} = {shown}\n"));
                }
            }
        }
        text.trim_start().to_owned()
    }

    fn first_problem(&self) -> Option<(String, String)> {
        if let Some((key, problem)) = self.problem_of_connections() {
            return Some((key.to_owned(), problem));
        }
        if let Some(problem) = self.problem_of_callers() {
            return Some(problem);
        }
        if self.permission.replace_defaults && self.permission.policies.is_none() {
            let why = "must be false where permission.policies names none: nobody could do anything";
            return Some(("permission.replace_defaults".to_owned(), why.to_owned()));
        }
        if self.backend == Backend::Aws && self.aws.region.is_empty() {
            let why = "must be set: the Region of the broker's pools and secrets";
            return Some(("aws.region".to_owned(), why.to_owned()));
        }
        if self.backend == Backend::Embedded && self.registry.table.is_some() {
            let why = "must not be set with backend = \"embedded\": its user pools, secrets and records are one file, \
                       which one broker has";
            return Some(("registry.table".to_owned(), why.to_owned()));
        }
        if let Some((key, why)) = self.registry.problem() {
            return Some((key.to_owned(), why.to_owned()));
        }
        if let Some((key, why)) = self.oauth.problem() {
            return Some((key.to_owned(), why.to_owned()));
        }
        settings(self).iter().find_map(|setting: &Setting| Some((setting.key.to_owned(), setting.problem()?)))
    }
}

#[cfg(test)]
mod tests;
