//! The issuers' keys: when they are read, and what becomes of tokens when they cannot be, or are withdrawn.

use std::time::Duration;

use keyward::proto;
use keyward::proto::RejectionReason;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{court, reason, sign, verified};
use crate::harness::forge::{SigningKey, TEST_KEY, claims, with};
use crate::harness::ports::{Stage, in_time};
use crate::harness::{details, start_time};

/// The default of `verification.key_refetch_floor`, in seconds.
const FLOOR: i64 = 30;
/// The default of `verification.key_max_age`, in seconds.
const MAX_AGE: i64 = 3600;

#[tokio::test]
async fn an_unknown_kid_reads_the_keys_again_but_not_more_often_than_the_floor() {
    let stage = court().await;
    let good = good(&stage);
    verified(&stage, &good).await;
    assert_eq!(stage.keys.reads(), 1);
    for (second, reads) in [(0, 1), (FLOOR - 1, 1), (FLOOR, 2), (2 * FLOOR - 1, 2), (2 * FLOOR, 3)] {
        stage.at_second(second);
        for _ in 0..5 {
            assert_eq!(reason(&stage, &made_up(&stage)).await, RejectionReason::UnknownKey);
            verified(&stage, &good).await;
        }
        assert_eq!(stage.keys.reads(), reads, "at second {second}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_key_that_the_issuer_has_added_is_found() {
    let stage = court().await;
    verified(&stage, &good(&stage)).await;
    let added = SigningKey::generate();
    stage.keys.publish(added.public());
    let token = added.sign(&added.header(), &claims(&stage.client, start_time()));
    stage.at_second(FLOOR);
    verified(&stage, &token).await;
    verified(&stage, &good(&stage)).await;
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_failed_read_keeps_the_keys_as_they_are() {
    let stage = court().await;
    let token = long_lived(&stage);
    verified(&stage, &token).await;
    stage.keys.fail(true);
    stage.at_second(FLOOR);
    cannot_tell(&stage, &made_up(&stage)).await;
    assert_eq!(stage.keys.reads(), 2);
    for second in [FLOOR, MAX_AGE, 4 * MAX_AGE] {
        stage.at_second(second);
        verified(&stage, &token).await;
        verified(&stage, &sign(&with(&claims(&stage.client, start_time()), "exp", far()))).await;
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_under_a_new_key_is_not_called_forged_because_the_keys_cannot_be_read() {
    let stage = court().await;
    verified(&stage, &good(&stage)).await;
    let added = SigningKey::generate();
    stage.keys.publish(added.public());
    let token = added.sign(&added.header(), &claims(&stage.client, start_time()));
    stage.keys.fail(true);
    // As soon as whoever was told to come back does, and no sooner; whoever is known is not in need of it.
    for (second, reads) in [(FLOOR, 2), (FLOOR, 2), (FLOOR + 1, 3), (FLOOR + 1, 3), (FLOOR + 2, 4)] {
        stage.at_second(second);
        cannot_tell(&stage, &token).await;
        verified(&stage, &good(&stage)).await;
        assert_eq!(stage.keys.reads(), reads, "at second {second}");
    }
    stage.keys.fail(false);
    stage.at_second(FLOOR + 3);
    verified(&stage, &token).await;
    // Now that they have been read it is known what they are not.
    for second in [FLOOR + 3, 2 * FLOOR + 2] {
        stage.at_second(second);
        assert_eq!(reason(&stage, &made_up(&stage)).await, RejectionReason::UnknownKey);
    }
    assert_eq!(stage.keys.reads(), 5);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_withdrawn_key_verifies_nothing_after_the_next_read() {
    let stage = court().await;
    let (seen, unseen) = (long_lived(&stage), good(&stage));
    verified(&stage, &seen).await;
    stage.keys.withdraw(&TEST_KEY.kid);
    stage.at_second(FLOOR);
    // An unknown kid has the keys read.
    assert_eq!(reason(&stage, &made_up(&stage)).await, RejectionReason::UnknownKey);
    for token in [seen, unseen] {
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnknownKey);
    }
    // The issuer's own key is still there.
    let own = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &own).await;
    stage.daemon.stop().await;
}

#[tokio::test]
async fn keys_are_read_again_when_they_are_old_and_so_a_withdrawal_is_noticed() {
    let stage = court().await;
    let token = long_lived(&stage);
    verified(&stage, &token).await;
    stage.keys.withdraw(&TEST_KEY.kid);
    stage.at_second(MAX_AGE - 1);
    verified(&stage, &token).await;
    assert_eq!(stage.keys.reads(), 1);
    stage.at_second(MAX_AGE);
    // The one who comes first is still answered by the old keys; the read is behind it.
    in_time(async {
        loop {
            let request = proto::VerifyTokenRequest { token: token.clone(), ..Default::default() };
            let answer = stage.daemon.verification().verify_token(request).await.expect("an answer").into_inner();
            if let Some(proto::verify_token_response::Verdict::Rejected(rejected)) = answer.verdict {
                return assert_eq!(rejected.reason(), RejectionReason::UnknownKey);
            }
        }
    })
    .await;
    assert_eq!(stage.keys.reads(), 2);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn without_keys_nobody_can_tell_until_they_can_be_read() {
    let stage = court().await;
    stage.keys.fail(true);
    let token = good(&stage);
    // As soon as whoever was told to come back does, and no sooner.
    for (second, reads) in [(0, 1), (0, 1), (1, 2), (1, 2), (2, 3)] {
        stage.at_second(second);
        cannot_tell(&stage, &token).await;
        assert_eq!(stage.keys.reads(), reads, "at second {second}");
    }
    stage.keys.fail(false);
    stage.at_second(3);
    verified(&stage, &token).await;
    assert_eq!(stage.keys.reads(), 4);
    stage.daemon.stop().await;
}

/// Fails the test unless the answer is that the keys cannot be read, and that another call helps in a second.
async fn cannot_tell(stage: &Stage, token: &str) {
    let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
    let status = stage.daemon.verification().verify_token(request).await.expect_err("nobody can tell");
    let error = details(&status);
    assert_eq!((error.code, error.reason.as_str()), (Code::Unavailable, "KEYS_UNAVAILABLE"));
    let wait = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    assert_eq!(wait, Some(Duration::from_secs(1)));
}

fn good(stage: &Stage) -> String {
    sign(&claims(&stage.client, start_time()))
}

/// Under a key that nobody publishes.
fn made_up(stage: &Stage) -> String {
    TEST_KEY.sign(&with(&TEST_KEY.header(), "kid", "made-up"), &claims(&stage.client, start_time()))
}

/// Outlives the age at which keys are read again.
fn long_lived(stage: &Stage) -> String {
    sign(&with(&with(&claims(&stage.client, start_time()), "exp", far()), "jti", "long"))
}

fn far() -> i64 {
    start_time().as_second() + 24 * 3600
}
