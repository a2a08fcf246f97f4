//! Brokers on the AWS backend whose clock moves when, and only when, nothing is under way.
//!
//! Everything but SQLite and the fake runs on one thread, whose runtime says when it has nothing left to run. If then no
//! call to AWS and none to the registry is out, whoever is not done waits for the clock, or for somebody who does: so
//! the clock goes to the next time that anybody waits for. How long the machine takes for anything changes nothing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use keyward::aws::{Aws, Options};
use keyward::broker::ports::{ChangeSet, Clock as _, PortResult, Registry, Shelf, StoredRecord};
use keyward::broker::settings::Settings;
use keyward::broker::{Ports, Shared};
use keyward::domain::audit::NumberedEvent;
use keyward::embedded::open_registry;
use keyward::runtime::clock::ManualClock;

use super::brokers::Working;
use super::members::{Members, NoFeed};
use super::start_time;
use crate::fake::{self, Fake};

/// No test needs more time than this by the clock.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// A strict fake that enforces quotas, and the clock of whoever works on it.
pub struct Idling {
    pub clock: ManualClock,
    pub fake: Fake,
    pump: Arc<Pump>,
    folder: tempfile::TempDir,
}

/// What has to be nothing before the clock may move.
struct Pump {
    clock: ManualClock,
    aws: Mutex<Vec<Aws>>,
    registry: Arc<AtomicUsize>,
    is_on: AtomicBool,
}

impl Pump {
    /// The runtime has nothing left to run.
    fn idle(&self) {
        let calls =
            self.aws.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Aws::calls_under_way).sum::<usize>();
        if !self.is_on.load(Ordering::SeqCst) || calls > 0 || self.registry.load(Ordering::SeqCst) > 0 {
            return;
        }
        if let Some(next) = self.clock.next_wake() {
            // A broker never stops to look around, so a test that hangs shows in this alone.
            assert!(next.duration_since(start_time()) < LONGEST, "nothing is under way, and yet the test does not end");
            self.clock.set(next);
        }
    }
}

/// Runs a test on such a runtime.
pub fn idling<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Idling) -> F + Send + 'static) {
    let clock = ManualClock::new(start_time());
    let (aws, registry, is_on) = (Mutex::default(), Arc::default(), AtomicBool::new(false));
    let pump = Arc::new(Pump { clock: clock.clone(), aws, registry, is_on });
    let idle = pump.clone();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().on_thread_park(move || idle.idle()).build().expect("a runtime");
    // Peers run beside what is tested, as AWS does.
    let peers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let fake = peers.block_on(Fake::start(Arc::new(clock.clone())));
    fake.enforce_quotas();
    let stage = Idling { clock, fake, pump, folder: folder() };
    // The runtime says that it is idle without regard to the future that it blocks on: so that is to do nothing.
    let running = runtime.spawn(async move { test(stage).await });
    if let Err(error) = runtime.block_on(running) {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Idling {
    /// A broker at work. From now on the clock moves.
    pub async fn broker(&self, tune: impl FnOnce(&mut Options), edit: impl FnOnce(&mut Settings)) -> Working {
        self.broker_through(tune, |ports| ports, edit).await
    }

    /// The same with the ports seen through `through`.
    pub async fn broker_through(
        &self,
        tune: impl FnOnce(&mut Options),
        through: impl FnOnce(Ports) -> Ports,
        edit: impl FnOnce(&mut Settings),
    ) -> Working {
        let ports = self.ports(tune, None).await;
        self.at_work(through(ports), edit).await
    }

    /// A broker at work that shares the account's quotas with others, in whose eyes it is what it is in `members`.
    pub async fn sharing(&self, members: Arc<Members>, edit: impl FnOnce(&mut Settings)) -> (Working, Ports) {
        // Real time, which a slow machine may need more of.
        let patient = |options: &mut Options| {
            (options.connect_timeout, options.call_timeout) = (Duration::from_secs(60), Duration::from_secs(60));
        };
        let ports = self.ports(patient, Some(members)).await;
        (self.at_work(ports.clone(), edit).await, ports)
    }

    async fn ports(&self, tune: impl FnOnce(&mut Options), members: Option<Arc<Members>>) -> Ports {
        let mut options = self.fake.options();
        tune(&mut options);
        let aws = Aws::connect(options, Arc::new(self.clock.clone())).await.expect("connected");
        let registry = open_registry(self.folder.path()).await.expect("the registry");
        let shared =
            members.map(|members| Shared { feed: Arc::new(NoFeed), members, share: aws.share_quotas(), tokens: None });
        let ports = Ports {
            user_pools: aws.user_pools(),
            token_endpoint: aws.token_endpoint(),
            key_source: aws.key_source(),
            shared,
            vault: aws.vault(),
            registry: Arc::new(Counted { registry, under_way: self.pump.registry.clone() }),
            clock: Arc::new(self.clock.clone()),
        };
        self.pump.aws.lock().unwrap_or_else(PoisonError::into_inner).push(aws);
        ports
    }

    async fn at_work(&self, ports: Ports, edit: impl FnOnce(&mut Settings)) -> Working {
        let edit = |settings: &mut Settings| {
            settings.regions = fake::regions();
            edit(settings);
        };
        let broker = Working::open_with(ports, edit).await.expect("a broker");
        broker.work();
        self.pump.is_on.store(true, Ordering::SeqCst);
        broker
    }

    /// Seconds since the start, by the clock.
    pub fn seconds(&self) -> f64 {
        self.clock.now().duration_since(start_time()).as_secs_f64()
    }
}

/// In memory where the machine has files in memory: every change waits for the disk, and disks are not what is tested.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}

/// A registry that counts the calls under way.
struct Counted {
    registry: Arc<dyn Registry>,
    under_way: Arc<AtomicUsize>,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Counted {
    fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }
}

#[async_trait]
impl Registry for Counted {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        let _call = self.begin();
        self.registry.get(shelf, key).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        let _call = self.begin();
        self.registry.scan(shelf, prefix, after, limit).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        let _call = self.begin();
        self.registry.due(shelf, limit).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        let _call = self.begin();
        self.registry.commit(changes).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        let _call = self.begin();
        self.registry.events(after, limit).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        let _call = self.begin();
        self.registry.last_event().await
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        let _call = self.begin();
        self.registry.prune_events(before, limit).await
    }
}
