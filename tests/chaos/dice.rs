//! Random numbers from a seed, so that a run can be made again as far as the order of its events goes.

use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64, by Steele, Lea and Flood (2014).
pub struct Dice(AtomicU64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(AtomicU64::new(seed))
    }

    /// Below `sides`, which is not 0.
    pub fn roll(&self, sides: usize) -> usize {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1).expect("63 bits") % sides
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

/// Of the environment, or of the time of day.
pub fn seed() -> u64 {
    use keyward::broker::ports::Clock as _;
    let now = || keyward::runtime::clock::SystemClock.now().as_nanosecond() as u64;
    std::env::var("KEYWARD_CHAOS_SEED").ok().map_or_else(now, |text| text.parse().expect("a seed is a number"))
}
