//! Tokens: fetched once, served to everybody, fresh; what a failing endpoint changes and what it does not.

mod crowd;
mod failures;
mod scopes;
mod standing;

use std::time::Duration;

use futures::future::join_all;
use keyward::broker::ports::AppClientSpec;
use keyward::proto;
use tonic::{Code, Status};

use crate::harness::backend::Backend;
use crate::harness::ports::{Stage, in_time};
use crate::harness::{SCOPES, details, forge, token};

#[tokio::test]
async fn a_thousand_callers_of_a_cold_key_cause_one_fetch_and_get_the_same_token() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    let callers = join_all((0..1000).map(|_| token(&stage.daemon.channel, &stage.client.name)));
    let opener = async {
        stage.fetches.wait_for(1).await;
        look(&stage).await;
        gate.open();
    };
    let (tokens, ()) = tokio::join!(callers, opener);
    let tokens: Vec<_> = tokens.into_iter().map(|token| token.expect("a token")).collect();
    assert_eq!(tokens.len(), 1000);
    assert!(tokens.iter().all(|token| *token == tokens[0]), "callers got different tokens");
    assert_eq!(stage.fetches.count(), 1);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_answer_says_what_the_token_itself_says() {
    let stage = Stage::set().await;
    let answer = stage.daemon.token(&stage.client.name).await;
    let claims = forge::decoded(&answer.access_token, 1);
    assert_eq!(claims["exp"].as_i64(), answer.expire_time.map(|time| time.seconds));
    assert_eq!(answer.expire_time.map(|time| time.nanos), Some(0));
    assert_eq!(claims["exp"].as_i64().expect("a number") - claims["iat"].as_i64().expect("a number"), 3600);
    assert_eq!(claims["scope"], SCOPES.join(" "));
    assert_eq!(
        (answer.token_type.as_str(), answer.scopes.as_slice()),
        ("Bearer", SCOPES.map(str::to_owned).as_slice())
    );
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_fresh_token_is_served_without_a_fetch() {
    let stage = Stage::set().await;
    let first = stage.daemon.token(&stage.client.name).await;
    // 70 % of its hour: from here on it may age.
    for second in [1, 1000, 2519] {
        stage.at_second(second);
        assert_eq!(stage.daemon.token(&stage.client.name).await, first, "at second {second}");
    }
    assert_eq!(stage.fetches.count(), 1);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_ageing_token_is_served_at_once_while_one_refresh_runs_behind_it() {
    let stage = Stage::set().await;
    let old = stage.daemon.token(&stage.client.name).await;
    stage.at_second(2700);
    let gate = stage.fetches.hold_next();
    for answer in join_all((0..50).map(|_| token(&stage.daemon.channel, &stage.client.name))).await {
        assert_eq!(answer.expect("a token"), old);
    }
    stage.fetches.wait_for(2).await;
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    gate.open();

    let new = next_token(&stage, &old).await;
    assert_eq!(forge::decoded(&new.access_token, 1)["iat"], stage.second() + start_second());
    assert_eq!(stage.daemon.token(&stage.client.name).await, new);
    assert_eq!(stage.fetches.count(), 2);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_expired_token_is_never_served() {
    let stage = Stage::set().await;
    let old = stage.daemon.token(&stage.client.name).await;
    stage.at_second(3600);
    let new = stage.daemon.token(&stage.client.name).await;
    assert_ne!(new, old);
    assert_eq!(new.expire_time.map(|time| time.seconds), Some(start_second() + 7200));
    assert_eq!(stage.fetches.count(), 2);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_first_caller_may_give_up_without_failing_the_others() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    let call = || {
        let (channel, name) = (stage.daemon.channel.clone(), stage.client.name.clone());
        tokio::spawn(async move { token(&channel, &name).await })
    };
    let first = call();
    stage.fetches.wait_for(1).await;
    let others: Vec<_> = (0..10).map(|_| call()).collect();
    look(&stage).await;
    first.abort();
    assert!(first.await.expect_err("it gave up").is_cancelled());
    look(&stage).await;
    gate.open();
    for other in others {
        in_time(other).await.expect("it waited").expect("a token");
    }
    assert_eq!(stage.fetches.count(), 1);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_fetch_that_everybody_gave_up_on_still_serves_the_next_caller() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    tokio::select! {
        _ = token(&stage.daemon.channel, &stage.client.name) => panic!("the gate is shut"),
        () = stage.fetches.wait_for(1) => {}
    }
    look(&stage).await;
    gate.open();
    stage.daemon.token(&stage.client.name).await;
    assert_eq!(stage.fetches.count(), 1);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_lasts_long_enough_is_served_and_one_that_does_not_is_fetched_anew() {
    let stage = Stage::set().await;
    let half = Duration::from_secs(1800);
    let first = lasting(&stage, half).await.expect("a token");
    stage.at_second(1800);
    assert_eq!(lasting(&stage, half).await.expect("a token"), first);
    assert_eq!(stage.fetches.count(), 1);
    stage.at_second(1801);
    let second = lasting(&stage, half).await.expect("a token");
    assert_ne!(second, first);
    assert_eq!(stage.fetches.count(), 2);
    assert_eq!(stage.daemon.token(&stage.client.name).await, second);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn nobody_can_ask_for_more_than_half_of_a_tokens_life() {
    let stage = Stage::set().await;
    let past_half = prost_types::Duration { seconds: 1800, nanos: 1 };
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    for min_remaining in [past_half, negative] {
        let request = proto::GetTokenRequest {
            name: stage.client.name.clone(),
            min_remaining: Some(min_remaining),
            ..Default::default()
        };
        let error = details(&stage.daemon.tokens().get_token(request).await.expect_err("refused"));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert_eq!(error.fields, ["min_remaining"]);
    }
    assert_eq!(stage.fetches.count(), 0);
    stage.daemon.stop().await;
}

/// Whoever asks for more than new tokens have, as where their validity was changed at Cognito by hand, pays for no more of them
/// than where the token endpoint fails.
#[tokio::test]
async fn tokens_that_come_too_short_are_not_fetched_again_and_again() {
    let stage = Stage::set().await;
    let backend = Backend(stage.backend.clone());
    let seen = backend.must_see(&stage.client.name).await;
    let spec = AppClientSpec {
        marker: seen.client.marker(),
        scopes: seen.client.scopes.clone(),
        access_token_validity: Duration::from_secs(300),
    };
    let app_client = seen.client.app_client.as_ref().expect("made");
    backend.0.user_pools.update_app_client(&seen.pool, app_client, &spec).await.expect("updated");
    for _ in 0..5 {
        let error = details(&lasting(&stage, Duration::from_secs(1_200)).await.expect_err("too short"));
        assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
        assert!(error.retry, "it says when to come back");
    }
    assert_eq!(stage.fetches.count(), 1);
    let token = stage.daemon.token(&stage.client.name).await;
    assert_eq!(lasting(&stage, Duration::from_secs(240)).await.expect("a token"), token, "what came is served");
    assert_eq!(stage.fetches.count(), 1);
    stage.daemon.stop().await;
}

/// A token that is still valid for so long.
async fn lasting(stage: &Stage, min_remaining: Duration) -> Result<proto::AccessToken, Status> {
    let request = proto::GetTokenRequest {
        name: stage.client.name.clone(),
        min_remaining: Some(min_remaining.try_into().expect("in range")),
        ..Default::default()
    };
    Ok(stage.daemon.tokens().get_token(request).await?.into_inner())
}

/// A call on the same connection: what was sent before it has reached the daemon when it is answered.
async fn look(stage: &Stage) {
    let request = proto::GetClientRequest { name: stage.client.name.clone() };
    stage.daemon.clients().get_client(request).await.expect("the client");
}

/// Asks until another token than `old` is served.
async fn next_token(stage: &Stage, old: &proto::AccessToken) -> proto::AccessToken {
    in_time(async {
        loop {
            let token = stage.daemon.token(&stage.client.name).await;
            if token != *old {
                return token;
            }
        }
    })
    .await
}

fn start_second() -> i64 {
    crate::harness::start_time().as_second()
}
