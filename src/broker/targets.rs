//! One lock for each tenant or client that a task works on, so that tasks of one target never run side by side.
//!
//! A task of a tenant may lock its clients while it holds the tenant's lock; nothing locks the other way round.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

#[derive(Default)]
pub struct Targets(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Targets {
    pub async fn lock(&self, target: String) -> tokio::sync::OwnedMutexGuard<()> {
        let mutex = {
            let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            targets.retain(|_, mutex| mutex.strong_count() > 0);
            match targets.get(&target).and_then(Weak::upgrade) {
                Some(mutex) => mutex,
                None => {
                    let mutex = Arc::new(tokio::sync::Mutex::new(()));
                    targets.insert(target, Arc::downgrade(&mutex));
                    mutex
                }
            }
        };
        mutex.lock_owned().await
    }
}
