//! What can go wrong, said once for everybody: a kind, a reason a program can act on, a sentence a person can.
//!
//! An [`Error`] knows no transport. Its `message`, `reason`, `fields` and `retry_after` are for the caller; its
//! source is for the log and cannot be read through `Display`, so an internal detail cannot leak by accident.
//! Errors are cheap to clone because one failed fetch is the answer of everybody who waited for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use super::reason::{Kind, Reason};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One field of a request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    pub field: String,
    pub description: String,
}

/// A failure that a caller will see.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    reason: Reason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    fields: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// `message` is a sentence about the thing at fault.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Error(Arc::new(Inner {
            reason,
            message: message.into(),
            metadata: Vec::new(),
            fields: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Bad input in `field` (a path from the request message, `client.scopes[2]`).
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let mut error = Error::new(Reason::FieldInvalid, format!("{field}: {description}"));
        error.edit().fields.push(FieldViolation { field, description });
        error
    }

    pub fn not_found(resource: impl fmt::Display) -> Self {
        Error::new(Reason::ResourceNotFound, format!("{resource} does not exist")).about(resource)
    }

    pub fn already_exists(resource: impl fmt::Display) -> Self {
        Error::new(Reason::ResourceExists, format!("{resource} exists already")).about(resource)
    }

    /// The caller's etag is not that of the thing as it is now.
    pub fn etag_mismatch(resource: impl fmt::Display) -> Self {
        Error::new(Reason::EtagMismatch, format!("{resource} was changed since its etag was read")).about(resource)
    }

    /// Bad input for a reason of its own, in `field`.
    pub fn invalid_because(reason: Reason, field: impl Into<String>, description: impl Into<String>) -> Self {
        let mut error = Error::invalid(field, description);
        error.edit().reason = reason;
        error
    }

    pub fn unavailable(reason: Reason, message: impl Into<String>, retry_after: Duration) -> Self {
        Error::new(reason, message).retry_after(retry_after)
    }

    /// A fault of ours: the caller learns only that it happened; `doing` and the source go to the log.
    pub fn internal(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut error = Error::new(Reason::Internal, "the broker failed; its log has the cause");
        error.edit().source = Some(Arc::new(Doing { doing, source: source.into() }));
        error
    }

    /// Names the resource at fault.
    #[must_use]
    pub fn about(self, resource: impl fmt::Display) -> Self {
        self.with("resource", resource)
    }

    /// Adds to the metadata of `google.rpc.ErrorInfo`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.edit().metadata.push((key, value.to_string()));
        self
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.edit().retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.edit().source = Some(Arc::new(source));
        self
    }

    /// The same violation, its field path prefixed: `scopes[2]` becomes `client.scopes[2]`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        let inner = self.edit();
        for violation in &mut inner.fields {
            violation.field = format!("{prefix}.{}", violation.field);
        }
        if let [only] = inner.fields.as_slice() {
            inner.message = format!("{}: {}", only.field, only.description);
        }
        self
    }

    /// The reverse of [`within`](Error::within), for a message that has the same part without one around it.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        let inner = self.edit();
        for violation in &mut inner.fields {
            if let Some(rest) = violation.field.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
                violation.field = rest.to_owned();
            }
        }
        if let [only] = inner.fields.as_slice() {
            inner.message = format!("{}: {}", only.field, only.description);
        }
        self
    }

    pub fn kind(&self) -> Kind {
        match self.0.reason {
            // A setting of the other kind is a field; what is done to a client of the other kind names none.
            Reason::ClientKindMismatch if self.0.fields.is_empty() => Kind::FailedPrecondition,
            reason => reason.kind(),
        }
    }

    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.0.metadata
    }

    pub fn fields(&self) -> &[FieldViolation] {
        &self.0.fields
    }

    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What to log: the source and everything under it, in one line. Never sent to a caller.
    pub fn internal_detail(&self) -> Option<String> {
        let mut next: Option<&dyn std::error::Error> = match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        };
        let mut line = String::new();
        while let Some(error) = next {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&error.to_string());
            next = error.source();
        }
        (!line.is_empty()).then_some(line)
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("internal", &self.internal_detail())
            .finish()
    }
}

impl std::error::Error for Error {}

/// What we were doing when something under us failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
struct Doing {
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_detail_is_not_displayed() {
        let error = Error::internal("reading the tenant", "disk I/O error");
        assert_eq!(error.to_string(), "the broker failed; its log has the cause");
        assert_eq!(error.internal_detail().as_deref(), Some("reading the tenant: disk I/O error"));
    }

    #[test]
    fn another_kind_of_client_is_bad_input_for_a_setting_and_a_precondition_for_an_action() {
        let setting = Error::invalid_because(Reason::ClientKindMismatch, "client.interactive", "is for people");
        assert_eq!(setting.kind(), Kind::InvalidArgument);
        assert_eq!(Error::new(Reason::ClientKindMismatch, "it has no secret").kind(), Kind::FailedPrecondition);
    }

    #[test]
    fn a_violation_can_be_nested() {
        let error = Error::invalid("scopes[2]", "is empty").within("client");
        assert_eq!(error.fields()[0].field, "client.scopes[2]");
        assert_eq!(error.message(), "client.scopes[2]: is empty");
        assert_eq!(error.without("client").message(), "scopes[2]: is empty");
    }
}
