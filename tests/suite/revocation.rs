//! Revocation: what is refused from then on, and for how long; suspension.

mod lifetime;

use keyward::proto;
use keyward::proto::RejectionReason;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use tonic::{Code, Status};

use crate::harness::forge::{Fields, SigningKey, TEST_KEY, claims, decoded, with, without};
use crate::harness::ports::{AT_REST, Stage, in_time};
use crate::harness::{create_tenant, details, start_time};

#[tokio::test]
async fn a_token_is_revoked_by_its_id_and_no_other_is() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let neighbour = sign(&claims(&stage.client, start_time()));
    assert!(is_good(&stage, &token).await);
    let id = jti(&token);
    let request = proto::RevokeTokensRequest {
        target: Some(Target::TokenId(id.clone())),
        reason: "leaked".to_owned(),
        ..Default::default()
    };
    let revocation = stage.daemon.clients().revoke_tokens(request).await.expect("revoked").into_inner();
    assert!(revocation.name.starts_with("revocations/"), "{}", revocation.name);
    assert_eq!(revocation.target, Some(proto::revocation::Target::TokenId(id)));
    assert_eq!((revocation.issuer.as_str(), revocation.reason.as_str()), ("", "leaked"));
    assert_eq!((revocation.issued_before, second(revocation.create_time)), (None, 0));

    assert!(!is_good(&stage, &token).await);
    assert!(is_good(&stage, &neighbour).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_given_whole_is_revoked_for_its_issuer_and_a_bare_id_for_every_issuer() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let other = stage.daemon.create_client("umbrella", "billing").await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let namesake = sign(&with(&claims(&other, start_time()), "jti", jti(&token)));

    let revocation = revoke(&stage, Target::Token(token.clone())).await.expect("revoked");
    assert_eq!(revocation.target, Some(proto::revocation::Target::TokenId(jti(&token))));
    assert_eq!(revocation.issuer, stage.client.issuer);
    assert!(!is_good(&stage, &token).await);
    assert!(is_good(&stage, &namesake).await);

    revoke(&stage, Target::TokenId(jti(&token))).await.expect("revoked");
    assert!(!is_good(&stage, &namesake).await);
    // And a narrower revocation takes nothing back.
    revoke(&stage, Target::Token(token)).await.expect("revoked");
    assert!(!is_good(&stage, &namesake).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_tokens_of_a_client_are_revoked_and_not_those_of_its_neighbour() {
    let stage = court().await;
    let neighbour = stage.daemon.create_client("acme", "warehouse").await;
    let (mine, theirs) = (issued(&stage.client, 0), issued(&neighbour, 0));
    stage.at_second(10);
    let revocation = revoke(&stage, Target::Client(stage.client.name.clone())).await.expect("revoked");
    assert_eq!(revocation.target, Some(proto::revocation::Target::Client(stage.client.name.clone())));
    assert_eq!((second(revocation.issued_before), second(revocation.create_time)), (10, 10));
    assert!(!is_good(&stage, &mine).await);
    assert!(is_good(&stage, &theirs).await);
    assert!(is_good(&stage, &issued(&stage.client, 10)).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_tokens_of_all_clients_of_a_tenant_are_revoked_and_not_those_of_another() {
    let stage = court().await;
    let neighbour = stage.daemon.create_client("acme", "warehouse").await;
    stage.daemon.create_tenant("initech").await;
    let stranger = stage.daemon.create_client("initech", "reports").await;
    stage.at_second(10);
    let revocation = revoke(&stage, Target::Tenant("tenants/acme".to_owned())).await.expect("revoked");
    assert_eq!(revocation.target, Some(proto::revocation::Target::Tenant("tenants/acme".to_owned())));
    assert!(!is_good(&stage, &issued(&stage.client, 9)).await);
    assert!(!is_good(&stage, &issued(&neighbour, 9)).await);
    assert!(is_good(&stage, &issued(&stranger, 9)).await);
    assert!(is_good(&stage, &issued(&neighbour, 10)).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn only_tokens_issued_before_the_instant_are_revoked_and_an_earlier_instant_takes_nothing_back() {
    let stage = court().await;
    stage.at_second(100);
    for (instant, latest_revoked) in [(50, 49), (20, 49), (60, 59)] {
        for target in [Target::Client(stage.client.name.clone()), Target::Tenant("tenants/acme".to_owned())] {
            revoke_before(&stage, target, instant).await.expect("revoked");
        }
        assert!(!is_good(&stage, &issued(&stage.client, latest_revoked)).await, "after {instant}");
        assert!(is_good(&stage, &issued(&stage.client, latest_revoked + 1)).await, "after {instant}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_instant_in_the_future_or_beside_a_single_token_is_refused() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let refused = [
        (Target::Client(stage.client.name.clone()), 1),
        (Target::Tenant("tenants/acme".to_owned()), 1),
        (Target::TokenId(jti(&token)), 0),
        (Target::Token(token.clone()), 0),
    ];
    for (target, instant) in refused {
        let error = details(&revoke_before(&stage, target, instant).await.expect_err("refused"));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert_eq!(error.fields, ["issued_before"]);
    }
    assert!(is_good(&stage, &token).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_of_the_second_under_way_is_revoked_and_the_next_is_of_the_second_after() {
    let stage = court().await;
    stage.clock.set(start_time() + jiff::SignedDuration::from_millis(10_300));
    let old = stage.daemon.token(&stage.client.name).await.access_token;
    stage.clock.set(start_time() + jiff::SignedDuration::from_millis(10_500));
    revoke(&stage, Target::Client(stage.client.name.clone())).await.expect("revoked");
    assert!(!is_good(&stage, &old).await);

    let waiting = {
        let (channel, name) = (stage.daemon.channel.clone(), stage.client.name.clone());
        tokio::spawn(async move { crate::harness::token(&channel, &name).await })
    };
    // The fetch, too, which waits for a second that can be told apart.
    in_time(stage.clock.wait_for_sleepers(AT_REST + 1)).await;
    stage.at_second(11);
    let new = in_time(waiting).await.expect("it waited").expect("a token").access_token;
    assert_eq!(decoded(&new, 1)["iat"], start_time().as_second() + 11);
    assert!(is_good(&stage, &new).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_not_served_again() {
    let stage = court().await;
    let mut token = stage.daemon.token(&stage.client.name).await.access_token;
    for minute in 1..=4 {
        stage.at_second(60 * minute);
        let target = match minute {
            1 => Target::TokenId(jti(&token)),
            2 => Target::Token(token.clone()),
            3 => Target::Client(stage.client.name.clone()),
            _ => Target::Tenant("tenants/acme".to_owned()),
        };
        let revoked = format!("{target:?}");
        revoke(&stage, target).await.expect("revoked");
        let next = stage.daemon.token(&stage.client.name).await.access_token;
        assert_ne!(next, token, "{revoked}");
        assert!(is_good(&stage, &next).await && !is_good(&stage, &token).await, "{revoked}");
        token = next;
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_revocation_that_comes_while_callers_wait_gives_them_a_token_from_after_it() {
    let stage = court().await;
    let gate = stage.fetches.hold_next();
    let revocation = async {
        stage.fetches.wait_for(1).await;
        stage.at_second(10);
        revoke(&stage, Target::Client(stage.client.name.clone())).await.expect("revoked");
        gate.open();
    };
    let (token, ()) = tokio::join!(stage.daemon.token(&stage.client.name), revocation);
    assert!(is_good(&stage, &token.access_token).await);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn what_is_no_token_of_the_brokers_cannot_be_revoked() {
    let stage = court().await;
    let good = claims(&stage.client, start_time());
    let strange = SigningKey::generate();
    let refused = [
        "no token".to_owned(),
        strange.sign(&strange.header(), &good),
        strange.sign(&TEST_KEY.header(), &good),
        TEST_KEY.sign(&with(&TEST_KEY.header(), "alg", "none"), &good),
        sign(&with(&good, "iss", "https://elsewhere.example")),
        sign(&without(&good, "jti")),
    ];
    for (i, token) in refused.into_iter().enumerate() {
        let error = details(&revoke(&stage, Target::Token(token)).await.expect_err("refused"));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "TOKEN_INVALID"), "number {i}");
        assert_eq!(error.fields, ["token"]);
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn what_is_not_there_and_nothing_at_all_cannot_be_revoked() {
    let stage = court().await;
    for target in [Target::Client("tenants/acme/clients/nobody".to_owned()), Target::Tenant("tenants/none".to_owned())]
    {
        let error = details(&revoke(&stage, target).await.expect_err("refused"));
        assert_eq!((error.code, error.reason.as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"));
    }
    let nothing = stage.daemon.clients().revoke_tokens(proto::RevokeTokensRequest::default()).await;
    assert_eq!(details(&nothing.expect_err("refused")).reason, "FIELD_INVALID");
    for id in ["", "with space", &"j".repeat(129)] {
        let error = details(&revoke(&stage, Target::TokenId(id.to_owned())).await.expect_err("refused"));
        assert_eq!((error.reason.as_str(), error.fields), ("FIELD_INVALID", vec!["token_id".to_owned()]));
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_whose_signature_cannot_be_checked_now_is_not_revoked() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    stage.keys.fail(true);
    let error = details(&revoke(&stage, Target::Token(token)).await.expect_err("nobody can tell"));
    assert_eq!((error.code, error.reason.as_str(), error.retry), (Code::Unavailable, "KEYS_UNAVAILABLE", true));
    stage.daemon.stop().await;
}

/// A stage on which every issuer also publishes the test's own key.
async fn court() -> Stage {
    let stage = Stage::set().await;
    stage.keys.publish(TEST_KEY.public());
    stage
}

fn sign(claims: &Fields) -> String {
    TEST_KEY.sign(&TEST_KEY.header(), claims)
}

/// A token of this client that was issued so many seconds after the start.
fn issued(client: &proto::Client, second: i64) -> String {
    let time = start_time() + jiff::SignedDuration::from_secs(second);
    sign(&with(&claims(client, time), "jti", format!("{} at {second}", client.app_client_id).replace(' ', "-")))
}

fn jti(token: &str) -> String {
    decoded(token, 1)["jti"].as_str().expect("a jti").to_owned()
}

/// Seconds from the start.
fn second(time: Option<prost_types::Timestamp>) -> i64 {
    time.expect("a time").seconds - start_time().as_second()
}

async fn revoke(stage: &Stage, target: Target) -> Result<proto::Revocation, Status> {
    let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
    Ok(stage.daemon.clients().revoke_tokens(request).await?.into_inner())
}

async fn revoke_before(stage: &Stage, target: Target, second: i64) -> Result<proto::Revocation, Status> {
    let issued_before = prost_types::Timestamp { seconds: start_time().as_second() + second, nanos: 0 };
    let request =
        proto::RevokeTokensRequest { target: Some(target), issued_before: Some(issued_before), ..Default::default() };
    Ok(stage.daemon.clients().revoke_tokens(request).await?.into_inner())
}

/// Whether it verifies; nothing but a revocation may be held against it. Asks so often that the broker has the answer ready,
/// which then must not outlive a revocation.
async fn is_good(stage: &Stage, token: &str) -> bool {
    for _ in 0..2 {
        stage.daemon.verify(token).await;
    }
    match stage.daemon.verify(token).await {
        Verdict::Verified(_) => true,
        Verdict::Rejected(rejected) => {
            assert_eq!(rejected.reason(), RejectionReason::Revoked);
            false
        }
    }
}
