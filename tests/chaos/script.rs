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

/// How often a broker is started again.
pub const RESTARTS: usize = BROKERS;
/// How often a broker loses its leases: whenever it is killed, stopped or cut off.
pub const LAPSES: usize = BROKERS + 5;
/// Over which the rotations are spread: as long as the acts take together.
const ROTATING: Duration = Duration::from_secs(45);

/// Rotates every client, one after the other while the acts are played.
pub fn rotate_all(load: &Arc<Load>, rotations: &mut JoinSet<()>) {
    let load = load.clone();
    rotations.spawn(async move {
        let mut pace = tokio::time::interval(ROTATING / u32::try_from(load.clients.len()).expect("not so many"));
        let mut under_way = JoinSet::new();
        for client in 0..load.clients.len() {
            pace.tick().await;
            let load = load.clone();
            under_way.spawn(async move { load.rotate(client).await });
        }
        while let Some(ended) = under_way.join_next().await {
            ended.expect("it was rotated");
        }
    });
}

/// Every broker is killed once; one is stopped for longer than a lease; one is cut off from DynamoDB and one from AWS, each
/// in both ways.
pub async fn play(sites: &[Arc<Site>], dice: &Dice) {
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
pub async fn pass(time: Duration) {
    let start = tokio::time::Instant::now() + time;
    tokio::time::interval_at(start, time).tick().await;
}
