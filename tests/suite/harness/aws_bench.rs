//! Brokers on the AWS backend without a daemon around them, and what must hold of the fake when they are done.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyward::aws::{Aws, Options};
use keyward::broker::Ports;
use keyward::broker::ports::{Clock as _, Shelf};
use keyward::domain::client::{Client, ClientState};
use keyward::domain::pool::Pool;
use keyward::domain::rotation::Rotation;
use keyward::domain::tenant::{Tenant, TenantState};
use keyward::embedded::open_registry;
use keyward::runtime::clock::ManualClock;
use tempfile::TempDir;

use super::backend::Backend;
use super::brokers::{Working, client_name};
use super::flowing::Flowing;
use super::start_time;
use crate::fake::Fake;

/// A registry file, a fake, and a clock that waits under quotas move.
pub struct AwsBench {
    pub fake: Fake,
    pub clock: Arc<ManualClock>,
    /// Of the registry as it is now, for looking past the broker.
    pub backend: Backend,
    aws: Aws,
    options: Options,
    file: PathBuf,
    _folder: TempDir,
}

impl AwsBench {
    /// With the orders API in the catalogue.
    pub async fn new(tune: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keyward.db");
        let clock = Arc::new(ManualClock::new(start_time()));
        let fake = Fake::start(clock.clone()).await;
        fake.enforce_quotas();
        let mut options = fake.options();
        tune(&mut options);
        let aws = Aws::connect(options.clone(), Arc::new(Flowing::new((*clock).clone()))).await.expect("connected");
        let backend = Backend(ports(&aws, &file, &clock).await);
        let bench = AwsBench { fake, clock, backend, aws, options, file, _folder: folder };
        let broker = bench.broker().await;
        broker.put_orders_api().await;
        broker.stop().await;
        bench
    }

    /// Lets brokers from now on use a backend that remembers nothing, as after the start of a process. That takes longer
    /// than the second for which AWS counts calls.
    pub async fn reconnect(&mut self) {
        self.clock.advance(Duration::from_secs(2));
        let flowing = Arc::new(Flowing::new((*self.clock).clone()));
        self.aws = Aws::connect(self.options.clone(), flowing).await.expect("connected");
        self.backend = Backend(ports(&self.aws, &self.file, &self.clock).await);
    }

    /// A new one, which opens the file anew, with its background at work.
    pub async fn broker(&self) -> Working {
        let broker = Working::open(ports(&self.aws, &self.file, &self.clock).await).await.expect("a broker");
        broker.work();
        broker
    }

    /// Moves the clock to whatever is due next until every journal is struck out, or until `enough`.
    pub async fn settle(&self, enough: impl Fn() -> bool) {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        for _ in 0..10_000 {
            if enough() {
                return;
            }
            let Some(next) = self.backend.journals().await.into_iter().map(|journal| journal.due_time).min() else {
                return;
            };
            if next > self.clock.now() {
                self.clock.set(next);
            }
            looks.tick().await;
        }
        panic!("journals are left: {:?}", self.backend.journals().await);
    }

    /// Fails the test unless nothing is under way, everybody is active, AWS has what the registry says and nothing
    /// else, and the current secret of each of these clients that is there gets a token.
    pub async fn check(&self, names: &[&str]) {
        assert_eq!(self.backend.journals().await, []);
        let tenants: Vec<Tenant> = self.backend.records(Shelf::Tenant).await;
        let clients: Vec<Client> = self.backend.records(Shelf::Client).await;
        let pools: Vec<Pool> = self.backend.records(Shelf::Pool).await;
        let rotations: Vec<Rotation> = self.backend.records(Shelf::Rotation).await;
        assert!(tenants.iter().all(|tenant| tenant.state == TenantState::Active), "{tenants:?}");
        assert!(clients.iter().all(|client| client.state == ClientState::Active), "{clients:?}");
        assert!(rotations.iter().all(|rotation| rotation.end_time.is_some()), "{rotations:?}");
        for pool in &pools {
            let there = clients.iter().filter(|client| client.pool == pool.id).count();
            assert_eq!(usize::try_from(pool.app_clients), Ok(there), "{pool:?}");
        }

        let inventory = self.fake.inventory();
        let made = pools.iter().filter_map(|pool| pool.made.as_ref()).map(|made| made.user_pool.to_string());
        let kept = inventory.user_pools.into_iter().map(|(id, _)| id);
        assert_eq!(sorted(kept), sorted(made), "user pools");
        let known = clients.iter().map(|client| client.app_client.as_ref().expect("made").to_string());
        assert!(inventory.app_clients.iter().all(|client| client.secrets.len() == 1), "{:?}", inventory.app_clients);
        assert_eq!(sorted(inventory.app_clients.into_iter().map(|client| client.id)), sorted(known), "app clients");
        let known = clients.iter().map(|client| client.secret_name.to_string());
        assert_eq!(sorted(inventory.secrets.into_iter()), sorted(known), "secrets");
        for name in names {
            if clients.iter().any(|client| client.name == client_name(name)) {
                self.backend.check_settled(name).await;
            }
        }
    }
}

async fn ports(aws: &Aws, file: &std::path::Path, clock: &Arc<ManualClock>) -> Ports {
    Ports {
        user_pools: aws.user_pools(),
        token_endpoint: aws.token_endpoint(),
        key_source: aws.key_source(),
        vault: aws.vault(),
        registry: open_registry(file).await.expect("the registry"),
        clock: clock.clone(),
    }
}

/// Of things that are there once each.
fn sorted(items: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for item in items {
        assert!(set.insert(item.clone()), "{item} is there twice");
    }
    set
}
