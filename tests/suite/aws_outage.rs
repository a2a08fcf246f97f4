//! The token endpoint is down for the whole life of a token: nobody notices before it expires, and soon after the end of
//! the outage nobody remembers.

use std::time::Duration;

use jiff::Timestamp;
use keyward::broker::ports::Clock as _;
use keyward::proto;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fake::{After, Fault};
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::eventually;
use crate::harness::{details, token};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn callers_are_served_until_expiry_and_again_a_second_after_an_endpoint_that_answers_503_is_back() {
    Box::pin(outlive(Fault::Status(503))).await;
}

#[tokio::test]
async fn callers_are_served_until_expiry_and_again_a_second_after_an_endpoint_that_resets_is_back() {
    Box::pin(outlive(Fault::ResetBefore)).await;
}

async fn outlive(fault: Fault) {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, clock, .. } = &stage;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await.name;
    let first = daemon.token(&client).await;
    let expiry = time(first.expire_time);
    fake.fail(After::calls(0).of("Token").for_ever(), fault);
    fake.forget_calls();

    let is_asked = async || fake.calls().iter().any(|call| call.action == "oauth2:Token");
    // It ages after 42 to 45 minutes.
    for minutes_left in (15..=59).rev().filter(|left| !(16..=18).contains(left)) {
        clock.set(expiry - minutes_left * MINUTE);
        let served = daemon.token(&client).await;
        assert_eq!(served.access_token, first.access_token, "at {}", clock.now());
    }
    // The clock stands still while AWS is asked: what is under way when it moves on is given up, whatever AWS would say.
    eventually("it was to be renewed", is_asked).await;
    while clock.now() + MINUTE < expiry {
        stage.is_at_rest().await;
        clock.advance(MINUTE);
        let served = daemon.token(&client).await;
        assert_eq!(served.access_token, first.access_token, "at {}", clock.now());
    }
    stage.is_at_rest().await;
    clock.set(expiry - Duration::from_secs(1));
    assert_eq!(daemon.token(&client).await.access_token, first.access_token, "in its last second");
    for after in [0, 1, 60, 3600] {
        stage.is_at_rest().await;
        clock.set(expiry + Duration::from_secs(after));
        let refused = token(&daemon.channel, &client).await.expect_err("nothing to serve");
        let told = details(&refused);
        assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "after {after} s");
        let wait = refused.get_details_retry_info().and_then(|retry| retry.retry_delay).expect("a time to retry");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    }

    fake.heal();
    clock.advance(Duration::from_secs(1));
    let next = daemon.token(&client).await;
    assert!(time(next.expire_time) > clock.now());
    let is_good = |verdict| matches!(verdict, proto::verify_token_response::Verdict::Verified(_));
    assert!(is_good(daemon.verify(&next.access_token).await));
    stage.strike().await;
}

fn time(time: Option<prost_types::Timestamp>) -> Timestamp {
    let time = time.expect("a time");
    Timestamp::new(time.seconds, time.nanos).expect("in range")
}
