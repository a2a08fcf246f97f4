//! A tenant's backend that calls a service with a token that is always fresh.
//!
//!     cargo run --example backend -- http://127.0.0.1:7443 tenants/acme/clients/orders 127.0.0.1:8080

use std::error::Error;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use keyward::client::{BearerLayer, Connection, TokenRequest, TokenSource};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// Any HTTP client will do that is a tower service.
async fn send(address: String, request: Request<String>) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let keyward = arguments.next().unwrap_or_else(|| "http://127.0.0.1:7443".to_owned());
    let client = arguments.next().unwrap_or_else(|| "tenants/acme/clients/orders".to_owned());
    let service = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    let channel = Endpoint::from_shared(keyward)?.connect_lazy();
    // One for the whole life of the program; every request gets the token of its moment.
    let source = TokenSource::start(Connection::new(channel), TokenRequest::new(client));
    let orders = BearerLayer::new(source).layer(service_fn({
        let service = service.clone();
        move |request| send(service.clone(), request)
    }));

    let request = Request::get("/orders").header("host", service).body(String::new())?;
    let response = orders.oneshot(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    println!("{} {}", status.as_u16(), String::from_utf8_lossy(&body));
    Ok(())
}
