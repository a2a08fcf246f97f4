//! How a rotation's candidate ends: promoted, and then its predecessor retired; or given up.

use std::time::Duration;

use jiff::Timestamp;

use super::rotator::{Rotator, Scene, clear_error};
use crate::broker::clients::issuing::next_rotation;
use crate::broker::records::shelves::owner_key;
use crate::broker::records::{Change, Versioned};
use crate::domain::audit::{Call, Outcome};
use crate::domain::client::{Client, Owner, ReplacedAppClient};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::RotationId;
use crate::domain::journal::Journal;
use crate::domain::rotation::{Abandoned, Milestone, RotationState};

/// After a rotation was given up, the next scheduled one is tried this much later.
const AFTER_ABANDONED: Duration = Duration::from_secs(60 * 60);

impl Rotator {
    /// Writes down that the candidate is current now, whoever moved the label.
    pub async fn record_promotion(&self, cause: &Call, scene: &Scene, now: Timestamp) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let Some(promoted) = credential.promote(now) else {
            // The label was seen later than the record, which has moved on since: look again.
            return Err(Error::new(Reason::ConcurrentChange, "the candidate was promoted while it was looked at"));
        };
        let retire_time = now + promoted.overlap;

        let rotation = self.rotation(&scene.client.name, &promoted.rotation).await?;
        let mut record = rotation.value.clone();
        record.reached(Milestone::Promoted, now);
        record.state = RotationState::Overlap;
        record.promote_time = Some(now);
        record.retire_time = Some(retire_time);
        clear_error(&mut record);
        let jitter = self.world.settings.rotation.jitter_percent;
        let mut client = Client {
            rotate_time: Some(now),
            next_rotate_time: next_rotation(&scene.client, now, jitter),
            ..scene.client.value.clone()
        };
        let mut change = Change::because(cause.doing("keyward.rotation/promote").event(now, &record.name))
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record);
        if let (Some(replacement), Some(new)) = (&promoted.replacement, credential.current.app_client) {
            client.app_client = Some(new.id);
            client.pool = new.pool;
            client.update_time = now;
            client.token_epoch = client.token_epoch.saturating_add(u32::from(replacement.revokes));
            let old = &scene.app_client;
            client.replaced.insert(0, ReplacedAppClient::new(old, &scene.pool.issuer, retire_time));
            let key = owner_key(&scene.pool.issuer, &old.id);
            let known: Option<Versioned<Owner>> = self.world.records.get(&key).await?;
            let owner = Owner { revoked: replacement.revokes, ..Owner::new(&scene.pool.issuer, &old.id, &client) };
            change = change.put(&owner, known.map(|known| known.version));
        }
        self.world.records.commit(change.update(scene.client.version, &client)).await
    }

    pub(super) async fn finish(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        id: &RotationId,
    ) -> Result<()> {
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

    pub(super) async fn abandon(
        &self,
        journal: &Versioned<Journal>,
        scene: &Scene,
        now: Timestamp,
        why: Abandoned,
    ) -> Result<()> {
        let mut credential = scene.credential.value.clone();
        let Some(candidate) = credential.give_up() else { return Ok(()) };
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
        let event = event.ended(Outcome::Failed, why.reason());
        let change = Change::because(event)
            .update(scene.credential.version, &credential)
            .update(rotation.version, &record)
            .update(scene.client.version, &client);
        self.world.records.commit(change).await
    }
}
