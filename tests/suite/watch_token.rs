//! A token that is always fresh: what a stream sends, when it stays open, and how it ends.

use futures::FutureExt as _;
use keyward::broker::ports::Fault;
use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use tonic::{Code, Status, Streaming};

use crate::harness::ports::{AT_REST, Stage, in_time};
use crate::harness::{ErrorDetails, details, forge};

/// Who sleeps by the clock of a daemon that rests and has one stream.
const SLEEPERS: usize = AT_REST + 1;

#[tokio::test]
async fn the_current_token_is_sent_at_once() {
    let stage = Stage::set().await;
    let current = stage.daemon.token(&stage.client.name).await;
    let mut stream = watch(&stage, &stage.client.name).await;
    assert_eq!(next(&mut stream).await, current);
    assert_eq!(stage.fetches.count(), 1);
    drop(stream);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_new_token_is_sent_when_the_old_one_is_about_to_age_and_nothing_in_between() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    let first = next(&mut stream).await;
    for second in (0..=2700).step_by(60) {
        in_time(stage.clock.wait_for_sleepers(SLEEPERS)).await;
        stage.at_second(second);
    }
    let second = next(&mut stream).await;
    assert_ne!(second, first);
    let issued = forge::decoded(&second.access_token, 1)["iat"].as_i64().expect("a number") - start_second();
    assert!((2520..=2700).contains(&issued), "issued at second {issued}");
    assert_eq!(stage.fetches.count(), 2);
    drop(stream);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_stream_stays_open_while_the_endpoint_fails_and_goes_on_when_it_recovers() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    let first = next(&mut stream).await;
    in_time(stage.clock.wait_for_sleepers(SLEEPERS)).await;
    stage.fetches.fail(Fault::Unavailable);
    for second in 2700..2710 {
        stage.at_second(second);
        in_time(stage.clock.wait_for_sleepers(SLEEPERS)).await;
    }
    let tries = stage.fetches.count() - 1;
    assert!((2..=10).contains(&tries), "{tries} tries in 10 seconds");
    assert!(stream.message().now_or_never().is_none(), "something was sent");

    stage.fetches.recover();
    stage.at_second(2711);
    assert_ne!(next(&mut stream).await, first);
    drop(stream);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_stream_ends_with_the_endpoints_failure_once_the_last_token_has_expired() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    next(&mut stream).await;
    in_time(stage.clock.wait_for_sleepers(SLEEPERS)).await;
    stage.fetches.fail(Fault::Unavailable);
    stage.at_second(3599);
    in_time(stage.clock.wait_for_sleepers(SLEEPERS)).await;
    assert!(stream.message().now_or_never().is_none(), "it ended too soon");
    stage.at_second(3600);
    let error = end(&mut stream).await;
    assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
    assert!(error.retry, "it does not say when to come back");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_suspension_ends_the_stream() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    next(&mut stream).await;
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let error = end(&mut stream).await;
    assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "TENANT_SUSPENDED"));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_deletion_of_the_client_ends_the_stream() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    next(&mut stream).await;
    let request = proto::DeleteClientRequest { name: stage.client.name.clone(), ..Default::default() };
    stage.daemon.clients().delete_client(request).await.expect("deleted");
    let error = end(&mut stream).await;
    // It is deleted so fast that a stream may see it gone.
    let (deleting, gone) = ((Code::FailedPrecondition, "CLIENT_DELETING"), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    assert!([deleting, gone].contains(&(error.code, error.reason.as_str())), "{error:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_drain_ends_the_stream() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    next(&mut stream).await;
    let (error, ()) = tokio::join!(end(&mut stream), stage.daemon.stop());
    assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
}

#[tokio::test]
async fn a_revocation_of_the_clients_tokens_sends_a_new_one() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    let first = next(&mut stream).await;
    stage.at_second(60);
    let revoked = revoke(&stage, Target::Client(stage.client.name.clone())).await;
    assert_eq!(revoked.target, Some(proto::revocation::Target::Client(stage.client.name.clone())));
    assert_good_successor(&stage, &mut stream, &first).await;
    drop(stream);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_revocation_of_the_very_token_sends_a_new_one() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    let first = next(&mut stream).await;
    revoke(&stage, Target::Token(first.access_token.clone())).await;
    assert_good_successor(&stage, &mut stream, &first).await;
    drop(stream);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_rotation_is_not_noticed() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, &stage.client.name).await;
    let first = next(&mut stream).await;
    stage.at_second(60);
    let request =
        proto::RotateClientSecretRequest { name: stage.client.name.clone(), immediate: true, ..Default::default() };
    stage.daemon.clients().rotate_client_secret(request).await.expect("rotated");
    in_time(stage.clock.wait_for_sleepers(SLEEPERS)).await;
    assert!(stream.message().now_or_never().is_none(), "something was sent");
    stage.at_second(2700);
    // Had the rotation made a new token, this one would be from second 60.
    let second = next(&mut stream).await;
    assert_eq!(forge::decoded(&second.access_token, 1)["iat"], start_second() + 2700);
    assert_ne!(second, first);
    drop(stream);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn what_may_have_no_token_has_no_stream() {
    let stage = Stage::set().await;
    let mut stream = watch(&stage, "tenants/acme/clients/nobody").await;
    let error = end(&mut stream).await;
    assert_eq!((error.code, error.reason.as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    stage.daemon.stop().await;
}

async fn watch(stage: &Stage, client: &str) -> Streaming<proto::AccessToken> {
    let request = proto::WatchTokenRequest { name: client.to_owned(), ..Default::default() };
    stage.daemon.tokens().watch_token(request).await.expect("a stream").into_inner()
}

async fn next(stream: &mut Streaming<proto::AccessToken>) -> proto::AccessToken {
    in_time(stream.message()).await.expect("no error").expect("a token")
}

/// The error that ends the stream, which nothing comes before.
async fn end(stream: &mut Streaming<proto::AccessToken>) -> ErrorDetails {
    let status: Status = in_time(stream.message()).await.expect_err("the end");
    details(&status)
}

async fn revoke(stage: &Stage, target: Target) -> proto::Revocation {
    let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
    stage.daemon.clients().revoke_tokens(request).await.expect("revoked").into_inner()
}

async fn assert_good_successor(stage: &Stage, stream: &mut Streaming<proto::AccessToken>, old: &proto::AccessToken) {
    let new = next(stream).await;
    assert_ne!(new, *old);
    assert!(matches!(stage.daemon.verify(&old.access_token).await, Verdict::Rejected(_)), "the old one is good");
    assert!(matches!(stage.daemon.verify(&new.access_token).await, Verdict::Verified(_)), "the new one is not good");
}

fn start_second() -> i64 {
    crate::harness::start_time().as_second()
}
