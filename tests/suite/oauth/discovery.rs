//! The metadata, and the pools' keys.

use serde_json::json;

use super::{CHECKOUT, Site};
use crate::harness::forge::decoded;

/// The default of `verification.key_max_age`, in seconds.
const MAX_AGE: i64 = 3_600;

fn jwks(site: &Site) -> String {
    format!("/{}/.well-known/jwks.json", site.stage.client.pool)
}

#[tokio::test]
async fn the_metadata_name_the_address_that_they_are_fetched_from() {
    let site = Site::set().await;
    let answer = site.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(
        (answer.header("content-type"), answer.header("cache-control")),
        (Some("application/json"), Some("public, max-age=300"))
    );
    let url = &site.url;
    let expected = json!({
        "issuer": url, "token_endpoint": format!("{url}/oauth2/token"),
        "introspection_endpoint": format!("{url}/oauth2/introspect"), "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["none"],
    });
    assert_eq!(answer.json, expected);
    site.stop().await;

    let site = Site::set_with(|config| config.oauth.public_url = Some("https://tokens.example.com".to_owned())).await;
    let answer = site.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(answer.json["issuer"], "https://tokens.example.com");
    assert_eq!(answer.json["token_endpoint"], "https://tokens.example.com/oauth2/token");
    site.stop().await;
}

#[tokio::test]
async fn a_pools_keys_are_those_that_its_tokens_name_and_are_kept_no_longer_than_they_hold() {
    let site = Site::set().await;
    let token = site.daemon().token(CHECKOUT).await.access_token;
    let answer = site.get(&jwks(&site)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    let keys = answer.json["keys"].as_array().expect("keys");
    let kid = &decoded(&token, 0)["kid"];
    let key = keys.iter().find(|key| key["kid"] == *kid).expect("the token's key");
    assert_eq!(
        (&key["kty"], &key["use"], &key["alg"], &key["e"]),
        (&json!("RSA"), &json!("sig"), &json!("RS256"), &json!("AQAB"))
    );

    // Kept for the rest of their time; read anew in the background from half of it on.
    site.stage.at_second(MAX_AGE / 2);
    assert_eq!(site.get(&jwks(&site)).await.header("cache-control"), Some("public, max-age=1800"));
    assert_eq!(site.stage.keys.reads(), 1);
    site.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_passed_on_until_they_are_too_old_and_not_longer() {
    let site = Site::set().await;
    assert_eq!(site.get(&jwks(&site)).await.status, 200);
    site.stage.keys.fail(true);
    for second in [MAX_AGE / 2 + 1, MAX_AGE - 1] {
        site.stage.at_second(second);
        let answer = site.get(&jwks(&site)).await;
        let left = format!("public, max-age={}", MAX_AGE - second);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some(&*left)), "at second {second}");
    }
    site.stage.at_second(MAX_AGE);
    let answer = site.get(&jwks(&site)).await;
    assert_eq!((answer.refusal(), answer.header("retry-after")), ((503, "temporarily_unavailable"), Some("1")));
    site.stage.keys.fail(false);
    site.stage.at_second(MAX_AGE + 1);
    assert_eq!(site.get(&jwks(&site)).await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn what_is_no_pool_has_no_keys_and_costs_no_issuer_anything() {
    let site = Site::set().await;
    for pool in ["shared-0000", "shared-..%2f..", "x", "%00"] {
        let answer = site.get(&format!("/pools/{pool}/.well-known/jwks.json")).await;
        assert_eq!(answer.refusal(), (404, "invalid_request"), "{pool}");
    }
    assert_eq!(site.stage.keys.reads(), 0);
    site.stop().await;
}

#[tokio::test]
async fn whoever_asks_for_what_anybody_may_have_is_counted_by_address() {
    let site = Site::set_with(|config| (config.limits.calls_per_second, config.limits.calls_burst) = (1, 2)).await;
    assert_eq!(site.get("/.well-known/oauth-authorization-server").await.status, 200);
    assert_eq!(site.get(&jwks(&site)).await.status, 200);
    for path in ["/.well-known/oauth-authorization-server", &jwks(&site)] {
        assert_eq!(site.get(path).await.refusal(), (429, "temporarily_unavailable"), "{path}");
    }
    assert_eq!(site.ask("").await.status, 200, "a known client is not counted with them");
    site.stop().await;
}
