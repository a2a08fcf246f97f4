//! Two brokers on one registry that are at work on one pool, or one tenant, at one moment.

use std::sync::Arc;
use std::time::Duration;

use keyward::aws::TokenSource;
use keyward::broker::Basis;
use keyward::broker::api::{NewResourceServer, Question, RotationRequest, TenantPatch, Verdict};
use keyward::broker::ports::Shelf;
use keyward::broker::settings::Settings;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::person::Accepted;
use keyward::domain::pool::Pool;
use keyward::domain::rotation::RotationState;
use keyward::domain::scope::{Identifier, ScopeDefinition, ScopeSet};
use keyward::domain::tenant::Isolation;
use zeroize::Zeroizing;

use crate::fake::{After, Fault};
use crate::harness::aws_bench::AwsBench;
use crate::harness::brokers::{Bench, Working, call, client_name, custom_domain, oidc_provider, tenant_id};
use crate::harness::ports::in_time;
use crate::harness::rotations::eventually;
use crate::harness::stops::At;
use crate::harness::tolls::tolled;
use crate::harness::watch::Watch;

const CLIENT: &str = "tenants/acme/clients/checkout";
const SECOND: Duration = Duration::from_secs(1);

/// A broker that can be held up. It only answers calls.
async fn held_up(bench: &Bench, lease: Option<LeaseTerms>) -> (Working, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    let leased = |settings: &mut Settings| settings.journal.lease = lease;
    let broker = Working::open_with(tolled(bench.ports(), watch.clone()), leased).await.expect("a broker");
    (broker, watch)
}

/// Lets the second one do what is left; nothing is left then that nobody knows.
async fn settle(bench: &Bench, [first, second]: [Working; 2]) {
    second.work();
    bench.settle().await;
    first.stop().await;
    second.stop().await;
    bench.check(&[CLIENT]).await;
}

async fn pool_of(bench: &Bench, tenant: &str) -> Option<Pool> {
    let pools: Vec<Pool> = bench.backend.records(Shelf::Pool).await;
    pools.into_iter().find(|pool| pool.tenant.as_ref().is_some_and(|id| id.as_str() == tenant))
}

async fn catalog_version_of(bench: &Bench, tenant: &str) -> u64 {
    pool_of(bench, tenant).await.map_or(0, |pool| pool.catalog_version)
}

fn invoices() -> NewResourceServer {
    NewResourceServer {
        identifier: Identifier::parse("identifier", "invoices").expect("an identifier"),
        display_name: "Invoices".to_owned(),
        scopes: vec![ScopeDefinition { scope_name: "read".to_owned(), description: "read".to_owned() }],
    }
}

#[tokio::test]
async fn a_resource_server_that_comes_while_an_older_catalogue_is_applied_stays() {
    let bench = Bench::new().await;
    let (slow, watch) = held_up(&bench, None).await;
    let quick = Working::open(bench.ports()).await.expect("a broker");
    watch.stop.at(At::Before("list_resource_servers"));
    let meanwhile = async {
        watch.stop.reached().await;
        quick.catalog.put(&call(), invoices(), None, false).await.expect("put");
        eventually("the pool has it", async || catalog_version_of(&bench, "acme").await == 2).await;
        watch.stop.go();
    };
    let (created, ()) = tokio::join!(slow.create_tenant("acme", Isolation::UserPool), meanwhile);
    created.expect("a tenant");
    eventually("the pool is up to the catalogue", async || catalog_version_of(&bench, "acme").await == 2).await;
    let pool = pool_of(&bench, "acme").await.and_then(|pool| pool.made).expect("made");
    let there = bench.ports().user_pools.list_resource_servers(&pool).await.expect("asked");
    let there: Vec<_> = there.iter().map(Identifier::as_str).collect();
    assert_eq!(there, ["invoices", "orders"]);
    assert_eq!(
        watch.count("delete_resource_server"),
        0,
        "what came after the catalogue was read is not taken for gone"
    );
    settle(&bench, [slow, quick]).await;
}

#[tokio::test]
async fn a_resource_server_that_another_broker_brings_while_it_is_looked_for_is_not_missing() {
    let bench = Bench::new().await;
    let (slow, watch) = held_up(&bench, None).await;
    let quick = Working::open(bench.ports()).await.expect("a broker");
    quick.create_tenant("acme", Isolation::UserPool).await.expect("a tenant");
    watch.stop.at(At::After("list_resource_servers"));
    let meanwhile = async {
        watch.stop.reached().await;
        quick.catalog.put(&call(), invoices(), None, false).await.expect("put");
        eventually("the pool has it", async || catalog_version_of(&bench, "acme").await == 2).await;
        watch.stop.go();
    };
    let caller = call();
    let (found, ()) = tokio::join!(slow.reconciling.reconcile(&caller, None, true), meanwhile);
    assert_eq!(found.expect("compared").drifts, []);
    settle(&bench, [slow, quick]).await;
}

/// The memory of the second one is never told of what the first does.
#[tokio::test]
async fn a_pool_that_another_broker_has_made_is_never_taken_for_one_that_is_not_made() {
    let bench = Bench::new().await;
    let (slow, watch) = held_up(&bench, None).await;
    let other = Working::open(bench.ports()).await.expect("a broker");
    watch.stop.at(At::Before("ensure_pool"));
    let meanwhile = async {
        watch.stop.reached().await;
        let seen = other.tenants.get(&tenant_id("acme")).await.expect("it is there");
        assert_eq!(seen.issuer, None, "it is not made yet");
        watch.stop.go();
    };
    let (created, ()) = tokio::join!(slow.create_tenant("acme", Isolation::UserPool), meanwhile);
    created.expect("a tenant");
    slow.create_client(CLIENT).await.expect("a client");
    let seen = other.tenants.get(&tenant_id("acme")).await.expect("it is there");
    assert!(seen.issuer.is_some(), "it is made");

    let name = client_name(CLIENT);
    let token = other.tokens.get(&name, &ScopeSet::default(), Duration::ZERO).await.expect("a token");
    let question = Question {
        token: Zeroizing::new(token.expose().to_owned()),
        required_scopes: ScopeSet::default(),
        tenant: None,
        accepted: Accepted::default(),
    };
    let verdict = other.verifier.verify(&question, &mut Basis::default()).await.expect("judged");
    assert!(matches!(verdict, Verdict::Verified(_)), "{verdict:?}");

    let request = RotationRequest { immediate: true, overlap: None, reason: String::new(), replace: true };
    let rotated = other.rotations.rotate(&call(), &name, request, false).await.expect("rotated");
    assert_eq!(rotated.rotation.state, RotationState::Succeeded);
    other.clients.delete(&call(), &name, None).await.expect("deleted");
    settle(&bench, [slow, other]).await;
}

#[tokio::test]
async fn of_two_pools_that_two_brokers_make_for_one_record_the_one_that_is_not_written_down_goes() {
    two_makers(TokenSource::GetClientToken).await;
}

#[tokio::test]
async fn a_pool_that_was_made_too_late_to_have_its_prefix_goes() {
    two_makers(TokenSource::TokenEndpoint).await;
}

/// Each looks for the pool before the other has made it, as Cognito allows: names are not unique there.
async fn two_makers(token_source: TokenSource) {
    let bench = AwsBench::new_with(|options| options.token_source = token_source).await;
    let [first, second] = [bench.broker_at_rest(None).await, bench.broker_at_rest(None).await];
    bench.fake.fail(After::calls(0).of("CreateUserPool"), Fault::Hang);
    let meanwhile = async {
        in_time(bench.fake.wait_for_hanging(1)).await;
        second.create_tenant("other", Isolation::AppClient).await.expect("a tenant");
        bench.fake.release();
    };
    // Whoever is second to have the prefix fails for now.
    let (_, ()) = tokio::join!(first.create_tenant("acme", Isolation::AppClient), meanwhile);
    second.work();
    bench.settle(|| false).await;
    for (broker, client) in [(&first, CLIENT), (&second, "tenants/other/clients/checkout")] {
        broker.create_client(client).await.expect("a client");
    }
    first.stop().await;
    second.stop().await;
    let pools: Vec<Pool> = bench.backend.records(Shelf::Pool).await;
    assert_eq!(pools.len(), 1, "{pools:?}");
    bench.check(&[CLIENT]).await;
}

#[tokio::test]
async fn a_pool_that_is_made_while_its_tenant_is_deleted_goes_too() {
    let bench = Bench::new().await;
    let ((maker, making), (deleter, deleting)) = (held_up(&bench, None).await, held_up(&bench, None).await);
    making.stop.at(At::Before("ensure_pool"));
    deleting.stop.at(At::After("delete_pool"));
    let delete = async {
        making.stop.reached().await;
        deleter.tenants.delete(&call(), &tenant_id("acme"), None, false).await.expect("deleted");
    };
    let meanwhile = async {
        deleting.stop.reached().await;
        making.stop.go();
        eventually("the pool is made", async || pool_of(&bench, "acme").await.is_some_and(|pool| pool.made.is_some()))
            .await;
        deleting.stop.go();
    };
    // There is no such tenant any more.
    let _ = tokio::join!(maker.create_tenant("acme", Isolation::UserPool), delete, meanwhile);
    settle(&bench, [maker, deleter]).await;
}

#[tokio::test]
async fn an_identity_provider_that_is_given_up_while_another_broker_makes_it_goes() {
    Box::pin(given_up_provider(Some(LeaseTerms::default()))).await;
}

/// As where the first one's lease has lapsed.
#[tokio::test]
async fn an_identity_provider_that_comes_after_another_broker_has_taken_its_tenant_over_goes() {
    Box::pin(given_up_provider(None)).await;
}

async fn given_up_provider(lease: Option<LeaseTerms>) {
    let bench = Bench::new().await;
    let (slow, watch) = held_up(&bench, lease).await;
    let quick = Working::open_with(bench.ports(), |settings| settings.journal.lease = lease).await.expect("a broker");
    watch.stop.at(At::Before("put_identity_provider"));
    let meanwhile = async {
        watch.stop.reached().await;
        bench.clock.advance(SECOND);
        let patch = TenantPatch { identity_providers: Some(Vec::new()), ..Default::default() };
        quick.tenants.update(&call(), &tenant_id("acme"), patch, None, false).await.expect("changed");
        watch.stop.go();
    };
    let providers = vec![oidc_provider("one")];
    let (created, ()) = tokio::join!(slow.create_tenant_with("acme", Isolation::AppClient, providers), meanwhile);
    created.expect("a tenant");
    settle(&bench, [slow, quick]).await;
}

#[tokio::test]
async fn a_domain_that_is_given_up_while_another_broker_asks_for_it_goes() {
    Box::pin(given_up_domain(Some(LeaseTerms::default()))).await;
}

/// As where the first one's lease has lapsed.
#[tokio::test]
async fn a_domain_that_comes_after_another_broker_has_taken_its_tenant_over_goes() {
    Box::pin(given_up_domain(None)).await;
}

async fn given_up_domain(lease: Option<LeaseTerms>) {
    const DOMAIN: &str = "login.acme.example";
    let bench = AwsBench::new().await;
    let [slow, quick] = [bench.broker_at_rest(lease).await, bench.broker_at_rest(lease).await];
    // The first is the prefix.
    bench.fake.fail(After::calls(1).of("CreateUserPoolDomain"), Fault::Hang);
    let meanwhile = async {
        in_time(bench.fake.wait_for_hanging(1)).await;
        bench.clock.advance(SECOND);
        quick.move_tenant_to("acme", None).await.expect("changed");
        bench.fake.release();
    };
    let (created, ()) = tokio::join!(slow.create_tenant_at("acme", custom_domain(DOMAIN)), meanwhile);
    created.expect("a tenant");
    quick.work();
    bench.settle(|| false).await;
    slow.stop().await;
    quick.stop().await;
    let domains = bench.fake.domains();
    assert!(domains.iter().all(|(domain, _)| domain != DOMAIN), "{domains:?}");
    let pools: Vec<Pool> = bench.backend.records(Shelf::Pool).await;
    assert!(pools.iter().all(|pool| pool.made.as_ref().is_some_and(|made| made.domain != DOMAIN)), "{pools:?}");
    bench.check(&[]).await;
}
