//! Carries rotations on: observe, plan, apply one step, look again.
//!
//! What to do is decided by [`plan`] alone; here is how each step is done and written down. Every write checks the
//! version of the client's [`Credential`], so of two rotators that saw the same one finds out before it has recorded
//! anything, and looks again. Nothing is deleted at Cognito that was not condemned in the record first.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::issuing::{document, next_rotation};
use super::pools::Pools;
use super::ports::{Fault, Label, SecretDocument, Wanted};
use super::records::{Change, Versioned};
use super::shelves::{client_key, rotation_key};
use super::world::{World, new_secret};
use crate::domain::audit::Call;
use crate::domain::client::{Client, ClientState};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{AppClientId, ClientName, RotationId, RotationName, SecretId, VersionId};
use crate::domain::journal::{Journal, Progress};
use crate::domain::pool::MadePool;
use crate::domain::rotation::{
    Abandoned, Candidate, Credential, HeldSecret, Milestone, Observed, PreviousSecret, Rotation, RotationState, Step,
    plan,
};

/// After a rotation was given up, the next scheduled one is tried this much later.
const AFTER_ABANDONED: Duration = Duration::from_secs(60 * 60);

pub struct Rotator {
    pub(super) world: Arc<World>,
    pools: Arc<Pools>,
}

/// Everything a step works on, as it was seen together.
pub struct Scene {
    pub client: Versioned<Client>,
    pub credential: Versioned<Credential>,
    pub pool: MadePool,
    pub app_client: AppClientId,
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
            // The journal of a rotation that was started meanwhile may have the same version: versions begin anew.
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
        let Some(credential) = self.world.records.get::<Credential>(&key).await? else { return Ok(None) };
        let Some(pool) = self.pools.made(&client.pool).await? else { return Ok(None) };
        let Some(app_client) = client.app_client.clone() else { return Ok(None) };
        if client.state != ClientState::Active {
            return Ok(None);
        }
        let secrets = self.world.user_pools.list_secrets(&pool, &app_client).await?;
        let labels = self.world.vault.labels(&client.secret_name).await?.unwrap_or_default();
        Ok(Some(Scene { client, credential, pool, app_client, observed: Observed { secrets, labels } }))
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
                self.world.user_pools.delete_secret(&scene.pool, &scene.app_client, secret).await?;
                // What a rotation retires or takes back is told by those milestones.
                match &credential.candidate {
                    Some(candidate) if !credential.has_served(secret) && !candidate.is_given_up(now) => {
                        self.reach(journal, scene, now, Milestone::StrayRemoved, |_| {}).await
                    }
                    _ => Ok(()),
                }
            }
            Step::Stage(version) => {
                let content = document(&scene.client, &scene.pool, Some(scene.app_client.clone()), new_secret()?);
                self.world.vault.stage(name, version, &content).await?;
                self.reach(journal, scene, now, Milestone::Staged, |_| {}).await
            }
            Step::Register(version) => self.register(journal, scene, now, version).await,
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
        credential.condemned.insert(secret.clone(), now);
        // A candidate that is condemned is registered again under another id, and proved again.
        if let Some(candidate) = credential.candidate.as_mut().filter(|it| it.secret.as_ref() == Some(secret)) {
            candidate.secret = None;
            candidate.proved = false;
        }
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
        let added = self.world.user_pools.add_secret(&scene.pool, &scene.app_client, &staged.client_secret).await;
        let secret = match added {
            Ok(secret) => secret,
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
        let fetched = self.world.token_endpoint.fetch(
            &scene.pool,
            &scene.app_client,
            &staged.client_secret,
            &scene.client.scopes,
        );
        match fetched.await {
            Ok(_) => self.reach(journal, scene, now, Milestone::Proved, |candidate| candidate.proved = true).await,
            Err(error) if error.is(Fault::InvalidClient) => {
                let mut credential = scene.credential.value.clone();
                let unset = credential.candidate.as_mut().filter(|candidate| candidate.give_up_time.is_none());
                if let Some(candidate) = unset {
                    candidate.give_up_time = Some(now + self.world.settings.rotation.prove_timeout);
                    let change = Change::housekeeping().update(scene.credential.version, &credential);
                    self.world.records.commit(change).await?;
                }
                let message = format!("the new secret of {} gets no token yet", scene.client.name);
                let wait = Duration::from_secs(1);
                Err(Error::new(Reason::UpstreamUnavailable, message).retry_after(wait).caused_by(error))
            }
            Err(error) => Err(error.into()),
        }
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

    /// Writes down that the candidate is current now, whoever moved the label.
    pub async fn record_promotion(&self, cause: &Call, scene: &Scene, now: Timestamp) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let Some(Candidate { rotation: id, version, secret: Some(secret), overlap, .. }) = credential.candidate.take()
        else {
            // The label was seen later than the record, which has moved on since: look again.
            return Err(Error::new(Reason::ConcurrentChange, "the candidate was promoted while it was looked at"));
        };
        let retire_time = now + overlap;
        let old = std::mem::replace(&mut credential.current, HeldSecret { secret, version });
        credential.previous = Some(PreviousSecret { rotation: id.clone(), held: old, retire_time });

        let rotation = self.rotation(&scene.client.name, &id).await?;
        let mut record = rotation.value.clone();
        record.reached(Milestone::Promoted, now);
        record.state = RotationState::Overlap;
        record.promote_time = Some(now);
        record.retire_time = Some(retire_time);
        clear_error(&mut record);
        let jitter = self.world.settings.rotation.jitter_percent;
        let client = Client {
            rotate_time: Some(now),
            next_rotate_time: next_rotation(&scene.client, now, jitter),
            ..scene.client.value.clone()
        };
        let change = Change::because(cause.doing("keyward.rotation/promote").event(now, &record.name))
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record)
            .update(scene.client.version, &client);
        self.world.records.commit(change).await
    }

    async fn finish(&self, journal: &Versioned<Journal>, scene: &Scene, now: Timestamp, id: &RotationId) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        credential.previous = None;
        credential.forget_condemned(now, &scene.observed);
        let rotation = self.rotation(&scene.client.name, id).await?;
        let mut record = rotation.value.clone();
        record.reached(Milestone::Retired, now);
        record.state = RotationState::Succeeded;
        record.end_time = Some(now);
        clear_error(&mut record);
        let change = Change::because(journal.cause.doing("keyward.rotation/retire").event(now, &record.name))
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record);
        self.world.records.commit(change).await
    }

    async fn abandon(&self, journal: &Versioned<Journal>, scene: &Scene, now: Timestamp, why: Abandoned) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let Some(candidate) = credential.candidate.take() else { return Ok(()) };
        credential.forget_condemned(now, &scene.observed);
        let rotation = self.rotation(&scene.client.name, &candidate.rotation).await?;
        let mut record = rotation.value.clone();
        record.reached(Milestone::Abandoned, now);
        record.state = RotationState::Failed;
        record.end_time = Some(now);
        record.last_error_reason = why.reason().to_owned();
        let next = (!scene.client.rotation.disabled).then(|| now + AFTER_ABANDONED);
        let client = Client { next_rotate_time: next, ..scene.client.value.clone() };
        let event = journal.cause.doing("keyward.rotation/abandon").event(now, &record.name);
        let event = event.ended(crate::domain::audit::Outcome::Failed, why.reason());
        let change = Change::because(event)
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record)
            .update(scene.client.version, &client);
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

    async fn read(&self, scene: &Scene, version: &VersionId) -> Result<SecretDocument> {
        let read = self.world.vault.read(&scene.client.secret_name, Wanted::Version(version)).await?;
        // Somebody else may have moved on and the vault dropped the version: look again.
        read.ok_or_else(|| Error::new(Reason::ConcurrentChange, "the staged secret is not there any more"))
    }

    async fn rotation(&self, client: &ClientName, id: &RotationId) -> Result<Versioned<Rotation>> {
        let name = RotationName { client: client.clone(), rotation: id.clone() };
        self.world.records.get(&rotation_key(&name)).await?.ok_or_else(|| Error::not_found(name))
    }

    async fn strike(&self, journal: &Versioned<Journal>) -> Result<Progress> {
        self.world.records.commit(Change::housekeeping().delete(journal)).await?;
        Ok(Progress::Done)
    }
}

fn clear_error(rotation: &mut Rotation) {
    rotation.last_error_reason.clear();
    rotation.last_error.clear();
    rotation.next_attempt_time = None;
}
