//! A tenant's identity providers: in its pool, what is secret of them in the vault, and their documents on a shelf.
//!
//! The tenant's record says what there shall be, and is written before anything is done about it; a journal brings the
//! pool up to it. What is in the pool is found by its name, which says whose it is ([`ProviderName`]), so what a tenant
//! has given up is found after a crash too, and another tenant's is never touched.
//!
//! In this order, so that no app client ever names what is not there, and none can sign people in by what is to go:
//! providers are made and changed, the tenant's app clients for people are brought up to what it has, and only then is
//! taken away what it has no longer.
//!
//! An OpenID Connect client's secret is staged in the vault before the record names its version, and becomes current
//! afterwards. It goes to Cognito and appears in no answer, event or error.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::broker::api::Page;
use crate::broker::clients::interactive::{interactive_clients, interactive_spec};
use crate::broker::clients::issuing::leave_current;
use crate::broker::pools::{Place, Pools};
use crate::broker::ports::{
    Fault, OidcSpec, PortError, ProtocolSpec, ProviderSpec, SamlSource, SamlSpec, SecretDocument, Wanted,
};
use crate::broker::records::shelves::{ProviderDocument, client_key, document_key, tenant_prefix};
use crate::broker::records::{Change, Versioned};
use crate::broker::world::World;
use crate::domain::client::Client;
use crate::domain::error::{Error, Kind, Reason, Result};
use crate::domain::id::{PoolId, SecretName, TenantId, VersionId};
use crate::domain::journal::{Journal, Progress};
use crate::domain::pool::{MadePool, Pool};
use crate::domain::provider::{
    IdentityProvider, MAX_PROVIDERS_PER_POOL, ProviderId, ProviderName, ProviderProtocol, SamlMetadata,
};
use crate::domain::tenant::{Tenant, TenantState};

/// Shared pools that are asked for room before another one is made.
const POOLS_ASKED: usize = 5;

pub struct Providers {
    pub(super) world: Arc<World>,
    pub(super) pools: Arc<Pools>,
}

impl Providers {
    pub fn new(world: Arc<World>, pools: Arc<Pools>) -> Self {
        Providers { world, pools }
    }

    /// Brings the providers in the tenant's pool, and the app clients that name them, up to the tenant's record.
    pub async fn apply(&self, journal: &Versioned<Journal>, id: &TenantId) -> Result<Progress> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let Some(tenant) = tenant else {
            self.world.records.commit(Change::housekeeping().delete(journal)).await?;
            return Ok(Progress::Done);
        };
        let pool = self.pools.ready(&tenant.pool, &journal.cause).await?;
        // With its clients on their way out there is nobody left to offer anything to.
        if tenant.state != TenantState::Deleting {
            self.bring_up(&tenant, &pool).await?;
            self.offer(&tenant, &pool).await?;
        }
        self.take_away(&tenant, Some(&pool), &tenant.identity_providers).await?;
        let event = journal.cause.doing("keyward.providers/apply").event(self.world.now(), id.name());
        // With the providers that the tenant has now.
        self.world.records.commit(Change::because(event).require(&tenant).delete(journal)).await?;
        Ok(Progress::Done)
    }

    /// Makes and changes what the tenant has.
    pub async fn bring_up(&self, tenant: &Tenant, pool: &MadePool) -> Result<()> {
        for provider in &tenant.identity_providers {
            let spec = self.spec_with_secret(tenant, provider).await?;
            self.world
                .user_pools
                .put_identity_provider(pool, &spec)
                .await
                .map_err(|error| refused(&provider.id, error))?;
            if let ProviderProtocol::Oidc(oidc) = &provider.protocol {
                let name = self.secret_name(tenant, &provider.id).await?;
                leave_current(&self.world, &name, &oidc.secret).await?;
            }
        }
        Ok(())
    }

    /// Brings the tenant's app clients for people up to the providers that it has.
    async fn offer(&self, tenant: &Tenant, pool: &MadePool) -> Result<()> {
        for client in interactive_clients(&self.world, &tenant.id).await? {
            let _client = self.world.targets.lock(client.name.to_string()).await;
            let client: Option<Versioned<Client>> = self.world.records.get(&client_key(&client.name)).await?;
            // One that is on its way out may be there for long, and what it names could not be taken away.
            let Some(client) = client else { continue };
            let (Some(settings), Some(app_client)) = (&client.interactive, &client.app_client) else { continue };
            let spec = interactive_spec(&client, settings, tenant);
            match self.world.user_pools.update_interactive_client(pool, app_client, &spec).await {
                // Somebody has deleted it. A reconciliation tells of that.
                Err(error) if error.is(Fault::NotFound) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Takes everything away that the tenant has or had, but for `kept`: from its pool, where there is one, and from the
    /// vault.
    pub async fn take_away(&self, tenant: &Tenant, pool: Option<&MadePool>, kept: &[IdentityProvider]) -> Result<()> {
        if let Some(pool) = pool {
            for name in self.names(pool).await? {
                let is_theirs = ProviderName::read(&name).is_some_and(|read| read.is_of(&tenant.id, &tenant.uid));
                if is_theirs && !kept.iter().any(|provider| provider.name == name) {
                    self.world.user_pools.delete_identity_provider(pool, &name).await?;
                }
            }
        }
        let prefix = format!("{}/", secrets_prefix(&self.world.settings.secret_prefix, &tenant.id));
        let window = self.world.settings.rotation.recovery_window;
        let mut in_use = BTreeSet::new();
        for provider in kept.iter().filter(|provider| has_secret(provider)) {
            in_use.insert(self.secret_name(tenant, &provider.id).await?);
        }
        // A listing may be some minutes behind, so what the record tells of goes without one.
        for provider in tenant.identity_providers.iter().filter(|provider| has_secret(provider)) {
            let secret = self.secret_name(tenant, &provider.id).await?;
            if !in_use.contains(&secret) {
                self.world.vault.schedule_deletion(&secret, window).await?;
            }
        }
        let mut after = None;
        loop {
            let page = self.world.vault.list(&prefix, after.as_deref()).await?;
            for secret in page.items.iter().filter(|secret| !in_use.contains(*secret)) {
                self.world.vault.schedule_deletion(secret, window).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The tenant's documents go with it.
    pub async fn forget_documents(&self, tenant: &TenantId, change: Change) -> Result<Change> {
        let all = Page { after: None, size: 50 };
        let documents = self.world.records.list::<ProviderDocument>(&tenant_prefix(tenant), &all).await?.items;
        Ok(documents.iter().fold(change, |change, document| change.delete(document)))
    }

    /// The provider as its pool shall have it. Its secret is brought back where it is to be deleted: whoever has seen to that
    /// had an older record before them, as a broker that has stalled, and took for nobody's what was just staged.
    async fn spec_with_secret(&self, tenant: &Tenant, provider: &IdentityProvider) -> Result<ProviderSpec> {
        if let Some(spec) = self.spec(tenant, provider).await? {
            return Ok(spec);
        }
        let name = self.secret_name(tenant, &provider.id).await?;
        if self.world.vault.restore(&name).await? {
            tracing::warn!(tenant = %tenant.id, provider = %provider.id, "the secret of an identity provider was to be deleted");
        }
        let lost = || Error::internal("reading an identity provider's secret", "the vault does not have it");
        self.spec(tenant, provider).await?.ok_or_else(lost)
    }

    /// The provider as its pool shall have it, with what is secret of it; `None` where the vault does not have that.
    pub(in crate::broker) async fn spec(
        &self,
        tenant: &Tenant,
        provider: &IdentityProvider,
    ) -> Result<Option<ProviderSpec>> {
        let protocol = match &provider.protocol {
            ProviderProtocol::Oidc(oidc) => {
                let name = self.secret_name(tenant, &provider.id).await?;
                let Some(document) = self.world.vault.read(&name, Wanted::Version(&oidc.secret)).await? else {
                    return Ok(None);
                };
                ProtocolSpec::Oidc(OidcSpec {
                    issuer: oidc.issuer.clone(),
                    client_id: oidc.client_id.clone(),
                    client_secret: document.client_secret,
                    scopes: oidc.scopes.clone(),
                    authorize_url: oidc.authorize_url.clone(),
                    token_url: oidc.token_url.clone(),
                    user_info_url: oidc.user_info_url.clone(),
                    jwks_uri: oidc.jwks_uri.clone(),
                })
            }
            ProviderProtocol::Saml(saml) => {
                let metadata = match &saml.metadata {
                    SamlMetadata::Url(url) => SamlSource::Url(url.clone()),
                    SamlMetadata::Document(digest) => {
                        let key = document_key(&tenant.id, &provider.id);
                        let document: Option<Versioned<ProviderDocument>> = self.world.records.get(&key).await?;
                        // Its record changes together with the tenant's.
                        let document = document.filter(|document| document.digest == *digest).ok_or_else(|| {
                            Error::new(Reason::ConcurrentChange, "the provider's document was changed meanwhile")
                        })?;
                        SamlSource::Document(document.value.document)
                    }
                };
                let (sign_out, encrypted_responses) = (saml.sign_out, saml.encrypted_responses);
                ProtocolSpec::Saml(SamlSpec { metadata, sign_out, encrypted_responses })
            }
        };
        let (name, attribute_mapping) = (provider.name.clone(), provider.attribute_mapping.clone());
        Ok(Some(ProviderSpec { name, protocol, attribute_mapping }))
    }

    /// All names of identity providers in a pool, of which there are 300 at the most.
    pub(in crate::broker) async fn names(&self, pool: &MadePool) -> Result<Vec<String>> {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = self.world.user_pools.list_identity_providers(pool, after.as_deref()).await?;
            names.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(names);
            }
        }
    }

    /// What the secret of a tenant's provider is called. It stays in the Region of the tenant's pool.
    pub(in crate::broker) async fn secret_name(&self, tenant: &Tenant, provider: &ProviderId) -> Result<SecretName> {
        let pool = self.pools.pool(&tenant.pool).await?;
        secret_name(&self.world.settings.secret_prefix, &tenant.id, provider, &pool.region)
    }

    /// A shared pool with room for so many more providers: `home` if it has. Asks a few of them, then begins another. The
    /// caller holds its turn ([`Pools::place_in_turn`]) until the place is written down.
    pub async fn place_shared(&self, home: Option<&PoolId>, more: usize) -> Result<Place> {
        if let Some(home) = home {
            let pool = self.pools.pool(home).await?;
            if self.has_room(&pool, more).await? {
                return Ok(Place::There(pool));
            }
        }
        self.pools.adopt().await?;
        let mut page = Page { after: None, size: 200 };
        let mut asked = 0;
        loop {
            let listing = self.world.records.list::<Pool>("shared-", &page).await?;
            let others = listing.items.into_iter().filter(|pool| Some(&pool.id) != home && self.pools.takes_more(pool));
            for pool in others {
                if asked == POOLS_ASKED {
                    return self.pools.new_shared().await;
                }
                asked += 1;
                if self.has_room(&pool, more).await? {
                    return Ok(Place::There(pool));
                }
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return self.pools.new_shared().await,
            }
        }
    }

    async fn has_room(&self, pool: &Pool, more: usize) -> Result<bool> {
        match &pool.made {
            Some(made) => Ok(self.names(made).await?.len() + more <= MAX_PROVIDERS_PER_POOL),
            None => Ok(true),
        }
    }

    /// Puts secrets into the vault, so that a record may name their versions.
    pub async fn stage(&self, secrets: &[StagedSecret]) -> Result<()> {
        for StagedSecret { name, version, document } in secrets {
            self.world.vault.stage(name, version, document).await?;
        }
        Ok(())
    }

    /// Nothing came of a tenant whose secrets were staged: they go, unless there is such a tenant after all.
    pub async fn take_back(&self, error: &Error, tenant: &TenantId, secrets: &[StagedSecret]) {
        // After these nobody knows whether it was written down, or it is tried again. If it was not, a reconciliation
        // finds the secrets.
        if matches!(error.kind(), Kind::Unavailable | Kind::Internal | Kind::Aborted) {
            return;
        }
        if !matches!(self.world.records.get::<Tenant>(tenant.as_str()).await, Ok(None)) {
            return;
        }
        for StagedSecret { name, .. } in secrets {
            let gone = self.world.vault.schedule_deletion(name, self.world.settings.rotation.recovery_window).await;
            if let Err(error) = gone {
                tracing::warn!(%tenant, %error, "the secret of an identity provider is left in the vault");
            }
        }
    }
}

fn has_secret(provider: &IdentityProvider) -> bool {
    matches!(provider.protocol, ProviderProtocol::Oidc(_))
}

/// What a caller learns of a provider that cannot be had. What the backend says may quote what is secret of it.
fn refused(id: &ProviderId, error: PortError) -> Error {
    match error.fault {
        Fault::Refused => {
            let message = format!("the backend refuses the identity provider {id}; the broker's log has its words");
            Error::new(Reason::BackendRefused, message).with("identity_provider", id).caused_by(error)
        }
        _ => error.into(),
    }
}

/// A secret that is to be in the vault before a record names its version.
pub struct StagedSecret {
    pub name: SecretName,
    pub version: VersionId,
    pub document: SecretDocument,
}

/// `<prefix>/tenants/<tenant>/providers`.
fn secrets_prefix(prefix: &str, tenant: &TenantId) -> String {
    format!("{prefix}/{}/providers", tenant.name())
}

/// As with a client's, the name says where the secret is: nothing for the broker's own Region.
pub fn secret_name(prefix: &str, tenant: &TenantId, provider: &ProviderId, region: &str) -> Result<SecretName> {
    let at = if region.is_empty() { "" } else { "@" };
    let name = format!("{}/{provider}{at}{region}", secrets_prefix(prefix, tenant));
    SecretName::parse("secret_name", &name)
}
