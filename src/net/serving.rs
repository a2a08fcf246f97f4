//! From an accepted connection to its last answer.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::http::{Request, Response};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::crowd::{Crowd, Guest, Place};
use super::limits::{
    CONNECTION_WINDOW_BYTES, FAREWELL, MAX_RESETS_BEFORE_ACCEPT, MAX_RESETS_FOR_ERRORS, PAUSE, SEND_BUFFER_BYTES,
    STREAM_WINDOW_BYTES,
};
use super::listener::{Accepted, is_exhausted};
use super::preface::greeted;
use super::seldom::Seldom;
use super::tls::HTTP_2;
use super::turns::Turns;
use super::{Connection, Limits, Listener, Shown, Source, Tls};

/// What answers requests.
pub trait Answers<B>:
    Service<Request<Incoming>, Response = Response<B>, Error: std::error::Error + Send + Sync, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<B, S> Answers<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error: std::error::Error + Send + Sync, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Connections that are accepted and answered.
#[derive(Debug)]
pub struct Serving {
    accepting: JoinHandle<()>,
    host: Arc<Host>,
}

/// What all connections have in common.
#[derive(Debug)]
struct Host {
    tls: Option<Arc<Tls>>,
    limits: Limits,
    crowd: Arc<Crowd>,
    connections: TaskTracker,
    /// Ends the accepting, and asks every connection to end.
    draining: CancellationToken,
    /// Cuts those off that are late.
    over: CancellationToken,
    turns: Turns,
    full: Seldom,
    failed: Seldom,
}

/// Accepts connections and answers their requests with `service`, until `draining` is cancelled. TCP speaks TLS where
/// there is `tls`; a Unix socket never does. Each request carries its [`Connection`] among its extensions.
pub fn serve<S, B>(
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    service: S,
    draining: CancellationToken,
) -> Serving
where
    S: Answers<B>,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let host = Arc::new(Host {
        tls,
        limits,
        crowd: Crowd::new(limits.max_connections),
        connections: TaskTracker::new(),
        draining,
        over: CancellationToken::new(),
        turns: Turns::new(),
        full: Seldom::default(),
        failed: Seldom::default(),
    });
    let accepting = host.clone();
    let accepting = async move {
        let all = listeners.into_iter().map(|listener| accepting.accept_all(listener, service.clone()));
        futures::future::join_all(all).await;
    };
    Serving { accepting: tokio::spawn(accepting), host }
}

impl Serving {
    /// Returns when nothing is accepted any more.
    pub async fn ended(&mut self) {
        // Unless it panicked, it ends with the drain; either way it is over.
        let _ = (&mut self.accepting).await;
    }

    /// Waits until every connection has ended, `deadline` at the longest, and cuts the others off; how many of those had
    /// calls under way. To be called once draining was asked for. A peer that does not end an idle connection itself is
    /// waited for no longer than a second.
    pub async fn drain(self, deadline: Duration) -> usize {
        let host = self.host;
        host.draining.cancel();
        host.connections.close();
        let late = match timeout(deadline, host.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => host.crowd.busy(),
        };
        host.over.cancel();
        late
    }
}

impl Host {
    async fn accept_all<S, B>(self: &Arc<Self>, listener: Listener, service: S)
    where
        S: Answers<B>,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.draining.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, source)) => match self.crowd.admit() {
                    Some(place) => {
                        let (host, service) = (self.clone(), service.clone());
                        self.connections.spawn(async move { host.attend(stream, source, place, service).await });
                    }
                    None => {
                        if let Some(others) = self.full.turn() {
                            let most = self.limits.max_connections;
                            tracing::warn!(?source, others, most, "a connection was closed: there are too many");
                        }
                    }
                },
                Err(error) if is_exhausted(&error) => {
                    if let Some(others) = self.full.turn() {
                        tracing::error!(%error, others, "the system has no room for another connection");
                    }
                    self.crowd.make_room();
                    // Whether or not the drain began meanwhile, the loop sees to it.
                    let _ = timeout(PAUSE, self.draining.cancelled()).await;
                }
                // Of that connection alone: it ended before it was accepted.
                Err(_) => {}
            }
        }
    }

    /// One connection from its first byte to its last.
    async fn attend<S, B>(&self, stream: Accepted, source: Source, place: Place, service: S)
    where
        S: Answers<B>,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let handshake = timeout_at(deadline, in_turn(self.turns.clone(), self.shake_hands(stream)));
        let stands = tokio::select! {
            biased;
            () = place.guest().gives_way() => return,
            () = self.draining.cancelled() => return,
            stands = handshake => stands.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        };
        let (stream, shown) = match stands {
            Ok(stands) => stands,
            Err(error) => {
                if let Some(others) = self.failed.turn() {
                    tracing::info!(?source, others, %error, "a connection failed in its handshake");
                }
                return;
            }
        };
        if !shown.certificates.is_empty() {
            place.guest().is_known();
        }
        let connection = Connection::of(place.guest().clone(), source, shown);
        self.answer(stream, connection, &place, service).await;
    }

    /// TLS where it is wanted, then HTTP/2's first words; what the client has proven.
    async fn shake_hands(&self, stream: Accepted) -> io::Result<(Box<dyn Stream>, Shown)> {
        match (stream, &self.tls) {
            (Accepted::Tcp(stream), Some(tls)) => {
                let ready = tls.ready();
                let stream = TlsAcceptor::from(ready.config.clone()).accept(stream).await?;
                let (_, session) = stream.get_ref();
                if session.alpn_protocol() != Some(HTTP_2) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not ask for HTTP/2"));
                }
                let shown = session.peer_certificates().unwrap_or_default();
                let certificates = shown.iter().map(|certificate| certificate.to_vec()).collect();
                let shown = Shown { certificates, vouchers: ready.vouchers(shown) };
                Ok((Box::new(greeted(stream).await?), shown))
            }
            (Accepted::Tcp(stream), None) => Ok((Box::new(greeted(stream).await?), Shown::default())),
            (Accepted::Unix(stream), _) => Ok((Box::new(greeted(stream).await?), Shown::default())),
        }
    }

    /// Answers calls until the client leaves, has to leave, or has nothing to ask for too long.
    async fn answer<S, B>(&self, stream: Box<dyn Stream>, connection: Connection, place: &Place, service: S)
    where
        S: Answers<B>,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let guest = place.guest();
        let service = Introducing { connection, inner: TowerToHyperService::new(service) };
        let http = http_2(&self.limits, Calls { guest: guest.clone(), turns: self.turns.clone() });
        let mut answering = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut turns = self.turns.clone();
        let mut is_leaving = false;
        let mut look = pin!(sleep_until(Instant::now() + self.limits.idle_timeout));
        loop {
            let ended = tokio::select! {
                biased;
                () = guest.gives_way() => return,
                () = self.over.cancelled() => return,
                () = self.draining.cancelled(), if !is_leaving => None,
                ended = poll_fn(|cx| turns.poll_of(guest, answering.as_mut(), cx)) => Some(ended),
                () = &mut look => None,
            };
            if let Some(ended) = ended {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            let patience = if is_leaving { FAREWELL } else { self.limits.idle_timeout };
            let now = Instant::now();
            let is_over = guest.idle_since().is_some_and(|since| since + patience <= now);
            if is_leaving && is_over {
                return;
            }
            if !is_leaving && (is_over || self.draining.is_cancelled()) {
                is_leaving = true;
                answering.as_mut().graceful_shutdown();
                look.as_mut().reset(now + FAREWELL);
                continue;
            }
            // A call under way is looked after again when a whole period has passed.
            look.as_mut().reset(guest.idle_since().unwrap_or(now) + patience);
        }
    }
}

/// Polls `future` in turn with other strangers'.
async fn in_turn<F: Future>(mut turns: Turns, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| turns.poll(future.as_mut(), cx)).await
}

fn http_2(limits: &Limits, calls: Calls) -> http2::Builder<Calls> {
    let mut http = http2::Builder::new(calls);
    http.timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive_interval)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_bytes)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS_BEFORE_ACCEPT)
        .max_local_error_reset_streams(MAX_RESETS_FOR_ERRORS);
    http
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Runs the calls of a connection, a stranger's in turn, and counts them, each until its answer was taken.
#[derive(Clone)]
struct Calls {
    guest: Arc<Guest>,
    turns: Turns,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        let Calls { guest, mut turns } = self.clone();
        let under_way = guest.begin_call();
        tokio::spawn(async move {
            let mut call = pin!(call);
            poll_fn(|cx| turns.poll_of(&guest, call.as_mut(), cx)).await;
            drop(under_way);
        });
    }
}

/// Gives each request the connection that it came by.
#[derive(Clone)]
struct Introducing<S> {
    connection: Connection,
    inner: S,
}

impl<S, B> hyper::service::Service<Request<B>> for Introducing<S>
where
    S: hyper::service::Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.connection.clone());
        self.inner.call(request)
    }
}
