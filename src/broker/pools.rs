//! User pools: where an app client goes, and what must be true of a pool before it goes there.
//!
//! A pool is written down before the backend is asked for it, under an id of Keyward's own, so that a crash cannot
//! leave one that nobody knows. It is ready once it is made and has the resource servers of the catalogue.

mod capacity;
pub(super) mod domains;
mod resource_servers;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, MutexGuard};

use super::api::Page;
use super::background::Background;
use super::flights::Flights;
use super::ports::{Fault, PortError};
use super::records::{Change, IssuerPool, Versioned, settle};
use super::world::{World, unique_id};
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{PoolId, TenantId};
use crate::domain::pool::{MadePool, Pool};
use crate::domain::quota::Quota;
use crate::domain::tenant::{Tenant, UserPoolSettings};
use capacity::Counted;

/// Shared pools with room after which no more are looked for: at five creations a second in each, far more than an
/// account's quota lets through.
const ENOUGH_POOLS: usize = 50;

/// Pools that nobody has asked for yet and that are remembered. The backend looks for others before it makes them.
const MAX_UNASKED: usize = 10_000;

pub struct Pools {
    pub(super) world: Arc<World>,
    /// Set once the pools that the configuration names are known.
    pub(super) adopted: tokio::sync::OnceCell<()>,
    readying: Flights<PoolId, MadePool>,
    placing: Mutex<()>,
    /// Counts the choices among shared pools, so that each goes to the next one.
    choices: AtomicUsize,
    /// Tenants' own pools that this process has written down and nobody has asked the backend for.
    unasked: std::sync::Mutex<BTreeSet<PoolId>>,
}

/// Where something goes: a pool that is there, or one to be created with it.
pub enum Place {
    There(Versioned<Pool>),
    /// With its place in its Region.
    New(Pool, Counted),
}

impl Place {
    pub fn pool(&self) -> &Pool {
        match self {
            Place::There(pool) => &pool.value,
            Place::New(pool, _) => pool,
        }
    }

    /// Writes the pool down with `change`, with `more` app clients in it.
    pub fn keep(&self, change: Change, more: u32) -> Change {
        let mut pool = self.pool().clone();
        pool.app_clients += more;
        match self {
            Place::There(seen) => change.update(seen.version, &pool),
            Place::New(_, counted) => counted.keep(change).create(&pool),
        }
    }

    /// Writes the pool down with `change` where it is new. One that is there is only referred to.
    pub fn begin(&self, change: Change) -> Change {
        match self {
            Place::There(_) => change,
            Place::New(pool, counted) => counted.keep(change).create(pool),
        }
    }
}

impl Pools {
    pub fn new(world: Arc<World>, background: Background) -> Self {
        Pools {
            world,
            adopted: tokio::sync::OnceCell::new(),
            readying: Flights::new(background),
            placing: Mutex::default(),
            choices: AtomicUsize::new(0),
            unasked: std::sync::Mutex::default(),
        }
    }

    /// Held from the choice of a shared pool until it is written down, and whenever else a pool's record changes: many
    /// who do so at one time would else overtake each other at one record without end, and each begin a pool when the
    /// last place is taken.
    pub async fn place_in_turn(&self) -> MutexGuard<'_, ()> {
        self.placing.lock().await
    }

    /// A shared pool that has room: `home` if it has, else one of those that have, each in its turn, since Cognito's
    /// quota for one pool is a part of the account's. While fewer have room than the configuration wants, it is a new
    /// one, if the Region takes another. Fails with `QUOTA_EXCEEDED` where none has room and the Region is full. Reads at
    /// most every shared pool, of which an account has 1,000 at the most unless AWS raises the quota. The caller holds its
    /// turn until the place is written down.
    pub async fn place_shared(&self, home: Option<&PoolId>) -> Result<Place> {
        if let Some(home) = home {
            let pool: Option<Versioned<Pool>> = self.world.records.get(home.as_str()).await?;
            if let Some(pool) = pool.filter(|pool| self.takes_more(pool)) {
                return Ok(Place::There(pool));
            }
        }
        self.adopt().await?;
        let mut with_room = Vec::new();
        let mut page = Page { after: None, size: 200 };
        loop {
            let listing = self.world.records.list::<Pool>("shared-", &page).await?;
            with_room.extend(listing.items.into_iter().filter(|pool| self.takes_more(pool)));
            match listing.next {
                Some(next) if with_room.len() < ENOUGH_POOLS => page.after = Some(next),
                _ => break,
            }
        }
        // One that Cognito will not make now is room for nobody.
        if with_room.iter().any(|pool| pool.made.is_none()) && self.is_own_region_refused().await? {
            with_room.retain(|pool| pool.made.is_some());
        }
        if with_room.is_empty() || with_room.len() < self.world.settings.shared_pools_with_room {
            match self.room_for(&UserPoolSettings::default()).await {
                Ok(counted) => return Ok(Place::New(self.unmade("shared", None, String::new())?, counted)),
                Err(error) if error.reason() == Reason::QuotaExceeded && !with_room.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        let choice = self.choices.fetch_add(1, Ordering::Relaxed) % with_room.len();
        Ok(Place::There(with_room.swap_remove(choice)))
    }

    /// A shared pool that is not there yet. Fails with `QUOTA_EXCEEDED` where the Region is full.
    pub(super) async fn new_shared(&self) -> Result<Place> {
        let counted = self.room_for(&UserPoolSettings::default()).await?;
        Ok(Place::New(self.unmade("shared", None, String::new())?, counted))
    }

    /// A pool of the tenant's own. Fails with `QUOTA_EXCEEDED` where its Region is full. The caller holds its turn until it
    /// is written down.
    pub async fn place_dedicated(&self, tenant: &TenantId, settings: &UserPoolSettings) -> Result<Place> {
        let counted = self.room_for(settings).await?;
        Ok(Place::New(self.unmade("tenant", Some(tenant.clone()), settings.region.clone())?, counted))
    }

    /// A tenant's own pool for another app client. Fails with `QUOTA_EXCEEDED` where it is full.
    pub async fn place_own(&self, id: &PoolId) -> Result<Place> {
        let pool = self.pool(id).await?;
        let limit = self.world.settings.ceilings.app_clients_per_user_pool;
        match pool.has_room(limit) {
            true => Ok(Place::There(pool)),
            false => Err(Quota::AppClients.exceeded(id.name(), limit)),
        }
    }

    /// What it means that Cognito took no other app client.
    pub fn app_client_refused(&self, id: &PoolId, error: PortError) -> Error {
        if !error.is(Fault::LimitExceeded) {
            return error.into();
        }
        Quota::AppClients.exceeded(id.name(), self.world.settings.ceilings.app_clients_per_user_pool).caused_by(error)
    }

    /// To be told that a tenant's own pool was written down, by the one journal that will make it, and that nobody can have
    /// asked the backend for it. It is told from memory, so a crash forgets it.
    pub fn note_unasked(&self, place: &Place) {
        if let Place::New(pool, _) = place
            && pool.tenant.is_some()
        {
            let mut unasked = self.unasked.lock().unwrap_or_else(PoisonError::into_inner);
            if unasked.len() < MAX_UNASKED {
                unasked.insert(pool.id.clone());
            }
        }
    }

    /// Whether nobody has asked the backend for it, as far as this process knows. From now on somebody has.
    pub fn take_unasked(&self, id: &PoolId) -> bool {
        self.unasked.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    fn unmade(&self, kind: &str, tenant: Option<TenantId>, region: String) -> Result<Pool> {
        Ok(Pool {
            id: PoolId::parse("pool", &format!("{kind}-{}", unique_id()?))?,
            tenant,
            region,
            made: None,
            adopted: None,
            app_clients: 0,
            catalog_version: 0,
            create_time: self.world.now(),
        })
    }

    /// Makes the pool if need be and brings its resource servers up to the catalogue.
    pub async fn ready(self: &Arc<Self>, id: &PoolId, cause: &Call) -> Result<MadePool> {
        let (this, id, cause) = (self.clone(), id.clone(), cause.clone());
        self.readying.join(id.clone(), move || async move { this.make_ready(&id, &cause).await }).await
    }

    async fn make_ready(&self, id: &PoolId, cause: &Call) -> Result<MadePool> {
        let made = match self.pool(id).await?.value.made {
            Some(made) => made,
            None => self.make(id, cause).await?,
        };
        self.apply_catalog(id, &made, cause).await?;
        Ok(made)
    }

    async fn make(&self, id: &PoolId, cause: &Call) -> Result<MadePool> {
        let settings = self.settings_of(&self.pool(id).await?.value).await?;
        let made = match self.take_unasked(id) {
            true => self.world.user_pools.make_pool(id, &settings).await,
            false => self.world.user_pools.ensure_pool(id, &settings).await,
        };
        let made = match made {
            // A domain of the tenant's own, which has a quota too, comes later.
            Err(error) if error.is(Fault::LimitExceeded) => {
                return Err(self.note_refusal(&settings).await.caused_by(error));
            }
            made => made?,
        };
        let recorded = settle(|| async {
            let _turn = self.place_in_turn().await;
            let pool = self.pool(id).await?;
            if let Some(recorded) = &pool.made {
                return Ok(recorded.clone());
            }
            let record = Pool { made: Some(made.clone()), ..pool.value.clone() };
            let issuer = IssuerPool { issuer: made.issuer.clone(), pool: id.clone() };
            let event = cause.doing("keyward.pool/make").event(self.world.now(), id.name());
            let mut change = Change::because(event.detail(made.user_pool.as_str()));
            change = change.update(pool.version, &record).create(&issuer);
            change = self.taken(&settings).await?.iter().fold(change, |change, counted| counted.keep(change));
            self.world.records.commit(change).await.map(|()| made.clone())
        })
        .await;
        let is_nobodys = match &recorded {
            // Another broker has made one too, since names are not unique at Cognito, and has written that one down.
            Ok(recorded) => recorded.user_pool != made.user_pool,
            // Another broker has deleted its tenant meanwhile, and found nothing to delete here.
            Err(error) => error.reason() == Reason::ResourceNotFound,
        };
        if is_nobodys {
            self.world.user_pools.delete_pool(id, &made.region, Some(&made)).await?;
        }
        recorded
    }

    async fn settings_of(&self, pool: &Pool) -> Result<UserPoolSettings> {
        let Some(tenant) = &pool.tenant else {
            return Ok(UserPoolSettings::default());
        };
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(tenant.as_str()).await?;
        Ok(tenant.and_then(|tenant| tenant.settings_of(&pool.id)).unwrap_or_default())
    }

    /// Deletes a pool of a tenant's own at the backend, which [`forget_own`](Pools::forget_own) follows: with the record as
    /// it was then. `None`, and nothing is done, where the pool is not the tenant's, or gone.
    pub async fn delete_own(&self, tenant: &TenantId, id: &PoolId) -> Result<Option<Versioned<Pool>>> {
        let own = self.own(tenant, id).await?;
        if let Some(pool) = &own {
            self.delete(pool).await?;
        }
        Ok(own)
    }

    /// Adds to a change that a pool is forgotten that [`delete_own`](Pools::delete_own) has deleted. What another broker has
    /// made of it since is not deleted, and fails the change. The caller holds its turn.
    pub async fn forget_own(&self, change: Change, tenant: &Tenant, pool: &Versioned<Pool>) -> Result<Change> {
        let settings = tenant.settings_of(&pool.id);
        let mut change = self.given_back(pool, settings.as_ref()).await?.keep(change);
        if let Some(made) = &pool.made {
            let issuer = self.world.records.get::<IssuerPool>(made.issuer.as_str()).await?;
            change = issuer.iter().fold(change, |change, issuer| change.delete(issuer));
        }
        Ok(change.delete(pool))
    }

    async fn own(&self, tenant: &TenantId, id: &PoolId) -> Result<Option<Versioned<Pool>>> {
        let pool: Option<Versioned<Pool>> = self.world.records.get(id.as_str()).await?;
        Ok(pool.filter(|pool| pool.tenant.as_ref() == Some(tenant)))
    }

    /// Deletes a dedicated pool at the backend.
    pub async fn delete(&self, pool: &Pool) -> Result<()> {
        match self.world.user_pools.delete_pool(&pool.id, &pool.region, pool.made.as_ref()).await {
            Err(error) if error.is(Fault::Refused) && self.is_protected(pool).await => {
                let message = format!("{} is protected against deletion", pool.id.name());
                Err(Error::new(Reason::DeletionProtected, message).about(pool.id.name()).caused_by(error))
            }
            outcome => Ok(outcome?),
        }
    }

    /// As far as the backend tells.
    async fn is_protected(&self, pool: &Pool) -> bool {
        let user_pools = &self.world.user_pools;
        match &pool.made {
            Some(made) => {
                let settings = user_pools.pool_settings(made).await.ok().flatten();
                settings.is_some_and(|settings| settings.deletion_protection)
            }
            None => {
                let found = user_pools.find_pool(&pool.id, &pool.region).await.ok().flatten();
                found.is_some_and(|found| found.is_protected)
            }
        }
    }

    pub async fn pool(&self, id: &PoolId) -> Result<Versioned<Pool>> {
        self.world.records.get(id.as_str()).await?.ok_or_else(|| Error::not_found(id.name()))
    }

    /// See [`World::made`].
    pub async fn made(&self, id: &PoolId) -> Result<Option<MadePool>> {
        self.world.made(id).await
    }
}
