//! A broker that stalls in the middle of writing settings to Cognito, and goes on when another one has written newer ones: the
//! newer ones stand, and what it has written over is written once more.

use std::time::Duration;

use jiff::SignedDuration;
use keyward::broker::api::{ClientPatch, NewProvider, NewResourceServer, TenantPatch};
use keyward::broker::ports::AppClientSpec;
use keyward::domain::drift::Drift;
use keyward::domain::scope::{Identifier, ScopeDefinition, ScopeSet};
use keyward::domain::secret::ClientSecret;
use keyward::domain::tenant::{Isolation, UserPoolSettings};

use super::{CLIENT, LAPSE, Sharing, with_client};
use crate::harness::Outage;
use crate::harness::brokers::{Bench, Working, call, client_name, oidc_provider, tenant_id};
use crate::harness::rotations::eventually;
use crate::harness::start_time;
use crate::harness::stops::At;

#[tokio::test]
async fn a_late_change_of_an_app_client_is_made_good() {
    let bench = Bench::new().await;
    let [first, second] = [Sharing::open(&bench, 0).await, Sharing::open(&bench, 0).await];
    first.broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    first.broker.create_client(CLIENT).await.expect("a client");
    let change = async |broker: &Working, minutes: u64| {
        let validity = Some(Duration::from_secs(minutes * 60));
        let patch = ClientPatch { access_token_validity: validity, ..Default::default() };
        broker.clients.update(&call(), &client_name(CLIENT), patch, None, false).await.map(drop)
    };
    overtake(&bench, [first, second], "update_app_client", async |broker, is_first| {
        change(broker, if is_first { 10 } else { 20 }).await.expect("written down");
    })
    .await;
}

#[tokio::test]
async fn a_late_change_of_a_pools_settings_is_made_good() {
    let bench = Bench::new().await;
    let [first, second] = [Sharing::open(&bench, 0).await, Sharing::open(&bench, 0).await];
    first.broker.create_tenant_like("acme", UserPoolSettings::default()).await.expect("a tenant");
    overtake(&bench, [first, second], "update_pool", async |broker, is_first| {
        let mut settings = UserPoolSettings::default();
        settings.password_policy.minimum_length = if is_first { 20 } else { 30 };
        broker.change_settings("acme", settings).await.expect("written down");
    })
    .await;
}

#[tokio::test]
async fn a_late_change_of_identity_providers_is_made_good() {
    let bench = Bench::new().await;
    let [first, second] = [Sharing::open(&bench, 0).await, Sharing::open(&bench, 0).await];
    let provider = |id: &str| oidc_provider(id);
    first.broker.create_tenant_with("acme", Isolation::AppClient, vec![provider("one")]).await.expect("a tenant");
    first.broker.create_interactive_client("tenants/acme/clients/web").await.expect("a client");
    let change = async |broker: &Working, identity_providers: Vec<NewProvider>| {
        let patch = TenantPatch { identity_providers: Some(identity_providers), ..Default::default() };
        broker.tenants.update(&call(), &tenant_id("acme"), patch, None, false).await.expect("written down");
    };
    overtake(&bench, [first, second], "update_interactive_client", async |broker, is_first| {
        let ids: &[&str] = if is_first { &["one", "two"] } else { &["one", "two", "three"] };
        change(broker, ids.iter().map(|id| provider(id)).collect()).await;
    })
    .await;
}

#[tokio::test]
async fn a_late_resource_server_is_made_good() {
    let bench = with_client().await;
    let [first, second] = [Sharing::open(&bench, 0).await, Sharing::open(&bench, 0).await];
    let put = async |broker: &Working, scopes: &[&str]| {
        let definition = |name: &&str| ScopeDefinition { scope_name: name.to_string(), description: "d".to_owned() };
        let orders = NewResourceServer {
            identifier: Identifier::parse("identifier", "orders").expect("an identifier"),
            display_name: "Orders".to_owned(),
            scopes: scopes.iter().map(definition).collect(),
        };
        broker.catalog.put(&call(), orders, None, false).await.expect("written down");
    };
    let outage = Outage::default();
    let unreached = Working::open(outage.of_user_pools(bench.ports())).await.expect("a broker");
    outage.begin();
    put(&unreached, &["read", "write", "approve"]).await;

    // The first one stalls as it brings the catalogue of now to the pool.
    let other = "tenants/acme/clients/billing";
    first.watch.stop.at(At::Before("put_resource_server"));
    let meanwhile = async {
        first.watch.stop.reached().await;
        put(&unreached, &["read", "write", "approve", "refund"]).await;
        second.broker.work();
        second.clock.set(start_time() + LAPSE);
        first.clock.set(start_time() + LAPSE);
        eventually("the other one is done", async || bench.backend.journals().await.is_empty()).await;
        first.watch.stop.go();
    };
    let (created, ()) = tokio::join!(Box::pin(first.broker.create_client(other)), meanwhile);
    created.expect("created");
    first.broker.stop().await;
    // It looks for what others have left every 30 s.
    second.clock.set(start_time() + LAPSE + SignedDuration::from_secs(31));
    eventually("nothing is left to do", async || bench.backend.journals().await.is_empty()).await;

    let scopes = ScopeSet::parse("scopes", &["orders/refund"]).expect("scopes");
    let pool = bench.backend.must_see(CLIENT).await.pool;
    let spec =
        AppClientSpec { marker: "refunds".to_owned(), scopes, access_token_validity: Duration::from_secs(3_600) };
    let secret = ClientSecret::parse_foreign("client_secret", "a-secret-of-nobodys-that-is-long-enough").expect("one");
    let made = bench.ports().user_pools.create_app_client(&pool, &spec, &secret).await;
    made.expect("the pool has the newest scopes");
    unreached.stop().await;
    second.broker.stop().await;
}

/// The first broker stalls in this call of its change until the second has taken its journal over, with a change of its own,
/// and is done.
async fn overtake(
    bench: &Bench,
    [first, second]: [Sharing; 2],
    stalls_in: &'static str,
    change: impl AsyncFn(&Working, bool),
) {
    first.watch.stop.at(At::Before(stalls_in));
    let meanwhile = async {
        first.watch.stop.reached().await;
        Box::pin(change(&second.broker, false)).await;
        second.broker.work();
        second.clock.set(start_time() + LAPSE);
        first.clock.set(start_time() + LAPSE);
        eventually("the other one is done", async || bench.backend.journals().await.is_empty()).await;
        first.watch.stop.go();
    };
    tokio::join!(Box::pin(change(&first.broker, true)), meanwhile);
    assert_eq!(bench.backend.journals().await, [], "it has seen to it by itself");
    // Past the renewals that a run makes of its lease.
    second.clock.set(start_time() + LAPSE + SignedDuration::from_secs(60));
    let found = second.broker.reconciling.reconcile(&call(), None, false).await.expect("compared");
    assert_eq!(found.drifts, Vec::<Drift>::new());
    first.broker.stop().await;
    second.broker.stop().await;
}
