//! How the backends behind the ports fail, and what a caller learns of it.

use std::fmt;
use std::time::Duration;

use crate::domain::error::{Error, Reason};
use crate::domain::form::Form;

pub type PortResult<T> = Result<T, PortError>;

/// A backend's failure: what kind, what was being done, and the backend's own words for the log.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {detail}")]
pub struct PortError {
    pub peer: Peer,
    pub fault: Fault,
    pub doing: &'static str,
    /// For the log and for operators. Never a secret, never a token.
    pub detail: String,
}

/// Behind which port it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    UserPools,
    TokenEndpoint,
    KeySource,
    Vault,
    Registry,
    DomainProofs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The thing that the call is about does not exist.
    NotFound,
    /// An expectation did not hold: somebody else was faster.
    Conflict,
    /// A name that only one can have is another's.
    Taken,
    /// A number of things is at its limit.
    LimitExceeded,
    /// The backend will not do this, however often it is asked.
    Refused,
    /// Client id and secret do not authenticate.
    InvalidClient,
    /// The backend has no such operation.
    Unsupported,
    /// Too many calls; try later.
    Throttled,
    /// No answer, or one that says to try later.
    Unavailable,
    /// Data that we wrote cannot be read: wrong master key, a torn file, a fault of ours.
    Broken,
    /// It was stored in this form, which a newer Keyward writes and this one does not read.
    NewerForm(Form),
}

/// How calls of ports end, for whoever counts them: well, with a [`Fault`], or given up by whoever waited.
pub const ENDS: [&str; 13] = [
    "OK",
    "NOT_FOUND",
    "CONFLICT",
    "LIMIT_EXCEEDED",
    "REFUSED",
    "INVALID_CLIENT",
    "UNSUPPORTED",
    "THROTTLED",
    "UNAVAILABLE",
    "BROKEN",
    "NEWER_FORM",
    "TAKEN",
    "GIVEN_UP",
];
/// The place of the last of [`ENDS`].
pub const GIVEN_UP: usize = ENDS.len() - 1;

/// The place of an outcome among [`ENDS`]; that of the good end is 0.
pub fn end_of<T>(outcome: &PortResult<T>) -> usize {
    match outcome.as_ref().map_err(|error| error.fault) {
        Ok(_) => 0,
        Err(Fault::NotFound) => 1,
        Err(Fault::Conflict) => 2,
        Err(Fault::LimitExceeded) => 3,
        Err(Fault::Refused) => 4,
        Err(Fault::InvalidClient) => 5,
        Err(Fault::Unsupported) => 6,
        Err(Fault::Throttled) => 7,
        Err(Fault::Unavailable) => 8,
        Err(Fault::Broken) => 9,
        Err(Fault::NewerForm(_)) => 10,
        Err(Fault::Taken) => 11,
    }
}

impl PortError {
    pub fn new(peer: Peer, fault: Fault, doing: &'static str, detail: impl fmt::Display) -> Self {
        PortError { peer, fault, doing, detail: detail.to_string() }
    }

    pub fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl From<PortError> for Error {
    /// What a caller learns when nobody in between knew better. The backend's words stay in the log.
    fn from(error: PortError) -> Error {
        let short = Duration::from_secs(1);
        let (reason, message, retry_after) = match error.fault {
            Fault::Conflict => (Reason::ConcurrentChange, "somebody else changed it at the same time", Some(short)),
            Fault::Taken => (Reason::DomainClaimed, "the domain is another's", None),
            Fault::LimitExceeded => (Reason::QuotaExceeded, "a limit of the identity backend is reached", None),
            Fault::Throttled if error.peer == Peer::Registry => {
                (Reason::Throttled, "the registry asks to slow down", Some(short))
            }
            Fault::Throttled => (Reason::Throttled, "the identity backend asks to slow down", Some(short)),
            Fault::InvalidClient => (Reason::SecretRejected, "the token endpoint refuses the client's secret", None),
            Fault::Unavailable => match error.peer {
                Peer::Vault => (Reason::VaultUnavailable, "the vault does not answer", Some(short)),
                Peer::Registry => (Reason::RegistryUnavailable, "the registry does not answer", Some(short)),
                Peer::KeySource => (Reason::KeysUnavailable, "the issuer's keys cannot be read", Some(short)),
                Peer::UserPools | Peer::TokenEndpoint => {
                    (Reason::UpstreamUnavailable, "the identity backend does not answer", Some(short))
                }
                Peer::DomainProofs => (Reason::UpstreamUnavailable, "DNS does not answer", Some(short)),
            },
            Fault::Refused | Fault::Unsupported if error.peer != Peer::Registry => {
                (Reason::BackendRefused, "the backend refuses it; the broker's log has its words", None)
            }
            Fault::NewerForm(form) => {
                let reads = Form::READ;
                let message = format!(
                    "it is stored in the form {form} of a newer Keyward; this broker reads forms up to {reads}"
                );
                let answer = Error::unavailable(Reason::RecordFormNewer, message, short).caused_by(error);
                return answer.with("form", form).with("reads", reads);
            }
            Fault::NotFound | Fault::Refused | Fault::Unsupported | Fault::Broken => {
                return Error::internal(error.doing, error);
            }
        };
        let answer = Error::new(reason, message).caused_by(error);
        match retry_after {
            Some(wait) => answer.retry_after(wait),
            None => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_refuses_is_no_fault_of_the_broker_and_is_not_told_in_its_words() {
        let reason = |peer, fault| {
            let error = Error::from(PortError::new(peer, fault, "create an app client", "AccessDenied for arn:aws:x"));
            assert!(!error.message().contains("arn:"), "{error}");
            assert!(error.internal_detail().is_some_and(|detail| detail.contains("arn:")));
            error.reason()
        };
        for peer in [Peer::UserPools, Peer::TokenEndpoint, Peer::KeySource, Peer::Vault] {
            assert_eq!(reason(peer, Fault::Refused), Reason::BackendRefused);
            assert_eq!(reason(peer, Fault::Unsupported), Reason::BackendRefused);
        }
        assert_eq!(reason(Peer::Registry, Fault::Refused), Reason::Internal);
        assert_eq!(reason(Peer::Vault, Fault::Broken), Reason::Internal);
    }
}
