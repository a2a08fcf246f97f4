//! The steps of a rotation that are about a new app client: to create it, to complete its document, and to delete the
//! one that it replaces, or that nothing came of.
//!
//! Creating an app client cannot be repeated, so each creation has a name of its own and is written down first, place
//! in the pool included. Whoever finds one written down looks for what it made. One that is not found counts as lost:
//! another follows under another name, and once it can no longer happen it is looked for a last time.
//!
//! Where the backend chooses the secret itself, that goes to the vault before the app client is written down, in a
//! version that hangs on the app client's id. An app client that is found without it is condemned.
//!
//! A client that is deleted meanwhile, by another broker, takes with it what is written down. What a creation makes after
//! that is deleted by whoever made it.

use jiff::Timestamp;

use super::rotator::{Rotator, Scene, clear_error};
use crate::broker::clients::issuing::{document, spec_of, version_of};
use crate::broker::pools::Place;
use crate::broker::ports::{AppClientSpec, Fault, NewAppClient, Wanted};
use crate::broker::records::shelves::{client_key, owner_key};
use crate::broker::records::{Change, Versioned};
use crate::broker::world::new_secret;
use crate::domain::client::{Client, ClientState, MAX_TOKEN_VALIDITY, Owner};
use crate::domain::error::{Error, Result};
use crate::domain::id::{AppClientId, PoolId, VersionId};
use crate::domain::journal::Journal;
use crate::domain::pool::{MadePool, Pool};
use crate::domain::rotation::{AppClient, Attempt, Candidate, Credential, Method, Milestone, Replacement};
use crate::domain::tenant::{Isolation, Tenant};

impl Rotator {
    /// Creates the candidate's app client with the drafted secret, or finds what an earlier creation made.
    pub(super) async fn create(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        draft: &VersionId,
    ) -> Result<()> {
        let (candidate, replacement) = replacement_of(scene)?;
        let secret = self.read(scene, draft).await?.client_secret;
        let spec = |attempt: &Attempt| AppClientSpec { marker: attempt.marker.clone(), ..spec_of(&scene.client) };
        if let Some(attempt) = &replacement.attempt {
            let pool = self.pools.ready(&attempt.pool, &journal.cause).await?;
            if let Some(found) = self.world.user_pools.find_app_client(&pool, &attempt.marker).await? {
                let assigned = assigned_of(scene, candidate, &found);
                let kept = self.world.vault.read(&scene.client.secret_name, Wanted::Version(&assigned)).await?;
                if kept.is_none() && !self.world.user_pools.took_secret(&pool, &found, &secret).await? {
                    return self.condemn_created(journal, scene, now, found).await;
                }
                // The client may have been changed since.
                self.world.user_pools.update_app_client(&pool, &found, &spec(attempt)).await?;
                let new = Registered { id: found, assigned: kept.map(|_| assigned) };
                return self.record_app_client(journal, scene, now, scene.credential.clone(), &pool, new).await;
            }
        }

        let marker = scene.client.marker_of(&candidate.rotation, replacement.attempts + 1);
        let turn = self.pools.place_in_turn().await;
        let mut change = Change::housekeeping();
        let pool = match &replacement.attempt {
            // The place is kept already.
            Some(lost) => lost.pool.clone(),
            None => {
                // Whoever moves the tenant meanwhile finds no new app client in the old place afterwards.
                let tenant = self.tenant_of(scene).await?;
                let place = self.place(scene, &tenant).await?;
                change = place.keep(change.require(&tenant), 1);
                place.pool().id.clone()
            }
        };
        let attempt = Attempt { marker, pool, time: now, placed: true };
        let mut credential = scene.credential.clone();
        credential.value.attempt(attempt.clone());
        self.world.records.commit(change.update(credential.version, &credential.value)).await?;
        credential.version += 1;
        drop(turn);

        let pool = self.pools.ready(&attempt.pool, &journal.cause).await?;
        match self.world.user_pools.create_app_client(&pool, &spec(&attempt), &secret).await {
            Ok(made) => {
                let id = made.id.clone();
                let recorded = async {
                    let new = self.keep_assigned(scene, candidate, &pool, made).await?;
                    self.record_app_client(journal, scene, now, credential, &pool, new).await
                };
                let recorded = recorded.await;
                if recorded.is_err() {
                    self.take_back(scene, &pool, &id).await?;
                }
                recorded
            }
            Err(error) => {
                // These say that it has not happened; after any other nobody knows.
                if matches!(
                    error.fault,
                    Fault::Refused | Fault::LimitExceeded | Fault::Throttled | Fault::NotFound | Fault::Unsupported
                ) {
                    credential.value.refused();
                    let change = Change::housekeeping().update(credential.version, &credential.value);
                    let _turn = self.pools.place_in_turn().await;
                    self.world.records.commit(self.keep_places(change, &attempt.pool, -1).await?).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Writes the secret down that the backend chose for a new app client, if it did. It says it only this once.
    async fn keep_assigned(
        &self,
        scene: &Scene,
        candidate: &Candidate,
        pool: &MadePool,
        made: NewAppClient,
    ) -> Result<Registered> {
        let NewAppClient { id, assigned } = made;
        let Some(secret) = assigned else { return Ok(Registered { id, assigned: None }) };
        let version = assigned_of(scene, candidate, &id);
        let content = document(&scene.client, pool, Some(id.clone()), secret);
        self.world.vault.stage(&scene.client.secret_name, &version, &content).await?;
        Ok(Registered { id, assigned: Some(version) })
    }

    /// Deletes an app client that could not be written down, where nobody will find it: its client is gone, or about to go,
    /// and whoever sees to that may have looked for it before it was there.
    async fn take_back(&self, scene: &Scene, pool: &MadePool, made: &AppClientId) -> Result<()> {
        let name = &scene.client.name;
        let client: Option<Versioned<Client>> = self.world.records.get(&client_key(name)).await?;
        let is_in_use = |client: &Client| client.uid == scene.client.uid && client.state != ClientState::Deleting;
        if client.is_some_and(|client| is_in_use(&client)) {
            return Ok(());
        }
        tracing::warn!(client = %name, app_client = %made, "a client was deleted while it was given another app client");
        Ok(self.world.user_pools.delete_app_client(pool, made).await?)
    }

    /// Gives up an app client that an earlier creation made and whose secret is lost. It is deleted once this is written
    /// down: then nobody can record it any more.
    async fn condemn_created(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        found: AppClientId,
    ) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        credential.condemn_created(found.clone());
        let event = journal.cause.doing("keyward.rotation/condemn-app-client").event(now, &scene.client.name);
        let change = Change::because(event.detail(found.as_str()));
        self.world.records.commit(change.update(scene.credential.version, &credential)).await
    }

    async fn tenant_of(&self, scene: &Scene) -> Result<Versioned<Tenant>> {
        let tenant = &scene.client.name.tenant;
        self.world.records.get(tenant.as_str()).await?.ok_or_else(|| Error::not_found(tenant.name()))
    }

    /// Where the new app client goes: to the tenant's own pool, or among the shared ones to that of the old one, or where there
    /// is room. Of a tenant that is being moved that is the new place. The caller holds its turn.
    async fn place(&self, scene: &Scene, tenant: &Tenant) -> Result<Place> {
        match tenant.isolation {
            Isolation::UserPool => Ok(Place::There(self.pools.pool(&tenant.pool).await?)),
            Isolation::AppClient => {
                let pool = self.pools.pool(&scene.app_client.pool).await?;
                let home = if pool.tenant.is_none() { &pool.id } else { &tenant.pool };
                self.pools.place_shared(Some(home)).await
            }
        }
    }

    async fn record_app_client(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        mut credential: Versioned<Credential>,
        pool: &MadePool,
        new: Registered,
    ) -> Result<()> {
        let (candidate, _) = replacement_of(scene)?;
        let Registered { id, assigned } = new;
        let secrets = self.world.user_pools.list_secrets(pool, &id).await?;
        let [secret, ..] = secrets.as_slice() else {
            return Err(Error::internal("listing a new app client's secrets", "there is none"));
        };
        if credential.value.registered(id.clone(), secret.clone(), assigned).is_none() {
            return Err(Error::internal("recording a new app client", "no creation was begun"));
        }
        let rotation = self.rotation(&scene.client.name, &candidate.rotation).await?;
        let mut record = rotation.value.clone();
        record.reached(Milestone::Registered, now);
        record.app_client = Some(id.clone());
        clear_error(&mut record);
        let event = journal.cause.doing("keyward.rotation/register").event(now, &record.name);
        // Settings that were changed meanwhile are not those it was made with.
        let change = Change::because(event.detail(id.as_str()))
            .update(credential.version, &credential.value)
            .update(rotation.version, &record)
            .create(&Owner::new(&pool.issuer, &id, &scene.client))
            .require(&scene.client);
        self.world.records.commit(change).await
    }

    /// Writes the whole document. If the draft is gone, so is the secret: another one will not prove, and the candidate
    /// is given up.
    pub(super) async fn complete(&self, scene: &Scene, version: &VersionId) -> Result<()> {
        let (_, replacement) = replacement_of(scene)?;
        let (pool, app_client) = self.candidate_at(scene).await?;
        let name = &scene.client.secret_name;
        let secret = match self.world.vault.read(name, Wanted::Version(&replacement.draft)).await? {
            Some(draft) => draft.client_secret,
            None => new_secret()?,
        };
        let content = document(&scene.client, &pool, Some(app_client), secret);
        Ok(self.world.vault.stage(name, version, &content).await?)
    }

    /// The app client that the candidate's secret is of, and its pool.
    pub(super) async fn candidate_at(&self, scene: &Scene) -> Result<(MadePool, AppClientId)> {
        let Some(new) = scene.credential.candidate.as_ref().and_then(Candidate::new_app_client) else {
            return Ok((scene.pool.clone(), scene.app_client.id.clone()));
        };
        let pool = self.pools.made(&new.pool).await?;
        let pool = pool.ok_or_else(|| Error::internal("looking up a new app client's pool", "it is not made"))?;
        Ok((pool, new.id.clone()))
    }

    /// Goes on as a replacement: the backend knows no second secret.
    pub(super) async fn replace_instead(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
    ) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let Some(candidate) = credential.candidate.as_mut() else {
            return Err(Error::internal("replacing an app client", "there is no candidate"));
        };
        candidate.replace_instead(version_of(&scene.client, &format!("{} whole", candidate.rotation)));
        let rotation = self.rotation(&scene.client.name, &candidate.rotation).await?;
        let mut record = rotation.value.clone();
        record.method = Method::ReplaceAppClient;
        record.app_client = None;
        record.replaced = Some(scene.app_client.id.clone());
        clear_error(&mut record);
        let event = journal.cause.doing("keyward.rotation/replace-instead").event(now, &record.name);
        let change = Change::because(event.detail("the backend has no second secrets"))
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record);
        self.world.records.commit(change).await
    }

    /// Deletes an app client that was replaced, or is condemned, and gives its place back.
    pub(super) async fn remove_app_client(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        app_client: &AppClient,
    ) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let is_replaced = credential.replaced() == Some(app_client);
        // Must hold by the plan; a deletion cannot be taken back, so look once more.
        let is_used =
            [credential.current.app_client.as_ref(), credential.candidate.as_ref().and_then(Candidate::new_app_client)]
                .contains(&Some(app_client));
        if is_used || !(is_replaced || credential.condemned_app_clients.contains(app_client)) {
            return Err(Error::internal("removing an app client", "it was neither replaced nor condemned"));
        }
        let made = self.pools.made(&app_client.pool).await?;
        if let Some(pool) = &made {
            self.world.user_pools.delete_app_client(pool, &app_client.id).await?;
        }

        credential.removed(app_client);
        let event = journal.cause.doing("keyward.rotation/remove-app-client").event(now, &scene.client.name);
        let mut change = Change::because(event.detail(app_client.id.as_str()));
        let running = credential.candidate.as_ref().map(|candidate| &candidate.rotation);
        let running = running.or(credential.previous.as_ref().map(|previous| &previous.rotation));
        if let Some(running) = running.filter(|_| !is_replaced) {
            let rotation = self.rotation(&scene.client.name, running).await?;
            let mut record = rotation.value.clone();
            record.reached(Milestone::StrayRemoved, now);
            change = change.update(rotation.version, &record);
        }
        if let Some(pool) = &made {
            let owner: Option<Versioned<Owner>> =
                self.world.records.get(&owner_key(&pool.issuer, &app_client.id)).await?;
            if let Some(owner) = owner {
                let purge_time = now + MAX_TOKEN_VALIDITY + self.world.settings.verification.leeway;
                let record = Owner { purge_time: Some(purge_time), ..owner.value.clone() };
                change = change.update(owner.version, &record);
            }
        }
        let mut client = scene.client.value.clone();
        if let Some(replaced) = client.replaced.iter_mut().find(|replaced| replaced.app_client == app_client.id) {
            replaced.retire_at(now);
            change = change.update(scene.client.version, &Client { update_time: now, ..client });
        }
        let _turn = self.pools.place_in_turn().await;
        change = self.keep_places(change, &app_client.pool, -1).await?;
        self.world.records.commit(change.update(scene.credential.version, &credential)).await
    }

    /// Looks for what a lost creation made, and condemns it.
    pub(super) async fn search(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        lost: &Attempt,
    ) -> Result<()> {
        let found = match self.pools.made(&lost.pool).await? {
            Some(pool) => self.world.user_pools.find_app_client(&pool, &lost.marker).await?,
            None => None,
        };
        let mut credential = scene.credential.value.clone();
        credential.searched(lost, found.clone());
        let change = match &found {
            Some(id) => {
                let event = journal.cause.doing("keyward.rotation/find-app-client").event(now, &scene.client.name);
                Change::because(event.detail(id.as_str()))
            }
            None => Change::housekeeping(),
        };
        let _turn = self.pools.place_in_turn().await;
        let change = self.keep_places(change, &lost.pool, i64::from(found.is_some()) - i64::from(lost.placed)).await?;
        self.world.records.commit(change.update(scene.credential.version, &credential)).await
    }

    /// Takes places in a pool, or gives them back. The caller holds its turn until that is written down.
    async fn keep_places(&self, change: Change, pool: &PoolId, more: i64) -> Result<Change> {
        let seen: Option<Versioned<Pool>> = self.world.records.get(pool.as_str()).await?;
        let Some(seen) = seen.filter(|_| more != 0) else { return Ok(change) };
        let app_clients = i64::from(seen.app_clients) + more;
        let record = Pool { app_clients: u32::try_from(app_clients).unwrap_or_default(), ..seen.value.clone() };
        Ok(change.update(seen.version, &record))
    }
}

/// A candidate's app client, and the version of its secret where the backend chose that.
struct Registered {
    id: AppClientId,
    assigned: Option<VersionId>,
}

/// Which version holds the secret that the backend chose for an app client.
fn assigned_of(scene: &Scene, candidate: &Candidate, app_client: &AppClientId) -> VersionId {
    version_of(&scene.client, &format!("{} whole {app_client}", candidate.rotation))
}

fn replacement_of(scene: &Scene) -> Result<(&Candidate, &Replacement)> {
    let candidate = scene.credential.candidate.as_ref();
    let pair = candidate.and_then(|candidate| Some((candidate, candidate.replacement.as_ref()?)));
    pair.ok_or_else(|| Error::internal("replacing an app client", "the candidate is a second secret"))
}
