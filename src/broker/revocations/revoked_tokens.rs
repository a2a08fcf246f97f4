//! Which tokens may be revoked by their `jti`, known in memory, so that a token that is seen for the first time costs no
//! look into the registry.
//!
//! What is known here only ever says too much. A `jti` is noted before its revocation is committed, and is there until no
//! token of it can be valid; the registry is asked about whatever is there. It is asked about everything until all of its
//! records have been read once, and where there are too many of them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;

use crate::broker::api::Page;
use crate::broker::records::Records;
use crate::domain::client::MAX_TOKEN_VALIDITY;
use crate::domain::error::Result;
use crate::domain::revocation::{RevokedToken, TokenId};

/// Revoked tokens that are known in memory: some 7 MB of them. They are forgotten once they have expired.
const MAX_KNOWN: usize = 200_000;
/// Records read in one go.
const PAGE: usize = 1_000;

pub struct RevokedTokens {
    known: RwLock<Known>,
    is_being_read: AtomicBool,
    /// Counts how often all was forgotten.
    times_forgotten: AtomicU64,
    hasher: RandomState,
    max: usize,
}

/// By the hash of its `jti`, when the last token that this stands for has expired.
type ExpireTimes = HashMap<u64, Timestamp>;

enum Known {
    /// There may be more of them in the registry.
    Some(ExpireTimes),
    All(ExpireTimes),
    TooMany,
}

impl Default for RevokedTokens {
    fn default() -> Self {
        RevokedTokens::holding(MAX_KNOWN)
    }
}

impl RevokedTokens {
    fn holding(max: usize) -> Self {
        RevokedTokens {
            known: RwLock::new(Known::Some(HashMap::new())),
            is_being_read: AtomicBool::new(false),
            times_forgotten: AtomicU64::new(0),
            hasher: RandomState::new(),
            max,
        }
    }

    /// Whether the registry must be asked about this `jti`.
    pub fn may_have(&self, token: &TokenId) -> bool {
        // A map is whole whatever panicked: it only ever takes one more.
        match &*self.known.read().unwrap_or_else(PoisonError::into_inner) {
            Known::All(known) => !known.is_empty() && known.contains_key(&self.hasher.hash_one(token)),
            Known::Some(_) | Known::TooMany => true,
        }
    }

    /// To be called before the revocation is committed.
    pub fn note(&self, token: &TokenId, expire_time: Timestamp, now: Timestamp) {
        self.change(|known| {
            let (Known::Some(times) | Known::All(times)) = known else { return };
            let time = times.entry(self.hasher.hash_one(token)).or_insert(expire_time);
            *time = expire_time.max(*time);
            if times.len() > self.max {
                times.retain(|_, expire_time| *expire_time > now);
            }
            if times.len() > self.max {
                *known = Known::TooMany;
            }
        });
    }

    /// Whether they are to be read now, by whoever asks: nobody has, or whoever did failed.
    pub fn must_be_read(&self) -> bool {
        !self.is_being_read.load(Ordering::Relaxed) && !self.is_being_read.swap(true, Ordering::Relaxed)
    }

    /// Reads all that the registry has.
    pub async fn read(&self, records: &Records, now: Timestamp) {
        if let Err(error) = self.read_pages(records, now).await {
            tracing::warn!(%error, "the revoked tokens cannot be read");
            // Whoever verifies a token next tries again, and asks the registry about the token anyway.
            self.is_being_read.store(false, Ordering::Relaxed);
        }
    }

    async fn read_pages(&self, records: &Records, now: Timestamp) -> Result<()> {
        let times_forgotten = self.times_forgotten.load(Ordering::SeqCst);
        let mut page = Page { after: None, size: PAGE };
        loop {
            let listing = records.list_with_newer::<RevokedToken>("", &page).await?;
            for (key, record) in &listing.items {
                match record {
                    Some(record) => self.note(&record.token, record.expire_time, now),
                    // Its key says which it is. Of such a token the broker then says that it cannot tell.
                    None => self.note(&TokenId::parse("jti", key)?, longest_life(now), now),
                }
            }
            match listing.next {
                Some(next) if !self.has_too_many() => page.after = Some(next),
                _ => break,
            }
        }
        self.change(|known| {
            let is_whole = self.times_forgotten.load(Ordering::SeqCst) == times_forgotten;
            if let (Known::Some(times), true) = (&mut *known, is_whole) {
                *known = Known::All(std::mem::take(times));
            }
        });
        Ok(())
    }

    /// To be called where revocations of other brokers were missed: they are all to be read again.
    pub fn forget_all(&self) {
        self.change(|known| {
            self.times_forgotten.fetch_add(1, Ordering::SeqCst);
            *known = Known::Some(match std::mem::replace(known, Known::TooMany) {
                Known::Some(times) | Known::All(times) => times,
                Known::TooMany => ExpireTimes::new(),
            });
        });
        self.is_being_read.store(false, Ordering::Relaxed);
    }

    fn has_too_many(&self) -> bool {
        matches!(*self.known.read().unwrap_or_else(PoisonError::into_inner), Known::TooMany)
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// When the last token has expired that there can be now, wherever it is of.
pub(in crate::broker) fn longest_life(now: Timestamp) -> Timestamp {
    now.saturating_add(2 * MAX_TOKEN_VALIDITY).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::records::Change;
    use crate::domain::id::RevocationId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn id(number: usize) -> TokenId {
        TokenId::parse("jti", &format!("t{number}")).expect("valid")
    }

    /// A registry in which these are revoked until the 100th second.
    async fn registry(revoked: std::ops::Range<usize>) -> (tempfile::TempDir, Records) {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = crate::embedded::open_registry(folder.path()).await.expect("a registry");
        let records = Records::open(registry, 10).await.expect("records");
        for number in revoked {
            let revocation = RevocationId::parse("revocation", "v-1").expect("valid");
            let record = RevokedToken { token: id(number), issuer: None, revocation, expire_time: at(100) };
            records.commit(Change::housekeeping().create(&record)).await.expect("kept");
        }
        (folder, records)
    }

    #[tokio::test]
    async fn until_all_are_read_any_may_be_revoked_and_then_those_that_are() {
        let (_folder, records) = registry(0..PAGE + 1).await;
        let tokens = RevokedTokens::default();
        assert!(tokens.may_have(&id(5_000)));
        // A revocation while they are read.
        tokens.note(&id(2_000), at(100), at(0));
        tokens.read(&records, at(0)).await;
        assert!((0..=PAGE).chain([2_000]).all(|number| tokens.may_have(&id(number))));
        assert!(!tokens.may_have(&id(5_000)));
        tokens.note(&id(5_000), at(100), at(0));
        assert!(tokens.may_have(&id(5_000)));
    }

    #[tokio::test]
    async fn what_has_expired_makes_room_and_nothing_else_does() {
        let (_folder, records) = registry(0..0).await;
        let tokens = RevokedTokens::holding(2);
        tokens.read(&records, at(0)).await;
        tokens.note(&id(0), at(10), at(0));
        tokens.note(&id(1), at(100), at(0));
        tokens.note(&id(2), at(100), at(10));
        assert_eq!([0, 1, 2].map(|number| tokens.may_have(&id(number))), [false, true, true]);
        tokens.note(&id(3), at(100), at(10));
        assert!((0..10).all(|number| tokens.may_have(&id(number))), "one too many, so any may be revoked");
    }

    #[tokio::test]
    async fn too_many_in_the_registry_are_not_forgotten_when_the_reading_ends() {
        let (_folder, records) = registry(0..4).await;
        let tokens = RevokedTokens::holding(2);
        tokens.read(&records, at(0)).await;
        assert!((0..10).all(|number| tokens.may_have(&id(number))));
    }

    #[tokio::test]
    async fn one_is_revoked_for_as_long_as_its_longest_revocation() {
        let (_folder, records) = registry(0..0).await;
        let tokens = RevokedTokens::holding(1);
        tokens.read(&records, at(0)).await;
        tokens.note(&id(0), at(100), at(0));
        tokens.note(&id(0), at(10), at(0));
        tokens.note(&id(1), at(20), at(50));
        assert!(tokens.may_have(&id(0)));
    }
}
