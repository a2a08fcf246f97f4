//! What can go wrong, said once for everybody: a kind, a reason a program can act on, a sentence a person can.
//!
//! An [`Error`] knows no transport. Its `message`, `reason`, `fields` and `retry_after` are for the caller; its
//! source is for the log and cannot be read through `Display`, so an internal detail cannot leak by accident.
//! Errors are cheap to clone because one failed fetch is the answer of everybody who waited for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The classes of failure, named as gRPC names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong; sending it again will not help.
    InvalidArgument,
    NotFound,
    AlreadyExists,
    /// The request is fine, the state of the thing it names is not.
    FailedPrecondition,
    OutOfRange,
    /// Somebody else changed the thing in between: read it again, then retry.
    Aborted,
    PermissionDenied,
    /// A limit or quota is used up.
    ResourceExhausted,
    /// A backend cannot be reached or cannot answer now.
    Unavailable,
    Unimplemented,
    /// A fault of ours.
    Internal,
}

impl Kind {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn retryable(self) -> bool {
        match self {
            Kind::Aborted | Kind::ResourceExhausted | Kind::Unavailable => true,
            Kind::InvalidArgument
            | Kind::NotFound
            | Kind::AlreadyExists
            | Kind::FailedPrecondition
            | Kind::OutOfRange
            | Kind::PermissionDenied
            | Kind::Unimplemented
            | Kind::Internal => false,
        }
    }
}

/// Why, for a program to act on: the reasons of the contract (`keyward.v1.ErrorReason`), as far as this broker gives
/// them. Each belongs to one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    FieldInvalid,
    PageTokenInvalid,
    RequestIdReused,
    ScopeUnknown,
    ScopeNotAllowed,
    TokenInvalid,
    ResourceNotFound,
    ResourceExists,
    EtagMismatch,
    ConcurrentChange,
    TenantNotReady,
    TenantSuspended,
    TenantDeleting,
    ClientNotReady,
    ClientDeleting,
    RotationRunning,
    ScopeInUse,
    ScopeNotGranted,
    SecretRejected,
    DeletionProtected,
    RevealDisabled,
    SequenceUnknown,
    QuotaExceeded,
    ScopeSetsExhausted,
    Throttled,
    Overloaded,
    UpstreamUnavailable,
    VaultUnavailable,
    RegistryUnavailable,
    KeysUnavailable,
    AuditUnavailable,
    ShuttingDown,
    PermissionDenied,
    NotOffered,
    Internal,
}

impl Reason {
    /// Every reason, for the test that holds them against the contract.
    pub const ALL: &[Reason] = &[
        Reason::FieldInvalid,
        Reason::PageTokenInvalid,
        Reason::RequestIdReused,
        Reason::ScopeUnknown,
        Reason::ScopeNotAllowed,
        Reason::TokenInvalid,
        Reason::ResourceNotFound,
        Reason::ResourceExists,
        Reason::EtagMismatch,
        Reason::ConcurrentChange,
        Reason::TenantNotReady,
        Reason::TenantSuspended,
        Reason::TenantDeleting,
        Reason::ClientNotReady,
        Reason::ClientDeleting,
        Reason::RotationRunning,
        Reason::ScopeInUse,
        Reason::ScopeNotGranted,
        Reason::SecretRejected,
        Reason::DeletionProtected,
        Reason::RevealDisabled,
        Reason::SequenceUnknown,
        Reason::QuotaExceeded,
        Reason::ScopeSetsExhausted,
        Reason::Throttled,
        Reason::Overloaded,
        Reason::UpstreamUnavailable,
        Reason::VaultUnavailable,
        Reason::RegistryUnavailable,
        Reason::KeysUnavailable,
        Reason::AuditUnavailable,
        Reason::ShuttingDown,
        Reason::PermissionDenied,
        Reason::NotOffered,
        Reason::Internal,
    ];

    pub fn kind(self) -> Kind {
        match self {
            Reason::FieldInvalid
            | Reason::PageTokenInvalid
            | Reason::RequestIdReused
            | Reason::ScopeUnknown
            | Reason::ScopeNotAllowed
            | Reason::TokenInvalid => Kind::InvalidArgument,
            Reason::ResourceNotFound => Kind::NotFound,
            Reason::ResourceExists => Kind::AlreadyExists,
            Reason::EtagMismatch | Reason::ConcurrentChange => Kind::Aborted,
            Reason::TenantNotReady
            | Reason::TenantSuspended
            | Reason::TenantDeleting
            | Reason::ClientNotReady
            | Reason::ClientDeleting
            | Reason::RotationRunning
            | Reason::ScopeInUse
            | Reason::ScopeNotGranted
            | Reason::SecretRejected
            | Reason::DeletionProtected
            | Reason::RevealDisabled => Kind::FailedPrecondition,
            Reason::SequenceUnknown => Kind::OutOfRange,
            Reason::QuotaExceeded | Reason::ScopeSetsExhausted | Reason::Throttled | Reason::Overloaded => {
                Kind::ResourceExhausted
            }
            Reason::UpstreamUnavailable
            | Reason::VaultUnavailable
            | Reason::RegistryUnavailable
            | Reason::KeysUnavailable
            | Reason::AuditUnavailable
            | Reason::ShuttingDown => Kind::Unavailable,
            Reason::PermissionDenied => Kind::PermissionDenied,
            Reason::NotOffered => Kind::Unimplemented,
            Reason::Internal => Kind::Internal,
        }
    }

    /// Whether somebody was refused what they asked for, so that the refusal is an audit event.
    pub fn is_denial(self) -> bool {
        matches!(
            self,
            Reason::PermissionDenied
                | Reason::RevealDisabled
                | Reason::TenantSuspended
                | Reason::ScopeNotAllowed
                | Reason::DeletionProtected
        )
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::FieldInvalid => "FIELD_INVALID",
            Reason::PageTokenInvalid => "PAGE_TOKEN_INVALID",
            Reason::RequestIdReused => "REQUEST_ID_REUSED",
            Reason::ScopeUnknown => "SCOPE_UNKNOWN",
            Reason::ScopeNotAllowed => "SCOPE_NOT_ALLOWED",
            Reason::TokenInvalid => "TOKEN_INVALID",
            Reason::ResourceNotFound => "RESOURCE_NOT_FOUND",
            Reason::ResourceExists => "RESOURCE_EXISTS",
            Reason::EtagMismatch => "ETAG_MISMATCH",
            Reason::ConcurrentChange => "CONCURRENT_CHANGE",
            Reason::TenantNotReady => "TENANT_NOT_READY",
            Reason::TenantSuspended => "TENANT_SUSPENDED",
            Reason::TenantDeleting => "TENANT_DELETING",
            Reason::ClientNotReady => "CLIENT_NOT_READY",
            Reason::ClientDeleting => "CLIENT_DELETING",
            Reason::RotationRunning => "ROTATION_RUNNING",
            Reason::ScopeInUse => "SCOPE_IN_USE",
            Reason::ScopeNotGranted => "SCOPE_NOT_GRANTED",
            Reason::SecretRejected => "SECRET_REJECTED",
            Reason::DeletionProtected => "DELETION_PROTECTED",
            Reason::RevealDisabled => "REVEAL_DISABLED",
            Reason::SequenceUnknown => "SEQUENCE_UNKNOWN",
            Reason::QuotaExceeded => "QUOTA_EXCEEDED",
            Reason::ScopeSetsExhausted => "SCOPE_SETS_EXHAUSTED",
            Reason::Throttled => "THROTTLED",
            Reason::Overloaded => "OVERLOADED",
            Reason::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Reason::VaultUnavailable => "VAULT_UNAVAILABLE",
            Reason::RegistryUnavailable => "REGISTRY_UNAVAILABLE",
            Reason::KeysUnavailable => "KEYS_UNAVAILABLE",
            Reason::AuditUnavailable => "AUDIT_UNAVAILABLE",
            Reason::ShuttingDown => "SHUTTING_DOWN",
            Reason::PermissionDenied => "PERMISSION_DENIED",
            Reason::NotOffered => "NOT_OFFERED",
            Reason::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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

    pub fn not_offered(method: &'static str) -> Self {
        Error::new(Reason::NotOffered, format!("this broker does not offer {method}"))
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

    pub fn kind(&self) -> Kind {
        self.0.reason.kind()
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
    fn a_violation_can_be_nested() {
        let error = Error::invalid("scopes[2]", "is empty").within("client");
        assert_eq!(error.fields()[0].field, "client.scopes[2]");
        assert_eq!(error.message(), "client.scopes[2]: is empty");
    }
}
