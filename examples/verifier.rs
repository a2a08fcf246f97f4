//! A service that lets in whom Keyward knows, and asks it about no request.
//!
//!     cargo run --example verifier -- http://127.0.0.1:7443 127.0.0.1:8080

use std::convert::Infallible;
use std::error::Error;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use keyward::client::{Connection, Demand, Identity, Verifier, VerifierOptions, VerifyLayer};
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use tower::{Layer as _, service_fn};

/// Only requests with a good token come here; the layer has answered the others.
async fn orders(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let client = request.extensions().get::<Identity>().map(|identity| identity.client.to_string());
    Ok(Response::new(format!("hello {}", client.unwrap_or_default())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let keyward = arguments.next().unwrap_or_else(|| "http://127.0.0.1:7443".to_owned());
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    // It may come later than this service, and go away for a while.
    let channel = Endpoint::from_shared(keyward)?.connect_lazy();
    let verifier = Verifier::start(Connection::new(channel), VerifierOptions::default());
    verifier.ready().await;

    let layer = VerifyLayer::new(verifier, Demand::scopes(&["orders/read"])?);
    let service = layer.layer(service_fn(orders));
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await {
                eprintln!("{error}");
            }
        });
    }
}
