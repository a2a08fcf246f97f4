//! Brokers on the AWS backend without a daemon around them, and what must hold of the fake when they are done.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::aws::{Aws, Options};
use keyward::broker::Ports;
use keyward::broker::ports::{Clock as _, Shelf};
use keyward::broker::settings::Settings;
use keyward::domain::client::{Client, ClientState};
use keyward::domain::interactive::ClientKind;
use keyward::domain::lease::LeaseTerms;
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
use crate::fake::{self, Fake};

/// The name of app clients that others made.
pub const FOREIGN: &str = "legacy";

/// A registry file, a fake, and a clock that waits under quotas move.
pub struct AwsBench {
    pub fake: Arc<Fake>,
    pub clock: Arc<ManualClock>,
    /// Of the registry as it is now, for looking past the broker.
    pub backend: Backend,
    aws: Aws,
    folder: Arc<TempDir>,
}

/// Registry and fake at one moment.
pub struct Image {
    world: fake::Image,
    time: Timestamp,
    /// By name.
    files: Vec<(OsString, Vec<u8>)>,
}

impl AwsBench {
    /// With the orders API in the catalogue.
    pub async fn new() -> Self {
        AwsBench::new_with(|_| {}).await
    }

    pub async fn new_with(tune: impl FnOnce(&mut Options)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let clock = Arc::new(ManualClock::new(start_time()));
        let fake = Arc::new(Fake::start(clock.clone()).await);
        fake.enforce_quotas();
        let mut options = fake.options();
        tune(&mut options);
        let flowing = Arc::new(Flowing::new((*clock).clone()));
        let aws = Aws::connect(options, flowing).await.expect("connected");
        let bench = AwsBench::open(fake, aws, clock, folder).await;
        bench.put_orders_api().await;
        bench
    }

    pub async fn connect(fake: &Fake, clock: &ManualClock) -> Aws {
        let flowing = Arc::new(Flowing::new(clock.clone()));
        Aws::connect(fake.options(), flowing).await.expect("connected")
    }

    /// On what is there already.
    pub async fn open(fake: Arc<Fake>, aws: Aws, clock: Arc<ManualClock>, folder: Arc<TempDir>) -> Self {
        let backend = Backend(ports(&aws, &folder, &clock).await);
        AwsBench { fake, clock, backend, aws, folder }
    }

    pub async fn put_orders_api(&self) {
        let broker = self.broker().await;
        broker.put_orders_api().await;
        broker.stop().await;
    }

    /// Lets brokers from now on use a backend that remembers nothing, as after the start of a process. That takes longer
    /// than the second for which AWS counts calls.
    pub async fn reconnect(&mut self) {
        self.clock.advance(Duration::from_secs(2));
        self.aws = AwsBench::connect(&self.fake, &self.clock).await;
        self.backend = Backend(ports(&self.aws, &self.folder, &self.clock).await);
    }

    /// A new one, which opens the file anew, with its background at work.
    pub async fn broker(&self) -> Working {
        let broker = self.broker_at_rest(None).await;
        broker.work();
        broker
    }

    /// One that only answers calls until it is told to work.
    pub async fn broker_at_rest(&self, lease: Option<LeaseTerms>) -> Working {
        let ports = ports(&self.aws, &self.folder, &self.clock).await;
        let edit = |settings: &mut Settings| {
            settings.regions = fake::regions();
            settings.journal.lease = lease;
        };
        Working::open_with(ports, edit).await.expect("a broker")
    }

    /// What there is, while nobody works on it.
    pub fn image(&self) -> Image {
        let files = std::fs::read_dir(self.folder.path()).expect("the folder").map(|entry| {
            let entry = entry.expect("an entry");
            (entry.file_name(), std::fs::read(entry.path()).expect("a file"))
        });
        Image { world: self.fake.image(), time: self.clock.now(), files: files.collect() }
    }

    /// Moves the clock to whatever is due next until every journal is struck out, or until `enough`.
    pub async fn settle(&self, enough: impl Fn() -> bool) {
        let mut looks = crate::harness::pauses(Duration::from_millis(2));
        for _ in 0..10_000 {
            if enough() {
                return;
            }
            // It is given up when its time is over.
            if self.fake.hanging() > 0 {
                self.clock.advance(self.fake.options().call_timeout);
                self.fake.wait_for_none_hanging().await;
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

        let mut inventory = self.fake.inventory();
        let made = pools.iter().filter_map(|pool| pool.made.as_ref()).map(|made| made.user_pool.to_string());
        let kept = inventory.user_pools.into_iter().map(|(id, _)| id);
        assert_eq!(sorted(kept), sorted(made), "user pools");
        let known: Vec<_> =
            clients.iter().map(|client| client.app_client.as_ref().expect("made").to_string()).collect();
        // One that is not Keyward's is nobody's business until it is taken over.
        inventory.app_clients.retain(|client| client.name != FOREIGN || known.contains(&client.id));
        for app_client in &inventory.app_clients {
            let of = |client: &&Client| client.app_client.as_ref().is_some_and(|id| id.as_str() == app_client.id);
            let is_interactive = clients.iter().find(of).is_some_and(|client| client.kind() == ClientKind::Interactive);
            assert_eq!(app_client.secrets.len(), usize::from(!is_interactive), "{app_client:?}");
        }
        assert_eq!(
            sorted(inventory.app_clients.into_iter().map(|client| client.id)),
            sorted(known.into_iter()),
            "app clients"
        );
        let machines = clients.iter().filter(|client| client.kind() == ClientKind::Machine);
        let known = machines.map(|client| client.secret_name.to_string());
        assert_eq!(sorted(inventory.secrets.into_iter()), sorted(known), "secrets");
        for name in names {
            if clients.iter().any(|client| client.name == client_name(name)) {
                self.backend.check_settled(name).await;
            }
        }
    }
}

impl Image {
    /// Brings the fake and the clock back to then, and the registry into a folder of its own.
    pub fn restore(&self, fake: &Fake, clock: &ManualClock) -> Arc<TempDir> {
        fake.restore(&self.world);
        clock.set(self.time);
        let folder = memory_folder();
        for (name, content) in &self.files {
            std::fs::write(folder.path().join(name), content).expect("a file");
        }
        Arc::new(folder)
    }
}

/// Where the system has it, in memory: no power fails in a test, and every write would wait for the disk.
pub fn memory_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

async fn ports(aws: &Aws, folder: &TempDir, clock: &Arc<ManualClock>) -> Ports {
    Ports {
        user_pools: aws.user_pools(),
        token_endpoint: aws.token_endpoint(),
        key_source: aws.key_source(),
        shared: None,
        vault: aws.vault(),
        registry: open_registry(&folder.path().join("keyward.db")).await.expect("the registry"),
        domain_proofs: Arc::new(keyward::dns::Dns::new(Default::default())),
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
