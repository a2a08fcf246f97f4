//! One lock for each tenant or client that a task works on, so that tasks of one target never run side by side.
//!
//! A task of a tenant may lock its clients while it holds the tenant's lock; nothing locks the other way round.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::broker::records::lapsing::Lapsing;

pub struct Targets(Mutex<Lapsing<String, Weak<tokio::sync::Mutex<()>>>>);

impl Default for Targets {
    fn default() -> Self {
        Targets(Mutex::new(Lapsing::new(|mutex| mutex.strong_count() > 0)))
    }
}

impl Targets {
    pub async fn lock(&self, target: String) -> tokio::sync::OwnedMutexGuard<()> {
        let mutex = {
            let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = targets.entry(target, Weak::new);
            known.upgrade().unwrap_or_else(|| {
                let mutex = Arc::new(tokio::sync::Mutex::new(()));
                *known = Arc::downgrade(&mutex);
                mutex
            })
        };
        mutex.lock_owned().await
    }
}
