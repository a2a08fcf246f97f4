//! Rotations as operators see them: started on request or by schedule, looked at, listed.

mod outcomes;
mod replacing;
pub(super) mod rotator;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::api::{Listing, Page, RotationRequest, RotationView};
use super::clients::issuing::{ALL_ROTATIONS, MAX_ROTATIONS_KEPT, version_of};
use super::journals::Journals;
use super::records::shelves::{client_key, owner_key, rotation_key, rotation_prefix};
use super::records::{Change, Record as _, Versioned};
use super::world::{Asked, Part, World, timed_id};
use crate::domain::audit::{Call, Principal};
use crate::domain::client::{Client, Owner};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{ClientName, RotationId, RotationName};
use crate::domain::journal::{Journal, Task};
use crate::domain::moving::HELD;
use crate::domain::rotation::{
    Candidate, Credential, Method, Milestone, Replacement, Rotation, RotationState, Start, Step, Trigger, plan,
};
use crate::domain::tenant::Tenant;
use rotator::{Rotator, Scene};

pub struct Rotations {
    world: Arc<World>,
    rotator: Arc<Rotator>,
    journals: Arc<Journals>,
}

impl Rotations {
    pub fn new(world: Arc<World>, rotator: Arc<Rotator>, journals: Arc<Journals>) -> Self {
        Rotations { world, rotator, journals }
    }

    /// Starts a rotation and carries it on until the new secret is current, or a first attempt failed.
    pub async fn rotate(
        &self,
        call: &Call,
        name: &ClientName,
        request: RotationRequest,
        validate_only: bool,
    ) -> Result<RotationView> {
        let trigger = if request.immediate { Trigger::Compromise } else { Trigger::Requested };
        let started = self.rotator.start(call, name, &request, trigger, validate_only).await?;
        if validate_only {
            return Ok(started);
        }
        let run = || self.journals.run(Task::RotateSecret(name.clone()));
        // How it ended is in the rotation.
        let _ = run().await;
        let seen = self.get(&started.rotation.name).await?;
        if seen.rotation.state != RotationState::Running || seen.rotation.failures > 0 {
            return Ok(seen);
        }
        // Nobody has tried it yet: that run was under way already, and ended with what was there before.
        let _ = run().await;
        self.get(&started.rotation.name).await
    }

    pub async fn get(&self, name: &RotationName) -> Result<RotationView> {
        let rotation: Option<Versioned<Rotation>> = self.world.records.get(&rotation_key(name)).await?;
        let rotation = rotation.ok_or_else(|| Error::not_found(name))?;
        self.seen(rotation.value).await
    }

    /// Newest first; the latest 20 are remembered.
    pub async fn list(&self, client: &ClientName, page: Page) -> Result<Listing<RotationView>> {
        if self.world.records.view::<Client>(&client_key(client)).await?.is_none() {
            return Err(Error::not_found(client));
        }
        // Few enough to be read whole, since the registry lists them the other way round.
        let known = self.world.records.list::<Rotation>(&rotation_prefix(client), &ALL_ROTATIONS).await?.items;
        let is_older = |rotation: &Versioned<Rotation>| page.after.as_ref().is_none_or(|after| rotation.key() < *after);
        let mut older = known.into_iter().rev().filter(is_older).peekable();
        let (mut items, mut next) = (Vec::new(), None);
        for rotation in older.by_ref().take(page.size) {
            next = Some(rotation.key());
            items.push(self.seen(rotation.value).await?);
        }
        Ok(Listing { items, next: next.filter(|_| older.peek().is_some()) })
    }

    async fn seen(&self, mut rotation: Rotation) -> Result<RotationView> {
        if matches!(rotation.state, RotationState::Running | RotationState::Overlap) {
            let task = Task::RotateSecret(rotation.name.client.clone());
            let journal: Option<Versioned<Journal>> = self.world.records.get(&task.to_string()).await?;
            rotation.next_attempt_time = journal.filter(|journal| journal.failures > 0).map(|journal| journal.due_time);
        }
        // A rotation from before app clients could be replaced does not say whose secret it was about.
        if rotation.method == Method::SecondSecret && rotation.app_client.is_none() {
            let client = self.world.records.view::<Client>(&client_key(&rotation.name.client)).await?;
            rotation.app_client = client.and_then(|client| client.app_client.clone());
        }
        Ok(RotationView { planned: rotation.left(self.world.now()), rotation })
    }
}

impl Rotator {
    /// Writes a rotation down, or only forecasts it. A compromise supersedes whatever is under way.
    pub async fn start(
        &self,
        call: &Call,
        name: &ClientName,
        request: &RotationRequest,
        trigger: Trigger,
        validate_only: bool,
    ) -> Result<RotationView> {
        self.start_part(call, None, name, request, trigger, validate_only).await
    }

    /// The same where the call asks for many, of which this is one.
    pub async fn start_part(
        &self,
        call: &Call,
        part: Option<&Part>,
        name: &ClientName,
        request: &RotationRequest,
        trigger: Trigger,
        validate_only: bool,
    ) -> Result<RotationView> {
        let attempt = || self.try_start(call, part, name, request, trigger, validate_only);
        self.world.settle_part(call, part, attempt).await
    }

    async fn try_start(
        &self,
        call: &Call,
        part: Option<&Part>,
        name: &ClientName,
        request: &RotationRequest,
        trigger: Trigger,
        validate_only: bool,
    ) -> Result<RotationView> {
        let receipt = match self.world.asked_part(call, part).await? {
            Asked::Afresh(receipt) => receipt,
            Asked::Again { resource, .. } => {
                let rotation = self.by_name(&RotationName::parse("request_id", &resource)?).await?;
                return Ok(RotationView { rotation: rotation.value, planned: Vec::new() });
            }
        };
        let client: Option<Versioned<Client>> = self.world.records.get(&client_key(name)).await?;
        let client = client.ok_or_else(|| Error::not_found(name))?;
        client.check_machine()?;
        let tenant = self.world.records.view::<Tenant>(name.tenant.as_str()).await?;
        tenant.ok_or_else(|| Error::not_found(name.tenant.name()))?.check_not_deleting()?;
        client.check_active()?;
        if request.overlap.is_some_and(|overlap| overlap > client.rotation.period / 2 && overlap != HELD) {
            return Err(Error::invalid("overlap", "must be at most half of the client's rotation period"));
        }
        let scene = self.observe(name).await?.ok_or_else(|| Error::not_found(name))?;

        let now = self.world.now();
        let overlap = match trigger {
            Trigger::Compromise => Duration::ZERO,
            _ => request.overlap.unwrap_or(scene.client.rotation.overlap),
        };
        let rotation = Rotation {
            name: RotationName { client: name.clone(), rotation: RotationId::parse("rotation", &timed_id("r", now)?)? },
            state: RotationState::Running,
            trigger,
            method: if request.replace { Method::ReplaceAppClient } else { Method::SecondSecret },
            app_client: (!request.replace).then(|| scene.app_client.id.clone()),
            replaced: request.replace.then(|| scene.app_client.id.clone()),
            reason: request.reason.clone(),
            overlap,
            milestones: Vec::new(),
            cause: call.clone(),
            create_time: now,
            promote_time: None,
            retire_time: None,
            end_time: None,
            failures: 0,
            next_attempt_time: None,
            last_error_reason: String::new(),
            last_error: String::new(),
        };
        let id = &rotation.name.rotation;
        let draft = || version_of(&scene.client, &format!("{id} draft"));
        let candidate = Candidate {
            rotation: id.clone(),
            version: version_of(&scene.client, id.as_str()),
            secret: None,
            proved: false,
            overlap,
            give_up_time: None,
            replacement: request.replace.then(|| Replacement::new(draft(), trigger == Trigger::Compromise)),
        };
        let mut credential = scene.credential.value.clone();
        if validate_only && trigger == Trigger::Compromise {
            // What is under way would become current first; what is planned is what comes after that.
            credential.candidate = None;
        }
        let labels = &scene.observed.labels;
        let superseded = match credential.start(candidate, trigger == Trigger::Compromise, now, labels) {
            Start::Begun { superseded } => superseded,
            Start::Running(id) => {
                let running = RotationName { client: name.clone(), rotation: id };
                let message = format!("{running} is not over yet; an immediate rotation would supersede it");
                return Err(Error::new(Reason::RotationRunning, message).about(name).with("rotation", running));
            }
            Start::PromoteFirst { from, to } => {
                self.world.vault.promote(&scene.client.secret_name, &from, &to).await?;
                self.record_promotion(call, &scene, now).await?;
                return Err(Error::new(Reason::ConcurrentChange, "a promotion was finished first"));
            }
        };
        let planned = forecast(&credential, &plan(now, &credential, &scene.observed));
        if validate_only {
            return Ok(RotationView { rotation, planned });
        }

        let mut client = Client { next_rotate_time: None, ..scene.client.value.clone() };
        let event = call.event(now, &rotation.name).detail(&request.reason);
        let mut change = Change::because(event);
        // Where the app client is compromised, so may be the one before it, which still works.
        if request.replace
            && trigger == Trigger::Compromise
            && let Some(replaced) = credential.replaced()
            && let Some(pool) = self.pools.made(&replaced.pool).await?
        {
            let key = owner_key(&pool.issuer, &replaced.id);
            let owner: Option<Versioned<Owner>> = self.world.records.get(&key).await?;
            change = owner.iter().fold(change, |change, owner| {
                change.update(owner.version, &Owner { revoked: true, ..owner.value.clone() })
            });
            client.token_epoch = client.token_epoch.saturating_add(1);
        }
        change = change
            .create(&rotation)
            .update(scene.credential.version, &credential)
            .update(scene.client.version, &client);
        change = self.world.with_journal(change, Task::RotateSecret(name.clone()), call).await?;
        if let Some(candidate) = superseded {
            let old = self.by_name(&RotationName { client: name.clone(), rotation: candidate.rotation }).await?;
            let record = Rotation {
                state: RotationState::Failed,
                end_time: Some(now),
                last_error_reason: "SUPERSEDED".to_owned(),
                ..old.value.clone()
            };
            change = change.update(old.version, &record);
        }
        change = self.drop_oldest(change, &scene).await?;
        change = receipt.file(change, &rotation.name);
        self.world.records.commit(change).await?;
        Ok(RotationView { rotation, planned })
    }

    /// Makes room for one more rotation among those that are remembered.
    async fn drop_oldest(&self, change: Change, scene: &Scene) -> Result<Change> {
        let prefix = rotation_prefix(&scene.client.name);
        let known = self.world.records.list::<Rotation>(&prefix, &ALL_ROTATIONS).await?.items;
        let surplus = (known.len() + 1).saturating_sub(MAX_ROTATIONS_KEPT);
        let ended = known.iter().filter(|rotation| rotation.end_time.is_some()).take(surplus);
        Ok(ended.fold(change, |change, rotation| change.delete(rotation)))
    }

    /// Starts the scheduled rotations that are due, and says when the next one is.
    pub async fn start_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        const BATCH: usize = 64;
        let due = self.world.records.due::<Client>(now, BATCH).await?;
        for client in due.records {
            let call = Call {
                principal: Principal::Keyward,
                method: "keyward.schedule/rotate".into(),
                call_id: super::world::unique_id()?.into(),
                request: None,
            };
            let request = RotationRequest::default();
            let started = self.start(&call, &client.name, &request, Trigger::Scheduled, false).await;
            if let Err(error) = started {
                tracing::warn!(client = %client.name, %error, "a scheduled rotation was not started");
                // A broker that reads what is stored of it is not to be put off.
                if error.reason() == Reason::RecordFormNewer {
                    continue;
                }
                self.schedule_again(&client, now).await?;
            }
        }
        Ok(due.next)
    }

    async fn schedule_again(&self, client: &Versioned<Client>, now: Timestamp) -> Result<()> {
        const LATER: Duration = Duration::from_secs(60 * 60);
        let record = Client { next_rotate_time: Some(now + LATER), ..client.value.clone() };
        match self.world.records.commit(Change::housekeeping().update(client.version, &record)).await {
            Err(error) if error.reason() != Reason::ConcurrentChange => Err(error),
            _ => Ok(()),
        }
    }

    async fn by_name(&self, name: &RotationName) -> Result<Versioned<Rotation>> {
        self.world.records.get(&rotation_key(name)).await?.ok_or_else(|| Error::not_found(name))
    }
}

/// The steps as milestones, those after a wait with its time.
fn forecast(credential: &Credential, steps: &[Step]) -> Vec<(Milestone, Option<Timestamp>)> {
    let mut time = None;
    let mut milestones = Vec::new();
    for step in steps {
        let milestone = match step {
            Step::Wait(until) => {
                time = Some(*until);
                continue;
            }
            Step::Stage(_) => Milestone::Staged,
            Step::Register(_) => Milestone::Registered,
            Step::Prove(_) => Milestone::Proved,
            Step::Promote { .. } => Milestone::Promoted,
            Step::Finish(_) => Milestone::Retired,
            Step::Abandon(_) => Milestone::Abandoned,
            Step::Remove(secret) if !credential.has_served(secret) => Milestone::StrayRemoved,
            Step::Condemn(_)
            | Step::Remove(_)
            | Step::Complete(_)
            | Step::RemoveAppClient(_)
            | Step::Search(_)
            | Step::ClearPending(_)
            | Step::ClearPrevious(_) => continue,
        };
        milestones.push((milestone, time));
    }
    milestones
}
