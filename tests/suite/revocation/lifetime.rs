//! How long a revocation lasts, and what happens when it is asked for again.

use keyward::broker::ports::Shelf;
use keyward::proto;
use keyward::proto::RejectionReason;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;

use super::{court, is_good, issued, jti, revoke, revoke_before, second, sign};
use crate::harness::forge::{claims, with};
use crate::harness::ports::in_time;
use crate::harness::{Daemon, details, start_time};

/// The longest life that Cognito gives a token.
const DAY: i64 = 86_400;
/// The default of `verification.leeway`.
const LEEWAY: i64 = 5;

#[tokio::test]
async fn a_revocation_survives_a_restart() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let mut tokens = Vec::new();
    for (i, id) in ["single", "whole", "client"].iter().enumerate() {
        let client = daemon.create_client("acme", id).await;
        let token = daemon.token(&client.name).await.access_token;
        clock.advance(std::time::Duration::from_secs(1));
        let target = match i {
            0 => Target::TokenId(jti(&token)),
            1 => Target::Token(token.clone()),
            _ => Target::Client(client.name.clone()),
        };
        let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
        daemon.clients().revoke_tokens(request).await.expect("revoked");
        tokens.push((client.name, token));
    }
    let daemon = daemon.restart().await;
    for (client, token) in tokens {
        let Verdict::Rejected(rejected) = daemon.verify(&token).await else { panic!("{client}: it is good") };
        assert_eq!(rejected.reason(), RejectionReason::Revoked, "{client}");
        let next = daemon.token(&client).await.access_token;
        assert!(matches!(daemon.verify(&next).await, Verdict::Verified(_)), "{client}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_revocation_lasts_until_every_token_that_it_means_has_expired() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    stage.at_second(100);
    let by_id = revoke(&stage, Target::TokenId("some-id".to_owned())).await.expect("revoked");
    assert_eq!(second(by_id.expire_time), 100 + DAY + LEEWAY);
    let whole = revoke(&stage, Target::Token(token.clone())).await.expect("revoked");
    assert_eq!(second(whole.expire_time), 3600 + LEEWAY);
    let client = Target::Client(stage.client.name.clone());
    let of_client = revoke(&stage, client.clone()).await.expect("revoked");
    assert_eq!(second(of_client.expire_time), 100 + DAY + LEEWAY);
    let earlier = revoke_before(&stage, client, 40).await.expect("revoked");
    assert_eq!((second(earlier.issued_before), second(earlier.expire_time)), (40, 40 + DAY + LEEWAY));

    // One that has expired is accepted, and the revocation has then expired too.
    stage.at_second(4000);
    let late = revoke(&stage, Target::Token(token)).await.expect("revoked");
    assert!(second(late.expire_time) <= 4000, "{late:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_revocation_is_forgotten_when_it_has_expired_and_no_sooner() {
    let stage = court().await;
    let id = "an-id-that-comes-again";
    let revocation = revoke(&stage, Target::TokenId(id.to_owned())).await.expect("revoked");
    let day_after = start_time() + jiff::SignedDuration::from_secs(DAY);
    let token = sign(&with(&claims(&stage.client, day_after), "jti", id));
    stage.at_second(DAY + LEEWAY - 1);
    assert!(!is_good(&stage, &token).await);
    stage.at_second(DAY + LEEWAY);
    in_time(async { while !is_good(&stage, &token).await {} }).await;

    let key = revocation.name.strip_prefix("revocations/").expect("its name");
    for (shelf, key) in [(Shelf::Revocation, key), (Shelf::RevokedToken, id)] {
        in_time(async {
            while stage.backend.registry.get(shelf, key).await.expect("the registry answers").is_some() {}
        })
        .await;
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_repeated_request_revokes_nothing_twice() {
    let stage = court().await;
    let request = |target| proto::RevokeTokensRequest {
        target: Some(target),
        request_id: "incident-7".to_owned(),
        ..Default::default()
    };
    let client = Target::Client(stage.client.name.clone());
    stage.at_second(60);
    let first = stage.daemon.clients().revoke_tokens(request(client.clone())).await.expect("revoked").into_inner();
    stage.at_second(120);
    let again = stage.daemon.clients().revoke_tokens(request(client)).await.expect("known").into_inner();
    assert_eq!(again, first);
    assert!(is_good(&stage, &issued(&stage.client, 60)).await, "it was revoked once more");

    let other = stage.daemon.clients().revoke_tokens(request(Target::Tenant("tenants/acme".to_owned()))).await;
    let error = details(&other.expect_err("another request"));
    assert_eq!((error.reason.as_str(), error.fields), ("REQUEST_ID_REUSED", vec!["request_id".to_owned()]));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_request_is_known_for_a_day_also_when_its_revocation_has_expired() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let request = || proto::RevokeTokensRequest {
        target: Some(Target::Token(token.clone())),
        request_id: "incident-8".to_owned(),
        ..Default::default()
    };
    let first = stage.daemon.clients().revoke_tokens(request()).await.expect("revoked").into_inner();
    stage.at_second(7200);
    // Once the revoked token is forgotten, the sweep has been here.
    let id = jti(&token);
    in_time(async {
        while stage.backend.registry.get(Shelf::RevokedToken, &id).await.expect("it answers").is_some() {}
    })
    .await;
    let again = stage.daemon.clients().revoke_tokens(request()).await.expect("known").into_inner();
    assert_eq!(again, first);
    stage.daemon.stop().await;
}
