//! The move of a tenant from one isolation to the other: where it is, and what is left to do about each of its clients.
//!
//! A move first makes the new place ready; then the tenant's home is that; then each client gets a new app client there,
//! by a rotation like any other. What is left is always told by what is there, never by what was done, so a crash costs
//! another look. A client's app clients may be in either place at any time; what matters is which one is current.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::{Client, ClientState};
use super::credential::{AppClient, Credential, PreviousSecret};
use super::id::PoolId;
use super::interactive::ClientKind;
use super::journal::Task;
use super::tenant::{Isolation, UserPoolSettings};

/// How long the old app clients work after all clients were moved, where nobody says.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that can be asked for.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The overlap of a rotation that a move has started, until the move says when the old app clients go. Nobody else can ask
/// for so long a one: half of a rotation policy's longest period is half of this.
pub const HELD: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveState {
    /// The new place is being made, and clients are given their new app clients.
    Running,
    /// Every client uses its new app client; the old ones still work.
    Overlap,
    /// The old place is gone.
    Succeeded,
}

/// The move that is under way, or that ended last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantMove {
    pub state: MoveState,
    pub target: Isolation,
    /// Where the tenant goes: its own pool, or a shared one that had room.
    pub to: PoolId,
    /// The settings of the new pool, where it is the tenant's own.
    pub user_pool: Option<UserPoolSettings>,
    /// Where the tenant was. One of its own is deleted once no token of it can be valid.
    pub from: PoolId,
    pub from_isolation: Isolation,
    pub client_count: u32,
    pub moved_client_count: u32,
    /// How long the old app clients still work after all clients were moved.
    pub overlap: Duration,
    pub create_time: Timestamp,
    /// The end of the overlap; `None` until every client was moved.
    pub retire_time: Option<Timestamp>,
    pub end_time: Option<Timestamp>,
    /// Why the last attempt failed, as a reason of the contract. Empty when it did not.
    pub last_error_reason: String,
}

impl TenantMove {
    pub fn is_over(&self) -> bool {
        self.state == MoveState::Succeeded
    }

    /// Whether what is in this pool is where the tenant goes. There may be several shared pools, but one of its own.
    pub fn is_new_place(&self, pool: &PoolId) -> bool {
        match self.target {
            Isolation::UserPool => *pool == self.to,
            Isolation::AppClient => *pool != self.from,
        }
    }

    /// What is to be done about a client before every client is where the tenant goes.
    pub fn way_of(&self, client: &Client, credential: Option<&Credential>, now: Timestamp) -> Way {
        let name = || client.name.clone();
        if client.state == ClientState::Deleting {
            return Way::Carry(Task::RetireClient(name()));
        }
        if self.is_new_place(&client.pool) {
            return Way::There;
        }
        if client.kind() == ClientKind::Interactive {
            return Way::Closed;
        }
        let Some(credential) = credential.filter(|_| client.state == ClientState::Active) else {
            return Way::Carry(Task::IssueClient(name()));
        };
        match (&credential.candidate, &credential.previous) {
            (_, Some(previous)) if previous.retire_time > now => Way::Wait(previous.retire_time),
            (Some(_), _) | (_, Some(_)) => Way::Carry(Task::RotateSecret(name())),
            (None, None) => Way::Replace,
        }
    }

    /// What is to be done about a client once all use their new app clients, before the old place can go.
    pub fn rest_of(&self, client: &Client, credential: Option<&Credential>, now: Timestamp) -> Rest {
        if client.state == ClientState::Deleting {
            return Rest::Carry(Task::RetireClient(client.name.clone()));
        }
        let Some(credential) = credential else { return Rest::Nothing };
        if credential.previous.as_ref().is_some_and(|previous| self.is_held(previous)) {
            return Rest::Release;
        }
        let is_old = |app_client: &AppClient| !self.is_new_place(&app_client.pool);
        if credential.app_clients().any(is_old) {
            return match &credential.previous {
                Some(previous) if previous.retire_time > now => Rest::Wait(previous.retire_time),
                _ => Rest::Carry(Task::RotateSecret(client.name.clone())),
            };
        }
        // Verifiers need the keys of a pool for as long as a token of it can be valid.
        let of_old = client.replaced.iter().filter(|replaced| replaced.pool == self.from);
        let last_token = of_old.map(|replaced| replaced.forget_time).max().filter(|time| *time > now);
        match last_token.filter(|_| self.from_isolation == Isolation::UserPool) {
            Some(time) => Rest::Outlast(time),
            None => Rest::Nothing,
        }
    }

    /// Whether it is for the move to say when the old app client goes.
    pub fn is_held(&self, previous: &PreviousSecret) -> bool {
        previous.retire_time >= self.create_time + HELD
    }
}

/// What is to be done about a client before all are where the tenant goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing: its app client is there.
    There,
    /// A new app client there is to take the place of the old.
    Replace,
    /// What is under way is finished first.
    Carry(Task),
    /// A secret or an app client of before works until then, and two rotations of one client never overlap.
    Wait(Timestamp),
    /// People sign in with it, and a pool's people cannot be moved.
    Closed,
}

/// What is to be done about a client once all are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    /// Its old app client is to go when the move says.
    Release,
    Carry(Task),
    /// An old app client works until then, unless somebody ends that sooner.
    Wait(Timestamp),
    /// A token from the old place may be valid until then, whatever anybody does.
    Outlast(Timestamp),
}

#[cfg(test)]
#[path = "tests/moving.rs"]
mod tests;
