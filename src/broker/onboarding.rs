//! Onboarding and offboarding of tenants, as steps that may be repeated from the start.

use std::sync::Arc;

use super::api::Page;
use super::issuing::Issuing;
use super::pools::Pools;
use super::providers::Providers;
use super::records::{Change, IssuerPool, Versioned};
use super::shelves::tenant_prefix;
use super::world::World;
use crate::domain::client::Client;
use crate::domain::error::Result;
use crate::domain::id::TenantId;
use crate::domain::journal::{Journal, Progress, Task};
use crate::domain::pool::Pool;
use crate::domain::tenant::{Isolation, Tenant, TenantState};

pub struct Onboarding {
    world: Arc<World>,
    pools: Arc<Pools>,
    issuing: Arc<Issuing>,
    providers: Arc<Providers>,
}

impl Onboarding {
    pub fn new(world: Arc<World>, pools: Arc<Pools>, issuing: Arc<Issuing>, providers: Arc<Providers>) -> Self {
        Onboarding { world, pools, issuing, providers }
    }

    /// Makes the tenant's pool ready, its identity providers there, then the tenant active.
    pub async fn onboard(&self, journal: &Versioned<Journal>, id: &TenantId) -> Result<Progress> {
        let Some(tenant) = self.tenant(id).await?.filter(|tenant| tenant.state == TenantState::Creating) else {
            return self.strike(journal).await;
        };
        let pool = self.pools.ready(&tenant.pool, &journal.cause).await?;
        self.providers.bring_up(&tenant, &pool).await?;

        let now = self.world.now();
        let active = Tenant { state: TenantState::Active, update_time: now, ..tenant.value.clone() };
        let event = journal.cause.doing("keyward.onboarding/activate").event(now, id.name());
        let change = Change::because(event).update(tenant.version, &active).delete(journal);
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    /// Brings the dedicated pool's settings up to the tenant's.
    pub async fn apply_user_pool(&self, journal: &Versioned<Journal>, id: &TenantId) -> Result<Progress> {
        let Some(tenant) = self.tenant(id).await? else {
            return self.strike(journal).await;
        };
        let Some(settings) = &tenant.user_pool else {
            return self.strike(journal).await;
        };
        let made = self.pools.ready(&tenant.pool, &journal.cause).await?;
        self.world.user_pools.update_pool(&made, settings).await?;
        // Settings that came in meanwhile have a journal of a newer version, and this delete fails.
        let event = journal.cause.doing("keyward.pool/update").event(self.world.now(), tenant.pool.name());
        self.world.records.commit(Change::because(event).delete(journal)).await?;
        Ok(Progress::Done)
    }

    /// Retires the tenant's clients one after the other, then deletes its own pool, or what it has in a shared one, and the
    /// tenant. The tenant is `Deleting` from the first moment, so no client can be added meanwhile.
    pub async fn offboard(&self, journal: &Versioned<Journal>, id: &TenantId) -> Result<Progress> {
        let Some(tenant) = self.tenant(id).await? else {
            return self.strike(journal).await;
        };
        let next = Page { after: None, size: 1 };
        let clients = self.world.records.list::<Client>(&tenant_prefix(id), &next).await?.items;
        if let Some(client) = clients.first() {
            let _client = self.world.targets.lock(Task::RetireClient(client.name.clone()).target()).await;
            self.issuing.retire_for(&journal.cause, &client.name).await?;
            return Ok(Progress::More);
        }

        let event = journal.cause.doing("keyward.offboarding/finish").event(self.world.now(), id.name());
        let mut change = Change::because(event).delete(&tenant).delete(journal);
        let applying: Option<Versioned<Journal>> =
            self.world.records.get(&Task::ApplyProviders(id.clone()).to_string()).await?;
        if applying.is_some() || !tenant.identity_providers.is_empty() {
            // Those in a pool of its own go with it.
            let shared = match tenant.isolation {
                Isolation::AppClient => self.pools.made(&tenant.pool).await?,
                Isolation::UserPool => None,
            };
            self.providers.take_away(&tenant, shared.as_ref(), &[]).await?;
            change = self.providers.forget_documents(id, change).await?;
            change = applying.iter().fold(change, |change, journal| change.delete(journal));
        }
        if tenant.isolation == Isolation::UserPool
            && let Some(pool) = self.world.records.get::<Pool>(tenant.pool.as_str()).await?
        {
            self.pools.delete(&pool).await?;
            if let Some(made) = &pool.made {
                let issuer = self.world.records.get::<IssuerPool>(made.issuer.as_str()).await?;
                change = issuer.iter().fold(change, |change, issuer| change.delete(issuer));
            }
            change = change.delete(&pool);
        }
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<Versioned<Tenant>>> {
        self.world.records.get(id.as_str()).await
    }

    /// Nothing is left to do: what the journal was for is as it should be, or gone.
    async fn strike(&self, journal: &Versioned<Journal>) -> Result<Progress> {
        self.world.records.commit(Change::housekeeping().delete(journal)).await?;
        Ok(Progress::Done)
    }
}
