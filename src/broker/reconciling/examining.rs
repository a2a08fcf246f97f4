//! One client, as the registry has it and as the backends do, and how a difference between them is mended.
//!
//! The client's lock is held from the first look to the last write, so no task of this broker is at work on it; if
//! another broker was, the records have other versions afterwards, and it is looked at again: before anything is mended,
//! and [once it was](super::looking_again).

use std::time::Duration;

use super::{Pass, Reconciling, is_settled, or_none};
use crate::broker::api::RotationRequest;
use crate::broker::clients::issuing::{document, set_readers, spec_of};
use crate::broker::ports::{Fault, Label, Wanted};
use crate::broker::records::shelves::client_key;
use crate::broker::records::{Change, Versioned, settle};
use crate::broker::world::new_secret;
use crate::domain::audit::Outcome;
use crate::domain::client::{Client, ClientState};
use crate::domain::drift::{CURRENT_VERSION, Drift, DriftKind, KIND, Registered, Seen, SeenAppClient, compare};
use crate::domain::error::{Reason, Result};
use crate::domain::id::{AppClientId, ClientName, SecretId};
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::MadePool;
use crate::domain::rotation::{Credential, Observed, Trigger};
use crate::domain::tenant::Tenant;

/// How often a client is looked at that somebody else is changing.
const LOOKS: usize = 3;

/// A client that is in use.
struct Known {
    client: Versioned<Client>,
    credential: Versioned<Credential>,
    pool: MadePool,
    app_client: AppClientId,
    is_applying: bool,
    is_rotating: bool,
}

impl Reconciling {
    /// What differs, mended where the pass mends.
    pub(super) async fn client_drifts(&self, pass: &Pass, name: &ClientName) -> Result<Vec<Drift>> {
        let mut drifts = {
            let _client = self.world.targets.lock(name.to_string()).await;
            let Some((known, seen)) = self.look(name).await? else { return Ok(Vec::new()) };
            let mut drifts = known.compare(&seen);
            for drift in &mut drifts {
                if drift.kind == DriftKind::ForeignSecret {
                    self.alarm(pass, drift).await?;
                }
                if pass.mend {
                    let outcome = self.mend(pass, &known, &seen, drift).await;
                    drift.mended = outcome.unwrap_or_else(|error| {
                        let cause = error.internal_detail();
                        tracing::warn!(client = %name, %error, cause, "a difference could not be mended");
                        false
                    });
                }
            }
            drifts
        };
        if pass.mend && drifts.iter().any(needs_new_secret) {
            self.renew(pass, name, &mut drifts).await?;
        }
        Ok(drifts)
    }

    /// `None` for a client that is not in use, or that somebody else is changing all the time.
    async fn look(&self, name: &ClientName) -> Result<Option<(Known, Seen)>> {
        for _ in 0..LOOKS {
            let Some(before) = self.known(name).await? else { return Ok(None) };
            let seen = self.see(&before).await?;
            let Some(after) = self.known(name).await? else { return Ok(None) };
            if before.is_as(&after) {
                return Ok(Some((after, seen)));
            }
        }
        Ok(None)
    }

    async fn known(&self, name: &ClientName) -> Result<Option<Known>> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(name.tenant.as_str()).await?;
        let key = client_key(name);
        let client: Option<Versioned<Client>> = self.world.records.get(&key).await?;
        let Some(client) = client.filter(|client| client.state == ClientState::Active) else { return Ok(None) };
        let Some(credential) = self.world.records.get::<Credential>(&key).await? else { return Ok(None) };
        let (Some(pool), Some(app_client)) = (self.pools.made(&client.pool).await?, client.app_client.clone()) else {
            return Ok(None);
        };
        if !tenant.is_some_and(|tenant| is_settled(&tenant)) {
            return Ok(None);
        }
        let is_applying = !client.applied || self.is_under_way(Task::ApplyClient(name.clone())).await?;
        let is_rotating = self.is_under_way(Task::RotateSecret(name.clone())).await?;
        Ok(Some(Known { client, credential, pool, app_client, is_applying, is_rotating }))
    }

    async fn is_under_way(&self, task: Task) -> Result<bool> {
        Ok(self.world.records.get::<Journal>(&task.to_string()).await?.is_some())
    }

    async fn see(&self, known: &Known) -> Result<Seen> {
        let Known { pool, app_client, .. } = known;
        let there = or_none(self.world.user_pools.describe_app_client(pool, app_client).await)?;
        let secrets = match &there {
            Some(_) => or_none(self.world.user_pools.list_secrets(pool, app_client).await.map(Some))?,
            None => None,
        };
        let labels = self.world.vault.labels(&known.client.secret_name).await?;
        let authenticates = if there.is_some() { self.authenticates(known).await? } else { None };
        let app_client = there.map(|there| SeenAppClient {
            scopes: there.scopes,
            access_token_validity: there.access_token_validity,
            is_machine: there.is_machine,
        });
        Ok(Seen { app_client, secrets: secrets.unwrap_or_default(), labels, authenticates })
    }

    /// Whether the secret under `AWSCURRENT` gets a token. Each answer of yes is a token that Amazon bills.
    async fn authenticates(&self, known: &Known) -> Result<Option<bool>> {
        let current = self.world.vault.read(&known.client.secret_name, Wanted::Current).await?;
        let Some(current) = current else { return Ok(None) };
        let (secret, scopes) = (&current.client_secret, &known.client.scopes);
        match self.world.token_endpoint.fetch(&known.pool, &known.app_client, secret, scopes).await {
            Ok(_) => Ok(Some(true)),
            Err(error) if error.is(Fault::InvalidClient) => Ok(Some(false)),
            // It has nothing to grant; whether the secret is right is not said.
            Err(error) if error.is(Fault::Refused) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody has a secret of the client, and that is nothing that Keyward does.
    async fn alarm(&self, pass: &Pass, drift: &Drift) -> Result<()> {
        tracing::warn!(client = %drift.resource, secret = %drift.external_id, "a secret that Keyward did not add");
        let event = pass.call.doing("keyward.reconcile/alarm").event(self.world.now(), &drift.resource);
        let event = event.ended(Outcome::Failed, "FOREIGN_SECRET");
        self.world.put_on_record(event.detail(format!("{} was not added by the broker", drift.external_id))).await
    }

    async fn mend(&self, pass: &Pass, known: &Known, seen: &Seen, drift: &Drift) -> Result<bool> {
        let is_of_the_vault = drift.external_id == known.client.secret_name.as_str();
        match drift.kind {
            DriftKind::Missing if is_of_the_vault => self.put_current_back(pass, known).await,
            DriftKind::ChangedSetting if drift.field == CURRENT_VERSION => self.put_current_back(pass, known).await,
            DriftKind::ChangedSetting if drift.field != KIND => {
                self.note(pass, "keyward.reconcile/update-app-client", &known.client.name, drift.field).await?;
                let spec = spec_of(&known.client);
                let updated = self.world.user_pools.update_app_client(&known.pool, &known.app_client, &spec).await;
                self.look_at_client(pass, &known.client, None).await?;
                Ok(updated.map(|()| true)?)
            }
            DriftKind::ForeignSecret => match SecretId::parse("secret", &drift.external_id) {
                Ok(secret) => self.remove_secret(pass, known, seen, &secret).await,
                Err(_) => Ok(false),
            },
            // Perhaps it was only another version that was current.
            DriftKind::DeadSecret => Ok(self.authenticates(known).await? == Some(true)),
            DriftKind::Missing | DriftKind::ChangedSetting | DriftKind::Orphan => Ok(false),
        }
    }

    /// Makes the version that the record calls current so in the vault too, the secret included if it is gone: one that
    /// is scheduled for deletion comes back with its value. Whether that value still gets a token is the answer.
    ///
    /// The record is written once more first, so whoever is just moving the label by an older one cannot write that down. Who
    /// rotates by the newer one has written a candidate before it moves the label: then it is left where it is.
    async fn put_current_back(&self, pass: &Pass, known: &Known) -> Result<bool> {
        let (name, version) = (&known.client.secret_name, &known.credential.current.version);
        let key = client_key(&known.client.name);
        let credential: Option<Versioned<Credential>> = self.world.records.get(&key).await?;
        let is_as_compared = |now: &Versioned<Credential>| {
            (&now.current, &now.candidate) == (&known.credential.current, &known.credential.candidate)
        };
        let Some(credential) = credential.filter(is_as_compared) else { return Ok(false) };
        let event = pass.call.doing("keyward.reconcile/restore-secret").event(self.world.now(), &known.client.name);
        let change = Change::because(event.detail(name.as_str())).update(credential.version, &credential.value);
        self.world.records.commit(change).await?;
        let written = credential.version + 1;
        // A version that is there keeps its content.
        let content = document(&known.client, &known.pool, Some(known.app_client.clone()), new_secret()?);
        self.world.vault.stage(name, version, &content).await?;
        let labels = self.world.vault.labels(name).await?.unwrap_or_default();
        let credential: Option<Versioned<Credential>> = self.world.records.get(&key).await?;
        let is_as_written = credential.is_some_and(|now| now.version == written);
        if let Some(other) = labels.current.filter(|current| is_as_written && current != version) {
            self.world.vault.promote(name, &other, version).await?;
            self.world.vault.clear(name, Label::Previous, &other).await?;
        }
        self.world.vault.clear(name, Label::Pending, version).await?;
        let set = set_readers(&self.world, &known.client).await;
        self.look_at_client(pass, &known.client, None).await?;
        set?;
        Ok(is_as_written && self.authenticates(known).await? == Some(true))
    }

    /// Condemns the secret in the record before it is deleted, so that no rotation takes it for its own. The last one
    /// cannot be deleted: the answer is then no, and a rotation brings another first.
    async fn remove_secret(&self, pass: &Pass, known: &Known, seen: &Seen, secret: &SecretId) -> Result<bool> {
        let name = &known.client.name;
        let is_condemned = settle(|| async {
            let credential: Option<Versioned<Credential>> = self.world.records.get(&client_key(name)).await?;
            let Some(credential) = credential.filter(|credential| !credential.keeps(secret)) else { return Ok(false) };
            let now = self.world.now();
            let mut record = credential.value.clone();
            let labels = seen.labels.clone().unwrap_or_default();
            record.forget_condemned(now, &Observed { secrets: seen.secrets.clone(), labels });
            record.condemned.insert(secret.clone(), now);
            let event = pass.call.doing("keyward.reconcile/condemn").event(now, name).detail(secret.as_str());
            self.world.records.commit(Change::because(event).update(credential.version, &record)).await?;
            Ok(true)
        })
        .await?;
        if !is_condemned {
            return Ok(false);
        }
        match self.world.user_pools.delete_secret(&known.pool, &known.app_client, secret).await {
            Err(error) if error.is(Fault::Refused) => Ok(false),
            outcome => Ok(outcome.map(|()| true)?),
        }
    }

    /// Rotates the secret at once, and looks whether that has mended what was left.
    async fn renew(&self, pass: &Pass, name: &ClientName, drifts: &mut [Drift]) -> Result<()> {
        let call = pass.call.doing("keyward.reconcile/rotate");
        let request = |immediate| RotationRequest {
            immediate,
            overlap: (!immediate).then_some(Duration::ZERO),
            reason: "found by a reconciliation".to_owned(),
            replace: false,
        };
        let started = self.rotator.start(&call, name, &request(false), Trigger::Requested, false).await;
        let started = match started {
            // What is under way has made a secret current that is dead, or keeps one in place.
            Err(error) if error.reason() == Reason::RotationRunning => {
                self.rotator.start(&call, name, &request(true), Trigger::Compromise, false).await
            }
            started => started,
        };
        if let Err(error) = started {
            tracing::warn!(client = %name, %error, "a difference could not be mended by a rotation");
            return Ok(());
        }
        // How it went shows in what is left.
        let _ = self.journals.run(Task::RotateSecret(name.clone())).await;
        let _client = self.world.targets.lock(name.to_string()).await;
        let Some((known, seen)) = self.look(name).await? else { return Ok(()) };
        let left = known.compare(&seen);
        let is_left =
            |drift: &Drift| left.iter().any(|left| (left.kind, &left.external_id) == (drift.kind, &drift.external_id));
        let alive = seen.authenticates == Some(true);
        for drift in drifts.iter_mut().filter(|drift| needs_new_secret(drift)) {
            drift.mended = alive && !is_left(drift);
        }
        Ok(())
    }
}

impl Known {
    fn compare(&self, seen: &Seen) -> Vec<Drift> {
        let Known { client, credential, is_applying, is_rotating, .. } = self;
        compare(&Registered { client, credential, is_applying: *is_applying, is_rotating: *is_rotating }, seen)
    }

    fn is_as(&self, other: &Known) -> bool {
        let versions = |known: &Known| (known.client.version, known.credential.version);
        versions(self) == versions(other)
            && (self.is_applying, self.is_rotating) == (other.is_applying, other.is_rotating)
    }
}

/// Whether only another secret helps.
fn needs_new_secret(drift: &Drift) -> bool {
    let is_of_the_secret = match drift.kind {
        DriftKind::DeadSecret | DriftKind::ForeignSecret => true,
        // The app client's id is not a path.
        DriftKind::Missing => drift.external_id.contains('/'),
        DriftKind::ChangedSetting => drift.field == CURRENT_VERSION,
        DriftKind::Orphan => false,
    };
    !drift.mended && is_of_the_secret
}
