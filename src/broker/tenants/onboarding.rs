//! Onboarding and offboarding of tenants, as steps that may be repeated from the start.

use std::sync::Arc;

use jiff::Timestamp;

use super::providers::Providers;
use crate::broker::api::Page;
use crate::broker::claiming::Claiming;
use crate::broker::clients::issuing::Issuing;
use crate::broker::pools::Pools;
use crate::broker::pools::domains::NEXT_LOOK;
use crate::broker::ports::DomainProgress;
use crate::broker::records::shelves::tenant_prefix;
use crate::broker::records::{Change, Versioned};
use crate::broker::world::World;
use crate::domain::audit::Call;
use crate::domain::client::Client;
use crate::domain::error::Result;
use crate::domain::id::TenantId;
use crate::domain::journal::{Journal, Progress, Task};
use crate::domain::tenant::{HostedDomain, Isolation, Tenant, TenantState};

pub struct Onboarding {
    world: Arc<World>,
    pools: Arc<Pools>,
    issuing: Arc<Issuing>,
    claiming: Arc<Claiming>,
    providers: Arc<Providers>,
}

impl Onboarding {
    pub fn new(
        world: Arc<World>,
        pools: Arc<Pools>,
        issuing: Arc<Issuing>,
        claiming: Arc<Claiming>,
        providers: Arc<Providers>,
    ) -> Self {
        Onboarding { world, pools, issuing, claiming, providers }
    }

    /// Makes the tenant's pool ready, its identity providers there, then the tenant active.
    pub async fn onboard(&self, journal: &Versioned<Journal>, id: &TenantId) -> Result<Progress> {
        let Some(tenant) = self.tenant(id).await? else {
            return self.strike(journal).await;
        };
        match tenant.state {
            TenantState::Creating => {}
            // Another broker was faster, and the last call of a run that it has overtaken is in no record.
            TenantState::Active | TenantState::Suspended => {
                let change = Change::housekeeping().require(&tenant).delete(journal);
                let change = self.apply_again(change, &tenant, &journal.cause).await?;
                self.world.records.commit(change).await?;
                return Ok(Progress::Done);
            }
            TenantState::Deleting => return self.strike(journal).await,
        }
        // Another broker has been at it, or this one's run ended early: the pool may be there.
        if journal.lease.as_ref().is_some_and(|lease| !lease.is_first()) {
            self.pools.take_unasked(&tenant.pool);
        }
        let pool = self.pools.ready(&tenant.pool, &journal.cause).await?;
        self.providers.bring_up(&tenant, &pool).await?;
        // Its tokens come from a prefix that the pool has by now. A domain of its own is asked for before the tenant is
        // told to be there, so that a refusal is told too; until it is served takes longer than anybody waits.
        let domain = tenant.user_pool.as_ref().and_then(|settings| settings.domain.as_ref());
        let progress = match domain {
            Some(custom @ HostedDomain::Custom { .. }) => {
                self.pools.apply_domain(&tenant.pool, Some(custom), &journal.cause).await?
            }
            Some(HostedDomain::Prefix(_)) | None => DomainProgress::InForce,
        };

        let now = self.world.now();
        let active = Tenant { state: TenantState::Active, update_time: now, ..tenant.value.clone() };
        let event = journal.cause.doing("keyward.onboarding/activate").event(now, id.name());
        let mut change = Change::because(event).update(tenant.version, &active).delete(journal);
        if tenant.update_time != tenant.create_time {
            // It was changed before it was there, and what was applied of that may have come before the last call of a run
            // with the older record.
            change = self.apply_again(change, &tenant, &journal.cause).await?;
        } else if progress == DomainProgress::OnItsWay {
            let look = next_look(id, &journal.cause, now);
            if self.world.records.get::<Journal>(&look.task.to_string()).await?.is_none() {
                change = change.create(&look);
            }
        }
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    /// Adds to a change that what the tenant has is applied to its pool once more, and what it has no longer is taken away:
    /// a domain, or an identity provider, that a run of its onboarding may have brought that had an older record before it.
    async fn apply_again(&self, mut change: Change, tenant: &Tenant, cause: &Call) -> Result<Change> {
        let settings = tenant.user_pool.as_ref().map(|_| Task::ApplyUserPool(tenant.id.clone()));
        for task in settings.into_iter().chain([Task::ApplyProviders(tenant.id.clone())]) {
            change = self.world.with_journal(change, task, cause).await?;
        }
        Ok(change)
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
        let progress = self.pools.apply_domain(&tenant.pool, settings.domain.as_ref(), &journal.cause).await?;
        if progress == DomainProgress::OnItsWay {
            return Ok(Progress::Wait(self.world.now() + NEXT_LOOK));
        }
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
        let change = Change::because(event).delete(&tenant).delete(journal);
        let mut change = self.claiming.exchange(change, id, &tenant.sign_in_domains, &[]).await?;
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
        // Of a tenant that is being moved there may be two.
        let mut gone = Vec::new();
        for pool in tenant.homes() {
            gone.extend(self.pools.delete_own(id, &pool).await?);
        }
        let _turn = if gone.is_empty() { None } else { Some(self.pools.place_in_turn().await) };
        for pool in &gone {
            change = self.pools.forget_own(change, &tenant, pool).await?;
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

/// What follows a domain on its way until it is served.
pub(in crate::broker) fn next_look(tenant: &TenantId, cause: &Call, now: Timestamp) -> Journal {
    Journal { due_time: now + NEXT_LOOK, ..Journal::new(Task::ApplyUserPool(tenant.clone()), cause, now) }
}
