//! Denials on their way to the audit log: each is an event, as long as one caller has no more than
//! [`Settings::denials_per_minute`](super::settings::Settings::denials_per_minute) of them in a minute. Those beyond that are
//! counted, by method and reason, and each count is an event when the minute is over.
//!
//! A caller that asks again and again for what it does not get would otherwise fill the log with one sentence, and a
//! registry that brokers share takes some hundreds of changes a second from all of them together. It must never leave
//! a denial out of both: what cannot be counted, because too many callers are, is an event of its own. It fails by counting
//! on: counts that could not be written are written a minute later. A broker that is killed takes those of the last
//! minute with it; one that is stopped writes them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::world::{World, unique_id};
use crate::domain::audit::{Call, Outcome, Principal};
use crate::domain::error::Result;

const WINDOW: Duration = Duration::from_secs(60);
/// Callers whose denials are counted at one time. Each takes some hundred bytes, and as much for each method and reason.
const MAX_CALLERS: usize = 10_000;

/// What a count is of: a method, and why it was denied.
type Kind = (Arc<str>, String);

pub struct Denials {
    limit: u32,
    state: Mutex<State>,
    /// Told when something is counted where nothing was.
    counted: Notify,
}

#[derive(Default)]
struct State {
    callers: HashMap<Principal, Minute>,
    /// When those whose minute is over were last looked for: not at each call, if there are too many callers.
    swept: Timestamp,
    /// Whether nobody will come for counts any more.
    is_over: bool,
}

/// A caller's minute.
struct Minute {
    start: Timestamp,
    /// Denials that are events of their own.
    events: u32,
    more: BTreeMap<Kind, Count>,
}

/// Denials of one caller beyond its limit that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    denials: u64,
    /// Empty where they were about several.
    resource: String,
    since: Timestamp,
}

impl Denials {
    pub fn new(limit: u32) -> Self {
        Denials { limit, state: Mutex::default(), counted: Notify::new() }
    }

    /// Whether a denial is to be an event of its own. Otherwise it has been counted.
    pub fn is_event(&self, call: &Call, resource: &str, reason: &str, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return true;
        }
        if state.callers.len() >= MAX_CALLERS && !state.callers.contains_key(&call.principal) {
            state.sweep(now);
            if state.callers.len() >= MAX_CALLERS {
                return true;
            }
        }
        let minute = state.callers.entry(call.principal.clone()).or_insert_with(|| Minute::of(now));
        if minute.is_over(now) && minute.more.is_empty() {
            *minute = Minute::of(now);
        }
        if minute.events < self.limit {
            minute.events += 1;
            return true;
        }
        minute.count((call.method.clone(), reason.to_owned()), resource, now);
        self.counted.notify_one();
        false
    }

    /// Writes counts down when their minute is over, until stopped; then all of them, and from then on each denial is an
    /// event again.
    pub async fn work(&self, world: &World, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let wait = async {
                match self.first_end() {
                    Some(end) => world.clock.sleep_until(end).await,
                    None => self.counted.notified().await,
                }
            };
            if stop.run_until_cancelled(wait).await.is_some() {
                self.write(world, self.take(Some(world.now()))).await;
            }
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.write(world, self.take(None)).await;
    }

    async fn write(&self, world: &World, counts: Vec<(Principal, Kind, Count)>) {
        for (principal, kind, count) in counts {
            if let Err(error) = write(world, &principal, &kind, &count).await {
                tracing::warn!(%error, cause = error.internal_detail(), %principal, count.denials, "denials are not on record");
                self.give_back(principal, kind, count, world.now());
            }
        }
    }

    /// When the first minute ends in which something was counted.
    fn first_end(&self) -> Option<Timestamp> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.callers.values().filter(|minute| !minute.more.is_empty()).map(|minute| minute.start + WINDOW).min()
    }

    /// The counts of all minutes that are over, or of all.
    fn take(&self, now: Option<Timestamp>) -> Vec<(Principal, Kind, Count)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Vec::new();
        state.callers.retain(|principal, minute| {
            let is_over = now.is_none_or(|now| minute.is_over(now));
            if is_over {
                let more = std::mem::take(&mut minute.more);
                counts.extend(more.into_iter().map(|(kind, count)| (principal.clone(), kind, count)));
            }
            !is_over
        });
        counts
    }

    fn give_back(&self, principal: Principal, kind: Kind, count: Count, now: Timestamp) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.limit;
        // The minute that begins now is for what is counted alone: there is no room for events.
        let minute = state.callers.entry(principal).or_insert_with(|| Minute { events: limit, ..Minute::of(now) });
        minute.more.entry(kind).and_modify(|other| other.add(&count)).or_insert(count);
    }
}

impl State {
    fn sweep(&mut self, now: Timestamp) {
        if now.duration_since(self.swept).abs() >= SignedDuration::from_secs(1) {
            self.swept = now;
            self.callers.retain(|_, minute| !minute.is_over(now) || !minute.more.is_empty());
        }
    }
}

impl Minute {
    fn of(now: Timestamp) -> Self {
        Minute { start: now, events: 0, more: BTreeMap::new() }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        // A clock that was set back ends it too.
        now >= self.start + WINDOW || now < self.start
    }

    fn count(&mut self, kind: Kind, resource: &str, now: Timestamp) {
        let one = Count { denials: 1, resource: resource.to_owned(), since: now };
        self.more.entry(kind).and_modify(|count| count.add(&one)).or_insert(one);
    }
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.denials += other.denials;
        self.since = self.since.min(other.since);
        if self.resource != other.resource {
            self.resource.clear();
        }
    }
}

async fn write(world: &World, principal: &Principal, (method, reason): &Kind, count: &Count) -> Result<()> {
    let (principal, method) = (principal.clone(), method.clone());
    let call = Call { principal, method, call_id: unique_id()?.into(), request: None };
    let event = call.event(world.now(), &count.resource).ended(Outcome::Denied, reason);
    let detail = format!("{} more calls were denied since {:.0}", count.denials, count.since);
    world.put_on_record(event.detail(detail)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TenantId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn call(method: &str) -> Call {
        Call { principal: Principal::Keyward, method: method.into(), call_id: "1".into(), request: None }
    }

    /// How many of `times` denials are events.
    fn deny(denials: &Denials, method: &str, resource: &str, times: usize, now: Timestamp) -> usize {
        (0..times).filter(|_| denials.is_event(&call(method), resource, "WHY", now)).count()
    }

    #[test]
    fn a_callers_denials_are_events_up_to_a_number_and_counted_beyond() {
        let denials = Denials::new(3);
        assert_eq!(deny(&denials, "A", "x", 2, at(0)), 2);
        assert_eq!(deny(&denials, "B", "y", 4, at(1)), 1);
        assert_eq!(deny(&denials, "A", "x", 2, at(2)), 0);
        assert_eq!(denials.first_end(), Some(at(60)));
        assert_eq!(denials.take(Some(at(59))), []);
        let taken = denials.take(Some(at(60)));
        let told =
            taken.iter().map(|(_, (method, _), count)| (&**method, count.denials, &*count.resource, count.since));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [("A", 2, "x", at(2)), ("B", 3, "y", at(1))]);
        assert_eq!((denials.take(None), denials.first_end()), (vec![], None));
        assert_eq!(deny(&denials, "A", "x", 4, at(60)), 3, "another minute");
    }

    #[test]
    fn a_minute_without_counts_needs_nobody_to_end_it() {
        let denials = Denials::new(1);
        assert_eq!(deny(&denials, "A", "x", 1, at(0)), 1);
        assert_eq!((deny(&denials, "A", "x", 1, at(60)), denials.first_end()), (1, None));
        // Set back.
        assert_eq!(deny(&denials, "A", "x", 1, at(5)), 1);
    }

    #[test]
    fn what_could_not_be_written_is_kept_with_what_comes_and_about_several_things_it_names_none() {
        let denials = Denials::new(1);
        assert_eq!(deny(&denials, "A", "x", 3, at(0)), 1);
        let (principal, kind, count) = denials.take(None).remove(0);
        denials.give_back(principal, kind, count, at(70));
        assert_eq!(deny(&denials, "A", "y", 1, at(80)), 0, "there is no room for events");
        let taken = denials.take(Some(at(130)));
        assert_eq!((taken[0].2.denials, &*taken[0].2.resource, taken[0].2.since), (3, "", at(0)));
    }

    #[test]
    fn beyond_so_many_callers_each_denial_is_an_event() {
        let denials = Denials::new(1);
        let caller = |n: usize| {
            let tenant = TenantId::parse("tenant", &format!("t{n:05}")).expect("valid");
            let client = crate::domain::id::ClientId::parse("client", "orders").expect("valid");
            let principal = Principal::Client(crate::domain::id::ClientName::new(tenant, client));
            Call { principal, ..call("A") }
        };
        for n in 0..MAX_CALLERS {
            assert!(denials.is_event(&caller(n), "x", "WHY", at(0)));
        }
        assert!(!denials.is_event(&caller(0), "x", "WHY", at(0)));
        for _ in 0..2 {
            assert!(denials.is_event(&caller(MAX_CALLERS), "x", "WHY", at(0)));
        }
        // Those whose minute is over make room, but for whom something is to be written of.
        assert!(denials.is_event(&caller(MAX_CALLERS), "x", "WHY", at(60)));
        assert!(!denials.is_event(&caller(MAX_CALLERS), "x", "WHY", at(60)));
        assert_eq!(denials.take(None).iter().map(|(_, _, count)| count.denials).sum::<u64>(), 2);
    }
}
