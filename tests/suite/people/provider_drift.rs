//! Identity providers that were changed or taken away by hand, and those that are nobody's.

use std::time::Duration;

use keyward::broker::ports::Wanted;
use keyward::domain::id::{SecretName, VersionId};
use keyward::proto::DriftKind;
use serde_json::json;

use super::drift::{is_on_record, reconcile_all, told};
use super::provider_settings::{url, whole};
use super::providers::{SECRET, oidc, put, saml};
use crate::harness::on_aws::AwsStage;

const ACME: &str = "tenants/acme";
const CHANGED: DriftKind = DriftKind::ChangedSetting;

async fn stage() -> (AwsStage, String) {
    let stage = AwsStage::set().await;
    stage.daemon.create_tenant("acme").await;
    stage.daemon.create_tenant("bigco").await;
    put(&stage.daemon, "bigco", &[oidc("okta")]).await.expect("put");
    let tenant = put(&stage.daemon, "acme", &[oidc("okta")]).await.expect("put");
    let name = tenant.identity_providers[0].provider_name.clone();
    for all in [ACME, "tenants/-"] {
        assert_eq!(reconcile_all(&stage.daemon, all, true).await, [], "{all}");
    }
    (stage, name)
}

#[tokio::test]
async fn a_provider_that_was_changed_or_taken_away_by_hand_is_written_back() {
    let (stage, name) = stage().await;
    let before = stage.fake.provider(&name);
    for (setting, value, field) in [
        ("client_id", json!("evil"), "identity_providers.oidc.client_id"),
        ("client_secret", json!("evil"), "identity_providers.oidc.client_secret"),
        ("oidc_issuer", json!("https://evil.example.com"), "identity_providers.oidc.issuer"),
        ("authorize_scopes", json!("openid"), "identity_providers.oidc.scopes"),
    ] {
        stage.fake.edit_provider(&name, |provider| provider["ProviderDetails"][setting] = value.clone());
        let expected = |mended| vec![(CHANGED, ACME, field, mended)];
        assert_eq!(told(&reconcile_all(&stage.daemon, "tenants/bigco", true).await), [], "it is not theirs");
        assert_eq!(told(&reconcile_all(&stage.daemon, ACME, false).await), expected(false), "{setting}");
        let mended = reconcile_all(&stage.daemon, ACME, true).await;
        assert_eq!(told(&mended), expected(true), "{setting}");
        assert!(!format!("{mended:?}").contains(SECRET));
        assert_eq!(stage.fake.provider(&name)["ProviderDetails"], before["ProviderDetails"], "{setting}");
    }
    stage.fake.edit_provider(&name, |provider| provider["AttributeMapping"]["name"] = json!("evil"));
    let expected = [(CHANGED, ACME, "identity_providers.attribute_mapping", true)];
    assert_eq!(told(&reconcile_all(&stage.daemon, ACME, true).await), expected);
    stage.fake.delete_provider(&name);
    assert_eq!(told(&reconcile_all(&stage.daemon, ACME, true).await), [(DriftKind::Missing, ACME, "", true)]);
    assert_eq!(stage.fake.provider(&name)["ProviderDetails"], before["ProviderDetails"]);
    assert_eq!(reconcile_all(&stage.daemon, "tenants/-", false).await, []);
    stage.strike().await;
}

#[tokio::test]
async fn every_setting_of_either_protocol_is_compared() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    daemon.create_tenant("acme").await;
    let at = "idp.example.com";
    let wanted = [whole("okta", at), saml("adfs", url("https://idp.example.com/metadata"))];
    let tenant = put(daemon, "acme", &wanted).await.expect("put");
    let [okta, adfs] = [0, 1].map(|place| tenant.identity_providers[place].provider_name.clone());
    let evil = || json!("https://evil.example.com");
    for (name, part, setting, value, field) in [
        (&okta, "ProviderDetails", "authorize_url", evil(), "oidc.authorize_url"),
        (&okta, "ProviderDetails", "token_url", evil(), "oidc.token_url"),
        (&okta, "ProviderDetails", "attributes_url", evil(), "oidc.user_info_url"),
        (&okta, "ProviderDetails", "jwks_uri", evil(), "oidc.jwks_uri"),
        (&adfs, "ProviderDetails", "MetadataURL", evil(), "saml.metadata"),
        (&adfs, "ProviderDetails", "IDPSignout", json!("false"), "saml.sign_out"),
        (&adfs, "ProviderDetails", "EncryptedResponses", json!("true"), "saml.encrypted_responses"),
        (&okta, "AttributeMapping", "email", json!("evil"), "attribute_mapping"),
        (&okta, "AttributeMapping", "phone_number", json!("evil"), "attribute_mapping"),
    ] {
        let before = fake.provider(name);
        fake.edit_provider(name, |provider| provider[part][setting] = value.clone());
        let field = format!("identity_providers.{field}");
        for mend in [false, true] {
            assert_eq!(told(&reconcile_all(daemon, ACME, mend).await), [(CHANGED, ACME, field.as_str(), mend)]);
        }
        assert_eq!(fake.provider(name)[part], before[part], "{setting}");
    }
    fake.edit_provider(&okta, |provider| {
        drop(provider["AttributeMapping"].as_object_mut().map(|all| all.remove("email")))
    });
    let expected = [(CHANGED, ACME, "identity_providers.attribute_mapping", true)];
    assert_eq!(told(&reconcile_all(daemon, ACME, true).await), expected);
    // Cognito may write a flag in letters of another case.
    fake.edit_provider(&adfs, |provider| provider["ProviderDetails"]["IDPSignout"] = json!("True"));
    assert_eq!(reconcile_all(daemon, ACME, false).await, []);
    assert!(is_on_record(daemon, "keyward.reconcile/put-identity-provider", ACME).await);
    stage.strike().await;
}

#[tokio::test]
async fn a_secret_that_is_lost_is_missing_until_it_is_restored_or_given_again() {
    let (daemon, backend) = super::daemon().await;
    put(&daemon, "acme", &[oidc("okta")]).await.expect("put");
    let secret = SecretName::parse("name", "keyward/tenants/acme/providers/okta").expect("a name");
    for (window, comes_back) in [(Duration::from_secs(7 * 86_400), true), (Duration::ZERO, false)] {
        backend.0.vault.schedule_deletion(&secret, window).await.expect("deleted");
        for mend in [false, true] {
            let found = reconcile_all(&daemon, ACME, mend).await;
            assert_eq!(told(&found), [(DriftKind::Missing, ACME, "", mend && comes_back)]);
            assert_eq!(found[0].external_id, secret.as_str());
        }
        assert_eq!(reconcile_all(&daemon, ACME, false).await.is_empty(), comes_back);
    }
    assert!(is_on_record(&daemon, "keyward.reconcile/restore-secret", ACME).await);
    daemon.stop().await;
}

#[tokio::test]
async fn a_provider_that_no_tenant_has_is_a_leftover_and_one_that_keyward_did_not_name_is_not() {
    let (stage, name) = stage().await;
    stage.fake.copy_provider(&name, "Google");
    // Of the same tenant, and of one that is no more.
    let (left, gone) = (format!("{}00000000", &name[..name.len() - 8]), "nobody.0123456789-01234567".to_owned());
    for copy in [&left, &gone] {
        stage.fake.copy_provider(&name, copy);
    }
    assert_eq!(told(&reconcile_all(&stage.daemon, "tenants/bigco", true).await), []);
    assert_eq!(told(&reconcile_all(&stage.daemon, ACME, false).await), [(DriftKind::Orphan, ACME, "", false)]);
    let all = reconcile_all(&stage.daemon, "tenants/-", true).await;
    assert_eq!(told(&all), [(DriftKind::Orphan, ACME, "", true), (DriftKind::Orphan, "", "", true)]);
    assert_eq!([&all[0].external_id, &all[1].external_id], [&left, &gone]);
    assert!(is_on_record(&stage.daemon, "keyward.reconcile/delete-identity-provider", ACME).await);
    assert!(!stage.fake.providers().contains(&left) && stage.fake.providers().contains(&"Google".to_owned()));
    assert_eq!(reconcile_all(&stage.daemon, "tenants/-", false).await, []);
    stage.strike().await;
}

#[tokio::test]
async fn a_providers_secret_that_belongs_to_none_is_a_leftover() {
    let (daemon, backend) = super::daemon().await;
    // A SAML provider has no secret.
    let entra = saml("entra", url("https://idp.example.com/metadata"));
    put(&daemon, "acme", &[oidc("okta"), entra]).await.expect("put");
    let place = |provider: &str| SecretName::parse("name", &format!("keyward/tenants/acme/providers/{provider}"));
    let known = backend.0.vault.read(&place("okta").expect("a name"), Wanted::Current).await.expect("read");
    let (name, version) = (place("entra").expect("a name"), VersionId::from_digest(&"0".repeat(64)));
    backend.0.vault.put(&name, &version, &known.expect("there")).await.expect("put");
    for all in ["tenants/acme", "tenants/-"] {
        let found = reconcile_all(&daemon, all, false).await;
        assert_eq!(told(&found), [(DriftKind::Orphan, ACME, "", false)]);
        assert_eq!(found[0].external_id, name.as_str());
    }
    assert_eq!(told(&reconcile_all(&daemon, ACME, true).await), [(DriftKind::Orphan, ACME, "", true)]);
    assert!(is_on_record(&daemon, "keyward.reconcile/schedule-deletion", ACME).await);
    assert_eq!(reconcile_all(&daemon, "tenants/-", false).await, []);
    assert!(backend.0.vault.labels(&place("okta").expect("a name")).await.expect("read").is_some());
    daemon.stop().await;
}
