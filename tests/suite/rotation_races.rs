//! Two brokers on one file that do the same thing at the same time, in many interleavings: in every other round with
//! leases, of which settling lets many lapse under whoever holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::api::RotationRequest;
use keyward::broker::ports::{PortResult, Shelf};
use keyward::broker::settings::Settings;
use keyward::domain::client::Client;
use keyward::domain::error::Reason;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::rotation::{Rotation, RotationState, Trigger};
use keyward::domain::tenant::{Isolation, Tenant};
use tokio::sync::Notify;

use crate::harness::backend::{Backend, key};
use crate::harness::brokers::{Bench, Working, call, client_name};
use crate::harness::rotations::eventually;
use crate::harness::tolls::{Toll, tolled};

const CLIENT: &str = "tenants/acme/clients/checkout";
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn two_rotations_at_once_end_with_one_secret() {
    let overlap = |hours| request(false, Some(hours * HOUR));
    race(0..20, [overlap(1), overlap(2)]).await;
}

#[tokio::test]
async fn two_immediate_rotations_at_once_end_with_one_secret() {
    race(100..120, [request(true, None), request(true, None)]).await;
}

#[tokio::test]
async fn an_immediate_rotation_against_one_with_an_overlap_ends_with_one_secret() {
    race(200..220, [request(true, None), request(false, Some(HOUR))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_race_on_two_threads_as_well() {
    race(300..320, [request(true, None), request(false, Some(Duration::ZERO))]).await;
}

/// A round for each seed: both brokers rotate, and both work the journals until nothing is left.
async fn race(seeds: std::ops::Range<u64>, requests: [RotationRequest; 2]) {
    let bench = Bench::new().await;
    let first = Working::open(bench.ports()).await.expect("a broker");
    first.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    first.create_client(CLIENT).await.expect("a client");
    first.stop().await;

    let mut started = 0;
    for seed in seeds {
        let said = Said(seed);
        let brokers = two_brokers(&bench, seed, Some(CLIENT)).await;
        let [one, other] = &brokers;
        let name = client_name(CLIENT);
        let caller = call();
        let answers = tokio::join!(
            Box::pin(one.rotations.rotate(&caller, &name, requests[0].clone(), false)),
            Box::pin(other.rotations.rotate(&caller, &name, requests[1].clone(), false)),
        );
        let answers = [answers.0, answers.1];
        assert!(answers.iter().any(Result::is_ok), "one of them comes through: {answers:?}");
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let known = [Reason::RotationRunning, Reason::ConcurrentChange, Reason::UpstreamUnavailable];
            assert!(known.contains(&error.reason()), "{error:?}: {:?}", error.internal_detail());
        }
        started += answers.iter().filter(|answer| answer.is_ok()).count();
        bench.settle().await;
        for broker in brokers {
            broker.stop().await;
        }
        bench.check(&[CLIENT]).await;

        let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
        let is_well = |rotation: &Rotation| match rotation.state {
            RotationState::Succeeded => true,
            RotationState::Failed => rotation.last_error_reason == "SUPERSEDED",
            _ => false,
        };
        assert!(rotations.iter().all(is_well), "{rotations:?}");
        drop(said);
        // Distinct instants for distinct rounds.
        bench.clock.advance(Duration::from_secs(1));
    }
    let kept = bench.backend.records::<Rotation>(Shelf::Rotation).await.len();
    assert_eq!(kept, started.min(20));
}

/// In one broker too: calls of operators do not wait for the journals.
#[tokio::test]
async fn an_immediate_rotation_while_the_label_is_being_moved_leaves_a_current_secret_that_works() {
    let bench = Bench::new().await;
    let held = Arc::new(HeldPromotion::default());
    let broker = Working::open(tolled(bench.ports(), held.clone())).await.expect("a broker");
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    broker.create_client(CLIENT).await.expect("a client");
    broker.work();

    let (caller, name) = (call(), client_name(CLIENT));
    held.hold.store(true, Ordering::SeqCst);
    let first = broker.rotations.rotate(&caller, &name, request(false, Some(HOUR)), false);
    let second = async {
        held.reached.notified().await;
        bench.clock.advance(Duration::from_millis(1));
        let second = broker.rotations.rotate(&caller, &name, request(true, None), false);
        let release = async {
            // The second one is written down before the first one's call goes on, or has gone on by itself.
            eventually("the second rotation begins", || async {
                bench.backend.records::<Rotation>(Shelf::Rotation).await.len() == 2
            })
            .await;
            held.release.notify_one();
        };
        tokio::join!(second, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.expect("rotated").rotation.trigger, Trigger::Requested);
    assert_eq!(second.expect("rotated").rotation.trigger, Trigger::Compromise);
    bench.settle().await;
    broker.stop().await;
    bench.check(&[CLIENT]).await;
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    assert!(rotations.iter().all(|rotation| rotation.state == RotationState::Succeeded), "{rotations:?}");
}

#[tokio::test]
async fn of_two_brokers_that_issue_one_client_one_wins_and_no_app_client_is_left() {
    let bench = Bench::new().await;
    let first = Working::open(bench.ports()).await.expect("a broker");
    first.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    first.stop().await;

    for seed in 400..420 {
        let said = Said(seed);
        let client = format!("tenants/acme/clients/client-{seed}");
        let brokers = two_brokers(&bench, seed, None).await;
        let [one, other] = &brokers;
        let answers = tokio::join!(one.create_client(&client), other.create_client(&client));
        check_one_won([
            answers.0.map(drop).map_err(|error| error.reason()),
            answers.1.map(drop).map_err(|error| error.reason()),
        ]);
        bench.settle().await;
        for broker in brokers {
            broker.stop().await;
        }
        assert!(bench.backend.record::<Client>(Shelf::Client, &key(&client)).await.is_some());
        bench.check(&[]).await;
        bench.backend.check_current_works(&client).await;
        drop(said);
    }
}

#[tokio::test]
async fn of_two_brokers_that_onboard_one_tenant_one_wins_and_no_pool_is_left() {
    let bench = Bench::new().await;
    for seed in 500..510 {
        let said = Said(seed);
        let id = format!("tenant-{seed}");
        let isolation = if seed % 2 == 0 { Isolation::UserPool } else { Isolation::AppClient };
        let brokers = two_brokers(&bench, seed, None).await;
        let [one, other] = &brokers;
        let answers = tokio::join!(one.create_tenant(&id, isolation), other.create_tenant(&id, isolation));
        check_one_won([answers.0.map_err(|error| error.reason()), answers.1.map_err(|error| error.reason())]);
        for broker in brokers {
            broker.stop().await;
        }
        // Whoever came second has left it for later to see that nothing of its run stays.
        let third = Working::open(bench.ports()).await.expect("a broker");
        third.work();
        bench.settle().await;
        third.stop().await;
        assert!(bench.backend.record::<Tenant>(Shelf::Tenant, &id).await.is_some());
        bench.check(&[]).await;
        drop(said);
    }
}

fn check_one_won(answers: [Result<(), Reason>; 2]) {
    let lost = answers.iter().filter_map(|answer| answer.err()).collect::<Vec<_>>();
    assert_eq!(lost, [Reason::ResourceExists], "{answers:?}");
}

fn request(immediate: bool, overlap: Option<Duration>) -> RotationRequest {
    RotationRequest { immediate, overlap, reason: String::new(), replace: false }
}

/// Both with their background, each delayed in its own way. `watched` is looked at on every call.
async fn two_brokers(bench: &Bench, seed: u64, watched: Option<&'static str>) -> [Working; 2] {
    let mut brokers = Vec::new();
    for side in [1, 2] {
        let delays =
            Delays { seed: seed * 2 + side, calls: AtomicUsize::new(0), watched, backend: bench.backend.clone() };
        let ports = tolled(bench.ports(), Arc::new(delays));
        let leased = |settings: &mut Settings| settings.journal.lease = (seed % 2 == 1).then(LeaseTerms::default);
        let broker = Working::open_with(ports, leased).await.expect("a broker");
        broker.work();
        brokers.push(broker);
    }
    brokers.try_into().unwrap_or_else(|_| panic!("two"))
}

/// Lets others go first for a while that hangs on the seed and the number of the call, and sees to it that there are
/// never more than two secrets and the current one gets a token.
struct Delays {
    seed: u64,
    calls: AtomicUsize,
    watched: Option<&'static str>,
    backend: Backend,
}

impl Delays {
    async fn delay(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) as u64;
        // The finalizer of SplitMix64: every bit of the number hangs on every bit of both.
        let mut mixed = (self.seed << 32 | call).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Mostly none, sometimes as long as several calls of the other.
        let turns = if mixed >> 60 == 0 { mixed >> 8 & 0xfff } else { mixed >> 8 & 0xf };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Toll for Delays {
    async fn before(&self, _: &'static str) -> PortResult<()> {
        self.delay().await;
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        if let (Some(name), "add_secret" | "delete_secret" | "promote" | "commit") = (self.watched, call) {
            self.backend.check_current_works(name).await;
        }
        self.delay().await;
        Ok(())
    }
}

/// Holds one move of `AWSCURRENT` back before it happens.
#[derive(Default)]
struct HeldPromotion {
    hold: AtomicBool,
    reached: Notify,
    release: Notify,
}

#[async_trait]
impl Toll for HeldPromotion {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if call == "promote" && self.hold.swap(false, Ordering::SeqCst) {
            self.reached.notify_one();
            self.release.notified().await;
        }
        Ok(())
    }

    async fn after(&self, _: &'static str) -> PortResult<()> {
        Ok(())
    }
}

/// Says the seed of a round that failed.
struct Said(u64);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of this round is {}", self.0);
        }
    }
}
