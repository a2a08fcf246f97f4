//! The end of the streams that are not ours: health and reflection.
//!
//! Their callers keep them open for as long as they live, and a server that drains waits for them. So when the broker
//! drains they are ended as our own streams are, with UNAVAILABLE and SHUTTING_DOWN, once everything that they still
//! have to say was said: a watcher of health hears NOT_SERVING first. Reflection reads its questions in a task of its
//! own, so these are ended too.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt as _};
use http_body::{Body, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use super::limits::is_ours;
use super::status::{shutting_down, status};

const REFLECTION: &str = "/grpc.reflection.";

/// Ends the streams of other services than ours when the token is cancelled.
#[derive(Clone, Debug)]
pub struct EndStreams(pub CancellationToken);

impl<S> Layer<S> for EndStreams {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending { inner, draining: self.0.clone() }
    }
}

/// The service that [`EndStreams`] makes.
#[derive(Clone, Debug)]
pub struct Ending<S> {
    inner: S,
    draining: CancellationToken,
}

impl<S, In, Out> Service<Request<In>> for Ending<S>
where
    S: Service<Request<Ended<In>>, Response = Response<Out>>,
    S::Future: Send + 'static,
    Out: 'static,
{
    type Response = Response<Ended<Out>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let path = request.uri().path();
        let (is_ours, asks_on) = (is_ours(path), path.starts_with(REFLECTION));
        let drained = |wanted: bool| wanted.then(|| Box::pin(self.draining.clone().cancelled_owned()));
        let (no_answers, no_questions) = (drained(!is_ours), drained(asks_on));
        let request = request.map(|body| Ended { body: Some(body), draining: no_questions, is_answer: false });
        let answer = self.inner.call(request);
        async move { Ok(answer.await?.map(|body| Ended { body: Some(body), draining: no_answers, is_answer: true })) }
            .boxed()
    }
}

/// Questions or answers that end when the broker drains.
pub struct Ended<B> {
    /// `None` once it was ended.
    body: Option<B>,
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Answers end with a status, questions just end.
    is_answer: bool,
}

impl<B: Body + Unpin> Body for Ended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let said @ Poll::Ready(_) = Pin::new(body).poll_frame(cx) {
            return said;
        }
        let Some(draining) = &mut self.draining else { return Poll::Pending };
        match draining.poll_unpin(cx) {
            Poll::Ready(()) => {
                self.body = None;
                Poll::Ready(self.is_answer.then(|| {
                    let mut trailers = HeaderMap::new();
                    // The details cannot fail to be a header: they are base64.
                    let _ = status(&shutting_down()).add_header(&mut trailers);
                    Ok(Frame::trailers(trailers))
                }))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}
