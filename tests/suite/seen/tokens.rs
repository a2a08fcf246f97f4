//! Tokens and verdicts, counted: hits, misses, fetches, what was saved, and rejections by reason.

use futures::StreamExt as _;
use keyward::broker::ports::Fault;
use keyward::proto;
use tonic::Code;

use super::told;
use crate::harness::ports::{Stage, in_time};
use crate::harness::{Daemon, metrics};

/// Above this an answer is given again, since it was asked for before.
const ASKED: usize = 5;

async fn values<const N: usize>(daemon: &Daemon, series: [&str; N]) -> [f64; N] {
    let metrics = metrics(daemon.status_address().expect("it tells its status")).await;
    series.map(|series| metrics.value(series).unwrap_or_else(|| panic!("no {series} in {}", metrics.0)))
}

const REQUESTS: [&str; 3] = [
    "keyward_token_requests_total{outcome=\"hit\"}",
    "keyward_token_requests_total{outcome=\"miss\"}",
    "keyward_token_requests_total{outcome=\"watch\"}",
];

#[tokio::test]
async fn hits_misses_and_fetches_are_counted_and_what_they_save_has_a_price() {
    let stage = Stage::set_with(|config| {
        told(config);
        config.tokens.price_per_million_usd = 1_000_000;
    })
    .await;
    let daemon = &stage.daemon;
    // One proved the client's secret, and nobody got it.
    let money =
        ["keyward_token_fetches_total{outcome=\"OK\"}", "keyward_token_fetches_saved", "keyward_token_saved_usd"];
    assert_eq!(values(daemon, money).await, [1.0, -1.0, -1.0]);
    for _ in 0..ASKED {
        daemon.token(&stage.client.name).await;
    }
    assert_eq!(values(daemon, REQUESTS).await, [4.0, 1.0, 0.0]);
    assert_eq!(values(daemon, money).await, [2.0, 3.0, 3.0]);
    let again = "keyward_answers_given_again_total{rpc_method=\"keyward.v1.TokenService/GetToken\"}";
    let [again] = values(daemon, [again]).await;
    assert!((1.0..=4.0).contains(&again), "{again} of 4 hits were given again");

    let watch = proto::WatchTokenRequest { name: stage.client.name.clone(), ..Default::default() };
    let mut stream = daemon.tokens().watch_token(watch).await.expect("watched").into_inner();
    stream.next().await.expect("a token").expect("a token");
    drop(stream);
    assert_eq!(values(daemon, REQUESTS).await, [4.0, 1.0, 1.0]);
    assert_eq!(values(daemon, ["keyward_token_spent_usd_total", "keyward_token_price_usd"]).await, [2.0, 1.0]);
    stage.daemon.stop().await;
}

/// All who wait for one fetch have missed, and one fetch is paid for.
#[tokio::test]
async fn whoever_waits_for_a_fetch_has_missed() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let gate = stage.fetches.hold_next();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (mut tokens, name) = (daemon.tokens(), stage.client.name.clone());
            let request = proto::GetTokenRequest { name, ..Default::default() };
            tokio::spawn(async move { tokens.get_token(request).await })
        })
        .collect();
    stage.fetches.wait_for(1).await;
    gate.open();
    for call in calls {
        call.await.expect("asked").expect("a token");
    }
    let [hits, misses, _] = values(daemon, REQUESTS).await;
    // Whoever came late has hit.
    assert!(hits + misses == 3.0 && misses >= 1.0, "{hits} hits and {misses} misses");
    assert_eq!(values(daemon, ["keyward_token_fetches_total{outcome=\"OK\"}"]).await, [2.0]);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn fetches_that_fail_are_counted_by_how_they_failed_and_hand_out_nothing() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    stage.fetches.fail_next(Fault::Throttled);
    let get = proto::GetTokenRequest { name: stage.client.name.clone(), ..Default::default() };
    let refused = daemon.tokens().get_token(get).await.expect_err("throttled");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(values(daemon, REQUESTS).await, [0.0, 0.0, 0.0]);
    assert_eq!(values(daemon, ["keyward_token_fetches_total{outcome=\"THROTTLED\"}"]).await, [1.0]);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn verdicts_are_counted_and_rejections_by_reason() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let token = daemon.token(&stage.client.name).await.access_token;
    let ask = |token: &str, tenant: &str| proto::VerifyTokenRequest {
        token: token.to_owned(),
        tenant: tenant.to_owned(),
        ..Default::default()
    };
    for _ in 0..ASKED {
        daemon.verification().verify_token(ask(&token, "")).await.expect("a verdict");
    }
    for _ in 0..2 {
        daemon.verification().verify_token(ask(&token, "tenants/globex")).await.expect("a verdict");
    }
    daemon.verification().verify_token(ask("x.y", "")).await.expect("a verdict");
    let part = |token: &str| proto::VerifyTokensRequest { correlation_id: "one".into(), request: Some(ask(token, "")) };
    let parts = futures::stream::iter([part(&token), part("x")]);
    let answers = daemon.verification().verify_tokens(parts).await.expect("answers").into_inner();
    assert_eq!(answers.collect::<Vec<_>>().await.len(), 2);
    let told = values(
        daemon,
        [
            "keyward_verdicts_total{verdict=\"verified\"}",
            "keyward_verdicts_total{verdict=\"rejected\",reason=\"WRONG_TENANT\"}",
            "keyward_verdicts_total{verdict=\"rejected\",reason=\"MALFORMED\"}",
            "keyward_verdicts_total{verdict=\"rejected\",reason=\"EXPIRED\"}",
            "keyward_answers_given_again_total{rpc_method=\"keyward.v1.VerificationService/VerifyToken\"}",
        ],
    )
    .await;
    assert_eq!(told[..4], [6.0, 2.0, 2.0, 0.0]);
    assert!(told[4] >= 1.0, "no verdict was given again");
    stage.daemon.stop().await;
}

/// Nobody's name is told but of those whom the configuration names.
#[tokio::test]
async fn only_tenants_that_are_configured_are_told_of_by_name() {
    let stage = Stage::set_with(|config| {
        told(config);
        config.status.tenants = vec!["acme".to_owned(), "unborn".to_owned()];
    })
    .await;
    let daemon = &stage.daemon;
    daemon.create_tenant("globex").await;
    let other = daemon.create_client("globex", "backend").await;
    daemon.token(&stage.client.name).await;
    daemon.token(&other.name).await;
    in_time(async {
        let told = [
            "keyward_tenant_token_fetches_total{tenant=\"acme\"}",
            "keyward_tenant_token_fetches_total{tenant=\"unborn\"}",
        ];
        assert_eq!(values(daemon, told).await, [1.0, 0.0]);
    })
    .await;
    let text = metrics(daemon.status_address().expect("it tells its status")).await.0;
    assert!(!text.contains("globex"), "{text}");
    stage.daemon.stop().await;
}
