//! A backend that chooses the secrets of app clients itself and says each of them once: issuing a client and replacing
//! its app client there, with a broker that dies at any call of any port, and with a backend that fails at any call.
//!
//! A rotation becomes a replacement there, so crashes are tried on the one and faults on the other.
//!
//! Whoever dies between the creation and the vault loses the secret. So what these hold is that nobody then uses that
//! app client, that it does not stay, and that the client has another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::api::RotationRequest;
use keyward::broker::ports::{PortResult, Shelf};
use keyward::domain::client::Client;
use keyward::domain::rotation::{Method, Rotation, RotationState};
use keyward::domain::tenant::Isolation;
use tokio::sync::Notify;

use crate::crash::Fuse;
use crate::fake::{After, AppClientItem, Fault};
use crate::harness::aws_bench::AwsBench;
use crate::harness::backend::key;
use crate::harness::brokers::{Working, call, client_name};
use crate::harness::ports::in_time;
use crate::harness::tolls::{Toll, tolled};

const OVERLAP: Duration = Duration::from_secs(60);
const FAULTS: [Fault; 5] =
    [Fault::LostAnswer, Fault::Throttled, Fault::Status(500), Fault::ResetBefore, Fault::TornBody];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Issue,
    /// A rotation, which finds out that there is no second secret.
    Rotate,
    Replace,
}

#[tokio::test]
async fn what_the_first_creation_has_shown_is_remembered_until_the_process_ends() {
    let mut bench = bench().await;
    prepare(&mut bench, Act::Issue, "acme").await;
    assert_eq!(creations_of(&bench, "one").await, [2, 1], "it is found out");
    assert_eq!(creations_of(&bench, "two").await, [1, 0], "it is known");
    bench.reconnect().await;
    assert_eq!(creations_of(&bench, "three").await, [2, 1], "it is found out again");
    let cognito = AwsBench::new().await;
    let broker = cognito.broker().await;
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    broker.stop().await;
    assert_eq!(creations_of(&cognito, "one").await, [1, 0], "Cognito takes what it is told");
}

/// How many app clients are made and deleted for a new client.
async fn creations_of(bench: &AwsBench, client: &str) -> [usize; 2] {
    bench.fake.forget_calls();
    let broker = bench.broker().await;
    let name = format!("tenants/acme/clients/{client}");
    broker.create_client(&name).await.expect("a client");
    broker.stop().await;
    bench.check(&[&name]).await;
    let calls = bench.fake.calls();
    ["cognito-idp:CreateUserPoolClient", "cognito-idp:DeleteUserPoolClient"]
        .map(|action| calls.iter().filter(|call| call.action == action).count())
}

#[tokio::test]
async fn issuing_survives_a_crash_at_any_call() {
    crash_everywhere(Act::Issue, 45).await;
}

#[tokio::test]
async fn a_replacement_survives_a_crash_at_any_call() {
    crash_everywhere(Act::Replace, 200).await;
}

#[tokio::test]
async fn issuing_survives_a_fault_at_any_call() {
    fail_everywhere(Act::Issue, 14).await;
}

#[tokio::test]
async fn a_rotation_that_becomes_a_replacement_survives_a_fault_at_any_call() {
    fail_everywhere(Act::Rotate, 45).await;
}

/// One broker is held between the creation and the vault, and goes on when another one has done it all.
#[tokio::test]
async fn an_app_client_that_somebody_else_has_replaced_meanwhile_is_not_written_down() {
    for act in [Act::Issue, Act::Rotate, Act::Replace] {
        let mut bench = bench().await;
        prepare(&mut bench, act, "acme").await;
        let held = Held::at("create_app_client");
        let first = Working::open(tolled(bench.backend.0.clone(), held.clone())).await.expect("a broker");
        let other = async {
            in_time(held.reached.notified()).await;
            let made = bench.fake.inventory().app_clients;
            let second = bench.broker().await;
            // A lost creation is looked for much later.
            bench.settle(|| is_done(&bench, &made)).await;
            second.stop().await;
            held.go.notify_one();
        };
        let (_, ()) = tokio::join!(perform(&bench, &first, act, "acme"), other);
        first.stop().await;
        recover(&bench, act, "acme", false, "another was faster").await;
    }
}

/// One broker is held between the creation and the vault, and goes on at the moment at which another one has deleted
/// what it has made.
#[tokio::test]
async fn an_app_client_that_somebody_else_has_deleted_at_this_moment_is_not_written_down() {
    for act in [Act::Issue, Act::Rotate, Act::Replace] {
        let mut bench = bench().await;
        prepare(&mut bench, act, "acme").await;
        let (creating, deleting) = (Held::at("create_app_client"), Held::at("delete_app_client"));
        let first = Working::open(tolled(bench.backend.0.clone(), creating.clone())).await.expect("a broker");
        let second = Working::open(tolled(bench.backend.0.clone(), deleting.clone())).await.expect("another");
        let other = async {
            in_time(creating.reached.notified()).await;
            second.work();
            in_time(deleting.reached.notified()).await;
            creating.go.notify_one();
        };
        let (_, ()) = tokio::join!(perform(&bench, &first, act, "acme"), other);
        first.stop().await;
        deleting.go.notify_one();
        bench.settle(|| false).await;
        second.stop().await;
        recover(&bench, act, "acme", false, "another has just deleted it").await;
    }
}

/// The app client that shows that the backend chooses secrets is there, and cannot be deleted at once.
#[tokio::test]
async fn an_app_client_that_could_not_be_taken_back_is_found_again() {
    for act in [Act::Issue, Act::Rotate, Act::Replace] {
        for fault in [Fault::Throttled, Fault::Error("InvalidParameterException")] {
            let mut bench = bench().await;
            prepare(&mut bench, act, "acme").await;
            bench.fake.fail(After::calls(0).of("DeleteUserPoolClient"), fault);
            let broker = bench.broker().await;
            let answered = perform(&bench, &broker, act, "acme").await;
            bench.settle(|| false).await;
            broker.stop().await;
            recover(&bench, act, "acme", answered, &format!("{fault:?}")).await;
        }
    }
}

/// Whether nothing is left of what was there, and something new is.
fn is_done(bench: &AwsBench, before: &[AppClientItem]) -> bool {
    let now = bench.fake.inventory().app_clients;
    !now.is_empty() && now.iter().all(|client| !before.contains(client))
}

/// Holds the first call of one kind after its effect.
struct Held {
    call: &'static str,
    was_held: AtomicBool,
    reached: Notify,
    go: Notify,
}

impl Held {
    fn at(call: &'static str) -> Arc<Self> {
        Arc::new(Held { call, was_held: AtomicBool::new(false), reached: Notify::new(), go: Notify::new() })
    }
}

#[async_trait]
impl Toll for Held {
    async fn before(&self, _: &'static str) -> PortResult<()> {
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        if call == self.call && !self.was_held.swap(true, Ordering::SeqCst) {
            self.reached.notify_one();
            in_time(self.go.notified()).await;
        }
        Ok(())
    }
}

/// Every point at which a broker may die: before a call's effect, and after it.
async fn crash_everywhere(act: Act, at_least: usize) {
    const BOUND: usize = 1_000;
    let mut bench = bench().await;
    for point in 0..BOUND {
        // What is checked grows with what is there.
        if point % 16 == 15 {
            bench = self::bench().await;
        }
        let tenant = format!("tenant-{point}");
        prepare(&mut bench, act, &tenant).await;
        let fuse = Fuse::at(point);
        let mut answered = false;
        if let Ok(dying) = Working::open(tolled(bench.backend.0.clone(), fuse.clone())).await {
            answered = perform(&bench, &dying, act, &tenant).await;
            if !fuse.is_blown() {
                dying.work();
                bench.settle(|| fuse.is_blown()).await;
            }
            dying.stop().await;
        }
        bench.reconnect().await;
        recover(&bench, act, &tenant, answered, &format!("a crash at {point}")).await;
        if !fuse.is_blown() {
            println!("{act:?}: {point} points");
            assert!(point >= at_least, "only {point} points");
            return;
        }
    }
    panic!("it does not end within {BOUND} points");
}

/// Every call to the backend. A lost answer, which says least, is tried at each; the other faults take turns.
async fn fail_everywhere(act: Act, at_least: usize) {
    let mut points = 0;
    for is_lost in [true, false] {
        let mut bench = bench().await;
        for point in 0.. {
            if point % 16 == 15 {
                bench = self::bench().await;
            }
            let fault = if is_lost { FAULTS[0] } else { FAULTS[1 + point % (FAULTS.len() - 1)] };
            if !fail_at(&mut bench, act, point, fault).await {
                break;
            }
            points += 1;
        }
    }
    println!("{act:?}: {points} points");
    assert!(points >= 2 * at_least, "only {points} points");
}

/// Whether the fault was met.
async fn fail_at(bench: &mut AwsBench, act: Act, point: usize, fault: Fault) -> bool {
    let tenant = format!("tenant-{point}");
    prepare(bench, act, &tenant).await;
    let broker = bench.broker().await;
    bench.fake.forget_calls();
    bench.fake.fail(After::calls(point), fault);
    let is_met = || bench.fake.calls().len() > point;
    let answered = perform(bench, &broker, act, &tenant).await;
    bench.settle(is_met).await;
    broker.stop().await;
    let met = is_met();
    bench.fake.heal();
    recover(bench, act, &tenant, answered, &format!("{fault:?} at {point}")).await;
    met
}

async fn bench() -> AwsBench {
    let bench = AwsBench::new().await;
    bench.fake.ignore_own_secrets();
    bench
}

/// What is performed then finds out anew that the backend chooses secrets.
async fn prepare(bench: &mut AwsBench, act: Act, tenant: &str) {
    let broker = bench.broker().await;
    broker.create_tenant(tenant, Isolation::AppClient).await.expect("a tenant");
    if act != Act::Issue {
        broker.create_client(&client_of(tenant)).await.expect("a client");
    }
    bench.settle(|| false).await;
    broker.stop().await;
    bench.reconnect().await;
}

/// Whether it was answered that it is done, or under way.
async fn perform(bench: &AwsBench, broker: &Working, act: Act, tenant: &str) -> bool {
    if act == Act::Issue {
        return broker.create_client(&client_of(tenant)).await.is_ok();
    }
    let replace = act == Act::Replace;
    let request = RotationRequest { immediate: false, overlap: Some(OVERLAP), reason: String::new(), replace };
    let started = broker.rotations.rotate(&call(), &client_name(&client_of(tenant)), request, false).await;
    bench.clock.advance(OVERLAP);
    started.is_ok()
}

/// The next broker finishes what was begun. Then AWS has what the registry says and nothing else, the current secret
/// gets a token, and what was answered is so.
async fn recover(bench: &AwsBench, act: Act, tenant: &str, answered: bool, what: &str) {
    let next = bench.broker().await;
    bench.settle(|| false).await;
    next.stop().await;
    println!("{act:?} after {what}");
    bench.check(&[&client_of(tenant)]).await;
    let client: Option<Client> = bench.backend.record(Shelf::Client, &key(&client_of(tenant))).await;
    assert!(client.is_some() || (act == Act::Issue && !answered), "{tenant} has lost its client");
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    let mut rotations = rotations.iter().filter(|rotation| rotation.name.client.tenant.as_str() == tenant);
    let rotation = rotations.next();
    assert!(act == Act::Issue || !answered || rotation.is_some(), "{tenant} was answered");
    // Every fault comes once, so what was started has succeeded.
    let is_right = |it: &Rotation| it.state == RotationState::Succeeded && it.method == Method::ReplaceAppClient;
    assert!(rotation.is_none_or(is_right), "{rotation:?}");
    assert_eq!(bench.fake.throttled(), 0);
}

fn client_of(tenant: &str) -> String {
    format!("tenants/{tenant}/clients/checkout")
}
