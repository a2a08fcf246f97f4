//! What becomes of a client for people at Cognito, on the strict fake.

use keyward::proto;
use serde_json::{Value, json};

use super::{BACK, DAY, HOUR, create, named, new_interactive, settings, update, with};
use crate::harness::on_aws::AwsStage;
use crate::harness::span;

/// Members of an app client, in the order in which they are asked for.
fn members(client: &Value, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| client[*name].clone()).collect()
}

const SIGN_IN: &[&str] = &[
    "AllowedOAuthFlows",
    "AllowedOAuthFlowsUserPoolClient",
    "CallbackURLs",
    "LogoutURLs",
    "SupportedIdentityProviders",
    "ExplicitAuthFlows",
    "PreventUserExistenceErrors",
    "EnableTokenRevocation",
];

#[tokio::test]
async fn an_app_client_for_people_has_no_secret_and_the_authorization_code_grant_alone() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    daemon.create_tenant("acme").await;
    let client = create(daemon, new_interactive("acme", "portal")).await;
    let made = fake.app_client(&client.app_client_id);
    let native = json!(["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]);
    let expected = [
        json!(["code"]),
        json!(true),
        json!([BACK]),
        json!([]),
        json!(["COGNITO"]),
        native.clone(),
        json!("ENABLED"),
        json!(true),
    ];
    assert_eq!(members(&made, SIGN_IN), expected);
    assert_eq!(made["AllowedOAuthScopes"], json!(["openid", "orders/read", "orders/write"]));
    assert_eq!(
        made["TokenValidityUnits"],
        json!({ "AccessToken": "seconds", "IdToken": "seconds", "RefreshToken": "seconds" })
    );
    let lives = ["AccessTokenValidity", "IdTokenValidity", "RefreshTokenValidity"];
    assert_eq!(members(&made, &lives), [json!(3_600), json!(3_600), json!(30 * 86_400)]);
    let [only] = &fake.inventory().app_clients[..] else { panic!("one app client") };
    assert_eq!((only.secrets.len(), fake.inventory().secrets.len()), (0, 0));

    // What others have set stays.
    fake.set_app_client(&client.app_client_id, "AuthSessionValidity", json!(5));
    let mut wanted = client.clone();
    *settings(&mut wanted) = proto::InteractiveSettings {
        callback_urls: vec!["https://b.example.com/".to_owned(), "https://c.example.com/".to_owned()],
        sign_out_urls: vec![BACK.to_owned()],
        id_token_validity: span(HOUR / 4),
        refresh_token_validity: span(DAY),
        ..Default::default()
    };
    let (interactive, access_token_validity) = (wanted.interactive, span(HOUR / 2));
    let patch = proto::Client { interactive, access_token_validity, ..named(&client.name) };
    daemon.clients().update_client(update(patch, &[])).await.expect("updated");
    let made = fake.app_client(&client.app_client_id);
    let expected = [
        json!(["code"]),
        json!(true),
        json!(["https://b.example.com/", "https://c.example.com/"]),
        json!([BACK]),
        json!(["COGNITO"]),
        native,
        json!("ENABLED"),
        json!(true),
    ];
    assert_eq!(members(&made, SIGN_IN), expected);
    assert_eq!(members(&made, &lives), [json!(1_800), json!(900), json!(86_400)]);
    assert_eq!(made["AuthSessionValidity"], json!(5));

    let request = proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    assert_eq!(fake.inventory().app_clients, []);
    stage.strike().await;
}

#[tokio::test]
async fn a_tenant_goes_with_its_clients_for_people_and_machines() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    daemon.create_tenant("acme").await;
    create(daemon, new_interactive("acme", "portal")).await;
    create(daemon, with(new_interactive("acme", "admin"), |client| settings(client).allow_native_accounts = true))
        .await;
    daemon.create_client("acme", "orders").await;
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    let inventory = fake.inventory();
    assert_eq!((inventory.app_clients, inventory.secrets), (vec![], vec![]));
    stage.strike().await;
}

#[tokio::test]
async fn rotation_of_refresh_tokens_that_others_have_turned_on_stays_and_is_no_drift() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    daemon.create_tenant("acme").await;
    let client = create(daemon, new_interactive("acme", "portal")).await;
    let rotation = json!({ "Feature": "ENABLED", "RetryGracePeriodSeconds": 10 });
    fake.set_app_client(&client.app_client_id, "RefreshTokenRotation", rotation.clone());
    fake.set_app_client(&client.app_client_id, "ExplicitAuthFlows", json!(["ALLOW_USER_SRP_AUTH"]));
    assert_eq!(super::drift::reconcile_all(daemon, "tenants/acme", false).await, []);
    let patch = proto::Client { access_token_validity: span(HOUR / 2), ..named(&client.name) };
    daemon.clients().update_client(update(patch, &["access_token_validity"])).await.expect("updated");
    let made = fake.app_client(&client.app_client_id);
    assert_eq!((&made["RefreshTokenRotation"], &made["AccessTokenValidity"]), (&rotation, &json!(1_800)));
    assert_eq!(super::drift::reconcile_all(daemon, "tenants/acme", false).await, []);
    stage.strike().await;
}
