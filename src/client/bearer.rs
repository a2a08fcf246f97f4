//! A tower layer for HTTP requests that go out: each gets the token of the moment.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::codegen::http::Request;
use tonic::codegen::http::header::AUTHORIZATION;
use tower::{BoxError, Layer, Service};

use super::TokenSource;

/// Puts `authorization: Bearer …` on every request, in place of one that is there. A request for which there is no token is
/// not sent: it fails with [`NoToken`](super::NoToken).
#[derive(Clone, Debug)]
pub struct BearerLayer(TokenSource);

impl BearerLayer {
    pub fn new(source: TokenSource) -> Self {
        BearerLayer(source)
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = Bearer<S>;

    fn layer(&self, inner: S) -> Bearer<S> {
        Bearer { source: self.0.clone(), inner }
    }
}

/// The service that [`BearerLayer`] makes.
#[derive(Clone, Debug)]
pub struct Bearer<S> {
    source: TokenSource,
    inner: S,
}

impl<S, B> Service<Request<B>> for Bearer<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that was asked whether it is ready.
        let mut inner = mem::replace(&mut self.inner, fresh);
        let source = self.source.clone();
        Box::pin(async move {
            let token = source.token().await?;
            request.headers_mut().insert(AUTHORIZATION, token.bearer());
            inner.call(request).await.map_err(Into::into)
        })
    }
}
