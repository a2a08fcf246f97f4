//! What is done to the brokers, one thing after the other, in an order that the seed says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::dice::Dice;
use crate::line::Cut;
use crate::load::Load;
use crate::progress::Progress;
use crate::world::{LEASE, Site};

/// How long each thing lasts, and how long there is peace after it.
const DOWN: Duration = Duration::from_secs(1);
const CUT: Duration = Duration::from_secs(4);
const PEACE: Duration = Duration::from_secs(1);
/// Longer than a lease and all that is waited for after it.
const STOPPED: Duration = LEASE.saturating_add(Duration::from_secs(2));
/// Rotations that one broker is at work on at one time (`journal.concurrency`).
const JOURNALS_AT_A_TIME: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Stop,
    CutTable(Cut),
    CutAws(Cut),
}

/// What a round takes at least. The rotations are spread over that.
const ROUND: Duration = Duration::from_secs(33);
/// Rotations that are under way at one time, at most: a slow machine gets them one after the other.
const AT_A_TIME: usize = 3 * JOURNALS_AT_A_TIME;

/// Plays rounds while rotations are begun, of one client after the other: at least one. Answers with how many those were
/// when the last rotation has been answered.
pub async fn play(load: &Arc<Load>) -> usize {
    let rotating = tokio::spawn(rotate_all(load.clone()));
    let (mut rounds, mut rotated) = (0, 0);
    while rounds == 0 || !rotating.is_finished() {
        play_round(&load.sites, &load.dice).await;
        rounds += 1;
        let now = load.rotated();
        assert!(now > rotated, "no rotation has come to an end in round {rounds}, after {rotated}");
        rotated = now;
    }
    let under_way = rotating.await.expect("they were begun");
    let (mut progress, mut looks) = (Progress::new(), tokio::time::interval(Duration::from_millis(100)));
    while load.rotated() < load.clients.len() {
        looks.tick().await;
        let left = load.clients.len() - load.rotated();
        assert!(!progress.stands_still(left), "{left} rotations are never answered");
    }
    under_way.join_all().await;
    rounds
}

/// Begins the rotations. Answers with those that are under way.
async fn rotate_all(load: Arc<Load>) -> JoinSet<()> {
    let all = u32::try_from(load.clients.len()).expect("some hundreds");
    let (mut pace, places) = (tokio::time::interval(ROUND / all), Arc::new(Semaphore::new(AT_A_TIME)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = JoinSet::new();
    for client in 0..load.clients.len() {
        pace.tick().await;
        let (load, place) = (load.clone(), places.clone().acquire_owned().await.expect("never closed"));
        under_way.spawn(async move {
            load.rotate(client).await;
            drop(place);
        });
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
