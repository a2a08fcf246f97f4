//! `GetToken`, `VerifyToken` and Envoy's `Check`, which come with every request of a platform, past what only other calls need.
//!
//! A call of theirs is one short message and one short answer, and nearly always the same was asked before.
//!
//! | what comes | how it is answered |
//! | --- | --- |
//! | a question whose answer was given before and still holds, of a caller who was proven before | with the same bytes (`ready.rs`), once it has a place and was counted |
//! | any other question in one plain message, and each of Envoy's, which tell of ports and times and so never repeat | by the code of every call: caller, permission, handler, audit event. Not by what costs more than the answer: the choice among services, a stream of messages, a span and a timer before anybody has to wait |
//! | a message whose rest is on its way | the same, if it comes within 10 ms |
//! | anything else | the long way, as it came, on other threads (`aside.rs`), and there it is complained of |
//!
//! It must never answer what the long way would not, which `tests/suite/hot.rs` holds, and never give an answer that somebody has
//! been told is out of date, which `tests/suite/ready.rs` holds.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::ext_authz::v3::pb::CheckRequest;
use futures::future::BoxFuture;
use prost::bytes::Bytes;
use tokio::time::timeout;
use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument as _, Span};

use super::answer::{End, span_of};
use super::answered::Answer;
use super::aside::Aside;
use super::deadline::{self, at_once};
use super::decode::token;
use super::others::{Incoming, Others};
use super::ready::{self, Ready, ReadyAnswers};
use super::replayed::{PREFIX_BYTES, Replayed};
use super::requests::Asked;
use super::shedding::Shed;
use super::wanted::{Method, Wanted};
use super::{Front, encode};
use crate::broker::Basis;
use crate::domain::audit::Call;
use crate::domain::caller::Caller;
use crate::domain::error::Result;
use crate::gate::{CALL_ID_HEADER, authorization, call_id, call_id_value, source};
use crate::net::{Answers, Connection};
use crate::proto::{GetTokenRequest, VerifyTokenRequest, VerifyTokenResponse};
use crate::traces;

/// How long the rest of a request may be behind its headers. It usually comes with them, and nearly always at once.
const ON_ITS_WAY: Duration = Duration::from_millis(10);

/// Answers all calls, the hot ones here. Each connection is to have a clone of its own: what a call borrows is counted
/// there, and no two processors count in one place.
pub struct Hot<S>(Arc<Inner<S>>);

#[derive(Clone)]
struct Inner<S> {
    front: Arc<Front>,
    shed: Shed,
    ready: ReadyAnswers,
    others: S,
    aside: Aside,
}

impl<S: Clone> Clone for Hot<S> {
    fn clone(&self) -> Self {
        Hot(Arc::new(Inner::clone(&self.0)))
    }
}

impl<S> Hot<S> {
    /// `others` has `shed` among its layers: they share their places. To be called on the runtime that their calls are
    /// answered on.
    pub(super) fn new(front: Arc<Front>, shed: Shed, others: S) -> Self {
        Hot(Arc::new(Inner { front, shed, ready: ReadyAnswers::new(), others, aside: Aside::here() }))
    }
}

impl<S: Others<In>, In: Incoming> Answers<In> for Hot<S> {
    type Body = Answer<S::Out>;
    type Error = S::Error;
    type Answering = Answering<S, In>;

    fn answer(&self, connection: &Connection, request: Request<In>) -> Self::Answering {
        Answering(Stage::Begun(self.0.clone(), connection.clone(), request))
    }
}

type Answered<S, In> = Result<Response<Answer<<S as Others<In>>::Out>>, <S as Service<Request<Replayed<In>>>>::Error>;

type Waiting<S, In> = BoxFuture<'static, Answered<S, In>>;

/// An answer on its way. It is small: it is moved a few times, and most answers are ready when it is first looked at.
pub struct Answering<S: Others<In>, In: Incoming>(Stage<S, In>);

#[expect(clippy::large_enum_variant, reason = "nearly all are over before they are anything but begun")]
enum Stage<S: Others<In>, In: Incoming> {
    Begun(Arc<Inner<S>>, Connection, Request<In>),
    Waiting(Waiting<S, In>),
    Over,
}

/// Nothing in it is pinned but what is in a box.
impl<S: Others<In>, In: Incoming> Unpin for Answering<S, In> {}

impl<S: Others<In>, In: Incoming> Future for Answering<S, In> {
    type Output = Answered<S, In>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = match std::mem::replace(&mut self.0, Stage::Over) {
            Stage::Begun(inner, connection, request) => match inner.begin(connection, request) {
                Ok(answer) => return Poll::Ready(Ok(answer)),
                Err(waiting) => waiting,
            },
            Stage::Waiting(waiting) => waiting,
            // It was answered, and nobody asks again.
            Stage::Over => return Poll::Pending,
        };
        let polled = waiting.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Stage::Waiting(waiting);
        }
        polled
    }
}

/// A hot call whose message is there.
struct Asking {
    parts: Parts,
    connection: Connection,
    method: Method,
    message: Bytes,
}

impl Asking {
    fn by<'a>(&'a self, caller: &'a Arc<Caller>) -> ready::Asked<'a> {
        ready::Asked { method: self.method, message: &self.message, caller, source: source(Some(&self.connection)) }
    }
}

impl<S> Inner<S> {
    /// The answer where it is at hand, or else what makes it.
    fn begin<In: Incoming>(
        self: Arc<Self>,
        connection: Connection,
        request: Request<In>,
    ) -> Result<Response<Answer<S::Out>>, Waiting<S, In>>
    where
        S: Others<In>,
    {
        let method = Method::of(&request);
        let (parts, body) = request.into_parts();
        let mut body = Replayed::from(body);
        let Some(method) = method else {
            return Err(Box::pin(async move { self.pass_on(parts, connection, body).await }));
        };
        let Some(message) = body.whole_message() else {
            return Err(Box::pin(async move { self.wait(parts, connection, method, body).await }));
        };
        let asking = Asking { parts, connection, method, message };
        match self.at_hand(&asking) {
            Some(answer) => Ok(answer),
            None => Err(Box::pin(async move { self.answer(asking, body).await })),
        }
    }

    /// Answers a message that is on its way. What is slow goes the long way, where it is bounded.
    async fn wait<In: Incoming>(
        &self,
        parts: Parts,
        connection: Connection,
        method: Method,
        mut body: Replayed<In>,
    ) -> Answered<S, In>
    where
        S: Others<In>,
    {
        // Whether it came in time is looked at below.
        let _ = timeout(ON_ITS_WAY, body.end()).await;
        let Some(message) = body.whole_message() else {
            return self.pass_on(parts, connection, body).await;
        };
        let asking = Asking { parts, connection, method, message };
        match self.at_hand(&asking) {
            Some(answer) => Ok(answer),
            None => self.answer(asking, body).await,
        }
    }

    /// An answer that was given before and still holds, to a caller who was proven before. `None` where there is more to do,
    /// or something to say.
    fn at_hand<Out>(&self, asking: &Asking) -> Option<Response<Answer<Out>>> {
        let Asking { parts: Parts { headers, .. }, connection, .. } = asking;
        // Whoever wants to see it gets it made anew.
        let is_watched = tracing::enabled!(tracing::Level::DEBUG) || self.front.counted.is_traced(headers);
        if asking.method == Method::Check || is_watched {
            return None;
        }
        let (broker, callers) = (&self.front.broker, &self.front.callers);
        let now = broker.now();
        let caller = callers.proven(connection, &authorization(headers), now)?;
        let ready = self.ready.find(&asking.by(&caller))?;
        let stands = ready.since <= now && broker.stands(&ready.basis, now);
        if !stands || ready.policies != self.front.permissions.version() {
            return None;
        }
        let place = self.shed.place(connection)?;
        callers.count(&caller).ok()?;
        connection.has_known_caller();
        match asking.method {
            Method::GetToken => broker.counting.hit(),
            Method::VerifyToken => broker.counting.verified(),
            // Never kept.
            Method::Check => {}
        }
        self.front.counted.again(asking.method);
        Some(Answer::encoded(call_id_value(headers.get(CALL_ID_HEADER)), ready.message.clone(), place))
    }

    /// Makes the answer.
    async fn answer<In: Incoming>(&self, asking: Asking, mut body: Replayed<In>) -> Answered<S, In>
    where
        S: Others<In>,
    {
        let wanted = Wanted::read(asking.method, &asking.message[PREFIX_BYTES..]);
        let (Some(wanted), Some(place)) = (wanted, self.shed.place(&asking.connection)) else {
            body.read_again(asking.message);
            return self.pass_on(asking.parts, asking.connection, body).await;
        };
        let timed = self.front.counted.begin(asking.method.full_name(), &asking.parts.headers);
        let making = pin!(async {
            match wanted {
                Wanted::Token(request) => self.get(&asking, request).await,
                Wanted::Verdict(request) => self.verify(&asking, request).await,
                Wanted::Check(request) => self.check(&asking, *request).await,
            }
        });
        let made = traces::within(timed.span(), making).await;
        let id = match &made {
            Ok((id, _)) => Some(&**id),
            Err(status) => status.metadata().get(CALL_ID_HEADER).and_then(|id| id.to_str().ok()),
        };
        id.into_iter().for_each(|id| timed.is_call(id));
        timed.end(made.as_ref().map_or_else(Status::code, |_| Code::Ok));
        Ok(match made {
            Ok((id, message)) => Answer::encoded(HeaderValue::from_str(&id).ok(), message, place),
            Err(status) => status.into_http::<NoBody>().map(|NoBody| Answer::Nothing),
        })
    }

    /// The long way.
    async fn pass_on<In: Incoming>(&self, parts: Parts, connection: Connection, body: Replayed<In>) -> Answered<S, In>
    where
        S: Others<In>,
    {
        let timed = self.front.counted.begin(parts.uri.path(), &parts.headers);
        let mut request = Request::from_parts(parts, body);
        request.extensions_mut().insert(connection);
        let mut others = self.others.clone();
        let (answer, timed) = self
            .aside
            .run(async move {
                let work = pin!(async {
                    poll_fn(|cx| others.poll_ready(cx)).await?;
                    others.call(request).await
                });
                (traces::within(timed.span(), work).await, timed)
            })
            .await;
        let answer = answer?;
        let timed = timed.end_as_in(answer.headers()).map(Box::new);
        Ok(answer.map(|body| Answer::Other(body, timed)))
    }

    async fn get(&self, asking: &Asking, request: GetTokenRequest) -> Made {
        let front = &self.front;
        self.make(asking, request, async |call, request, basis| {
            let wanted = token::Wanted::read(&request.name, &request.scopes, request.min_remaining.as_ref())?;
            Ok(encode::framed_access_token(&*front.token(call, &wanted, basis).await?))
        })
        .await
    }

    async fn verify(&self, asking: &Asking, request: VerifyTokenRequest) -> Made {
        let front = &self.front;
        self.make(asking, request, async |_, request, basis| {
            Ok(encode::framed(&VerifyTokenResponse { verdict: Some(front.verdict(request, basis).await?) }))
        })
        .await
    }

    async fn check(&self, asking: &Asking, request: CheckRequest) -> Made {
        let front = &self.front;
        self.make(asking, request, async |call, request, basis| {
            basis.never_again();
            Ok(encode::framed(&front.check(&call.call_id, request).await))
        })
        .await
    }

    /// As [`Front::answer`], for what only reads. There is no span before somebody has to wait or something is wrong: it
    /// costs more than an answer from memory, and nothing would be logged in it.
    async fn make<M: Asked>(
        &self,
        asking: &Asking,
        request: M,
        work: impl AsyncFnOnce(&Call, M, &mut Basis) -> Result<Bytes>,
    ) -> Made {
        let (front, Asking { parts: Parts { headers, .. }, connection, .. }) = (&self.front, asking);
        let id = call_id(headers.get(CALL_ID_HEADER));
        let mut making = pin!(async {
            let (mut basis, policies, since) = (Basis::default(), front.permissions.version(), front.broker.now());
            let (call, permitted) = front.identify(headers, Some(connection), &request, id.clone(), &mut basis).await;
            let mut end = End::of_hot(&call);
            let resource = request.resource();
            let made = match permitted {
                Ok(caller) => {
                    let made = until_slow(pin!(work(&call, request, &mut basis)), || span_of(&call)).await;
                    made.map(|message| (caller, message))
                }
                Err(error) => Err(error),
            };
            match made {
                Ok((caller, message)) => {
                    end.with(Code::Ok);
                    // What is for once would only push out what is asked again.
                    if since < basis.end() {
                        let ready = Ready { message: message.clone(), basis, policies, since };
                        self.ready.keep(&asking.by(&caller), ready);
                    }
                    Ok(message)
                }
                Err(error) => {
                    let span = span_of(&call);
                    end.is_in(span.clone());
                    Err(front.refuse(&call, &resource, error, end).instrument(span).await)
                }
            }
        });
        let longest = deadline::granted_or(headers, front.limits.call_duration);
        match deadline::within(longest, making.as_mut()).await {
            Some(made) => made.map(|message| (id.clone(), message)),
            None => Err(deadline::out_of_time_answer(M::METHOD, &id)),
        }
    }
}

/// The call's id and the framed answer.
type Made = Result<(Arc<str>, Bytes), Status>;

/// In a span of its own from the moment on that it has to wait.
async fn until_slow<F: Future>(mut future: Pin<&mut F>, span: impl FnOnce() -> Span) -> F::Output {
    if let Some(done) = at_once(future.as_mut()).await {
        return done;
    }
    future.instrument(span()).await
}

/// What a status that says everything in its headers has for a body.
#[derive(Default)]
struct NoBody;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::{Body, Frame};
    use tonic::codegen::http::{Request, Response};

    use super::*;
    use crate::grpc::bodies::Buffers;
    use crate::net::Source;

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
        let shed = Shed::new(1, Buffers::new(1, std::time::Duration::ZERO), Arc::default());
        let others =
            tower::service_fn(async |_: Request<Replayed<Nothing>>| Ok::<_, Infallible>(Response::new(Nothing)));
        let hot = Hot::new(Arc::new(front), shed, others);
        let connection = Connection::new(Source::Tcp(([127, 0, 0, 1], 1).into()), Vec::new());
        let answering = hot.answer(&connection, Request::new(Nothing));
        let bytes = size_of_val(&answering);
        println!("{bytes} bytes");
        assert!(bytes <= 384, "{bytes} bytes");
    }
}
