//! The three ways to refuse a credential. What is said of it is never the credential itself.

use crate::domain::error::{Error, Reason};

pub(super) fn missing(message: &'static str) -> Error {
    Error::new(Reason::CredentialsMissing, message)
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Reason::CredentialsInvalid, message)
}

pub(super) fn ambiguous(message: &'static str) -> Error {
    Error::new(Reason::CredentialsAmbiguous, message)
}

/// One message, whatever is wrong with an app client id and secret.
pub(super) fn no_login() -> Error {
    invalid("the app client id and secret are not those of a client")
}
