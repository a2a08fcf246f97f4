//! Every setting of an identity provider: shown as it was given, at Cognito under its name, and changed by a change.

use keyward::broker::ports::Shelf;
use keyward::proto::identity_provider::Protocol;
use keyward::proto::saml_provider::Metadata;
use keyward::proto::{self, Isolation};
use serde_json::json;

use super::providers::{SECRET, XML, document, oidc, onboard, put, saml, shown};
use crate::harness::assert_invalid;
use crate::harness::on_aws::AwsStage;

pub fn url(url: &str) -> Metadata {
    Metadata::MetadataUrl(url.to_owned())
}

pub fn oidc_of(provider: &mut proto::IdentityProvider) -> &mut proto::OidcProvider {
    match provider.protocol.as_mut() {
        Some(Protocol::Oidc(oidc)) => oidc,
        other => panic!("{other:?}"),
    }
}

/// With everything that can be set, at this host.
pub fn whole(id: &str, host: &str) -> proto::IdentityProvider {
    let mut provider = oidc(id);
    *oidc_of(&mut provider) = proto::OidcProvider {
        issuer: format!("https://{host}"),
        client_id: format!("keyward-at-{host}"),
        client_secret: SECRET.to_owned(),
        scopes: ["openid", host].map(str::to_owned).to_vec(),
        authorize_url: format!("https://{host}/authorize"),
        token_url: format!("https://{host}/token"),
        user_info_url: format!("https://{host}/me"),
        jwks_uri: format!("https://{host}/keys"),
    };
    provider.attribute_mapping.insert("name".to_owned(), format!("name-at-{host}"));
    provider
}

#[tokio::test]
async fn whatever_is_set_of_a_provider_is_shown_and_is_at_cognito_and_can_be_changed() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    for (host, sign_out) in [("a.example.com", true), ("b.example.com", false)] {
        let mut adfs = saml("adfs", url(&format!("https://{host}/metadata")));
        let Some(Protocol::Saml(settings)) = &mut adfs.protocol else { panic!("SAML") };
        (settings.sign_out, settings.encrypted_responses) = (sign_out, !sign_out);
        let wanted = [whole("okta", host), adfs];
        let tenant = match sign_out {
            true => onboard(daemon, "acme", Isolation::AppClient, &wanted).await,
            false => put(daemon, "acme", &wanted).await.expect("changed"),
        };
        let as_shown: Vec<_> = wanted.iter().map(|provider| shown(provider.clone(), &tenant)).collect();
        assert_eq!(tenant.identity_providers, as_shown);
        let okta = fake.provider(&tenant.identity_providers[0].provider_name);
        let expected = json!({
            "client_id": format!("keyward-at-{host}"),
            "client_secret": SECRET,
            "attributes_request_method": "GET",
            "oidc_issuer": format!("https://{host}"),
            "authorize_scopes": format!("openid {host}"),
            "authorize_url": format!("https://{host}/authorize"),
            "token_url": format!("https://{host}/token"),
            "attributes_url": format!("https://{host}/me"),
            "jwks_uri": format!("https://{host}/keys"),
        });
        assert_eq!(okta["ProviderDetails"], expected);
        assert_eq!(
            okta["AttributeMapping"],
            json!({ "email": "email", "name": format!("name-at-{host}"), "username": "sub" })
        );
        let expected = json!({
            "MetadataURL": format!("https://{host}/metadata"),
            "IDPSignout": sign_out.to_string(),
            "EncryptedResponses": (!sign_out).to_string(),
        });
        assert_eq!(fake.provider(&tenant.identity_providers[1].provider_name)["ProviderDetails"], expected);
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_document_that_gave_way_to_a_url_is_gone_and_cannot_be_kept() {
    let (daemon, backend) = super::daemon().await;
    let is_there =
        async || backend.0.registry.get(Shelf::ProviderDocument, "acme/entra").await.expect("read").is_some();
    for text in [XML, "\u{feff}\r\n\t<EntityDescriptor/>\n"] {
        put(&daemon, "acme", &[saml("entra", document(text))]).await.expect("a document");
        assert!(is_there().await);
    }
    put(&daemon, "acme", &[saml("entra", url("https://idp.example.com"))]).await.expect("a URL");
    assert!(!is_there().await);
    let kept = put(&daemon, "acme", &[saml("entra", document(""))]).await;
    assert_invalid(kept, "FIELD_INVALID", "tenant.identity_providers[0].saml.metadata_xml");
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_too_long_or_of_the_wrong_characters_is_refused_by_its_field() {
    let (daemon, _) = super::daemon().await;
    let edited = |edit: &dyn Fn(&mut proto::OidcProvider)| {
        let mut provider = oidc("okta");
        edit(oidc_of(&mut provider));
        provider
    };
    let mapped = |mapping: Vec<(String, String)>| proto::IdentityProvider {
        attribute_mapping: mapping.into_iter().collect(),
        ..oidc("okta")
    };
    let mail = || "mail".to_owned();
    let scopes = |count: usize| (0..count).map(|n| format!("scope-{n}")).chain(["openid".to_owned()]).collect();
    let right = [
        edited(&|oidc| oidc.client_id = "x".repeat(1_024)),
        edited(&|oidc| oidc.scopes = scopes(49)),
        edited(&|oidc| oidc.scopes.extend(["openid".to_owned(), "x".repeat(256)])),
        mapped(vec![("x".repeat(32), "\u{e9}".repeat(2_048))]),
        mapped((0..50).map(|n| (format!("custom:{n}"), mail())).collect()),
    ];
    for provider in right {
        put(&daemon, "acme", &[provider]).await.expect("right");
    }
    // Fewer than 102,400 characters, more than 180,000 bytes.
    let wide = format!("<{}/>", "\u{e9}".repeat(90_000));
    for (provider, field) in [
        (edited(&|oidc| oidc.client_id = "x".repeat(1_025)), ".oidc.client_id"),
        (edited(&|oidc| oidc.client_id = "two words".to_owned()), ".oidc.client_id"),
        (edited(&|oidc| oidc.scopes = scopes(50)), ".oidc.scopes"),
        (edited(&|oidc| oidc.scopes.extend(["openid".to_owned(), "x".repeat(257)])), ".oidc.scopes"),
        (edited(&|oidc| oidc.scopes.extend(["openid".to_owned(), String::new()])), ".oidc.scopes"),
        (edited(&|oidc| oidc.issuer = format!("https://example.com/{}", "x".repeat(1_005))), ".oidc.issuer"),
        (saml("entra", document("<a>\0</a>")), ".saml.metadata_xml"),
        (saml("entra", document(&wide)), ".saml.metadata_xml"),
        (mapped((0..51).map(|n| (format!("custom:{n}"), mail())).collect()), ".attribute_mapping"),
        (mapped(vec![("e mail".to_owned(), mail())]), ".attribute_mapping"),
        (mapped(vec![(mail(), "\u{e9}".repeat(2_049))]), ".attribute_mapping"),
        (mapped(vec![(mail(), "a\nb".to_owned())]), ".attribute_mapping"),
    ] {
        let refused = put(&daemon, "acme", &[provider]).await;
        assert_invalid(refused, "FIELD_INVALID", &format!("tenant.identity_providers[0]{field}"));
    }
    // Both would be called the same in the pool.
    let alike = put(&daemon, "acme", &[oidc("p-85131"), oidc("p-91748")]).await;
    assert_invalid(alike, "FIELD_INVALID", "tenant.identity_providers[1].provider_id");
    daemon.stop().await;
}
