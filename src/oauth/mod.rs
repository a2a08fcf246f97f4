//! OAuth 2.0 over plain HTTP, at an address of its own, for libraries that know nothing of Keyward: the client-credentials
//! grant as at a user pool's own token endpoint (RFC 6749), introspection for whoever verifies tokens (RFC 7662), the
//! metadata that says where both are (RFC 8414), and the pools' keys. And a page for people, which sends them to where
//! they sign in.
//!
//! | request | who asks | answered from |
//! | --- | --- | --- |
//! | `POST /oauth2/token` | a tenant's client, by its own app client id and secret | the tokens that are held; as `GetToken` |
//! | `POST /oauth2/introspect` | any caller, by the proofs of gRPC | as `VerifyToken` |
//! | `GET /.well-known/oauth-authorization-server` | anybody | the configuration |
//! | `GET /pools/{pool}/.well-known/jwks.json` | anybody | the keys that the broker itself verifies with |
//! | `GET /login`, `POST /login` | anybody, in a browser; only where it is configured | as `MatchTenant` |
//!
//! It must never answer what gRPC would refuse: both go through the same [`Gate`], and a permission is asked for by the
//! method's name there. It must never say `active: false` of a token of which nobody can tell, take a parameter from a URL,
//! hold more of a request than a form may have, or let an answer with a token be kept on the way. It fails with the errors
//! of RFC 6749, section 5.2, which say no more than gRPC's would; and where nobody can tell now, with 503 and the time
//! after which to ask again.

mod answering;
mod bodies;
mod counted;
mod discovery;
mod introspection;
mod login;
mod page;
mod refusal;
mod token;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http;
use axum::routing::{future::RouteFuture, get, post};
use tokio::sync::Semaphore;
use tower::Service as _;

use crate::callers::{ClientLogins, Counts};
use crate::gate::Gate;
use crate::net::{Answers, Connection};
use answering::Endpoint;
use bodies::BUFFER_BYTES;
pub use counted::Counted;
pub use login::LoginOptions;

/// What the front is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is reached, without a slash at the end: its issuer in the sense of RFC 8414. It is not the `iss` of tokens,
    /// which are the pools'.
    pub public_url: String,
    /// How callers may prove themselves at the introspection endpoint, by the names of RFC 8414.
    pub introspection_methods: Vec<&'static str>,
    /// How long an answer may take.
    pub call_duration: Duration,
    /// How long the body of a request may take.
    pub body_duration: Duration,
    /// `None` where there is no page for people.
    pub login: Option<LoginOptions>,
}

/// What every endpoint needs.
struct Front {
    gate: Gate,
    logins: ClientLogins,
    counts: Arc<Counts>,
    counted: Arc<Counted>,
    options: Options,
    /// The metadata, as they are sent.
    document: Bytes,
    /// Bytes that may yet be kept of bodies that are not small.
    buffers: Arc<Semaphore>,
}

/// Answers requests; cheap to clone.
#[derive(Clone)]
pub struct Service(Router);

/// All endpoints. `counts` are those that `logins` and the gate's callers are counted by; requests are counted by `counted`.
pub fn service(
    gate: Gate,
    logins: ClientLogins,
    counts: Arc<Counts>,
    counted: Arc<Counted>,
    options: Options,
) -> Service {
    let buffers = Arc::new(Semaphore::new(BUFFER_BYTES));
    let document = discovery::metadata(&options);
    let has_login = options.login.is_some();
    let front = Arc::new(Front { gate, logins, counts, counted, document, buffers, options });
    let at = |endpoint: Endpoint| {
        move |State(front): State<Arc<Front>>, request: Request| async move { front.answer(endpoint, request).await }
    };
    let mut router = Router::new();
    if has_login {
        router = router.route("/login", get(at(Endpoint::LoginPage)).post(at(Endpoint::Login)));
    }
    let router = router
        .route("/oauth2/token", post(at(Endpoint::Token)))
        .route("/oauth2/introspect", post(at(Endpoint::Introspection)))
        .route("/.well-known/oauth-authorization-server", get(at(Endpoint::Metadata)))
        .route("/pools/{pool}/.well-known/jwks.json", get(at(Endpoint::Keys)))
        .fallback(at(Endpoint::Nothing))
        .method_not_allowed_fallback(at(Endpoint::OtherMethod))
        .with_state(front);
    Service(router)
}

impl<In> Answers<In> for Service
where
    In: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    type Body = Body;
    type Error = Infallible;
    type Answering = RouteFuture<Infallible>;

    fn answer(&self, connection: &Connection, mut request: http::Request<In>) -> Self::Answering {
        request.extensions_mut().insert(connection.clone());
        // A router is always ready.
        self.0.clone().call(request)
    }
}
