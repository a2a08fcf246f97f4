//! What an error says to a program.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A status, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorDetails {
    pub code: Code,
    /// Of `google.rpc.ErrorInfo`.
    pub reason: String,
    /// The fields of `google.rpc.BadRequest`.
    pub fields: Vec<String>,
    pub retry: bool,
}

/// Fails the test unless the status has an `ErrorInfo` of ours.
pub fn details(status: &Status) -> ErrorDetails {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "keyward");
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    ErrorDetails {
        code: status.code(),
        reason: info.reason.clone(),
        fields: violations.iter().map(|violation| violation.field.clone()).collect(),
        retry: details.retry_info().is_some(),
    }
}
