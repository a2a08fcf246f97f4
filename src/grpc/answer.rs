//! What every call has in common: an id, a span, a line in the log when it ends, an audit event when it is denied.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Response, Status};
use tracing::{Instrument as _, Span};

use super::Front;
use super::requests::Asked;
use super::standing::{Standing, ask};
use super::status::{code, code_name, shutting_down, status};
use crate::broker::Basis;
use crate::domain::audit::Call;
use crate::domain::caller::{Caller, Principal};
use crate::domain::error::{Error, Reason, Result};
use crate::gate::{CALL_ID_HEADER, authorization, call_id};
use crate::net::{Connection, Seldom};

/// A stream of answers. It ends with its first error.
pub type Answers<A> = BoxStream<'static, Result<A, Status>>;

impl Front {
    /// Answers one request with what `work` makes of it.
    ///
    /// What changes something goes on to its end when the caller gives up: a change that is stored must also reach
    /// what is kept in memory. What only reads ends with its caller.
    pub(super) async fn answer<M, A, W, F>(
        self: &Arc<Self>,
        request: Request<M>,
        work: W,
    ) -> Result<Response<A>, Status>
    where
        M: Asked,
        A: Send + 'static,
        W: FnOnce(Arc<Front>, Call, M) -> F,
        F: Future<Output = Result<A>> + Send + 'static,
    {
        let (metadata, extensions, mut message) = request.into_parts();
        let (mut call, span, permitted) = self.begin(metadata, &extensions, &message).await;
        let work = async {
            let end = End::of(&call, Span::current());
            let resource = message.resource();
            let answer = match permitted.and_then(|_| message.take_promise()) {
                Ok(request) => {
                    call.request = request;
                    let work = work(self.clone(), call.clone(), message);
                    if M::CHANGES { self.finish(work).await } else { work.await }
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => {
                    end.with(Code::Ok);
                    let mut response = Response::new(answer);
                    carry(&call, response.metadata_mut());
                    Ok(response)
                }
                Err(error) => Err(self.refuse(&call, &resource, error, end).await),
            }
        };
        work.instrument(span).await
    }

    /// Answers a request with a stream, which ends when the broker drains. What its `work` is to carry to an end when the
    /// caller has left, it sees to by itself.
    pub(super) async fn stream<M, T, A, W>(
        self: &Arc<Self>,
        request: Request<M>,
        work: W,
        encode: fn(T) -> A,
    ) -> Result<Response<Answers<A>>, Status>
    where
        M: Asked,
        T: Send + 'static,
        A: Send + 'static,
        W: FnOnce(&Call, M) -> Result<BoxStream<'static, Result<T>>>,
    {
        let (metadata, extensions, mut message) = request.into_parts();
        let (mut call, span, permitted) = self.begin(metadata, &extensions, &message).await;
        let (end, resource) = (End::of(&call, span.clone()), message.resource());
        let opened = permitted.and_then(|caller| {
            let standing = self.standing(caller, &extensions, &message);
            call.request = message.take_promise()?;
            Ok((standing, work(&call, message)?))
        });
        match opened {
            Ok((standing, items)) => {
                let items = items.map(move |item| item.map(encode)).boxed();
                Ok(self.follow(call, span, end, Flowing { resource, standing, items }))
            }
            Err(error) => Err(self.refuse(&call, &resource, error, end).instrument(span).await),
        }
    }

    /// Answers a stream of requests with a stream of answers, which ends when the broker drains.
    pub(super) async fn converse<M: Asked, A: Send + 'static>(
        self: &Arc<Self>,
        metadata: MetadataMap,
        extensions: &Extensions,
        answers: impl FnOnce(&Call) -> BoxStream<'static, Result<A>>,
    ) -> Result<Response<Answers<A>>, Status> {
        let (call, span, permitted) = self.begin(metadata, extensions, &M::default()).await;
        let end = End::of(&call, span.clone());
        match permitted {
            Ok(caller) => {
                let standing = self.standing(caller, extensions, &M::default());
                let items = answers(&call);
                Ok(self.follow(call, span, end, Flowing { resource: String::new(), standing, items }))
            }
            Err(error) => Err(self.refuse(&call, "", error, end).instrument(span).await),
        }
    }

    /// Who calls, under which id, and whether they may.
    async fn begin<M: Asked>(
        &self,
        metadata: MetadataMap,
        extensions: &Extensions,
        message: &M,
    ) -> (Call, Span, Result<Arc<Caller>>) {
        let headers = metadata.into_headers();
        let id = call_id(headers.get(CALL_ID_HEADER));
        let connection = extensions.get::<Connection>();
        let (call, permitted) = self.identify(&headers, connection, message, id, &mut Basis::default()).await;
        let span = span_of(&call);
        (call, span, permitted)
    }

    /// `basis` gets what the permission stands on.
    pub(super) async fn identify<M: Asked>(
        &self,
        headers: &HeaderMap,
        connection: Option<&Connection>,
        message: &M,
        call_id: Arc<str>,
        basis: &mut Basis,
    ) -> (Call, Result<Arc<Caller>>) {
        let permitted = match self.callers.resolve(connection, &authorization(headers)).await {
            Ok(caller) => {
                if let Some(connection) = connection {
                    connection.has_known_caller();
                }
                let permitted = self.permit(&ask(&caller, connection, message), basis).await;
                permitted.map(|()| caller.clone()).map_err(|error| (Some(caller), error))
            }
            Err(error) => Err((None, error)),
        };
        let principal = match &permitted {
            Ok(caller) | Err((Some(caller), _)) => caller.principal.clone(),
            Err((None, _)) => Principal::Anonymous,
        };
        let call = Call { principal, method: Arc::from(M::METHOD), call_id, request: None };
        (call, permitted.map_err(|(_, error)| error))
    }

    /// What a stream of the caller's goes on under.
    fn standing<M: Asked>(&self, caller: Arc<Caller>, extensions: &Extensions, message: &M) -> Standing {
        let asker = caller.clone();
        Standing::new(self, caller, &ask(&asker, extensions.get::<Connection>(), message))
    }

    fn follow<A: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        span: Span,
        end: End,
        flowing: Flowing<A>,
    ) -> Response<Answers<A>> {
        let head = call.clone();
        let flow = Flow { front: self.clone(), call, span, end, flowing };
        let answers = stream::unfold(Some(flow), |flow| async move {
            let flow = flow?;
            let span = flow.span.clone();
            flow.next().instrument(span).await
        });
        let mut response = Response::new(answers.boxed());
        carry(&head, response.metadata_mut());
        response
    }

    /// What the caller is told of an error, once the audit log has the denial. A denial that cannot be written down
    /// is not answered: the caller then learns of that instead.
    pub(super) fn refuse<'a>(
        &'a self,
        call: &'a Call,
        resource: &'a str,
        error: Error,
        end: End,
    ) -> BoxFuture<'a, Status> {
        Box::pin(async move {
            let error = self.on_record(call, resource, error).await;
            self.counted.refused(error.reason());
            end.because(&error);
            let mut status = status(&error);
            carry(call, status.metadata_mut());
            status
        })
    }
}

/// A stream under way.
struct Flow<A> {
    front: Arc<Front>,
    call: Call,
    span: Span,
    end: End,
    flowing: Flowing<A>,
}

/// What comes, what it is about, and the permission that it comes under.
struct Flowing<A> {
    resource: String,
    standing: Standing,
    items: BoxStream<'static, Result<A>>,
}

impl<A: Send> Flowing<A> {
    /// The next answer, unless its caller may not have it any more.
    async fn next(&mut self, front: &Front) -> Option<Result<A>> {
        loop {
            if let Err(error) = self.standing.confirm(front).await {
                return Some(Err(error));
            }
            tokio::select! {
                biased;
                () = front.shutdown.cancelled() => return Some(Err(shutting_down())),
                () = self.standing.doubt(front) => {}
                item = self.items.next() => {
                    return match self.standing.check_proof(front) {
                        Ok(()) => item,
                        Err(expired) => Some(Err(expired)),
                    };
                }
            }
        }
    }
}

impl<A: Send> Flow<A> {
    /// The next answer and what follows it.
    async fn next(mut self) -> Option<(Result<A, Status>, Option<Self>)> {
        let item = self.flowing.next(&self.front).await;
        match item {
            Some(Ok(answer)) => Some((Ok(answer), Some(self))),
            Some(Err(error)) => {
                let status = self.front.refuse(&self.call, &self.flowing.resource, error, self.end).await;
                Some((Err(status), None))
            }
            None => {
                self.end.with(Code::Ok);
                None
            }
        }
    }
}

/// What the lines of the log about a call are in.
pub(super) fn span_of(call: &Call) -> Span {
    tracing::info_span!("call", method = &*call.method, call_id = &*call.call_id, principal = %call.principal)
}

/// The answer carries the call's id.
fn carry(call: &Call, metadata: &mut MetadataMap) {
    if let Ok(id) = call.call_id.parse() {
        metadata.insert(CALL_ID_HEADER, id);
    }
}

/// The line about one stands for the others of its second.
static TURNED_AWAY: Seldom = Seldom::new();

/// Says in the log how a call ended, also when its caller gave up.
pub(super) struct End {
    span: Spanned,
    start: Instant,
    code: Code,
    reason: Option<Reason>,
    is_frequent: bool,
}

enum Spanned {
    In(Span),
    /// Where there is none so far: it is made if there is something to say.
    Call(Call),
}

impl End {
    fn of(call: &Call, span: Span) -> Self {
        // Reads that come thousands of times a second would drown the rest.
        let frequent = ["/GetToken", "/VerifyToken", "Authorization/Check"];
        let is_frequent = frequent.iter().any(|method| call.method.ends_with(method));
        End { span: Spanned::In(span), start: Instant::now(), code: Code::Cancelled, reason: None, is_frequent }
    }

    /// Of a frequent call that is in no span.
    pub(super) fn of_hot(call: &Call) -> Self {
        let span = Spanned::Call(call.clone());
        End { span, start: Instant::now(), code: Code::Cancelled, reason: None, is_frequent: true }
    }

    pub(super) fn is_in(&mut self, span: Span) {
        self.span = Spanned::In(span);
    }

    pub(super) fn with(mut self, code: Code) {
        self.code = code;
    }

    fn because(mut self, error: &Error) {
        self.reason = Some(error.reason());
        self.code = code(error.kind());
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let is_quiet = self.is_frequent && self.code == Code::Ok;
        if is_quiet && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let code = code_name(self.code);
        let reason = self.reason.map(Reason::as_str);
        let duration_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // And so would those that are turned away because they are too many.
        let is_turned_away = matches!(self.reason, Some(Reason::RateLimited | Reason::Overloaded));
        let others = if is_turned_away { TURNED_AWAY.turn() } else { None };
        let span = match &self.span {
            Spanned::In(span) => span.clone(),
            Spanned::Call(call) => span_of(call),
        };
        span.in_scope(|| match (is_quiet, is_turned_away, others) {
            (true, _, _) | (false, true, None) => tracing::debug!(code, reason, duration_ms, "answered"),
            (false, true, Some(others)) => tracing::info!(code, reason, duration_ms, others, "answered"),
            (false, false, _) => tracing::info!(code, reason, duration_ms, "answered"),
        });
    }
}
