//! A platform comes with all its tenants at one time: they are onboarded as fast as AWS's quotas allow, in either model, and
//! a broker that is killed in the middle of it, wherever, loses nothing, leaves nothing and costs little time.
//!
//! **What the quotas allow** is told by the one that is used up first: calls that each tenant needs of its category, by how
//! many there may be in a second. With one client each that is
//!
//! - in shared pools the app client updates of the account: one creation for each tenant, 15 a second. A single pool would
//!   allow 5, so there are three;
//! - in pools of their own the updates of resource servers and domains: a domain and the catalogue's one resource server
//!   for each tenant, 15 a second.
//!
//! A killed broker takes its memory of the last second's calls with it. A start takes longer than that second, here 2 s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::api::Page;
use keyward::broker::ports::{Clock as _, PortResult};
use keyward::broker::settings::Settings;
use keyward::domain::client::ClientState;
use keyward::domain::error::Reason;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::quota::Quota;
use keyward::domain::tenant::{Isolation, TenantState};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{AT_A_TIME, CALLS, tenant};
use crate::fake::{self, Call, REGION};
use crate::harness::aws_bench::AwsBench;
use crate::harness::brokers::{Working, tenant_id};
use crate::harness::idling::{Idling, idling};
use crate::harness::tolls::{Toll, tolled};

const SOME: usize = 120;
const MANY: usize = 1_000;
/// Until the first app client is made and after the last one nothing is bounded by the quota that bounds the rest. So long that
/// takes, with few tenants or with many.
const ENDS: f64 = 1.5;
/// How long a broker is away that was killed.
const AWAY: Duration = Duration::from_secs(2);

/// What a tenant's own pool takes of AWS, besides what its client does.
const CALLS_OF_A_POOL: [(&str, usize); 5] = [
    ("cognito-idp:CreateUserPool", 1),
    ("cognito-idp:DescribeUserPool", 1),
    ("cognito-idp:CreateUserPoolDomain", 1),
    ("cognito-idp:ListResourceServers", 1),
    ("cognito-idp:CreateResourceServer", 1),
];

#[test]
fn tenants_in_shared_pools_are_onboarded_as_fast_as_the_quotas_allow_whoever_is_killed() {
    come(Isolation::AppClient, SOME, 3);
}

#[test]
fn tenants_in_pools_of_their_own_are_onboarded_as_fast_as_the_quotas_allow_whoever_is_killed() {
    come(Isolation::UserPool, SOME, 3);
}

#[test]
#[ignore = "a minute and more of real time"]
fn a_thousand_tenants_in_shared_pools_are_onboarded_as_fast_as_the_quotas_allow() {
    come(Isolation::AppClient, MANY, 0);
    come(Isolation::AppClient, MANY, 6);
}

#[test]
#[ignore = "some minutes of real time"]
fn a_thousand_tenants_in_pools_of_their_own_are_onboarded_as_fast_as_the_quotas_allow() {
    come(Isolation::UserPool, MANY, 0);
    come(Isolation::UserPool, MANY, 6);
}

/// Without a kill, each call that is made is one that is needed.
#[test]
fn onboarding_makes_no_call_that_it_does_not_need() {
    come(Isolation::AppClient, SOME / 2, 0);
    come(Isolation::UserPool, SOME / 2, 0);
}

/// The one that wrote the pool down does not look for it at its first try, for nobody can have asked for it, unless another
/// broker was faster.
#[tokio::test]
async fn a_pool_that_another_broker_has_begun_is_found_by_the_one_that_wrote_it_down() {
    let bench = AwsBench::new().await;
    let leased = |settings: &mut Settings| {
        settings.regions = fake::regions();
        settings.journal.lease = Some(LeaseTerms::default());
    };
    let (pause, dies) = (Arc::new(Pause::default()), Arc::new(Dies::default()));
    let open = async |toll: Arc<dyn Toll>| {
        Working::open_with(tolled(bench.backend.0.clone(), toll), leased).await.expect("a broker")
    };
    let (one, other) = (Arc::new(open(pause.clone()).await), open(dies.clone()).await);
    let creating = tokio::spawn({
        let one = one.clone();
        async move { one.create_tenant("acme", Isolation::UserPool).await }
    });
    pause.written.notified().await;
    other.work();
    dies.0.death().await;
    other.kill();
    assert_eq!(bench.fake.inventory().user_pools.len(), 1, "it has made it, and did not live to write that down");
    pause.go.notify_one();
    creating.await.expect("ran").expect("a tenant");
    let state = async || one.tenants.get(&tenant_id("acme")).await.expect("there").tenant.state;
    assert_eq!(state().await, TenantState::Creating);
    // Until nobody waits for the dead one any more.
    bench.clock.advance(Duration::from_secs(40));
    one.work();
    bench.settle(|| false).await;
    assert_eq!(state().await, TenantState::Active);
    Arc::into_inner(one).expect("nobody else has it").stop().await;
    bench.check(&[]).await;
}

/// Whoever pays it hears late of its first change.
#[derive(Default)]
struct Pause {
    written: Notify,
    go: Notify,
    is_over: AtomicBool,
}

#[async_trait]
impl Toll for Pause {
    async fn before(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        if call == "commit" && !self.is_over.swap(true, Ordering::SeqCst) {
            self.written.notify_one();
            self.go.notified().await;
        }
        Ok(())
    }
}

/// Whoever pays it dies when it has made a pool.
#[derive(Default)]
struct Dies(Kill);

#[async_trait]
impl Toll for Dies {
    async fn before(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        if call == "ensure_pool" {
            self.0.0.cancel();
        }
        Ok(())
    }

    async fn death(&self) {
        self.0.death().await;
    }
}

/// By `KEYWARD_FLEET_SEED`, where somebody wants to see a run again.
fn seed() -> u64 {
    std::env::var("KEYWARD_FLEET_SEED").ok().map_or(7, |text| text.parse().expect("a number"))
}

fn come(isolation: Isolation, tenants: usize, kills: usize) {
    idling(move |stage| async move {
        let points = points(seed(), kills, 2 * tenants);
        let start = {
            let broker = start(&stage, &Kill::default()).await;
            broker.put_orders_api().await;
            broker.stop().await;
            stage.fake.forget_calls();
            stage.seconds()
        };
        let platform = Arc::new(Platform { isolation, tenants, done: AtomicUsize::new(0), settled: Mutex::default() });
        for point in points.iter().copied().map(Some).chain([None]) {
            let kill = Kill::default();
            let broker = Arc::new(start_again(&stage, &kill).await);
            platform.come_to(&broker, &stage, &kill, point).await;
            let broker = Arc::into_inner(broker).expect("nobody else has it");
            match point {
                Some(_) => broker.kill(),
                None => {
                    let took = stage.seconds() - start;
                    platform.check(&broker, &stage, took, kills).await;
                    broker.stop().await;
                }
            }
        }
    });
}

/// When to kill: after how many steps of the platform's 2 for each tenant, by a seed.
fn points(mut seed: u64, kills: usize, steps: usize) -> Vec<usize> {
    let mut points = BTreeSet::new();
    while points.len() < kills {
        // Knuth's MMIX generator: any would do that is the same everywhere.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        points.insert(usize::try_from(seed >> 33).expect("31 bits") % (steps * 9 / 10));
    }
    points.into_iter().collect()
}

/// Whose token is cancelled is dead: nothing that it has under way goes on, and nobody hears of it again.
#[derive(Clone, Default)]
struct Kill(CancellationToken);

#[async_trait]
impl Toll for Kill {
    async fn before(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }

    async fn death(&self) {
        self.0.cancelled().await;
    }
}

async fn start_again(stage: &Idling, kill: &Kill) -> Working {
    stage.clock.advance(AWAY);
    start(stage, kill).await
}

async fn start(stage: &Idling, kill: &Kill) -> Working {
    // Real time, which a slow machine may need more of.
    let patient = |options: &mut keyward::aws::Options| {
        (options.connect_timeout, options.call_timeout) = (Duration::from_secs(60), Duration::from_secs(60));
    };
    let toll = Arc::new(kill.clone());
    let edit = |settings: &mut Settings| settings.shared_pools_with_room = 3;
    stage.broker_through(patient, |ports| tolled(ports, toll), edit).await
}

struct Platform {
    isolation: Isolation,
    tenants: usize,
    /// Steps.
    done: AtomicUsize,
    /// Tenants that are there with their client.
    settled: Mutex<BTreeSet<usize>>,
}

impl Platform {
    /// Asks for all that is not there yet, until it is, or until `point` steps are done: then the broker is killed.
    async fn come_to(self: &Arc<Self>, broker: &Arc<Working>, stage: &Idling, kill: &Kill, point: Option<usize>) {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let left: Vec<usize> = (0..self.tenants).filter(|n| !settled.contains(n)).collect();
        let (left, next) = (Arc::new(left), Arc::new(AtomicUsize::new(0)));
        let mut operators = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (platform, broker, clock, kill) = (self.clone(), broker.clone(), stage.clock.clone(), kill.clone());
            let (left, next) = (left.clone(), next.clone());
            operators.spawn(async move {
                let work = async {
                    while let Some(n) = left.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let step = || {
                            if point == Some(platform.done.fetch_add(1, Ordering::SeqCst)) {
                                kill.0.cancel();
                            }
                        };
                        platform.bring(&broker, &clock, *n, step).await;
                        platform.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(*n);
                    }
                };
                kill.0.run_until_cancelled(work).await;
            });
        }
        while let Some(ended) = operators.join_next().await {
            ended.expect("done");
        }
        assert_eq!(kill.0.is_cancelled(), point.is_some(), "it is killed in the middle, or not at all");
    }

    /// As an operator does who does not know how far a broker came that has died.
    async fn bring(&self, broker: &Working, clock: &keyward::runtime::clock::ManualClock, n: usize, step: impl Fn()) {
        let patience = Duration::from_millis(200);
        let id = tenant(n);
        match broker.create_tenant(&id, self.isolation).await {
            Err(error) if error.reason() != Reason::ResourceExists => panic!("{error}"),
            _ => {}
        }
        while broker.tenants.get(&tenant_id(&id)).await.expect("there").tenant.state != TenantState::Active {
            clock.sleep_until(clock.now() + patience).await;
        }
        step();
        let name = format!("tenants/{id}/clients/orders");
        match broker.create_client(&name).await {
            Err(error) if error.reason() != Reason::ResourceExists => panic!("{error}"),
            _ => {}
        }
        let name = crate::harness::brokers::client_name(&name);
        while broker.clients.get(&name).await.expect("there").client.state != ClientState::Active {
            clock.sleep_until(clock.now() + patience).await;
        }
        step();
    }

    async fn check(&self, broker: &Working, stage: &Idling, took: f64, kills: usize) {
        let calls = stage.fake.calls();
        let (a_tenant, by) = match self.isolation {
            Isolation::AppClient => (1, "app client updates"),
            Isolation::UserPool => (2, "resource server updates"),
        };
        let bound = (a_tenant * self.tenants) as f64 / 15.0;
        let away = AWAY.as_secs_f64() * (kills + 1) as f64;
        let throttled = stage.fake.throttled();
        println!(
            "{} tenants, {:?}, {kills} kills: {took:.1} s by the clock, {away:.0} of them without a broker; the quota of {by} \
             needs {bound:.1}; {} calls, {throttled} throttled",
            self.tenants,
            self.isolation,
            calls.len(),
        );
        assert_eq!(throttled, 0);
        if kills == 0 {
            self.check_calls(&calls);
        }
        self.check_world(broker, stage).await;
        let ends = if self.tenants < MANY { ENDS } else { 0.0 };
        assert!(took - away <= 1.1 * bound + ends, "{took} s, {away} of them away, and the quotas allow {bound}");
        assert!(took - away >= bound - 1.0, "{took} s, and the quotas forbid less than {bound}: is the clock right?");
    }

    /// What each tenant and its client cost, and nothing beyond it but the three shared pools.
    fn check_calls(&self, calls: &[Call]) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for call in calls {
            *counts.entry(&call.action).or_default() += 1;
        }
        for (action, each) in CALLS {
            assert_eq!(counts.remove(action), Some(each * self.tenants), "{action}");
        }
        if self.isolation == Isolation::AppClient {
            counts.remove("cognito-idp:ListUserPools");
        }
        let pools = if self.isolation == Isolation::UserPool { self.tenants } else { 3 };
        for (action, each) in CALLS_OF_A_POOL {
            assert_eq!(counts.remove(action), Some(each * pools), "{action}");
        }
        assert_eq!(counts, BTreeMap::new());
    }

    /// All that was asked for is there, once, and nothing else.
    async fn check_world(&self, broker: &Working, stage: &Idling) {
        let all = || Page { after: None, size: 10_000 };
        let tenants = broker.tenants.list(None, all()).await.expect("listed").items;
        assert_eq!(tenants.len(), self.tenants);
        assert!(tenants.iter().all(|view| view.tenant.state == TenantState::Active));
        let clients = broker.clients.list(None, all()).await.expect("listed").items;
        assert_eq!(clients.len(), self.tenants);
        assert!(clients.iter().all(|view| view.client.state == ClientState::Active));

        let inventory = stage.fake.inventory();
        let pools = broker.catalog.list_pools(Default::default(), all()).await.expect("listed");
        let known: BTreeSet<String> =
            pools.pools.items.iter().flat_map(|view| &view.pool.made).map(|made| made.user_pool.to_string()).collect();
        assert_eq!(known, inventory.user_pools.iter().map(|(id, _)| id.clone()).collect());
        assert_eq!(known.len(), pools.pools.items.len());
        let places: u32 = pools.pools.items.iter().map(|view| view.pool.app_clients).sum();
        assert_eq!(usize::try_from(places), Ok(self.tenants));
        let usage = |quota| {
            let is_it = |usage: &&keyward::domain::quota::QuotaUsage| usage.quota == quota && usage.region == REGION;
            pools.quotas.iter().find(is_it).map(|usage| usage.used)
        };
        assert_eq!(usage(Quota::UserPools), Some(u32::try_from(known.len()).expect("few")), "{:?}", pools.quotas);

        let app_clients: BTreeSet<_> =
            clients.iter().map(|view| view.client.app_client.as_ref().expect("made").to_string()).collect();
        assert_eq!(app_clients, inventory.app_clients.iter().map(|client| client.id.clone()).collect());
        assert!(inventory.app_clients.iter().all(|client| client.secrets.len() == 1));
        let secrets: BTreeSet<_> = clients.iter().map(|view| view.client.secret_name.to_string()).collect();
        assert_eq!(secrets, inventory.secrets.iter().cloned().collect());
        assert_eq!((app_clients.len(), secrets.len()), (inventory.app_clients.len(), inventory.secrets.len()));
        assert_eq!(inventory.app_clients.len(), self.tenants);
    }
}
