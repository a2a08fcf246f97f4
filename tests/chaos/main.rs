//! Three brokers under load while they are killed, stopped and cut off, one after the other.
//!
//! A test program of its own, so that no other test runs meanwhile. The brokers are processes; what is behind them is the
//! strict fake of Cognito and Secrets Manager, in this process, and an emulator's DynamoDB, each reached through a line that
//! can be cut. Callers see the brokers as through a load balancer, and write down what becomes of every call.
//!
//! What takes minutes with the full numbers is there twice: in a short form, which is a part of every `cargo test`, and with
//! the full numbers, where it is asked for. `KEYWARD_CHAOS_CLIENTS` and `KEYWARD_CHAOS_REVOCATIONS` say others,
//! `KEYWARD_CHAOS_SEED` plays the acts of another run in the same order, `KEYWARD_CHAOS_LOGS` names a folder for the brokers'
//! logs.
//!
//! Nothing that is done has to be done by a time: it has to come on ([`progress`]). Of times there are two, how long a broker
//! without its table goes on and how long a revocation takes; both allow for the time that the machine had none for anybody.
//! Leases cannot be switched off here, as the configuration cannot switch them off: what they are for, `tests/model` tells.

mod away;
mod dice;
mod door;
mod fleet;
mod holder;
mod judge;
mod lapses;
mod line;
mod load;
mod progress;
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
    mod tools;

    pub use binary::Binary;
    pub use calls::{SCOPES, connect, create_client, create_tenant, folder, put_orders_api, token};
    pub use errors::{ErrorDetails, details};
    pub use tools::dynoxide;
}
#[path = "../suite/peers"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod peers {
    mod botocore;
    mod dynoxide;
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

use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fake::Outcome;
use crate::lapses::Logged;
use crate::load::Load;
use crate::world::World;

/// Clients that are rotated while brokers come and go.
const CLIENTS: usize = 500;
const FEW_CLIENTS: usize = 60;
/// Tokens and verdicts that are asked for each second.
const CALLS_PER_SECOND: u32 = 100;
/// What the machine has no time for lasts longer than that.
const STARVED: Duration = Duration::from_secs(1);

/// The full forms write, and have the machine alone. The short ones run side by side; the longest comes first by its name.
static TURNS: RwLock<()> = RwLock::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_few_clients_are_served_and_rotated_while_brokers_are_killed_stopped_and_cut_off() {
    let _among_others = TURNS.read().await;
    trouble(FEW_CLIENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo test --test chaos -- --ignored"]
async fn a_fleet_is_served_and_rotated_while_brokers_are_killed_stopped_and_cut_off() {
    let _alone = TURNS.write().await;
    trouble(number("KEYWARD_CHAOS_CLIENTS", CLIENTS)).await;
}

async fn trouble(clients: usize) {
    let seed = dice::seed();
    println!("KEYWARD_CHAOS_SEED={seed}, {clients} clients");
    let begun = Instant::now();
    let world = World::start("").await;
    let started = begun.elapsed();
    let names = fleet::onboard(&world, clients).await;
    println!("started after {started:.1?}, onboarded after {:.1?}", begun.elapsed());
    world.fake.watch(&format!("keyward/{}", names[0]));
    world.fake.forget_calls();
    let onboarded = Instant::now();

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
        world.feel_pulse(STARVED, pulse.clone())
    );
    println!("all mended and rotated after {rounds} rounds, {:.1?}", begun.elapsed());
    load.end();
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the load ends");
    }
    println!("nobody asks any more after {:.1?}", begun.elapsed());
    fleet::settle(&world).await;
    println!("settled after {:.1?}; the machine had no time for {:.1?}", begun.elapsed(), world.starved());
    if let Ok(folder) = std::env::var("KEYWARD_CHAOS_LOGS") {
        for site in &world.sites {
            let file = std::path::Path::new(&folder).join(format!("{}.log", site.name));
            std::fs::write(file, site.log()).expect("written");
        }
    }
    judge::judge(&load.records());
    check_effort(&world, &load, onboarded);
    fleet::check(&world, &names).await;
    println!("checked after {:.1?}", begun.elapsed());
    assert_eq!(world.end(), Vec::<String>::new());
}

/// Brokers do not do again what another one has done, but where a lease has lapsed.
fn check_effort(world: &World, load: &Load, since: Instant) {
    let logged = Logged::by(world, since);
    println!(
        "leases that lapsed: {} on journals, {} of them in peace, {} on fetches; fetches without a lease: {} without a table, {} \
         after another's",
        logged.journals,
        logged.in_peace,
        logged.fetches.len(),
        logged.without_table.len(),
        logged.without_lease.len()
    );
    let calls = world.fake.calls();
    let count = |action: &str| {
        let had = |outcome: &Outcome| matches!(outcome, Outcome::Done | Outcome::DoneUnheard);
        calls.iter().filter(|call| call.action == action && had(&call.outcome)).count()
    };
    // Each rotation registers a secret, proves it with a fetch and deletes the old one.
    let rotations = load.clients.len() + logged.journals;
    for action in ["cognito-idp:AddUserPoolClientSecret", "cognito-idp:DeleteUserPoolClientSecret"] {
        println!("{} calls of {action} for {} rotations", count(action), load.clients.len());
        assert!(count(action) <= rotations, "{action}");
    }
    // One token for each client and scope set, and one more for each lease that lapsed. A broker without its table can have no
    // lease, so it is as if one had.
    let (mut tokens, mut places, mut most) = (0, 0, 0);
    for (client, given) in load.clients.iter().zip(load.tokens_seen()) {
        let (sets, excuses) = (given.iter().filter(|tokens| **tokens > 0).count(), logged.excuses(client));
        let count = given.iter().sum::<usize>();
        assert!(count <= sets + excuses, "{client}: {count} tokens for {sets} scope sets, with {excuses} excuses");
        (tokens, places, most) = (tokens + count, places + sets, most + sets + excuses);
    }
    let fetched = count("oauth2:Token");
    println!(
        "{fetched} fetches, up to {rotations} of them proofs; {tokens} tokens for {places} clients and scope sets"
    );
    assert!(fetched <= most + rotations, "{fetched} fetches");
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
