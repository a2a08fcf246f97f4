//! Records in memory, as they were read last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Versioned;

/// A record, or that there is none.
type Seen<T> = Option<Arc<Versioned<T>>>;

/// Records held in memory, absence included.
pub struct View<T> {
    cache: moka::sync::Cache<String, Seen<T>>,
    /// Counts what was forgotten. Held while something is kept, so that a reader who was overtaken by a change never
    /// puts back, not even for a moment, what is out of date.
    drops: Mutex<u64>,
}

impl<T: Send + Sync + 'static> View<T> {
    pub fn new(max: u64) -> Self {
        View { cache: moka::sync::Cache::new(max), drops: Mutex::new(0) }
    }

    /// `None` where it is not known.
    pub fn get(&self, key: &str) -> Option<Seen<T>> {
        self.cache.get(key)
    }

    pub fn forget(&self, key: &str) {
        let mut drops = self.lock();
        *drops += 1;
        self.cache.invalidate(key);
    }

    pub fn forget_all(&self) {
        let mut drops = self.lock();
        *drops += 1;
        self.cache.invalidate_all();
    }

    /// How often something was forgotten.
    pub fn drops(&self) -> u64 {
        *self.lock()
    }

    /// Keeps what was read, unless something was forgotten since `drops` were counted.
    pub fn keep(&self, key: &str, read: &Seen<T>, drops: u64) {
        let current = self.lock();
        if *current == drops {
            self.cache.insert(key.to_owned(), read.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        // A number is whole whatever panicked.
        self.drops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
