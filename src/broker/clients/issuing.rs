//! Issuing and changing an app client, as steps that may be repeated from the start.
//!
//! The secret is generated here and written to the vault before Cognito hears of it: whatever fails after that, its
//! value is not lost. Creating an app client is the one call that cannot be repeated, so the journal says beforehand
//! that it may have happened, and whoever finds that said looks for the app client by its name.
//!
//! A backend that chooses the secret itself says it once. It goes to the vault before the app client is written down;
//! an app client that is found without that is deleted, since nobody can know its secret and nobody uses it yet.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::broker::api::Page;
use crate::broker::pools::Pools;
use crate::broker::ports::{AppClientSpec, Fault, Label, SecretDocument, Wanted};
use crate::broker::records::shelves::client_key;
use crate::broker::records::{Change, Versioned};
use crate::broker::world::{World, new_secret};
use crate::domain::client::{Client, ClientState, Owner};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{AppClientId, ClientName, SecretName, VersionId};
use crate::domain::journal::{Journal, Progress};
use crate::domain::pool::MadePool;
use crate::domain::rotation::{AppClient, Candidate, Credential, HeldSecret};
use crate::domain::secret::ClientSecret;

/// Rotations remembered for a client, the latest.
pub const MAX_ROTATIONS_KEPT: usize = 20;
/// All that are remembered, with room for those that are not over and so cannot be forgotten.
pub const ALL_ROTATIONS: Page = Page { after: None, size: MAX_ROTATIONS_KEPT + 8 };

pub struct Issuing {
    pub(super) world: Arc<World>,
    pub(super) pools: Arc<Pools>,
}

impl Issuing {
    pub fn new(world: Arc<World>, pools: Arc<Pools>) -> Self {
        Issuing { world, pools }
    }

    /// Makes the app client with its first secret, proves that it gets a token, makes the client active.
    pub async fn issue(&self, journal: &Versioned<Journal>, name: &ClientName) -> Result<Progress> {
        let Some(client) = self.client(name).await?.filter(|client| client.state == ClientState::Creating) else {
            return self.strike(journal).await;
        };
        let pool = self.pools.ready(&client.pool, &journal.cause).await?;
        if let Some(settings) = &client.interactive {
            return self.issue_interactive(journal, &client, settings, &pool).await;
        }
        match &client.app_client {
            None => self.make(journal, &client, &pool).await,
            Some(app_client) => self.activate(journal, &client, &pool, app_client).await,
        }
    }

    async fn make(
        &self,
        journal: &Versioned<Journal>,
        client: &Versioned<Client>,
        pool: &MadePool,
    ) -> Result<Progress> {
        let first = version_of(client, "first");
        let draft = document(client, pool, None, new_secret()?);
        self.world.vault.put(&client.secret_name, &first, &draft).await?;
        let staged = self.read(client, &first).await?;

        let spec = spec_of(client);
        let left = match journal.attempted {
            true => self.world.user_pools.find_app_client(pool, &spec.marker).await?,
            false => {
                let record = Journal { attempted: true, ..journal.value.clone() };
                self.world.records.commit(Change::housekeeping().update(journal.version, &record)).await?;
                None
            }
        };
        let app_client = match left {
            Some(left) if self.is_secret_known(client, pool, &left, &staged.client_secret).await? => left,
            Some(left) => return self.discard(journal, client, pool, &left).await,
            None => {
                let made = self.world.user_pools.create_app_client(pool, &spec, &staged.client_secret).await;
                let made = made.map_err(|error| self.pools.app_client_refused(&client.pool, error))?;
                if let Some(assigned) = made.assigned {
                    let content = document(client, pool, Some(made.id.clone()), assigned);
                    self.world.vault.stage(&client.secret_name, &whole_of(client, &made.id), &content).await?;
                }
                made.id
            }
        };

        let now = self.world.now();
        let owner = Owner::new(&pool.issuer, &app_client, client);
        let record = Client { app_client: Some(app_client.clone()), ..client.value.clone() };
        let event = journal.cause.doing("keyward.issue/create-app-client").event(now, &client.name);
        let change = Change::because(event.detail(app_client.as_str())).update(client.version, &record).create(&owner);
        if let Err(error) = self.world.records.commit(change).await {
            if error.reason() == Reason::ConcurrentChange {
                self.take_back(client, pool, &app_client).await?;
            }
            return Err(error);
        }
        Ok(Progress::More)
    }

    /// Whether the vault has the secret of an app client that an earlier run made: the one that the backend chose, or
    /// the one that it was to be made with.
    async fn is_secret_known(
        &self,
        client: &Client,
        pool: &MadePool,
        app_client: &AppClientId,
        drafted: &ClientSecret,
    ) -> Result<bool> {
        let whole = whole_of(client, app_client);
        let assigned = self.world.vault.read(&client.secret_name, Wanted::Version(&whole)).await?;
        Ok(assigned.is_some() || self.world.user_pools.took_secret(pool, app_client, drafted).await?)
    }

    /// Deletes an app client whose secret is lost. Nobody who saw the client before this can write it down any more.
    async fn discard(
        &self,
        journal: &Journal,
        client: &Versioned<Client>,
        pool: &MadePool,
        app_client: &AppClientId,
    ) -> Result<Progress> {
        let event = journal.cause.doing("keyward.issue/discard-app-client").event(self.world.now(), &client.name);
        let change = Change::because(event.detail(app_client.as_str())).update(client.version, &client.value);
        self.world.records.commit(change).await?;
        self.world.user_pools.delete_app_client(pool, app_client).await?;
        Ok(Progress::More)
    }

    /// Deletes an app client that could not be written down because another broker was faster, unless it is the one
    /// that was written down, or may be yet. Whoever deletes its client may have looked for it before it was there.
    pub(super) async fn take_back(&self, client: &Client, pool: &MadePool, app_client: &AppClientId) -> Result<()> {
        let now = self.client(&client.name).await?.filter(|now| now.uid == client.uid);
        let is_kept = |now: Versioned<Client>| match &now.app_client {
            Some(known) => known == app_client,
            None => now.state == ClientState::Creating,
        };
        if now.is_some_and(is_kept) {
            return Ok(());
        }
        self.world.user_pools.delete_app_client(pool, app_client).await?;
        if client.interactive.is_some() {
            return Ok(());
        }
        // Where the backend chose its secret, that was staged, and nobody else would take the label off.
        Ok(self.world.vault.clear(&client.secret_name, Label::Pending, &whole_of(client, app_client)).await?)
    }

    async fn activate(
        &self,
        journal: &Versioned<Journal>,
        client: &Versioned<Client>,
        pool: &MadePool,
        app_client: &AppClientId,
    ) -> Result<Progress> {
        let whole = whole_of(client, app_client);
        // The first version has no label once the whole one is current, and so may be gone.
        let secret = match self.world.vault.read(&client.secret_name, Wanted::Version(&whole)).await? {
            Some(document) => document.client_secret,
            None => self.read(client, &version_of(client, "first")).await?.client_secret,
        };
        let content = document(client, pool, Some(app_client.clone()), secret.clone());
        self.world.vault.put(&client.secret_name, &whole, &content).await?;
        leave_current(&self.world, &client.secret_name, &whole).await?;

        set_readers(&self.world, client).await?;
        if client.imported {
            self.bring_up(client, pool, app_client).await?;
        }

        let registered = self.world.user_pools.list_secrets(pool, app_client).await?;
        let [secret_id, ..] = registered.as_slice() else {
            return Err(Error::internal("listing a new app client's secrets", "there is none"));
        };
        let granted =
            self.world.token_endpoint.fetch(pool, app_client, &secret, &client.scopes).await.map_err(|error| {
                match error.fault {
                    // A new app client may take a while to be known everywhere.
                    Fault::InvalidClient => {
                        let message = format!("{} gets no token yet", client.name);
                        Error::new(Reason::UpstreamUnavailable, message)
                            .retry_after(Duration::from_secs(1))
                            .caused_by(error)
                    }
                    _ => error.into(),
                }
            })?;
        if let Some(scope) = client.scopes.first_missing_in(&granted.scopes) {
            let message = format!("the token endpoint did not grant {scope}");
            return Err(Error::new(Reason::ScopeNotGranted, message));
        }

        let now = self.world.now();
        let active = Client {
            state: ClientState::Active,
            applied: true,
            rotate_time: Some(now),
            next_rotate_time: next_rotation(client, now, self.world.settings.rotation.jitter_percent),
            update_time: now,
            ..client.value.clone()
        };
        let app_client = AppClient { pool: client.pool.clone(), id: app_client.clone() };
        let current = HeldSecret { app_client: Some(app_client), secret: secret_id.clone(), version: whole };
        let credential = Credential::new(client.name.clone(), current);
        let event = journal.cause.doing("keyward.issue/activate").event(now, &client.name);
        let change = Change::because(event)
            .update(client.version, &active)
            .put(&credential, self.version_of_credential(&client.name).await?)
            .delete(journal);
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    /// Applies what was asked for beside the import to the app client.
    async fn bring_up(&self, client: &Client, pool: &MadePool, app_client: &AppClientId) -> Result<()> {
        let seen = self.world.user_pools.describe_app_client(pool, app_client).await?;
        let is_as_wanted = seen.is_some_and(|seen| {
            seen.scopes == client.scopes && seen.access_token_validity == client.access_token_validity
        });
        if !is_as_wanted {
            self.world.user_pools.update_app_client(pool, app_client, &spec_of(client)).await?;
        }
        Ok(())
    }

    /// Brings scopes and token validity up to the client's: of its app client, and of one that is to replace it; and the
    /// secret's readers. An app client that was replaced stays as it is.
    pub async fn apply(&self, journal: &Versioned<Journal>, name: &ClientName) -> Result<Progress> {
        let Some(client) = self.client(name).await?.filter(|client| client.state == ClientState::Active) else {
            return self.strike(journal).await;
        };
        if let Some(settings) = &client.interactive {
            return self.apply_interactive(journal, &client, settings).await;
        }
        let credential: Option<Versioned<Credential>> = self.world.records.get(&client_key(name)).await?;
        let pool = self.pools.ready(&client.pool, &journal.cause).await?;
        if let Some(app_client) = &client.app_client {
            self.world.user_pools.update_app_client(&pool, app_client, &spec_of(&client)).await?;
        }
        let candidate = credential.as_ref().and_then(|credential| credential.candidate.as_ref());
        if let Some(new) = candidate.and_then(Candidate::new_app_client) {
            let pool = self.pools.ready(&new.pool, &journal.cause).await?;
            self.world.user_pools.update_app_client(&pool, &new.id, &spec_of(&client)).await?;
        }
        set_readers(&self.world, &client).await?;
        let record = Client { applied: true, ..client.value.clone() };
        let event = journal.cause.doing("keyward.client/apply").event(self.world.now(), name);
        let mut change = Change::because(event).update(client.version, &record).delete(journal);
        // Nobody has recorded another app client meanwhile.
        change = credential.iter().fold(change, |change, credential| change.require(credential));
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    async fn read(&self, client: &Client, version: &VersionId) -> Result<SecretDocument> {
        let read = self.world.vault.read(&client.secret_name, Wanted::Version(version)).await?;
        read.ok_or_else(|| Error::internal("reading a secret that was just written", "the vault does not have it"))
    }

    async fn version_of_credential(&self, name: &ClientName) -> Result<Option<u64>> {
        Ok(self.world.records.get::<Credential>(&client_key(name)).await?.map(|credential| credential.version))
    }

    pub(super) async fn client(&self, name: &ClientName) -> Result<Option<Versioned<Client>>> {
        self.world.records.get(&client_key(name)).await
    }

    pub(super) async fn strike(&self, journal: &Versioned<Journal>) -> Result<Progress> {
        self.world.records.commit(Change::housekeeping().delete(journal)).await?;
        Ok(Progress::Done)
    }
}

/// Leaves `AWSCURRENT` on `version` and no other label: not a draft's, nor what a deleted one of this name left.
pub async fn leave_current(world: &World, name: &SecretName, version: &VersionId) -> Result<()> {
    let mut labels = world.vault.labels(name).await?.unwrap_or_default();
    if let Some(current) = labels.current.filter(|current| current != version) {
        world.vault.promote(name, &current, version).await?;
        labels.previous = Some(current);
    }
    // Also the label that a run which stopped after the promotion has left: what is issued now has no past.
    if let Some(previous) = labels.previous {
        world.vault.clear(name, Label::Previous, &previous).await?;
    }
    if let Some(pending) = labels.pending {
        world.vault.clear(name, Label::Pending, &pending).await?;
    }
    Ok(())
}

/// Lets exactly the client's readers read its secret; also with none, since a secret of this name may have had some.
pub async fn set_readers(world: &World, client: &Client) -> Result<()> {
    match world.vault.set_readers(&client.secret_name, &client.secret_readers).await {
        // Where nobody is named, it is not for whom.
        Err(error) if error.is(Fault::Refused) && !client.secret_readers.is_empty() => {
            Err(Error::invalid("client.secret_readers", "the vault does not take these principals").caused_by(error))
        }
        other => Ok(other?),
    }
}

pub fn spec_of(client: &Client) -> AppClientSpec {
    AppClientSpec {
        marker: client.marker(),
        scopes: client.scopes.clone(),
        access_token_validity: client.access_token_validity,
    }
}

/// What the vault holds for a client.
pub fn document(
    client: &Client,
    pool: &MadePool,
    app_client: Option<AppClientId>,
    secret: ClientSecret,
) -> SecretDocument {
    SecretDocument {
        client_id: app_client,
        client_secret: secret,
        token_endpoint: pool.token_endpoint.clone(),
        issuer: pool.issuer.to_string(),
        scopes: client.scopes.to_string(),
    }
}

/// A version's id, the same whenever it is asked for: what makes writing it twice one write. 64 hexadecimal
/// characters, within Secrets Manager's bounds for a `ClientRequestToken` (32 to 64).
pub fn version_of(client: &Client, purpose: &str) -> VersionId {
    let text = format!("keyward secret version\n{}\n{}\n{purpose}", client.name, client.uid);
    let digest = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
    VersionId::from_digest(&digest)
}

/// The version of a client's first whole document. It hangs on the app client, since its secret may be one that this app
/// client alone has.
fn whole_of(client: &Client, app_client: &AppClientId) -> VersionId {
    version_of(client, &format!("whole {app_client}"))
}

/// When the next scheduled rotation starts: a period after the last, earlier by a share of it that hangs on the name,
/// so that clients which were issued together are not rotated together.
pub fn next_rotation(client: &Client, last: Timestamp, jitter_percent: u32) -> Option<Timestamp> {
    if client.rotation.disabled {
        return None;
    }
    let name = client.name.to_string();
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let share = hash.as_ref().iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let early = f64::from(jitter_percent) / 100.0 * f64::from(share) / f64::from(u32::MAX);
    last.checked_add(client.rotation.period.mul_f64(1.0 - early)).ok()
}
