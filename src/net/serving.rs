//! From an accepted connection to its last answer.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cores::Places;
use super::crowd::{Crowd, Place};
use super::limits::{FAREWELL, PAUSE};
use super::listener::{Accepted, is_exhausted};
use super::preface::greeted;
use super::seldom::Seldom;
use super::socket::Socket;
use super::turns::Turns;
use super::{Connection, Cores, Limits, Listener, Protocol, Shown, Source, Tls, http_1, http_2};

/// What answers requests, each with the connection that it came by.
pub trait Answers<In>: Clone + Send + Sync + 'static {
    type Body: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static;
    type Error: std::error::Error + Send + Sync + 'static;
    type Answering: Future<Output = Result<Response<Self::Body>, Self::Error>> + Send + 'static;

    fn answer(&self, connection: &Connection, request: Request<In>) -> Self::Answering;
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
    protocol: Protocol,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    crowd: Arc<Crowd>,
    connections: TaskTracker,
    /// Ends the accepting, and asks every connection to end.
    draining: CancellationToken,
    /// Cuts those off that are late.
    over: CancellationToken,
    turns: Turns,
    cores: Places,
    full: Seldom,
    failed: Seldom,
}

/// Accepts connections and answers their requests with `service`, until `draining` is cancelled. TCP speaks TLS where
/// there is `tls`; a Unix socket never does. Handshakes and strangers are on the runtime that this is called on, and so is
/// all that speaks HTTP/1.1; known callers of HTTP/2 are on `cores`. Strangers of all who serve by the same `cores` share
/// their turns.
pub fn serve(
    protocol: Protocol,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    service: impl Answers<Incoming>,
    cores: &Cores,
    draining: CancellationToken,
) -> Serving {
    let host = Arc::new(Host {
        protocol,
        tls,
        limits,
        crowd: Crowd::new(limits.max_connections),
        connections: TaskTracker::new(),
        draining,
        over: CancellationToken::new(),
        turns: cores.turns(),
        cores: cores.places(),
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
    async fn accept_all(self: &Arc<Self>, listener: Listener, service: impl Answers<Incoming>) {
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

    /// One connection from its first byte until its caller is known, which goes on elsewhere, or to its last.
    async fn attend(self: Arc<Self>, stream: Accepted, source: Source, place: Place, service: impl Answers<Incoming>) {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let (socket, moves) = Socket::new(stream);
        let handshake = timeout_at(deadline, in_turn(self.turns.clone(), self.shake_hands(socket, source)));
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
        let (guest, stream) = (place.guest().clone(), TokioIo::new(stream));
        let connection = Connection::of(guest.clone(), source, shown);
        let answering: Pin<Box<dyn Answering>> = match self.protocol {
            Protocol::Http2 => {
                let calls = http_2::Calls { guest, turns: self.turns.clone() };
                let http = http_2::builder(&self.limits, calls);
                Box::pin(http.serve_connection(stream, Introducing { connection, service }))
            }
            Protocol::Http1 => {
                let service = http_1::Counting { guest, service: Introducing { connection, service } };
                Box::pin(http_1::builder(&self.limits).serve_connection(stream, service))
            }
        };
        let moves_on = self.protocol == Protocol::Http2;
        let mut conversation = Conversation { host: self.clone(), place, answering, is_leaving: false };
        if conversation.go_on(moves_on).await {
            moves.begin();
            self.cores.spawn(&self.connections, async move {
                conversation.go_on(false).await;
            });
        }
    }

    /// TLS where it is wanted, then HTTP/2's first words where that is spoken; what the client has proven.
    async fn shake_hands(&self, socket: Socket, source: Source) -> io::Result<(Box<dyn Stream>, Shown)> {
        match (source, &self.tls) {
            (Source::Tcp(_), Some(tls)) => {
                let ready = tls.ready();
                let config = ready.config_for(self.protocol);
                let stream = TlsAcceptor::from(config.clone()).accept(socket).await?;
                let (_, session) = stream.get_ref();
                if !self.protocol.is_agreed_on(session.alpn_protocol()) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not ask for the protocol"));
                }
                let shown = session.peer_certificates().unwrap_or_default();
                let certificates = shown.iter().map(|certificate| certificate.to_vec()).collect();
                let shown = Shown { certificates, vouchers: ready.vouchers(shown) };
                Ok((self.greet(stream).await?, shown))
            }
            (Source::Tcp(_), None) | (Source::Unix { .. }, _) => Ok((self.greet(socket).await?, Shown::default())),
        }
    }

    async fn greet(&self, stream: impl Stream + 'static) -> io::Result<Box<dyn Stream>> {
        match self.protocol {
            Protocol::Http2 => Ok(Box::new(greeted(stream).await?)),
            // Its first words are a request, for whose head HTTP/1.1 has a time of its own.
            Protocol::Http1 => Ok(Box::new(stream)),
        }
    }
}

/// A connection that stands.
struct Conversation {
    host: Arc<Host>,
    place: Place,
    answering: Pin<Box<dyn Answering>>,
    /// It was told to go.
    is_leaving: bool,
}

/// The answering of a connection's calls, until the connection ends.
pub(super) trait Answering: Future<Output = hyper::Result<()>> + Send {
    /// Tells the client to go.
    fn say_farewell(self: Pin<&mut Self>);
}

impl Conversation {
    /// Answers calls until the client leaves, has to leave, or has nothing to ask for too long; `until_known`, or until its
    /// caller is known, which is what this tells.
    async fn go_on(&mut self, until_known: bool) -> bool {
        let Conversation { host, place, answering, is_leaving } = self;
        let (guest, mut turns) = (place.guest(), host.turns.clone());
        let mut look = pin!(sleep_until(Instant::now() + host.limits.idle_timeout));
        loop {
            let ended = tokio::select! {
                biased;
                () = guest.gives_way() => return false,
                () = host.over.cancelled() => return false,
                () = host.draining.cancelled(), if !*is_leaving => None,
                ended = poll_fn(|cx| match turns.poll_of(guest, answering.as_mut(), cx) {
                    Poll::Pending if until_known && !guest.is_stranger() => Poll::Ready(None),
                    polled => polled.map(Some),
                }) => match ended {
                    None => return true,
                    ended => ended,
                },
                () = &mut look => None,
            };
            if let Some(ended) = ended {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return false;
            }
            let patience = if *is_leaving { FAREWELL } else { host.limits.idle_timeout };
            let now = Instant::now();
            let is_over = guest.idle_since().is_some_and(|since| since + patience <= now);
            if *is_leaving && is_over {
                return false;
            }
            if !*is_leaving && (is_over || host.draining.is_cancelled()) {
                *is_leaving = true;
                answering.as_mut().say_farewell();
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

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Gives each request the connection that it came by.
pub(super) struct Introducing<S> {
    connection: Connection,
    service: S,
}

impl<S: Answers<Incoming>> hyper::service::Service<Request<Incoming>> for Introducing<S> {
    type Response = Response<S::Body>;
    type Error = S::Error;
    type Future = S::Answering;

    fn call(&self, request: Request<Incoming>) -> S::Answering {
        self.service.answer(&self.connection, request)
    }
}
