//! A token that is always fresh: the broker sends the next one before the last has expired.
//!
//! The stream may end at any time; it is opened again, and the token that is held goes on to be given until it has expired.
//! Only where the broker refuses, as for a tenant that is suspended, it is dropped at once: it does not verify any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::backoff::Backoff;
use super::connection::{CALL, Connection, Lost, Task};
use super::{Now, Token, system_time};
use crate::proto::WatchTokenRequest;
use crate::proto::token_service_client::TokenServiceClient;

/// How long the first token may take: the broker may have to fetch it, and others before it.
const FIRST: Duration = Duration::from_secs(30);

/// Whose token is wanted.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The client, as `tenants/{tenant}/clients/{client}`.
    pub client: String,
    /// The full scopes; all of the client's where there are none. At most 50.
    pub scopes: Vec<String>,
    /// How long each token is to be valid at the least when it is sent: at most half of the client's validity.
    pub min_remaining: Duration,
    /// How long [`TokenSource::token`] waits where there is none.
    pub wait: Duration,
}

impl TokenRequest {
    /// With all of its scopes, and a wait of 10 s.
    pub fn new(client: impl Into<String>) -> Self {
        let (scopes, min_remaining) = (Vec::new(), Duration::ZERO);
        TokenRequest { client: client.into(), scopes, min_remaining, wait: Duration::from_secs(10) }
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// The broker refuses one. It is asked again, up to every 10 s, since that may be mended.
    Refused(String),
    /// None has come yet, or the last one has expired: what keeps the next.
    NotNow(String),
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoToken::Refused(why) => write!(f, "the broker gives no token: {why}"),
            NoToken::NotNow(why) => write!(f, "there is no token now: {why}"),
        }
    }
}

impl std::error::Error for NoToken {}

/// Holds one token and keeps it fresh, for as long as a clone of it lives.
#[derive(Clone)]
pub struct TokenSource {
    held: watch::Receiver<Held>,
    wait: Duration,
    now: Now,
    _task: Arc<Task>,
}

#[derive(Clone, Default)]
struct Held {
    token: Option<Token>,
    lost: Option<Lost>,
}

impl TokenSource {
    /// To be called on a Tokio runtime. It does not wait for the first token.
    pub fn start(connection: Connection, request: TokenRequest) -> Self {
        TokenSource::start_with(connection, request, system_time())
    }

    /// With another clock than the system's.
    pub fn start_with(connection: Connection, request: TokenRequest, now: Now) -> Self {
        let (sender, held) = watch::channel(Held::default());
        let (wait, clock) = (request.wait, now.clone());
        let task = tokio::spawn(async move { follow(&connection, &request, &sender, &clock).await });
        TokenSource { held, wait, now, _task: Arc::new(Task(task)) }
    }

    /// The token that is held, if it has not expired.
    pub fn current(&self) -> Option<Token> {
        let held = self.held.borrow();
        held.token.clone().filter(|token| token.expire_time() > (self.now)())
    }

    /// The token; waits for one where there is none, unless the broker has refused it.
    pub async fn token(&self) -> Result<Token, NoToken> {
        let mut held = self.held.clone();
        let found = timeout(self.wait, async {
            loop {
                let lost = held.borrow_and_update().lost.clone();
                if let Some(token) = self.current() {
                    return Ok(token);
                }
                if let Some(lost) = lost.filter(|lost| lost.is_refusal) {
                    return Err(NoToken::Refused(lost.why));
                }
                if held.changed().await.is_err() {
                    return Err(NoToken::NotNow("the task that fetches it has ended".to_owned()));
                }
            }
        });
        found.await.unwrap_or_else(|_| {
            let lost = self.held.borrow().lost.clone();
            Err(NoToken::NotNow(lost.map_or_else(|| "none has come yet".to_owned(), |lost| lost.why)))
        })
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("token", &self.current()).finish_non_exhaustive()
    }
}

async fn follow(connection: &Connection, request: &TokenRequest, held: &watch::Sender<Held>, now: &Now) {
    let mut backoff = Backoff::default();
    loop {
        let lost = listen(connection, request, held, now, &mut backoff).await;
        tracing::info!(client = request.client, why = lost.why, "the stream of tokens has ended; it is opened again");
        held.send_modify(|held| {
            if lost.is_refusal {
                held.token = None;
            }
            held.lost = Some(lost);
        });
        backoff.wait().await;
    }
}

/// Until the stream ends.
async fn listen(
    connection: &Connection,
    request: &TokenRequest,
    held: &watch::Sender<Held>,
    now: &Now,
    backoff: &mut Backoff,
) -> Lost {
    let message = WatchTokenRequest {
        name: request.client.clone(),
        scopes: request.scopes.clone(),
        min_remaining: prost_types::Duration::try_from(request.min_remaining).ok(),
    };
    let message = match connection.request(message) {
        Ok(message) => message,
        Err(lost) => return lost,
    };
    let mut client = TokenServiceClient::new(connection.channel.clone());
    let mut stream = match timeout(CALL, client.watch_token(message)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return status.into(),
        Err(_) => return Lost::here("the broker does not answer"),
    };
    let mut patience = FIRST;
    loop {
        match timeout(patience, stream.message()).await {
            Ok(Ok(Some(message))) => {
                let Some(token) = Token::read(message) else { return Lost::here("what was sent is no token") };
                patience = patience_with(token.expire_time(), now());
                held.send_replace(Held { token: Some(token), lost: None });
                backoff.reset();
            }
            Ok(Ok(None)) => return Lost::here("the stream has ended"),
            Ok(Err(status)) => return status.into(),
            Err(_) => return Lost::here("the next token is overdue"),
        }
    }
}

/// The broker sends the next token when this one has lived three quarters of its life. Where nothing has come long after that
/// the connection is dead, whatever the system thinks of it.
fn patience_with(expire_time: Timestamp, now: Timestamp) -> Duration {
    let remaining = Duration::try_from(expire_time.duration_since(now)).unwrap_or_default();
    (remaining * 9 / 10).max(CALL)
}
