//! What a backend says of a user pool.

use super::PortResult;
use crate::domain::pool::MadePool;

/// A pool that was looked for and found as it is, whole or half made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPool {
    /// Without domain and token endpoint where it has none yet.
    pub made: MadePool,
    /// Accounts of people in it, as far as the backend estimates.
    pub users: u64,
    /// Whether deletion protection is on.
    pub is_protected: bool,
}

/// A setting of a pool that a backend does not offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Its path, relative to `user_pool`.
    pub field: &'static str,
    /// Why, for whoever asked for it.
    pub rule: String,
}

/// A pool after a step towards its domain.
#[derive(Debug)]
pub struct DomainSet {
    /// With the domain that is in force now, whether it is the one that was wanted or not.
    pub made: MadePool,
    /// How far it came; or why it goes no further, with what was in force still in force.
    pub progress: PortResult<DomainProgress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainProgress {
    /// The domain is as it was wanted.
    InForce,
    /// The backend is at work on it: look again.
    OnItsWay,
}
