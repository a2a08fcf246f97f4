//! A reconciliation that is held up in the middle of mending something, and goes on when another broker has changed that: what
//! was changed stands.

use std::time::Duration;

use keyward::broker::api::{ClientPatch, NewProtocol, NewProvider, RotationRequest, TenantPatch};
use keyward::broker::ports::{AppClientSpec, SecretDocument, Shelf};
use keyward::domain::client::Client;
use keyward::domain::drift::Drift;
use keyward::domain::id::{SecretName, VersionId};
use keyward::domain::interactive::InteractiveSettings;
use keyward::domain::pool::{MadePool, Pool};
use keyward::domain::scope::{Identifier, ScopeSet};
use keyward::domain::secret::ClientSecret;
use keyward::domain::tenant::{Isolation, Tenant, UserPoolSettings};

use crate::harness::backend::key;
use crate::harness::brokers::{Bench, Working, call, client_name, oidc_provider, sign_in, tenant_id};
use crate::harness::stops::{At, Pair};

const CLIENT: &str = "tenants/acme/clients/checkout";

async fn with_tenant() -> Pair {
    let pair = Pair::set().await;
    pair.other.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    pair
}

async fn reconcile(broker: &Working, mend: bool) -> Vec<Drift> {
    broker.reconciling.reconcile(&call(), None, mend).await.expect("compared").drifts
}

/// The one mends, and is held up before this call of it until the other has made its change and is done with it.
async fn overtake(pair: Pair, held_up: &'static str, change: impl AsyncFn(&Working), clients: &[&str]) {
    let Pair { other, bench, .. } = &pair;
    let meanwhile = async {
        Box::pin(change(other)).await;
        other.work();
        bench.settle().await;
    };
    Box::pin(pair.stop.during(At::Before(held_up), reconcile(&pair.one, true), meanwhile)).await;
    // The other one does not hear of what this one has put down; it looks every 30 s.
    bench.clock.advance(Duration::from_secs(30));
    bench.settle().await;
    assert_eq!(reconcile(other, false).await, []);
    pair.settle(clients).await;
}

async fn client(bench: &Bench) -> (Client, MadePool) {
    let client: Client = bench.backend.record(Shelf::Client, &key(CLIENT)).await.expect("there");
    let pool = pool(bench, client.pool.as_str()).await;
    (client, pool)
}

async fn pool(bench: &Bench, id: &str) -> MadePool {
    let pool: Pool = bench.backend.record(Shelf::Pool, id).await.expect("there");
    pool.made.expect("made")
}

#[tokio::test]
async fn what_another_broker_makes_of_an_app_client_meanwhile_stands() {
    let pair = with_tenant().await;
    pair.other.create_client(CLIENT).await.expect("a client");
    let (client, made) = client(&pair.bench).await;
    let scopes = ScopeSet::parse("scopes", &["orders/read"]).expect("a scope");
    let tampered =
        AppClientSpec { marker: client.marker(), scopes, access_token_validity: client.access_token_validity };
    let app_client = client.app_client.expect("made");
    pair.bench.ports().user_pools.update_app_client(&made, &app_client, &tampered).await.expect("changed");
    let change = async |broker: &Working| {
        let validity = Some(Duration::from_secs(20 * 60));
        let patch = ClientPatch { access_token_validity: validity, ..Default::default() };
        broker.clients.update(&call(), &client_name(CLIENT), patch, None, false).await.expect("changed");
    };
    overtake(pair, "update_app_client", change, &[CLIENT]).await;
}

#[tokio::test]
async fn what_another_broker_makes_of_an_app_client_for_people_meanwhile_stands() {
    let pair = with_tenant().await;
    pair.other.create_interactive_client(CLIENT).await.expect("a client");
    let (client, made) = client(&pair.bench).await;
    let app_client = client.app_client.clone().expect("made");
    let user_pools = pair.bench.ports().user_pools;
    let seen = user_pools.describe_interactive_client(&made, &app_client).await.expect("asked").expect("there");
    let mut tampered = seen.spec;
    tampered.callback_urls = ["https://elsewhere.example/".to_owned()].into_iter().collect();
    tampered.marker = client.marker();
    user_pools.update_interactive_client(&made, &app_client, &tampered).await.expect("changed");
    let change = async |broker: &Working| {
        let out = vec!["https://app.example.com/out".to_owned()];
        let interactive = Some(InteractiveSettings { sign_out_urls: out, ..sign_in() });
        let patch = ClientPatch { interactive, ..Default::default() };
        broker.clients.update(&call(), &client_name(CLIENT), patch, None, false).await.expect("changed");
    };
    overtake(pair, "update_interactive_client", change, &[]).await;
}

#[tokio::test]
async fn what_another_broker_makes_of_a_pools_settings_meanwhile_stands() {
    let pair = Pair::set().await;
    pair.other.create_tenant_like("acme", UserPoolSettings::default()).await.expect("a tenant");
    let length = |length| {
        let mut settings = UserPoolSettings::default();
        settings.password_policy.minimum_length = length;
        settings
    };
    let tenant: Tenant = pair.bench.backend.record(Shelf::Tenant, "acme").await.expect("there");
    let made = pool(&pair.bench, tenant.pool.as_str()).await;
    pair.bench.ports().user_pools.update_pool(&made, &length(20)).await.expect("changed");
    let change = async |broker: &Working| broker.change_settings("acme", length(30)).await.expect("changed");
    overtake(pair, "update_pool", change, &[]).await;
}

async fn put(broker: &Working, identity_providers: Vec<NewProvider>) {
    let patch = TenantPatch { identity_providers: Some(identity_providers), ..Default::default() };
    broker.tenants.update(&call(), &tenant_id("acme"), patch, None, false).await.expect("put");
}

/// Where the tenant's provider is, and what it is called there.
async fn provided(bench: &Bench) -> (MadePool, String) {
    let tenant: Tenant = bench.backend.record(Shelf::Tenant, "acme").await.expect("there");
    (pool(bench, tenant.pool.as_str()).await, tenant.identity_providers[0].name.clone())
}

#[tokio::test]
async fn what_another_broker_makes_of_an_identity_provider_meanwhile_stands() {
    let pair = with_tenant().await;
    put(&pair.other, vec![oidc_provider("okta")]).await;
    let (made, name) = provided(&pair.bench).await;
    pair.bench.ports().user_pools.delete_identity_provider(&made, &name).await.expect("deleted");
    let change = async |broker: &Working| {
        let mut another = oidc_provider("okta");
        let NewProtocol::Oidc(oidc) = &mut another.protocol else { panic!("OpenID Connect") };
        oidc.client_id = "another".to_owned();
        put(broker, vec![another]).await;
    };
    overtake(pair, "put_identity_provider", change, &[]).await;
}

/// With a secret in the vault that is nobody's.
async fn with_leftover(name: &str) -> Pair {
    let pair = with_tenant().await;
    let secret = SecretName::parse("name", &format!("keyward/{name}")).expect("a name");
    let left = SecretDocument {
        client_id: None,
        client_secret: ClientSecret::parse_foreign("client_secret", "nobodys-secret").expect("a secret"),
        token_endpoint: String::new(),
        issuer: String::new(),
        scopes: String::new(),
    };
    let version = VersionId::from_digest(&"a".repeat(64));
    pair.bench.ports().vault.put(&secret, &version, &left).await.expect("put");
    pair
}

#[tokio::test]
async fn the_secret_of_a_client_that_another_broker_creates_meanwhile_is_no_leftover() {
    let pair = with_leftover(CLIENT).await;
    let change = async |broker: &Working| drop(broker.create_client(CLIENT).await.expect("a client"));
    overtake(pair, "schedule_deletion", change, &[CLIENT]).await;
}

#[tokio::test]
async fn the_secret_of_a_provider_that_another_broker_puts_meanwhile_is_no_leftover() {
    let pair = with_leftover("tenants/acme/providers/okta").await;
    let change = async |broker: &Working| put(broker, vec![oidc_provider("okta")]).await;
    overtake(pair, "schedule_deletion", change, &[]).await;
}

#[tokio::test]
async fn a_resource_server_that_goes_meanwhile_does_not_come_back() {
    let pair = with_tenant().await;
    let tenant: Tenant = pair.bench.backend.record(Shelf::Tenant, "acme").await.expect("there");
    let made = pool(&pair.bench, tenant.pool.as_str()).await;
    let orders = Identifier::parse("identifier", "orders").expect("an identifier");
    let user_pools = pair.bench.ports().user_pools;
    user_pools.delete_resource_server(&made, &orders).await.expect("deleted");
    let change = async |broker: &Working| broker.catalog.delete(&call(), &orders, None).await.expect("deleted");
    overtake(pair, "put_resource_server", change, &[]).await;
    assert_eq!(user_pools.list_resource_servers(&made).await.expect("listed"), []);
}

#[tokio::test]
async fn a_secret_that_another_broker_has_put_back_and_rotated_meanwhile_stays_current() {
    let pair = with_tenant().await;
    pair.other.create_client(CLIENT).await.expect("a client");
    let (client, _) = client(&pair.bench).await;
    let window = Duration::from_secs(7 * 86_400);
    pair.bench.ports().vault.schedule_deletion(&client.secret_name, window).await.expect("scheduled");
    // The ids of secrets count seconds.
    pair.bench.clock.advance(Duration::from_secs(10));
    let change = async |broker: &Working| {
        let mended = reconcile(broker, true).await;
        assert!(mended.iter().all(|drift| drift.mended), "{mended:?}");
        let request = RotationRequest { immediate: true, replace: false, overlap: None, reason: String::new() };
        broker.rotations.rotate(&call(), &client_name(CLIENT), request, false).await.expect("rotated");
    };
    overtake(pair, "stage", change, &[CLIENT]).await;
}
