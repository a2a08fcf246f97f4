//! A token endpoint that fails, and what callers learn of it.

use std::time::Duration;

use keyward::broker::ports::Fault;
use keyward::domain::secret::ClientSecret;
use keyward::proto;
use tonic::Code;

use super::lasting;
use crate::harness::ports::{Stage, in_time};
use crate::harness::{details, token};

const HALF: Duration = Duration::from_secs(1800);

#[tokio::test]
async fn an_endpoint_that_is_down_evicts_no_valid_token_and_is_not_asked_again_at_once() {
    a_transient_failure_evicts_nothing(Fault::Unavailable).await;
}

#[tokio::test]
async fn an_endpoint_that_throttles_evicts_no_valid_token_and_is_not_asked_again_at_once() {
    a_transient_failure_evicts_nothing(Fault::Throttled).await;
}

async fn a_transient_failure_evicts_nothing(fault: Fault) {
    let stage = Stage::set_with(|config| config.tokens.retry_after_failure = Duration::from_secs(10)).await;
    let old = stage.daemon.token(&stage.client.name).await;
    stage.fetches.fail(fault);
    stage.at_second(2700);
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    // Whoever needs a longer one waits for the fetch that fails, and so tells that it has.
    lasting(&stage, HALF).await.expect_err("there is none");
    assert_eq!(stage.fetches.count(), 2);

    stage.at_second(2709);
    for _ in 0..10 {
        assert_eq!(stage.daemon.token(&stage.client.name).await, old);
        lasting(&stage, HALF).await.expect_err("there is none");
    }
    assert_eq!(stage.fetches.count(), 2, "asked again before retry_after_failure");

    stage.at_second(2710);
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    stage.fetches.wait_for(3).await;
    stage.at_second(3599);
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn without_a_token_left_an_endpoint_that_is_down_is_upstream_unavailable_until_it_recovers() {
    let stage = Stage::set().await;
    let old = stage.daemon.token(&stage.client.name).await;
    stage.fetches.fail(Fault::Unavailable);
    stage.at_second(3600);
    for _ in 0..5 {
        let error = details(&token(&stage.daemon.channel, &stage.client.name).await.expect_err("expired"));
        assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
        assert!(error.retry, "it does not say when to come back");
    }
    assert_eq!(stage.fetches.count(), 2, "asked again before retry_after_failure");

    stage.fetches.recover();
    stage.at_second(3601);
    assert_ne!(stage.daemon.token(&stage.client.name).await, old);
    assert_eq!(stage.fetches.count(), 3);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn without_a_token_an_endpoint_that_throttles_is_throttled_until_it_recovers() {
    let stage = Stage::set().await;
    stage.fetches.fail_next(Fault::Throttled);
    let error = details(&token(&stage.daemon.channel, &stage.client.name).await.expect_err("throttled"));
    assert_eq!((error.code, error.reason.as_str(), error.retry), (Code::ResourceExhausted, "THROTTLED", true));
    stage.at_second(1);
    stage.daemon.token(&stage.client.name).await;
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_fetch_that_a_rotation_overtook_reads_the_secret_again_and_tries_once_more() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    let waiting = {
        let (channel, name) = (stage.daemon.channel.clone(), stage.client.name.clone());
        tokio::spawn(async move { token(&channel, &name).await })
    };
    stage.fetches.wait_for(1).await;
    let request =
        proto::RotateClientSecretRequest { name: stage.client.name.clone(), immediate: true, ..Default::default() };
    stage.daemon.clients().rotate_client_secret(request).await.expect("rotated");
    in_time(async { while secrets(&stage).await > 1 {} }).await;
    let before = stage.fetches.count();
    gate.open();
    in_time(waiting).await.expect("it waited").expect("a token");
    assert_eq!(stage.fetches.count(), before + 1, "one more try and no other");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_was_changed_behind_the_broker_is_rejected_once_no_token_is_left() {
    let stage = Stage::set().await;
    let old = stage.daemon.token(&stage.client.name).await;
    let (pool, client, pools) = (stage.pool().await, stage.app_client(), stage.backend.user_pools.clone());
    let known = pools.list_secrets(&pool, &client).await.expect("its secrets");
    let foreign = ClientSecret::parse("secret", &"s".repeat(40)).expect("a secret");
    pools.add_secret(&pool, &client, &foreign).await.expect("added");
    pools.delete_secret(&pool, &client, &known[0]).await.expect("deleted");

    stage.at_second(2700);
    assert_eq!(stage.daemon.token(&stage.client.name).await, old);
    stage.at_second(3601);
    let error = details(&token(&stage.daemon.channel, &stage.client.name).await.expect_err("refused"));
    assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "SECRET_REJECTED"));
    stage.daemon.stop().await;
}

async fn secrets(stage: &Stage) -> usize {
    let (pool, client) = (stage.pool().await, stage.app_client());
    stage.backend.user_pools.list_secrets(&pool, &client).await.expect("its secrets").len()
}
