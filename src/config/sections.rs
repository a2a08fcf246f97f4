//! The sections of the configuration as plain data, with their defaults. Units are in the documentation of each field;
//! periods are written like `90d`, `15m` or `500ms`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, MASTER_KEY_VARIABLE};
use crate::domain::quota::Ceilings;
use crate::runtime::telemetry::Format;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Where user pools and secrets are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Backend {
    /// In this process, in one SQLite file.
    #[default]
    Embedded,
    /// Amazon Cognito and AWS Secrets Manager; the registry in one SQLite file, or where [`Registry`](super::Registry) says.
    Aws,
}

impl TryFrom<String> for Backend {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "embedded" => Ok(Backend::Embedded),
            "aws" => Ok(Backend::Aws),
            _ => Err("must be \"embedded\" or \"aws\"".to_owned()),
        }
    }
}

/// `[embedded]`: the backend in this process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedded {
    /// A file with base64 of 32 bytes. Absent: the environment variable [`MASTER_KEY_VARIABLE`].
    pub master_key_file: Option<PathBuf>,
    /// What the issuers of its pools begin with; `/` and the pool's id follow.
    pub issuer_base: String,
    /// The Region that its pools are in.
    pub region: String,
    /// Added to every call of the backend, to feel like a remote one. Zero to 10 seconds.
    #[serde(with = "humantime_serde")]
    pub latency: Duration,
}

impl Default for Embedded {
    fn default() -> Self {
        Embedded {
            master_key_file: None,
            issuer_base: "https://issuer.keyward.local".to_owned(),
            region: "local".to_owned(),
            latency: Duration::ZERO,
        }
    }
}

/// Where the master key is to be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    File(PathBuf),
    /// The environment variable of this name, which is set.
    Variable(&'static str),
}

impl Embedded {
    /// Where the master key is. Neither a file nor the variable is an error that names both; the key itself is not read
    /// here.
    pub fn master_key_source(&self) -> Result<MasterKeySource, ConfigError> {
        let set = std::env::var_os(MASTER_KEY_VARIABLE).is_some_and(|value| !value.is_empty());
        self.master_key_source_with(set)
    }

    pub(super) fn master_key_source_with(&self, variable_is_set: bool) -> Result<MasterKeySource, ConfigError> {
        match &self.master_key_file {
            Some(path) => Ok(MasterKeySource::File(path.clone())),
            None if variable_is_set => Ok(MasterKeySource::Variable(MASTER_KEY_VARIABLE)),
            None => Err(ConfigError::key(
                "embedded.master_key_file",
                format!(
                    "there is no master key: name a file that holds base64 of 32 bytes, as from `openssl rand -base64 \
                     32`, or put that into the environment variable {MASTER_KEY_VARIABLE}"
                ),
            )),
        }
    }
}

/// `[pools]`: placing tenants.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pools {
    /// How many app clients a shared pool takes: 1 to 10,000.
    pub app_clients_per_shared_pool: u32,
    /// How many shared pools with room there are to be: 1 to 50. Tenants go to each in turn, and so do the clients of
    /// tenants whose own shared pool is full; while fewer have room, another is made. Cognito makes 5 app clients a
    /// second in one pool and 15 in an account, so with 3 a fleet is onboarded as fast as the account allows.
    pub shared_pools_with_room: usize,
}

impl Default for Pools {
    fn default() -> Self {
        Pools { app_clients_per_shared_pool: 1_000, shared_pools_with_room: 1 }
    }
}

/// `[quotas]`: how much the account may have of Cognito's things, in each Region. The defaults are Cognito's own; whoever has
/// had one raised says so here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// User pools of the account in one Region: 1 to 10,000. A place in a Region that has so many is refused at once.
    pub user_pools_per_region: u32,
    /// App clients of one user pool: 1 to 10,000. Not below `pools.app_clients_per_shared_pool`, which counts where it is more.
    pub app_clients_per_user_pool: u32,
    /// Resource servers of one user pool, and so of the catalogue: 1 to 300.
    pub resource_servers_per_user_pool: u32,
    /// Domains of tenants' own in one Region: 0 to 1,000.
    pub custom_domains_per_region: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        let ceilings = Ceilings::default();
        Quotas {
            user_pools_per_region: ceilings.user_pools_per_region,
            app_clients_per_user_pool: ceilings.app_clients_per_user_pool,
            resource_servers_per_user_pool: ceilings.resource_servers_per_user_pool,
            custom_domains_per_region: ceilings.custom_domains_per_region,
        }
    }
}

/// `[tokens]`: the token cache and the fetches behind it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// How many clients' tokens are held in memory: 1 to 10,000,000.
    pub max_cached: u64,
    /// How many different scope sets one client may use: 1 to 100.
    pub max_scope_sets_per_client: usize,
    /// How many fetches run at once: 1 to 1,000.
    pub max_concurrent_fetches: usize,
    /// How long one fetch may take: 100 ms to 60 s.
    #[serde(with = "humantime_serde")]
    pub fetch_timeout: Duration,
    /// How long the endpoint is not asked again for a token whose fetch failed: 100 ms to 60 s.
    #[serde(with = "humantime_serde")]
    pub retry_after_failure: Duration,
    /// What a million tokens cost, in US dollars, for the metrics: zero to 1,000,000.
    pub price_per_million_usd: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens {
            max_cached: 100_000,
            max_scope_sets_per_client: 16,
            max_concurrent_fetches: 64,
            fetch_timeout: 10 * SECOND,
            retry_after_failure: SECOND,
            // Cognito's first tier: 2.25 USD for 1,000.
            price_per_million_usd: 2_250,
        }
    }
}

/// `[verification]`: telling whose a token is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verification {
    /// How far the issuer's clock may be off when `exp`, `nbf` and `iat` are compared: zero to 60 s.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// How many verified signatures are held in memory: 1 to 10,000,000.
    pub max_cached: u64,
    /// The shortest time between two reads of one issuer's keys: 1 s to 1 h. While none has succeeded yet it is a second.
    #[serde(with = "humantime_serde")]
    pub key_refetch_floor: Duration,
    /// How old an issuer's keys may get before they are read anew: 1 min to 1 d.
    #[serde(with = "humantime_serde")]
    pub key_max_age: Duration,
    /// How many may follow `WatchTrust` at one time: 1 to 10,000.
    pub max_watchers: usize,
    /// How long after they heard last those may verify by themselves: 1 s to 1 h. So long a revocation may go unnoticed by
    /// one that is cut off. They hear of the broker five times in it.
    #[serde(with = "humantime_serde")]
    pub max_staleness: Duration,
}

impl Default for Verification {
    fn default() -> Self {
        Verification {
            leeway: 5 * SECOND,
            max_cached: 100_000,
            key_refetch_floor: 30 * SECOND,
            key_max_age: 60 * MINUTE,
            max_watchers: 256,
            max_staleness: 10 * SECOND,
        }
    }
}

/// `[rotation]`: what holds for every rotation; periods and overlaps are each client's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// How long a new secret is tried before the attempt counts as failed: 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub prove_timeout: Duration,
    /// By how much a scheduled rotation may be early, by hash of the client's name, in percent of its period: 0 to 50.
    pub jitter: u8,
    /// How long a deleted client's secret can be brought back: 7 d to 30 d, as Secrets Manager allows.
    #[serde(with = "humantime_serde")]
    pub recovery_window: Duration,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation { prove_timeout: 15 * MINUTE, jitter: 10, recovery_window: 7 * DAY }
    }
}

/// `[journal]`: work that is begun and must be finished.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// How many pieces of work run at once: 1 to 64.
    pub concurrency: usize,
    /// How often it is looked for due work, apart from being told: 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// The wait after a first failure, doubled with each further one: 100 ms to 1 h.
    #[serde(with = "humantime_serde")]
    pub first_retry: Duration,
    /// The longest such wait: `first_retry` to 1 d.
    #[serde(with = "humantime_serde")]
    pub max_retry: Duration,
    /// How long others leave a piece of work alone after a broker that shares the registry with them has said that it is at
    /// work on it: three times `clock_difference` to 10 min. It is renewed while the work goes on, so this is what a crash
    /// delays others by. Without `registry.table` nobody asks for it.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// The most that two brokers' clocks may differ by: 10 ms to 1 min. The same for all of them, as `lease` should be.
    #[serde(with = "humantime_serde")]
    pub clock_difference: Duration,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            concurrency: 8,
            poll_interval: 30 * SECOND,
            first_retry: SECOND,
            max_retry: 15 * MINUTE,
            lease: 30 * SECOND,
            clock_difference: 5 * SECOND,
        }
    }
}

/// `[secrets]`: the vault.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// Whether `RevealClientSecret` answers.
    pub reveal: bool,
    /// What secrets' names begin with; `/tenants/<tenant>/clients/<client>` follows. 1 to 64 characters of `[A-Za-z0-9_.-]`
    /// and `/` between them.
    pub prefix: String,
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets { reveal: false, prefix: "keyward".to_owned() }
    }
}

/// `[audit]`: the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// How long events are kept: 1 d to 3,650 d.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How many denials of one caller in a minute are each an event: 1 to 100,000. Those beyond are counted.
    pub denials_per_minute: u32,
    /// A file that gets a line for every event, and for every token and secret that is handed out. Absent: none.
    pub file: Option<PathBuf>,
    /// Whether nothing is handed out that is not in the file.
    pub required: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Audit { retention: 400 * DAY, denials_per_minute: 60, file: None, required: true }
    }
}

/// `[grpc]`: the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpc {
    /// The largest message that is read, in bytes: 32,768 to 4,194,304. A token to verify may have 16,384.
    pub max_message_bytes: usize,
    /// How many calls one connection may have under way: 1 to 100,000.
    pub max_concurrent_streams: u32,
    /// How long a call that is not a stream may take: 1 s to 10 min.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a connection is silent before it is asked whether it still lives: 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
}

impl Default for Grpc {
    fn default() -> Self {
        Grpc {
            max_message_bytes: 262_144,
            max_concurrent_streams: 1_024,
            request_timeout: 30 * SECOND,
            keepalive_interval: 30 * SECOND,
        }
    }
}

/// `[shutdown]`: the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long calls under way are waited for: zero to 10 min.
    #[serde(with = "humantime_serde")]
    pub drain_deadline: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { drain_deadline: 20 * SECOND }
    }
}

/// `[log]`: what is logged, to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: Format,
    /// As in `RUST_LOG`, which wins over it. Libraries say no more than `info`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: Format::Text, filter: "info".to_owned() }
    }
}
