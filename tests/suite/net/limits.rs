//! What one connection may take, so that others can have some.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use keyward::config::Config;
use keyward::proto::verify_token_response::Verdict;
use keyward::runtime::clock::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codegen::http::HeaderValue;

use super::{closed, health};
use crate::harness::http2::{Raw, call, calls_taken_back, ended, get_token, reason_for_going};
use crate::harness::{Daemon, connect, details, verify};

const EMPTY_MESSAGE: &[u8] = b"\0\0\0\0\0";
const VERIFY_TOKENS: &str = "keyward.v1.VerificationService/VerifyTokens";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

async fn start(edit: impl FnOnce(&mut Config)) -> Daemon {
    Daemon::start_with(Arc::new(SystemClock), edit).await
}

async fn raw(daemon: &Daemon) -> Raw {
    Raw::over(TcpStream::connect(daemon.address()).await.expect("connected")).await
}

#[tokio::test]
async fn when_it_is_full_the_oldest_connection_without_a_caller_gives_way() {
    // The harness's own channel is the first; a call makes its caller known.
    let daemon = start(|config| config.limits.max_connections = 3).await;
    assert!(daemon.tokens().get_token(keyward::proto::GetTokenRequest::default()).await.is_err());
    let oldest = TcpStream::connect(daemon.address()).await.expect("connected");
    let mut younger = raw(&daemon).await;
    // Health is told to everybody, and makes nobody known.
    let next = connect(&daemon.address()).await;
    assert_eq!(health(&next).await.expect("an answer"), 1);
    closed(oldest).await;
    assert_eq!(younger.answer(get_token(), EMPTY_MESSAGE).await.expect("an answer").code(), Code::InvalidArgument);
    let last = connect(&daemon.address()).await;
    assert_eq!(last_code(&last).await, Code::InvalidArgument);

    // Now all three have a known caller, and a new one is closed at once.
    closed(TcpStream::connect(daemon.address()).await.expect("connected")).await;
    younger.ping().await;
    assert_eq!(last_code(&daemon.channel).await, Code::InvalidArgument);
    drop((younger, last, next));
    daemon.stop().await;
}

async fn last_code(channel: &tonic::transport::Channel) -> Code {
    let mut tokens = keyward::proto::token_service_client::TokenServiceClient::new(channel.clone());
    tokens.get_token(keyward::proto::GetTokenRequest::default()).await.expect_err("no name").code()
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_in_time_and_one_with_a_call_is_not() {
    let daemon = start(|config| config.limits.idle_timeout = Duration::from_secs(1)).await;
    let (mut busy, mut idle) = (raw(&daemon).await, raw(&daemon).await);
    let (_watching, _body) = busy.begin(call("keyward.v1.AuditService/TailAuditEvents")).await;
    idle.answer(get_token(), EMPTY_MESSAGE).await.expect("an answer");
    idle.ended().await.expect("in good order");
    // It began before the idle one, and has been without another call for longer.
    busy.ping().await;
    drop((_watching, _body, busy));
    daemon.stop().await;
}

#[tokio::test]
async fn headers_have_a_limit() {
    let daemon = start(|config| config.limits.max_header_bytes = 4_096).await;
    let mut raw = raw(&daemon).await;
    let with = |bytes: usize| {
        let mut request = get_token();
        request.headers_mut().insert("x-long", HeaderValue::from_bytes(&vec![b'x'; bytes]).expect("a header"));
        request
    };
    assert_eq!(raw.answer(with(3_000), EMPTY_MESSAGE).await.expect("an answer").code(), Code::InvalidArgument);
    let (answer, _body) = raw.begin(with(5_000)).await;
    match answer.await {
        Ok(answer) => assert_eq!(answer.status(), 431),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
    daemon.stop().await;
}

#[tokio::test]
async fn calls_that_are_taken_back_at_once_end_the_connection() {
    let daemon = start(|_| {}).await;
    // Fewer than are an attack, then more.
    for (count, reason) in [(15, None), (1_000, Some(h2::Reason::ENHANCE_YOUR_CALM))] {
        let mut stream = TcpStream::connect(daemon.address()).await.expect("connected");
        stream.write_all(&calls_taken_back(count)).await.expect("sent");
        if reason.is_none() {
            stream.shutdown().await.expect("that was all");
        }
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).await.expect("in good order");
        let told = reason_for_going(&sent).map(h2::Reason::from).filter(|reason| *reason != h2::Reason::NO_ERROR);
        assert_eq!(told, reason, "after {count}");
    }
    assert_eq!(health(&daemon.channel).await.expect("others go on"), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_call_must_be_whole_in_time_and_a_stream_must_begin_in_time() {
    let daemon = start(|config| config.grpc.request_timeout = Duration::from_secs(1)).await;
    let mut raw = raw(&daemon).await;
    let (nothing, _one) = raw.begin(get_token()).await;
    let (half, mut two) = raw.begin(get_token()).await;
    two.send_data(b"\0\0\0\0\x09\x0a".as_slice().into(), false).expect("sent");
    for answer in [nothing, half] {
        assert_eq!(ended(answer).await.expect("an answer").code(), Code::DeadlineExceeded);
    }
    // A question without content, and one for the services that there are.
    for (method, question) in [(VERIFY_TOKENS, EMPTY_MESSAGE), (REFLECTION, b"\0\0\0\0\x03\x3a\x01*")] {
        let (nothing, _one) = raw.begin(call(method)).await;
        let (half, mut two) = raw.begin(call(method)).await;
        two.send_data(b"\0\0\0\0\x09\x0a".as_slice().into(), false).expect("sent");
        ended(nothing).await.expect("it ends");
        ended(half).await.expect("it ends");
        // One that has asked may wait before it asks again. The one after it is over when this one is not.
        let (asked, mut three) = raw.begin(call(method)).await;
        three.send_data(question.into(), false).expect("sent");
        let (nothing, _four) = raw.begin(call(method)).await;
        ended(nothing).await.expect("it ends");
        three.send_data(question.into(), true).expect("it is still there");
        let (head, mut body) = asked.await.expect("an answer").into_parts();
        assert!(tonic::Status::from_header_map(&head.headers).is_none(), "it is answered");
        let mut bytes = 0;
        while let Some(data) = body.data().await {
            bytes += data.expect("an answer").len();
        }
        assert!(bytes > 2 * EMPTY_MESSAGE.len(), "both were answered");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn too_many_calls_are_turned_away_and_probes_and_other_connections_are_served() {
    let daemon = start(|config| (config.limits.max_connections, config.limits.max_calls) = (15, 16)).await;
    let mut greedy = raw(&daemon).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(greedy.begin(get_token()).await);
    }
    // Four of sixteen are its own: a fifth would be more than a quarter of the other twelve.
    let mut kept = Vec::new();
    let mut refused = 0;
    let mut answers: FuturesUnordered<_> = held
        .into_iter()
        .map(|(answer, body)| {
            kept.push(body);
            answer
        })
        .collect();
    while refused < 4 {
        let (head, _) = answers.next().await.expect("more").expect("an answer").into_parts();
        let status = tonic::Status::from_header_map(&head.headers).expect("turned away");
        let told = details(&status);
        assert_eq!((told.code, told.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        assert!(told.retry && head.headers.contains_key("x-request-id"));
        refused += 1;
    }
    assert!(answers.next().now_or_never().is_none(), "four are under way");
    // What it may not, others may: callers, and those who ask for health by the very same connection.
    assert_eq!(last_code(&daemon.channel).await, Code::InvalidArgument);
    assert_eq!(health(&daemon.channel).await.expect("an answer"), 1);
    // What was held is given back.
    drop((answers, kept));
    greedy.ping().await;
    let answer = greedy.answer(get_token(), EMPTY_MESSAGE).await.expect("an answer");
    assert_eq!(answer.code(), Code::InvalidArgument);
    daemon.stop().await;
}

#[tokio::test]
async fn a_connection_may_make_all_of_its_calls_at_once() {
    let daemon = start(|_| {}).await;
    let most = Config::dev("127.0.0.1:0".parse().expect("an address"), "data".into()).expect("valid").grpc;
    for _ in 0..5 {
        let channel = connect(&daemon.address()).await;
        // What the server allows is known after the first answer.
        verify(&channel, "a.b.c").await;
        let calls = (0..most.max_concurrent_streams).map(|_| verify(&channel, "a.b.c"));
        let verdicts = futures::future::join_all(calls).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Rejected(_))));
    }
    daemon.stop().await;
}
