//! Housekeeping: every pool brought up to the catalogue, and records dropped whose time is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::broker::api::Page;
use crate::broker::pools::Pools;
use crate::broker::records::shelves::{CatalogState, SeenRequest, client_key};
use crate::broker::records::{Change, Record, Versioned};
use crate::broker::world::World;
use crate::domain::client::{Client, Owner};
use crate::domain::error::{Reason, Result};
use crate::domain::journal::{Journal, Progress, Renewal};
use crate::domain::pool::Pool;
use crate::domain::revocation::{Revocation, RevokedToken};

/// Records dropped, and events forgotten, in one go.
const BATCH: usize = 100;
/// Audit events are looked through for old ones this often.
const EVENT_PRUNE_PERIOD: Duration = Duration::from_secs(60 * 60);

pub struct Sweeping {
    world: Arc<World>,
    pools: Arc<Pools>,
    next_sweep: Mutex<Option<Timestamp>>,
    next_prune: Mutex<Option<Timestamp>>,
}

impl Sweeping {
    pub fn new(world: Arc<World>, pools: Arc<Pools>) -> Self {
        Sweeping { world, pools, next_sweep: Mutex::default(), next_prune: Mutex::default() }
    }

    /// Brings each pool's resource servers up to the catalogue, one pool after the other. New pools do it by
    /// themselves when they are made ready.
    pub async fn apply_catalog(&self, journal: &Versioned<Journal>) -> Result<Progress> {
        let state: Option<Versioned<CatalogState>> = self.world.records.get(CatalogState::KEY).await?;
        let Some(state) = state else {
            self.world.records.commit(Change::housekeeping().delete(journal)).await?;
            return Ok(Progress::Done);
        };
        // A pool that cannot be reached keeps nobody else's from its turn.
        let (mut outcome, mut page) = (Ok(()), Page { after: None, size: 100 });
        loop {
            let listing = self.world.records.list::<Pool>("", &page).await?;
            for pool in &listing.items {
                if let Some(made) = &pool.made {
                    let applied = self.pools.apply_catalog(&pool.id, made, &journal.cause).await;
                    outcome = outcome.and(applied);
                }
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        outcome?;
        // A change of the catalogue meanwhile made a newer journal and a newer state, and this fails.
        let record = CatalogState { applied_version: state.value.version, ..state.value.clone() };
        let change = Change::housekeeping().update(state.version, &record).delete(journal);
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    /// Drops what is over, and says when to do so again. Sooner than that it does nothing, since it is asked after every
    /// change. What is written meanwhile and over even sooner waits for `journal.poll_interval` at the most.
    pub async fn sweep(&self, now: Timestamp) -> Result<Timestamp> {
        let planned = *self.next_sweep.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = planned.filter(|next| now < *next) {
            return Ok(next);
        }
        let nexts = [
            self.drop_due::<SeenRequest>(now).await?,
            self.drop_due::<Revocation>(now).await?,
            self.drop_due::<RevokedToken>(now).await?,
            self.drop_due::<Renewal>(now).await?,
            self.forget_app_clients(now).await?,
            Some(self.prune_events(now).await?),
            Some(now + self.world.settings.journal.poll_interval),
        ];
        let next = nexts.into_iter().flatten().min().unwrap_or(now);
        *self.next_sweep.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(next)
    }

    /// Forgets whose an app client was, once its last token has expired.
    async fn forget_app_clients(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let due = self.world.records.due::<Owner>(now, BATCH).await?;
        for owner in due.records {
            let mut change = Change::housekeeping().delete(&owner);
            let client: Option<Versioned<Client>> = match self.world.records.get(&client_key(&owner.client)).await {
                // It is for a broker that reads the client's form.
                Err(error) if error.reason() == Reason::RecordFormNewer => continue,
                client => client?,
            };
            if let Some(client) = client.filter(|client| owner.is_of(client)) {
                let mut record = client.value.clone();
                record.replaced.retain(|replaced| replaced.app_client != owner.app_client);
                if record.replaced.len() < client.replaced.len() {
                    change = change.update(client.version, &Client { update_time: now, ..record });
                }
            }
            match self.world.records.commit(change).await {
                Err(error) if error.reason() != Reason::ConcurrentChange => return Err(error),
                _ => {}
            }
        }
        Ok(due.next)
    }

    async fn drop_due<T: Record>(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let due = self.world.records.due::<T>(now, BATCH).await?;
        for record in due.records {
            match self.world.records.commit(Change::housekeeping().delete(&record)).await {
                Err(error) if error.reason() != Reason::ConcurrentChange => return Err(error),
                _ => {}
            }
        }
        Ok(due.next)
    }

    async fn prune_events(&self, now: Timestamp) -> Result<Timestamp> {
        let planned = *self.next_prune.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = planned.filter(|next| now < *next) {
            return Ok(next);
        }
        let oldest = now.checked_sub(self.world.settings.audit_retention).unwrap_or(Timestamp::MIN);
        let gone = self.world.records.prune_events(oldest, BATCH).await?;
        let next = if gone == BATCH { now } else { now + EVENT_PRUNE_PERIOD };
        *self.next_prune.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        Ok(next)
    }
}
