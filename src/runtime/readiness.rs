//! Whether the daemon is ready, told by guards: each part that is not ready yet holds one, and drops it when it is.
//!
//! It does not know what the parts are, and does not publish the answer. A guard cannot be forgotten on an early
//! return, and a part that fails to start drops its guard by ending; whoever starts it must look at how it ended.

use std::sync::Arc;

use tokio::sync::watch;

/// Ready while nothing holds it. Clones are the same readiness.
///
/// Take every [`Hold`] before asking: with none taken yet it is ready.
#[derive(Clone, Debug)]
pub struct Readiness {
    holds: Arc<watch::Sender<Vec<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    name: &'static str,
}

/// Keeps the daemon from being ready until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it says that the part is ready"]
pub struct Hold {
    holds: Arc<watch::Sender<Vec<Entry>>>,
    id: u64,
}

impl Readiness {
    pub fn new() -> Self {
        Readiness { holds: Arc::new(watch::Sender::new(Vec::new())) }
    }

    /// Not ready before the hold is dropped; `name` says what is waited for.
    pub fn hold(&self, name: &'static str) -> Hold {
        let mut id = 0;
        self.holds.send_modify(|holds| {
            // Ids rise, so that the list stays in order and the last one is the highest.
            id = holds.last().map_or(0, |last| last.id + 1);
            holds.push(Entry { id, name });
        });
        Hold { holds: Arc::clone(&self.holds), id }
    }

    pub fn is_ready(&self) -> bool {
        self.holds.borrow().is_empty()
    }

    /// What is waited for, in the order in which it was held.
    pub fn pending(&self) -> Vec<&'static str> {
        self.holds.borrow().iter().map(|entry| entry.name).collect()
    }

    /// Returns once it is ready, which may be at once.
    pub async fn wait_ready(&self) {
        self.wait_until(true).await;
    }

    /// Returns once something holds it (again), as when the daemon begins to drain.
    pub async fn wait_not_ready(&self) {
        self.wait_until(false).await;
    }

    async fn wait_until(&self, ready: bool) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.holds.subscribe().wait_for(|holds| holds.is_empty() == ready).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Readiness::new()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.send_modify(|holds| holds.retain(|entry| entry.id != self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_ready_when_the_last_hold_is_dropped() {
        let readiness = Readiness::new();
        let (registry, keys, again) = (readiness.hold("registry"), readiness.hold("keys"), readiness.hold("registry"));
        assert_eq!(readiness.pending(), ["registry", "keys", "registry"]);
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait_ready().await }
        });
        drop(registry);
        assert_eq!(readiness.pending(), ["keys", "registry"]);
        drop(again);
        tokio::task::yield_now().await;
        assert!(!readiness.is_ready() && !waiter.is_finished());
        drop(keys);
        waiter.await.expect("ready");
        assert!(readiness.is_ready());
    }

    #[tokio::test]
    async fn a_part_that_ends_early_drops_its_hold() {
        let readiness = Readiness::new();
        let hold = readiness.hold("journal");
        let part = tokio::spawn(async move {
            let _hold = hold;
            Err::<(), _>("cannot open")
        });
        readiness.wait_ready().await;
        assert_eq!(part.await.expect("ended"), Err("cannot open"));
    }

    #[tokio::test]
    async fn it_can_be_held_again_for_draining() {
        let readiness = Readiness::new();
        readiness.wait_ready().await;
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait_not_ready().await }
        });
        let _drain = readiness.hold("draining");
        waiter.await.expect("not ready");
        assert_eq!(readiness.pending(), ["draining"]);
    }
}
