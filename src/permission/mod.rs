//! What a caller may do.
//!
//! It must never permit what no policy permits, nor say more to whoever is denied than that they are.

use crate::domain::caller::{Ask, Role};
use crate::domain::error::{Error, Reason, Result};

/// What is in force.
pub struct Permissions {}

impl Permissions {
    /// Operators may do everything, everybody else nothing.
    pub fn operators_only() -> Self {
        Permissions {}
    }

    /// Fails with PERMISSION_DENIED, the same whether or not the target exists.
    pub fn decide(&self, ask: &Ask<'_>) -> Result<()> {
        match ask.caller.roles.contains(&Role::Operator) {
            true => Ok(()),
            false => Err(denied()),
        }
    }
}

fn denied() -> Error {
    Error::new(Reason::PermissionDenied, "the caller may not do this, or there is nothing that it may do it to")
}
