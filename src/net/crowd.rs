//! Who is connected, and who gives way when nobody else fits in.
//!
//! When there is no room, the oldest connection gives way on which nobody was authenticated yet; if all have a known
//! caller, the new one is closed. Closing every new one instead would let whoever came first, and needs no credential for
//! that, shut everybody else out for as long as they keep their connections open. As it is, they only push out each other:
//! an honest caller is a stranger for the few milliseconds until its first call.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// All connections that stand.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    all: HashMap<u64, Arc<Guest>>,
    /// Those on which nobody was authenticated. Ids rise, so the first one is the oldest.
    strangers: BTreeSet<u64>,
    next_id: u64,
}

/// A connection that stands, as everybody knows it who has to do with it.
#[derive(Debug)]
pub(super) struct Guest {
    id: u64,
    crowd: Weak<Crowd>,
    is_known: AtomicBool,
    calls: Mutex<Calls>,
    /// Cancelled when it gives way.
    gives_way: CancellationToken,
}

#[derive(Debug)]
struct Calls {
    under_way: usize,
    /// When the last one ended, or the connection began. It counts while none is under way.
    idle_since: Instant,
}

/// The place of a connection, left when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Guest>);

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Guest>);

impl Crowd {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Crowd { most, guests: Mutex::default() })
    }

    /// A place for a new connection; `None` where all are taken by known callers.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Place> {
        let mut guests = self.lock();
        if guests.all.len() >= self.most {
            guests.send_away()?;
        }
        let id = guests.next_id;
        guests.next_id += 1;
        let guest = Arc::new(Guest {
            id,
            crowd: Arc::downgrade(self),
            is_known: AtomicBool::new(false),
            calls: Mutex::new(Calls { under_way: 0, idle_since: Instant::now() }),
            gives_way: CancellationToken::new(),
        });
        guests.all.insert(id, guest.clone());
        guests.strangers.insert(id);
        Some(Place(guest))
    }

    /// Lets one give way although there are places: the system has no room for another.
    pub(super) fn make_room(&self) {
        self.lock().send_away();
    }

    /// How many connections have calls under way.
    pub(super) fn busy(&self) -> usize {
        self.lock().all.values().filter(|guest| guest.calls() > 0).count()
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        // Nothing panics while it is held, and each change leaves it whole.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn send_away(&mut self) -> Option<()> {
        let oldest = self.strangers.pop_first()?;
        self.all.remove(&oldest)?.gives_way.cancel();
        Some(())
    }
}

impl Guest {
    pub(super) fn calls(&self) -> usize {
        self.lock().under_way
    }

    pub(super) fn is_known(&self) {
        if self.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(crowd) = self.crowd.upgrade() {
            crowd.lock().strangers.remove(&self.id);
        }
    }

    pub(super) fn is_stranger(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed)
    }

    /// Returns when it has to give way.
    pub(super) async fn gives_way(&self) {
        self.gives_way.cancelled().await;
    }

    /// Since when no call is under way; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let calls = self.lock();
        (calls.under_way == 0).then_some(calls.idle_since)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // Nothing panics while it is held.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_call(self: &Arc<Self>) -> UnderWay {
        self.lock().under_way += 1;
        UnderWay(self.clone())
    }
}

impl Place {
    pub(super) fn guest(&self) -> &Arc<Guest> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(crowd) = self.0.crowd.upgrade() {
            let mut guests = crowd.lock();
            guests.strangers.remove(&self.0.id);
            guests.all.remove(&self.0.id);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut calls = self.0.lock();
        calls.under_way -= 1;
        // A clock costs more than the rest, and under load no call is the last.
        if calls.under_way == 0 {
            calls.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gave_way(place: &Place) -> bool {
        place.0.gives_way.is_cancelled()
    }

    #[test]
    fn the_oldest_stranger_gives_way_and_nobody_who_is_known() {
        let crowd = Crowd::new(3);
        let mut places: Vec<_> = (0..3).map(|_| crowd.admit().expect("room")).collect();
        places[0].guest().is_known();
        let fourth = crowd.admit().expect("a stranger gives way");
        assert_eq!(places.iter().map(gave_way).collect::<Vec<_>>(), [false, true, false]);
        // The one that was sent away leaves: its place is taken already, and not free once more.
        drop(places.remove(1));
        assert_eq!(crowd.lock().all.len(), 3);
        fourth.guest().is_known();
        let _fifth = crowd.admit().expect("the other stranger gives way");
        assert_eq!(places.iter().map(gave_way).collect::<Vec<_>>(), [false, true]);
        assert!(!gave_way(&fourth));
    }

    #[test]
    fn with_known_callers_alone_the_new_one_is_closed() {
        let crowd = Crowd::new(2);
        let places: Vec<_> = (0..2).map(|_| crowd.admit().expect("room")).collect();
        places.iter().for_each(|place| place.guest().is_known());
        assert!(crowd.admit().is_none());
        drop(places);
        assert!(crowd.admit().is_some());
        assert!(crowd.lock().all.is_empty() && crowd.lock().strangers.is_empty());
    }

    #[test]
    fn a_connection_is_idle_between_its_calls() {
        let crowd = Crowd::new(1);
        let place = crowd.admit().expect("room");
        let began = place.guest().idle_since().expect("idle");
        let (one, two) = (place.guest().begin_call(), place.guest().begin_call());
        assert_eq!((place.guest().calls(), crowd.busy()), (2, 1));
        drop(one);
        assert_eq!(place.guest().idle_since(), None);
        drop(two);
        assert!(place.guest().idle_since().expect("idle") >= began);
        assert_eq!(crowd.busy(), 0);
    }
}
