//! What is done to the brokers, one thing after the other, in an order that the seed says.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::line::Cut;
use crate::load::Load;
use crate::world::{BROKERS, LEASE, Site};

/// How long each thing lasts, and how long there is peace after it.
const DOWN: Duration = Duration::from_secs(1);
const CUT: Duration = Duration::from_secs(4);
const PEACE: Duration = Duration::from_secs(2);
/// Longer than a lease and all that is waited for after it.
const STOPPED: Duration = LEASE.saturating_add(Duration::from_secs(2));

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Stop,
    CutTable(Cut),
    CutAws(Cut),
}

/// How often a broker is started again in a round.
pub const RESTARTS: usize = BROKERS;
/// How often a broker loses its leases in a round: whenever it is killed, stopped or cut off.
pub const LAPSES: usize = RESTARTS + 5;
/// More rounds than that are never needed, or rotations do not come to an end.
const MAX_ROUNDS: usize = 12;
/// What the emulator carries beside the load: with 11 a second it answers after seconds.
const ROTATIONS_PER_SECOND: u32 = 3;

/// Plays rounds while rotations are begun, of one client after the other: at least one. Answers with how many those were
/// when the last rotation has been answered.
pub async fn play(load: &Arc<Load>) -> usize {
    let rotating = tokio::spawn(rotate_all(load.clone()));
    let mut rounds = 0;
    while rounds == 0 || !rotating.is_finished() {
        rounds += 1;
        assert!(rounds <= MAX_ROUNDS, "rotations do not come to an end");
        play_round(&load.sites, &load.dice).await;
    }
    let mut under_way = rotating.await.expect("they were begun");
    while let Some(ended) = under_way.join_next().await {
        ended.expect("it was rotated");
    }
    rounds
}

/// Begins the rotations. Answers with those that are under way.
async fn rotate_all(load: Arc<Load>) -> JoinSet<()> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / ROTATIONS_PER_SECOND);
    let mut under_way = JoinSet::new();
    for client in 0..load.clients.len() {
        pace.tick().await;
        let load = load.clone();
        under_way.spawn(async move { load.rotate(client).await });
    }
    under_way
}

/// Every broker is killed once; one is stopped for longer than a lease; one is cut off from DynamoDB and one from AWS, each
/// in both ways.
async fn play_round(sites: &[Arc<Site>], dice: &Dice) {
    let pick = || sites[dice.roll(sites.len())].clone();
    let mut acts: Vec<(Act, Arc<Site>)> = sites.iter().map(|site| (Act::Kill, site.clone())).collect();
    acts.push((Act::Stop, pick()));
    for cut in [Cut::Broken, Cut::Silent] {
        acts.extend([(Act::CutTable(cut), pick()), (Act::CutAws(cut), pick())]);
    }
    dice.shuffle(&mut acts);
    for (act, site) in acts {
        println!("{act:?} at {}", site.name);
        match act {
            Act::Kill => {
                site.kill();
                pass(DOWN).await;
                site.start().await;
            }
            Act::Stop => {
                site.stop();
                pass(STOPPED).await;
                site.go_on();
            }
            Act::CutTable(cut) => {
                site.cut_table(cut);
                pass(CUT).await;
                site.mend_table();
            }
            Act::CutAws(cut) => {
                site.cut_aws(cut);
                pass(CUT).await;
                site.mend_aws();
            }
        }
        pass(PEACE).await;
    }
}

/// What happens takes its time; nothing is waited for.
async fn pass(time: Duration) {
    let start = tokio::time::Instant::now() + time;
    tokio::time::interval_at(start, time).tick().await;
}
