//! A broker that dies at any call of any port, before the call's effect or after it, and the one that comes after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::api::{ClientPatch, NewMove, RotationRequest, TenantPatch};
use keyward::broker::ports::{Fault, Peer, PortError, PortResult, Shelf};
use keyward::domain::client::Client;
use keyward::domain::interactive::InteractiveSettings;
use keyward::domain::moving::MoveState;
use keyward::domain::pool::Pool;
use keyward::domain::rotation::{Rotation, RotationState};
use keyward::domain::tenant::{HostedDomain, Isolation, Tenant};

use crate::harness::backend::key;
use crate::harness::brokers::{
    Bench, Working, call, client_name, custom_domain, oidc_provider, saml_provider, sign_in, tenant_id,
};
use crate::harness::tolls::{Toll, tolled};

const OVERLAP: Duration = Duration::from_secs(60);

#[tokio::test]
async fn onboarding_in_a_shared_pool_survives_a_crash_at_any_call() {
    onboarding_survives_a_crash_at_any_call(Isolation::AppClient, 60).await;
}

#[tokio::test]
async fn onboarding_with_a_pool_of_its_own_survives_a_crash_at_any_call() {
    onboarding_survives_a_crash_at_any_call(Isolation::UserPool, 80).await;
}

async fn onboarding_survives_a_crash_at_any_call(isolation: Isolation, at_least: usize) {
    let prepare = async |_: &Bench, _: &Working, _: &str| {};
    let act = async |_: &Bench, broker: &Working, id: &str| {
        let tenant = broker.create_tenant(id, isolation).await.is_ok();
        [tenant, broker.create_client(&client_of(id)).await.is_ok()]
    };
    let check = async |bench: &Bench, id: &str, [tenant, client]: [bool; 2]| {
        // What was answered is there, as whoever asked believes.
        let key = key(&client_of(id));
        assert!(!tenant || bench.backend.record::<Tenant>(Shelf::Tenant, id).await.is_some(), "{id} was answered");
        assert!(!client || bench.backend.record::<Client>(Shelf::Client, &key).await.is_some(), "{id} was answered");
    };
    crash_everywhere(at_least, prepare, act, check).await;
}

#[tokio::test]
async fn onboarding_with_a_domain_of_its_own_survives_a_crash_at_any_call() {
    let prepare = async |_: &Bench, _: &Working, _: &str| {};
    let act = async |_: &Bench, broker: &Working, id: &str| broker.create_tenant_at(id, its_domain(id)).await.is_ok();
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let wanted = has_its_domain(bench, id).await;
        assert!(!answered || wanted == Some(Some(its_domain(id))), "{id} was answered");
    };
    crash_everywhere(30, prepare, act, check).await;
}

#[tokio::test]
async fn another_domain_survives_a_crash_at_any_call() {
    let prepare = async |_: &Bench, broker: &Working, id: &str| {
        broker.create_tenant(id, Isolation::UserPool).await.expect("a tenant");
    };
    let act =
        async |_: &Bench, broker: &Working, id: &str| broker.move_tenant_to(id, Some(its_domain(id))).await.is_ok();
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let wanted = has_its_domain(bench, id).await.expect("a tenant");
        assert!(!answered || wanted == Some(its_domain(id)), "{id} was answered");
    };
    crash_everywhere(14, prepare, act, check).await;
}

fn its_domain(tenant: &str) -> HostedDomain {
    custom_domain(&format!("login.{tenant}.example"))
}

/// The domain that the tenant is to have, where there is a tenant; its pool at the backend has the same.
async fn has_its_domain(bench: &Bench, id: &str) -> Option<Option<HostedDomain>> {
    let tenant: Tenant = bench.backend.record(Shelf::Tenant, id).await?;
    let pool: Pool = bench.backend.record(Shelf::Pool, tenant.pool.as_str()).await.expect("its pool");
    let seen = bench.backend.0.user_pools.pool_settings(&pool.made.expect("made")).await.expect("read").expect("there");
    let wanted = tenant.user_pool.expect("its settings").domain;
    assert_eq!(seen.domain, wanted, "{id}");
    Some(wanted)
}

#[tokio::test]
async fn a_rotation_survives_a_crash_at_any_call_until_its_overlap_is_over() {
    let act = async |bench: &Bench, broker: &Working, id: &str| {
        let request =
            RotationRequest { immediate: false, overlap: Some(OVERLAP), reason: String::new(), replace: false };
        let started = broker.rotations.rotate(&call(), &client_name(&client_of(id)), request, false).await.is_ok();
        bench.clock.advance(OVERLAP);
        started
    };
    crash_everywhere(80, with_client, act, a_rotation_is_over).await;
}

#[tokio::test]
async fn an_immediate_rotation_of_one_in_its_overlap_survives_a_crash_at_any_call() {
    let prepare = async |bench: &Bench, broker: &Working, id: &str| {
        with_client(bench, broker, id).await;
        let overlap = Some(Duration::from_secs(86_400));
        let request = RotationRequest { immediate: false, overlap, reason: String::new(), replace: false };
        let name = client_name(&client_of(id));
        broker.rotations.rotate(&call(), &name, request, false).await.expect("rotated");
        bench.clock.advance(Duration::from_secs(1));
    };
    let act = async |_: &Bench, broker: &Working, id: &str| {
        let request = RotationRequest { immediate: true, overlap: None, reason: String::new(), replace: false };
        broker.rotations.rotate(&call(), &client_name(&client_of(id)), request, false).await.is_ok()
    };
    crash_everywhere(80, prepare, act, a_rotation_is_over).await;
}

#[tokio::test]
async fn deleting_a_client_survives_a_crash_at_any_call() {
    let act = async |_: &Bench, broker: &Working, id: &str| {
        broker.clients.delete(&call(), &client_name(&client_of(id)), None).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let gone = bench.backend.record::<Client>(Shelf::Client, &key(&client_of(id))).await.is_none();
        assert!(!answered || gone, "{id} was answered");
    };
    crash_everywhere(30, with_client, act, check).await;
}

#[tokio::test]
async fn issuing_a_client_for_people_survives_a_crash_at_any_call() {
    let prepare = async |_: &Bench, broker: &Working, id: &str| {
        broker.create_tenant(id, Isolation::AppClient).await.expect("a tenant");
    };
    let act =
        async |_: &Bench, broker: &Working, id: &str| broker.create_interactive_client(&people_of(id)).await.is_ok();
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let there = bench.backend.record::<Client>(Shelf::Client, &key(&people_of(id))).await;
        assert!(!answered || there.is_some_and(|client| client.app_client.is_some()), "{id} was answered");
    };
    crash_everywhere(25, prepare, act, check).await;
}

#[tokio::test]
async fn changing_a_client_for_people_survives_a_crash_at_any_call() {
    let act = async |_: &Bench, broker: &Working, id: &str| {
        let interactive = InteractiveSettings { sign_out_urls: vec![OUT.to_owned()], ..sign_in() };
        let patch = ClientPatch { interactive: Some(interactive), ..Default::default() };
        broker.clients.update(&call(), &client_name(&people_of(id)), patch, None, false).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let client: Client = bench.backend.record(Shelf::Client, &key(&people_of(id))).await.expect("there");
        let pool: Pool = bench.backend.record(Shelf::Pool, client.pool.as_str()).await.expect("there");
        let (pool, app_client) = (pool.made.expect("made"), client.app_client.expect("made"));
        let seen = bench.backend.0.user_pools.describe_interactive_client(&pool, &app_client).await;
        let at_backend = seen.expect("asked").expect("there").spec.sign_out_urls;
        let registered = client.interactive.expect("for people").sign_out_urls;
        assert_eq!(at_backend.into_iter().collect::<Vec<_>>(), registered, "{id}");
        assert!(client.applied && (!answered || registered == [OUT]), "{id} was answered");
    };
    crash_everywhere(15, with_people, act, check).await;
}

#[tokio::test]
async fn deleting_a_client_for_people_survives_a_crash_at_any_call() {
    let act = async |_: &Bench, broker: &Working, id: &str| {
        broker.clients.delete(&call(), &client_name(&people_of(id)), None).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let gone = bench.backend.record::<Client>(Shelf::Client, &key(&people_of(id))).await.is_none();
        assert!(!answered || gone, "{id} was answered");
    };
    crash_everywhere(15, with_people, act, check).await;
}

async fn with_people(_: &Bench, broker: &Working, id: &str) {
    broker.create_tenant(id, Isolation::AppClient).await.expect("a tenant");
    broker.create_interactive_client(&people_of(id)).await.expect("a client");
}

#[tokio::test]
async fn onboarding_with_identity_providers_survives_a_crash_at_any_call() {
    let prepare = async |_: &Bench, _: &Working, _: &str| {};
    let act = async |_: &Bench, broker: &Working, id: &str| {
        let providers = vec![oidc_provider("okta"), saml_provider("entra")];
        broker.create_tenant_with(id, Isolation::AppClient, providers).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let there = bench.backend.record::<Tenant>(Shelf::Tenant, id).await;
        assert!(!answered || there.is_some_and(|tenant| tenant.identity_providers.len() == 2), "{id} was answered");
    };
    crash_everywhere(30, prepare, act, check).await;
}

#[tokio::test]
async fn a_change_of_identity_providers_survives_a_crash_at_any_call() {
    let act = async |_: &Bench, broker: &Working, id: &str| {
        let wanted = vec![oidc_provider("adfs"), saml_provider("entra")];
        let patch = TenantPatch { identity_providers: Some(wanted), ..Default::default() };
        broker.tenants.update(&call(), &tenant_id(id), patch, None, false).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let tenant: Tenant = bench.backend.record(Shelf::Tenant, id).await.expect("there");
        let ids: Vec<_> = tenant.identity_providers.iter().map(|provider| provider.id.as_str()).collect();
        assert!(!answered || ids == ["adfs", "entra"], "{id} was answered");
        let client: Client = bench.backend.record(Shelf::Client, &key(&people_of(id))).await.expect("there");
        let pool: Pool = bench.backend.record(Shelf::Pool, client.pool.as_str()).await.expect("there");
        let (pool, app_client) = (pool.made.expect("made"), client.app_client.expect("made"));
        let seen = bench.backend.0.user_pools.describe_interactive_client(&pool, &app_client).await;
        let offered = seen.expect("asked").expect("there").spec.providers;
        let has = tenant.identity_providers.iter().map(|provider| provider.name.clone());
        assert_eq!(offered, has.collect(), "{id} is offered what it has");
    };
    crash_everywhere(30, with_providers, act, check).await;
}

#[tokio::test]
async fn deleting_a_tenant_with_identity_providers_survives_a_crash_at_any_call() {
    let act = async |_: &Bench, broker: &Working, id: &str| {
        broker.tenants.delete(&call(), &tenant_id(id), None, false).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let gone = bench.backend.record::<Tenant>(Shelf::Tenant, id).await.is_none();
        assert!(!answered || gone, "{id} was answered");
    };
    crash_everywhere(30, with_providers, act, check).await;
}

/// Two, and a client for people that has all.
async fn with_providers(_: &Bench, broker: &Working, id: &str) {
    let providers = vec![oidc_provider("okta"), saml_provider("adfs-old")];
    broker.create_tenant_with(id, Isolation::AppClient, providers).await.expect("a tenant");
    broker.create_interactive_client(&people_of(id)).await.expect("a client");
}

const OUT: &str = "https://app.example.com/out";

fn people_of(tenant: &str) -> String {
    format!("tenants/{tenant}/clients/portal")
}

#[tokio::test]
async fn deleting_a_tenant_in_a_shared_pool_survives_a_crash_at_any_call() {
    offboarding_survives_a_crash_at_any_call(Isolation::AppClient, 50).await;
}

#[tokio::test]
async fn deleting_a_tenant_with_a_pool_of_its_own_survives_a_crash_at_any_call() {
    offboarding_survives_a_crash_at_any_call(Isolation::UserPool, 50).await;
}

/// The tenant has two clients.
async fn offboarding_survives_a_crash_at_any_call(isolation: Isolation, at_least: usize) {
    let prepare = async |_: &Bench, broker: &Working, id: &str| {
        broker.create_tenant(id, isolation).await.expect("a tenant");
        broker.create_client(&client_of(id)).await.expect("a client");
        broker.create_client(&format!("tenants/{id}/clients/billing")).await.expect("another");
    };
    let act = async |_: &Bench, broker: &Working, id: &str| {
        broker.tenants.delete(&call(), &tenant_id(id), None, false).await.is_ok()
    };
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let tenant = bench.backend.record::<Tenant>(Shelf::Tenant, id).await;
        assert!(!answered || tenant.is_none(), "{id} was answered");
        let clients: Vec<Client> = bench.backend.records(Shelf::Client).await;
        let left = clients.iter().filter(|client| client.name.tenant.as_str() == id).count();
        assert_eq!(left, if tenant.is_some() { 2 } else { 0 }, "all of it or nothing");
    };
    crash_everywhere(at_least, prepare, act, check).await;
}

#[tokio::test]
async fn a_move_to_a_pool_of_its_own_survives_a_crash_at_any_call() {
    a_move_survives_a_crash_at_any_call(Isolation::AppClient, 350).await;
}

#[tokio::test]
async fn a_move_to_a_shared_pool_survives_a_crash_at_any_call() {
    a_move_survives_a_crash_at_any_call(Isolation::UserPool, 350).await;
}

async fn a_move_survives_a_crash_at_any_call(from: Isolation, at_least: usize) {
    let prepare = async |_: &Bench, broker: &Working, id: &str| {
        broker.create_tenant(id, from).await.expect("a tenant");
        broker.create_client(&client_of(id)).await.expect("a client");
    };
    let act = async |_: &Bench, broker: &Working, id: &str| start_move(broker, id, other(from)).await;
    let check = async |bench: &Bench, id: &str, answered: bool| {
        let tenant: Tenant = bench.backend.record(Shelf::Tenant, id).await.expect("there");
        assert!(!answered || tenant.moved.is_some(), "{id} was answered");
        if let Some(moved) = &tenant.moved {
            assert_eq!((tenant.isolation, moved.state), (other(from), MoveState::Succeeded), "{id}");
        }
        let pools: Vec<Pool> = bench.backend.records(Shelf::Pool).await;
        let own: Vec<_> = pools.iter().filter(|pool| pool.tenant.as_ref() == Some(&tenant.id)).collect();
        assert!(own.iter().all(|pool| pool.id == tenant.pool), "{id}: {own:?}");
    };
    crash_everywhere(at_least, prepare, act, check).await;
}

#[tokio::test]
async fn deleting_a_tenant_that_is_being_moved_survives_a_crash_at_any_call() {
    for from in [Isolation::AppClient, Isolation::UserPool] {
        let prepare = async |_: &Bench, broker: &Working, id: &str| {
            broker.create_tenant(id, from).await.expect("a tenant");
            broker.create_client(&client_of(id)).await.expect("a client");
            assert!(start_move(broker, id, other(from)).await);
        };
        let act = async |_: &Bench, broker: &Working, id: &str| {
            broker.tenants.delete(&call(), &tenant_id(id), None, false).await.is_ok()
        };
        let check = async |bench: &Bench, id: &str, answered: bool| {
            let tenant = bench.backend.record::<Tenant>(Shelf::Tenant, id).await;
            assert!(!answered || tenant.is_none(), "{id} was answered");
        };
        crash_everywhere(60, prepare, act, check).await;
    }
}

async fn start_move(broker: &Working, id: &str, target: Isolation) -> bool {
    let new = NewMove { target, user_pool: None, overlap: OVERLAP };
    broker.tenants.move_to(&call(), &tenant_id(id), &new, None, false).await.is_ok()
}

fn other(isolation: Isolation) -> Isolation {
    match isolation {
        Isolation::AppClient => Isolation::UserPool,
        Isolation::UserPool => Isolation::AppClient,
    }
}

async fn with_client(_: &Bench, broker: &Working, id: &str) {
    broker.create_tenant(id, Isolation::AppClient).await.expect("a tenant");
    broker.create_client(&client_of(id)).await.expect("a client");
}

async fn a_rotation_is_over(bench: &Bench, id: &str, answered: bool) {
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    let newest = rotations.iter().rev().find(|rotation| rotation.name.client.tenant.as_str() == id);
    assert!(!answered || newest.is_some(), "{id} was answered");
    assert!(newest.is_none_or(|rotation| rotation.state == RotationState::Succeeded), "{newest:?}");
}

/// Acts on a tenant of its own for each point at which the broker may die, until it gets through alive.
async fn crash_everywhere<T>(
    at_least: usize,
    prepare: impl AsyncFn(&Bench, &Working, &str),
    act: impl AsyncFn(&Bench, &Working, &str) -> T,
    check: impl AsyncFn(&Bench, &str, T),
) {
    const BOUND: usize = 2_000;
    let mut bench = Bench::new().await;
    for point in 0..BOUND {
        // What is checked grows with what is there, so that one file for all would take long.
        if point % 16 == 15 {
            bench = Bench::new().await;
        }
        let id = format!("tenant-{point}");
        let healthy = Working::open(bench.ports()).await.expect("a broker");
        prepare(&bench, &healthy, &id).await;
        healthy.stop().await;

        let fuse = Fuse::at(point);
        let answered = match Working::open(tolled(bench.ports(), fuse.clone())).await {
            Ok(dying) => {
                let answered = act(&bench, &dying, &id).await;
                if !fuse.is_blown() {
                    dying.work();
                    until_settled_or_blown(&bench, &fuse).await;
                }
                dying.stop().await;
                Some(answered)
            }
            Err(_) => None,
        };

        let next = Working::open(bench.ports()).await.expect("a broker");
        next.work();
        bench.settle().await;
        next.stop().await;
        bench.check(&[&client_of(&id), &format!("tenants/{id}/clients/billing")]).await;
        if let Some(answered) = answered {
            check(&bench, &id, answered).await;
        }
        if !fuse.is_blown() {
            println!("{point} points");
            assert!(point >= at_least, "only {point} points");
            return;
        }
    }
    panic!("it does not end within {BOUND} points");
}

/// Moves the clock to whatever is due next.
async fn until_settled_or_blown(bench: &Bench, fuse: &Fuse) {
    let mut looks = crate::harness::pauses(Duration::from_millis(1));
    while !fuse.is_blown() {
        let journals = bench.backend.journals().await;
        let Some(next) = journals.into_iter().map(|journal| journal.due_time).min() else { return };
        if next > keyward::broker::ports::Clock::now(&*bench.clock) {
            bench.clock.set(next);
        }
        looks.tick().await;
    }
}

fn client_of(tenant: &str) -> String {
    format!("tenants/{tenant}/clients/checkout")
}

/// Dies at one point: from then on no call gets through.
pub struct Fuse {
    point: usize,
    passed: AtomicUsize,
    blown: AtomicBool,
}

impl Fuse {
    pub fn at(point: usize) -> Arc<Self> {
        Arc::new(Fuse { point, passed: AtomicUsize::new(0), blown: AtomicBool::new(false) })
    }

    pub fn is_blown(&self) -> bool {
        self.blown.load(Ordering::SeqCst)
    }

    fn pass(&self, call: &'static str) -> PortResult<()> {
        if self.passed.fetch_add(1, Ordering::SeqCst) >= self.point {
            self.blown.store(true, Ordering::SeqCst);
            return Err(PortError::new(Peer::Registry, Fault::Unavailable, call, "the process has died"));
        }
        Ok(())
    }
}

#[async_trait]
impl Toll for Fuse {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        self.pass(call)
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        self.pass(call)
    }
}
