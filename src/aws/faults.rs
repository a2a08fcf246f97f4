//! What an error of AWS means for whoever called: which [`Fault`], and words that an operator can act on.
//!
//! The code decides; where it is none that we know, the HTTP status does. Nothing of a request is repeated: a message
//! of AWS may quote the value that it complains about, so those of operations that carry secrets are censored.

use std::fmt;

use aws_sdk_cognitoidentityprovider::config::http::HttpResponse;
use aws_sdk_cognitoidentityprovider::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::operations::{Listed, Operation};
use crate::broker::ports::{Fault, Peer, PortError, PortResult};

/// Of a message at the most, in characters.
const MAX_MESSAGE: usize = 400;
/// The shortest client secret there is (`AddUserPoolClientSecret`).
const MIN_SECRET: usize = 24;

/// Behind which port something is done, and what, for the error that it may end in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub peer: Peer,
    pub doing: &'static str,
}

impl Asking {
    pub fn error(self, fault: Fault, detail: impl fmt::Display) -> PortError {
        PortError::new(self.peer, fault, self.doing, detail)
    }
}

/// `None` in place of [`Fault::NotFound`].
pub(super) fn if_there<T>(outcome: PortResult<T>) -> PortResult<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is(Fault::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the SDK's error is for the port.
pub(super) fn port_error<E>(asking: Asking, region: &str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: Listed + ProvideErrorMetadata + std::error::Error + 'static,
{
    let operation = E::OPERATION;
    let (fault, words) = match error {
        // Nothing was sent: an argument breaks a rule that the SDK knows, or no endpoint is known for the Region.
        SdkError::ConstructionFailure(_) => (Fault::Refused, "the request cannot be made".to_owned()),
        SdkError::TimeoutError(_) => (Fault::Unavailable, "no answer in time".to_owned()),
        // No connection; or no credentials, which may be there the next time. The sources name hosts and files.
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().map(|cause| DisplayErrorContext(cause).to_string());
            (Fault::Unavailable, cleaned(&cause.unwrap_or_else(|| "the request was not sent".to_owned())))
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            (fault_of_status(status), format!("an answer that cannot be read (HTTP {status})"))
        }
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or_default();
            let message = answer.err().message().unwrap_or_default();
            (fault_of(&operation, code, status), words(&operation, code, status, message))
        }
        _ => (Fault::Unavailable, "an error of a new kind".to_owned()),
    };
    asking.error(fault, format_args!("{} in {region}: {words}", operation.name))
}

/// The words of an error that the service declared.
pub(super) fn words(operation: &Operation, code: &str, status: u16, message: &str) -> String {
    let message = cleaned(message);
    let message = if operation.holds_secret { censored(&message) } else { message };
    match (code, message.as_str()) {
        ("", "") => format!("HTTP {status}"),
        ("", message) => format!("HTTP {status}: {message}"),
        (code, "") => cleaned(code),
        (code, message) => format!("{}: {message}", cleaned(code)),
    }
}

/// One line of printable text, bounded.
pub(super) fn cleaned(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect()
}

/// Without whatever might be a client secret: runs of its characters that are as long as the shortest. Secrets that a
/// backend chose are base64 at times.
fn censored(message: &str) -> String {
    let is_of_secret = |c: char| c.is_ascii_alphanumeric() || "_+/=".contains(c);
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_of_secret(c)).unwrap_or(rest.len());
        kept.push_str(if run >= MIN_SECRET { "[censored]" } else { &rest[..run] });
        rest = &rest[run..];
        let between = rest.find(is_of_secret).unwrap_or(rest.len());
        kept.push_str(&rest[..between]);
        rest = &rest[between..];
    }
    kept
}

pub(super) fn fault_of(operation: &Operation, code: &str, status: u16) -> Fault {
    match (operation.name, code) {
        // Id or secret is not known, there, yet or any more. IAM is not asked, so it is nobody else's authorization.
        ("GetClientToken", "NotAuthorizedException" | "ResourceNotFoundException") => return Fault::InvalidClient,
        // The label is not on the version that it was to be taken from: the compare-and-swap has failed.
        ("UpdateSecretVersionStage", "InvalidParameterException") => return Fault::Conflict,
        _ => {}
    }
    match code {
        // Cognito's own, Secrets Manager's, DynamoDB's, KMS's, and those that API gateways in front of any service give.
        "TooManyRequestsException"
        | "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "ProvisionedThroughputExceededException"
        | "TransactionConflictException"
        | "SlowDown" => Fault::Throttled,
        // A quota of things, not of calls: two secrets, 25 resource servers, 1,000 app clients, 500,000 secrets.
        "LimitExceededException" => Fault::LimitExceeded,
        // The second is KMS's.
        "ResourceNotFoundException" | "NotFoundException" => Fault::NotFound,
        // Something of that name or version is there; or somebody else changes the same thing right now.
        "ResourceExistsException"
        | "DuplicateProviderException"
        | "ConcurrentModificationException"
        | "ConditionalCheckFailedException" => Fault::Conflict,
        // What was asked breaks a rule, now and the next time.
        "InvalidParameterException"
        | "InvalidRequestException"
        | "InvalidOAuthFlowException"
        | "ScopeDoesNotExistException"
        | "UnsupportedIdentityProviderException"
        | "FeatureUnavailableInTierException"
        | "TierChangeNotAllowedException"
        | "OperationNotEnabledException"
        | "UserImportInProgressException"
        | "UserPoolTaggingException"
        | "InvalidNextTokenException"
        | "MalformedPolicyDocumentException"
        | "PublicPolicyException"
        | "PreconditionNotMetException"
        | "ValidationException"
        | "ValidationError"
        | "IdempotentParameterMismatchException"
        | "SerializationException" => Fault::Refused,
        // The broker's own credentials are wrong or may not do it: an operator must act.
        "NotAuthorizedException"
        | "ForbiddenException"
        | "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired" => Fault::Refused,
        // A KMS key that is disabled, pending deletion or not allowed.
        "DecryptionFailure"
        | "EncryptionFailure"
        | "KMSAccessDeniedException"
        | "DisabledException"
        | "KMSInvalidStateException"
        | "InvalidKeyUsageException" => Fault::Refused,
        // The SDK asks for new credentials once these have run out, so the next call has others.
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => Fault::Unavailable,
        // The backend is older than the operation, or no AWS.
        "UnknownOperationException"
        | "UnknownOperation"
        | "InvalidAction"
        | "NotImplemented"
        | "UnsupportedOperation"
        | "UnsupportedOperationException" => Fault::Unsupported,
        // Cognito has two names for it: app clients' operations say InternalError, those of secrets InternalServer.
        "InternalErrorException"
        | "InternalServerException"
        | "InternalServerError"
        // The same transaction, sent before, is still under way.
        | "TransactionInProgressException"
        | "InternalServiceError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "RequestTimeoutException"
        // KMS: the key's store or what KMS depends on is away.
        | "KMSInternalException"
        | "KeyUnavailableException"
        | "DependencyTimeoutException" => Fault::Unavailable,
        _ => fault_of_status(status),
    }
}

/// For answers without a code that we know. A 2xx here is one whose body could not be read.
pub(super) fn fault_of_status(status: u16) -> Fault {
    match status {
        429 => Fault::Throttled,
        501 => Fault::Unsupported,
        408 => Fault::Unavailable,
        300..=499 => Fault::Refused,
        _ => Fault::Unavailable,
    }
}
