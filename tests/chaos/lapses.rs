//! What brokers have logged of leases: which have lapsed, and which fetches there were without one.
//!
//! Whoever takes a lease over that nobody gave up says so, with its last holder. Of a lease on a fetch that is believed only
//! where something was done to that holder while it had the lease: a broker that lets it lapse in peace is at fault. Leases on
//! journals are so short here that a step on a busy machine may outlast one; how many lapsed in peace is told.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use keyward::broker::ports::Clock as _;
use keyward::runtime::clock::SystemClock;
use serde_json::Value;

use crate::world::{CALL_TIMEOUT, CLOCK_DIFFERENCE, Kind, LEASE, World};

/// Of a lease on a fetch (`broker/tokens/sharing.rs`): the time for the fetch, and a margin.
const FETCH_LEASE: Duration = CALL_TIMEOUT.saturating_add(Duration::from_secs(2));
/// How long one call of the shelf may take (`broker/tokens/sharing.rs`): so long after a trouble a broker may act upon it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a shelf that did not answer is left alone (`broker/tokens/shelf_rest.rs`).
const REST: Duration = Duration::from_secs(10);

const TAKEN_OVER: &str = "a lease on a journal that was not given up is taken over";

/// Resource names of clients, by what was logged of them.
#[derive(Default)]
pub struct Logged {
    /// A lease on the fetch of a token lapsed.
    pub fetches: Vec<String>,
    /// A token was fetched by a broker whose table did not answer, and which could have no lease.
    pub without_table: Vec<String>,
    /// A token was fetched at once since those of other brokers that were waited for took too long.
    pub without_lease: Vec<String>,
    /// How many leases on journals lapsed, or were left behind by a run whose last write failed.
    pub journals: usize,
    /// How many of them while nothing was done to their holder.
    pub in_peace: usize,
}

impl Logged {
    /// What the brokers have logged from `since` on. Fails the test where it happened in peace.
    pub fn by(world: &World, since: Instant) -> Logged {
        let mut logged = Logged::default();
        for site in &world.sites {
            for line in site.log().lines() {
                let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
                if moment(&event["timestamp"]).is_none_or(|time| time < since) {
                    continue;
                }
                let text = |member: &str| event[member].as_str().unwrap_or_default();
                let client = || text("client").to_owned();
                let (lasted, troubled) = match text("message") {
                    "a lease on a fetch that was not given up is taken over" => {
                        logged.fetches.push(client());
                        (FETCH_LEASE, world.site_of(text("holder")))
                    }
                    TAKEN_OVER => {
                        logged.journals += 1;
                        (LEASE, world.site_of(text("holder")))
                    }
                    "a token is fetched without asking the other brokers" => {
                        logged.without_table.push(client());
                        (CALL_TIMEOUT.max(REST), &**site)
                    }
                    // Something was done to another one, whichever that is.
                    "a token is fetched without a lease, since the fetches of others take too long" => {
                        logged.without_lease.push(client());
                        continue;
                    }
                    _ => continue,
                };
                let end = moment(&event["expire_time"]).or_else(|| moment(&event["timestamp"])).expect("a time");
                let begin = end.checked_sub(lasted).expect("the machine runs for longer");
                let troubles = troubled.troubles(begin, end + CLOCK_DIFFERENCE, PATIENCE);
                let is_excused = troubles.iter().any(|kind| *kind != Kind::Started);
                logged.in_peace += usize::from(!is_excused && text("message") == TAKEN_OVER);
                assert!(is_excused || text("message") == TAKEN_OVER, "nothing was done to {}: {line}", troubled.name);
            }
        }
        logged
    }

    /// How many more fetches of this client's tokens than one for each scope set are excused.
    pub fn excuses(&self, client: &str) -> usize {
        let all = [&self.fetches, &self.without_table, &self.without_lease];
        all.iter().flat_map(|clients| clients.iter()).filter(|known| *known == client).count()
    }
}

/// By the clock that troubles are noted by.
fn moment(time: &Value) -> Option<Instant> {
    let time: Timestamp = time.as_str()?.parse().ok()?;
    let (now, ago) = (Instant::now(), SystemClock.now().duration_since(time));
    match ago.is_negative() {
        true => now.checked_add(ago.unsigned_abs()),
        false => now.checked_sub(ago.unsigned_abs()),
    }
}
