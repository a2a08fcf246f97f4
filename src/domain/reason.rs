//! Why something cannot be done: the classes of failure, and the reasons a program can act on.

use std::fmt;

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
    /// Who calls was not proven.
    Unauthenticated,
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
            | Kind::Unauthenticated
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
    ClientKindMismatch,
    ResourceNotFound,
    ResourceExists,
    AppClientTaken,
    DomainClaimed,
    EtagMismatch,
    ConcurrentChange,
    TenantNotReady,
    TenantSuspended,
    TenantDeleting,
    ClientNotReady,
    ClientDeleting,
    RotationRunning,
    MoveRunning,
    ScopeInUse,
    ProviderInUse,
    ScopeNotGranted,
    SecretRejected,
    DeletionProtected,
    RevealDisabled,
    ExportTooLarge,
    SequenceUnknown,
    SecretAmbiguous,
    BackendRefused,
    QuotaExceeded,
    ScopeSetsExhausted,
    Throttled,
    RateLimited,
    Overloaded,
    UpstreamUnavailable,
    VaultUnavailable,
    RegistryUnavailable,
    KeysUnavailable,
    AuditUnavailable,
    RecordFormNewer,
    ShuttingDown,
    CredentialsMissing,
    CredentialsInvalid,
    CredentialsAmbiguous,
    PermissionDenied,
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
        Reason::ClientKindMismatch,
        Reason::ResourceNotFound,
        Reason::ResourceExists,
        Reason::AppClientTaken,
        Reason::DomainClaimed,
        Reason::EtagMismatch,
        Reason::ConcurrentChange,
        Reason::TenantNotReady,
        Reason::TenantSuspended,
        Reason::TenantDeleting,
        Reason::ClientNotReady,
        Reason::ClientDeleting,
        Reason::RotationRunning,
        Reason::MoveRunning,
        Reason::ScopeInUse,
        Reason::ProviderInUse,
        Reason::ScopeNotGranted,
        Reason::SecretRejected,
        Reason::DeletionProtected,
        Reason::RevealDisabled,
        Reason::ExportTooLarge,
        Reason::SequenceUnknown,
        Reason::SecretAmbiguous,
        Reason::BackendRefused,
        Reason::QuotaExceeded,
        Reason::ScopeSetsExhausted,
        Reason::Throttled,
        Reason::RateLimited,
        Reason::Overloaded,
        Reason::UpstreamUnavailable,
        Reason::VaultUnavailable,
        Reason::RegistryUnavailable,
        Reason::KeysUnavailable,
        Reason::AuditUnavailable,
        Reason::RecordFormNewer,
        Reason::ShuttingDown,
        Reason::CredentialsMissing,
        Reason::CredentialsInvalid,
        Reason::CredentialsAmbiguous,
        Reason::PermissionDenied,
        Reason::Internal,
    ];

    pub fn kind(self) -> Kind {
        match self {
            Reason::FieldInvalid
            | Reason::PageTokenInvalid
            | Reason::RequestIdReused
            | Reason::ScopeUnknown
            | Reason::ScopeNotAllowed
            | Reason::TokenInvalid
            | Reason::ClientKindMismatch => Kind::InvalidArgument,
            Reason::ResourceNotFound => Kind::NotFound,
            Reason::ResourceExists | Reason::AppClientTaken | Reason::DomainClaimed => Kind::AlreadyExists,
            Reason::EtagMismatch | Reason::ConcurrentChange => Kind::Aborted,
            Reason::TenantNotReady
            | Reason::TenantSuspended
            | Reason::TenantDeleting
            | Reason::ClientNotReady
            | Reason::ClientDeleting
            | Reason::RotationRunning
            | Reason::MoveRunning
            | Reason::ScopeInUse
            | Reason::ProviderInUse
            | Reason::ScopeNotGranted
            | Reason::SecretRejected
            | Reason::DeletionProtected
            | Reason::RevealDisabled
            | Reason::ExportTooLarge
            | Reason::SecretAmbiguous
            | Reason::BackendRefused => Kind::FailedPrecondition,
            Reason::SequenceUnknown => Kind::OutOfRange,
            Reason::QuotaExceeded
            | Reason::ScopeSetsExhausted
            | Reason::Throttled
            | Reason::RateLimited
            | Reason::Overloaded => Kind::ResourceExhausted,
            Reason::UpstreamUnavailable
            | Reason::VaultUnavailable
            | Reason::RegistryUnavailable
            | Reason::KeysUnavailable
            | Reason::AuditUnavailable
            | Reason::RecordFormNewer
            | Reason::ShuttingDown => Kind::Unavailable,
            Reason::CredentialsMissing | Reason::CredentialsInvalid | Reason::CredentialsAmbiguous => {
                Kind::Unauthenticated
            }
            Reason::PermissionDenied => Kind::PermissionDenied,
            Reason::Internal => Kind::Internal,
        }
    }

    /// Whether somebody was refused what they asked for, so that the refusal is an audit event.
    pub fn is_denial(self) -> bool {
        matches!(
            self,
            Reason::CredentialsMissing
                | Reason::CredentialsInvalid
                | Reason::CredentialsAmbiguous
                | Reason::PermissionDenied
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
            Reason::ClientKindMismatch => "CLIENT_KIND_MISMATCH",
            Reason::ResourceNotFound => "RESOURCE_NOT_FOUND",
            Reason::ResourceExists => "RESOURCE_EXISTS",
            Reason::AppClientTaken => "APP_CLIENT_TAKEN",
            Reason::DomainClaimed => "DOMAIN_CLAIMED",
            Reason::EtagMismatch => "ETAG_MISMATCH",
            Reason::ConcurrentChange => "CONCURRENT_CHANGE",
            Reason::TenantNotReady => "TENANT_NOT_READY",
            Reason::TenantSuspended => "TENANT_SUSPENDED",
            Reason::TenantDeleting => "TENANT_DELETING",
            Reason::ClientNotReady => "CLIENT_NOT_READY",
            Reason::ClientDeleting => "CLIENT_DELETING",
            Reason::RotationRunning => "ROTATION_RUNNING",
            Reason::MoveRunning => "MOVE_RUNNING",
            Reason::ScopeInUse => "SCOPE_IN_USE",
            Reason::ProviderInUse => "PROVIDER_IN_USE",
            Reason::ScopeNotGranted => "SCOPE_NOT_GRANTED",
            Reason::SecretRejected => "SECRET_REJECTED",
            Reason::DeletionProtected => "DELETION_PROTECTED",
            Reason::RevealDisabled => "REVEAL_DISABLED",
            Reason::ExportTooLarge => "EXPORT_TOO_LARGE",
            Reason::SequenceUnknown => "SEQUENCE_UNKNOWN",
            Reason::SecretAmbiguous => "SECRET_AMBIGUOUS",
            Reason::BackendRefused => "BACKEND_REFUSED",
            Reason::QuotaExceeded => "QUOTA_EXCEEDED",
            Reason::ScopeSetsExhausted => "SCOPE_SETS_EXHAUSTED",
            Reason::Throttled => "THROTTLED",
            Reason::RateLimited => "RATE_LIMITED",
            Reason::Overloaded => "OVERLOADED",
            Reason::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Reason::VaultUnavailable => "VAULT_UNAVAILABLE",
            Reason::RegistryUnavailable => "REGISTRY_UNAVAILABLE",
            Reason::KeysUnavailable => "KEYS_UNAVAILABLE",
            Reason::AuditUnavailable => "AUDIT_UNAVAILABLE",
            Reason::RecordFormNewer => "RECORD_FORM_NEWER",
            Reason::ShuttingDown => "SHUTTING_DOWN",
            Reason::CredentialsMissing => "CREDENTIALS_MISSING",
            Reason::CredentialsInvalid => "CREDENTIALS_INVALID",
            Reason::CredentialsAmbiguous => "CREDENTIALS_AMBIGUOUS",
            Reason::PermissionDenied => "PERMISSION_DENIED",
            Reason::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
