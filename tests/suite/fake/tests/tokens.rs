//! The token endpoint, `GetClientToken` and the key sets.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use aws_sdk_cognitoidentityprovider::types::ExplicitAuthFlowsType;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{SECOND, SECOND_VALUE, Stage, VALUE, http, machine, scope};
use crate::fake::Propagation;
use crate::peers::refusal;

#[tokio::test]
async fn a_token_has_exactly_cognitos_claims_and_the_key_set_verifies_it() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    let (status, answer) = stage.token(&client, VALUE, "").await;
    assert_eq!((status, &answer["expires_in"], &answer["token_type"]), (200, &json!(3_600), &json!("Bearer")));
    assert_eq!(answer.as_object().expect("members").len(), 3, "the granted scopes are in the token alone");
    let token = answer["access_token"].as_str().expect("a token");
    let mut claims = verified(token, &keys(&stage, &pool).await).expect("verified");
    let jti = claims.as_object_mut().expect("claims").remove("jti").expect("a jti");
    assert_eq!(jti.as_str().map(str::len), Some(36));
    let expected = json!({
        "sub": client,
        "token_use": "access",
        "scope": "orders/read orders/write",
        "auth_time": 1_767_225_600,
        "iss": format!("https://cognito-idp.eu-central-1.amazonaws.com/{pool}"),
        "exp": 1_767_229_200,
        "iat": 1_767_225_600,
        "version": 2,
        "client_id": client,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn the_token_endpoint_refuses_as_rfc_6749_says() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    let post = |form: String| async {
        let request = http().post(format!("{}/oauth2/token", stage.fake.endpoint())).body(form);
        let answer =
            request.header("content-type", "application/x-www-form-urlencoded").send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 400);
        let answer: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        answer["error"].as_str().expect("an error").to_owned()
    };
    let known = format!("client_id={client}&client_secret={VALUE}");
    assert_eq!(post(known.clone()).await, "invalid_request");
    assert_eq!(post(format!("grant_type=password&{known}")).await, "unsupported_grant_type");
    assert_eq!(post(format!("grant_type=client_credentials&client_id={client}")).await, "invalid_client");
    assert_eq!(post(format!("grant_type=client_credentials&{known}&scope=orders%2Fnone")).await, "invalid_scope");
    assert_eq!(post(format!("grant_type=client_credentials&{known}&scope=a&scope=b")).await, "invalid_request");
    assert_eq!(stage.token(&client, SECOND_VALUE, "").await, (400, json!({ "error": "invalid_client" })));
    assert_eq!(stage.token("nobody", VALUE, "").await, (400, json!({ "error": "invalid_client" })));
    assert_eq!(stage.token(&client, VALUE, "orders/read").await.0, 200);

    let domain = stage.sdk.cognito.delete_user_pool_domain().user_pool_id(&pool).domain("keyward-shared");
    domain.send().await.expect("deleted");
    assert_eq!(stage.token(&client, VALUE, "").await.0, 400, "without a domain there is no endpoint");
}

#[tokio::test]
async fn a_scope_that_is_no_longer_defined_is_left_out_of_the_token_without_a_word() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    let update = stage.sdk.cognito.update_resource_server().user_pool_id(&pool).identifier("orders").name("Orders");
    update.scopes(scope("read")).send().await.expect("updated");
    let (status, answer) = stage.token(&client, VALUE, "orders/read orders/write").await;
    assert_eq!(status, 200);
    let token = answer["access_token"].as_str().expect("a token");
    assert_eq!(verified(token, &keys(&stage, &pool).await).expect("verified")["scope"], "orders/read");
}

#[tokio::test]
async fn get_client_token_needs_its_flow_and_no_domain() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    let get = |client: &str, secret: &str| stage.sdk.cognito.get_client_token().client_id(client).secret(secret);
    assert_eq!(refusal(get(&client, VALUE).send().await), "InvalidParameterException", "it lacks the flow");
    let flow = ExplicitAuthFlowsType::from("ALLOW_CLIENT_TOKEN_AUTH");
    let made = machine(&stage.sdk, &pool, "orders").client_secret(VALUE).explicit_auth_flows(flow).send().await;
    let made = made.expect("made").user_pool_client.expect("an app client");
    let client = made.client_id().expect("an id");
    let got = get(client, VALUE).scopes("orders/read").send().await.expect("a token");
    let got = got.client_authentication_result.expect("a result");
    assert_eq!((got.expires_in(), got.token_type()), (3_600, Some("Bearer")));
    let claims = verified(got.access_token().expect("a token"), &keys(&stage, &pool).await).expect("verified");
    assert_eq!((&claims["scope"], &claims["client_id"]), (&json!("orders/read"), &json!(client)));
    assert_eq!(refusal(get(client, SECOND_VALUE).send().await), "NotAuthorizedException");
    assert_eq!(refusal(get("nobody", VALUE).send().await), "ResourceNotFoundException");
    assert_eq!(refusal(get(client, VALUE).scopes("orders/none").send().await), "InvalidParameterException");
}

#[tokio::test]
async fn a_new_key_signs_and_an_old_one_is_kept_or_withdrawn() {
    let stage = Stage::set().await;
    let (pool, client) = stage.client().await;
    let old = stage.token(&client, VALUE, "").await.1["access_token"].as_str().expect("a token").to_owned();
    stage.fake.rotate_signing_key(&pool, false);
    let new = stage.token(&client, VALUE, "").await.1["access_token"].as_str().expect("a token").to_owned();
    let both = keys(&stage, &pool).await;
    assert!(verified(&old, &both).is_some() && verified(&new, &both).is_some());
    stage.fake.rotate_signing_key(&pool, true);
    let newest = keys(&stage, &pool).await;
    assert!(verified(&old, &newest).is_none() && verified(&new, &newest).is_none());
}

#[tokio::test]
async fn changes_are_seen_by_the_token_endpoint_after_a_while() {
    let stage = Stage::set().await;
    let (pool, old) = stage.client().await;
    let cognito = &stage.sdk.cognito;
    stage.fake.propagate(Propagation { appears: 5 * SECOND, lingers: 3 * SECOND });
    let status = |client: String, secret: &'static str| {
        let stage = &stage;
        async move { stage.token(&client, secret, "").await.0 }
    };
    let add = cognito.add_user_pool_client_secret().user_pool_id(&pool).client_id(&old).client_secret(SECOND_VALUE);
    add.send().await.expect("added");
    let made = machine(&stage.sdk, &pool, "new").client_secret(VALUE).send().await.expect("made");
    let new = made.user_pool_client().and_then(|client| client.client_id()).expect("an id").to_owned();
    stage.clock.advance(5 * SECOND - SECOND / 2);
    assert_eq!((status(old.clone(), SECOND_VALUE).await, status(new.clone(), VALUE).await), (400, 400));
    stage.clock.advance(SECOND / 2);
    assert_eq!((status(old.clone(), SECOND_VALUE).await, status(new.clone(), VALUE).await), (200, 200));

    let delete = cognito.delete_user_pool_client_secret().user_pool_id(&pool).client_id(&old);
    delete.client_secret_id(format!("{old}--1767225600")).send().await.expect("deleted");
    cognito.delete_user_pool_client().user_pool_id(&pool).client_id(&new).send().await.expect("deleted");
    stage.clock.advance(3 * SECOND - SECOND / 2);
    assert_eq!((status(old.clone(), VALUE).await, status(new.clone(), VALUE).await), (200, 200));
    stage.clock.advance(SECOND / 2);
    assert_eq!((status(old.clone(), VALUE).await, status(new.clone(), VALUE).await), (400, 400));
    assert_eq!(status(old, SECOND_VALUE).await, 200);
}

async fn keys(stage: &Stage, pool: &str) -> Value {
    let url = stage.fake.options().endpoints.jwks.replace("{user_pool}", pool);
    let answer = http().get(url).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

/// The claims, if a key of the set has signed them.
fn verified(token: &str, keys: &Value) -> Option<Value> {
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("not a JWS: {token}") };
    let header: Value = serde_json::from_slice(&decode(head)).expect("JSON");
    assert_eq!(header["alg"], "RS256");
    let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"])?;
    let number = |name: &str| decode(key[name].as_str().expect("a number"));
    let key = PublicKeyComponents { n: number("n"), e: number("e") };
    let message = format!("{head}.{claims}");
    key.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &decode(signature)).ok()?;
    Some(serde_json::from_slice(&decode(claims)).expect("JSON"))
}
