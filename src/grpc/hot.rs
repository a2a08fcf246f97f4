//! `GetToken` and `VerifyToken`, which come with every request of a platform, past what only other calls need.
//!
//! A call of theirs is one short message and one short answer, nearly always from memory. It has a place, a caller, a
//! permission, an id and a deadline as every call has, by the same code. What it does not go through is the choice
//! among services, a stream of messages, and a timer before anybody has to wait; each of these costs more than the answer.
//!
//! A request that is not whole when it is looked at, or that is anything but plain, goes the long way as it came, and is
//! complained of there.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt as _};
use http_body::{Body, Frame, SizeHint};
use prost::Message;
use prost::bytes::Bytes;
use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument as _, Span};

use super::answer::{End, span_of};
use super::caller::{CALL_ID_HEADER, call_id};
use super::deadline::{self, at_once};
use super::decode::token::Wanted;
use super::requests::Asked;
use super::shedding::{Place, Shed};
use super::{Front, encode};
use crate::domain::audit::Call;
use crate::domain::error::Result;
use crate::proto::{GetTokenRequest, VerifyTokenRequest, VerifyTokenResponse};

const GET_TOKEN: &str = "/keyward.v1.TokenService/GetToken";
const VERIFY_TOKEN: &str = "/keyward.v1.VerificationService/VerifyToken";
/// A message with its prefix. The longest token is 16 KiB.
const MAX_BYTES: usize = 20 * 1024;
const PREFIX_BYTES: usize = 5;

/// A service whose hot calls are answered here.
#[derive(Clone)]
pub struct Hot<S> {
    front: Arc<Front>,
    shed: Shed,
    others: S,
}

impl<S> Hot<S> {
    /// `others` has `shed` among its layers: they share their places.
    pub(super) fn new(front: Arc<Front>, shed: Shed, others: S) -> Self {
        Hot { front, shed, others }
    }
}

impl<S, In, Out> Service<Request<In>> for Hot<S>
where
    S: Service<Request<Replayed<In>>, Response = Response<Out>, Error: Send, Future: Send> + Clone + Send + 'static,
    In: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
    Out: Send + 'static,
{
    type Response = Response<Answer<Out>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.others.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        if !is_plain(&request) {
            let answer = self.others.call(request.map(Replayed::from));
            return async move { Ok(answer.await?.map(Answer::Other)) }.boxed();
        }
        // What was asked whether it is ready is what is called.
        let next = self.clone();
        let Hot { front, shed, others } = std::mem::replace(self, next);
        answer(front, shed, others, request).boxed()
    }
}

fn is_plain<In>(request: &Request<In>) -> bool {
    let is_hot = [GET_TOKEN, VERIFY_TOKEN].contains(&request.uri().path());
    let headers = request.headers();
    let is_identity = headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity");
    let is_grpc = headers.get(header::CONTENT_TYPE).is_some_and(|content| content == "application/grpc");
    is_hot && is_identity && is_grpc && request.method() == Method::POST
}

async fn answer<S, In, Out>(
    front: Arc<Front>,
    shed: Shed,
    mut others: S,
    request: Request<In>,
) -> Result<Response<Answer<Out>>, S::Error>
where
    S: Service<Request<Replayed<In>>, Response = Response<Out>>,
    In: Body<Data = Bytes> + Unpin,
{
    let (parts, body) = request.into_parts();
    let mut body = Replayed::from(body);
    let Some(message) = body.whole_message() else {
        return Ok(others.call(Request::from_parts(parts, body)).await?.map(Answer::Other));
    };
    let question = Question::read(parts.uri.path(), &message[PREFIX_BYTES..]);
    let (Some(question), Some(place)) = (question, shed.place(&parts.extensions)) else {
        body.read_again(message);
        return Ok(others.call(Request::from_parts(parts, body)).await?.map(Answer::Other));
    };
    let answered = match question {
        Question::GetToken(request) => front.get(&parts, request).await,
        Question::VerifyToken(request) => front.verify(&parts, request).await,
    };
    Ok(match answered {
        Ok((id, message)) => Answer::encoded(&id, message, place),
        Err(status) => status.into_http::<NoBody>().map(|NoBody| Answer::Nothing),
    })
}

enum Question {
    GetToken(GetTokenRequest),
    VerifyToken(VerifyTokenRequest),
}

impl Question {
    /// `None` for what cannot be decoded.
    fn read(path: &str, message: &[u8]) -> Option<Self> {
        match path {
            GET_TOKEN => GetTokenRequest::decode(message).ok().map(Question::GetToken),
            _ => VerifyTokenRequest::decode(message).ok().map(Question::VerifyToken),
        }
    }
}

impl Front {
    async fn get(self: &Arc<Self>, parts: &Parts, request: GetTokenRequest) -> Answered {
        self.answer_hot(parts, request, async |call, request| {
            let wanted = Wanted::read(&request.name, &request.scopes, request.min_remaining.as_ref())?;
            Ok(encode::framed_access_token(&*self.token(call, &wanted).await?))
        })
        .await
    }

    async fn verify(self: &Arc<Self>, parts: &Parts, request: VerifyTokenRequest) -> Answered {
        self.answer_hot(parts, request, async |_, request| {
            Ok(encode::framed(&VerifyTokenResponse { verdict: Some(self.verdict(request).await?) }))
        })
        .await
    }

    /// As [`Front::answer`], for what only reads. There is no span before somebody has to wait or something is wrong: it
    /// costs more than an answer from memory, and nothing would be logged in it.
    async fn answer_hot<M: Asked>(
        self: &Arc<Self>,
        parts: &Parts,
        request: M,
        work: impl AsyncFnOnce(&Call, M) -> Result<Bytes>,
    ) -> Answered {
        let id = call_id(parts.headers.get(CALL_ID_HEADER));
        let mut answering = pin!(async {
            let (call, permitted) = self.identify(&parts.headers, &parts.extensions, &request, id.clone()).await;
            let mut end = End::of_hot(&call);
            let resource = request.resource();
            let answered = match permitted {
                Ok(_) => until_slow(pin!(work(&call, request)), || span_of(&call)).await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(message) => {
                    end.with(Code::Ok);
                    Ok(message)
                }
                Err(error) => {
                    let span = span_of(&call);
                    end.is_in(span.clone());
                    Err(self.refuse(&call, &resource, error, end).instrument(span).await)
                }
            }
        });
        let longest = deadline::granted_or(&parts.headers, self.limits.call_duration);
        match deadline::within(longest, answering.as_mut()).await {
            Some(answered) => answered.map(|message| (id.clone(), message)),
            None => Err(deadline::out_of_time_answer(M::METHOD, &id)),
        }
    }
}

/// In a span of its own from the moment on that it has to wait.
async fn until_slow<F: Future>(mut future: Pin<&mut F>, span: impl FnOnce() -> Span) -> F::Output {
    if let Some(done) = at_once(future.as_mut()).await {
        return done;
    }
    future.instrument(span()).await
}

/// The call's id and the framed answer.
type Answered = Result<(Arc<str>, Bytes), Status>;

/// The body of an answer.
pub enum Answer<Out> {
    Other(Out),
    /// gRPC's status is among the headers.
    Nothing,
    Encoded {
        message: Option<Bytes>,
        is_over: bool,
        _place: Place,
    },
}

impl<Out> Answer<Out> {
    fn encoded(id: &str, message: Bytes, place: Place) -> Response<Self> {
        let mut response = Response::new(Answer::Encoded { message: Some(message), is_over: false, _place: place });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(CALL_ID_HEADER, id);
        }
        response
    }
}

impl<Out> Body for Answer<Out>
where
    Out: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Out::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Out::Error>>> {
        match self.get_mut() {
            Answer::Other(body) => Pin::new(body).poll_frame(cx),
            Answer::Nothing => Poll::Ready(None),
            Answer::Encoded { message, is_over, .. } => {
                if let Some(message) = message.take() {
                    return Poll::Ready(Some(Ok(Frame::data(message))));
                }
                if std::mem::replace(is_over, true) {
                    return Poll::Ready(None);
                }
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Other(body) => body.is_end_stream(),
            Answer::Nothing => true,
            Answer::Encoded { is_over, .. } => *is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Other(body) => body.size_hint(),
            Answer::Nothing => SizeHint::with_exact(0),
            Answer::Encoded { .. } => SizeHint::default(),
        }
    }
}

/// What a status that says everything in its headers has for a body.
#[derive(Default)]
struct NoBody;

/// The body of a request, from its beginning, also where something of it was read already.
pub struct Replayed<In: Body> {
    /// What was read and is to be read again: at most two frames.
    begun: VecDeque<Result<Frame<Bytes>, In::Error>>,
    rest: In,
}

impl<In: Body<Data = Bytes>> From<In> for Replayed<In> {
    fn from(rest: In) -> Self {
        Replayed { begun: VecDeque::new(), rest }
    }
}

impl<In: Body<Data = Bytes> + Unpin> Replayed<In> {
    /// The one message that the body is, with its prefix, where all of it is there and it is not compressed. Otherwise all
    /// that was looked at is there to be read again.
    fn whole_message(&mut self) -> Option<Bytes> {
        let first = self.next()?;
        let Some(data) = first.as_ref().ok().and_then(Frame::data_ref).cloned() else {
            self.begun.push_back(first);
            return None;
        };
        // Some clients say with the data that it is the end, others with an empty frame after it.
        let second = if self.rest.is_end_stream() { None } else { self.next() };
        let is_empty = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(Bytes::is_empty);
        let is_end = second.as_ref().is_none_or(|second| second.as_ref().is_ok_and(is_empty));
        if is_end && self.rest.is_end_stream() && data.len() <= MAX_BYTES && is_one_message(&data) {
            return Some(data);
        }
        self.begun.push_back(first);
        self.begun.extend(second);
        None
    }

    fn read_again(&mut self, data: Bytes) {
        self.begun.push_front(Ok(Frame::data(data)));
    }

    /// The next frame, if it is there.
    fn next(&mut self) -> Option<Result<Frame<Bytes>, In::Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut self.rest).poll_frame(cx)).now_or_never()?
    }
}

fn is_one_message(data: &[u8]) -> bool {
    let Some((&[is_compressed, a, b, c, d], message)) = data.split_first_chunk::<PREFIX_BYTES>() else { return false };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    is_compressed == 0 && length == message.len()
}

impl<In: Body<Data = Bytes> + Unpin> Body for Replayed<In>
where
    In::Error: Unpin,
{
    type Data = Bytes;
    type Error = In::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, In::Error>>> {
        let this = self.get_mut();
        match this.begun.pop_front() {
            Some(begun) => Poll::Ready(Some(begun)),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.begun.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use tonic::codegen::http::{Request, Response};

    use super::*;
    use crate::grpc::bodies::Buffers;

    /// Nothing comes of it.
    struct Nothing;

    impl Body for Nothing {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
    }

    /// What waits for an answer is copied a few times on its way into a task, so its size is time of every call.
    #[tokio::test]
    async fn what_waits_for_an_answer_is_small() {
        let (_folder, front) = crate::grpc::tests::front().await;
        let shed = Shed::new(1, Buffers::new(1, std::time::Duration::ZERO));
        let others =
            tower::service_fn(async |_: Request<Replayed<Nothing>>| Ok::<_, Infallible>(Response::new(Nothing)));
        let answering = answer(Arc::new(front), shed, others, Request::new(Nothing));
        let bytes = size_of_val(&answering);
        println!("{bytes} bytes");
        assert!(bytes <= 4_096, "{bytes} bytes");
    }
}
