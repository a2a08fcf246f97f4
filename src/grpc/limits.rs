//! How large a request may be, and whose fault it is when one cannot be read.
//!
//! tonic looks at a message's length before it makes room for it, so an oversized body is neither read nor stored.
//! But it answers OUT_OF_RANGE to a message that is too long and INTERNAL to one that cannot be decoded, as if the
//! broker had failed. [`BlameTheRequest`] rewrites exactly these answers, which tonic gives before a handler is
//! called; they are told from ours by having no details.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::counted::Counted;
use super::status::{code_name, status};
use crate::domain::error::Error;
use crate::gate::{CALL_ID_HEADER, call_id};

/// Bounds of what a caller may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest message that is read, in bytes.
    pub message_bytes: usize,
    /// How long a call that is not a stream may take.
    pub call_duration: Duration,
    /// How many calls are under way on all connections.
    pub calls: usize,
}

impl Default for Limits {
    /// 256 KiB: sixteen times the longest token, and room for a tenant with everything set. 30 seconds: what a slow
    /// backend needs to make a pool. 8,192 calls.
    fn default() -> Self {
        Limits { message_bytes: 256 * 1024, call_duration: Duration::from_secs(30), calls: 8_192 }
    }
}

/// Bytes of large messages that are not whole yet, over all calls.
pub const BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// By how much longer a message may take of which only a call that streams can be in want. The others are over by then.
pub const FOR_STREAMS: Duration = Duration::from_millis(100);

/// What the paths of our methods begin with: the contract's, and Envoy's. Health and reflection are others.
const SERVICES: [&str; 2] = ["/keyward.v1.", "/envoy.service.auth.v3."];

/// Whether a path is that of a method of ours.
pub fn is_ours(path: &str) -> bool {
    SERVICES.iter().any(|start| path.starts_with(start))
}

/// Turns tonic's complaints about a request into INVALID_ARGUMENT.
#[derive(Clone)]
pub struct BlameTheRequest(pub Arc<Counted>);

impl<S> Layer<S> for BlameTheRequest {
    type Service = Blaming<S>;

    fn layer(&self, inner: S) -> Blaming<S> {
        Blaming { inner, counted: self.0.clone() }
    }
}

/// The service that [`BlameTheRequest`] makes.
#[derive(Clone)]
pub struct Blaming<S> {
    inner: S,
    counted: Arc<Counted>,
}

impl<S, In, Out> Service<Request<In>> for Blaming<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    Out: 'static,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Out>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        if !is_ours(request.uri().path()) {
            return self.inner.call(request).boxed();
        }
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let given = request.headers().get(CALL_ID_HEADER).cloned();
        let (answer, counted) = (self.inner.call(request), self.counted.clone());
        async move {
            let mut response = answer.await?;
            blame(&counted, &method, given.as_ref(), response.headers_mut());
            Ok(response)
        }
        .boxed()
    }
}

/// Rewrites the status in the headers of an answer without a body, if it is one of tonic's own complaints.
fn blame(counted: &Counted, method: &str, given: Option<&HeaderValue>, headers: &mut HeaderMap) {
    let Some(complaint) = Status::from_header_map(headers) else { return };
    let Some(error) = violation(method, &complaint) else { return };
    counted.refused(error.reason());
    let call_id = call_id(given);
    tracing::info!(
        method,
        call_id = &*call_id,
        code = code_name(Code::InvalidArgument),
        reason = error.reason().as_str(),
        complaint = complaint.message(),
        "not read"
    );
    // The details cannot fail to be a header: they are base64.
    if status(&error).add_header(headers).is_ok()
        && let Ok(id) = HeaderValue::from_str(&call_id)
    {
        headers.insert(CALL_ID_HEADER, id);
    }
}

/// What is wrong with a request that tonic would not read; `None` for every other status.
pub fn violation(method: &str, complaint: &Status) -> Option<Error> {
    if !complaint.details().is_empty() {
        return None;
    }
    match complaint.code() {
        Code::OutOfRange => Some(Error::invalid(largest_field(method), "the message is longer than this broker reads")),
        Code::Internal => Some(Error::invalid("(message)", "the message cannot be decoded")),
        _ => None,
    }
}

/// The field that makes a message too long, where only one can.
fn largest_field(method: &str) -> &'static str {
    match method {
        "keyward.v1.VerificationService/VerifyToken" | "keyward.v1.ClientService/RevokeTokens" => "token",
        "keyward.v1.VerificationService/VerifyTokens" => "request.token",
        _ => "(message)",
    }
}
