//! The embedded backend through its ports, on real files.

mod audit_log;
mod file;
mod issuer;
mod pools;
mod registry;
mod vault;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::{Embedded, MasterKey, OpenError, Options};
use crate::broker::ports::{
    AppClientSpec, Clock, Fault, KeySource, PortResult, Registry, SecretDocument, TokenEndpoint, UserPools, Vault,
};
use crate::domain::id::{AppClientId, PoolId, SecretName, VersionId};
use crate::domain::pool::MadePool;
use crate::domain::scope::{Identifier, ResourceServer, ScopeDefinition, ScopeSet};
use crate::domain::secret::ClientSecret;
use crate::domain::tenant::UserPoolSettings;

const START: i64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock moved by hand, which jumps to where anybody wants to sleep until, and remembers it.
struct ManualClock {
    now: Mutex<Timestamp>,
    slept_until: Mutex<Vec<Timestamp>>,
}

impl ManualClock {
    fn advance(&self, by: Duration) {
        let mut now = self.now.lock().expect("lock");
        *now += SignedDuration::try_from(by).expect("in range");
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("lock")
    }

    async fn sleep_until(&self, time: Timestamp) {
        self.slept_until.lock().expect("lock").push(time);
        *self.now.lock().expect("lock") = time;
    }
}

/// A backend in a folder of its own, which goes with it.
struct World {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    embedded: Embedded,
}

impl World {
    async fn new() -> World {
        World::with(Options::default()).await
    }

    async fn with(options: Options) -> World {
        let folder = tempfile::tempdir().expect("folder");
        let clock = Arc::new(ManualClock { now: Mutex::new(at(START)), slept_until: Mutex::default() });
        let embedded = open(folder.path(), 1, options, &clock).await.expect("opens");
        World { folder, clock, embedded }
    }

    /// Everything dropped and opened again.
    async fn reopened(self) -> World {
        let World { folder, clock, embedded } = self;
        drop(embedded);
        let embedded = open(folder.path(), 1, Options::default(), &clock).await.expect("opens again");
        World { folder, clock, embedded }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("keyward.db")
    }

    fn pools(&self) -> Arc<dyn UserPools> {
        self.embedded.user_pools()
    }

    fn vault(&self) -> Arc<dyn Vault> {
        self.embedded.vault()
    }

    fn registry(&self) -> Arc<dyn Registry> {
        self.embedded.registry()
    }

    fn tokens(&self) -> Arc<dyn TokenEndpoint> {
        self.embedded.token_endpoint()
    }

    fn keys(&self) -> Arc<dyn KeySource> {
        self.embedded.key_source()
    }

    /// A pool with the resource server `orders` and its scopes `read` and `write`.
    async fn pool(&self) -> MadePool {
        let pools = self.pools();
        let made = pools.ensure_pool(&pool_id("shared-1"), &UserPoolSettings::default()).await.expect("pool");
        pools.put_resource_server(&made, &server("orders", &["read", "write"])).await.expect("resource server");
        made
    }

    async fn client(&self, pool: &MadePool) -> AppClientId {
        self.pools().create_app_client(pool, &spec(&["orders/read"]), &secret(1)).await.expect("app client").id
    }
}

async fn open(path: &Path, master: u8, options: Options, clock: &Arc<ManualClock>) -> Result<Embedded, OpenError> {
    let key = MasterKey::from_base64(&STANDARD.encode([master; 32])).expect("valid");
    let clock: Arc<dyn Clock> = clock.clone();
    Embedded::open(path, &key, options, clock).await
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn secret(byte: u8) -> ClientSecret {
    ClientSecret::from_entropy(&Zeroizing::new([byte; 32]))
}

fn pool_id(id: &str) -> PoolId {
    PoolId::parse("pool", id).expect("valid")
}

fn scopes(texts: &[&str]) -> ScopeSet {
    ScopeSet::parse("scopes", texts).expect("valid")
}

fn spec(texts: &[&str]) -> AppClientSpec {
    AppClientSpec {
        marker: "keyward-acme.orders-1".to_owned(),
        scopes: scopes(texts),
        access_token_validity: Duration::from_secs(3600),
    }
}

fn server(identifier: &str, names: &[&str]) -> ResourceServer {
    let definition =
        |name: &&str| ScopeDefinition { scope_name: (*name).to_owned(), description: "What it allows".to_owned() };
    ResourceServer {
        catalog_version: 1,
        identifier: Identifier::parse("identifier", identifier).expect("valid"),
        display_name: identifier.to_owned(),
        scopes: names.iter().map(definition).collect(),
        create_time: at(START),
        update_time: at(START),
    }
}

fn name(text: &str) -> SecretName {
    SecretName::parse("name", text).expect("valid")
}

fn version(text: &str) -> VersionId {
    VersionId::parse("version", text).expect("valid")
}

fn document(byte: u8) -> SecretDocument {
    SecretDocument {
        client_id: None,
        client_secret: secret(byte),
        token_endpoint: "https://example.com/oauth2/token".to_owned(),
        issuer: "https://example.com".to_owned(),
        scopes: "orders/read".to_owned(),
    }
}

#[track_caller]
fn assert_fault<T>(result: PortResult<T>, fault: Fault) {
    match result {
        Ok(_) => panic!("succeeded, but {fault:?} was due"),
        Err(error) => assert_eq!(error.fault, fault, "{error}"),
    }
}
