//! AWS fails at any call of any operation, in every way that it can, and then the broker is started anew: nothing is
//! lost, and nothing is left.
//!
//! All faults at all calls would take long (`KEYWARD_TEST_ALL_FAULTS=1` does it). So, but for short operations, the fault that says least, a lost answer, is tried at every call, and the
//! others take turns: the call's number says whose turn it is. The token endpoint's own way of throttling is tried at
//! every fetch.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward::broker::api::RotationRequest;
use keyward::broker::ports::Shelf;
use keyward::domain::client::Client;
use keyward::domain::rotation::{Rotation, RotationState};
use keyward::domain::tenant::{Isolation, Tenant};

use crate::fake::{After, Fault};
use crate::harness::aws_bench::AwsBench;
use crate::harness::backend::key;
use crate::harness::brokers::{Working, call, client_name, tenant_id};

const OVERLAP: Duration = Duration::from_secs(60);
/// A call that hangs is given up after this, by the system's time.
const CALL_TIMEOUT: Duration = Duration::from_millis(150);

/// Operations of so few calls have every fault at every call.
const SHORT: usize = 5;
/// Set, it has every fault tried at every call of all operations, which takes minutes.
const WHOLE: &str = "KEYWARD_TEST_ALL_FAULTS";

/// Those that take turns.
const TURNS: [Fault; 6] =
    [Fault::Throttled, Fault::Status(500), Fault::ResetBefore, Fault::ResetAfter, Fault::TornBody, Fault::Hang];

#[tokio::test]
async fn onboarding_in_a_shared_pool_survives_a_fault_at_any_call() {
    onboarding_survives_a_fault_at_any_call("onboarding, shared", Isolation::AppClient, 13).await;
}

#[tokio::test]
async fn onboarding_with_a_pool_of_its_own_survives_a_fault_at_any_call() {
    onboarding_survives_a_fault_at_any_call("onboarding, dedicated", Isolation::UserPool, 20).await;
}

async fn onboarding_survives_a_fault_at_any_call(name: &str, isolation: Isolation, at_least: usize) {
    let prepare = async |_: &Working, _: &str| {};
    let act = async |_: &AwsBench, broker: &Working, id: &str| {
        let tenant = broker.create_tenant(id, isolation).await.is_ok();
        (tenant, broker.create_client(&client_of(id)).await.is_ok())
    };
    let check = async |bench: &AwsBench, id: &str, (tenant, client): (bool, bool)| {
        let key = key(&client_of(id));
        assert!(!tenant || bench.backend.record::<Tenant>(Shelf::Tenant, id).await.is_some(), "{id} was answered");
        assert!(!client || bench.backend.record::<Client>(Shelf::Client, &key).await.is_some(), "{id} was answered");
    };
    fail_everywhere(name, at_least, prepare, act, check).await;
}

#[tokio::test]
async fn a_rotation_survives_a_fault_at_any_call_until_its_overlap_is_over() {
    let act = async |bench: &AwsBench, broker: &Working, id: &str| {
        let request =
            RotationRequest { immediate: false, overlap: Some(OVERLAP), reason: String::new(), replace: false };
        let started = broker.rotations.rotate(&call(), &client_name(&client_of(id)), request, false).await.is_ok();
        bench.clock.advance(OVERLAP);
        started
    };
    fail_everywhere("rotation with overlap", 28, with_client, act, a_rotation_is_over).await;
}

#[tokio::test]
async fn a_replacement_survives_a_fault_at_any_call_until_its_overlap_is_over() {
    let act = async |bench: &AwsBench, broker: &Working, id: &str| {
        let request =
            RotationRequest { immediate: false, overlap: Some(OVERLAP), reason: String::new(), replace: true };
        let started = broker.rotations.rotate(&call(), &client_name(&client_of(id)), request, false).await.is_ok();
        bench.clock.advance(OVERLAP);
        started
    };
    fail_everywhere("replacement", 30, with_client, act, a_rotation_is_over).await;
}

#[tokio::test]
async fn deleting_a_client_survives_a_fault_at_any_call() {
    let act = async |_: &AwsBench, broker: &Working, id: &str| {
        broker.clients.delete(&call(), &client_name(&client_of(id)), None).await.is_ok()
    };
    let check = async |bench: &AwsBench, id: &str, answered: bool| {
        let gone = bench.backend.record::<Client>(Shelf::Client, &key(&client_of(id))).await.is_none();
        assert!(!answered || gone, "{id} was answered");
    };
    fail_everywhere("deletion of a client", 2, with_client, act, check).await;
}

#[tokio::test]
async fn deleting_a_tenant_survives_a_fault_at_any_call() {
    let prepare = async |broker: &Working, id: &str| {
        broker.create_tenant(id, Isolation::UserPool).await.expect("a tenant");
        broker.create_client(&client_of(id)).await.expect("a client");
    };
    let act = async |_: &AwsBench, broker: &Working, id: &str| {
        broker.tenants.delete(&call(), &tenant_id(id), None, false).await.is_ok()
    };
    let check = async |bench: &AwsBench, id: &str, answered: bool| {
        let tenant = bench.backend.record::<Tenant>(Shelf::Tenant, id).await;
        assert!(!answered || tenant.is_none(), "{id} was answered");
    };
    fail_everywhere("deletion of a tenant", 5, prepare, act, check).await;
}

async fn with_client(broker: &Working, id: &str) {
    broker.create_tenant(id, Isolation::AppClient).await.expect("a tenant");
    broker.create_client(&client_of(id)).await.expect("a client");
}

/// One that was started has succeeded, since every fault of a sweep comes once.
async fn a_rotation_is_over(bench: &AwsBench, id: &str, answered: bool) {
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    let newest = rotations.iter().rev().find(|rotation| rotation.name.client.tenant.as_str() == id);
    assert!(!answered || newest.is_some(), "{id} was answered");
    assert!(newest.is_none_or(|rotation| rotation.state == RotationState::Succeeded), "{newest:?}");
    let key = key(&client_of(id));
    assert!(bench.backend.record::<Client>(Shelf::Client, &key).await.is_some(), "{id} has lost its client");
}

/// The three sweeps of an operation, and how many points each fault was tried at.
async fn fail_everywhere<T>(
    operation: &str,
    at_least: usize,
    prepare: impl AsyncFn(&Working, &str),
    act: impl AsyncFn(&AwsBench, &Working, &str) -> T,
    check: impl AsyncFn(&AwsBench, &str, T),
) {
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    let (mut all, mut fetches) = (0, 0);
    let is_whole = at_least <= SHORT || std::env::var_os(WHOLE).is_some();
    let turns = if is_whole { TURNS.len() } else { 1 };
    let mut sweeps = vec![(vec![Fault::LostAnswer], None), (vec![Fault::RateExceeded], Some("Token"))];
    for turn in 0..turns {
        let mut faults = TURNS.to_vec();
        faults.rotate_left(turn);
        sweeps.push((faults, None));
    }
    for (faults, only) in sweeps {
        let mut bench = AwsBench::new(|options| options.call_timeout = CALL_TIMEOUT).await;
        for point in 0.. {
            // What is checked grows with what is there.
            if point % 16 == 15 {
                bench = AwsBench::new(|options| options.call_timeout = CALL_TIMEOUT).await;
            }
            let (id, fault) = (format!("tenant-{point}"), faults[point % faults.len()]);
            if !fail_at(&bench, &id, point, fault, only, &prepare, &act, &check).await {
                break;
            }
            *tried.entry(format!("{fault:?}")).or_default() += 1;
            match only {
                None => all += 1,
                Some(_) => fetches += 1,
            }
        }
    }
    println!("{operation}: {tried:?}");
    assert!(all >= (1 + turns) * at_least, "{operation}: only {all} points, and {fetches} fetches");
}

/// Whether the fault was met.
#[expect(clippy::too_many_arguments, reason = "the three that differ by operation are passed on as they are")]
async fn fail_at<T>(
    bench: &AwsBench,
    id: &str,
    point: usize,
    fault: Fault,
    only: Option<&str>,
    prepare: &impl AsyncFn(&Working, &str),
    act: &impl AsyncFn(&AwsBench, &Working, &str) -> T,
    check: &impl AsyncFn(&AwsBench, &str, T),
) -> bool {
    let broker = bench.broker().await;
    prepare(&broker, id).await;
    bench.settle(|| false).await;
    bench.fake.forget_calls();
    let after = After::calls(point);
    bench.fake.fail(only.map_or(after.clone(), |operation| after.of(operation)), fault);
    let is_met = || {
        let counts = |action: &str| only.is_none_or(|operation| action.ends_with(operation));
        bench.fake.calls().iter().filter(|call| counts(&call.action)).count() > point
    };
    let answered = act(bench, &broker, id).await;
    bench.settle(is_met).await;
    broker.stop().await;
    let met = is_met();
    bench.fake.heal();

    let next = bench.broker().await;
    bench.settle(|| false).await;
    next.stop().await;
    bench.check(&[&client_of(id)]).await;
    check(bench, id, answered).await;
    assert_eq!(bench.fake.throttled(), 0, "{fault:?} at {point}");
    met
}

fn client_of(tenant: &str) -> String {
    format!("tenants/{tenant}/clients/checkout")
}
