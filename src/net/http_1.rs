//! HTTP/1.1 on a connection: its limits, and the counting of its calls.
//!
//! One call at a time. From the end of one to the end of the next one's head as much time may pass as for a handshake, so
//! that nobody holds a connection by sending a head byte by byte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::http::{Request, Response};
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::crowd::{Guest, UnderWay};
use super::limits::{Limits, MAX_HEADERS, MIN_HEAD_BYTES};
use super::serving::{Answering, Answers, Introducing, Stream};

pub(super) fn builder(limits: &Limits) -> Builder {
    let head_bytes = usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX).max(MIN_HEAD_BYTES);
    let mut http = Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_headers(MAX_HEADERS)
        // What is read and not looked at yet: a head, or a part of a body.
        .max_buf_size(head_bytes);
    http
}

impl<S: Answers<Incoming>> Answering for Connection<TokioIo<Box<dyn Stream>>, Counting<Introducing<S>>> {
    fn say_farewell(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Counts the calls, each until its answer was taken.
pub(super) struct Counting<S> {
    pub guest: Arc<Guest>,
    pub service: S,
}

impl<S: Answers<Incoming>> Service<Request<Incoming>> for Counting<Introducing<S>> {
    type Response = Response<Counted<S::Body>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.guest.begin_call();
        let answering = self.service.call(request);
        Box::pin(async move {
            let answer = answering.await?;
            Ok(answer.map(|body| Counted { body: Box::pin(body), _under_way: under_way }))
        })
    }
}

/// The body of an answer, with its call.
pub(super) struct Counted<B> {
    body: Pin<Box<B>>,
    _under_way: UnderWay,
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.get_mut().body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
