//! What the daemon tells of itself over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use keyward::runtime::clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::ports::{Stage, in_time};
use crate::harness::{Daemon, metrics, token};

/// More than are served at a time.
const MANY: usize = 20;

async fn start() -> (Daemon, SocketAddr) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.status.listen = Some(listen)).await;
    let address = daemon.status_address().expect("it serves its metrics");
    (daemon, address)
}

/// All that is answered until the connection ends.
async fn say(address: SocketAddr, words: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(words).await.expect("sent");
    let mut answer = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_broker_with_its_own_registry_is_never_late() {
    let (daemon, address) = start().await;
    let metrics = metrics(address).await;
    assert_eq!(metrics.value("keyward_revocation_delay_limit_seconds"), Some(0.0));
    assert_eq!(metrics.value("keyward_feed_silence_seconds"), None);
    let version = concat!("keyward_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    assert_eq!(metrics.value(version), Some(1.0));
    daemon.stop().await;
}

/// The status code and the text that a path is answered with.
async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = say(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, text.to_owned())
}

/// Whoever drains is alive and not to be asked, and says so for as long as the last call takes.
#[tokio::test]
async fn a_daemon_that_drains_is_alive_and_not_ready() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let stage = Stage::set_with(|config| config.status.listen = Some(listen)).await;
    let address = stage.daemon.status_address().expect("it tells its status");
    assert_eq!(ask(address, "/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(ask(address, "/readyz").await, (200, "ready\n".to_owned()));

    let gate = stage.fetches.hold_next();
    let (channel, name) = (stage.daemon.channel.clone(), stage.client.name.clone());
    let call = tokio::spawn(async move { token(&channel, &name).await });
    stage.fetches.wait_for(1).await;
    let stopping = tokio::spawn(stage.daemon.stop());
    in_time(async {
        while ask(address, "/readyz").await != (503, "not ready: draining\n".to_owned()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ask(address, "/livez").await.0, 200);

    gate.open();
    call.await.expect("asked").expect("a token");
    stopping.await.expect("stopped");
    assert!(TcpStream::connect(address).await.is_err(), "it is gone");
}

#[tokio::test]
async fn it_names_nobody() {
    let (daemon, address) = start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme-tenant").await;
    daemon.create_client("acme-tenant", "orders-client").await;
    daemon.token("tenants/acme-tenant/clients/orders-client").await;
    let text = metrics(address).await.0;
    assert!(!text.contains("acme") && !text.contains("orders"), "{text}");
    daemon.stop().await;
}

#[tokio::test]
async fn nothing_but_reading_metrics_is_answered() {
    let (daemon, address) = start().await;
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 405 "),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let answered = say(address, request.as_bytes()).await;
        assert!(answered.starts_with(answer), "{request:?}: {answered:?}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(16_384));
    let answered = say(address, long.as_bytes()).await;
    assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 431 "), "{answered:?}");
    daemon.stop().await;
}

/// Whoever connects and says nothing keeps others waiting for a moment and not for good, and a stop does not wait for them.
#[tokio::test]
async fn connections_that_say_nothing_come_to_an_end() {
    let (daemon, address) = start().await;
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    assert!(metrics(address).await.value("keyward_revocation_delay_limit_seconds").is_some());
    daemon.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_start_that_fails() {
    let (daemon, address) = start().await;
    let folder = tempfile::tempdir().expect("a folder");
    keyward::embedded::MasterKey::generate_file(&folder.path().join("master.key")).expect("a master key");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut config = keyward::config::Config::dev(listen, folder.path().to_owned()).expect("valid");
    config.status.listen = Some(address);
    let error = match Box::pin(keyward::daemon::start(config, Arc::new(SystemClock))).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    };
    assert!(error.starts_with(&format!("status.listen: cannot listen on {address}: ")), "{error}");
    daemon.stop().await;
}
