//! The catalogue of resource servers, and the pools that it is applied to.
//!
//! A scope that a client has is not taken away. It is looked for clients before the change, and once more after it: from then on
//! none is given the scope, since whoever gives a client one requires the resource server as it was. Who came between the two
//! looks has the scope, so it is put back, and the request fails as if it had never been made.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::api::{Listing, NewResourceServer, Page, PoolFilter, PoolListing, PoolView, ResourceServerView};
use super::journals::Journals;
use super::pools::Pools;
use super::records::shelves::{CatalogState, ScopeUse, use_prefix};
use super::records::{Change, Versioned, settle};
use super::world::{Asked, World, check_version};
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::journal::Task;
use crate::domain::pool::Pool;
use crate::domain::quota::{Quota, QuotaUsage};
use crate::domain::scope::{Identifier, MAX_RESOURCE_SERVERS, ResourceServer, Scope};

pub struct Catalog {
    world: Arc<World>,
    pools: Arc<Pools>,
    journals: Arc<Journals>,
}

impl Catalog {
    pub fn new(world: Arc<World>, pools: Arc<Pools>, journals: Arc<Journals>) -> Self {
        Catalog { world, pools, journals }
    }

    /// Creates or replaces a resource server. Pools are brought up to it in the background; whatever needs a pool
    /// brings that one up first.
    pub async fn put(
        &self,
        call: &Call,
        new: NewResourceServer,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<ResourceServerView> {
        self.world.settle(call, || self.try_put(call, &new, version, validate_only)).await
    }

    async fn try_put(
        &self,
        call: &Call,
        new: &NewResourceServer,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<ResourceServerView> {
        let seen: Option<Versioned<ResourceServer>> = self.world.records.get(new.identifier.as_str()).await?;
        let Asked::Afresh(receipt) = self.world.asked(call).await? else {
            let seen = seen.ok_or_else(|| Error::not_found(new.identifier.name()))?;
            return self.seen(seen).await;
        };
        if version.is_some() {
            let current = seen.as_ref().map_or(0, |seen| seen.version);
            check_version(version, current, new.identifier.name())?;
        }
        let state = self.state().await?;
        let now = self.world.now();
        let server = ResourceServer {
            identifier: new.identifier.clone(),
            display_name: new.display_name.clone(),
            scopes: new.scopes.clone(),
            catalog_version: state.as_ref().map_or(0, |state| state.value.version) + 1,
            create_time: seen.as_ref().map_or(now, |seen| seen.create_time),
            update_time: now,
        };
        server.check().map_err(|error| error.within("resource_server"))?;
        let kept: BTreeSet<Scope> = server.full_scopes().collect();
        let before = seen.as_deref().cloned();
        let had = before.iter().flat_map(|server| server.full_scopes());
        let gone: Vec<Scope> = had.filter(|scope| !kept.contains(scope)).collect();
        match &seen {
            None => self.check_room().await?,
            Some(_) => self.check_unused(gone.iter().cloned()).await?,
        }
        if validate_only {
            let version = seen.map_or(0, |seen| seen.version);
            return Ok(ResourceServerView { server, version, in_force: false });
        }
        let change = Change::because(call.event(now, new.identifier.name()));
        let change = change.put(&server, seen.map(|seen| seen.version));
        self.commit(receipt.file(change, new.identifier.name()), call, state).await?;
        if let Some(before) = &before {
            self.check_gone(call, before, gone.iter().cloned()).await?;
        }
        let stored = self.world.records.get(new.identifier.as_str()).await?;
        self.seen(stored.ok_or_else(|| Error::not_found(new.identifier.name()))?).await
    }

    /// In order of identifiers.
    pub async fn list(&self, page: Page) -> Result<Listing<ResourceServerView>> {
        let listing = self.world.records.list::<ResourceServer>("", &page).await?;
        let mut items = Vec::with_capacity(listing.items.len());
        for server in listing.items {
            items.push(self.seen(server).await?);
        }
        Ok(Listing { items, next: listing.next })
    }

    /// Refused while a client has one of its scopes.
    pub async fn delete(&self, call: &Call, identifier: &Identifier, version: Option<u64>) -> Result<()> {
        self.world
            .settle(call, || async {
                // Before it is read: when it is gone because of this very request, that is success.
                let Asked::Afresh(receipt) = self.world.asked(call).await? else { return Ok(()) };
                let seen: Option<Versioned<ResourceServer>> = self.world.records.get(identifier.as_str()).await?;
                let seen = seen.ok_or_else(|| Error::not_found(identifier.name()))?;
                check_version(version, seen.version, identifier.name())?;
                self.check_unused(seen.full_scopes()).await?;
                let change = Change::because(call.event(self.world.now(), identifier.name())).delete(&seen);
                let state = self.state().await?;
                self.commit(receipt.file(change, identifier.name()), call, state).await?;
                self.check_gone(call, &seen, seen.full_scopes()).await
            })
            .await
    }

    /// Makes a change of the catalogue together with its new version and the journal that carries it to every pool.
    async fn commit(&self, change: Change, call: &Call, state: Option<Versioned<CatalogState>>) -> Result<()> {
        let known = state.as_ref().map(|state| state.value.clone()).unwrap_or_default();
        let next = CatalogState { version: known.version + 1, ..known };
        let change = change.put(&next, state.map(|state| state.version));
        self.world.records.commit(self.world.with_journal(change, Task::ApplyCatalog, call).await?).await?;
        // How it goes is in the log and in the view; nobody waits for every pool.
        drop(self.journals.run(Task::ApplyCatalog));
        Ok(())
    }

    /// Fails when a client was given one of these scopes before they were gone. Then they are back.
    async fn check_gone(&self, call: &Call, before: &ResourceServer, gone: impl Iterator<Item = Scope>) -> Result<()> {
        let checked = self.check_unused(gone).await;
        if checked.as_ref().is_err_and(|error| error.reason() == Reason::ScopeInUse) {
            settle(|| self.put_back(call, before)).await?;
        }
        checked
    }

    /// Puts back what the resource server had before this request, beside what it has now.
    async fn put_back(&self, call: &Call, before: &ResourceServer) -> Result<()> {
        let now: Option<Versioned<ResourceServer>> = self.world.records.get(before.identifier.as_str()).await?;
        let state = self.state().await?;
        let mut server = now.as_deref().unwrap_or(before).clone();
        for scope in &before.scopes {
            if server.scopes.iter().all(|has| has.scope_name != scope.scope_name) {
                server.scopes.push(scope.clone());
            }
        }
        server.catalog_version = state.as_ref().map_or(0, |state| state.value.version) + 1;
        server.update_time = self.world.now();
        let event = call.doing("keyward.catalog/put-back").event(self.world.now(), before.identifier.name());
        let change = Change::because(event.detail("a client was given a scope meanwhile"));
        let change = change.put(&server, now.map(|now| now.version));
        self.commit(self.world.unfile(call, change).await?, call, state).await
    }

    async fn check_room(&self) -> Result<()> {
        let limit = self.world.settings.ceilings.resource_servers_per_user_pool;
        match self.count().await? >= limit {
            true => Err(Quota::ResourceServers.exceeded("the catalogue", limit)),
            false => Ok(()),
        }
    }

    async fn count(&self) -> Result<u32> {
        let all = Page { after: None, size: MAX_RESOURCE_SERVERS };
        let servers = self.world.records.list::<ResourceServer>("", &all).await?.items.len();
        Ok(u32::try_from(servers).unwrap_or(u32::MAX))
    }

    /// Fails when a client has one of these scopes.
    async fn check_unused(&self, scopes: impl Iterator<Item = Scope>) -> Result<()> {
        let one = Page { after: None, size: 1 };
        for scope in scopes {
            let users = self.world.records.list::<ScopeUse>(&use_prefix(&scope), &one).await?.items;
            if let Some(usage) = users.first() {
                let message = format!("{} has the scope {scope}", usage.client);
                return Err(Error::new(Reason::ScopeInUse, message).with("client", &usage.client));
            }
        }
        Ok(())
    }

    /// In order of ids, with the quotas of all Regions.
    pub async fn list_pools(&self, filter: PoolFilter, page: Page) -> Result<PoolListing> {
        let listing = self.world.records.list::<Pool>("", &page).await?;
        let matches = |pool: &Versioned<Pool>| {
            filter.dedicated.is_none_or(|dedicated| pool.tenant.is_some() == dedicated)
                && filter.region.as_ref().is_none_or(|region| pool.region() == region)
        };
        let shared_limit = self.world.settings.app_clients_per_shared_pool;
        let limit = |pool: &Pool| if pool.tenant.is_some() { 0 } else { shared_limit };
        let items = listing.items.into_iter().filter(matches);
        let servers = self.count().await?;
        let items = items.map(|pool| PoolView {
            app_client_limit: limit(&pool),
            quotas: self.quotas_of(&pool, servers),
            pool: pool.value,
        });
        Ok(PoolListing {
            pools: Listing { items: items.collect(), next: listing.next },
            quotas: self.pools.usages().await?,
        })
    }

    /// The catalogue counts where it was ever applied.
    fn quotas_of(&self, pool: &Pool, servers: u32) -> Vec<QuotaUsage> {
        let ceilings = &self.world.settings.ceilings;
        let servers = if pool.catalog_version > 0 { servers } else { 0 };
        let usage = |quota, used, limit| QuotaUsage { quota, region: pool.region().to_owned(), used, limit };
        vec![
            usage(Quota::AppClients, pool.app_clients, ceilings.app_clients_per_user_pool),
            usage(Quota::ResourceServers, servers, ceilings.resource_servers_per_user_pool),
        ]
    }

    async fn state(&self) -> Result<Option<Versioned<CatalogState>>> {
        self.world.records.get(CatalogState::KEY).await
    }

    async fn seen(&self, server: Versioned<ResourceServer>) -> Result<ResourceServerView> {
        let state = self.state().await?.map(|state| state.value).unwrap_or_default();
        let in_force = state.applied_version >= server.value.catalog_version;
        Ok(ResourceServerView { server: server.value, version: server.version, in_force })
    }
}
