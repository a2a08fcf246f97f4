//! Tokens as Cognito's, and who gets none.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::*;
use crate::broker::ports::PublicKey;
use crate::domain::token::AccessToken;

/// The claims, once the signature holds under the published key.
fn verified(token: &AccessToken, key: &PublicKey) -> Result<Value, jsonwebtoken::errors::Error> {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_rsa_components(&key.modulus, &key.exponent)?;
    jsonwebtoken::decode::<Value>(token.expose(), &key, &validation).map(|data| data.claims)
}

#[tokio::test]
async fn a_token_has_exactly_cognitos_claims() {
    let world = World::new().await;
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    world.clock.advance(Duration::from_millis(1500));
    let token = world.tokens().fetch(&pool, &client, &secret(1), &scopes(&["orders/read"])).await.expect("token");
    assert_eq!((token.issue_time, token.expire_time), (at(START + 1), at(START + 1 + 3600)));
    assert_eq!(token.scopes, scopes(&["orders/read"]));

    let keys = world.keys().keys(&pool).await.expect("keys");
    assert_eq!(keys.len(), 1);
    let header: Value = {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let part = token.expose().split('.').next().expect("header");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    };
    assert_eq!(header, serde_json::json!({ "kid": keys[0].kid, "alg": "RS256" }));

    let mut claims = verified(&token, &keys[0]).expect("verifies");
    let jti = claims.as_object_mut().expect("object").remove("jti").expect("jti");
    assert_eq!(jti.as_str().expect("text").len(), 36);
    let expected = serde_json::json!({
        "sub": client.as_str(),
        "client_id": client.as_str(),
        "token_use": "access",
        "scope": "orders/read",
        "iss": pool.issuer.as_str(),
        "auth_time": START + 1,
        "iat": START + 1,
        "exp": START + 1 + 3600,
        "version": 2,
    });
    assert_eq!(claims, expected);

    let other = world.tokens().fetch(&pool, &client, &secret(1), &scopes(&["orders/read"])).await.expect("token");
    assert_ne!(verified(&other, &keys[0]).expect("verifies")["jti"], jti, "a jti came twice");
}

#[tokio::test]
async fn each_pool_signs_with_a_key_of_its_own() {
    let world = World::new().await;
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    let other = world.pools().ensure_pool(&pool_id("shared-2"), &UserPoolSettings::default()).await.expect("pool");
    let token = world.tokens().fetch(&pool, &client, &secret(1), &scopes(&[])).await.expect("token");
    let foreign = world.keys().keys(&other).await.expect("keys").remove(0);
    assert!(verified(&token, &foreign).is_err(), "verifies under another pool's key");
    assert_fault(world.tokens().fetch(&other, &client, &secret(1), &scopes(&[])).await, Fault::InvalidClient);
}

#[tokio::test]
async fn either_of_two_secrets_works_and_no_other() {
    let world = World::new().await;
    let (pools, tokens, pool) = (world.pools(), world.tokens(), world.pool().await);
    let client = world.client(&pool).await;
    let fetch = async |byte| tokens.fetch(&pool, &client, &secret(byte), &scopes(&[])).await;
    fetch(1).await.expect("token");
    assert_fault(fetch(2).await, Fault::InvalidClient);
    pools.add_secret(&pool, &client, &secret(2)).await.expect("added");
    fetch(1).await.expect("token");
    fetch(2).await.expect("token");
    assert_fault(fetch(3).await, Fault::InvalidClient);
    let first = pools.list_secrets(&pool, &client).await.expect("secrets").remove(0);
    pools.delete_secret(&pool, &client, &first).await.expect("deleted");
    assert_fault(fetch(1).await, Fault::InvalidClient);
    fetch(2).await.expect("token");

    let stranger = AppClientId::parse("client", "0123456789abcdefghijklmnop").expect("valid");
    assert_fault(tokens.fetch(&pool, &stranger, &secret(2), &scopes(&[])).await, Fault::InvalidClient);
    let twin = pools.create_app_client(&pool, &spec(&["orders/read"]), &secret(4)).await.expect("created").id;
    assert_fault(tokens.fetch(&pool, &twin, &secret(2), &scopes(&[])).await, Fault::InvalidClient);
    pools.delete_app_client(&pool, &client).await.expect("deleted");
    assert_fault(fetch(2).await, Fault::InvalidClient);
}

#[tokio::test]
async fn scopes_are_granted_as_cognito_grants_them() {
    let world = World::new().await;
    let (pools, tokens, pool) = (world.pools(), world.tokens(), world.pool().await);
    let both = spec(&["orders/read", "orders/write"]);
    let client = pools.create_app_client(&pool, &both, &secret(1)).await.expect("created").id;
    let fetch = async |texts: &[&str]| tokens.fetch(&pool, &client, &secret(1), &scopes(texts)).await;
    let granted = async |texts: &[&str]| fetch(texts).await.expect("token").scopes.to_string();
    assert_eq!(granted(&[]).await, "orders/read orders/write", "asking for nothing asks for all");
    assert_eq!(granted(&["orders/write"]).await, "orders/write");
    pools.put_resource_server(&pool, &server("orders", &["read", "write", "list"])).await.expect("changed");
    assert_fault(fetch(&["orders/list"]).await, Fault::Refused);
    assert_fault(fetch(&["orders/read", "orders/list"]).await, Fault::Refused);

    pools.put_resource_server(&pool, &server("orders", &["read"])).await.expect("changed");
    assert_eq!(granted(&["orders/read", "orders/write"]).await, "orders/read", "a removed scope is left out");
    assert_fault(fetch(&["orders/write"]).await, Fault::Refused);
    let keys = world.keys().keys(&pool).await.expect("keys");
    let token = fetch(&["orders/read", "orders/write"]).await.expect("token");
    assert_eq!(verified(&token, &keys[0]).expect("verifies")["scope"], "orders/read");

    pools.put_resource_server(&pool, &server("orders", &["read", "write"])).await.expect("changed");
    assert_eq!(granted(&["orders/write"]).await, "orders/write", "a scope that came back is granted again");
    pools.delete_resource_server(&pool, &server("orders", &[]).identifier).await.expect("deleted");
    assert_fault(fetch(&[]).await, Fault::Refused);
}

#[tokio::test]
async fn an_updated_app_client_has_its_new_scopes_and_validity_at_once() {
    let world = World::new().await;
    let (pools, tokens, pool) = (world.pools(), world.tokens(), world.pool().await);
    let client = world.client(&pool).await;
    let changed = AppClientSpec {
        access_token_validity: Duration::from_secs(300),
        marker: "another-name".to_owned(),
        ..spec(&["orders/write"])
    };
    pools.update_app_client(&pool, &client, &changed).await.expect("updated");
    assert_fault(tokens.fetch(&pool, &client, &secret(1), &scopes(&["orders/read"])).await, Fault::Refused);
    let token = tokens.fetch(&pool, &client, &secret(1), &scopes(&["orders/write"])).await.expect("token");
    assert_eq!(token.expire_time, at(START + 300));
    assert_eq!(pools.find_app_client(&pool, "another-name").await.expect("looked"), None, "the name changed");
}

#[tokio::test]
async fn no_error_repeats_a_secret() {
    let world = World::new().await;
    let pool = world.pool().await;
    let client = world.client(&pool).await;
    let error = world.tokens().fetch(&pool, &client, &secret(9), &scopes(&[])).await.expect_err("refused");
    let said = format!("{error} {error:?}");
    assert!(said.contains(client.as_str()) && !said.contains(secret(9).expose()), "{said}");
}
