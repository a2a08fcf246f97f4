//! Where a tenant's identity providers are, and that what is on a later page of a list is found too.

use keyward::broker::ports::{Action, ChangeSet, Shelf, Write};
use keyward::domain::client::Client;
use keyward::domain::form::Form;
use keyward::domain::id::{ClientName, PoolId, TenantId};
use keyward::domain::pool::Pool;
use keyward::domain::tenant::Tenant;
use keyward::proto::{self, DriftKind, Isolation};
use tonic::Code;

use super::drift::{reconcile_all, told};
use super::provider_settings::oidc_of;
use super::providers::{oidc, onboard, put};
use super::{create, new_interactive, settings, with};
use crate::fake::{Fake, OTHER_REGION};
use crate::harness::backend::{Backend, key};
use crate::harness::on_aws::AwsStage;
use crate::harness::{details, get_tenant, new_tenant_with_pool, refusal};

#[tokio::test]
async fn a_pool_takes_providers_up_to_cognitos_quota_and_none_beyond_it() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    let own = onboard(daemon, "umbrella", Isolation::UserPool, &[]).await.pool;
    let home = daemon.create_tenant("acme").await.pool;
    assert_eq!(daemon.create_tenant("bigco").await.pool, home);
    fake.fill_with_providers(299);
    let bigco = put(daemon, "bigco", &[oidc("okta"), oidc("entra")]).await.expect("it goes elsewhere");
    assert_ne!(bigco.pool, home, "there is room for one of them");
    let acme = put(daemon, "acme", &[oidc("okta")]).await.expect("the last place");
    assert_eq!(acme.pool, home);
    // Who changes what it has needs no room; another in place of one does, for as long as both are there.
    let mut wanted = acme.identity_providers.clone();
    oidc_of(&mut wanted[0]).client_id = "another".to_owned();
    let acme = put(daemon, "acme", &wanted).await.expect("changed");
    for wanted in [&[oidc("entra")][..], &[oidc("okta"), oidc("entra")]] {
        let refused = refusal(put(daemon, "acme", wanted).await);
        assert_eq!(refused, (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()), "it stays with what it has there");
        let now = get_tenant(&daemon.channel, "acme").await.expect("there");
        assert_eq!((now.pool, now.identity_providers), (home.clone(), acme.identity_providers.clone()));
    }
    // A pool of somebody's own is never left for another.
    fake.fill_with_providers(300);
    put(daemon, "umbrella", &[oidc("okta")]).await.expect_err("Cognito refuses it");
    assert_eq!(get_tenant(&daemon.channel, "umbrella").await.expect("there").pool, own);
    stage.strike().await;
}

#[tokio::test]
async fn a_tenants_people_sign_in_where_its_providers_are() {
    let stage = AwsStage::set_with(|config| config.pools.app_clients_per_shared_pool = 2, |_| {}).await;
    let daemon = &stage.daemon;
    let acme = onboard(daemon, "acme", Isolation::AppClient, &[oidc("okta")]).await;
    assert_eq!(daemon.create_tenant("bigco").await.pool, acme.pool);
    for id in ["orders", "billing"] {
        daemon.create_client("bigco", id).await;
    }
    let refused = refusal(daemon.clients().create_client(new_interactive("acme", "portal")).await);
    assert_eq!(refused, (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there").pool, acme.pool);
    stage.strike().await;
}

#[tokio::test]
async fn providers_are_not_made_where_nobody_could_sign_in_by_them() {
    let stage = AwsStage::set_with(|config| config.pools.app_clients_per_shared_pool = 1, |_| {}).await;
    let daemon = &stage.daemon;
    let full = daemon.create_tenant("acme").await.pool;
    assert_eq!(daemon.create_client("acme", "orders").await.pool, full);
    let bigco = onboard(daemon, "bigco", Isolation::AppClient, &[oidc("okta")]).await;
    assert_ne!(bigco.pool, full);
    assert_eq!(create(daemon, new_interactive("bigco", "portal")).await.pool, bigco.pool);
    stage.strike().await;
}

#[tokio::test]
async fn five_pools_are_asked_for_room_before_another_is_made() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    for number in 0..6 {
        onboard(daemon, &format!("tenant-{number}"), Isolation::AppClient, &[oidc("okta")]).await;
        fake.fill_with_providers(300);
    }
    assert_eq!(fake.inventory().user_pools.len(), 6);
    fake.forget_calls();
    onboard(daemon, "last", Isolation::AppClient, &[oidc("okta")]).await;
    assert_eq!(fake.inventory().user_pools.len(), 7);
    // 300 of them are six pages.
    let asked = fake.calls().iter().filter(|call| call.action == "cognito-idp:ListIdentityProviders").count();
    assert_eq!(asked, 5 * 6);
    stage.strike().await;
}

#[tokio::test]
async fn a_providers_secret_is_in_the_region_of_its_pool() {
    let stage = AwsStage::set_with(|_| {}, Fake::by_region).await;
    let AwsStage { daemon, fake, .. } = &stage;
    let settings = proto::UserPoolSettings { region: OTHER_REGION.to_owned(), ..Default::default() };
    let mut request = new_tenant_with_pool("acme", settings);
    request.tenant.as_mut().expect("set").identity_providers = vec![oidc("okta")];
    daemon.tenants().create_tenant(request).await.expect("created");
    let secret = |id: &str| format!("keyward/tenants/acme/providers/{id}@{OTHER_REGION}");
    assert_eq!(fake.inventory().secrets, [secret("okta")]);
    for all in ["tenants/acme", "tenants/-"] {
        assert_eq!(reconcile_all(daemon, all, true).await, [], "{all}");
    }
    put(daemon, "acme", &[oidc("entra")]).await.expect("changed");
    assert_eq!(fake.inventory().secrets, [secret("entra")]);
    stage.strike().await;
}

#[tokio::test]
async fn a_pool_of_many_providers_is_read_to_its_end() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    let acme = onboard(daemon, "acme", Isolation::AppClient, &[oidc("okta"), oidc("entra")]).await;
    // Before it in the order of names, and more than a page of them.
    fake.fill_with_providers(120);
    let name = acme.identity_providers[0].provider_name.clone();
    let left = format!("{}00000000", &name[..name.len() - 8]);
    fake.copy_provider(&name, &left);
    let found = reconcile_all(daemon, "tenants/-", true).await;
    assert_eq!(told(&found), [(DriftKind::Orphan, "tenants/acme", "", true)]);
    put(daemon, "acme", &acme.identity_providers[1..]).await.expect("one fewer");
    let theirs: Vec<_> = fake.providers().into_iter().filter(|name| name.starts_with("acme.")).collect();
    assert_eq!(theirs, [acme.identity_providers[1].provider_name.clone()]);
    stage.strike().await;
}

/// Copies of a record, each changed by its number and put past the daemon.
async fn copies(backend: &Backend, shelf: Shelf, count: usize, copy: impl Fn(usize) -> (String, serde_json::Value)) {
    let mut writes = Vec::new();
    for number in 0..count {
        let (key, body) = copy(number);
        let body = serde_json::to_vec(&body).expect("written");
        let action = Action::Put { body, form: Form::WRITTEN, due_time: None };
        writes.push(Write { shelf, key, expected: None, action });
    }
    while !writes.is_empty() {
        let some = writes.drain(..writes.len().min(50)).collect();
        backend.0.registry.commit(ChangeSet { writes: some, events: Vec::new() }).await.expect("committed");
    }
}

#[tokio::test]
async fn a_provider_that_the_last_of_many_clients_names_is_in_use() {
    let (daemon, backend) = super::daemon().await;
    put(&daemon, "acme", &[oidc("okta"), oidc("entra")]).await.expect("put");
    create(&daemon, new_interactive("acme", "portal")).await;
    let last = with(new_interactive("acme", "zz-last"), |client| {
        settings(client).identity_provider_ids = vec!["okta".to_owned()];
    });
    create(&daemon, last).await;
    let portal: Client = backend.record(Shelf::Client, &key("tenants/acme/clients/portal")).await.expect("there");
    copies(&backend, Shelf::Client, 200, |number| {
        let name = ClientName::parse("name", &format!("tenants/acme/clients/more-{number:03}")).expect("a name");
        let copy = Client { name: name.clone(), app_client: None, ..portal.clone() };
        (format!("{}/{}", name.tenant, name.client), serde_json::to_value(copy).expect("written"))
    })
    .await;
    let refused = put(&daemon, "acme", &[oidc("entra")]).await.expect_err("in use");
    assert_eq!(details(&refused).reason, "PROVIDER_IN_USE");
    daemon.stop().await;
}

#[tokio::test]
async fn providers_of_the_last_of_many_tenants_are_known_as_its_own_and_looked_at() {
    let (daemon, backend) = super::daemon().await;
    const LAST: &str = "acme-corp-eu-zz";
    daemon.create_tenant(LAST).await;
    let name = put(&daemon, LAST, &[oidc("okta")]).await.expect("put").identity_providers[0].provider_name.clone();
    // Providers' names have the first twelve characters of all their ids.
    let other: Tenant = backend.record(Shelf::Tenant, "acme").await.expect("there");
    copies(&backend, Shelf::Tenant, 200, |number| {
        let id = TenantId::parse("tenant", &format!("acme-corp-eu-{number:03}")).expect("an id");
        let copy = Tenant { id: id.clone(), uid: format!("{number:016}"), ..other.clone() };
        (id.to_string(), serde_json::to_value(copy).expect("written"))
    })
    .await;
    assert_eq!(reconcile_all(&daemon, "tenants/-", true).await, []);
    let home: PoolId = other.pool;
    let pool: Pool = backend.record(Shelf::Pool, home.as_str()).await.expect("there");
    let made = pool.made.expect("made");
    backend.0.user_pools.delete_identity_provider(&made, &name).await.expect("deleted");
    let found = reconcile_all(&daemon, "tenants/-", true).await;
    assert_eq!(told(&found), [(DriftKind::Missing, format!("tenants/{LAST}").as_str(), "", true)]);
    daemon.stop().await;
}
