//! What the daemon tells of itself over plain HTTP, at an address of its own.
//!
//! | path | answer |
//! | --- | --- |
//! | `/metrics` | the metrics, for Prometheus |
//! | `/livez` | 200 for as long as the process can answer at all. It looks at nothing else: what a restart does not mend is no reason for one |
//! | `/readyz` | 200 while gRPC's health says SERVING; otherwise 503, and in a line of text what is waited for |
//!
//! It must never name a tenant that the configuration does not have it name, a client or anything that is a secret, read more of a request than its head, or take
//! anything from the threads that answer calls. What it tells is read when it is asked, so between two looks it
//! costs nothing: from memory, but for what is to be done next, which is read once in half a minute at the most. It asks nobody who they are, and so is served apart from gRPC: whoever can reach the address may read it.
//!
//! A connection is for one request and lasts five seconds at most, and there are sixteen at a time; the next ones wait in
//! the system's queue. It fails by not answering. That the daemon serves does not hang on it.

mod metrics;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::counts::Told;
use crate::runtime::readiness::Readiness;

/// Connections at a time.
const AT_ONCE: usize = 16;
/// From a connection's beginning to its end.
const LONGEST: Duration = Duration::from_secs(5);
/// The head of a request, in bytes: the least that hyper can be told. Scrapers' have some hundreds.
const MAX_HEAD_BYTES: usize = 8_192;
/// After the system had no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Of whom it is told.
pub struct Status {
    /// Parts that tell of themselves from memory.
    pub told: Vec<Arc<dyn Told>>,
    /// Tells also of what may have to be read.
    pub broker: Arc<Broker>,
    pub readiness: Readiness,
}

/// Answers at `listener` until `stop` is cancelled.
pub async fn serve(listener: TcpListener, status: Status, stop: CancellationToken) {
    let routes = routes(status);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    // Connections end with it: nobody is in the middle of anything here.
    let all = async {
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (routes, stop) = (routes.clone(), stop.clone());
                    tokio::spawn(async move {
                        stop.run_until_cancelled(answer(stream, routes)).await;
                        drop(place);
                    });
                }
                Err(_) => sleep_until(Instant::now() + PAUSE).await,
            }
        }
    };
    stop.run_until_cancelled(all).await;
}

/// Listens at `address`.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

fn routes(status: Status) -> Router {
    let status = Arc::new(status);
    let (told, readiness) = (status.clone(), status.readiness.clone());
    let metrics = move || async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&told).await) };
    let ready = move || async move { is_ready(&readiness) };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
}

fn is_ready(readiness: &Readiness) -> (StatusCode, String) {
    match readiness.pending()[..] {
        [] => (StatusCode::OK, "ready\n".to_owned()),
        ref pending => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", pending.join(", "))),
    }
}

async fn answer(stream: TcpStream, routes: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(LONGEST).keep_alive(false).max_buf_size(MAX_HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // Whoever asks sees a connection that broke; there is nothing else to tell, and nobody to tell it to.
    let _: Result<Result<(), hyper::Error>, _> = timeout(LONGEST, connection).await;
}
