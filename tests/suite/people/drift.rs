//! What was changed by hand on an app client for people is told by its fields, and written back.

use keyward::domain::id::AppClientId;
use keyward::proto::{self, DriftKind};
use serde_json::json;

use super::providers::{oidc, put};
use super::{create, new_interactive};
use crate::harness::on_aws::AwsStage;
use crate::harness::outside::secret;
use crate::harness::{Daemon, events};

const PORTAL: &str = "tenants/acme/clients/portal";

pub async fn reconcile_all(daemon: &Daemon, name: &str, mend: bool) -> Vec<proto::Drift> {
    let request = proto::ReconcileTenantRequest { name: name.to_owned(), mend, ..Default::default() };
    daemon.tenants().reconcile_tenant(request).await.expect("reconciled").into_inner().drifts
}

async fn reconcile(daemon: &Daemon, mend: bool) -> Vec<proto::Drift> {
    reconcile_all(daemon, "tenants/acme", mend).await
}

pub fn told(drifts: &[proto::Drift]) -> Vec<(DriftKind, &str, &str, bool)> {
    drifts.iter().map(|drift| (drift.kind(), drift.resource.as_str(), drift.field.as_str(), drift.mended)).collect()
}

/// Whether something was done to it by this method.
pub async fn is_on_record(daemon: &Daemon, method: &str, resource: &str) -> bool {
    events(&daemon.channel).await.iter().any(|event| event.method == method && event.resource == resource)
}

async fn stage() -> (AwsStage, proto::Client) {
    let stage = AwsStage::set().await;
    stage.daemon.create_tenant("acme").await;
    stage.daemon.create_client("acme", "orders").await;
    let client = create(&stage.daemon, new_interactive("acme", "portal")).await;
    assert_eq!(reconcile(&stage.daemon, false).await, [], "it is no leftover and lacks nothing");
    (stage, client)
}

#[tokio::test]
async fn every_setting_of_the_sign_in_is_compared_and_written_back() {
    let (stage, client) = stage().await;
    let before = stage.fake.app_client(&client.app_client_id);
    for (setting, value, field) in [
        ("AllowedOAuthScopes", json!(["openid"]), "scopes"),
        ("AllowedOAuthScopes", json!(["email", "openid", "orders/read", "orders/write"]), "scopes"),
        ("AccessTokenValidity", json!(300), "access_token_validity"),
        ("IdTokenValidity", json!(300), "interactive.id_token_validity"),
        ("RefreshTokenValidity", json!(7_200), "interactive.refresh_token_validity"),
        ("CallbackURLs", json!(["https://evil.example.com"]), "interactive.callback_urls"),
        ("LogoutURLs", json!(["https://evil.example.com"]), "interactive.sign_out_urls"),
        ("SupportedIdentityProviders", json!(["COGNITO", "Evil"]), "interactive.identity_provider_ids"),
        ("AllowedOAuthFlows", json!(["code", "implicit"]), "kind"),
        ("AllowedOAuthFlowsUserPoolClient", json!(false), "kind"),
        ("ExplicitAuthFlows", json!(["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_PASSWORD_AUTH"]), "kind"),
        ("ExplicitAuthFlows", json!([]), "kind"),
    ] {
        stage.fake.set_app_client(&client.app_client_id, setting, value.clone());
        let expected = |mended| vec![(DriftKind::ChangedSetting, PORTAL, field, mended)];
        assert_eq!(told(&reconcile(&stage.daemon, false).await), expected(false), "{setting} {value}");
        assert_eq!(told(&reconcile(&stage.daemon, true).await), expected(true), "{setting} {value}");
        assert_eq!(stage.fake.app_client(&client.app_client_id), before, "{setting}");
        assert_eq!(reconcile(&stage.daemon, false).await, []);
    }
    assert!(is_on_record(&stage.daemon, "keyward.reconcile/update-app-client", PORTAL).await);
    stage.strike().await;
}

#[tokio::test]
async fn what_lets_people_in_past_the_tenants_providers_is_told_and_taken_away() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    daemon.create_tenant("acme").await;
    let okta = put(daemon, "acme", &[oidc("okta")]).await.expect("put").identity_providers[0].provider_name.clone();
    let client = create(daemon, new_interactive("acme", "portal")).await;
    let before = fake.app_client(&client.app_client_id);
    for (setting, value, field) in [
        ("SupportedIdentityProviders", json!([okta, "COGNITO"]), "interactive.allow_native_accounts"),
        ("SupportedIdentityProviders", json!([okta, "Evil"]), "interactive.identity_provider_ids"),
        ("SupportedIdentityProviders", json!([]), "interactive.identity_provider_ids"),
        ("ExplicitAuthFlows", json!(["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"]), "kind"),
    ] {
        fake.set_app_client(&client.app_client_id, setting, value.clone());
        for mend in [false, true] {
            let expected = [(DriftKind::ChangedSetting, PORTAL, field, mend)];
            assert_eq!(told(&reconcile(daemon, mend).await), expected, "{setting} {value}");
        }
        assert_eq!(fake.app_client(&client.app_client_id), before, "{setting} {value}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_secret_that_somebody_gave_it_is_told_and_stays() {
    let (daemon, backend) = super::daemon().await;
    let client = create(&daemon, new_interactive("acme", "portal")).await;
    let pool = backend.made(&client.pool).await;
    let app_client = AppClientId::parse("client", &client.app_client_id).expect("an id");
    backend.0.user_pools.add_secret(&pool, &app_client, &secret(1)).await.expect("added");
    for mend in [false, true] {
        let found = reconcile(&daemon, mend).await;
        assert_eq!(told(&found), [(DriftKind::ChangedSetting, PORTAL, "kind", false)]);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_for_people_that_is_gone_is_missing_and_not_made_anew() {
    let (stage, client) = stage().await;
    stage.fake.delete_app_client(&client.app_client_id);
    for mend in [false, true] {
        let found = reconcile(&stage.daemon, mend).await;
        assert_eq!(told(&found), [(DriftKind::Missing, PORTAL, "", false)]);
        assert_eq!(found[0].external_id, client.app_client_id);
    }
    stage.strike().await;
}
