//! Errors as OAuth 2.0 says them (RFC 6749, section 5.2).
//!
//! For what nobody can tell now, and for too many calls, the RFC has no code of a token endpoint. The status says it, 503 or
//! 429 with `Retry-After`, and the body has `temporarily_unavailable` or, for a fault of ours, `server_error`: the names
//! that section 4.1.2.1 gives to the same of an authorization endpoint. Libraries want some name there, and know these; one
//! without any reads as an answer that is broken, and one of section 5.2 as something that the client has done.

use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::error::{Error, Kind, Reason};
use crate::gate::retry_delay;

/// What an error is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    TemporarilyUnavailable,
    ServerError,
}

impl Code {
    /// In the order of their numbers.
    pub const ALL: &[Code] = &[
        Code::InvalidRequest,
        Code::InvalidClient,
        Code::UnauthorizedClient,
        Code::UnsupportedGrantType,
        Code::InvalidScope,
        Code::TemporarilyUnavailable,
        Code::ServerError,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::InvalidClient => "invalid_client",
            Code::UnauthorizedClient => "unauthorized_client",
            Code::UnsupportedGrantType => "unsupported_grant_type",
            Code::InvalidScope => "invalid_scope",
            Code::TemporarilyUnavailable => "temporarily_unavailable",
            Code::ServerError => "server_error",
        }
    }
}

/// Why a request does not get what it asks for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Code,
    description: String,
    reason: Option<Reason>,
    challenges: Vec<&'static str>,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
}

impl Refusal {
    fn new(status: StatusCode, code: Code, description: impl Into<String>) -> Self {
        let description = description.into();
        Refusal { status, code, description, reason: None, challenges: Vec::new(), retry_after: None }
    }

    /// The request is not one.
    pub fn request(description: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, description)
    }

    pub fn grant_type() -> Self {
        let description = "only client_credentials is supported";
        Refusal::new(StatusCode::BAD_REQUEST, Code::UnsupportedGrantType, description)
    }

    /// The answer was not made in time.
    pub fn late() -> Self {
        let late = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::TemporarilyUnavailable,
            "the request was not answered in time",
        );
        Refusal { retry_after: Some(Duration::from_secs(1)), ..late }
    }

    /// What an error is wherever it comes from. One that says who is at fault is for each endpoint to say.
    pub fn of(error: &Error) -> Self {
        let (status, code) = match (error.reason(), error.kind()) {
            (Reason::RateLimited, _) => (StatusCode::TOO_MANY_REQUESTS, Code::TemporarilyUnavailable),
            // Of a secret that the broker itself uses. A rotation mends it.
            (Reason::Throttled | Reason::Overloaded | Reason::QuotaExceeded | Reason::SecretRejected, _)
            | (_, Kind::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, Code::TemporarilyUnavailable),
            (Reason::CredentialsAmbiguous, _) | (_, Kind::InvalidArgument) => {
                (StatusCode::BAD_REQUEST, Code::InvalidRequest)
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, Code::ServerError),
        };
        let wait = if status == StatusCode::SERVICE_UNAVAILABLE { Some(Duration::from_secs(1)) } else { None };
        Refusal {
            reason: Some(error.reason()),
            retry_after: retry_delay(error).or(wait),
            ..Refusal::new(status, code, error.message())
        }
    }

    /// The same, said as `code` with `status`.
    pub fn said(self, status: StatusCode, code: Code) -> Self {
        Refusal { status, code, retry_after: None, ..self }
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Refusal { status, ..self }
    }

    /// By which schemes one may authenticate (RFC 9110, section 11.6.1). Goes with 401.
    pub fn challenging(self, challenges: Vec<&'static str>) -> Self {
        Refusal { challenges, ..self }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// `None` for what is wrong with the request as such.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let description = plain(&self.description);
        let body = Body { error: self.code.as_str(), error_description: &description };
        let mut response = (self.status, serde_json::to_string(&body).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        for challenge in self.challenges {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not before the time.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if matches!(self.status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What an `error_description` may hold: printable ASCII without `"` and `\` (RFC 6749, section 5.2).
fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_an_answer_and_only_waiting_gets_a_time() {
        for reason in Reason::ALL {
            let refusal = Refusal::of(&Error::new(*reason, "why"));
            let waits = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&refusal.status());
            assert_eq!(refusal.into_response().headers().contains_key(RETRY_AFTER), waits, "{reason}");
        }
        let told = |wait: Duration| {
            let error = Error::unavailable(Reason::UpstreamUnavailable, "x", wait);
            Refusal::of(&error).into_response().headers()[RETRY_AFTER].clone()
        };
        assert_eq!(told(Duration::from_millis(1)), "1");
        assert_eq!(told(Duration::from_millis(1_001)), "2");
        assert_eq!(told(Duration::from_secs(3)), "3");
    }

    #[tokio::test]
    async fn a_description_has_no_more_than_it_may() {
        let response = Refusal::request("a \"b\" \\ c\r\n\u{e4}~").into_response();
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.expect("whole");
        let said: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(said["error_description"], "a 'b' / c???~");
    }
}
