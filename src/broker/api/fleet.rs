//! The rotation of many clients' secrets by one call: which, how, and what becomes of each.

use jiff::Timestamp;

use super::{RotationRequest, RotationView};
use crate::domain::client::Client;
use crate::domain::error::Reason;
use crate::domain::id::{ClientName, PoolId, TenantId};
use crate::domain::tenant::Labels;

/// Which clients' secrets to rotate, and how. All conditions that are given must hold.
#[derive(Clone, Debug, Default)]
pub struct FleetRequest {
    /// `None` for all tenants.
    pub tenant: Option<TenantId>,
    /// A client must have all of these, with these values.
    pub labels: Labels,
    pub pool: Option<PoolId>,
    /// A client's secret must have become current before this instant.
    pub rotated_before: Option<Timestamp>,
    pub rotation: RotationRequest,
}

impl FleetRequest {
    pub fn matches(&self, client: &Client) -> bool {
        let is_labelled = self.labels.iter().all(|(key, value)| client.labels.get(key) == Some(value));
        let is_old = |before| client.rotate_time.is_some_and(|time| time < before);
        is_labelled
            && self.pool.as_ref().is_none_or(|pool| client.pool == *pool)
            && self.rotated_before.is_none_or(is_old)
    }

    /// The resource name of what it is about.
    pub fn parent(&self) -> String {
        self.tenant.as_ref().map_or_else(|| "tenants/-".to_owned(), TenantId::name)
    }
}

/// How many clients there are so far, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetTally {
    pub matched: u64,
    pub promoted: u64,
    pub behind: u64,
    pub passed_over: u64,
}

/// One message of the call: what became of a client, and how many there are by then.
#[derive(Clone, Debug)]
pub struct FleetProgress {
    pub tally: FleetTally,
    /// `None` in the last, when every client was seen to.
    pub seen_to: Option<(ClientName, FleetOutcome)>,
}

/// What became of a client.
#[derive(Clone, Debug)]
pub enum FleetOutcome {
    /// Nothing was to be changed: this would be done.
    Planned(RotationView),
    /// Its new secret is current.
    Promoted(RotationView),
    /// Its rotation was begun, and its new secret is not current yet; why, in UPPER_SNAKE.
    Behind(RotationView, String),
    /// Its rotation was not begun.
    PassedOver(Reason),
}
