//! What Envoy is to do with a request: send it on, with who it is from, or answer it.
//!
//! | what is wrong | HTTP | `www-authenticate` | reason |
//! | --- | --- | --- | --- |
//! | nothing is shown that could be a token | 401 | `Bearer realm="keyward"`: no error, as nothing was tried (RFC 6750, section 3.1) | CREDENTIALS_MISSING |
//! | more than one credential | 400 | `error="invalid_request"` | CREDENTIALS_AMBIGUOUS |
//! | the token is rejected | 401 | `error="invalid_token"` | of `RejectionReason` |
//! | it lacks a scope | 403 | `error="insufficient_scope"`, with those of the route | INSUFFICIENT_SCOPE |
//! | the route's rule cannot be read | 500 | | FIELD_INVALID |
//! | nobody can tell now | 503 with `retry-after` | | of `ErrorReason` |
//!
//! Reasons are written as `google.rpc.ErrorInfo` has them, without the name of the enum. Nothing of a token is ever in an answer.

use std::time::Duration;

use envoy_types::ext_authz::v3::pb::{
    CheckResponse, DeniedHttpResponse, HeaderAppendAction, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus,
    HttpStatusCode, OkHttpResponse,
};
use envoy_types::pb::google::rpc;
use tonic::Code;

use super::token::rejection_reason;
use crate::broker::api::Verified;
use crate::domain::claims::{Rejection, Rule};
use crate::domain::error::{Error, Reason};
use crate::domain::scope::ScopeSet;
use crate::gate::retry_delay;

/// What the names begin with of headers that only this broker may set.
pub const HEADERS: &str = "x-keyward-";
const TENANT: &str = "x-keyward-tenant";
const CLIENT: &str = "x-keyward-client";
const SCOPES: &str = "x-keyward-scopes";
/// Of a person's token alone: the `sub`, the username and the groups.
const SUBJECT: &str = "x-keyward-subject";
const USERNAME: &str = "x-keyward-username";
const GROUPS: &str = "x-keyward-groups";

/// What is waited for where nothing better is known.
const RETRY: Duration = Duration::from_secs(1);

/// Why a request does not go on.
#[derive(Debug)]
pub enum Denial {
    NoCredential,
    TwoCredentials,
    /// With the scopes that the route asks for.
    Rejected(Rejection, ScopeSet),
    UnreadableRule(Error),
    CannotTell(Error),
}

/// Whose the request is, in place of whatever came in headers of these names. `came` are the names of those.
pub fn allowed(verified: &Verified, came: Vec<String>) -> CheckResponse {
    let (client, claims) = (&verified.client, &verified.claims);
    let mut headers = vec![set(TENANT, client.tenant.name()), set(CLIENT, client.to_string())];
    let scopes = printable(claims.scopes.iter().map(|scope| scope.as_str()));
    let mut others = vec![(SCOPES, scopes)];
    if let Some(person) = &claims.person {
        others.push((SUBJECT, printable([person.subject.as_str()])));
        others.push((USERNAME, printable([person.username.as_str()])));
        others.push((GROUPS, printable(person.groups.iter().map(String::as_str))));
    }
    // Envoy sets first and removes then, and has no empty headers.
    let mut headers_to_remove = came;
    headers_to_remove
        .retain(|name| ![TENANT, CLIENT].contains(&name.as_str()) && others.iter().all(|(other, _)| name != other));
    headers_to_remove.sort_unstable();
    headers_to_remove.dedup();
    for (name, value) in others {
        match value.is_empty() {
            true => headers_to_remove.push(name.to_owned()),
            false => headers.push(set(name, value)),
        }
    }
    let response = OkHttpResponse { headers, headers_to_remove, ..Default::default() };
    answer(Code::Ok, HttpResponse::OkResponse(response))
}

pub fn denied(denial: &Denial) -> CheckResponse {
    let challenge = |challenge: String| set("www-authenticate", challenge);
    let (code, status, reason, header) = match denial {
        Denial::NoCredential => {
            let header = challenge("Bearer realm=\"keyward\"".to_owned());
            (Code::Unauthenticated, HttpStatusCode::Unauthorized, Reason::CredentialsMissing.as_str(), Some(header))
        }
        Denial::TwoCredentials => {
            let header = challenge("Bearer error=\"invalid_request\"".to_owned());
            (Code::Unauthenticated, HttpStatusCode::BadRequest, Reason::CredentialsAmbiguous.as_str(), Some(header))
        }
        Denial::Rejected(Rejection { rule: Rule::InsufficientScope, .. }, scopes) => {
            let header = challenge(format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\""));
            (Code::PermissionDenied, HttpStatusCode::Forbidden, "INSUFFICIENT_SCOPE", Some(header))
        }
        Denial::Rejected(rejection, _) => {
            let header = challenge("Bearer error=\"invalid_token\"".to_owned());
            let reason = rejection_reason(rejection.rule).as_str_name();
            let reason = reason.strip_prefix("REJECTION_REASON_").unwrap_or(reason);
            (Code::Unauthenticated, HttpStatusCode::Unauthorized, reason, Some(header))
        }
        Denial::UnreadableRule(error) => {
            (Code::FailedPrecondition, HttpStatusCode::InternalServerError, error.reason().as_str(), None)
        }
        Denial::CannotTell(error) => {
            let header = set("retry-after", seconds(retry_delay(error).unwrap_or(RETRY)).to_string());
            (Code::Unavailable, HttpStatusCode::ServiceUnavailable, error.reason().as_str(), Some(header))
        }
    };
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: status.into() }),
        headers: [set("content-type", "application/json".to_owned())].into_iter().chain(header).collect(),
        // A reason is letters and underscores.
        body: format!("{{\"reason\":\"{reason}\"}}"),
    };
    answer(code, HttpResponse::DeniedResponse(response))
}

fn answer(code: Code, response: HttpResponse) -> CheckResponse {
    let status = rpc::Status { code: code.into(), ..Default::default() };
    CheckResponse { status: Some(status), http_response: Some(response), ..Default::default() }
}

/// In place of all that came under this name.
fn set(name: &str, value: String) -> HeaderValueOption {
    let header = HeaderValue { key: name.to_owned(), value, ..Default::default() };
    let append_action = HeaderAppendAction::OverwriteIfExistsOrAdd.into();
    HeaderValueOption { header: Some(header), append_action, ..Default::default() }
}

/// Whole seconds, at least one: sooner does not help (RFC 9110, section 10.2.3).
fn seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1)
}

/// Separated by spaces, those of the characters that RFC 6749, section 3.3 has for scopes. A token may have others, which no header
/// could; and one with a space in it would be read as two.
fn printable<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let is_word = |text: &str| text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
    let words: Vec<_> = words.into_iter().filter(|word| is_word(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_to_wait_is_told_whole_seconds() {
        for (delay, told) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (90_000, 90)] {
            assert_eq!(seconds(Duration::from_millis(delay)), told, "{delay} ms");
        }
    }

    #[test]
    fn only_scopes_that_a_header_can_have_are_told() {
        let told = |claim: &str| printable(ScopeSet::from_claim(claim).iter().map(|scope| scope.as_str()));
        assert_eq!(told("orders/write openid orders/read"), "openid orders/read orders/write");
        assert_eq!(told("a\r\nx-admin:1 b\u{e9} c\" d\\ e\t f\0 g/h"), "g/h");
        assert_eq!(told("\r\n"), "");
        assert_eq!(printable(["readers", "two words", "b\u{e9}", "a,b"]), "readers a,b");
    }
}
