//! Carries rotations on: observe, plan, apply one step, look again.
//!
//! What to do is decided by [`plan`] alone; here is how each step is done and written down. Every write checks the
//! version of the client's [`Credential`], so of two rotators that saw the same one finds out before it has recorded
//! anything, and looks again. Nothing is deleted at Cognito that was not condemned in the record first.
//!
//! Here are the steps of a second secret and those that both methods share; [`replacing`](super::replacing) has those of
//! a new app client, [`outcomes`](super::outcomes) how a rotation ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::broker::clients::issuing::document;
use crate::broker::pools::Pools;
use crate::broker::ports::{Fault, Label, SecretDocument, Wanted};
use crate::broker::records::shelves::{client_key, rotation_key};
use crate::broker::records::{Change, Versioned};
use crate::broker::world::{World, new_secret};
use crate::domain::client::{Client, ClientState};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{ClientName, RotationId, RotationName, SecretId, VersionId};
use crate::domain::journal::{Journal, Progress};
use crate::domain::pool::MadePool;
use crate::domain::rotation::{AppClient, Candidate, Credential, Milestone, Observed, Rotation, Step, plan};

pub struct Rotator {
    pub(super) world: Arc<World>,
    pub(super) pools: Arc<Pools>,
}

/// Everything a step works on, as it was seen together.
pub struct Scene {
    pub client: Versioned<Client>,
    pub credential: Versioned<Credential>,
    /// The app client whose secret is current, and its pool.
    pub app_client: AppClient,
    pub pool: MadePool,
    pub observed: Observed,
}

impl Rotator {
    pub fn new(world: Arc<World>, pools: Arc<Pools>) -> Self {
        Rotator { world, pools }
    }

    /// One look and one step.
    pub async fn advance(&self, journal: &Versioned<Journal>, name: &ClientName) -> Result<Progress> {
        let Some(scene) = self.observe(name).await? else {
            return self.strike(journal).await;
        };
        let now = self.world.now();
        let Some(step) = plan(now, &scene.credential, &scene.observed).into_iter().next() else {
            // A rotation that was started meanwhile has changed both.
            let change = Change::housekeeping().require(&scene.credential).delete(journal);
            self.world.records.commit(change).await?;
            return Ok(Progress::Done);
        };
        if let Step::Wait(until) = step {
            return Ok(Progress::Wait(until));
        }
        match self.apply(journal, &scene, now, &step).await {
            Ok(()) => Ok(Progress::More),
            Err(error) => {
                if error.reason() != Reason::ConcurrentChange {
                    self.note_failure(&scene, &error).await?;
                }
                Err(error)
            }
        }
    }

    /// What is known and seen of a client's secrets; `None` for a client that has none (any more).
    pub async fn observe(&self, name: &ClientName) -> Result<Option<Scene>> {
        let key = client_key(name);
        let Some(client) = self.world.records.get::<Client>(&key).await? else { return Ok(None) };
        let Some(mut credential) = self.world.records.get::<Credential>(&key).await? else { return Ok(None) };
        let Some(id) = client.app_client.clone() else { return Ok(None) };
        if client.state != ClientState::Active {
            return Ok(None);
        }
        credential.value.complete(&AppClient { pool: client.pool.clone(), id });
        let Some(app_client) = credential.current.app_client.clone() else { return Ok(None) };
        let Some(pool) = self.pools.made(&app_client.pool).await? else { return Ok(None) };
        let secrets = self.world.user_pools.list_secrets(&pool, &app_client.id).await?;
        credential.value.recognise(&secrets);
        let labels = self.world.vault.labels(&client.secret_name).await?.unwrap_or_default();
        Ok(Some(Scene { client, credential, app_client, pool, observed: Observed { secrets, labels } }))
    }

    async fn apply(&self, journal: &Versioned<Journal>, scene: &Scene, now: Timestamp, step: &Step) -> Result<()> {
        let name = &scene.client.secret_name;
        match step {
            Step::Condemn(secret) => self.condemn(journal, scene, now, secret).await,
            Step::Remove(secret) => {
                // Must hold by the plan; a deletion cannot be taken back, so look once more.
                let credential = &scene.credential;
                if credential.keeps(secret) || !credential.condemned.contains_key(secret) {
                    return Err(Error::internal("removing a secret", "it was not condemned"));
                }
                self.world.user_pools.delete_secret(&scene.pool, &scene.app_client.id, secret).await?;
                // What a rotation retires or takes back is told by those milestones.
                match &credential.candidate {
                    Some(candidate) if !credential.has_served(secret) && !candidate.is_given_up(now) => {
                        self.reach(journal, scene, now, Milestone::StrayRemoved, |_| {}).await
                    }
                    _ => Ok(()),
                }
            }
            Step::Stage(version) => {
                // A draft is for an app client that is not there yet.
                let app_client = (!scene.is_replacing()).then(|| scene.app_client.id.clone());
                let content = document(&scene.client, &scene.pool, app_client, new_secret()?);
                self.world.vault.stage(name, version, &content).await?;
                self.reach(journal, scene, now, Milestone::Staged, |_| {}).await
            }
            Step::Register(draft) if scene.is_replacing() => self.create(journal, scene, now, draft).await,
            Step::Register(version) => self.register(journal, scene, now, version).await,
            Step::Complete(version) => self.complete(scene, version).await,
            Step::RemoveAppClient(app_client) => self.remove_app_client(journal, scene, now, app_client).await,
            Step::Search(attempt) => self.search(journal, scene, now, attempt).await,
            Step::Prove(version) => self.prove(journal, scene, now, version).await,
            Step::Promote { from, to } => {
                if !scene.credential.candidate.as_ref().is_some_and(|candidate| candidate.proved) {
                    return Err(Error::internal("promoting a secret", "it was not proved"));
                }
                self.world.vault.promote(name, from, to).await?;
                self.record_promotion(&journal.cause, scene, now).await
            }
            Step::ClearPending(version) => Ok(self.world.vault.clear(name, Label::Pending, version).await?),
            Step::ClearPrevious(version) => Ok(self.world.vault.clear(name, Label::Previous, version).await?),
            Step::Abandon(why) => self.abandon(journal, scene, now, *why).await,
            Step::Finish(rotation) => self.finish(journal, scene, now, rotation).await,
            Step::Wait(_) => Ok(()),
        }
    }

    async fn condemn(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        secret: &SecretId,
    ) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        credential.condemn(secret, now);
        let event = journal.cause.doing("keyward.rotation/condemn").event(now, &scene.client.name);
        let change = Change::because(event.detail(secret.as_str()));
        self.world.records.commit(change.update(scene.credential.version, &credential)).await
    }

    async fn register(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        version: &VersionId,
    ) -> Result<()> {
        let staged = self.read(scene, version).await?;
        let added = self.world.user_pools.add_secret(&scene.pool, &scene.app_client.id, &staged.client_secret).await;
        let secret = match added {
            Ok(secret) => secret,
            Err(error) if error.is(Fault::Unsupported) => return self.replace_instead(journal, scene, now).await,
            // Somebody else added one since we looked: look again.
            Err(error) if error.is(Fault::LimitExceeded) => {
                let message = "another secret was added meanwhile";
                return Err(Error::new(Reason::ConcurrentChange, message).caused_by(error));
            }
            Err(error) => return Err(error.into()),
        };
        let credential = &scene.credential;
        if credential.condemned.contains_key(&secret) || credential.keeps(&secret) {
            // The id came back within its second. It is not recorded, so the next look removes the secret.
            let message = "the new secret got the id of an old one; another is added a second later";
            let wait = Duration::from_secs(1);
            return Err(Error::new(Reason::UpstreamUnavailable, message).retry_after(wait));
        }
        self.reach(journal, scene, now, Milestone::Registered, |candidate| {
            candidate.secret = Some(secret);
            candidate.proved = false;
        })
        .await
    }

    async fn prove(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        version: &VersionId,
    ) -> Result<()> {
        let staged = self.read(scene, version).await?;
        let (pool, app_client) = self.candidate_at(scene).await?;
        let scopes = &scene.client.scopes;
        let fetched = self.world.token_endpoint.fetch(&pool, &app_client, &staged.client_secret, scopes).await;
        let (what, cause) = match fetched {
            // A new app client that grants less than the old would be noticed.
            Ok(token) => match scopes.first_missing_in(&token.scopes).filter(|_| scene.is_replacing()) {
                None => {
                    return self
                        .reach(journal, scene, now, Milestone::Proved, |candidate| candidate.proved = true)
                        .await;
                }
                Some(scope) => {
                    (format!("the new app client of {} is not granted {scope} yet", scene.client.name), None)
                }
            },
            Err(error) if error.is(Fault::InvalidClient) => {
                (format!("the new secret of {} gets no token yet", scene.client.name), Some(error))
            }
            Err(error) => return Err(error.into()),
        };
        let mut credential = scene.credential.value.clone();
        if let Some(candidate) = credential.candidate.as_mut().filter(|candidate| candidate.give_up_time.is_none()) {
            candidate.give_up_time = Some(now + self.world.settings.rotation.prove_timeout);
            let change = Change::housekeeping().update(scene.credential.version, &credential);
            self.world.records.commit(change).await?;
        }
        let error = Error::new(Reason::UpstreamUnavailable, what).retry_after(Duration::from_secs(1));
        Err(match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        })
    }

    /// Writes a milestone down, with what it changes about the candidate.
    async fn reach(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        milestone: Milestone,
        change_candidate: impl FnOnce(&mut Candidate),
    ) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let Some(candidate) = credential.candidate.as_mut() else {
            return Err(Error::internal("moving a candidate on", "there is none"));
        };
        change_candidate(candidate);
        let rotation = self.rotation(&scene.client.name, &candidate.rotation).await?;
        let mut record = rotation.value.clone();
        record.reached(milestone, now);
        clear_error(&mut record);
        let method = match milestone {
            Milestone::Staged => "keyward.rotation/stage",
            Milestone::Registered => "keyward.rotation/register",
            Milestone::StrayRemoved => "keyward.rotation/remove-stray",
            _ => "keyward.rotation/prove",
        };
        let change = Change::because(journal.cause.doing(method).event(now, &record.name))
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record);
        self.world.records.commit(change).await
    }

    async fn note_failure(&self, scene: &Scene, error: &Error) -> Result<()> {
        let Some(candidate) = &scene.credential.candidate else { return Ok(()) };
        let rotation = self.rotation(&scene.client.name, &candidate.rotation).await?;
        let mut record = rotation.value.clone();
        record.failures = record.failures.saturating_add(1);
        record.last_error_reason = error.reason().as_str().to_owned();
        record.last_error = error.message().to_owned();
        self.world.records.commit(Change::housekeeping().update(rotation.version, &record)).await
    }

    pub(super) async fn read(&self, scene: &Scene, version: &VersionId) -> Result<SecretDocument> {
        let read = self.world.vault.read(&scene.client.secret_name, Wanted::Version(version)).await?;
        // Somebody else may have moved on and the vault dropped the version: look again.
        read.ok_or_else(|| Error::new(Reason::ConcurrentChange, "the staged secret is not there any more"))
    }

    pub(in crate::broker) async fn rotation(
        &self,
        client: &ClientName,
        id: &RotationId,
    ) -> Result<Versioned<Rotation>> {
        let name = RotationName { client: client.clone(), rotation: id.clone() };
        self.world.records.get(&rotation_key(&name)).await?.ok_or_else(|| Error::not_found(name))
    }

    async fn strike(&self, journal: &Versioned<Journal>) -> Result<Progress> {
        self.world.records.commit(Change::housekeeping().delete(journal)).await?;
        Ok(Progress::Done)
    }
}

impl Scene {
    pub(super) fn is_replacing(&self) -> bool {
        self.credential.candidate.as_ref().is_some_and(|candidate| candidate.replacement.is_some())
    }
}

pub(super) fn clear_error(rotation: &mut Rotation) {
    rotation.last_error_reason.clear();
    rotation.last_error.clear();
    rotation.next_attempt_time = None;
}
