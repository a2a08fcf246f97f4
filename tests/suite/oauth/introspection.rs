//! Introspection: what is said of a good token, and that nothing is said of any other.

use std::time::Duration;

use keyward::proto;
use serde_json::json;

use super::{CHECKOUT, Site};
use crate::harness::forge::{PERSON, SigningKey, TEST_KEY, claims, id_claims, persons_access_claims, with};
use crate::harness::{SCOPES, create_interactive, start_time};

#[tokio::test]
async fn a_good_token_is_told_with_its_claims_and_whose_it_is() {
    let site = Site::set().await;
    site.stage.keys.publish(TEST_KEY.public());
    let token = site.daemon().token(CHECKOUT).await.access_token;
    let answer = site.post("/oauth2/introspect", None, &format!("token={token}&token_type_hint=refresh_token")).await;
    assert_eq!(answer.status, 200, "a hint is no more than that: {answer:?}");
    assert_eq!(
        (answer.header("cache-control"), answer.header("content-type")),
        (Some("no-store"), Some("application/json"))
    );
    let payload = crate::harness::forge::decoded(&token, 1);
    let now = start_time().as_second();
    let expected = json!({
        "active": true, "scope": SCOPES.join(" "), "client_id": site.id, "sub": site.id, "iss": payload["iss"],
        "exp": now + 3_600, "iat": now, "jti": payload["jti"], "token_type": "Bearer", "token_use": "access",
        "keyward_tenant": "tenants/acme", "keyward_client": CHECKOUT,
    });
    assert_eq!(answer.json, expected);
    let timed = with(&claims(&site.stage.client, start_time()), "nbf", now - 1);
    assert_eq!(site.introspect(&TEST_KEY.sign(&TEST_KEY.header(), &timed)).await.json["nbf"], now - 1);
    site.stop().await;
}

#[tokio::test]
async fn of_any_other_token_nothing_is_said_but_that_it_is_none() {
    let site = Site::set().await;
    site.stage.keys.publish(TEST_KEY.public());
    let good = claims(&site.stage.client, start_time());
    let signed = |claims| TEST_KEY.sign(&TEST_KEY.header(), &claims);
    assert_eq!(
        site.introspect(&signed(good.clone())).await.json["active"],
        true,
        "what follows is bad for its own reason"
    );
    let now = start_time().as_second();
    let stranger = SigningKey::generate();
    let issued = site.daemon().token(CHECKOUT).await.access_token;
    let (head, signature) = issued.rsplit_once('.').expect("a JWT");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for (what, token) in [
        ("no JWT", "x".to_owned()),
        ("too long", signed(with(&good, "more", "x".repeat(13_000)))),
        ("forged", forged),
        ("expired", signed(with(&good, "exp", now - 3_600))),
        ("not yet", signed(with(&good, "nbf", now + 3_600))),
        ("of another use", signed(id_claims(&site.stage.client, start_time()))),
        ("of another issuer", signed(with(&good, "iss", "https://issuer.example/pool"))),
        ("of nobody", signed(with(&good, "client_id", "1h57kf5cpq17m0eml12EXAMPLE"))),
        ("by an unknown key", stranger.sign(&stranger.header(), &good)),
    ] {
        let answer = site.introspect(&token).await;
        assert_eq!((answer.status, &answer.json), (200, &json!({ "active": false })), "{what}");
    }
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    site.daemon().tenants().suspend_tenant(suspend).await.expect("suspended");
    assert_eq!(site.introspect(&issued).await.json, json!({ "active": false }), "of a tenant that is suspended");
    site.stop().await;
}

#[tokio::test]
async fn a_persons_token_is_told_to_who_asks_for_it_and_is_none_to_others() {
    let site = Site::set().await;
    site.stage.keys.publish(TEST_KEY.public());
    let portal = create_interactive(&site.daemon().channel, "acme", "portal").await;
    let sign = |claims| TEST_KEY.sign(&TEST_KEY.header(), &claims);
    let access = sign(persons_access_claims(&portal, start_time()));
    let id = sign(id_claims(&portal, start_time()));
    let ask = async |token: &str, more: &str| {
        site.post("/oauth2/introspect", None, &format!("token={token}{more}")).await.json
    };
    let now = start_time().as_second();
    let expected = json!({
        "active": true, "scope": "openid orders/read", "client_id": portal.app_client_id, "sub": PERSON, "username": "ada",
        "groups": ["readers", "writers"], "iss": portal.issuer, "exp": now + 3_600, "iat": now,
        "jti": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "token_type": "Bearer", "token_use": "access",
        "keyward_tenant": "tenants/acme", "keyward_client": portal.name,
    });
    assert_eq!(ask(&access, "&token_use=access").await, expected);
    let told = ask(&id, "&token_use=id").await;
    assert_eq!((&told["active"], &told["scope"], &told["token_use"]), (&json!(true), &json!(""), &json!("id")));
    assert_eq!((&told["username"], told.get("token_type")), (&json!("ada"), None));
    for (token, more) in [
        (&access, ""),
        (&access, "&token_use=id"),
        (&access, "&token_type_hint=access_token"),
        (&id, ""),
        (&id, "&token_use=access"),
        (&id, "&token_type_hint=id_token"),
    ] {
        assert_eq!(ask(token, more).await, json!({ "active": false }), "{more:?}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_none_at_once() {
    let site = Site::set().await;
    let token = site.daemon().token(CHECKOUT).await.access_token;
    assert_eq!(site.introspect(&token).await.json["active"], true);
    let target = Some(proto::revoke_tokens_request::Target::Token(token.clone()));
    let request = proto::RevokeTokensRequest { target, reason: "a test".to_owned(), ..Default::default() };
    site.daemon().clients().revoke_tokens(request).await.expect("revoked");
    assert_eq!(site.introspect(&token).await.json, json!({ "active": false }));
    site.stop().await;
}

#[tokio::test]
async fn that_nobody_can_tell_is_neither_yes_nor_no() {
    let site = Site::set().await;
    let token = site.daemon().token(CHECKOUT).await.access_token;
    site.stage.keys.fail(true);
    let answer = site.introspect(&token).await;
    assert_eq!((answer.refusal(), answer.header("retry-after")), ((503, "temporarily_unavailable"), Some("1")));
    assert_eq!(answer.json.get("active"), None);
    site.stage.keys.fail(false);
    site.stage.clock.advance(Duration::from_secs(1));
    assert_eq!(site.introspect(&token).await.json["active"], true);
    site.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let site = Site::set().await;
    for body in
        ["", "token=", "token_type_hint=access_token", "token=a&token=b", "token=%zz", "token=a&token_use=refresh"]
    {
        let answer = site.post("/oauth2/introspect", None, body).await;
        assert_eq!(answer.refusal(), (400, "invalid_request"), "{body}");
    }
    let answer = site.post("/oauth2/introspect?token=a.b.c", None, "token=a.b.c").await;
    assert_eq!(answer.refusal(), (400, "invalid_request"), "a token in a URL is in somebody's log");
    site.stop().await;
}
