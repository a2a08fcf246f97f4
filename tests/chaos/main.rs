//! Three brokers under load while they are killed, stopped and cut off, one after the other.
//!
//! A test program of its own, so that no other test runs meanwhile; its own tests take turns. The brokers are processes;
//! what is behind them is the strict fake of Cognito and Secrets Manager, in this process, and an emulator's DynamoDB, each
//! reached through a line that can be cut. Callers see the brokers as through a load balancer, and write down what becomes
//! of every call.

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

use crate::fake::Outcome;
use crate::load::{Load, SCOPE_SETS};
use crate::world::{BROKERS, World};

/// Clients that are rotated while brokers come and go. The full number is 500: `KEYWARD_CHAOS_CLIENTS=500`.
const CLIENTS: usize = 100;
/// Tokens and verdicts that are asked for each second.
const CALLS_PER_SECOND: u32 = 100;
/// How often a token of a client and scope set is fetched in its lifetime, where no broker is ever started again.
const FETCHERS: usize = BROKERS;
/// Rotations that one broker may be at work on at a time (`journal.concurrency`), each of which may lose its lease.
const JOURNALS_AT_A_TIME: usize = 8;

/// One test at a time.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

#[tokio::test(flavor = "multi_thread")]
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
    let rounds = script::play(&load).await;
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
    judge::judge(&load.records());

    let fetched =
        world.fake.calls().iter().filter(|call| call.action == "oauth2:Token" && call.outcome == Outcome::Done).count();
    let most = load.tokens_seen().into_iter().max().unwrap_or_default();
    println!("{fetched} fetches; a client was given at most {most} tokens of one scope set");
    let fetchers = FETCHERS + rounds * script::RESTARTS;
    assert!(most <= fetchers, "{most} tokens of one client and scope set in one lifetime");
    // Each rotation proves its secret with a fetch, again where its lease has lapsed.
    let proofs = clients + JOURNALS_AT_A_TIME * rounds * script::LAPSES;
    assert!(fetched <= clients * SCOPE_SETS.len() * fetchers + proofs, "{fetched} tokens were fetched");
    fleet::check(&world, &names).await;
    println!("checked after {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(world.end(), Vec::<String>::new());
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
