//! Counters, and how the parts of the daemon tell of theirs to whoever looks from outside.
//!
//! A part counts where something happens, in memory, and says what it has counted when somebody asks ([`Told`]). Who asks, and
//! in which form it is written, is not known here. Counting must never wait, take a lock, allocate, or ask what time it is:
//! it is done on the threads that answer calls. What is counted for each call is [striped](Striped), so that no two processors
//! write to one place.
//!
//! Labels are from sets that are fixed before the daemon starts. It knows no tenants, but for those that the configuration
//! names.

mod sheet;
mod striped;

pub use sheet::{Kind, Metric, Series, Sheet, Told, Value};
pub use striped::{BOUNDS, Histogram, Observed, Striped};

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that few write to at a time.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, number: u64) {
        // Nothing is read by it, so no order matters.
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each of `N` things that are known beforehand.
#[derive(Debug)]
pub struct Counts<const N: usize>([Count; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Counts(std::array::from_fn(|_| Count::default()))
    }
}

impl<const N: usize> Counts<N> {
    /// One more of the thing at `place`. One that is not there is nobody's, and is not counted.
    pub fn count(&self, place: usize) {
        if let Some(count) = self.0.get(place) {
            count.add(1);
        }
    }

    /// Those that were counted at all, with their places.
    pub fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(Count::get).enumerate().filter(|(_, count)| *count > 0)
    }

    pub fn get(&self, place: usize) -> u64 {
        self.0.get(place).map_or(0, Count::get)
    }
}
