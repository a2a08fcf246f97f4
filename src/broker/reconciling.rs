//! Compares what the registry says with what is at the backends, page by page, and mends it when told to.
//!
//! Nothing that is in use or on its way is taken for a leftover: the backend is asked first and the registry after it,
//! so whatever was made under a record is found to have one; what then seems to be nobody's is looked at once more under
//! its owner's lock. An app client is Keyward's by the form of its name, a secret by its prefix, a pool by the backend's
//! word; all else is left alone. [`orphans`](orphans) has those, [`examining`](examining) what concerns one
//! client, [`examining_providers`](examining_providers) identity providers.
//!
//! A call ends when it has found enough or its time is up, and says so. What was not looked at comes first in the next
//! call of the same kind, so that calling again comes to the end of a platform of any size.

mod examining;
mod examining_interactive;
mod examining_providers;
mod orphans;

use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::api::{Page, Reconciled};
use super::claiming::Claiming;
use super::journals::Journals;
use super::pools::Pools;
use super::ports::{DomainProgress, Fault, PortResult};
use super::records::shelves::tenant_prefix;
use super::records::{Change, Versioned};
use super::rotations::rotator::Rotator;
use super::tenants::onboarding::next_look;
use super::tenants::providers::Providers;
use super::world::{Asked, World};
use crate::domain::audit::Call;
use crate::domain::client::{Client, ClientState};
use crate::domain::drift::{Drift, DriftKind, compare_settings, is_of_domain};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{PoolId, TenantId};
use crate::domain::interactive::ClientKind;
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::{MadePool, Pool};
use crate::domain::scope::{MAX_RESOURCE_SERVERS, ResourceServer};
use crate::domain::tenant::{HostedDomain, Tenant, TenantState, UserPoolSettings};

/// Differences that one call answers with.
pub const MAX_DRIFTS: usize = 1_000;
/// Clients of one page, and how many of them are looked at side by side.
const CLIENTS: usize = 40;
const AT_A_TIME: usize = 8;
/// Calls of which it is remembered how far they came.
const MAX_UNFINISHED: u64 = 1_000;

pub struct Reconciling {
    pub(super) world: Arc<World>,
    pools: Arc<Pools>,
    rotator: Arc<Rotator>,
    journals: Arc<Journals>,
    claiming: Arc<Claiming>,
    providers: Arc<Providers>,
    /// Where the last call for this tenant, or for all, ended before its end.
    unfinished: moka::sync::Cache<(Option<TenantId>, bool), Place>,
}

/// One call.
struct Pass {
    pub call: Call,
    /// `None`: all tenants, and what is nobody's.
    pub tenant: Option<TenantId>,
    pub mend: bool,
}

/// Where a pass is. Each place is a page of something, and has one that follows.
#[derive(Clone)]
enum Place {
    /// The pool after this one.
    Pool(Option<String>),
    AppClients(PoolId, Option<String>),
    Providers(PoolId, Option<String>),
    Tenants(Option<String>),
    Clients(Option<String>),
    Secrets(Option<String>),
    UserPools(Option<String>),
}

impl Reconciling {
    pub fn new(
        world: Arc<World>,
        pools: Arc<Pools>,
        rotator: Arc<Rotator>,
        journals: Arc<Journals>,
        claiming: Arc<Claiming>,
        providers: Arc<Providers>,
    ) -> Self {
        let unfinished = moka::sync::Cache::new(MAX_UNFINISHED);
        Reconciling { world, pools, rotator, journals, claiming, providers, unfinished }
    }

    /// Of one tenant, or of all. A request that was made before mends nothing again: it is answered with what there is
    /// now.
    pub async fn reconcile(&self, call: &Call, tenant: Option<TenantId>, mend: bool) -> Result<Reconciled> {
        let asked = self.world.asked(call).await?;
        let mend = mend && matches!(asked, Asked::Afresh(_));
        if let Some(id) = &tenant {
            let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
            let tenant = tenant.ok_or_else(|| Error::not_found(id.name()))?;
            self.claiming.look(tenant.sign_in_domains.iter(), call).await?;
        }
        self.pools.adopt().await?;
        let pass = Pass { call: call.clone(), tenant, mend };
        let found = self.walk(&pass).await?;

        let resource = pass.tenant.as_ref().map_or_else(|| "tenants/-".to_owned(), TenantId::name);
        let mended = found.drifts.iter().filter(|drift| drift.mended).count();
        let detail = format!("{} differences, {mended} of them mended", found.drifts.len());
        let event = call.event(self.world.now(), &resource).detail(detail);
        let change = Change::because(event);
        let change = match asked {
            Asked::Afresh(receipt) => receipt.file(change, &resource),
            Asked::Again { .. } => change,
        };
        self.world.records.commit(change).await?;
        Ok(found)
    }

    async fn walk(&self, pass: &Pass) -> Result<Reconciled> {
        let key = (pass.tenant.clone(), pass.mend);
        let deadline = self.world.now() + self.world.settings.reconcile_time;
        let mut place = self.unfinished.remove(&key).unwrap_or(Place::Pool(None));
        let mut drifts = Vec::new();
        loop {
            let (found, next) = self.page(pass, place).await?;
            drifts.extend(found);
            let is_full = drifts.len() >= MAX_DRIFTS;
            let Some(next) = next else {
                let truncated = drifts.len() > MAX_DRIFTS;
                drifts.truncate(MAX_DRIFTS);
                return Ok(Reconciled { drifts, truncated });
            };
            if is_full || self.world.now() >= deadline {
                // Those that were only reported are still there: whoever mends them starts where they are.
                if pass.mend || !is_full {
                    self.unfinished.insert(key, next);
                }
                drifts.truncate(MAX_DRIFTS);
                return Ok(Reconciled { drifts, truncated: true });
            }
            place = next;
        }
    }

    /// What differs at a place, and which place is next.
    async fn page(&self, pass: &Pass, place: Place) -> Result<(Vec<Drift>, Option<Place>)> {
        match place {
            Place::Pool(after) => {
                if after.is_none() && pass.tenant.is_none() && pass.mend {
                    self.pools.recount().await?;
                }
                let Some(pool) = self.next_pool(pass, after).await? else {
                    return Ok((Vec::new(), Some(Place::Tenants(None))));
                };
                let id = pool.id.clone();
                match self.pool_drifts(pass, &pool).await? {
                    Some(drifts) => Ok((drifts, Some(Place::AppClients(id, None)))),
                    None => {
                        let user_pool = pool.made.as_ref().map_or("", |made| made.user_pool.as_str());
                        let detail = "the user pool is gone, and whoever was in it; it is not made anew by itself";
                        let gone = Drift::new(DriftKind::Missing, id.name(), user_pool, detail);
                        let drifts = if pool.made.is_some() { vec![gone] } else { Vec::new() };
                        Ok((drifts, Some(Place::Pool(Some(id.to_string())))))
                    }
                }
            }
            Place::AppClients(id, after) => {
                let next_pool = Place::Pool(Some(id.to_string()));
                let Some(made) = self.pools.made(&id).await? else { return Ok((Vec::new(), Some(next_pool))) };
                let page = self.world.user_pools.list_app_clients(&made, after.as_deref()).await.map(Some);
                let Some(page) = or_none(page)? else { return Ok((Vec::new(), Some(next_pool))) };
                let next = match page.next {
                    Some(next) => Place::AppClients(id, Some(next)),
                    None => Place::Providers(id, None),
                };
                let orphans = page.items.iter().map(|(app_client, name)| self.orphan(pass, &made, app_client, name));
                Ok((at_a_time(orphans).await?, Some(next)))
            }
            Place::Providers(id, after) => {
                let (drifts, next) = self.providers_of(pass, &id, after).await?;
                let next_pool = Place::Pool(Some(id.to_string()));
                Ok((drifts, Some(next.map_or(next_pool, |next| Place::Providers(id, Some(next))))))
            }
            Place::Tenants(after) => {
                let (tenants, next) = self.with_providers(pass, after).await?;
                let drifts = tenants.iter().map(|tenant| self.provider_drifts(pass, tenant));
                let next = next.map_or(Place::Clients(None), |next| Place::Tenants(Some(next)));
                Ok((at_a_time(drifts).await?, Some(next)))
            }
            Place::Clients(after) => {
                let prefix = pass.tenant.as_ref().map(tenant_prefix).unwrap_or_default();
                let listing = self.world.records.list::<Client>(&prefix, &Page { after, size: CLIENTS }).await?;
                let next = listing.next.map_or(Place::Secrets(None), |next| Place::Clients(Some(next)));
                // Whoever is being made or deleted is somebody's business, who holds its lock for as long.
                let in_use = listing.items.iter().filter(|client| client.state == ClientState::Active);
                let drifts = in_use.map(|client| async move {
                    match client.kind() {
                        ClientKind::Machine => self.client_drifts(pass, &client.name).await,
                        ClientKind::Interactive => self.interactive_drifts(pass, &client.name).await,
                    }
                });
                Ok((at_a_time(drifts).await?, Some(next)))
            }
            Place::Secrets(after) => {
                let tenant = pass.tenant.as_ref().map(|tenant| format!("{tenant}/")).unwrap_or_default();
                let prefix = format!("{}/tenants/{tenant}", self.world.settings.secret_prefix);
                let page = self.world.vault.list(&prefix, after.as_deref()).await?;
                let next = page.next.map(|next| Place::Secrets(Some(next)));
                let next = next.or_else(|| pass.tenant.is_none().then_some(Place::UserPools(None)));
                let orphans = page.items.iter().map(|name| self.orphaned_secret(pass, name));
                Ok((at_a_time(orphans).await?, next))
            }
            Place::UserPools(after) => {
                let page = self.world.user_pools.list_pools(after.as_deref()).await?;
                let mut drifts = Vec::new();
                for id in &page.items {
                    drifts.extend(self.orphaned_pool(pass, id).await?);
                }
                Ok((drifts, page.next.map(|next| Place::UserPools(Some(next)))))
            }
        }
    }

    /// The pools of a tenant are its own or its home, and those that its clients are in.
    async fn next_pool(&self, pass: &Pass, after: Option<String>) -> Result<Option<Versioned<Pool>>> {
        let Some(id) = &pass.tenant else {
            let listing = self.world.records.list::<Pool>("", &Page { after, size: 1 }).await?;
            return Ok(listing.items.into_iter().next());
        };
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let mut pools: Vec<PoolId> = tenant.into_iter().flat_map(|tenant| tenant.homes()).collect();
        let mut page = Page { after: None, size: 200 };
        loop {
            let listing = self.world.records.list::<Client>(&tenant_prefix(id), &page).await?;
            pools.extend(listing.items.into_iter().map(|client| client.value.pool));
            let Some(next) = listing.next else { break };
            page.after = Some(next);
        }
        let is_next = |pool: &PoolId| after.as_deref().is_none_or(|after| pool.as_str() > after);
        match pools.into_iter().filter(is_next).min() {
            Some(next) => self.world.records.get(next.as_str()).await,
            None => Ok(None),
        }
    }

    /// `None` for a pool that is not there (yet).
    async fn pool_drifts(&self, pass: &Pass, pool: &Versioned<Pool>) -> Result<Option<Vec<Drift>>> {
        let Some(made) = &pool.made else { return Ok(None) };
        let Some(settings) = or_none(self.world.user_pools.pool_settings(made).await)? else {
            // Its tenant may have been deleted with it since.
            let is_known = self.world.records.get::<Pool>(pool.id.as_str()).await?.is_some();
            return Ok(if is_known { None } else { Some(Vec::new()) });
        };
        let mut drifts = self.setting_drifts(pass, pool, made, &settings).await?;
        drifts.extend(self.missing_servers(pass, pool, made).await?);
        Ok(Some(drifts))
    }

    async fn setting_drifts(
        &self,
        pass: &Pass,
        pool: &Pool,
        made: &MadePool,
        seen: &UserPoolSettings,
    ) -> Result<Vec<Drift>> {
        let wanted = match &pool.tenant {
            _ if pool.adopted.is_some() => return Ok(Vec::new()),
            None if pass.tenant.is_some() => return Ok(Vec::new()),
            // A domain of one's own that a shared pool was given is nothing that Keyward could have set.
            None => UserPoolSettings {
                domain: seen.domain.clone().filter(|domain| matches!(domain, HostedDomain::Custom { .. })),
                ..UserPoolSettings::default()
            },
            Some(tenant) => match self.settled_settings(tenant, &pool.id).await? {
                Some(settings) => settings,
                None => return Ok(Vec::new()),
            },
        };
        let differing = compare_settings(&wanted, seen);
        let drift = |(field, detail)| {
            Drift::new(DriftKind::ChangedSetting, pool.id.name(), &made.user_pool, detail).of_field(field)
        };
        let mut drifts: Vec<_> = differing.into_iter().map(drift).collect();
        if !drifts.is_empty() && pass.mend {
            let target = pool.tenant.as_ref().map_or_else(|| pool.id.name(), TenantId::name);
            let _target = self.world.targets.lock(target).await;
            let note = self.note(pass, "keyward.reconcile/update-pool", pool.id.name(), made.user_pool.as_str());
            note.await?;
            let (domain, others): (Vec<_>, Vec<_>) = drifts.iter_mut().partition(|drift| is_of_domain(drift.field));
            if !others.is_empty() {
                let mended = self.tried("a user pool", self.world.user_pools.update_pool(made, &wanted).await);
                others.into_iter().for_each(|drift| drift.mended = mended);
            }
            if !domain.is_empty() {
                let mended = self.tried("a user pool's domain", self.mend_domain(pass, pool, &wanted).await);
                domain.into_iter().for_each(|drift| drift.mended = mended);
            }
        }
        Ok(drifts)
    }

    /// One that the backend is at work on then is followed by a journal, as one that was asked for is.
    async fn mend_domain(&self, pass: &Pass, pool: &Pool, wanted: &UserPoolSettings) -> Result<()> {
        let progress = self.pools.apply_domain(&pool.id, wanted.domain.as_ref(), &pass.call).await?;
        let Some(tenant) = pool.tenant.as_ref().filter(|_| progress == DomainProgress::OnItsWay) else {
            return Ok(());
        };
        let journal = next_look(tenant, &pass.call, self.world.now());
        match self.world.records.commit(Change::housekeeping().create(&journal)).await {
            // Somebody has asked for other settings meanwhile, which brings the domain too.
            Err(error) if error.reason() == Reason::ConcurrentChange => Ok(()),
            outcome => outcome,
        }
    }

    /// What a tenant's own pool must be like; `None` while that is on its way, and for one that the tenant moves to or from.
    async fn settled_settings(&self, tenant: &TenantId, pool: &PoolId) -> Result<Option<UserPoolSettings>> {
        let applying = Task::ApplyUserPool(tenant.clone()).to_string();
        if self.world.records.get::<Journal>(&applying).await?.is_some() {
            return Ok(None);
        }
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(tenant.as_str()).await?;
        let tenant = tenant.filter(|tenant| is_settled(tenant) && tenant.pool == *pool);
        Ok(tenant.map(|tenant| tenant.value.user_pool.unwrap_or_default()))
    }

    /// Resource servers of the catalogue that the pool has had and no longer has.
    async fn missing_servers(&self, pass: &Pass, pool: &Pool, made: &MadePool) -> Result<Vec<Drift>> {
        let Some(version) = self.pools.whole_catalog(&pool.id).await? else { return Ok(Vec::new()) };
        let there = self.world.user_pools.list_resource_servers(made).await.map(Some);
        // A pool that goes with its tenant at this moment lacks nothing.
        let Some(there) = or_none(there)? else { return Ok(Vec::new()) };
        let everything = Page { after: None, size: MAX_RESOURCE_SERVERS };
        let catalog = self.world.records.list::<ResourceServer>("", &everything).await?.items;
        // Another catalogue may have come between the two.
        if self.pools.whole_catalog(&pool.id).await? != Some(version) {
            return Ok(Vec::new());
        }
        let lacking = catalog.iter().filter(|server| !there.contains(&server.identifier));
        let mut drifts = Vec::new();
        for server in lacking {
            let detail = "the pool lacks this resource server of the catalogue";
            drifts.push(Drift::new(DriftKind::Missing, pool.id.name(), &server.identifier, detail));
        }
        if pass.mend && !drifts.is_empty() {
            for drift in &drifts {
                let doing = "keyward.reconcile/put-resource-server";
                self.note(pass, doing, pool.id.name(), &drift.external_id).await?;
            }
            let brought = self.pools.bring_anew(&pool.id, made, &pass.call).await;
            let mended = self.tried("a resource server", brought);
            drifts.iter_mut().for_each(|drift| drift.mended = mended);
        }
        Ok(drifts)
    }

    /// Puts on record what is about to be mended.
    async fn note(
        &self,
        pass: &Pass,
        doing: &'static str,
        resource: impl std::fmt::Display,
        detail: &str,
    ) -> Result<()> {
        let event = pass.call.doing(doing).event(self.world.now(), resource).detail(detail);
        self.world.put_on_record(event).await
    }

    /// Whether it could be mended. If not, the log has why, and the call goes on.
    fn tried<E: std::error::Error>(&self, what: &'static str, outcome: Result<(), E>) -> bool {
        outcome.inspect_err(|error| tracing::warn!(what, %error, "a difference could not be mended")).is_ok()
    }
}

/// Whether a tenant's things are neither on their way in nor on their way out.
fn is_settled(tenant: &Tenant) -> bool {
    matches!(tenant.state, TenantState::Active | TenantState::Suspended)
}

/// What there is; `None` where it is not found, however the backend says so.
fn or_none<T>(outcome: PortResult<Option<T>>) -> Result<Option<T>> {
    match outcome {
        Err(error) if error.is(Fault::NotFound) => Ok(None),
        outcome => Ok(outcome?),
    }
}

async fn at_a_time(work: impl Iterator<Item = impl Future<Output = Result<Vec<Drift>>>>) -> Result<Vec<Drift>> {
    // Collected first: a lazy iterator would borrow across the waits.
    let work: Vec<_> = work.collect();
    let found: Vec<Vec<Drift>> = stream::iter(work).buffered(AT_A_TIME).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
