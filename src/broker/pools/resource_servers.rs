//! The resource servers of a pool: brought up to the catalogue, by whoever needs the pool and after each change of it.
//!
//! A pool's record says up to which version of the catalogue it has all: what has changed since has a higher one. Cognito
//! takes whatever comes last, so a broker that has stalled can write an older resource server over a newer one, or delete
//! one that has just come. It must never leave the record saying that the pool has what it may not have:
//!
//! - **Deleted is only what was there before the catalogue was read** that does not have it.
//! - **One at a time** in this broker is at work on a pool's resource servers.
//! - **Of another broker** that was at it too, the record tells, since it has another version then. Unless both had the same
//!   catalogue before them, the version is put back to what it was, and all that came since is applied again.
//!
//! A broker that dies between such a call and its look at the record tells nobody. A reconciliation finds a resource server
//! that is missing then; one with older scopes stays until it is put into the catalogue again.

use tokio::sync::OwnedMutexGuard;

use super::Pools;
use crate::broker::api::Page;
use crate::broker::records::shelves::CatalogState;
use crate::broker::records::{Change, Versioned, settle};
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::PoolId;
use crate::domain::journal::Task;
use crate::domain::pool::{Adopted, MadePool, Pool};
use crate::domain::scope::{Identifier, MAX_RESOURCE_SERVERS, ResourceServer};

/// The version that a pool's record has, and the one that the pool is brought to.
#[derive(Clone, Copy)]
struct Step {
    has: u64,
    target: u64,
}

impl Pools {
    /// Takes away what is no longer in the catalogue, and puts what changed in it since the pool last had it. Fails with
    /// CONCURRENT_CHANGE where another broker was at it too and it has to be done again.
    pub async fn apply_catalog(&self, id: &PoolId, made: &MadePool, cause: &Call) -> Result<()> {
        if self.step_to_catalog(id).await?.is_none() {
            return Ok(());
        }
        let _resource_servers = self.hold_resource_servers(id).await;
        let Some(step) = self.step_to_catalog(id).await? else { return Ok(()) };
        let there = self.world.user_pools.list_resource_servers(made).await?;
        let everything = Page { after: None, size: MAX_RESOURCE_SERVERS };
        let catalog = self.world.records.list::<ResourceServer>("", &everything).await?.items;
        // Which servers are Keyward's own is written down before they are there.
        let adopted = self.note_own_servers(id, &catalog, &there).await?;
        let is_ours = |identifier: &Identifier| {
            adopted.as_ref().is_none_or(|adopted| adopted.resource_servers.contains(identifier))
        };
        // First what goes, so that a pool that is full of resource servers has room for what comes.
        for identifier in there.iter().filter(|identifier| is_ours(identifier)) {
            if !catalog.iter().any(|server| server.identifier == *identifier) {
                self.world.user_pools.delete_resource_server(made, identifier).await?;
            }
        }
        for server in catalog.iter().filter(|server| server.catalog_version > step.has) {
            match there.contains(&server.identifier) {
                true => self.world.user_pools.put_resource_server(made, server).await?,
                false => self.world.user_pools.create_resource_server(made, server).await?,
            }
        }
        let is_done = settle(|| async {
            let _turn = self.place_in_turn().await;
            let pool = self.pool(id).await?;
            if pool.catalog_version != step.has {
                return self.was_like_another(&pool, step, cause).await;
            }
            let mut record = Pool { catalog_version: step.target, ..pool.value.clone() };
            if let Some(adopted) = &mut record.adopted {
                adopted.resource_servers.retain(|own| catalog.iter().any(|server| server.identifier == *own));
            }
            let event = cause.doing("keyward.catalog/apply").event(self.world.now(), id.name());
            self.world.records.commit(Change::because(event).update(pool.version, &record)).await.map(|()| true)
        })
        .await?;
        match is_done {
            true => Ok(()),
            false => {
                let message = format!("another broker has applied another catalogue to {}", id.name());
                Err(Error::new(Reason::ConcurrentChange, message))
            }
        }
    }

    /// `None` for a pool that has the whole catalogue.
    async fn step_to_catalog(&self, id: &PoolId) -> Result<Option<Step>> {
        let target = self.catalog_version().await?;
        let has = self.pool(id).await?.catalog_version;
        Ok((has < target).then_some(Step { has, target }))
    }

    async fn catalog_version(&self) -> Result<u64> {
        let state: Option<Versioned<CatalogState>> = self.world.records.get(CatalogState::KEY).await?;
        Ok(state.map_or(0, |state| state.value.version))
    }

    /// Held by whoever puts or deletes resource servers of a pool.
    async fn hold_resource_servers(&self, id: &PoolId) -> OwnedMutexGuard<()> {
        self.world.targets.lock(format!("{}/resourceServers", id.name())).await
    }

    /// Another broker has written down meanwhile what it has applied. Returns whether it was the same as here, and nothing
    /// has come since. Otherwise the record no longer says that the pool has it, and there is a journal that brings it,
    /// whatever becomes of this run. The caller holds its turn.
    async fn was_like_another(&self, pool: &Versioned<Pool>, step: Step, cause: &Call) -> Result<bool> {
        if pool.catalog_version == step.target && self.catalog_version().await? == step.target {
            return Ok(true);
        }
        self.put_back(pool, pool.catalog_version.min(step.has), cause).await.map(|()| false)
    }

    /// Writes down that a pool has the catalogue no further than to a version, with the journal that brings the rest. The
    /// caller holds its turn.
    async fn put_back(&self, pool: &Versioned<Pool>, version: u64, cause: &Call) -> Result<()> {
        let record = Pool { catalog_version: version, ..pool.value.clone() };
        let change = Change::housekeeping().update(pool.version, &record);
        self.world.records.commit(self.world.with_journal(change, Task::ApplyCatalog, cause).await?).await
    }

    /// The version of the catalogue, where the pool's record says that it has all of it; `None` for a pool that is still to
    /// be brought there, or is gone.
    pub async fn whole_catalog(&self, id: &PoolId) -> Result<Option<u64>> {
        let version = self.catalog_version().await?;
        let pool: Option<Versioned<Pool>> = self.world.records.get(id.as_str()).await?;
        Ok(pool.filter(|pool| pool.catalog_version >= version).map(|_| version))
    }

    /// Applies the whole catalogue to a pool that lacks some of it, whatever its record says.
    pub async fn bring_anew(&self, id: &PoolId, made: &MadePool, cause: &Call) -> Result<()> {
        settle(|| async {
            let _turn = self.place_in_turn().await;
            let pool = self.pool(id).await?;
            self.put_back(&pool, 0, cause).await
        })
        .await?;
        self.apply_catalog(id, made, cause).await
    }

    /// In an adopted pool: writes down which servers of the catalogue are not there yet, so that they and no others are
    /// taken away again. `None` for a pool that is Keyward's as a whole.
    async fn note_own_servers(
        &self,
        id: &PoolId,
        catalog: &[Versioned<ResourceServer>],
        there: &[Identifier],
    ) -> Result<Option<Adopted>> {
        settle(|| async {
            let _turn = self.place_in_turn().await;
            let pool = self.pool(id).await?;
            let Some(mut adopted) = pool.adopted.clone() else { return Ok(None) };
            let new = catalog.iter().map(|server| &server.identifier).filter(|identifier| !there.contains(identifier));
            adopted.resource_servers.extend(new.cloned());
            if pool.adopted.as_ref() != Some(&adopted) {
                let record = Pool { adopted: Some(adopted.clone()), ..pool.value.clone() };
                self.world.records.commit(Change::housekeeping().update(pool.version, &record)).await?;
            }
            Ok(Some(adopted))
        })
        .await
    }
}
