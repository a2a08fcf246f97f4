//! Whether a caller may do what it asks for.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Gate;
use crate::broker::Basis;
use crate::domain::caller::{Ask, Caller, Known};
use crate::domain::error::{Error, Reason, Result};
use crate::net::{Connection, Source};

/// The address that a call comes from; `None` for a Unix socket.
pub fn source(connection: Option<&Connection>) -> Option<IpAddr> {
    match connection?.source() {
        Source::Tcp(address) => Some(address.ip()),
        Source::Unix { .. } => None,
    }
}

/// Fails with CREDENTIALS_INVALID when the proof of who calls has expired.
pub fn check_proof(caller: &Caller, now: Timestamp) -> Result<()> {
    match caller.valid_until {
        Some(end) if now >= end => Err(Error::new(Reason::CredentialsInvalid, "the proof of who calls has expired")),
        _ => Ok(()),
    }
}

impl Gate {
    /// Fails with PERMISSION_DENIED, the same for what exists and what does not; with CREDENTIALS_INVALID when the proof of
    /// who calls has expired; with UNAVAILABLE when the labels that policies look at cannot be read.
    ///
    /// `basis` gets what the decision stands on beside the policies.
    pub async fn permit(&self, ask: &Ask<'_>, basis: &mut Basis) -> Result<()> {
        check_proof(ask.caller, self.broker.now())?;
        let in_force = self.permissions.in_force();
        let known = match in_force.reads_labels() {
            true => Box::pin(self.broker.known(ask.caller, &ask.target, basis)).await?,
            false => Known::default(),
        };
        in_force.decide(ask, &known)
    }
}
