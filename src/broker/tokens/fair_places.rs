//! A bounded number of places for work, given to tenants in turn.
//!
//! While places are free, whoever comes takes one. When none is, tenants queue up, and each place that falls free goes to
//! the next tenant in the round, whichever of its own has waited longest: so a tenant with ten thousand cold clients
//! delays another's one by a single round, not by ten thousand fetches. Who stops waiting leaves the queue; the whole
//! queue is bounded.
//!
//! Brokers that share an account know nothing of each other's queues, and need not: each has a part of the quota
//! ([`share`](crate::domain::share)), and each tenant a fair part of that. A tenant that asks all of them gets as many parts, each
//! of so much less. One that asks a single broker has its part of that one's alone, which nobody elsewhere can take away.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::TenantId;

/// Waiting at one time, of all tenants together.
const MAX_WAITING: usize = 50_000;

pub struct FairPlaces(Arc<Places>);

struct Places {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    waiting: HashMap<TenantId, VecDeque<oneshot::Sender<Place>>>,
    /// The tenants in `waiting`, each once, the next to be served first.
    round: VecDeque<TenantId>,
    count: usize,
}

/// A place for as long as it is held.
pub struct Place {
    places: Arc<Places>,
    is_held: bool,
}

impl FairPlaces {
    pub fn new(places: usize) -> Self {
        FairPlaces(Arc::new(Places { state: Mutex::new(State { free: places, ..State::default() }) }))
    }

    /// Waits for a place. Fails with OVERLOADED when too many wait already.
    pub async fn take(&self, tenant: &TenantId) -> Result<Place> {
        let waiting = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place { places: self.0.clone(), is_held: true });
            }
            if state.count >= MAX_WAITING {
                return Err(Error::new(Reason::Overloaded, "too many calls wait for a token already"));
            }
            state.queue_up(tenant)
        };
        waiting.await.map_err(|_| Error::internal("waiting for a place", "the queue is gone"))
    }
}

impl State {
    fn queue_up(&mut self, tenant: &TenantId) -> oneshot::Receiver<Place> {
        let (sender, receiver) = oneshot::channel();
        self.count += 1;
        match self.waiting.get_mut(tenant) {
            Some(queue) => queue.push_back(sender),
            None => {
                self.waiting.insert(tenant.clone(), VecDeque::from([sender]));
                self.round.push_back(tenant.clone());
            }
        }
        receiver
    }

    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let tenant = self.round.pop_front()?;
        let queue = self.waiting.get_mut(&tenant)?;
        let sender = queue.pop_front();
        self.count -= usize::from(sender.is_some());
        if queue.is_empty() {
            self.waiting.remove(&tenant);
        } else {
            self.round.push_back(tenant);
        }
        sender
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        loop {
            let next = {
                let mut state = self.places.lock();
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Place { places: self.places.clone(), is_held: true }) {
                Ok(()) => return,
                // That one has stopped waiting: its place goes to the next, here and not in its drop.
                Err(mut place) => place.is_held = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse("tenant", id).expect("valid")
    }

    #[tokio::test]
    async fn a_tenant_with_many_delays_another_by_one_round() {
        let places = FairPlaces::new(1);
        let (greedy, modest) = (tenant("greedy"), tenant("modest"));
        let held = places.take(&greedy).await.expect("free");
        let mut many: Vec<_> = (0..1000).map(|_| Box::pin(places.take(&greedy))).collect();
        assert!(many.iter_mut().all(|wait| wait.now_or_never().is_none()));
        let mut one = Box::pin(places.take(&modest));
        assert!(one.as_mut().now_or_never().is_none());

        drop(held);
        let first = many[0].as_mut().now_or_never().expect("the first in line").expect("a place");
        assert!(one.as_mut().now_or_never().is_none());
        drop(first);
        assert!(one.as_mut().now_or_never().is_some(), "the other tenant's turn");
    }

    #[tokio::test]
    async fn a_place_survives_those_who_stop_waiting() {
        let places = FairPlaces::new(1);
        let acme = tenant("acme");
        let held = places.take(&acme).await.expect("free");
        for _ in 0..100_000 {
            let mut gone = Box::pin(places.take(&acme));
            if places.0.lock().count < MAX_WAITING - 1 {
                assert!(gone.as_mut().now_or_never().is_none());
            }
        }
        let mut last = Box::pin(places.take(&acme));
        assert!(last.as_mut().now_or_never().is_none());
        drop(held);
        drop(last.now_or_never().expect("its turn").expect("a place"));
        let state = places.0.lock();
        assert_eq!((state.free, state.count), (1, 0));
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let places = FairPlaces::new(0);
        let acme = tenant("acme");
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(places.take(&acme))).collect();
        assert!(waiting.iter_mut().all(|wait| wait.now_or_never().is_none()));
        let refused = places.take(&acme).await.err().expect("refused");
        assert_eq!(refused.reason(), Reason::Overloaded);
    }
}
