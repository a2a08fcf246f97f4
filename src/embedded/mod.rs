//! The embedded backend: Cognito, Secrets Manager and the registry in one SQLite file, for a laptop, a test or a small
//! on-premises platform.
//!
//! It keeps the contract of `broker::ports` and enforces what Cognito enforces, so that what works here works there.
//! Client secrets are sealed (the vault) or kept as verifiers only (the user pools), private keys are sealed; none is
//! ever on the disk in clear. Time comes from the injected clock alone. One broker at a time may use a file.
//!
//! Opening fails with an [`OpenError`] that names the file or option at fault, and then has changed nothing in it.

mod app_clients;
mod audit_log;
mod interactive;
mod issuer;
mod made_pools;
mod pools;
mod providers;
mod random;
mod registry;
mod resource_servers;
mod schema;
mod sealing;
mod signing_keys;
mod store;
#[cfg(test)]
mod tests;
mod vault;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

pub use crate::sealing::{MasterKey, MasterKeyError};
pub use audit_log::{CheckedLog, LogEnd, check_audit_log, log_end};

use crate::broker::ports::{Clock, KeySource, Registry, TokenEndpoint, UserPools, Vault};
use crate::domain::form::Form;
use issuer::EmbeddedIssuer;
use pools::SqlitePools;
use registry::SqliteRegistry;
use sealing::Sealing;
use signing_keys::KeyRing;
use store::Store;
use vault::SqliteVault;

/// How the embedded backend behaves. It is not stored: a pool keeps the issuer that it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What a pool's issuer starts with; a slash and the pool's id follow.
    pub issuer_base: String,
    /// What a pool's id starts with when its settings name no Region.
    pub region: String,
    /// A pause before every call of the user pools, the token endpoint and the vault, so that a laptop feels Cognito's
    /// distance.
    pub latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            issuer_base: "https://issuer.keyward.local".to_owned(),
            region: "local".to_owned(),
            latency: Duration::ZERO,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), OpenError> {
        let base = &self.issuer_base;
        let base_fits = (base.starts_with("https://") || base.starts_with("http://"))
            && !base.ends_with('/')
            && base.len() <= 400
            && base.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
        if !base_fits {
            let rule = "must be an http(s) URL of at most 400 characters without a query, and not end in a slash";
            return Err(OpenError::Option { option: "issuer_base", rule });
        }
        let region_fits = (1..=32).contains(&self.region.len())
            && self.region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !region_fits {
            return Err(OpenError::Option { option: "region", rule: "must be 1 to 32 letters, digits and hyphens" });
        }
        Ok(())
    }
}

/// Why the embedded backend does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{option}: {rule}")]
    Option { option: &'static str, rule: &'static str },
    #[error("data file {}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("data file {}: {source}", file.display())]
    Sqlite { file: PathBuf, source: rusqlite::Error },
    #[error("data file {}: not one of Keyward's", file.display())]
    Foreign { file: PathBuf },
    #[error("data file {}: schema {version} is newer than {known}, the last that this Keyward knows", file.display())]
    Newer { file: PathBuf, version: usize, known: usize },
    #[error("data file {}: schema {version} is older than {known}; start this Keyward on it once", file.display())]
    Older { file: PathBuf, version: usize, known: usize },
    #[error(
        "data file {}: has records of the form {form}, which a newer Keyward has written; this one reads forms up to {}",
        file.display(), Form::READ
    )]
    NewerForm { file: PathBuf, form: Form },
    #[error("data file {}: was sealed under another master key than the one given", file.display())]
    WrongMasterKey { file: PathBuf },
    #[error("data file {}: the system's cryptography failed", file.display())]
    Cryptography { file: PathBuf },
    #[error("data file {}: was made with another backend than the one configured", file.display())]
    OtherBackend { file: PathBuf },
    #[error("data file {}: opening it was cut short", file.display())]
    Interrupted { file: PathBuf },
}

/// All ports, on one file.
#[derive(Clone)]
pub struct Embedded {
    file: PathBuf,
    pools: Arc<SqlitePools>,
    issuer: Arc<EmbeddedIssuer>,
    vault: Arc<SqliteVault>,
    registry: Arc<SqliteRegistry>,
}

impl Embedded {
    /// Opens the file `path`, or `keyward.db` in the folder `path`, and makes what is missing: the file for its owner
    /// alone (0600), the folder too (0700). A path that is not there yet is a file if it ends in `.db`.
    pub async fn open(
        path: &Path,
        master_key: &MasterKey,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<Embedded, OpenError> {
        options.check()?;
        let (wanted, key) = (path.to_owned(), master_key.clone());
        let (store, sealing, file) = open_store(path, move || Store::open(&wanted, Some(&key))).await?;
        let sealing = sealing.ok_or_else(|| OpenError::OtherBackend { file: file.clone() })?;

        let (store, sealing) = (Arc::new(store), Arc::new(sealing));
        let distance = Distance { latency: options.latency, clock };
        let keys = KeyRing::new(Arc::clone(&store), Arc::clone(&sealing));
        Ok(Embedded {
            file,
            issuer: Arc::new(EmbeddedIssuer::new(keys.clone(), distance.clone())),
            vault: Arc::new(SqliteVault::new(Arc::clone(&store), Arc::clone(&sealing), distance.clone())),
            registry: Arc::new(SqliteRegistry::new(Arc::clone(&store))),
            pools: Arc::new(SqlitePools::new(store, sealing, keys, distance, options)),
        })
    }

    /// The file that holds everything.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn user_pools(&self) -> Arc<dyn UserPools> {
        self.pools.clone()
    }

    pub fn token_endpoint(&self) -> Arc<dyn TokenEndpoint> {
        self.issuer.clone()
    }

    pub fn key_source(&self) -> Arc<dyn KeySource> {
        self.issuer.clone()
    }

    pub fn vault(&self) -> Arc<dyn Vault> {
        self.vault.clone()
    }

    pub fn registry(&self) -> Arc<dyn Registry> {
        self.registry.clone()
    }
}

/// A registry alone, in the file `path` (or `keyward.db` in the folder `path`), for a broker whose secrets are kept
/// elsewhere. It holds none, so there is no master key.
pub async fn open_registry(path: &Path) -> Result<Arc<dyn Registry>, OpenError> {
    let wanted = path.to_owned();
    let (store, _, _) = open_store(path, move || Store::open(&wanted, None)).await?;
    Ok(Arc::new(SqliteRegistry::new(Arc::new(store))))
}

type Opened = (Store, Option<Sealing>, PathBuf);

async fn open_store(
    path: &Path,
    open: impl FnOnce() -> Result<Opened, OpenError> + Send + 'static,
) -> Result<Opened, OpenError> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|_| OpenError::Interrupted { file: path.to_owned() })?
}

/// The pretended way to Cognito, and the clock there.
#[derive(Clone)]
struct Distance {
    latency: Duration,
    clock: Arc<dyn Clock>,
}

impl Distance {
    async fn travel(&self) {
        if self.latency.is_zero() {
            return;
        }
        let latency = SignedDuration::try_from(self.latency).unwrap_or(SignedDuration::MAX);
        let arrival = self.now().saturating_add(latency).unwrap_or(jiff::Timestamp::MAX);
        self.clock.sleep_until(arrival).await;
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}
