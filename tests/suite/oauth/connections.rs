//! Limits of the connections that this front is reached by, and their end.

use std::time::{Duration, Instant};

use keyward::config::Config;
use keyward::runtime::shutdown::Drained;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Site;

async fn connect(site: &Site) -> TcpStream {
    TcpStream::connect(site.daemon().oauth_address()).await.expect("connected")
}

/// All that is said until the connection ends, which it does within ten seconds.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await.expect("it ends");
    String::from_utf8(said).expect("text")
}

/// One answer on a connection that goes on.
async fn one(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    while !said.ends_with(b"}") {
        let mut some = [0; 4_096];
        let read = timeout(Duration::from_secs(10), stream.read(&mut some)).await.expect("in time").expect("read");
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..read]);
    }
    String::from_utf8(said).expect("text")
}

fn asking(site: &Site, length: usize) -> String {
    format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-type: {}\r\ncontent-length: {length}\r\n\r\n",
        site.basic(),
        super::FORM
    )
}

const BODY: &str = "grant_type=client_credentials";

#[tokio::test]
async fn a_connection_is_used_again() {
    let site = Site::set().await;
    let mut stream = connect(&site).await;
    for _ in 0..3 {
        stream.write_all(format!("{}{BODY}", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
        assert!(one(&mut stream).await.starts_with("HTTP/1.1 200 "));
    }
    site.stop().await;
}

#[tokio::test]
async fn heads_and_bodies_have_limits() {
    let site = Site::set_with(|config| config.limits.max_header_bytes = 4_096).await;
    let login = site.basic();
    let mut stream = connect(&site).await;
    let head = format!("POST /oauth2/token HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(16_384));
    let _ = stream.write_all(head.as_bytes()).await;
    let said = rest(&mut stream).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");

    let mut stream = connect(&site).await;
    let many: String = (0..65).map(|number| format!("x{number}: 1\r\n")).collect();
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    let said = rest(&mut stream).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");

    // A body that says that it is too long is not waited for.
    let mut stream = connect(&site).await;
    stream.write_all(asking(&site, 32_769).as_bytes()).await.expect("sent");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 413 "));

    // One that does not say it is not read to its end.
    let mut stream = connect(&site).await;
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nhost: x\r\nauthorization: {login}\r\ncontent-type: {}\r\n\
         transfer-encoding: chunked\r\n\r\n",
        super::FORM
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4_096));
    for _ in 0..16 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let said = rest(&mut stream).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 413 "), "{said}");

    // As long as it may be: a form of one parameter that nobody knows, and what counts.
    let padded = format!("{BODY}&x={}", "y".repeat(32_768 - BODY.len() - 3));
    assert_eq!(site.post("/oauth2/token", Some(&login), &padded).await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn whoever_is_slow_is_not_waited_for() {
    let site = Site::set_with(|config| config.limits.handshake_timeout = Duration::from_secs(2)).await;
    let begun = Instant::now();
    // Nothing at all; half a head; half a body; nothing after an answer.
    let mut nothing = connect(&site).await;
    let mut half_a_head = connect(&site).await;
    half_a_head.write_all(b"POST /oauth2/token HT").await.expect("sent");
    let mut half_a_body = connect(&site).await;
    half_a_body.write_all(format!("{}grant_", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
    let mut answered = connect(&site).await;
    answered.write_all(format!("{}{BODY}", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
    assert!(rest(&mut answered).await.starts_with("HTTP/1.1 200 "));
    assert!(rest(&mut half_a_body).await.starts_with("HTTP/1.1 408 "));
    let said = (rest(&mut nothing).await, rest(&mut half_a_head).await);
    assert!(said.0.is_empty() && (said.1.is_empty() || said.1.starts_with("HTTP/1.1 408 ")), "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    site.stop().await;
}

#[tokio::test]
async fn when_it_is_full_strangers_give_way_and_clients_that_are_known_stay() {
    let site = Site::set_with(|config| config.limits.max_connections = 2).await;
    let mut known = connect(&site).await;
    known.write_all(format!("{}{BODY}", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
    assert!(one(&mut known).await.starts_with("HTTP/1.1 200 "));
    let mut stranger = connect(&site).await;
    // Its place is taken by then: it has an answer.
    stranger.write_all(b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert!(one(&mut stranger).await.starts_with("HTTP/1.1 200 "));
    let mut third = connect(&site).await;
    assert_eq!(rest(&mut stranger).await, "", "the stranger gave way");
    third.write_all(format!("{}{BODY}", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
    assert!(one(&mut third).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut connect(&site).await).await, "", "both places have known clients");
    known.write_all(format!("{}{BODY}", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
    assert!(one(&mut known).await.starts_with("HTTP/1.1 200 "));
    drop((known, third));
    site.stop().await;
}

#[tokio::test]
async fn a_request_has_an_end() {
    let site = Site::set_with(|config: &mut Config| config.oauth.request_timeout = Duration::from_secs(1)).await;
    let held = site.stage.fetches.hold_next();
    let answer = site.ask("").await;
    assert_eq!((answer.refusal(), answer.header("retry-after")), ((503, "temporarily_unavailable"), Some("1")));
    // And not that of the fetch, which comes later and reads the same.
    assert_eq!(answer.json["error_description"], "the request was not answered in time");
    held.open();
    site.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_a_request_and_not_for_a_connection() {
    let site = Site::set().await;
    let idle = connect(&site).await;
    let held = site.stage.fetches.hold_next();
    let mut busy = connect(&site).await;
    busy.write_all(format!("{}{BODY}", asking(&site, BODY.len())).as_bytes()).await.expect("sent");
    site.stage.fetches.wait_for(1).await;
    let Site { stage, http, .. } = site;
    drop(http);
    let stopping = tokio::spawn(Box::pin(stage.daemon.drain()));
    // An idle peer is waited for no longer than a second. Who asks for something is.
    let mut said = tokio::spawn(async move { rest(&mut busy).await });
    assert!(timeout(Duration::from_millis(1_500), &mut said).await.is_err(), "it was cut off");
    held.open();
    let said = said.await.expect("no panic");
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("connection: close"), "{said}");
    assert_eq!(stopping.await.expect("no panic"), Drained::Clean);
    drop(idle);
}
