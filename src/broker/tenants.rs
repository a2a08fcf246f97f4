//! Tenants: what operators do with them.

mod moves;
pub(super) mod moving;
pub(super) mod onboarding;
pub(super) mod providers;
mod wanted_providers;

use std::sync::Arc;

use super::api::{Listing, NewTenant, Page, TenantPatch, TenantView};
use super::claiming::Claiming;
use super::journals::Journals;
use super::pools::Pools;
use super::records::{Change, Versioned};
use super::world::{Asked, World, check_version, unique_id};
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::TenantId;
use crate::domain::journal::{Journal, Task};
use crate::domain::tenant::{Isolation, Tenant, TenantState};
use providers::Providers;

pub struct Tenants {
    pub(super) world: Arc<World>,
    pools: Arc<Pools>,
    journals: Arc<Journals>,
    claiming: Arc<Claiming>,
    providers: Arc<Providers>,
}

impl Tenants {
    pub fn new(
        world: Arc<World>,
        pools: Arc<Pools>,
        journals: Arc<Journals>,
        claiming: Arc<Claiming>,
        providers: Arc<Providers>,
    ) -> Self {
        Tenants { world, pools, journals, claiming, providers }
    }

    /// Writes the tenant down and carries its onboarding on. An onboarding that fails goes on in the background: the
    /// tenant is then answered as `Creating`, with the reason.
    pub async fn create(&self, call: &Call, new: NewTenant, validate_only: bool) -> Result<TenantView> {
        if new.isolation == Isolation::AppClient && new.user_pool.is_some() {
            let rule = "a tenant in a shared pool has no pool of its own to set up";
            return Err(Error::invalid("tenant.user_pool", rule));
        }
        let id = new.id.clone();
        // One uid for every attempt: the names of its providers hang on it, and so do those of their secrets' versions.
        let uid = unique_id()?;
        let created = {
            // Nobody takes its secrets for leftovers before it is written down.
            let _tenant = match new.identity_providers.is_empty() {
                false => Some(self.world.targets.lock(id.name()).await),
                true => None,
            };
            self.world.settle(call, || self.try_create(call, &new, &uid, validate_only)).await?
        };
        if let Some(view) = created {
            return Ok(view);
        }
        let _ = self.journals.run(Task::OnboardTenant(id.clone())).await;
        self.get(&id).await
    }

    /// `None` once it is written down.
    async fn try_create(
        &self,
        call: &Call,
        new: &NewTenant,
        uid: &str,
        validate_only: bool,
    ) -> Result<Option<TenantView>> {
        let receipt = match self.world.asked(call).await? {
            Asked::Afresh(receipt) => receipt,
            Asked::Again { resource, .. } => {
                return self.get(&TenantId::from_name("request_id", &resource)?).await.map(Some);
            }
        };
        if self.world.records.get::<Tenant>(new.id.as_str()).await?.is_some() {
            return Err(Error::already_exists(new.id.name()));
        }
        if let Some(settings) = &new.user_pool {
            self.pools.check_settings(settings, None).await?;
        }
        let _turn = self.pools.place_in_turn().await;
        let place = match new.isolation {
            Isolation::AppClient if !new.identity_providers.is_empty() => {
                self.providers.place_shared(None, new.identity_providers.len()).await?
            }
            Isolation::AppClient => self.pools.place_shared(None).await?,
            Isolation::UserPool => {
                self.pools.place_dedicated(&new.id, &new.user_pool.clone().unwrap_or_default()).await?
            }
        };
        let now = self.world.now();
        let mut tenant = Tenant {
            id: new.id.clone(),
            uid: uid.to_owned(),
            display_name: new.display_name.clone(),
            isolation: new.isolation,
            state: TenantState::Creating,
            state_reason: String::new(),
            labels: new.labels.clone(),
            user_pool: match new.isolation {
                Isolation::AppClient => None,
                Isolation::UserPool => Some(new.user_pool.clone().unwrap_or_default()),
            },
            pool: place.pool().id.clone(),
            revoked_before: None,
            identity_providers: Vec::new(),
            sign_in_domains: new.sign_in_domains.clone(),
            moved: None,
            create_time: now,
            update_time: now,
        };
        let region = &place.pool().region;
        let wanted = self.providers.wanted(&tenant, &new.identity_providers, region, uid).await?;
        tenant.identity_providers.clone_from(&wanted.providers);
        let change = Change::because(call.event(now, new.id.name())).create(&tenant).create(&Journal::new(
            Task::OnboardTenant(new.id.clone()),
            call,
            now,
        ));
        let mut change = self.claiming.exchange(change, &new.id, &[], &tenant.sign_in_domains).await?;
        if validate_only {
            let (issuer, cname_target) = (None, String::new());
            return Ok(Some(TenantView { tenant, version: 0, issuer, cname_target, claims: Vec::new() }));
        }
        self.providers.stage(&wanted.secrets).await?;
        change = wanted.documents.iter().fold(change, |change, document| change.create(document));
        change = place.begin(change);
        if let Err(error) = self.world.records.commit(receipt.file(change, new.id.name())).await {
            self.providers.take_back(&error, &new.id, &wanted.secrets).await;
            return Err(error);
        }
        self.pools.note_unasked(&place);
        Ok(None)
    }

    pub async fn get(&self, id: &TenantId) -> Result<TenantView> {
        let tenant = self.stored(id).await?;
        self.seen(tenant).await
    }

    /// In order of ids. With `state`, a page may hold fewer tenants than its size and still have a next one.
    pub async fn list(&self, state: Option<TenantState>, page: Page) -> Result<Listing<TenantView>> {
        let listing = self.world.records.list::<Tenant>("", &page).await?;
        let mut items = Vec::with_capacity(listing.items.len());
        for tenant in listing.items.into_iter().filter(|tenant| state.is_none_or(|state| tenant.state == state)) {
            items.push(self.seen(tenant).await?);
        }
        Ok(Listing { items, next: listing.next })
    }

    pub async fn update(
        &self,
        call: &Call,
        id: &TenantId,
        patch: TenantPatch,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<TenantView> {
        let nonce = unique_id()?;
        let before = {
            // Nobody takes secrets for leftovers before they are written down.
            let _tenant = match patch.identity_providers {
                Some(_) => Some(self.world.targets.lock(id.name()).await),
                None => None,
            };
            let attempt = || self.try_update(call, id, &patch, version, &nonce, validate_only);
            self.world.settle(call, attempt).await?
        };
        if validate_only {
            return self.seen(before).await;
        }
        // Waits for nothing where no pool has to change, and the tenant is there: there is no journal then.
        self.journals.run(Task::ApplyUserPool(id.clone())).await?;
        self.journals.run(Task::ApplyProviders(id.clone())).await?;
        self.journals.run(Task::OnboardTenant(id.clone())).await?;
        // Not for what was claimed just now: nobody has seen yet what its record must hold.
        let names = &self.stored(id).await?.sign_in_domains;
        let known = before.sign_in_domains.iter().filter(|name| names.contains(name));
        self.claiming.look(known, call).await?;
        self.get(id).await
    }

    async fn try_update(
        &self,
        call: &Call,
        id: &TenantId,
        patch: &TenantPatch,
        version: Option<u64>,
        nonce: &str,
        validate_only: bool,
    ) -> Result<Versioned<Tenant>> {
        let tenant = self.stored(id).await?;
        let Asked::Afresh(receipt) = self.world.asked(call).await? else {
            return Ok(tenant);
        };
        check_version(version, tenant.version, id.name())?;
        // One that is still being created can be changed too: a setting may be what keeps it from that.
        tenant.check_not_deleting()?;
        let now = self.world.now();
        let mut record = tenant.value.clone();
        if let Some(display_name) = &patch.display_name {
            record.display_name.clone_from(display_name);
        }
        if let Some(labels) = &patch.labels {
            record.labels.clone_from(labels);
        }
        if let Some(settings) = &patch.user_pool {
            tenant.check_not_leaving()?;
            match &record.user_pool {
                None => return Err(Error::invalid("tenant.user_pool", "the tenant has no pool of its own")),
                Some(current) if current.region != settings.region => {
                    return Err(Error::invalid("tenant.user_pool.region", "cannot be changed"));
                }
                Some(_) => record.user_pool = Some(settings.clone()),
            }
        }
        let pool_changes = record.user_pool != tenant.user_pool;
        if let Some(domains) = &patch.sign_in_domains {
            record.sign_in_domains.clone_from(domains);
        }
        if let Some(settings) = record.user_pool.as_ref().filter(|_| pool_changes) {
            let made = self.pools.made(&record.pool).await?;
            self.pools.check_settings(settings, made.as_ref()).await?;
        }
        let (mut turn, mut moved, mut wanted) = (None, None, None);
        if let Some(new) = &patch.identity_providers {
            tenant.check_not_moving()?;
            turn = Some(self.pools.place_in_turn().await);
            moved = self.providers.place_for(&tenant, new).await?;
            moved.iter().for_each(|place| record.pool.clone_from(&place.pool().id));
            let change = self.providers.change_of(&tenant, new, moved.as_ref(), nonce).await?;
            record.identity_providers.clone_from(&change.providers);
            wanted = Some(change);
        }
        record.update_time = now;
        let change = Change::because(call.event(now, id.name())).update(tenant.version, &record);
        let mut change = self.claiming.exchange(change, id, &tenant.sign_in_domains, &record.sign_in_domains).await?;
        if validate_only {
            return Ok(Versioned { value: record, version: tenant.version });
        }
        if pool_changes {
            if turn.is_none() {
                turn = Some(self.pools.place_in_turn().await);
            }
            if let (Some(old), Some(new)) = (&tenant.user_pool, &record.user_pool) {
                let counted = self.pools.resettled(old, new).await?;
                change = counted.iter().fold(change, |change, counted| counted.keep(change));
            }
            change = self.world.with_journal(change, Task::ApplyUserPool(id.clone()), call).await?;
        }
        if let Some(wanted) = wanted.filter(|wanted| wanted.differ_from(&tenant)) {
            self.providers.stage(&wanted.secrets).await?;
            change = moved.iter().fold(change, |change, place| place.begin(change));
            change = self.providers.change_documents(change, &tenant, &wanted).await?;
            change = self.world.with_journal(change, Task::ApplyProviders(id.clone()), call).await?;
        }
        self.world.records.commit(receipt.file(change, id.name())).await?;
        drop(turn);
        Ok(tenant)
    }

    /// From the moment this is written down the tenant's tokens are refused, here and at verification. The rest is
    /// carried on before this answers, and goes on in the background if it fails.
    pub async fn delete(&self, call: &Call, id: &TenantId, version: Option<u64>, validate_only: bool) -> Result<()> {
        self.world
            .settle(call, || async {
                // Before the tenant is read: when it is gone because of this very request, that is success.
                let Asked::Afresh(receipt) = self.world.asked(call).await? else { return Ok(()) };
                let tenant = self.stored(id).await?;
                check_version(version, tenant.version, id.name())?;
                if tenant.user_pool.as_ref().is_some_and(|settings| settings.deletion_protection) {
                    let message = format!("deletion protection is on for the user pool of {}", id.name());
                    return Err(Error::new(Reason::DeletionProtected, message).about(id.name()));
                }
                if validate_only {
                    return Ok(());
                }
                if tenant.state == TenantState::Deleting {
                    return self.world.nothing_done(receipt, id.name()).await;
                }
                let now = self.world.now();
                let record = Tenant { state: TenantState::Deleting, update_time: now, ..tenant.value.clone() };
                let mut change = Change::because(call.event(now, id.name()))
                    .update(tenant.version, &record)
                    .create(&Journal::new(Task::OffboardTenant(id.clone()), call, now));
                for task in [Task::OnboardTenant, Task::ApplyUserPool, Task::MoveTenant].map(|task| task(id.clone())) {
                    if let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? {
                        change = change.delete(&journal);
                    }
                }
                self.world.records.commit(receipt.file(change, id.name())).await
            })
            .await?;
        if validate_only {
            return Ok(());
        }
        // What fails here goes on in the background; the tenant is refused everything already.
        let _ = self.journals.run(Task::OffboardTenant(id.clone())).await;
        Ok(())
    }

    /// From now on the tenant gets no tokens, and those it has do not verify.
    pub async fn suspend(&self, call: &Call, id: &TenantId, reason: &str) -> Result<TenantView> {
        self.change_state(call, id, TenantState::Suspended, reason).await
    }

    pub async fn resume(&self, call: &Call, id: &TenantId) -> Result<TenantView> {
        self.change_state(call, id, TenantState::Active, "").await
    }

    async fn change_state(&self, call: &Call, id: &TenantId, state: TenantState, reason: &str) -> Result<TenantView> {
        self.world
            .settle(call, || async {
                let tenant = self.stored(id).await?;
                let Asked::Afresh(receipt) = self.world.asked(call).await? else { return Ok(()) };
                tenant.check_settled()?;
                if tenant.state == state && tenant.state_reason == reason {
                    return self.world.nothing_done(receipt, id.name()).await;
                }
                let now = self.world.now();
                let record =
                    Tenant { state, state_reason: reason.to_owned(), update_time: now, ..tenant.value.clone() };
                let event = call.event(now, id.name()).detail(reason);
                let change = Change::because(event).update(tenant.version, &record);
                self.world.records.commit(receipt.file(change, id.name())).await
            })
            .await?;
        self.get(id).await
    }

    async fn stored(&self, id: &TenantId) -> Result<Versioned<Tenant>> {
        self.world.records.get(id.as_str()).await?.ok_or_else(|| Error::not_found(id.name()))
    }

    async fn seen(&self, tenant: Versioned<Tenant>) -> Result<TenantView> {
        let (issuer, cname_target) = match self.pools.made(&tenant.pool).await? {
            Some(made) => (Some(made.issuer), made.cname_target),
            None => (None, String::new()),
        };
        let Versioned { value: mut tenant, version } = tenant;
        let task = match tenant.state {
            TenantState::Creating => Some(Task::OnboardTenant(tenant.id.clone())),
            TenantState::Deleting => Some(Task::OffboardTenant(tenant.id.clone())),
            TenantState::Active | TenantState::Suspended => None,
        };
        if let Some(task) = task {
            tenant.state_reason = self.journals.why_unfinished(&task).await?;
        }
        let claims = self.claiming.of(&tenant).await?;
        Ok(TenantView { tenant, version, issuer, cname_target, claims })
    }
}
