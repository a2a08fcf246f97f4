//! One flight for each key: the first to ask starts it, everybody who asks meanwhile waits for the same result.
//!
//! The work runs as a task of its own in the background. So nobody's going away stops it for the others, a drain waits for it,
//! and its result is shared, success and failure alike. A flight is over before anyone learns its result: whoever asks
//! after that starts a new one.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::background::Background;
use crate::domain::error::{Error, Result};

pub struct Flights<K, T> {
    under_way: Arc<Mutex<HashMap<K, Flight<T>>>>,
    background: Background,
}

/// The result, for any number of those who wait.
pub type Flight<T> = Shared<BoxFuture<'static, Result<T>>>;

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub fn new(background: Background) -> Self {
        Flights { under_way: Arc::default(), background }
    }

    /// Joins the flight of `key`, or starts it with what `work` gives.
    pub fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Flight<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        if let Some(flight) = under_way.get(&key) {
            return flight.clone();
        }
        let (landed, landing) = oneshot::channel();
        let arrival = async move {
            landing.await.unwrap_or_else(|_| Err(Error::internal("waiting for shared work", "its task panicked")))
        };
        let flight = arrival.boxed().shared();
        under_way.insert(key.clone(), flight.clone());
        drop(under_way);

        let entry = Entry { under_way: self.under_way.clone(), key };
        let work = work();
        self.background.spawn(async move {
            let result = work.await;
            drop(entry);
            // Nobody may be waiting any more.
            let _ = landed.send(result);
        });
        flight
    }

    pub fn is_under_way(&self, key: &K) -> bool {
        lock(&self.under_way).contains_key(key)
    }
}

/// Takes a flight off the list however its task ends, by panic too.
struct Entry<K: Eq + Hash, T> {
    under_way: Arc<Mutex<HashMap<K, Flight<T>>>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Entry<K, T> {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.key);
    }
}

/// The map stays consistent across a panic: every change to it is one insert or one remove.
fn lock<K, T>(map: &Mutex<HashMap<K, Flight<T>>>) -> std::sync::MutexGuard<'_, HashMap<K, Flight<T>>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn a_thousand_callers_make_one_flight_and_one_who_leaves_stops_nothing() {
        let flights = Flights::<&str, usize>::new(Background::here(TaskTracker::new()));
        let started = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let mut waiting: Vec<_> = (0..1000)
            .map(|_| {
                let (started, gate) = (started.clone(), gate.clone());
                flights.join("key", move || async move {
                    let _permit = gate.acquire().await;
                    Ok(started.fetch_add(1, Ordering::SeqCst))
                })
            })
            .collect();
        drop(waiting.remove(0));
        gate.add_permits(1);
        for flight in waiting {
            assert_eq!(flight.await.expect("landed"), 0);
        }
        assert_eq!(started.load(Ordering::SeqCst), 1);
        assert!(!flights.is_under_way(&"key"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_flight_starts_afresh() {
        let flights = Flights::<u8, u8>::new(Background::here(TaskTracker::new()));
        let crash = flights.join(1, || async { panic!("a fault of ours") });
        assert!(crash.await.is_err());
        assert_eq!(flights.join(1, || async { Ok(7) }).await.expect("landed"), 7);
    }
}
