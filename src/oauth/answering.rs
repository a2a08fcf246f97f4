//! What every answer has in common: a call's id, a span, a line in the log, an end.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span};

use super::Front;
use super::refusal::Refusal;
use crate::domain::audit::{Call, Principal};
use crate::domain::caller::Caller;
use crate::domain::error::{Error, Reason, Result};
use crate::gate::{CALL_ID_HEADER, call_id};
use crate::net::{Connection, Seldom};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Token,
    Introspection,
    Metadata,
    Keys,
    /// A path at which nothing is.
    Nothing,
    /// A path at which something is, and not by this method.
    OtherMethod,
}

impl Endpoint {
    /// What logs, events and lines of the audit file call it, as they call a method of gRPC by its name.
    pub const fn method(self) -> &'static str {
        match self {
            Endpoint::Token => "oauth2/token",
            Endpoint::Introspection => "oauth2/introspect",
            Endpoint::Metadata => "oauth2/metadata",
            Endpoint::Keys => "oauth2/jwks",
            Endpoint::Nothing | Endpoint::OtherMethod => "oauth2",
        }
    }
}

/// A request without its body, and how it came.
pub(super) struct Asking {
    pub endpoint: Endpoint,
    pub call_id: Arc<str>,
    pub connection: Connection,
    pub parts: Parts,
}

impl Asking {
    /// The call that it is once it was looked who makes it, also where that failed.
    pub fn call(&self, found: &Result<Arc<Caller>>) -> Call {
        let principal = found.as_ref().map_or(Principal::Anonymous, |caller| caller.principal.clone());
        Span::current().record("principal", display(&principal));
        if found.is_ok() {
            self.connection.has_known_caller();
        }
        Call { principal, method: self.endpoint.method().into(), call_id: self.call_id.clone(), request: None }
    }
}

impl Front {
    pub(super) async fn answer(&self, endpoint: Endpoint, request: Request) -> Response {
        let timed = self.counted.begin(endpoint);
        let (parts, body) = request.into_parts();
        let call_id = call_id(parts.headers.get(CALL_ID_HEADER));
        let span = tracing::info_span!("call", method = endpoint.method(), call_id = &*call_id, principal = Empty);
        let given = call_id.clone();
        let answering = async {
            let answer = match parts.extensions.get::<Connection>().cloned() {
                Some(connection) => {
                    let asking = Asking { endpoint, call_id, connection, parts };
                    let answer = timeout(self.options.call_duration, Box::pin(self.answer_to(asking, body))).await;
                    answer.unwrap_or_else(|_| Err(Refusal::late()))
                }
                // There is one with every request that came by a connection.
                None => Err(Refusal::of(&Error::internal("answering a request", "it came by no connection"))),
            };
            let refusal = answer.as_ref().err();
            log(refusal, timed.end(refusal.map(Refusal::code)));
            answer.unwrap_or_else(Refusal::into_response)
        };
        let mut response = answering.instrument(span).await;
        if let Ok(id) = HeaderValue::from_str(&given) {
            response.headers_mut().insert(CALL_ID_HEADER, id);
        }
        response
    }

    async fn answer_to(&self, asking: Asking, body: Body) -> Result<Response, Refusal> {
        match asking.endpoint {
            Endpoint::Token => self.token(&asking, body).await,
            Endpoint::Introspection => self.introspect(&asking, body).await,
            Endpoint::Metadata => self.metadata(&asking),
            Endpoint::Keys => self.keys(&asking).await,
            Endpoint::Nothing => Err(Refusal::request("nothing is at this path").with_status(StatusCode::NOT_FOUND)),
            Endpoint::OtherMethod => {
                Err(Refusal::request("this path is for another method").with_status(StatusCode::METHOD_NOT_ALLOWED))
            }
        }
    }
}

/// One line stands for the others of its second.
static SELDOM: Seldom = Seldom::new();

/// Says how a call ended, where that is not as it should.
fn log(refusal: Option<&Refusal>, duration: Duration) {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let Some(refusal) = refusal else {
        tracing::debug!(status = 200, duration_ms, "answered");
        return;
    };
    let (status, error) = (refusal.status().as_u16(), refusal.code().as_str());
    let reason = refusal.reason().map(Reason::as_str);
    // What anybody can cause as often as they like, and what comes because there is too much of it.
    let is_frequent = matches!(refusal.reason(), None | Some(Reason::RateLimited | Reason::Overloaded));
    match (is_frequent, if is_frequent { SELDOM.turn() } else { None }) {
        (true, None) => tracing::debug!(status, error, reason, duration_ms, "answered"),
        (true, Some(others)) => tracing::info!(status, error, reason, duration_ms, others, "answered"),
        (false, _) => tracing::info!(status, error, reason, duration_ms, "answered"),
    }
}
