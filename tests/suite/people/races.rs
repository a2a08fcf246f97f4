//! Two brokers on one registry: what one changes while the other is in the middle of something for the same tenant.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keyward::broker::api::{ClientPatch, NewProtocol, NewProvider, TenantPatch, WantedScopes};
use keyward::broker::ports::{InteractiveSpec, PortResult, Shelf};
use keyward::domain::client::Client;
use keyward::domain::drift::Drift;
use keyward::domain::error::Reason;
use keyward::domain::interactive::InteractiveSettings;
use keyward::domain::pool::Pool;
use keyward::domain::scope::ScopeSet;
use keyward::domain::tenant::{Isolation, Tenant};
use tokio::sync::Notify;

use crate::harness::backend::key;
use crate::harness::brokers::{Bench, Working, call, client_name, oidc_provider, sign_in, tenant_id};
use crate::harness::ports::in_time;
use crate::harness::tolls::{Toll, tolled};

const PORTAL: &str = "tenants/acme/clients/portal";
const OUT: &str = "https://app.example.com/out";

/// Holds a call up before its effect, once, when it is told to.
#[derive(Default)]
struct Stop {
    next: Mutex<Option<&'static str>>,
    is_reached: Notify,
    go: Notify,
}

#[async_trait]
impl Toll for Stop {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if self.next.lock().expect("no panic under it").take_if(|next| *next == call).is_some() {
            self.is_reached.notify_one();
            self.go.notified().await;
        }
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }
}

/// A broker that is held up, and one that is not.
struct Pair {
    bench: Bench,
    slow: Working,
    quick: Working,
    stop: Arc<Stop>,
}

impl Pair {
    /// With a tenant of these providers.
    async fn set(providers: &[&str]) -> Self {
        let (bench, stop) = (Bench::new().await, Arc::new(Stop::default()));
        let slow = Working::open(tolled(bench.ports(), stop.clone())).await.expect("a broker");
        let quick = Working::open(bench.ports()).await.expect("a broker");
        let providers = providers.iter().map(|id| oidc_provider(id)).collect();
        quick.create_tenant_with("acme", Isolation::AppClient, providers).await.expect("a tenant");
        Pair { bench, slow, quick, stop }
    }

    /// Does the one until it comes to this call, then the other, then the rest of the one. It is large.
    async fn during<T>(
        &self,
        call: &'static str,
        slowly: impl Future<Output = T>,
        meanwhile: impl Future<Output = ()>,
    ) -> T {
        *self.stop.next.lock().expect("no panic under it") = Some(call);
        let passing = async {
            in_time(self.stop.is_reached.notified()).await;
            meanwhile.await;
            self.stop.go.notify_one();
        };
        let (done, ()) = tokio::join!(slowly, passing);
        done
    }

    async fn at_backend(&self) -> InteractiveSpec {
        let client: Client = self.bench.backend.record(Shelf::Client, &key(PORTAL)).await.expect("there");
        let pool: Pool = self.bench.backend.record(Shelf::Pool, client.pool.as_str()).await.expect("there");
        let (pool, app_client) = (pool.made.expect("made"), client.app_client.expect("made"));
        let seen = self.bench.backend.0.user_pools.describe_interactive_client(&pool, &app_client).await;
        seen.expect("asked").expect("there").spec
    }

    /// Lets the quick one do what is left; the client for people offers what its tenant has.
    async fn settle(self) {
        self.quick.work();
        self.bench.settle().await;
        if self.bench.backend.record::<Client>(Shelf::Client, &key(PORTAL)).await.is_some() {
            let tenant: Tenant = self.bench.backend.record(Shelf::Tenant, "acme").await.expect("there");
            let has = tenant.identity_providers.iter().map(|provider| provider.name.clone());
            assert_eq!(self.at_backend().await.providers, has.collect());
        }
        self.slow.stop().await;
        self.quick.stop().await;
        self.bench.check(&[]).await;
    }
}

async fn put(broker: &Working, providers: Vec<NewProvider>) {
    let patch = TenantPatch { identity_providers: Some(providers), ..Default::default() };
    // What could not be done goes on in the background.
    let _ = broker.tenants.update(&call(), &tenant_id("acme"), patch, None, false).await;
}

async fn sign_out_to(broker: &Working, url: &str) {
    let interactive = InteractiveSettings { sign_out_urls: vec![url.to_owned()], ..sign_in() };
    let patch = ClientPatch { interactive: Some(interactive), ..Default::default() };
    let _ = broker.clients.update(&call(), &client_name(PORTAL), patch, None, false).await;
}

fn ids(ids: &[&str]) -> Vec<NewProvider> {
    ids.iter().map(|id| oidc_provider(id)).collect()
}

#[tokio::test]
async fn an_app_client_that_is_made_offers_providers_that_came_meanwhile() {
    let pair = Pair::set(&[]).await;
    let making = async { drop(pair.slow.create_interactive_client(PORTAL).await) };
    Box::pin(pair.during("create_interactive_client", making, put(&pair.quick, ids(&["okta"])))).await;
    pair.settle().await;
}

#[tokio::test]
async fn an_app_client_that_is_changed_offers_providers_that_came_meanwhile() {
    let pair = Pair::set(&[]).await;
    pair.quick.create_interactive_client(PORTAL).await.expect("a client");
    let changing = sign_out_to(&pair.slow, OUT);
    Box::pin(pair.during("update_interactive_client", changing, put(&pair.quick, ids(&["okta"])))).await;
    pair.quick.work();
    pair.bench.settle().await;
    assert_eq!(pair.at_backend().await.sign_out_urls, [OUT.to_owned()].into_iter().collect());
    pair.settle().await;
}

#[tokio::test]
async fn scopes_that_are_taken_away_while_another_broker_offers_providers_stay_away() {
    let pair = Pair::set(&[]).await;
    pair.quick.create_interactive_client(PORTAL).await.expect("a client");
    let left = ScopeSet::parse("scopes", &["orders/read"]).expect("a scope");
    let narrowing = async {
        let scopes = WantedScopes { resource: left.clone(), standard: sign_in().standard_scopes };
        let patch = ClientPatch { scopes: Some(scopes), ..Default::default() };
        pair.quick.clients.update(&call(), &client_name(PORTAL), patch, None, false).await.expect("changed");
    };
    Box::pin(pair.during("update_interactive_client", put(&pair.slow, ids(&["okta"])), narrowing)).await;
    pair.quick.work();
    pair.bench.settle().await;
    assert_eq!(pair.at_backend().await.scopes, left);
    pair.settle().await;
}

#[tokio::test]
async fn an_app_client_that_is_made_for_a_client_that_is_deleted_meanwhile_goes_too() {
    let pair = Pair::set(&["okta"]).await;
    let making = async { drop(pair.slow.create_interactive_client(PORTAL).await) };
    let deleting = async { pair.quick.clients.delete(&call(), &client_name(PORTAL), None).await.expect("deleted") };
    Box::pin(pair.during("create_interactive_client", making, deleting)).await;
    assert_eq!(pair.bench.backend.record::<Client>(Shelf::Client, &key(PORTAL)).await, None);
    pair.settle().await;
}

#[tokio::test]
async fn two_clients_that_become_the_default_sign_in_at_one_time_are_one_in_the_end() {
    let pair = Pair::set(&[]).await;
    const ADMIN: &str = "tenants/acme/clients/admin";
    for name in [PORTAL, ADMIN] {
        pair.quick.create_interactive_client(name).await.expect("a client");
    }
    let become_default = async |broker: &Working, name: &str| {
        let interactive = InteractiveSettings { default_sign_in: true, ..sign_in() };
        let patch = ClientPatch { interactive: Some(interactive), ..Default::default() };
        broker.clients.update(&call(), &client_name(name), patch, None, false).await.map(drop)
    };
    let second = async { become_default(&pair.quick, ADMIN).await.expect("it is the first to be written down") };
    let first = Box::pin(pair.during("commit", become_default(&pair.slow, PORTAL), second)).await;
    assert_eq!(first.expect_err("another has it").reason(), Reason::FieldInvalid);
    let clients: Vec<Client> = pair.bench.backend.records(Shelf::Client).await;
    let defaults = clients.iter().filter_map(|client| client.interactive.as_ref()).filter(|it| it.default_sign_in);
    assert_eq!(defaults.count(), 1);
    pair.settle().await;
}

async fn reconcile(broker: &Working, mend: bool) -> Vec<Drift> {
    broker.reconciling.reconcile(&call(), None, mend).await.expect("reconciled").drifts
}

#[tokio::test]
async fn what_another_broker_changes_while_it_is_compared_is_no_drift() {
    let pair = Pair::set(&["okta"]).await;
    pair.quick.create_interactive_client(PORTAL).await.expect("a client");
    let looking = reconcile(&pair.slow, true);
    let found = Box::pin(pair.during("describe_interactive_client", looking, sign_out_to(&pair.quick, OUT))).await;
    assert_eq!(found, []);
    let mut another = oidc_provider("okta");
    let NewProtocol::Oidc(oidc) = &mut another.protocol else { panic!("OpenID Connect") };
    oidc.client_id = "another".to_owned();
    let looking = reconcile(&pair.slow, true);
    let found = Box::pin(pair.during("compare_identity_provider", looking, put(&pair.quick, vec![another]))).await;
    assert_eq!(found, []);
    assert_eq!(pair.at_backend().await.sign_out_urls, [OUT.to_owned()].into_iter().collect());
    pair.settle().await;
}

#[tokio::test]
async fn what_another_broker_is_in_the_middle_of_changing_is_no_drift() {
    let pair = Pair::set(&["okta"]).await;
    pair.quick.create_interactive_client(PORTAL).await.expect("a client");
    let looking = async || assert_eq!(reconcile(&pair.quick, true).await, []);
    Box::pin(pair.during("update_interactive_client", sign_out_to(&pair.slow, OUT), looking())).await;
    // Of providers that come, that are offered, and that go with their secrets.
    for (call, wanted) in [
        ("put_identity_provider", &["okta", "entra"][..]),
        ("update_interactive_client", &["okta"]),
        ("delete_identity_provider", &["adfs"]),
        ("schedule_deletion", &["okta"]),
    ] {
        Box::pin(pair.during(call, put(&pair.slow, ids(wanted)), looking())).await;
    }
    pair.settle().await;
}
