//! Many tokens over one stream.

use std::collections::HashMap;

use futures::stream;
use keyward::proto;
use keyward::proto::RejectionReason;
use keyward::proto::verify_tokens_response::Verdict;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::{court, sign};
use crate::harness::forge::{claims, id_claims, with};
use crate::harness::ports::{Stage, in_time};
use crate::harness::{create_tenant, details, start_time};

#[tokio::test]
async fn a_thousand_interleaved_requests_each_get_their_own_answer() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let other = stage.daemon.create_client("umbrella", "billing").await;
    let good = claims(&stage.client, start_time());
    let kinds = [
        (stage.daemon.token(&stage.client.name).await.access_token, "verified tenants/acme".to_owned()),
        (stage.daemon.token(&other.name).await.access_token, "verified tenants/umbrella".to_owned()),
        (sign(&id_claims(&stage.client, start_time())), format!("{:?}", RejectionReason::WrongTokenUse)),
        ("no token".to_owned(), format!("{:?}", RejectionReason::Malformed)),
        (String::new(), "error FIELD_INVALID".to_owned()),
        (sign(&with(&good, "client_id", "nobody")), format!("{:?}", RejectionReason::UnknownClient)),
    ];
    let asked: Vec<_> = (0..1000).map(|i| item(&format!("item {i}"), &kinds[i % kinds.len()].0)).collect();
    let expected: HashMap<_, _> = (0..1000).map(|i| (format!("item {i}"), kinds[i % kinds.len()].1.clone())).collect();

    let answers = stage.daemon.verification().verify_tokens(stream::iter(asked)).await.expect("a stream");
    let mut answers = answers.into_inner();
    let mut seen = HashMap::new();
    while let Some(answer) = in_time(answers.message()).await.expect("no error") {
        let told = match answer.verdict.expect("a verdict") {
            Verdict::Verified(verified) => format!("verified {}", verified.tenant),
            Verdict::Rejected(rejected) => format!("{:?}", rejected.reason()),
            Verdict::Error(error) => format!("error {}", error.reason),
        };
        assert!(seen.insert(answer.correlation_id, told).is_none(), "two answers to one request");
    }
    assert_eq!(seen, expected);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn each_request_is_answered_without_waiting_for_the_next() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let (ask, mut answers) = open(&stage).await;
    for i in 0..10 {
        let id = format!("{i}");
        ask.send(item(&id, &token)).await.expect("sent");
        let answer = next(&mut answers).await;
        assert_eq!(answer.correlation_id, id);
        assert!(matches!(answer.verdict, Some(Verdict::Verified(_))), "{answer:?}");
    }
    drop(ask);
    assert!(in_time(answers.message()).await.expect("no error").is_none(), "more answers than requests");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_bad_request_gets_an_error_of_its_own_and_does_not_end_the_stream() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let (ask, mut answers) = open(&stage).await;
    let long = "i".repeat(129);
    let mut no_use = item("no use", &token);
    no_use.request.get_or_insert_default().token_use = 3;
    let mut bad_scope = item("bad scope", &token);
    bad_scope.request.get_or_insert_default().required_scopes = vec!["no scope".to_owned()];
    let bad = [
        proto::VerifyTokensRequest { correlation_id: "nothing".to_owned(), request: None },
        item("", &token),
        item(&long, &token),
        item("empty", ""),
        item("too long", &"a".repeat(16_385)),
        no_use,
        bad_scope,
    ];
    for request in bad {
        let id = request.correlation_id.clone();
        ask.send(request).await.expect("sent");
        let answer = next(&mut answers).await;
        assert_eq!(answer.correlation_id, id);
        let Some(Verdict::Error(error)) = answer.verdict else { panic!("{answer:?}") };
        assert_eq!((error.code, error.reason.as_str()), (i32::from(Code::InvalidArgument), "FIELD_INVALID"), "{id}");
        assert!(!error.message.is_empty() && error.retry_delay.is_none());
    }
    ask.send(item("good", &token)).await.expect("sent");
    assert!(matches!(next(&mut answers).await.verdict, Some(Verdict::Verified(_))));
    drop((ask, answers));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_request_that_nobody_can_answer_now_says_when_to_ask_again() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    stage.keys.fail(true);
    let (ask, mut answers) = open(&stage).await;
    ask.send(item("now", &token)).await.expect("sent");
    let answer = next(&mut answers).await;
    let Some(Verdict::Error(error)) = answer.verdict else { panic!("{answer:?}") };
    assert_eq!((error.code, error.reason.as_str()), (i32::from(Code::Unavailable), "KEYS_UNAVAILABLE"));
    assert!(error.retry_delay.is_some());

    stage.keys.fail(false);
    stage.at_second(60);
    ask.send(item("later", &token)).await.expect("sent");
    assert!(matches!(next(&mut answers).await.verdict, Some(Verdict::Verified(_))));
    drop((ask, answers));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_drain_ends_the_stream() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let (ask, mut answers) = open(&stage).await;
    ask.send(item("one", &token)).await.expect("sent");
    next(&mut answers).await;
    let (end, ()) = tokio::join!(in_time(answers.message()), stage.daemon.stop());
    let error = details(&end.expect_err("the end"));
    assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    drop(ask);
}

async fn open(stage: &Stage) -> (mpsc::Sender<proto::VerifyTokensRequest>, Streaming<proto::VerifyTokensResponse>) {
    let (ask, asked) = mpsc::channel(1);
    let answers = stage.daemon.verification().verify_tokens(ReceiverStream::new(asked)).await.expect("a stream");
    (ask, answers.into_inner())
}

async fn next(answers: &mut Streaming<proto::VerifyTokensResponse>) -> proto::VerifyTokensResponse {
    in_time(answers.message()).await.expect("no error").expect("an answer")
}

fn item(correlation_id: &str, token: &str) -> proto::VerifyTokensRequest {
    let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
    proto::VerifyTokensRequest { correlation_id: correlation_id.to_owned(), request: Some(request) }
}
