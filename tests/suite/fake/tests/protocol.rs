//! Signatures and service models: what is refused before an operation sees it.

use aws_sdk_cognitoidentityprovider::types::OAuthFlowType;

use super::{Stage, VALUE, http, machine, put_api, sdk_in};
use crate::fake::signing::ACCESS_KEY_ID;
use crate::fake::{After, Fake, Fault, OTHER_REGION, REGION};
use crate::peers::{Sdk, refusal};

#[tokio::test]
async fn only_a_signature_of_the_known_key_is_taken() {
    let stage = Stage::set().await;
    let ask = |sdk: Sdk| async move { sdk.cognito.list_user_pools().max_results(1).send().await };
    let endpoint = stage.fake.endpoint();
    let forged = Sdk::new(&endpoint, REGION, ACCESS_KEY_ID, "another");
    assert_eq!(refusal(ask(forged).await), "InvalidSignatureException");
    let stranger = Sdk::new(&endpoint, REGION, "AKIASTRANGER", "another");
    assert_eq!(refusal(ask(stranger).await), "UnrecognizedClientException");
    let nowhere = Sdk::new(&endpoint, "nowhere", ACCESS_KEY_ID, super::SECRET_ACCESS_KEY);
    assert_eq!(refusal(ask(nowhere).await), "InvalidSignatureException");
    ask(sdk_in(&stage.fake, OTHER_REGION)).await.expect("signed well");
    let regions: Vec<_> = stage.fake.calls().into_iter().map(|call| call.region).collect();
    assert_eq!(regions, ["", "", "", OTHER_REGION]);

    let (status, error) =
        raw(&stage.fake, "AWSCognitoIdentityProviderService.ListUserPools", r#"{"MaxResults":1}"#).await;
    assert_eq!((status, error.as_str()), (400, "MissingAuthenticationTokenException:"));
}

#[tokio::test]
async fn get_client_token_need_not_be_signed() {
    let stage = Stage::set().await;
    let body = format!(r#"{{"ClientId":"nobody","Secret":"{VALUE}"}}"#);
    let (status, error) = raw(&stage.fake, "AWSCognitoIdentityProviderService.GetClientToken", &body).await;
    assert_eq!((status, error.as_str()), (400, "ResourceNotFoundException:"));
}

#[tokio::test]
async fn what_breaks_the_model_is_refused_and_complained_of_without_its_value() {
    let stage = Stage::set().await;
    let pool = stage.pool().await;
    put_api(&stage.sdk, &pool).await;
    let cognito = &stage.sdk.cognito;
    let expect = |error: String, wanted: &str, complaint: &str| {
        assert_eq!((error.as_str(), &stage.fake.take_complaints()[..]), (wanted, &[complaint.to_owned()][..]));
    };
    let short = machine(&stage.sdk, &pool, "orders").client_secret("short").send().await;
    expect(refusal(short), "InvalidParameterException", "CreateUserPoolClient: ClientSecret has the length 5");
    let odd = machine(&stage.sdk, &pool, "orders").client_secret("with-a-hyphen-that-is-not-allowed").send().await;
    let complaint = r"CreateUserPoolClient: ClientSecret does not match [\w+]+";
    expect(refusal(odd), "InvalidParameterException", complaint);
    let flow = machine(&stage.sdk, &pool, "a").allowed_o_auth_flows(OAuthFlowType::from("device")).send().await;
    let complaint = "CreateUserPoolClient: AllowedOAuthFlows[1] is none of the values of its enum";
    expect(refusal(flow), "InvalidParameterException", complaint);
    let range = cognito.list_user_pools().max_results(61).send().await;
    expect(refusal(range), "InvalidParameterException", "ListUserPools: MaxResults 61 is out of range");
    let missing = cognito.list_user_pools().send().await;
    expect(refusal(missing), "InvalidParameterException", "ListUserPools: MaxResults is required");
    let name = stage.sdk.secrets.create_secret().name("a".repeat(513)).send().await;
    expect(refusal(name), "ValidationException", "CreateSecret: Name has the length 513");
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_there_is_complained_of() {
    let stage = Stage::set().await;
    let unsigned = "AWSCognitoIdentityProviderService.GetClientToken";
    let unknown = format!(r#"{{"ClientId":"nobody","Secret":"{VALUE}","Audience":"x"}}"#);
    assert_eq!(raw(&stage.fake, unsigned, &unknown).await.1, "SerializationException:");
    let mistyped = format!(r#"{{"ClientId":7,"Secret":"{VALUE}"}}"#);
    assert_eq!(raw(&stage.fake, unsigned, &mistyped).await.1, "SerializationException:");
    assert_eq!(raw(&stage.fake, unsigned, "{").await.1, "SerializationException:");
    assert_eq!(raw(&stage.fake, "secretsmanager.StealSecret", "{}").await.1, "UnknownOperationException:");
    let elsewhere = stage.sdk.cognito.list_groups().user_pool_id("eu-central-1_x").send().await;
    assert_eq!(refusal(elsewhere), "UnknownOperationException", "the fake lacks it, so the test must not need it");
    assert_eq!(http().get(stage.fake.endpoint()).send().await.expect("an answer").status().as_u16(), 404);
    assert_eq!(stage.fake.take_complaints().len(), 6);
}

#[tokio::test]
async fn an_error_that_the_operation_does_not_have_is_complained_of() {
    let stage = Stage::set().await;
    stage.fake.fail(After::calls(0), Fault::Error("AliasExistsException"));
    let refused = stage.sdk.cognito.list_user_pools().max_results(1).send().await;
    assert_eq!(refusal(refused), "AliasExistsException");
    assert_eq!(stage.fake.take_complaints(), ["ListUserPools does not answer with AliasExistsException"]);
}

#[tokio::test]
#[should_panic(expected = "ListUserPools: MaxResults is required")]
async fn a_test_that_ends_with_a_complaint_fails() {
    let stage = Stage::set().await;
    assert_eq!(refusal(stage.sdk.cognito.list_user_pools().send().await), "InvalidParameterException");
}

/// Status and error type of an unsigned call.
async fn raw(fake: &Fake, target: &str, body: &str) -> (u16, String) {
    let request = http().post(fake.endpoint()).header("content-type", "application/x-amz-json-1.1");
    let answer = request.header("x-amz-target", target).body(body.to_owned()).send().await.expect("an answer");
    let error = answer.headers().get("x-amzn-errortype").expect("an error type").to_str().expect("text").to_owned();
    (answer.status().as_u16(), error)
}
