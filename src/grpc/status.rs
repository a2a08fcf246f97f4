//! Errors of the domain as gRPC statuses: the only place that makes a [`Status`].
//!
//! A status says what [`Error`] lets a caller know, with the details of AIP-193: `ErrorInfo` always, `BadRequest`
//! for bad input, `RetryInfo` when waiting helps. Causes go to the log, by the gate, and never into a status.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::error::{Error, Kind, Reason};
use crate::gate::retry_delay;

/// `google.rpc.ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "keyward";

/// The gRPC code of a kind of error.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Aborted => Code::Aborted,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    }
}

/// A code as gRPC writes it, `INVALID_ARGUMENT`.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What the caller is told.
pub fn status(error: &Error) -> Status {
    let metadata: HashMap<String, String> =
        error.metadata().iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason().as_str(), ERROR_DOMAIN, metadata);
    for violation in error.fields() {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    if let Some(delay) = retry_delay(error) {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code(error.kind()), error.to_string(), details)
}

/// What is told of a call that was not answered in time. It is no error of the domain, which knows no deadlines of
/// calls.
pub fn out_of_time() -> Status {
    let details = ErrorDetails::with_error_info("DEADLINE_EXCEEDED", ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(Code::DeadlineExceeded, "the call was not answered before its deadline", details)
}

/// The end of a stream when the broker drains.
pub fn shutting_down() -> Error {
    Error::new(Reason::ShuttingDown, "the broker is shutting down")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::ErrorReason;

    #[test]
    fn every_reason_is_one_of_the_contract() {
        for reason in Reason::ALL {
            let name = format!("ERROR_REASON_{reason}");
            assert!(ErrorReason::from_str_name(&name).is_some(), "{name} is not in error_reason.proto");
        }
    }

    #[test]
    fn a_status_says_what_the_error_lets_a_caller_know() {
        let error = Error::invalid("scopes[2]", "is empty").within("client").about("tenants/acme");
        let status = status(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "client.scopes[2]: is empty");
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo");
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("keyward", "FIELD_INVALID"));
        assert_eq!(info.metadata["resource"], "tenants/acme");
        let violations = &details.bad_request().expect("BadRequest").field_violations;
        assert_eq!(violations[0].field, "client.scopes[2]");
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn an_inner_cause_is_not_sent() {
        let status = status(&Error::internal("reading the tenant", "disk I/O error at /var/lib/keyward"));
        assert_eq!(status.code(), Code::Internal);
        let sent = format!("{status:?}{:?}", String::from_utf8_lossy(status.details()));
        assert!(!sent.contains("disk") && !sent.contains("reading"), "{sent}");
    }

    #[test]
    fn waiting_is_advised_only_where_it_helps() {
        let delay = |reason| status(&Error::new(reason, "x")).get_error_details().retry_info().is_some();
        assert!(delay(Reason::UpstreamUnavailable) && delay(Reason::Throttled) && delay(Reason::ShuttingDown));
        assert!(!delay(Reason::QuotaExceeded) && !delay(Reason::FieldInvalid) && !delay(Reason::EtagMismatch));
        let own = Error::new(Reason::ConcurrentChange, "x").retry_after(Duration::from_millis(250));
        let advised = status(&own).get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert_eq!(advised, Some(Duration::from_millis(250)));
    }

    #[test]
    fn every_kind_has_the_code_of_its_name() {
        for reason in Reason::ALL {
            let kind = format!("{:?}", reason.kind());
            assert_eq!(code_name(code(reason.kind())).replace('_', ""), kind.to_uppercase());
        }
    }
}
