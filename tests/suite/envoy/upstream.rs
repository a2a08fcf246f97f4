//! A service behind Envoy: it answers with what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::http::Response;

/// It ends when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(|request| async move { tell(&request) }));
                tokio::spawn(serving);
            }
        });
        Upstream { address, _serving: AbortOnDropHandle::new(serving) }
    }
}

/// The method, the path, and each header in a list by its name.
fn tell(request: &Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut headers = serde_json::Map::new();
    for (name, value) in request.headers() {
        let value = Value::from(String::from_utf8_lossy(value.as_bytes()));
        let values = headers.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
        values.as_array_mut().expect("a list").push(value);
    }
    let told = json!({ "method": request.method().as_str(), "path": request.uri().to_string(), "headers": headers });
    Ok(Response::new(format!("{told}\n")))
}
