//! One client of a tenant that is being moved: what is to be done about it, done through its own journals.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Moving;
use crate::broker::api::RotationRequest;
use crate::broker::journals::Journals;
use crate::broker::records::shelves::client_key;
use crate::broker::records::{Change, Versioned, settle};
use crate::domain::audit::Call;
use crate::domain::client::Client;
use crate::domain::credential::Credential;
use crate::domain::error::{Reason, Result};
use crate::domain::id::ClientName;
use crate::domain::journal::{Journal, Task};
use crate::domain::moving::{HELD, MoveState, Rest, TenantMove, Way};
use crate::domain::rotation::Trigger;

/// How often a client is looked at in one pass: what was finished for it may be followed by a rotation of its own.
const LOOKS: usize = 3;
/// When to look again at what another broker is at work on, or at what could not even be started.
const AGAIN: Duration = Duration::from_secs(10);
/// When to look again at a client that cannot be moved before somebody does something about it, and the longest that any is
/// waited for without a look: an overlap of months can end early, and the client go, without a word to the move.
const LATER: Duration = Duration::from_secs(15 * 60);

/// How far a client is.
pub(super) enum Outcome {
    Gone,
    Settled,
    /// There is something to do then.
    Unsettled {
        again: Timestamp,
        trouble: Reason,
    },
    /// There is nothing to do before, or that is not known yet.
    Waiting(Timestamp),
}

impl Moving {
    /// Does what is to be done about a client, and says whether that was anything.
    pub(super) async fn see_to(
        &self,
        journals: &Arc<Journals>,
        journal: &Versioned<Journal>,
        moved: &TenantMove,
        client: Versioned<Client>,
    ) -> Result<(bool, Outcome)> {
        let (name, mut trouble, mut task) = (client.name.clone(), None, None);
        let mut listed = Some(client);
        for look in 0..=LOOKS {
            let now = self.world.now();
            let is_there = |client: &Client| moved.state == MoveState::Running && moved.is_new_place(&client.pool);
            let (client, credential) = match listed.take().filter(|client| is_there(client)) {
                Some(client) => (Some(client), None),
                None => self.client_and_credential(&name).await?,
            };
            let Some(client) = client else { return Ok((look > 0, Outcome::Gone)) };
            let to_do = match moved.state {
                MoveState::Running => moved.way_of(&client, credential.as_deref(), now),
                MoveState::Overlap | MoveState::Succeeded => match moved.rest_of(&client, credential.as_deref(), now) {
                    Rest::Nothing => Way::There,
                    Rest::Carry(task) => Way::Carry(task),
                    Rest::Wait(until) => return Ok((look > 0, Outcome::Waiting(until.min(now + LATER)))),
                    Rest::Outlast(until) => return Ok((look > 0, Outcome::Waiting(until))),
                    Rest::Release => {
                        self.release(journal, moved, &name).await?;
                        continue;
                    }
                },
            };
            let unsettled = |again, trouble| Ok((true, Outcome::Unsettled { again, trouble }));
            let next = match to_do {
                Way::There => return Ok((look > 0, Outcome::Settled)),
                Way::Closed => return unsettled(now + LATER, Reason::ClientKindMismatch),
                Way::Wait(until) => return unsettled(until.min(now + LATER), Reason::RotationRunning),
                Way::Carry(task) => task,
                Way::Replace => {
                    if let Err(error) = self.replace(&journal.cause, &name).await {
                        tracing::warn!(client = %name, %error, "a client could not be moved yet");
                        return unsettled(now + AGAIN, error.reason());
                    }
                    Task::RotateSecret(name.clone())
                }
            };
            if look == LOOKS {
                task = Some(next);
                break;
            }
            trouble = journals.run(next).await.err().map(|error| error.reason());
        }
        let again = match &task {
            Some(task) => self.taken_up(task).await?,
            None => self.world.now() + AGAIN,
        };
        let not_done = match &task {
            Some(Task::IssueClient(_)) => Reason::ClientNotReady,
            Some(Task::RetireClient(_)) => Reason::ClientDeleting,
            _ => Reason::RotationRunning,
        };
        Ok((true, Outcome::Unsettled { again, trouble: trouble.unwrap_or(not_done) }))
    }

    /// As they are now, the credential read first. A client that was read before its credential may be as it was before the
    /// rotation that the credential has the end of; it would be waited for until its old app client goes, and that is
    /// held for as long as it is waited for.
    async fn client_and_credential(
        &self,
        name: &ClientName,
    ) -> Result<(Option<Versioned<Client>>, Option<Versioned<Credential>>)> {
        let key = client_key(name);
        let credential = self.world.records.get(&key).await?;
        Ok((self.world.records.get(&key).await?, credential))
    }

    async fn replace(&self, cause: &Call, name: &ClientName) -> Result<()> {
        let request = RotationRequest {
            immediate: false,
            replace: true,
            overlap: Some(HELD),
            reason: "the tenant is moved".to_owned(),
        };
        let call = cause.doing("keyward.move/replace");
        match self.rotator.start(&call, name, &request, Trigger::Requested, false).await {
            // Somebody else was faster with something else: that is carried on then.
            Err(error)
                if matches!(
                    error.reason(),
                    Reason::RotationRunning | Reason::ClientDeleting | Reason::ResourceNotFound
                ) =>
            {
                Ok(())
            }
            started => started.map(drop),
        }
    }

    /// When a task that did not come to its end is taken up again. One that waits for longer than after any failure has come
    /// as far as it was waited for, after the last look.
    async fn taken_up(&self, task: &Task) -> Result<Timestamp> {
        let now = self.world.now();
        let soon = now + Duration::from_secs(1);
        let journal: Option<Versioned<Journal>> = self.world.records.get(&task.to_string()).await?;
        let Some(journal) = journal else { return Ok(soon) };
        let is_held = journal.lease.as_ref().is_some_and(|lease| !lease.is_given_up());
        let longest = now + self.world.settings.journal.max_retry;
        Ok(match journal.due_time {
            due if is_held => due.min(now + AGAIN).max(soon),
            due if due > longest => soon,
            due => due.max(soon),
        })
    }

    /// Has a rotation that was held end its overlap when the move says.
    async fn release(&self, journal: &Versioned<Journal>, moved: &TenantMove, name: &ClientName) -> Result<()> {
        let Some(retire_time) = moved.retire_time else { return Ok(()) };
        settle(|| async {
            let key = client_key(name);
            let Some(client) = self.world.records.get::<Client>(&key).await? else { return Ok(()) };
            let Some(credential) = self.world.records.get::<Credential>(&key).await? else { return Ok(()) };
            let mut record = credential.value.clone();
            let Some(previous) = record.previous.as_mut().filter(|previous| moved.is_held(previous)) else {
                return Ok(());
            };
            previous.retire_time = retire_time;
            let rotation = self.rotator.rotation(name, &previous.rotation).await?;
            let mut history = rotation.value.clone();
            (history.retire_time, history.overlap) = (Some(retire_time), moved.overlap);
            let now = self.world.now();
            let event = journal.cause.doing("keyward.move/release").event(now, &history.name);
            let mut change =
                Change::because(event).update(credential.version, &record).update(rotation.version, &history);
            let mut renewed = client.value.clone();
            let old = credential.replaced().map(|old| &old.id);
            if let Some(replaced) = renewed.replaced.iter_mut().find(|replaced| Some(&replaced.app_client) == old) {
                replaced.retire_at(retire_time);
                change = change.update(client.version, &Client { update_time: now, ..renewed });
            }
            let task = Task::RotateSecret(name.clone());
            let rotating: Option<Versioned<Journal>> = self.world.records.get(&task.to_string()).await?;
            let due = match &rotating {
                Some(rotating) => Journal { due_time: rotating.due_time.min(retire_time), ..rotating.value.clone() },
                None => Journal { due_time: retire_time, ..Journal::new(task, &journal.cause, now) },
            };
            self.world.records.commit(change.put(&due, rotating.map(|rotating| rotating.version))).await
        })
        .await
    }
}
