//! A tenant's identity providers: what is set and shown, what is at Cognito, and who may sign in by which.

use std::time::Duration;

use keyward::broker::ports::{Shelf, Wanted};
use keyward::domain::id::SecretName;
use keyward::domain::tenant::Tenant;
use keyward::proto::identity_provider::Protocol;
use keyward::proto::saml_provider::Metadata;
use keyward::proto::{self, Isolation};
use serde_json::json;
use tonic::Code;

use super::{create, new_interactive, reasons, settings, update, with};
use crate::fake::{After, Fault};
use crate::harness::on_aws::AwsStage;
use crate::harness::{Daemon, assert_invalid, details, events, get_tenant, mask, new_tenant, refusal};

pub const SECRET: &str = "provider-s3cret-that-nobody-sees";
pub const XML: &str = "<EntityDescriptor entityID=\"https://idp.example.com\"/>";

pub fn oidc(id: &str) -> proto::IdentityProvider {
    proto::IdentityProvider {
        provider_id: id.to_owned(),
        protocol: Some(Protocol::Oidc(proto::OidcProvider {
            issuer: "https://login.example.com".to_owned(),
            client_id: "keyward".to_owned(),
            client_secret: SECRET.to_owned(),
            ..Default::default()
        })),
        attribute_mapping: [("email".to_owned(), "email".to_owned())].into_iter().collect(),
        ..Default::default()
    }
}

pub fn saml(id: &str, metadata: Metadata) -> proto::IdentityProvider {
    let saml = proto::SamlProvider { metadata: Some(metadata), sign_out: true, encrypted_responses: false };
    proto::IdentityProvider { provider_id: id.to_owned(), protocol: Some(Protocol::Saml(saml)), ..Default::default() }
}

pub fn document(text: &str) -> Metadata {
    Metadata::MetadataXml(text.to_owned())
}

pub async fn put(
    daemon: &Daemon,
    id: &str,
    providers: &[proto::IdentityProvider],
) -> Result<proto::Tenant, tonic::Status> {
    let name = format!("tenants/{id}");
    let tenant = proto::Tenant { name, identity_providers: providers.to_vec(), ..Default::default() };
    let update_mask = mask(&["identity_providers"]);
    let request = proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() };
    Ok(daemon.tenants().update_tenant(request).await?.into_inner())
}

pub async fn onboard(
    daemon: &Daemon,
    id: &str,
    isolation: Isolation,
    providers: &[proto::IdentityProvider],
) -> proto::Tenant {
    let mut request = new_tenant(id, isolation);
    request.tenant.as_mut().expect("set").identity_providers = providers.to_vec();
    daemon.tenants().create_tenant(request).await.expect("created").into_inner()
}

/// As it is shown: with its name, without what is secret or long.
pub fn shown(provider: proto::IdentityProvider, of: &proto::Tenant) -> proto::IdentityProvider {
    let has = of.identity_providers.iter().find(|has| has.provider_id == provider.provider_id).expect("it has it");
    let mut provider = proto::IdentityProvider { provider_name: has.provider_name.clone(), ..provider };
    match provider.protocol.as_mut().expect("set") {
        Protocol::Oidc(oidc) => {
            oidc.client_secret.clear();
            if oidc.scopes.is_empty() {
                oidc.scopes = vec!["openid".to_owned(), "email".to_owned()];
            }
        }
        Protocol::Saml(saml) => {
            if let Some(Metadata::MetadataXml(text)) = &mut saml.metadata {
                text.clear();
            }
        }
    }
    provider
}

#[tokio::test]
async fn providers_of_both_protocols_are_made_in_either_isolation_and_shown_without_their_secrets() {
    for isolation in [Isolation::AppClient, Isolation::UserPool] {
        let stage = AwsStage::set().await;
        let AwsStage { daemon, fake, .. } = &stage;
        let url = Metadata::MetadataUrl("https://idp.example.com/metadata".to_owned());
        let wanted = [oidc("okta"), saml("entra", document(XML)), saml("adfs", url)];
        let tenant = onboard(daemon, "acme", isolation, &wanted).await;
        assert_eq!(tenant.state(), proto::TenantState::Active);
        let as_shown: Vec<_> = wanted.iter().map(|provider| shown(provider.clone(), &tenant)).collect();
        assert_eq!(tenant.identity_providers, as_shown);
        let [okta, entra, adfs] = &tenant.identity_providers[..] else { panic!("three") };
        let made = fake.provider(&okta.provider_name);
        let expected = json!({
            "client_id": "keyward",
            "client_secret": SECRET,
            "attributes_request_method": "GET",
            "oidc_issuer": "https://login.example.com",
            "authorize_scopes": "openid email",
        });
        assert_eq!((&made["ProviderType"], &made["ProviderDetails"]), (&json!("OIDC"), &expected));
        assert_eq!(made["AttributeMapping"], json!({ "email": "email", "username": "sub" }));
        let expected = json!({ "MetadataFile": XML, "IDPSignout": "true", "EncryptedResponses": "false" });
        assert_eq!(fake.provider(&entra.provider_name)["ProviderDetails"], expected);
        assert_eq!(
            fake.provider(&adfs.provider_name)["ProviderDetails"]["MetadataURL"],
            json!("https://idp.example.com/metadata")
        );
        assert_eq!(fake.inventory().secrets, ["keyward/tenants/acme/providers/okta"]);
        assert!(!format!("{:?}", events(&daemon.channel).await).contains(SECRET));

        let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
        daemon.tenants().delete_tenant(request).await.expect("deleted");
        assert_eq!((fake.providers(), fake.inventory().secrets), (vec![], vec![]));
        stage.strike().await;
    }
}

/// "The ListSecrets operation is eventually consistent, and it might not reflect changes from the last five minutes."
#[tokio::test]
async fn the_secret_of_a_provider_goes_with_its_tenant_although_no_listing_tells_of_it_yet() {
    for isolation in [Isolation::AppClient, Isolation::UserPool] {
        let stage = AwsStage::set().await;
        let AwsStage { daemon, fake, .. } = &stage;
        fake.list_secrets_late(Duration::from_secs(5 * 60));
        onboard(daemon, "acme", isolation, &[oidc("okta"), saml("entra", document(XML))]).await;
        assert_eq!(fake.inventory().secrets, ["keyward/tenants/acme/providers/okta"]);
        let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
        daemon.tenants().delete_tenant(request).await.expect("deleted");
        assert_eq!((fake.providers(), fake.inventory().secrets), (vec![], vec![]));
        stage.strike().await;
    }
}

#[tokio::test]
async fn a_change_leaves_the_secret_and_the_document_that_it_does_not_give() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    let tenant = onboard(daemon, "acme", Isolation::AppClient, &[oidc("okta"), saml("entra", document(XML))]).await;
    // As it was read, and sent back with a change.
    let mut wanted = tenant.identity_providers.clone();
    for provider in &mut wanted {
        match provider.protocol.as_mut().expect("set") {
            Protocol::Oidc(oidc) => oidc.client_id = "another".to_owned(),
            Protocol::Saml(saml) => saml.sign_out = false,
        }
    }
    let changed = put(daemon, "acme", &wanted).await.expect("changed");
    assert_eq!(changed.identity_providers, wanted);
    let okta = fake.provider(&wanted[0].provider_name);
    assert_eq!(
        (&okta["ProviderDetails"]["client_id"], &okta["ProviderDetails"]["client_secret"]),
        (&json!("another"), &json!(SECRET))
    );
    let entra = fake.provider(&wanted[1].provider_name);
    assert_eq!(
        (&entra["ProviderDetails"]["MetadataFile"], &entra["ProviderDetails"]["IDPSignout"]),
        (&json!(XML), &json!("false"))
    );

    let mut wanted = wanted.clone();
    if let Some(Protocol::Oidc(oidc)) = &mut wanted[0].protocol {
        oidc.client_secret = "another-s3cret".to_owned();
    }
    let other = "<EntityDescriptor/>";
    wanted[1] = saml("entra", document(other));
    put(daemon, "acme", &wanted).await.expect("changed");
    assert_eq!(fake.provider(&wanted[0].provider_name)["ProviderDetails"]["client_secret"], json!("another-s3cret"));
    let name = &tenant.identity_providers[1].provider_name;
    assert_eq!(fake.provider(name)["ProviderDetails"]["MetadataFile"], json!(other));

    // With the same secret again there is no other version, and nothing to do without a change.
    let versions = fake.secret_versions("keyward/tenants/acme/providers/okta");
    fake.forget_calls();
    put(daemon, "acme", &wanted).await.expect("unchanged");
    assert!(!fake.calls().iter().any(|call| call.action.starts_with("cognito-idp:")), "{:?}", fake.calls());
    assert_eq!(fake.secret_versions("keyward/tenants/acme/providers/okta"), versions);
    stage.strike().await;
}

#[tokio::test]
async fn a_tenants_people_sign_in_by_its_own_providers_and_by_no_others() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    let acme = onboard(daemon, "acme", Isolation::AppClient, &[oidc("okta"), oidc("entra")]).await;
    let bigco = onboard(daemon, "bigco", Isolation::AppClient, &[oidc("okta")]).await;
    assert_eq!(acme.pool, bigco.pool);
    let name = |tenant: &proto::Tenant, place: usize| tenant.identity_providers[place].provider_name.clone();
    let supported =
        |client: &proto::Client| fake.app_client(&client.app_client_id)["SupportedIdentityProviders"].clone();
    let flows = |client: &proto::Client| fake.app_client(&client.app_client_id)["ExplicitAuthFlows"].clone();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        json!(names)
    };

    let all = create(daemon, new_interactive("acme", "portal")).await;
    assert_eq!(supported(&all), sorted(vec![name(&acme, 0), name(&acme, 1)]));
    assert_eq!((flows(&all), reasons(&all)), (json!(["ALLOW_REFRESH_TOKEN_AUTH"]), Vec::<&str>::new()));
    let one = with(new_interactive("acme", "admin"), |client| {
        settings(client).identity_provider_ids = vec!["entra".to_owned()];
    });
    let one = create(daemon, one).await;
    assert_eq!(supported(&one), json!([name(&acme, 1)]));
    let native = with(new_interactive("bigco", "portal"), |client| settings(client).allow_native_accounts = true);
    let native = create(daemon, native).await;
    assert_eq!(supported(&native), json!([name(&bigco, 0), "COGNITO"]));
    assert_eq!(reasons(&native), ["NATIVE_ACCOUNTS_IN_SHARED_POOL"]);
    let stranger = with(new_interactive("bigco", "admin"), |client| {
        settings(client).identity_provider_ids = vec!["entra".to_owned()];
    });
    let refused = daemon.clients().create_client(stranger).await;
    assert_invalid(refused, "FIELD_INVALID", "client.interactive.identity_provider_ids");

    // What a client names cannot be taken away; what all have goes from all.
    let refused = put(daemon, "acme", &acme.identity_providers[..1]).await.expect_err("in use");
    let told = details(&refused);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "PROVIDER_IN_USE"));
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there").identity_providers, acme.identity_providers);
    put(daemon, "acme", &acme.identity_providers[1..]).await.expect("nobody names it");
    assert_eq!((supported(&all), supported(&one)), (json!([name(&acme, 1)]), json!([name(&acme, 1)])));
    assert_eq!(sorted(fake.providers()), sorted(vec![name(&acme, 1), name(&bigco, 0)]));
    assert_eq!(
        fake.inventory().secrets,
        ["keyward/tenants/acme/providers/entra", "keyward/tenants/bigco/providers/okta"]
    );
    // One that comes is offered at once where all are.
    let more = [acme.identity_providers[1].clone(), saml("adfs", document(XML))];
    let now = put(daemon, "acme", &more).await.expect("added");
    assert_eq!(supported(&all), sorted(vec![name(&now, 0), name(&now, 1)]));
    assert_eq!(supported(&one), json!([name(&acme, 1)]));
    assert_eq!(supported(&native), json!([name(&bigco, 0), "COGNITO"]), "a neighbour notices nothing");

    let mut patch = one.clone();
    settings(&mut patch).identity_provider_ids.clear();
    patch.etag.clear();
    daemon.clients().update_client(update(patch, &["interactive"])).await.expect("updated");
    assert_eq!(supported(&one), sorted(vec![name(&now, 0), name(&now, 1)]));
    // Without any, accounts of the pool are what is left.
    put(daemon, "acme", &[]).await.expect("nobody names one");
    assert_eq!((supported(&all), supported(&one)), (json!(["COGNITO"]), json!(["COGNITO"])));
    assert_eq!(fake.providers(), [name(&bigco, 0)]);
    stage.strike().await;
}

#[tokio::test]
async fn providers_that_break_a_rule_are_refused_by_their_field() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, .. } = &stage;
    daemon.create_tenant("acme").await;
    let edited = |edit: &dyn Fn(&mut proto::OidcProvider)| {
        let mut provider = oidc("okta");
        if let Some(Protocol::Oidc(oidc)) = &mut provider.protocol {
            edit(oidc);
        }
        provider
    };
    let bare = |id: &str| proto::IdentityProvider { provider_id: id.to_owned(), ..Default::default() };
    let mapped = |attribute: &str, claim: &str| proto::IdentityProvider {
        attribute_mapping: [(attribute.to_owned(), claim.to_owned())].into_iter().collect(),
        ..oidc("okta")
    };
    let long = format!("<{}>", "x".repeat(102_400));
    for (provider, field) in [
        (bare("okta"), ""),
        (oidc("Okta"), ".provider_id"),
        (edited(&|oidc| oidc.issuer = "http://login.example.com".to_owned()), ".oidc.issuer"),
        (edited(&|oidc| oidc.issuer.clear()), ".oidc.issuer"),
        (edited(&|oidc| oidc.client_id.clear()), ".oidc.client_id"),
        (edited(&|oidc| oidc.client_secret.clear()), ".oidc.client_secret"),
        (edited(&|oidc| oidc.client_secret = "with space".to_owned()), ".oidc.client_secret"),
        (edited(&|oidc| oidc.scopes = vec!["email".to_owned()]), ".oidc.scopes"),
        (edited(&|oidc| oidc.scopes = vec!["openid".to_owned(), "a b".to_owned()]), ".oidc.scopes"),
        (edited(&|oidc| oidc.authorize_url = "https://a.example.com#".to_owned()), ".oidc.authorize_url"),
        (edited(&|oidc| oidc.token_url = "x".to_owned()), ".oidc.token_url"),
        (edited(&|oidc| oidc.user_info_url = "ftp://x".to_owned()), ".oidc.user_info_url"),
        (edited(&|oidc| oidc.jwks_uri = "https://u:p@x.example".to_owned()), ".oidc.jwks_uri"),
        (saml("entra", Metadata::MetadataUrl("http://idp.example.com".to_owned())), ".saml.metadata_url"),
        (saml("entra", document("")), ".saml.metadata_xml"),
        (saml("entra", document("not xml")), ".saml.metadata_xml"),
        (saml("entra", document(&long)), ".saml.metadata_xml"),
        (mapped("", "email"), ".attribute_mapping"),
        (mapped("email", ""), ".attribute_mapping"),
        (mapped(&"x".repeat(33), "email"), ".attribute_mapping"),
    ] {
        let refused = put(daemon, "acme", &[provider]).await;
        assert_invalid(refused, "FIELD_INVALID", &format!("tenant.identity_providers[0]{field}"));
    }
    let refused = put(daemon, "acme", &[oidc("okta"), oidc("okta")]).await;
    assert_invalid(refused, "FIELD_INVALID", "tenant.identity_providers[1].provider_id");
    let many: Vec<_> = (0..21).map(|n| oidc(&format!("okta-{n}"))).collect();
    assert_invalid(put(daemon, "acme", &many).await, "FIELD_INVALID", "tenant.identity_providers");
    put(daemon, "acme", &[oidc("okta")]).await.expect("right");
    let other = put(daemon, "acme", &[saml("okta", document(XML))]).await;
    assert_invalid(other, "FIELD_INVALID", "tenant.identity_providers[0]");
    stage.strike().await;
}

#[tokio::test]
async fn a_pool_that_is_full_of_providers_is_left_for_another_and_people_stay_where_they_are() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    let home = daemon.create_tenant("acme").await.pool;
    create(daemon, new_interactive("acme", "portal")).await;
    assert_eq!(daemon.create_tenant("bigco").await.pool, home);
    fake.fill_with_providers(300);
    let refused = refusal(put(daemon, "acme", &[oidc("okta")]).await);
    assert_eq!(refused, (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there").identity_providers, []);
    assert_eq!(fake.inventory().secrets, Vec::<String>::new(), "nothing was begun");
    let bigco = put(daemon, "bigco", &[oidc("okta")]).await.expect("it goes elsewhere");
    assert_ne!(bigco.pool, home);
    assert_eq!(create(daemon, new_interactive("bigco", "portal")).await.pool, bigco.pool);
    let third = onboard(daemon, "third", Isolation::AppClient, &[oidc("okta")]).await;
    assert_eq!(third.pool, bigco.pool);
    stage.strike().await;
}

#[tokio::test]
async fn a_secret_of_a_provider_is_in_no_record() {
    let (daemon, backend) = super::daemon().await;
    put(&daemon, "acme", &[oidc("okta"), saml("entra", document(XML))]).await.expect("put");
    for shelf in Shelf::ALL {
        for record in backend.0.registry.scan(shelf, "", None, 1_000).await.expect("read") {
            assert!(!String::from_utf8_lossy(&record.body).contains(SECRET), "{shelf:?} {}", record.key);
        }
    }
    let name = SecretName::parse("name", "keyward/tenants/acme/providers/okta").expect("a name");
    let current = backend.0.vault.read(&name, Wanted::Current).await.expect("read").expect("current");
    assert_eq!(current.client_secret.expose(), SECRET);
    assert_eq!((current.issuer.as_str(), current.scopes.as_str()), ("https://login.example.com", "openid email"));
    let tenant: Tenant = backend.record(Shelf::Tenant, "acme").await.expect("there");
    assert!(!format!("{tenant:?}").contains(XML), "a document is on a shelf of its own");
    assert!(backend.0.registry.get(Shelf::ProviderDocument, "acme/entra").await.expect("read").is_some());
    put(&daemon, "acme", &[oidc("okta")]).await.expect("put");
    assert!(backend.0.registry.get(Shelf::ProviderDocument, "acme/entra").await.expect("read").is_none());
    assert_eq!(backend.journals().await, []);
    daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_that_somebody_has_deleted_holds_up_no_change_of_providers() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    daemon.create_tenant("acme").await;
    let portal = create(daemon, new_interactive("acme", "portal")).await;
    fake.delete_app_client(&portal.app_client_id);
    let acme = put(daemon, "acme", &[oidc("okta")]).await.expect("a reconciliation tells of that");
    assert_eq!(fake.providers(), [acme.identity_providers[0].provider_name.clone()]);
    stage.strike().await;
}

#[tokio::test]
async fn a_pools_settings_and_providers_change_in_one_call() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    onboard(daemon, "acme", Isolation::UserPool, &[]).await;
    let tenant = proto::Tenant {
        name: "tenants/acme".to_owned(),
        user_pool: Some(proto::UserPoolSettings { deletion_protection: true, ..Default::default() }),
        identity_providers: vec![oidc("okta")],
        ..Default::default()
    };
    let update_mask = mask(&["user_pool.deletion_protection", "identity_providers"]);
    let request = proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() };
    let changed = daemon.tenants().update_tenant(request).await.expect("changed").into_inner();
    assert!(changed.user_pool.is_some_and(|settings| settings.deletion_protection));
    assert_eq!(fake.providers(), [changed.identity_providers[0].provider_name.clone()]);
    stage.strike().await;
}

#[tokio::test]
async fn a_provider_that_keeps_a_tenant_from_coming_is_changed_and_nothing_of_the_first_try_is_left() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    for (id, isolation) in [("acme", Isolation::AppClient), ("bigco", Isolation::UserPool)] {
        let refusal = Fault::Error("InvalidParameterException");
        fake.fail(After::calls(1).of("CreateIdentityProvider"), refusal);
        let refused = onboard(daemon, id, isolation, &[oidc("okta"), oidc("entra")]).await;
        assert_eq!(refused.state(), proto::TenantState::Creating);
        assert!(refused.state_reason.contains("the identity provider entra"), "{refused:?}");
        let changed = put(daemon, id, &[saml("entra", document(XML)), oidc("ping")]).await;
        assert_invalid(changed, "FIELD_INVALID", "tenant.identity_providers[0]");
        let changed = put(daemon, id, &[saml("adfs", document(XML))]).await.expect("changed");
        assert_eq!((changed.state(), changed.state_reason.as_str()), (proto::TenantState::Active, ""));
        assert_eq!(fake.providers(), [changed.identity_providers[0].provider_name.clone()]);
        let portal = create(daemon, new_interactive(id, "portal")).await;
        assert_eq!(fake.app_client(&portal.app_client_id)["SupportedIdentityProviders"], json!(fake.providers()));
        let request = proto::DeleteTenantRequest { name: format!("tenants/{id}"), ..Default::default() };
        daemon.tenants().delete_tenant(request).await.expect("deleted");
    }
    stage.strike().await;
}
