//! Brokers that share their tokens in a table, one token endpoint that counts, and a clock that all of them have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use jiff::Timestamp;
use keyward::broker::ports::{ChangeFeed, Clock, ShareInForce, TokenShelf};
use keyward::broker::{Ports, Shared, SharedTokens, TokenKeys};
use keyward::domain::scope::ScopeSet;
use keyward::domain::share::Share;
use keyward::domain::tenant::Isolation;
use keyward::domain::token::AccessToken;
use keyward::runtime::clock::ManualClock;
use keyward::sealing::MasterKey;

use super::super::between::Between;
use super::super::tables::{self, Layout, TABLE};
use crate::harness::brokers::{Bench, Working, client_name};
use crate::harness::ports::{Fetches, in_time};
use crate::harness::rotations::eventually;
use crate::peers::Peer;

pub const CHECKOUT: &str = "tenants/acme/clients/checkout";
pub const BILLING: &str = "tenants/acme/clients/billing";

/// The longest that a broker sleeps between two looks at what another one is fetching.
const PAUSE: Duration = Duration::from_millis(400);

pub type Item = std::collections::HashMap<String, AttributeValue>;

pub struct Fleet {
    pub bench: Bench,
    pub between: Between,
    pub fetches: Arc<Fetches>,
    waits: Arc<Waits>,
}

/// The bench's clock, which also knows what is slept for: a short pause between two looks, or the end of a call's time.
struct Waits {
    clock: Arc<ManualClock>,
    pauses: AtomicUsize,
    calls: AtomicUsize,
}

/// One that is counted for as long as it lasts.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Waits {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep_until(&self, time: Timestamp) {
        let count = if time <= self.now() + PAUSE { &self.pauses } else { &self.calls };
        count.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(count);
        self.clock.sleep_until(time).await;
    }
}

impl Fleet {
    /// With two clients of one tenant. No broker has fetched a token that is shared.
    pub async fn before(peer: Peer) -> Self {
        let bench = Bench::new().await;
        let alone = Working::open(bench.ports()).await.expect("a broker");
        alone.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
        for name in [CHECKOUT, BILLING] {
            alone.create_client(name).await.expect("a client");
        }
        alone.stop().await;
        let between = Between::before(peer).await;
        tables::make(&between.sdk(), TABLE, Layout::default()).await;
        let (pauses, calls) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let waits = Arc::new(Waits { clock: bench.clock.clone(), pauses, calls });
        Fleet { bench, between, fetches: Arc::default(), waits }
    }

    pub async fn broker(&self) -> Working {
        self.broker_with(1, Duration::from_secs(60)).await
    }

    /// With another key than the others, or another patience with the token endpoint.
    pub async fn broker_with(&self, key: u8, fetch_timeout: Duration) -> Working {
        let master = base64::engine::general_purpose::STANDARD.encode([key; 32]);
        let master = MasterKey::from_base64(&master).expect("a key");
        self.broker_under(Arc::new(TokenKeys::given(&master, TABLE).expect("a key")), fetch_timeout).await
    }

    pub async fn broker_under(&self, keys: Arc<TokenKeys>, fetch_timeout: Duration) -> Working {
        let table = self.between.aws_at(self.waits.clone()).await.open_registry(TABLE).await;
        let table = Arc::new(table.expect("the table"));
        let shelf: Arc<dyn TokenShelf> = table.clone();
        let (feed, share): (Arc<dyn ChangeFeed>, _) = (table.clone(), Arc::new(ShareInForce::new(Share::Whole)));
        let shared = Shared { feed, members: table, share, tokens: Some(SharedTokens { shelf, keys }) };
        let ports = Ports { shared: Some(shared), clock: self.waits.clone(), ..self.bench.ports() };
        let edit = |settings: &mut keyward::broker::settings::Settings| settings.tokens.fetch_timeout = fetch_timeout;
        Working::open_with(self.fetches.over(ports), edit).await.expect("a broker")
    }

    pub async fn brokers<const N: usize>(&self) -> [Working; N] {
        let mut brokers = Vec::new();
        for _ in 0..N {
            brokers.push(self.broker().await);
        }
        brokers.try_into().unwrap_or_else(|_| panic!("{N} of them"))
    }

    /// Returns once so many brokers have seen that another one is fetching, and pause. While the clock is moved.
    pub async fn wait_for_pauses(&self, count: usize) {
        let all = || async { self.waits.pauses.load(Ordering::SeqCst) == count };
        eventually("all have seen that it is being fetched", all).await;
    }

    /// Moves the clock past every pause until something comes of `work`. Not while the table is being asked, or a slow
    /// machine would seem to be a table that does not answer.
    pub async fn flowing<T>(&self, work: impl Future<Output = T>) -> T {
        let clock = &self.bench.clock;
        let mut looks = crate::harness::pauses(Duration::from_millis(2));
        let mut work = std::pin::pin!(work);
        let done = async {
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    _ = looks.tick() => {
                        let is_asked = self.waits.calls.load(Ordering::SeqCst) > 0;
                        if let Some(next) = clock.next_wake().filter(|next| !is_asked && *next <= clock.now() + PAUSE) {
                            clock.set(next);
                        }
                    }
                }
            }
        };
        in_time(done).await
    }

    /// All that is in the table.
    pub async fn items(&self) -> Vec<Item> {
        self.between.sdk().scan().table_name(TABLE).consistent_read(true).send().await.expect("read").items().to_vec()
    }

    /// The only item of a client.
    pub async fn item_of(&self, client: &str) -> Item {
        let pk = AttributeValue::S(format!("token#{client}"));
        let mut items: Vec<_> = self.items().await.into_iter().filter(|item| item["pk"] == pk).collect();
        assert_eq!(items.len(), 1, "{client}: {items:?}");
        items.remove(0)
    }

    pub async fn put(&self, item: Item) {
        self.between.sdk().put_item().table_name(TABLE).set_item(Some(item)).send().await.expect("put");
    }
}

/// A token with all scopes of the client.
pub async fn token(broker: &Working, client: &str) -> Arc<AccessToken> {
    try_token(broker, client).await.expect("a token")
}

pub async fn try_token(broker: &Working, client: &str) -> keyward::domain::error::Result<Arc<AccessToken>> {
    in_time(broker.tokens.get(&client_name(client), &ScopeSet::default(), Duration::ZERO)).await
}

/// Stops them; what they had under way is done then.
pub async fn stop<const N: usize>(brokers: [Working; N]) {
    for broker in brokers {
        broker.stop().await;
    }
}
