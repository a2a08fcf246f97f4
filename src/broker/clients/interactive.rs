//! Clients that people sign in with: what must hold among those of one tenant, and how their app clients are made and
//! changed.
//!
//! Such a client has no secret. So it has no credential, nothing in the vault, no rotation, and nobody logs in here with
//! it. What a machine's client has and it does not is refused (`CLIENT_KIND_MISMATCH`), and the other way round.
//!
//! All of a tenant's are in one pool, [`Tenant::pool`], because its identity providers are there: a person has one
//! profile, and a provider is made once. Who signs in with one is told by its spec alone, which is made here: exactly
//! the tenant's own providers, and accounts of the pool only where the client offers them or the tenant has no provider.
//!
//! Whatever is decided by looking at several of these records at once (which provider is named, whose the default sign-in
//! is, which pool they are in) writes the tenant's record again, changed or not. So of two such decisions made side by
//! side one finds the other's.

use super::Clients;
use super::issuing::Issuing;
use crate::broker::api::{ClientPatch, Page};
use crate::broker::ports::InteractiveSpec;
use crate::broker::records::shelves::{InteractiveEntry, client_key, tenant_prefix};
use crate::broker::records::{Change, Versioned};
use crate::broker::world::World;
use crate::domain::client::{Client, ClientState, Owner};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{ClientName, PoolId, TenantId};
use crate::domain::interactive::{ClientKind, InteractiveSettings};
use crate::domain::journal::{Journal, Progress};
use crate::domain::pool::MadePool;
use crate::domain::provider::ProviderId;
use crate::domain::tenant::{Isolation, Tenant};

/// The app client that the client asks for, in the pool of its tenant.
pub fn interactive_spec(client: &Client, settings: &InteractiveSettings, tenant: &Tenant) -> InteractiveSpec {
    let is_named = |id| settings.identity_providers.is_empty() || settings.identity_providers.contains(id);
    let providers = tenant.identity_providers.iter().filter(|provider| is_named(&provider.id));
    InteractiveSpec {
        marker: client.marker(),
        scopes: client.scopes.clone(),
        standard_scopes: settings.standard_scopes.clone(),
        access_token_validity: client.access_token_validity,
        id_token_validity: settings.id_token_validity,
        refresh_token_validity: settings.refresh_token_validity,
        callback_urls: settings.callback_urls.iter().cloned().collect(),
        sign_out_urls: settings.sign_out_urls.iter().cloned().collect(),
        providers: providers.map(|provider| provider.name.clone()).collect(),
        native_accounts: offers_native_accounts(settings, tenant),
    }
}

/// Whether accounts of the pool itself may sign in.
fn offers_native_accounts(settings: &InteractiveSettings, tenant: &Tenant) -> bool {
    settings.allow_native_accounts || tenant.identity_providers.is_empty()
}

/// Whether a client offers accounts that tenants share, with a sign-in session that counts for all of them.
pub fn shares_accounts(client: &Client, tenant: &Tenant) -> bool {
    tenant.isolation == Isolation::AppClient
        && client.interactive.as_ref().is_some_and(|settings| offers_native_accounts(settings, tenant))
}

/// All of a tenant's clients that people sign in with. Reads nothing of its other clients, and as many of these as a pool has
/// places for at the most.
pub async fn interactive_clients(world: &World, tenant: &TenantId) -> Result<Vec<Versioned<Client>>> {
    let mut found = Vec::new();
    let mut page = Page { after: None, size: 200 };
    loop {
        let listing = world.records.list::<InteractiveEntry>(&tenant_prefix(tenant), &page).await?;
        for entry in &listing.items {
            let client: Option<Versioned<Client>> = world.records.get(&client_key(&entry.client)).await?;
            found.extend(client.filter(|client| client.kind() == ClientKind::Interactive));
        }
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Adds to `change`, which creates a client that people sign in with, its entry.
pub async fn enter(world: &World, change: Change, client: &ClientName) -> Result<Change> {
    let left: Option<Versioned<InteractiveEntry>> = world.records.get(&client_key(client)).await?;
    Ok(change.put(&InteractiveEntry { client: client.clone() }, left.map(|left| left.version)))
}

/// Adds to `change`, which deletes such a client, that its entry goes too.
pub async fn strike_entry(world: &World, change: Change, client: &ClientName) -> Result<Change> {
    let entry: Option<Versioned<InteractiveEntry>> = world.records.get(&client_key(client)).await?;
    Ok(entry.iter().fold(change, |change, entry| change.delete(entry)))
}

/// Fails where a patch has what belongs to the other kind of client.
pub fn check_kind(client: &Client, patch: &ClientPatch) -> Result<()> {
    let mismatch = |field: &str, rule: &str| Err(Error::invalid_because(Reason::ClientKindMismatch, field, rule));
    match client.kind() {
        ClientKind::Machine if patch.interactive.is_some() => {
            mismatch("client.interactive", "is only for a client of kind INTERACTIVE")
        }
        ClientKind::Machine if patch.scopes.as_ref().is_some_and(|scopes| !scopes.standard.is_empty()) => {
            mismatch("client.scopes", "a machine client has scopes of resource servers alone")
        }
        ClientKind::Interactive if patch.rotation.is_some() => {
            mismatch("client.rotation_policy", "is only for a client with a secret")
        }
        ClientKind::Interactive if patch.secret_readers.as_ref().is_some_and(|readers| !readers.is_empty()) => {
            mismatch("client.secret_readers", "is only for a client with a secret")
        }
        ClientKind::Machine | ClientKind::Interactive => Ok(()),
    }
}

impl Clients {
    /// Fails unless a client of these settings, by this name, goes with what else its tenant has.
    pub(super) async fn check_interactive(
        &self,
        tenant: &Tenant,
        client: &Client,
        settings: &InteractiveSettings,
    ) -> Result<()> {
        // People stay in the pool where they are, and so would what is made for them now.
        tenant.check_not_moving()?;
        settings.check_validities(client.access_token_validity).map_err(|error| error.within("client.interactive"))?;
        let is_known = |id: &ProviderId| tenant.identity_providers.iter().any(|provider| provider.id == *id);
        if let Some(id) = settings.identity_providers.iter().find(|id| !is_known(id)) {
            let rule = format!("{} has no identity provider {id}", tenant.id.name());
            return Err(Error::invalid("client.interactive.identity_provider_ids", rule));
        }
        if settings.default_sign_in {
            let others = interactive_clients(&self.world, &tenant.id).await?;
            let is_default = |other: &&Versioned<Client>| {
                other.name != client.name && other.interactive.as_ref().is_some_and(|other| other.default_sign_in)
            };
            if let Some(other) = others.iter().find(is_default) {
                let rule = format!("{} has it, and one client of a tenant can", other.name);
                return Err(Error::invalid("client.interactive.default_sign_in", rule));
            }
        }
        Ok(())
    }

    /// The tenant's record with the pool that its clients for people are in, for one more in `pool`. A tenant that has
    /// neither such a client nor a provider goes where there is room.
    pub(super) async fn housed(&self, tenant: &Tenant, pool: &PoolId) -> Result<Tenant> {
        if *pool != tenant.pool
            && (!tenant.identity_providers.is_empty()
                || !interactive_clients(&self.world, &tenant.id).await?.is_empty())
        {
            let message =
                format!("{} takes no more app clients, and a tenant's people sign in to one pool", tenant.pool.name());
            let limit = self.world.settings.app_clients_per_shared_pool;
            let error = Error::new(Reason::QuotaExceeded, message).about(tenant.pool.name());
            return Err(error.with("quota", "app clients in a shared pool").with("limit", limit));
        }
        Ok(Tenant { pool: pool.clone(), ..tenant.clone() })
    }
}

impl Issuing {
    /// Makes the app client, then makes the client active.
    pub(super) async fn issue_interactive(
        &self,
        journal: &Versioned<Journal>,
        client: &Versioned<Client>,
        settings: &InteractiveSettings,
        pool: &MadePool,
    ) -> Result<Progress> {
        if client.app_client.is_none() {
            return self.make_interactive(journal, client, settings, pool).await;
        }
        let now = self.world.now();
        let active = Client { state: ClientState::Active, applied: true, update_time: now, ..client.value.clone() };
        let event = journal.cause.doing("keyward.issue/activate").event(now, &client.name);
        let change = Change::because(event).update(client.version, &active).delete(journal);
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    async fn make_interactive(
        &self,
        journal: &Versioned<Journal>,
        client: &Versioned<Client>,
        settings: &InteractiveSettings,
        pool: &MadePool,
    ) -> Result<Progress> {
        let tenant = self.tenant_of(&client.name).await?;
        let spec = interactive_spec(client, settings, &tenant);
        let left = match journal.attempted {
            true => self.world.user_pools.find_app_client(pool, &spec.marker).await?,
            false => {
                let record = Journal { attempted: true, ..journal.value.clone() };
                self.world.records.commit(Change::housekeeping().update(journal.version, &record)).await?;
                None
            }
        };
        let app_client = match left {
            // It was made for the tenant as it was then.
            Some(left) => {
                self.world.user_pools.update_interactive_client(pool, &left, &spec).await?;
                left
            }
            None => self.world.user_pools.create_interactive_client(pool, &spec).await?,
        };
        let now = self.world.now();
        let owner = Owner::new(&pool.issuer, &app_client, client);
        let record = Client { app_client: Some(app_client.clone()), ..client.value.clone() };
        let event = journal.cause.doing("keyward.issue/create-app-client").event(now, &client.name);
        let event = event.detail(app_client.as_str());
        // Once it is written down, whoever changes the tenant's providers changes it too; until then nobody else does.
        let change = Change::because(event).update(client.version, &record).create(&owner).require(&tenant);
        if let Err(error) = self.world.records.commit(change).await {
            if error.reason() == Reason::ConcurrentChange {
                self.take_back(client, pool, &app_client).await?;
            }
            return Err(error);
        }
        Ok(Progress::More)
    }

    /// Brings the app client up to the client.
    pub(super) async fn apply_interactive(
        &self,
        journal: &Versioned<Journal>,
        client: &Versioned<Client>,
        settings: &InteractiveSettings,
    ) -> Result<Progress> {
        let tenant = self.tenant_of(&client.name).await?;
        let pool = self.pools.ready(&client.pool, &journal.cause).await?;
        if let Some(app_client) = &client.app_client {
            let spec = interactive_spec(client, settings, &tenant);
            self.world.user_pools.update_interactive_client(&pool, app_client, &spec).await?;
        }
        let record = Client { applied: true, ..client.value.clone() };
        let event = journal.cause.doing("keyward.client/apply").event(self.world.now(), &client.name);
        // With the providers that the tenant has now.
        let change = Change::because(event).update(client.version, &record).require(&tenant).delete(journal);
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    /// A client's tenant is there as long as the client is.
    async fn tenant_of(&self, name: &ClientName) -> Result<Versioned<Tenant>> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(name.tenant.as_str()).await?;
        tenant.ok_or_else(|| Error::not_found(name.tenant.name()))
    }
}
