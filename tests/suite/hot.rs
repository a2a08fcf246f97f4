//! The short way of `GetToken`, `VerifyToken` and Envoy's `Check` answers as the long way does.
//!
//! A content type that says more than it must sends a call the long way, and so does a request that comes in pieces.

use std::collections::BTreeMap;

use keyward::proto::{GetTokenRequest, VerifyTokenRequest};
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tonic::codegen::http::{HeaderMap, Request};

use crate::envoy::{CHECK, question};
use crate::harness::Daemon;
use crate::harness::http2::{Raw, framed};

const GET: &str = "keyward.v1.TokenService/GetToken";
const VERIFY: &str = "keyward.v1.VerificationService/VerifyToken";
const SHORT: &str = "application/grpc";
const LONG: &str = "application/grpc+proto";

/// All that a caller gets to see of an answer, but when it was given.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    http_status: u16,
    headers: BTreeMap<String, String>,
    message: Vec<u8>,
    trailers: BTreeMap<String, String>,
}

impl Answer {
    fn status(&self) -> &str {
        let of = |headers: &BTreeMap<String, String>| headers.get("grpc-status").is_some();
        let headers = if of(&self.headers) { &self.headers } else { &self.trailers };
        headers.get("grpc-status").map_or("none", String::as_str)
    }
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let all = headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    all.filter(|(name, _)| name != "date").collect()
}

async fn raw(daemon: &Daemon) -> Raw {
    Raw::over(TcpStream::connect(daemon.address()).await.expect("connected")).await
}

/// Sends these pieces, each of which the server has read before the next.
async fn ask(raw: &mut Raw, method: &str, content_type: &str, pieces: &[&[u8]]) -> Answer {
    let request = Request::post(format!("http://localhost/{method}"))
        .header("content-type", content_type)
        .header("te", "trailers")
        .header("x-request-id", "the-same");
    let (answer, mut body) = raw.begin(request.body(()).expect("a request")).await;
    let (last, others) = pieces.split_last().expect("one");
    for piece in others {
        // What is wrong from its beginning may be answered before its end, and takes no more then.
        let _ = body.send_data(Bytes::copy_from_slice(piece), false);
        raw.ping().await;
    }
    let _ = body.send_data(Bytes::copy_from_slice(last), true);
    let (head, mut body) = answer.await.expect("an answer").into_parts();
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        body.flow_control().release_capacity(data.len()).expect("released");
        message.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.expect("an end").unwrap_or_default();
    Answer { http_status: head.status.as_u16(), headers: texts(&head.headers), message, trailers: texts(&trailers) }
}

/// Questions of all kinds, good and bad, with gRPC's status of their answers.
async fn questions(daemon: &Daemon) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&client.name).await.access_token;
    let get = |name: &str, scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        framed(&GetTokenRequest { name: name.to_owned(), scopes, ..Default::default() }.encode_to_vec())
    };
    let verify = |token: &str, tenant: &str| {
        let request = VerifyTokenRequest { token: token.to_owned(), tenant: tenant.to_owned(), ..Default::default() };
        framed(&request.encode_to_vec())
    };
    let envoys = |rule: &[(&str, &str)], credential: &str| {
        framed(&question(rule, &[("authorization", credential)]).encode_to_vec())
    };
    let compressed = [&[1][..], &get(&client.name, &[])[1..]].concat();
    let too_short = [&[0, 0, 0, 0, 99][..], b"x"].concat();
    vec![
        (GET, get(&client.name, &[]), "0"),
        (GET, get(&client.name, &["orders/read"]), "0"),
        (GET, get(&client.name, &["orders/admin"]), "3"),
        (GET, get("tenants/acme/clients/nobody", &[]), "5"),
        (GET, get("nonsense", &[]), "3"),
        (GET, framed(b"\xff\xff\xff"), "3"),
        (GET, framed(&[]), "3"),
        // tonic reads the first message and no more.
        (GET, [get(&client.name, &[]), get(&client.name, &[])].concat(), "0"),
        (GET, compressed, "3"),
        (GET, too_short, "3"),
        (GET, Vec::new(), "3"),
        (VERIFY, verify(&token, ""), "0"),
        (VERIFY, verify(&token, "tenants/acme"), "0"),
        (VERIFY, verify(&token, "tenants/other"), "0"),
        (VERIFY, verify("no.token.this", ""), "0"),
        (VERIFY, verify("", ""), "3"),
        (VERIFY, verify(&"x".repeat(30_000), ""), "3"),
        (VERIFY, framed(b"\x0a\x05a"), "3"),
        (CHECK, envoys(&[("keyward.scopes", "orders/read")], &format!("Bearer {token}")), "0"),
        (CHECK, envoys(&[("keyward.scopes", "orders/admin")], &format!("Bearer {token}")), "0"),
        (CHECK, envoys(&[("keyward.scope", "orders/read")], &format!("Bearer {token}")), "0"),
        (CHECK, envoys(&[("keyward.scopes", "")], "Bearer no.token.this"), "0"),
        (CHECK, envoys(&[("keyward.scopes", "")], "Basic x"), "0"),
        (CHECK, framed(&[]), "0"),
        (CHECK, framed(b"\x0a\x05a"), "3"),
        (CHECK, Vec::new(), "3"),
    ]
}

#[tokio::test]
async fn both_ways_answer_the_same() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let mut raw = raw(&daemon).await;
    for (method, message, status) in questions(&daemon).await {
        let long = ask(&mut raw, method, LONG, &[&message]).await;
        let short = ask(&mut raw, method, SHORT, &[&message]).await;
        assert_eq!(short, long, "{method} {message:?}");
        assert_eq!(short.status(), status, "{method} {message:?}: {short:?}");
        assert_eq!(short.headers.get("x-request-id").map(String::as_str), Some("the-same"), "{short:?}");
    }
    drop(raw);
    daemon.stop().await;
}

#[tokio::test]
async fn however_a_request_is_cut_its_answer_is_the_same() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let mut raw = raw(&daemon).await;
    for (method, message, _) in questions(&daemon).await {
        let whole = ask(&mut raw, method, SHORT, &[&message]).await;
        for at in [0, 3, 5, 9, message.len()] {
            let (first, second) = message.split_at(at.min(message.len()));
            let cut = ask(&mut raw, method, SHORT, &[first, second]).await;
            assert_eq!(cut, whole, "{method} {message:?} cut at {at}");
        }
    }
    drop(raw);
    daemon.stop().await;
}
