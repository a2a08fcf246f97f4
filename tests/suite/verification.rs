//! Verification: each rule with the reason it gives, in its order; keys; streams of tokens.

mod keys;
mod malformed;
mod order;
mod people;
mod rules;
mod standing;
mod stream;

use keyward::proto;
use keyward::proto::RejectionReason;
use keyward::proto::verify_token_response::Verdict;

use crate::harness::forge::{self, Fields, TEST_KEY, claims, with, without};
use crate::harness::ports::Stage;
use crate::harness::{SCOPES, create_tenant, start_time};

#[tokio::test]
async fn a_good_token_says_whose_it_is_and_what_it_may_do() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await;
    let said = forge::decoded(&token.access_token, 1);
    let expected = proto::VerifiedToken {
        tenant: "tenants/acme".to_owned(),
        client: stage.client.name.clone(),
        app_client_id: stage.client.app_client_id.clone(),
        issuer: stage.client.issuer.clone(),
        scopes: SCOPES.map(str::to_owned).to_vec(),
        token_id: said["jti"].as_str().expect("a jti").to_owned(),
        issue_time: Some(prost_types::Timestamp { seconds: start_time().as_second(), nanos: 0 }),
        expire_time: token.expire_time,
        token_use: proto::TokenUse::Access.into(),
        client_kind: proto::ClientKind::Machine.into(),
        subject: stage.client.app_client_id.clone(),
        username: String::new(),
        groups: Vec::new(),
    };
    assert_eq!(verified(&stage, &token.access_token).await, expected);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_of_a_pool_of_the_tenants_own_verifies_too() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let own = stage.daemon.create_client("umbrella", "billing").await;
    assert_ne!(own.issuer, stage.client.issuer);
    let token = stage.daemon.token(&own.name).await;
    let verified = verified(&stage, &token.access_token).await;
    assert_eq!((verified.tenant.as_str(), verified.client.as_str()), ("tenants/umbrella", own.name.as_str()));
    assert_eq!(verified.issuer, own.issuer);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_that_is_demanded_and_scopes_that_are_required_are_found_in_the_token() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    for token_use in [proto::TokenUse::Unspecified, proto::TokenUse::Access] {
        let request = proto::VerifyTokenRequest {
            token: token.clone(),
            required_scopes: SCOPES.iter().rev().map(|scope| (*scope).to_owned()).collect(),
            tenant: "tenants/acme".to_owned(),
            token_use: token_use.into(),
        };
        assert!(matches!(ask(&stage, request).await, Verdict::Verified(_)));
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn claims_that_no_rule_reads_do_not_matter() {
    let stage = court().await;
    let plain = claims(&stage.client, start_time());
    assert!(!plain.contains_key("aud"));
    let odd = [
        plain.clone(),
        with(&plain, "aud", "somebody else"),
        with(&plain, "origin_jti", serde_json::json!({ "nested": [1, 2, 3] })),
        with(&plain, "\u{e9}", serde_json::Value::Null),
    ];
    for claims in odd {
        verified(&stage, &sign(&claims)).await;
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_without_an_id_verifies_and_has_none() {
    let stage = court().await;
    let token = sign(&without(&claims(&stage.client, start_time()), "jti"));
    assert_eq!(verified(&stage, &token).await.token_id, "");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn header_parameters_that_choose_nothing_do_not_matter() {
    let stage = court().await;
    let claims = claims(&stage.client, start_time());
    for (parameter, value) in [("typ", "JWT"), ("typ", "jwt"), ("x5t", "bGlr"), ("cty", "x")] {
        verified(&stage, &TEST_KEY.sign(&with(&TEST_KEY.header(), parameter, value), &claims)).await;
    }
    stage.daemon.stop().await;
}

/// A stage on which every issuer also publishes the test's own key.
async fn court() -> Stage {
    let stage = Stage::set().await;
    stage.keys.publish(TEST_KEY.public());
    stage
}

/// A token that its issuer could have made.
fn sign(claims: &Fields) -> String {
    TEST_KEY.sign(&TEST_KEY.header(), claims)
}

async fn ask(stage: &Stage, request: proto::VerifyTokenRequest) -> Verdict {
    let answer = stage.daemon.verification().verify_token(request).await.expect("an answer");
    answer.into_inner().verdict.expect("a verdict")
}

/// Asks so often that the broker has the answer ready, which then must not outlive what it was made from.
async fn verified(stage: &Stage, token: &str) -> proto::VerifiedToken {
    for _ in 0..2 {
        stage.daemon.verify(token).await;
    }
    match stage.daemon.verify(token).await {
        Verdict::Verified(verified) => verified,
        Verdict::Rejected(rejected) => panic!("{rejected:?}"),
    }
}

/// Why it is rejected. The detail never holds a part of the token.
async fn reason(stage: &Stage, token: &str) -> RejectionReason {
    reason_of(stage.daemon.verify(token).await, token)
}

fn reason_of(verdict: Verdict, token: &str) -> RejectionReason {
    match verdict {
        Verdict::Verified(verified) => panic!("it is good: {verified:?}"),
        Verdict::Rejected(rejected) => {
            let parts = token.split('.').filter(|part| part.len() > 8);
            assert!(!rejected.detail.is_empty() && parts.into_iter().all(|part| !rejected.detail.contains(part)));
            rejected.reason()
        }
    }
}
