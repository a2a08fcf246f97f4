//! `/oauth2/authorize`: what it takes, and how it refuses what it does not.

use aws_sdk_cognitoidentityprovider::types::{IdentityProviderTypeType, OAuthFlowType};

use super::{Stage, put_api};
use crate::fake::REGION;

const BACK: &str = "https://app.example.com/back?of=x";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A pool with a prefix and two SAML providers, and an app client for people that supports the first: its id.
async fn for_people(stage: &Stage) -> String {
    let pool = stage.pool().await;
    let cognito = &stage.sdk.cognito;
    cognito.create_user_pool_domain().user_pool_id(&pool).domain("people").send().await.expect("a domain");
    put_api(&stage.sdk, &pool).await;
    for name in ["First", "Second"] {
        let provider = cognito.create_identity_provider().user_pool_id(&pool).provider_name(name);
        let provider = provider.provider_type(IdentityProviderTypeType::Saml);
        provider.provider_details("MetadataURL", "https://idp.example/x").send().await.expect("a provider");
    }
    let client = cognito.create_user_pool_client().user_pool_id(&pool).client_name("web");
    let client = client.allowed_o_auth_flows_user_pool_client(true).allowed_o_auth_flows(OAuthFlowType::Code);
    let client = client.allowed_o_auth_scopes("openid").allowed_o_auth_scopes("email");
    let client = client.allowed_o_auth_scopes("orders/read").callback_urls(BACK);
    let client = client.supported_identity_providers("COGNITO").supported_identity_providers("First");
    let made = client.send().await.expect("an app client");
    made.user_pool_client().and_then(|client| client.client_id()).expect("an id").to_owned()
}

#[tokio::test]
async fn the_authorize_endpoint_sends_on_what_is_right_and_refuses_the_rest_as_documented() {
    let stage = Stage::set().await;
    let client = for_people(&stage).await;
    let host = format!("people.auth.{REGION}.amazoncognito.com");
    let ask = async |host: &str, parameters: &[(&str, &str)]| {
        let url = format!("https://{host}/oauth2/authorize");
        stage.fake.follow(reqwest::Url::parse_with_params(&url, parameters).expect("a URL").as_str()).await
    };
    let with = |more: &[(&'static str, &'static str)]| {
        let own = [("response_type", "code"), ("client_id", client.as_str()), ("redirect_uri", BACK)];
        let kept = own.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        kept.chain(more.iter().copied()).filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>()
    };
    let pkce = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    for parameters in [
        with(&[]),
        with(&[("scope", "openid email orders/read"), ("state", "a b&c"), ("nonce", "n")]),
        with(&[("identity_provider", "COGNITO"), pkce[0], pkce[1]]),
    ] {
        let (status, place) = ask(&host, &parameters).await;
        assert!(status == 302 && place.starts_with(&format!("https://{host}/login?response_type=code&")), "{place}");
    }
    let (status, place) = ask(&host, &with(&[("identity_provider", "First")])).await;
    assert!(status == 302 && place.starts_with("https://saml.example/First?"), "{place}");

    // Who asks is not known, or where to go back to: nobody is sent anywhere.
    let elsewhere = format!("people.auth.{}.amazoncognito.com", crate::fake::OTHER_REGION);
    for (host, parameters, status) in [
        ("nobody.example", with(&[]), 404),
        (elsewhere.as_str(), with(&[]), 404),
        (&host, with(&[("client_id", "nobody")]), 400),
        (&host, with(&[("client_id", "")]), 400),
        (&host, with(&[("redirect_uri", "https://app.example.com/back")]), 400),
        (&host, with(&[("redirect_uri", "")]), 400),
        (&host, [with(&[]), vec![("redirect_uri", "https://evil.example")]].concat(), 400),
    ] {
        assert_eq!(ask(host, &parameters).await, (status, String::new()), "{parameters:?}");
    }
    for (more, error) in [
        (&[("response_type", "")][..], "invalid_request"),
        (&[("response_type", "id_token")], "invalid_request"),
        (&[("response_type", "token")], "unauthorized_client"),
        (&[("identity_provider", "Second")], "invalid_request"),
        (&[("identity_provider", "Nobody")], "invalid_request"),
        (&[("state", "1"), ("state", "2")], "invalid_request"),
        (&[pkce[0]], "invalid_request"),
        (&[pkce[1]], "invalid_request"),
        (&[pkce[0], ("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge", "short"), pkce[1]], "invalid_request"),
        (&[("scope", "openid orders/write")], "invalid_scope"),
        (&[("scope", "email")], "invalid_scope"),
    ] {
        assert_eq!(ask(&host, &with(more)).await, (302, format!("{BACK}&error={error}")), "{more:?}");
    }
}
