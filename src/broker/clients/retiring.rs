//! Retiring a client: every app client that it has or may have, its secret, its records.
//!
//! In the middle of a replacement there are several: the current one and the one before it, one on its way in, those
//! that nothing came of, and any that a creation has made without anybody writing it down.

use std::collections::BTreeMap;
use std::time::Duration;

use super::interactive::strike_entry;
use super::issuing::{ALL_ROTATIONS, Issuing};
use crate::broker::records::shelves::{ScopeUse, client_key, owner_key, rotation_prefix, use_key};
use crate::broker::records::{Change, Versioned};
use crate::domain::audit::Call;
use crate::domain::client::{Client, ClientState, MAX_TOKEN_VALIDITY, Owner};
use crate::domain::error::Result;
use crate::domain::id::{ClientName, PoolId};
use crate::domain::interactive::ClientKind;
use crate::domain::journal::{Journal, Progress, Task};
use crate::domain::pool::Pool;
use crate::domain::rotation::{AppClient, Credential, Rotation};

/// No token of a deleted client is valid after this: the longest validity, and an hour for clocks that differ.
const LAST_TOKENS: Duration = Duration::from_secs(MAX_TOKEN_VALIDITY.as_secs() + 60 * 60);

impl Issuing {
    /// Deletes the client's app clients, schedules its secret for deletion, forgets the client.
    pub async fn retire(&self, journal: &Versioned<Journal>, name: &ClientName) -> Result<Progress> {
        if self.client(name).await?.is_none_or(|client| client.state != ClientState::Deleting) {
            return self.strike(journal).await;
        }
        self.retire_for(&journal.cause, name).await?;
        Ok(Progress::Done)
    }

    /// The same for a client in whatever state, as part of its tenant's offboarding. The caller holds the client's
    /// lock, so nobody is issuing or rotating it meanwhile.
    pub async fn retire_for(&self, cause: &Call, name: &ClientName) -> Result<()> {
        let Some(client) = self.client(name).await? else {
            return Ok(());
        };
        let credential: Option<Versioned<Credential>> = self.world.records.get(&client_key(name)).await?;
        let belongings = Belongings::of(&client, credential.as_ref().map(|credential| credential.value.clone()));

        let now = self.world.now();
        let event = cause.doing("keyward.client/retire").event(now, name);
        let mut change = Change::because(event).delete(&client);
        for app_client in &belongings.app_clients {
            let Some(pool) = self.pools.made(&app_client.pool).await? else { continue };
            self.world.user_pools.delete_app_client(&pool, &app_client.id).await?;
            let key = owner_key(&pool.issuer, &app_client.id);
            if let Some(owner) = self.world.records.get::<Owner>(&key).await? {
                let record = Owner { purge_time: Some(now + LAST_TOKENS), ..owner.value.clone() };
                change = change.update(owner.version, &record);
            }
        }
        for (pool, marker) in &belongings.unrecorded {
            let Some(pool) = self.pools.made(pool).await? else { continue };
            if let Some(app_client) = self.world.user_pools.find_app_client(&pool, marker).await? {
                self.world.user_pools.delete_app_client(&pool, &app_client).await?;
            }
        }
        match client.kind() {
            ClientKind::Machine => {
                let window = self.world.settings.rotation.recovery_window;
                self.world.vault.schedule_deletion(&client.secret_name, window).await?;
            }
            ClientKind::Interactive => change = strike_entry(&self.world, change, name).await?,
        }

        let _turn = self.pools.place_in_turn().await;
        for (pool, places) in &belongings.places {
            if let Some(pool) = self.world.records.get::<Pool>(pool.as_str()).await? {
                let record = Pool { app_clients: pool.app_clients.saturating_sub(*places), ..pool.value.clone() };
                change = change.update(pool.version, &record);
            }
        }
        // Nobody has recorded another app client meanwhile.
        change = credential.iter().fold(change, |change, credential| change.delete(credential));
        for rotation in self.world.records.list::<Rotation>(&rotation_prefix(name), &ALL_ROTATIONS).await?.items {
            change = change.delete(&rotation);
        }
        for scope in client.scopes.iter() {
            if let Some(usage) = self.world.records.get::<ScopeUse>(&use_key(scope, name)).await? {
                change = change.delete(&usage);
            }
        }
        let tasks = [Task::IssueClient, Task::ApplyClient, Task::RotateSecret, Task::RetireClient]
            .map(|task| task(name.clone()));
        for task in tasks {
            if let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? {
                change = change.delete(&journal);
            }
        }
        self.world.records.commit(change).await
    }
}

/// What a client has at Cognito.
struct Belongings {
    app_clients: Vec<AppClient>,
    /// Names under which there may be more, and in which pool.
    unrecorded: Vec<(PoolId, String)>,
    /// How many places each pool gets back.
    places: BTreeMap<PoolId, u32>,
}

impl Belongings {
    fn of(client: &Client, credential: Option<Credential>) -> Self {
        let own = client.app_client.clone().map(|id| AppClient { pool: client.pool.clone(), id });
        let mut it = Belongings { app_clients: Vec::new(), unrecorded: Vec::new(), places: BTreeMap::new() };
        match (own, credential) {
            (Some(own), Some(mut credential)) => {
                credential.complete(&own);
                it.app_clients.extend(credential.app_clients().cloned());
                let attempts = credential.attempts();
                it.unrecorded.extend(attempts.map(|attempt| (attempt.pool.clone(), attempt.marker.clone())));
                for attempt in credential.attempts().filter(|attempt| attempt.placed) {
                    *it.places.entry(attempt.pool.clone()).or_default() += 1;
                }
            }
            (Some(own), None) => it.app_clients.push(own),
            // It may have been made by a run that stopped before it said so.
            (None, _) => {
                it.unrecorded.push((client.pool.clone(), client.marker()));
                it.places.insert(client.pool.clone(), 1);
            }
        }
        for app_client in &it.app_clients {
            *it.places.entry(app_client.pool.clone()).or_default() += 1;
        }
        it
    }
}
