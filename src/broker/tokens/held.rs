//! The tokens that are held of one client: for each of a bounded number of scope sets one, or why there is none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::broker::flights::Flights;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;

/// What one client has.
pub struct Held {
    pub stamp: Stamp,
    slots: Mutex<BTreeMap<ScopeSet, Slot>>,
    pub flights: Flights<ScopeSet, Arc<AccessToken>>,
}

/// Which tokens of a client may be served: those of this client, not of another one that had its name, with these scopes,
/// issued from this moment on. An app client that is replaced does not change it, unless it is compromised.
#[derive(Clone, PartialEq, Eq)]
pub struct Stamp {
    pub client_uid: String,
    pub epoch: u32,
    pub scopes_version: u32,
    pub not_before: Option<Timestamp>,
}

#[derive(Clone, Default)]
pub struct Slot {
    pub token: Option<Arc<AccessToken>>,
    /// The count of revocations at which the token was last known not to be revoked.
    pub checked_at: u64,
    /// The last fetch failed so, and the next may not start before.
    pub failure: Option<(Timestamp, Error)>,
}

impl Held {
    pub fn new(stamp: Stamp, flights: Flights<ScopeSet, Arc<AccessToken>>) -> Self {
        Held { stamp, slots: Mutex::default(), flights }
    }

    pub fn slot(&self, scopes: &ScopeSet) -> Slot {
        self.lock().get(scopes).cloned().unwrap_or_default()
    }

    /// A transient failure leaves the token as it is.
    pub fn keep(&self, scopes: &ScopeSet, result: &Result<Arc<AccessToken>>, retry_time: Timestamp) {
        let mut slots = self.lock();
        let slot = slots.entry(scopes.clone()).or_default();
        match result {
            Ok(token) => *slot = Slot { token: Some(token.clone()), checked_at: 0, failure: None },
            Err(error) => slot.failure = Some((retry_time, error.clone())),
        }
    }

    pub fn checked(&self, scopes: &ScopeSet, token: &Arc<AccessToken>, revocations: u64) {
        if let Some(slot) = self.lock().get_mut(scopes).filter(|slot| is_same(slot, token)) {
            slot.checked_at = revocations;
        }
    }

    pub fn drop_token(&self, scopes: &ScopeSet, token: &Arc<AccessToken>) {
        if let Some(slot) = self.lock().get_mut(scopes).filter(|slot| is_same(slot, token)) {
            slot.token = None;
        }
    }

    /// Keeps the number of scope sets bounded; those whose token has expired make room first.
    pub fn make_room(&self, scopes: &ScopeSet, now: Timestamp, limit: usize) -> Result<()> {
        let mut slots = self.lock();
        if slots.contains_key(scopes) {
            return Ok(());
        }
        if slots.len() >= limit {
            slots.retain(|of, slot| {
                slot.token.as_ref().is_some_and(|token| now < token.expire_time) || self.flights.is_under_way(of)
            });
        }
        if slots.len() >= limit {
            let message = format!("the client uses {limit} different scope sets already");
            return Err(Error::new(Reason::ScopeSetsExhausted, message).with("limit", limit));
        }
        slots.insert(scopes.clone(), Slot::default());
        Ok(())
    }

    /// The map stays consistent across a panic: every change to it is one assignment.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ScopeSet, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(slot: &Slot, token: &Arc<AccessToken>) -> bool {
    slot.token.as_ref().is_some_and(|held| Arc::ptr_eq(held, token))
}
