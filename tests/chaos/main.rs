//! Three brokers under load while they are killed, stopped and cut off, one after the other.
//!
//! A test program of its own, so that no other test runs meanwhile; its own tests take turns. The brokers are processes;
//! what is behind them is the strict fake of Cognito and Secrets Manager, in this process, and an emulator's DynamoDB, each
//! reached through a line that can be cut. Callers see the brokers as through a load balancer, and write down what becomes
//! of every call.
//!
//! `KEYWARD_CHAOS_SEED` plays the acts of another run in the same order, `KEYWARD_CHAOS_LOGS` names a folder for the brokers'
//! logs, `KEYWARD_CHAOS_CLIENTS` and `KEYWARD_CHAOS_REVOCATIONS` ask for more than a test of two minutes has time for.

mod away;
mod dice;
mod door;
mod fleet;
mod holder;
mod judge;
mod line;
mod load;
mod revocations;
mod script;
mod world;

#[path = "../suite/fake/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other test program uses the rest")]
mod fake;
#[path = "../suite/harness"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod harness {
    mod binary;
    mod calls;
    mod errors;

    pub use binary::Binary;
    pub use calls::{SCOPES, connect, create_client, create_tenant, folder, put_orders_api, token, verify};
    pub use errors::{ErrorDetails, details};
}
#[path = "../suite/peers"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod peers {
    mod botocore;
    mod ministack;
    mod process;
    mod provision;
    mod sdk;

    pub use botocore::service_model;
    pub use process::Peer;
    pub use sdk::Sdk;
}
#[path = "../suite/registry/tables.rs"]
mod tables;

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::load::{Load, Method, Record, SCOPE_SETS};
use crate::world::{Kind, World};

/// Clients that are rotated while brokers come and go: as many as the emulator carries in one round of the script. The full
/// number is 500, which takes some minutes: `KEYWARD_CHAOS_CLIENTS=500`.
const CLIENTS: usize = 100;
/// Tokens and verdicts that are asked for each second.
const CALLS_PER_SECOND: u32 = 100;
/// How often a token of a client and scope set is fetched in its lifetime: once, since brokers share them.
const FETCHERS: usize = 1;
/// How long after a trouble a broker may still fetch for itself.
const FETCH_GRACE: Duration = Duration::from_secs(1);
/// Rotations that one broker may be at work on at a time (`journal.concurrency`), each of which may lose its lease.
const JOURNALS_AT_A_TIME: usize = 8;

/// One test at a time.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of a machine that does nothing else: cargo test --test chaos -- --ignored"]
async fn a_fleet_is_served_and_rotated_while_brokers_are_killed_stopped_and_cut_off() {
    let _turn = turn().await;
    let (seed, clients) = (dice::seed(), number("KEYWARD_CHAOS_CLIENTS", CLIENTS));
    println!("KEYWARD_CHAOS_SEED={seed}, {clients} clients");
    let begun = Instant::now();
    let world = World::start("").await;
    let names = fleet::onboard(&world, clients).await;
    println!("onboarded after {:.1} s", begun.elapsed().as_secs_f64());
    world.fake.watch(&format!("keyward/{}", names[0]));
    world.fake.forget_calls();

    let load = Load::new(&world.sites, names.clone(), seed);
    let mut tasks = JoinSet::new();
    load.balance(&mut tasks);
    load.begin(CALLS_PER_SECOND, &mut tasks);
    let pulse = CancellationToken::new();
    let (rounds, ()) = tokio::join!(
        async {
            let _over = pulse.clone().drop_guard();
            script::play(&load).await
        },
        world.feel_pulse(pulse.clone())
    );
    println!("all mended and rotated after {rounds} rounds, {:.1} s", begun.elapsed().as_secs_f64());
    load.end();
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the load ends");
    }
    fleet::settle(&world).await;
    println!("settled after {:.1} s", begun.elapsed().as_secs_f64());
    if let Ok(folder) = std::env::var("KEYWARD_CHAOS_LOGS") {
        for site in &world.sites {
            let file = std::path::Path::new(&folder).join(format!("{}.log", site.name));
            std::fs::write(file, site.log()).expect("written");
        }
    }
    let starved = world.starved();
    println!("the machine had no time for {:.1} s", starved.as_secs_f64());
    assert!(starved < begun.elapsed() / 4, "the machine has too much else to do for this to tell anything");
    judge::judge(&load.records());

    check_effort(&world, &load, rounds);
    fleet::check(&world, &names).await;
    println!("checked after {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(world.end(), Vec::<String>::new());
}

/// Brokers do not do again what another one has done, but where something was done to them.
fn check_effort(world: &World, load: &Load, rounds: usize) {
    let calls = world.fake.calls();
    let count = |action: &str| calls.iter().filter(|call| call.action == action).count();
    let lapses = rounds * script::LAPSES;
    let (clients, places) = (load.clients.len(), load.clients.len() * SCOPE_SETS.len());
    // Each rotation proves its secret with a fetch, registers it and deletes the old one; again where its lease has lapsed.
    let again = lapses * JOURNALS_AT_A_TIME;
    for action in ["cognito-idp:AddUserPoolClientSecret", "cognito-idp:DeleteUserPoolClientSecret"] {
        println!("{} calls of {action} for {clients} rotations", count(action));
        assert!(count(action) <= clients + again, "{action}");
    }
    // A broker whose table does not answer fetches for itself, and so may whoever waits for one that has died.
    let is_alone = |kind: &Kind| matches!(kind, Kind::Table | Kind::Stopped | Kind::Starved);
    let is_excused = |record: &&Record| {
        let troubles = record.site.troubles(record.begin, record.end, FETCH_GRACE);
        record.method == Method::GetToken && troubles.iter().any(is_alone)
    };
    let excused = load.records().iter().filter(is_excused).count();
    let (fetched, given) = (count("oauth2:Token"), load.tokens_seen());
    println!(
        "{fetched} fetches, {clients} of them proofs; {given} tokens were given for {places} clients and scope sets, with \
         {excused} calls of brokers without a table",
    );
    let most = places * FETCHERS + excused + lapses;
    assert!(given <= most, "{given} tokens for {places} clients and scope sets");
    assert!(fetched <= most + clients + again, "{fetched} fetches");
}

/// Of the environment, where it says.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The `percent`th percentile.
fn percentile(took: &mut [Duration], percent: usize) -> Duration {
    took.sort();
    took[(took.len() * percent / 100).min(took.len() - 1)]
}
