//! A map whose entries lapse by themselves, when nobody uses them any more.

use std::collections::HashMap;
use std::hash::Hash;

/// What has lapsed is dropped whenever the map has grown to twice of what was alive the time before. So it holds at most
/// that many, and an entry costs the same however many there are.
pub struct Lapsing<K, V> {
    entries: HashMap<K, V>,
    is_alive: fn(&V) -> bool,
    sweep_at: usize,
}

impl<K: Eq + Hash, V> Lapsing<K, V> {
    const FIRST_SWEEP: usize = 64;

    pub fn new(is_alive: fn(&V) -> bool) -> Self {
        Lapsing { entries: HashMap::new(), is_alive, sweep_at: Self::FIRST_SWEEP }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// The entry of `key`, made if there is none. It may have lapsed.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, value| (self.is_alive)(value));
            self.sweep_at = (2 * self.entries.len()).max(Self::FIRST_SWEEP);
        }
        self.entries.entry(key).or_insert_with(make)
    }

    /// All of them, lapsed or not.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};

    use super::*;

    static LOOKS: AtomicUsize = AtomicUsize::new(0);

    fn is_alive(value: &Weak<()>) -> bool {
        LOOKS.fetch_add(1, Ordering::Relaxed);
        value.strong_count() > 0
    }

    #[test]
    fn what_lapsed_goes_and_an_entry_costs_the_same_however_many_there_are() {
        const MANY: usize = 100_000;
        let mut map = Lapsing::new(is_alive);
        let held: Vec<_> = (0..MANY).map(|_| Arc::new(())).collect();
        for (key, value) in held.iter().enumerate() {
            map.entry(key, || Arc::downgrade(value));
        }
        assert!(
            LOOKS.load(Ordering::Relaxed) <= 2 * MANY,
            "{} looks for {MANY} entries",
            LOOKS.load(Ordering::Relaxed)
        );
        assert!(map.get(&7).is_some_and(is_alive));

        drop(held);
        for key in MANY..3 * MANY {
            map.entry(key, Weak::new);
        }
        assert!(map.entries.len() <= 2 * Lapsing::<usize, Weak<()>>::FIRST_SWEEP, "{} are left", map.entries.len());
    }
}
