//! What the hot calls are answered beside: the service of all other calls, and the bodies of requests.

use std::error::Error;

use http_body::Body;
use prost::bytes::Bytes;
use tonic::codegen::http::{Request, Response};
use tower::Service;

use super::replayed::Replayed;

/// What answers the calls that go the long way.
pub trait Others<In: Incoming>:
    Service<
        Request<Replayed<In>>,
        Response = Response<<Self as Others<In>>::Out>,
        Error: Error + Send + Sync,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    type Out: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static;
}

impl<In: Incoming, Out, S> Others<In> for S
where
    S: Service<Request<Replayed<In>>, Response = Response<Out>, Error: Error + Send + Sync, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    Out: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static,
{
    type Out = Out;
}

/// The body of a request, as far as it is needed here.
pub trait Incoming: Body<Data = Bytes, Error: Send + Unpin> + Send + Unpin + 'static {}

impl<In: Body<Data = Bytes, Error: Send + Unpin> + Send + Unpin + 'static> Incoming for In {}
