//! Ports that a test watches and disturbs: a daemon sees the real backend through them, see
//! [`Daemon::start_through`](super::Daemon::start_through).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{Clock as _, Fault, KeySource, Peer, PortError, PortResult, PublicKey, TokenEndpoint};
use keyward::config::Config;
use keyward::domain::id::{AppClientId, PoolId};
use keyward::domain::pool::MadePool;
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::domain::token::AccessToken;
use keyward::proto;
use keyward::runtime::clock::ManualClock;
use tokio::sync::{oneshot, watch};

use super::{Daemon, start_time};

/// A daemon at rest behind such ports, with the orders API, the tenant `acme` and its client `checkout`.
pub struct Stage {
    pub daemon: Daemon,
    pub clock: Arc<ManualClock>,
    pub fetches: Arc<Fetches>,
    pub keys: Arc<PublishedKeys>,
    /// The backend itself.
    pub backend: Ports,
    pub client: proto::Client,
}

impl Stage {
    pub async fn set() -> Self {
        Stage::set_with(|_| {}).await
    }

    pub async fn set_with(edit: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(ManualClock::new(start_time()));
        let (fetches, keys) = (Arc::new(Fetches::default()), Arc::new(PublishedKeys::default()));
        let mut backend = None;
        let through = |ports: Ports| {
            backend = Some(ports.clone());
            keys.over(fetches.over(ports))
        };
        let patient = |config: &mut Config| {
            // A gate may be shut for as long as a slow machine needs.
            (config.tokens.fetch_timeout, config.grpc.request_timeout) = (LIMIT, LIMIT);
            edit(config);
        };
        let daemon = Daemon::start_through(clock.clone(), patient, through).await;
        daemon.put_orders_api().await;
        daemon.create_tenant("acme").await;
        let client = daemon.create_client("acme", "checkout").await;
        fetches.forget();
        Stage { daemon, clock, fetches, keys, backend: backend.expect("the daemon has started"), client }
    }

    /// The client's pool at the backend.
    pub async fn pool(&self) -> MadePool {
        let id = self.client.pool.strip_prefix("pools/").expect("a pool's name");
        let id = PoolId::parse("pool", id).expect("a pool");
        self.backend.user_pools.find_pool(&id, "").await.expect("looked for").expect("the pool is there").made
    }

    pub fn app_client(&self) -> AppClientId {
        AppClientId::parse("app_client_id", &self.client.app_client_id).expect("an app client")
    }

    /// Moves the clock to so many seconds after the start.
    pub fn at_second(&self, second: i64) {
        self.clock.set(start_time() + jiff::SignedDuration::from_secs(second));
    }

    /// The second of the clock, from the start.
    pub fn second(&self) -> i64 {
        self.clock.now().as_second() - start_time().as_second()
    }
}

/// Who sleeps by the clock of a daemon that rests: its journals, and the claims of its tenants.
pub const AT_REST: usize = 2;

/// How long anything may take before a test gives up on it.
const LIMIT: Duration = Duration::from_secs(60);

/// What comes of it; fails the test if nothing comes.
pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("something comes within a minute")
}

/// What a token endpoint is asked, and how it fails.
pub struct Fetches {
    begun: watch::Sender<usize>,
    next: Mutex<VecDeque<Next>>,
    always: Mutex<Option<Fault>>,
}

/// What becomes of a fetch.
enum Next {
    /// It waits until the sender is used or dropped.
    Held(oneshot::Receiver<()>),
    Fails(Fault),
}

/// Keeps a fetch waiting until it is opened or dropped.
pub struct Gate(Option<oneshot::Sender<()>>);

impl Gate {
    pub fn open(mut self) {
        // Whoever gave up waiting needs no opening.
        let _ = self.0.take().expect("opened once").send(());
    }
}

impl Default for Fetches {
    fn default() -> Self {
        Fetches { begun: watch::Sender::new(0), next: Mutex::default(), always: Mutex::default() }
    }
}

impl Fetches {
    pub fn over(self: &Arc<Self>, ports: Ports) -> Ports {
        let endpoint = WatchedEndpoint { real: ports.token_endpoint, fetches: self.clone() };
        Ports { token_endpoint: Arc::new(endpoint), ..ports }
    }

    /// How many were begun since the start, or since [`Fetches::forget`].
    pub fn count(&self) -> usize {
        *self.begun.borrow()
    }

    pub fn forget(&self) {
        self.begun.send_replace(0);
    }

    /// Returns once at least `count` were begun.
    pub async fn wait_for(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        in_time(begun.wait_for(|begun| *begun >= count)).await.expect("the sender lives as long as self");
    }

    /// The next fetch that nothing else was decided for waits at a gate.
    pub fn hold_next(&self) -> Gate {
        let (sender, opened) = oneshot::channel();
        lock(&self.next).push_back(Next::Held(opened));
        Gate(Some(sender))
    }

    pub fn fail_next(&self, fault: Fault) {
        lock(&self.next).push_back(Next::Fails(fault));
    }

    /// Every fetch fails, those at a gate too once it opens.
    pub fn fail(&self, fault: Fault) {
        *lock(&self.always) = Some(fault);
    }

    pub fn recover(&self) {
        *lock(&self.always) = None;
    }
}

struct WatchedEndpoint {
    real: Arc<dyn TokenEndpoint>,
    fetches: Arc<Fetches>,
}

#[async_trait]
impl TokenEndpoint for WatchedEndpoint {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        let failure = |fault| PortError::new(Peer::TokenEndpoint, fault, "fetch a token", "as the test wants it");
        let next = lock(&self.fetches.next).pop_front();
        self.fetches.begun.send_modify(|begun| *begun += 1);
        match next {
            Some(Next::Held(opened)) => drop(opened.await),
            Some(Next::Fails(fault)) => return Err(failure(fault)),
            None => {}
        }
        if let Some(fault) = *lock(&self.fetches.always) {
            return Err(failure(fault));
        }
        self.real.fetch(pool, client, secret, scopes).await
    }
}

/// Keys that every issuer publishes beside its own, and how reading an issuer's keys goes.
#[derive(Default)]
pub struct PublishedKeys {
    added: Mutex<Vec<PublicKey>>,
    reads: AtomicUsize,
    fails: AtomicBool,
}

impl PublishedKeys {
    pub fn over(self: &Arc<Self>, ports: Ports) -> Ports {
        let source = WatchedKeySource { real: ports.key_source, keys: self.clone() };
        Ports { key_source: Arc::new(source), ..ports }
    }

    pub fn publish(&self, key: PublicKey) {
        lock(&self.added).push(key);
    }

    pub fn withdraw(&self, kid: &str) {
        lock(&self.added).retain(|key| key.kid != kid);
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Whether a read fails from now on.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

struct WatchedKeySource {
    real: Arc<dyn KeySource>,
    keys: Arc<PublishedKeys>,
}

#[async_trait]
impl KeySource for WatchedKeySource {
    async fn keys(&self, pool: &MadePool) -> PortResult<Vec<PublicKey>> {
        self.keys.reads.fetch_add(1, Ordering::SeqCst);
        if self.keys.fails.load(Ordering::SeqCst) {
            let detail = "as the test wants it";
            return Err(PortError::new(Peer::KeySource, Fault::Unavailable, "read an issuer's keys", detail));
        }
        let mut published = self.real.keys(pool).await?;
        published.extend(lock(&self.keys.added).iter().cloned());
        Ok(published)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics under it")
}
