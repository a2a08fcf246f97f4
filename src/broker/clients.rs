//! App clients of tenants: what operators do with them.

mod adoption;
pub(super) mod interactive;
pub(super) mod issuing;
mod retiring;
mod scopes;

use std::sync::Arc;

use super::api::{ClientPatch, ClientView, Listing, NewClient, Page, Revealed, WantedScopes};
use super::journals::Journals;
use super::pools::Pools;
use super::ports::Wanted;
use super::records::shelves::{client_key, tenant_prefix};
use super::records::{Change, Versioned};
use super::world::{Asked, World, check_version, unique_id};
use crate::domain::audit::Call;
use crate::domain::client::{Client, ClientState, DEFAULT_TOKEN_VALIDITY, RotationPolicy};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{ClientName, SecretName, TenantId};
use crate::domain::interactive::{InteractiveSettings, StandardScope};
use crate::domain::journal::{Journal, Task};
use crate::domain::scope::ScopeSet;
use crate::domain::tenant::{Isolation, Tenant};
use interactive::{check_kind, enter, shares_accounts};
use issuing::next_rotation;
use scopes::check_scope_changes;

pub struct Clients {
    pub(super) world: Arc<World>,
    pools: Arc<Pools>,
    journals: Arc<Journals>,
}

impl Clients {
    pub fn new(world: Arc<World>, pools: Arc<Pools>, journals: Arc<Journals>) -> Self {
        Clients { world, pools, journals }
    }

    /// Writes the client down and carries its issuing on. One that fails goes on in the background: the client is then
    /// answered as `Creating`, with the reason.
    pub async fn create(&self, call: &Call, new: NewClient, validate_only: bool) -> Result<ClientView> {
        let name = ClientName::new(new.tenant.clone(), new.id.clone());
        if let Some(view) = self.world.settle(call, || self.try_create(call, &name, &new, validate_only)).await? {
            return Ok(view);
        }
        let _ = self.journals.run(Task::IssueClient(name.clone())).await;
        self.get(&name).await
    }

    /// `None` once it is written down.
    async fn try_create(
        &self,
        call: &Call,
        name: &ClientName,
        new: &NewClient,
        validate_only: bool,
    ) -> Result<Option<ClientView>> {
        let receipt = match self.world.asked(call).await? {
            Asked::Afresh(receipt) => receipt,
            Asked::Again { resource, .. } => {
                return self.get(&ClientName::parse("request_id", &resource)?).await.map(Some);
            }
        };
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(new.tenant.as_str()).await?;
        let tenant = tenant.ok_or_else(|| Error::not_found(new.tenant.name()))?;
        tenant.check_active()?;
        if self.world.records.get::<Client>(&client_key(name)).await?.is_some() {
            return Err(Error::already_exists(name));
        }
        if new.interactive.is_none() || !new.scopes.is_empty() {
            self.check_scopes(&new.scopes).await?;
        }
        let _turn = self.pools.place_in_turn().await;
        let place = match tenant.isolation {
            Isolation::AppClient => self.pools.place_shared(Some(&tenant.pool)).await?,
            Isolation::UserPool => self.pools.place_own(&tenant.pool).await?,
        };
        let now = self.world.now();
        let client = Client {
            name: name.clone(),
            uid: unique_id()?,
            display_name: new.display_name.clone(),
            state: ClientState::Creating,
            labels: new.labels.clone(),
            scopes: new.scopes.clone(),
            scopes_version: 0,
            access_token_validity: new.access_token_validity.unwrap_or(DEFAULT_TOKEN_VALIDITY),
            rotation: match &new.interactive {
                None => new.rotation.unwrap_or_default(),
                Some(_) => RotationPolicy::none(),
            },
            pool: place.pool().id.clone(),
            secret_name: secret_name(&self.world.settings.secret_prefix, name, &place.pool().region)?,
            secret_readers: new.secret_readers.clone(),
            app_client: None,
            replaced: Vec::new(),
            token_epoch: 0,
            imported: false,
            applied: false,
            interactive: new.interactive.clone(),
            revoked_before: None,
            rotate_time: None,
            next_rotate_time: None,
            create_time: now,
            update_time: now,
        };
        let housed = match &new.interactive {
            Some(settings) => {
                self.check_interactive(&tenant, &client, settings).await?;
                Some(self.housed(&tenant, &client.pool).await?)
            }
            None => None,
        };
        if validate_only {
            let (pool, state_reason, shares_accounts) = (None, String::new(), shares_accounts(&client, &tenant));
            return Ok(Some(ClientView { client, version: 0, pool, state_reason, shares_accounts }));
        }
        // The tenant may be deleted or the scopes may go while this is decided: then nothing is written.
        let mut change = Change::because(call.event(now, name)).create(&client).create(&Journal::new(
            Task::IssueClient(name.clone()),
            call,
            now,
        ));
        change = match &housed {
            Some(record) => enter(&self.world, change.update(tenant.version, record), name).await?,
            None => change.require(&tenant),
        };
        change = place.keep(change, 1);
        change = self.use_scopes(change, name, &ScopeSet::default(), &new.scopes).await?;
        self.world.records.commit(receipt.file(change, name)).await?;
        Ok(None)
    }

    pub async fn get(&self, name: &ClientName) -> Result<ClientView> {
        let client = self.stored(name).await?;
        self.seen(client).await
    }

    /// In order of names; of all tenants when `tenant` is `None`.
    pub async fn list(&self, tenant: Option<&TenantId>, page: Page) -> Result<Listing<ClientView>> {
        if let Some(tenant) = tenant
            && self.world.records.view::<Tenant>(tenant.as_str()).await?.is_none()
        {
            return Err(Error::not_found(tenant.name()));
        }
        let prefix = tenant.map(tenant_prefix).unwrap_or_default();
        let listing = self.world.records.list::<Client>(&prefix, &page).await?;
        let mut items = Vec::with_capacity(listing.items.len());
        for client in listing.items {
            items.push(self.seen(client).await?);
        }
        Ok(Listing { items, next: listing.next })
    }

    pub async fn update(
        &self,
        call: &Call,
        name: &ClientName,
        patch: ClientPatch,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<ClientView> {
        let client = self.world.settle(call, || self.try_update(call, name, &patch, version, validate_only)).await?;
        if validate_only {
            return self.seen(client).await;
        }
        // Waits for nothing where neither the app client nor the secret need change: there is no journal then.
        self.journals.run(Task::ApplyClient(name.clone())).await?;
        self.get(name).await
    }

    async fn try_update(
        &self,
        call: &Call,
        name: &ClientName,
        patch: &ClientPatch,
        version: Option<u64>,
        validate_only: bool,
    ) -> Result<Versioned<Client>> {
        let client = self.stored(name).await?;
        let Asked::Afresh(receipt) = self.world.asked(call).await? else {
            return Ok(client);
        };
        check_version(version, client.version, name)?;
        self.tenant_of(&client).await?.check_not_deleting()?;
        client.check_active()?;
        check_kind(&client, patch)?;
        if let Some(WantedScopes { resource, standard }) = &patch.scopes {
            StandardScope::check("client.scopes", standard.iter().copied())?;
            if client.interactive.is_none() || !resource.is_empty() {
                self.check_scopes(resource).await?;
            }
            check_scope_changes(&client.scopes, resource)?;
        }
        let now = self.world.now();
        let old = client.value.clone();
        let mut record = Client {
            display_name: patch.display_name.clone().unwrap_or(old.display_name),
            labels: patch.labels.clone().unwrap_or(old.labels),
            scopes: patch.scopes.as_ref().map_or(old.scopes, |scopes| scopes.resource.clone()),
            interactive: with_scopes(patch.interactive.clone().or(old.interactive), &client, patch),
            access_token_validity: patch.access_token_validity.unwrap_or(old.access_token_validity),
            rotation: patch.rotation.unwrap_or(old.rotation),
            secret_readers: patch.secret_readers.clone().unwrap_or(old.secret_readers),
            update_time: now,
            ..client.value.clone()
        };
        if record.rotation != client.rotation && (client.next_rotate_time.is_some() || client.rotation.disabled) {
            let jitter = self.world.settings.rotation.jitter_percent;
            record.next_rotate_time =
                next_rotation(&record, client.rotate_time.unwrap_or(now), jitter).map(|time| time.max(now));
        }
        let tenant = self.tenant_for(&record, &client).await?;
        if record.scopes != client.scopes {
            record.scopes_version = client.scopes_version.wrapping_add(1);
        }
        let has_to_be_applied = record.scopes != client.scopes
            || record.access_token_validity != client.access_token_validity
            || record.secret_readers != client.secret_readers
            || record.interactive != client.interactive;
        if validate_only {
            return Ok(Versioned { value: record, version: client.version });
        }
        let mut change = Change::because(call.event(now, name));
        if has_to_be_applied {
            record.applied = false;
            change = self.world.with_journal(change, Task::ApplyClient(name.clone()), call).await?;
            change = self.use_scopes(change, name, &client.scopes, &record.scopes).await?;
        }
        change = change.update(client.version, &record);
        change = tenant.iter().fold(change, |change, tenant| change.update(tenant.version, &tenant.value));
        self.world.records.commit(receipt.file(change, name)).await?;
        Ok(client)
    }

    /// From the moment this is written down the client's tokens are refused. The rest is carried on before this
    /// answers, and goes on in the background if it fails.
    pub async fn delete(&self, call: &Call, name: &ClientName, version: Option<u64>) -> Result<()> {
        self.world
            .settle(call, || async {
                // Before the client is read: when it is gone because of this very request, that is success.
                let Asked::Afresh(receipt) = self.world.asked(call).await? else { return Ok(()) };
                let client = self.stored(name).await?;
                check_version(version, client.version, name)?;
                if client.state == ClientState::Deleting {
                    return self.world.nothing_done(receipt, name).await;
                }
                let now = self.world.now();
                let record = Client {
                    state: ClientState::Deleting,
                    next_rotate_time: None,
                    update_time: now,
                    ..client.value.clone()
                };
                let change = Change::because(call.event(now, name))
                    .update(client.version, &record)
                    .create(&Journal::new(Task::RetireClient(name.clone()), call, now));
                self.world.records.commit(receipt.file(change, name)).await
            })
            .await?;
        // What fails here goes on in the background; the client is refused everything already.
        let _ = self.journals.run(Task::RetireClient(name.clone())).await;
        Ok(())
    }

    /// The current secret itself. The event is on record before the secret is read.
    pub async fn reveal(&self, call: &Call, name: &ClientName, reason: &str) -> Result<Revealed> {
        if !self.world.settings.reveal_secrets {
            return Err(Error::new(Reason::RevealDisabled, "this broker reveals no secrets").about(name));
        }
        let client = self.stored(name).await?;
        client.check_machine()?;
        self.tenant_of(&client).await?.check_active()?;
        client.check_active()?;
        let event = call.event(self.world.now(), name).detail(reason);
        self.world.put_on_record(event).await?;
        let read = self.world.vault.read(&client.secret_name, Wanted::Current).await?;
        let document = read.ok_or_else(|| Error::internal("reading a current secret", "the vault has none"))?;
        Ok(Revealed { document, next_rotate_time: client.next_rotate_time })
    }

    async fn stored(&self, name: &ClientName) -> Result<Versioned<Client>> {
        self.world.records.get(&client_key(name)).await?.ok_or_else(|| Error::not_found(name))
    }

    /// A client's tenant is there as long as the client is. As the registry has it: another broker may have suspended it a
    /// moment ago.
    async fn tenant_of(&self, client: &Client) -> Result<Versioned<Tenant>> {
        let tenant = self.world.records.get(client.name.tenant.as_str()).await?;
        tenant.ok_or_else(|| Error::not_found(client.name.tenant.name()))
    }

    /// The tenant, where it has a say in what becomes of a client that people sign in with, and says yes.
    async fn tenant_for(&self, record: &Client, client: &Client) -> Result<Option<Versioned<Tenant>>> {
        // All that its app client is made of: whoever brings that up for the tenant is to find out.
        let has_changed = record.interactive != client.interactive
            || record.scopes != client.scopes
            || record.access_token_validity != client.access_token_validity;
        let Some(settings) = record.interactive.as_ref().filter(|_| has_changed) else { return Ok(None) };
        let tenant = self.tenant_of(record).await?;
        self.check_interactive(&tenant, record, settings).await?;
        Ok(Some(tenant))
    }

    async fn seen(&self, client: Versioned<Client>) -> Result<ClientView> {
        // The tenant may go while its clients are listed.
        let tenant = match client.interactive {
            Some(_) => self.world.records.view::<Tenant>(client.name.tenant.as_str()).await?,
            None => None,
        };
        let shares_accounts = tenant.is_some_and(|tenant| shares_accounts(&client, &tenant));
        let pool = self.pools.made(&client.pool).await?;
        let state_reason = match client.state {
            ClientState::Creating => self.journals.why_unfinished(&Task::IssueClient(client.name.clone())).await?,
            ClientState::Deleting => self.journals.why_unfinished(&Task::RetireClient(client.name.clone())).await?,
            ClientState::Active => String::new(),
        };
        let Versioned { value: mut client, version } = client;
        let now = self.world.now();
        client.replaced.retain(|replaced| now < replaced.forget_time);
        Ok(ClientView { client, version, pool, state_reason, shares_accounts })
    }
}

/// The settings with the standard scopes that the client shall have.
fn with_scopes(
    settings: Option<InteractiveSettings>,
    client: &Client,
    patch: &ClientPatch,
) -> Option<InteractiveSettings> {
    let wanted = patch.scopes.as_ref().map(|scopes| &scopes.standard);
    let had = client.interactive.as_ref().map(|settings| &settings.standard_scopes);
    let standard_scopes = wanted.or(had).cloned().unwrap_or_default();
    settings.map(|settings| InteractiveSettings { standard_scopes, ..settings })
}

/// A secret stays where its pool is, and its name says where that is: `…/orders@eu-west-1`, nothing for the broker's own
/// Region.
fn secret_name(prefix: &str, name: &ClientName, region: &str) -> Result<SecretName> {
    let at = if region.is_empty() { "" } else { "@" };
    SecretName::parse("secret_name", &format!("{prefix}/{name}{at}{region}"))
}
