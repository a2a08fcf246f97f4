//! The move of a tenant from one isolation to the other.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::PoolId;
use super::tenant::{Isolation, UserPoolSettings};

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
