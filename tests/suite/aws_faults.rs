//! AWS fails at any call of any operation, in every way that it can, and then the broker is started anew: nothing is
//! lost, and nothing is left.
//!
//! A point is an operation, a call of it, and what goes wrong at that call. [`sweep`] tries them one by one, each from the
//! same beginning; the output says how many there were.

mod sweep;

use std::time::Duration;

use keyward::broker::api::{NewImport, NewMove, RotationRequest, SecretSource};
use keyward::broker::ports::{AppClientSpec, Shelf};
use keyward::domain::client::Client;
use keyward::domain::id::AppClientId;
use keyward::domain::moving::{MoveState, TenantMove};
use keyward::domain::pool::Pool;
use keyward::domain::rotation::{Rotation, RotationState};
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::domain::tenant::{FeaturePlan, HostedDomain, Isolation, Mfa, PasswordPolicy, Tenant, UserPoolSettings};

use crate::harness::SCOPES;
use crate::harness::aws_bench::{AwsBench, FOREIGN};
use crate::harness::backend::key;
use crate::harness::brokers::{Working, call, client_name, custom_domain, tenant_id};
use sweep::{Operation, sweep};

const TENANT: &str = "acme";
const DOMAIN: &str = "login.acme.example";
const CLIENT: &str = "tenants/acme/clients/checkout";
/// Of another tenant, whom nothing of this concerns.
const BYSTANDER: &str = "tenants/bigco/clients/checkout";
const OVERLAP: Duration = Duration::from_secs(60);
const SHARED: Isolation = Isolation::AppClient;
const DEDICATED: Isolation = Isolation::UserPool;

#[test]
fn onboarding_in_a_shared_pool_survives_a_fault_at_any_call() {
    onboarding("onboarding, first in a shared pool", SHARED, 14);
}

#[test]
fn onboarding_with_a_pool_of_its_own_survives_a_fault_at_any_call() {
    onboarding("onboarding, dedicated pool", DEDICATED, 18);
}

/// The tenant and its first client.
fn onboarding(name: &'static str, isolation: Isolation, calls: usize) {
    let act = async |_: &AwsBench, broker: &Working| {
        let tenant = broker.create_tenant(TENANT, isolation).await.is_ok();
        (tenant, broker.create_client(CLIENT).await.is_ok())
    };
    let check = async |bench: &AwsBench, (tenant, client): (bool, bool)| {
        assert!(!tenant || tenant_is_there(bench).await, "the tenant was answered");
        assert!(!client || client_is_there(bench).await, "the client was answered");
    };
    sweep(&Operation::new(name, calls, 1), async |_, _| {}, act, check);
}

#[test]
fn issuing_in_a_shared_pool_survives_a_fault_at_any_call() {
    issuing("issuing, shared", SHARED);
}

#[test]
fn issuing_in_a_pool_of_its_own_survives_a_fault_at_any_call() {
    issuing("issuing, dedicated", DEDICATED);
}

/// A client beside others.
fn issuing(name: &'static str, isolation: Isolation) {
    let prepare = async |_: &AwsBench, broker: &Working| {
        bystander(broker).await;
        broker.create_tenant(TENANT, isolation).await.expect("a tenant");
    };
    let act = async |_: &AwsBench, broker: &Working| broker.create_client(CLIENT).await.is_ok();
    let check = async |bench: &AwsBench, answered: bool| {
        assert!(!answered || client_is_there(bench).await, "it was answered");
    };
    sweep(&Operation::new(name, 8, 1), prepare, act, check);
}

#[test]
fn an_import_survives_a_fault_at_any_call() {
    let prepare = async |bench: &AwsBench, broker: &Working| {
        with_client(broker, SHARED).await;
        let (pool, spec) = (the_pool(bench).await, foreign_spec());
        let made = pool.made.expect("made");
        let ports = &bench.backend.0;
        ports.user_pools.create_app_client(&made, &spec, &foreign_secret()).await.expect("an app client of others");
    };
    let act = async |bench: &AwsBench, broker: &Working| {
        let app_clients = bench.fake.inventory().app_clients;
        let foreign = app_clients.into_iter().find(|client| client.name == FOREIGN).expect("made").id;
        let name = client_name(IMPORTED);
        let new = NewImport {
            tenant: name.tenant,
            id: name.client,
            pool: the_pool(bench).await.id,
            app_client: AppClientId::parse("app_client", &foreign).expect("an id"),
            secret: SecretSource::Given(foreign_secret()),
            display_name: String::new(),
            labels: Default::default(),
            scopes: None,
            access_token_validity: Some(Duration::from_secs(600)),
            rotation: None,
            secret_readers: Vec::new(),
        };
        broker.clients.import(&call(), new, false).await.is_ok()
    };
    let check = async |bench: &AwsBench, answered: bool| {
        let client: Option<Client> = bench.backend.record(Shelf::Client, &key(IMPORTED)).await;
        assert!(!answered || client.is_some(), "it was answered");
    };
    sweep(&Operation { leaves_orphans: true, ..Operation::new("import, shared", 12, 2) }, prepare, act, check);
}

const IMPORTED: &str = "tenants/acme/clients/legacy";

fn foreign_spec() -> AppClientSpec {
    AppClientSpec {
        marker: FOREIGN.to_owned(),
        scopes: ScopeSet::parse("scopes", &SCOPES).expect("scopes"),
        access_token_validity: Duration::from_secs(3_600),
    }
}

fn foreign_secret() -> ClientSecret {
    ClientSecret::parse("secret", "a1b2c3d4e5f6a1b2c3d4e5f6").expect("a secret")
}

/// The first, which is the only shared one.
async fn the_pool(bench: &AwsBench) -> Pool {
    bench.backend.records(Shelf::Pool).await.into_iter().next().expect("a pool")
}

#[test]
fn a_rotation_with_overlap_in_a_shared_pool_survives_a_fault_at_any_call() {
    rotation("rotation with overlap, shared", SHARED, overlapping(false), 28);
}

#[test]
fn a_rotation_with_overlap_in_a_pool_of_its_own_survives_a_fault_at_any_call() {
    rotation("rotation with overlap, dedicated", DEDICATED, overlapping(false), 28);
}

#[test]
fn an_immediate_rotation_in_a_shared_pool_survives_a_fault_at_any_call() {
    rotation("immediate rotation, shared", SHARED, immediate(false), 24);
}

#[test]
fn an_immediate_rotation_in_a_pool_of_its_own_survives_a_fault_at_any_call() {
    rotation("immediate rotation, dedicated", DEDICATED, immediate(false), 24);
}

#[test]
fn a_replacement_with_overlap_in_a_shared_pool_survives_a_fault_at_any_call() {
    rotation("replacement with overlap, shared", SHARED, overlapping(true), 30);
}

#[test]
fn a_replacement_with_overlap_in_a_pool_of_its_own_survives_a_fault_at_any_call() {
    rotation("replacement with overlap, dedicated", DEDICATED, overlapping(true), 30);
}

#[test]
fn an_immediate_replacement_survives_a_fault_at_any_call() {
    rotation("immediate replacement, shared", SHARED, immediate(true), 30);
}

fn overlapping(replace: bool) -> RotationRequest {
    RotationRequest { immediate: false, overlap: Some(OVERLAP), reason: String::new(), replace }
}

fn immediate(replace: bool) -> RotationRequest {
    RotationRequest { immediate: true, overlap: None, reason: String::new(), replace }
}

/// From its beginning to the end of its overlap.
fn rotation(name: &'static str, isolation: Isolation, request: RotationRequest, calls: usize) {
    let prepare = async |_: &AwsBench, broker: &Working| with_client(broker, isolation).await;
    let act = async |bench: &AwsBench, broker: &Working| {
        let started = broker.rotations.rotate(&call(), &client_name(CLIENT), request.clone(), false).await.is_ok();
        bench.clock.advance(OVERLAP);
        started
    };
    let check = async |bench: &AwsBench, answered: bool| {
        let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
        assert!(!answered || rotations.len() == 1, "it was answered");
        // Every fault comes once, so nothing is reason enough to give up.
        assert!(rotations.iter().all(|rotation| rotation.state == RotationState::Succeeded), "{rotations:?}");
        assert!(client_is_there(bench).await, "the client is lost");
    };
    sweep(&Operation { serves: Some(CLIENT), ..Operation::new(name, calls, 1) }, prepare, act, check);
}

#[test]
fn a_move_to_a_pool_of_its_own_survives_a_fault_at_any_call() {
    moving("move to a pool of its own", SHARED, DEDICATED, 40);
}

#[test]
fn a_move_to_a_shared_pool_survives_a_fault_at_any_call() {
    moving("move to a shared pool", DEDICATED, SHARED, 36);
}

/// From its beginning to the end of the old place.
fn moving(name: &'static str, from: Isolation, target: Isolation, calls: usize) {
    let prepare = async |_: &AwsBench, broker: &Working| with_client(broker, from).await;
    let act = async |_: &AwsBench, broker: &Working| {
        let new = NewMove { target, user_pool: None, overlap: OVERLAP };
        broker.tenants.move_to(&call(), &tenant_id(TENANT), &new, None, false).await.is_ok()
    };
    let check = async |bench: &AwsBench, answered: bool| {
        let tenant: Tenant = bench.backend.record(Shelf::Tenant, TENANT).await.expect("there");
        assert!(!answered || tenant.moved.is_some(), "it was answered");
        let is_over = |moved: &TenantMove| moved.state == MoveState::Succeeded && tenant.isolation == target;
        assert!(tenant.moved.as_ref().is_none_or(is_over), "it is not over");
        let pools: Vec<Pool> = bench.backend.records(Shelf::Pool).await;
        let is_home = |pool: &Pool| pool.tenant.as_ref().is_none_or(|_| pool.id == tenant.pool);
        assert!(pools.iter().all(is_home), "a pool is left behind: {pools:?}");
        assert!(client_is_there(bench).await, "the client is lost");
    };
    sweep(&Operation { serves: Some(CLIENT), ..Operation::new(name, calls, 1) }, prepare, act, check);
}

#[test]
fn deleting_a_client_in_a_shared_pool_survives_a_fault_at_any_call() {
    deletion_of_a_client("deletion of a client, shared", SHARED);
}

#[test]
fn deleting_a_client_in_a_pool_of_its_own_survives_a_fault_at_any_call() {
    deletion_of_a_client("deletion of a client, dedicated", DEDICATED);
}

fn deletion_of_a_client(name: &'static str, isolation: Isolation) {
    let prepare = async |_: &AwsBench, broker: &Working| with_client(broker, isolation).await;
    let act =
        async |_: &AwsBench, broker: &Working| broker.clients.delete(&call(), &client_name(CLIENT), None).await.is_ok();
    let check = async |bench: &AwsBench, answered: bool| {
        assert!(!answered || !client_is_there(bench).await, "it was answered");
    };
    sweep(&Operation::new(name, 2, 0), prepare, act, check);
}

#[test]
fn deleting_a_tenant_in_a_shared_pool_survives_a_fault_at_any_call() {
    offboarding("offboarding, shared", SHARED, 4);
}

#[test]
fn deleting_a_tenant_with_a_pool_of_its_own_survives_a_fault_at_any_call() {
    offboarding("offboarding, dedicated", DEDICATED, 7);
}

/// The tenant has two clients.
fn offboarding(name: &'static str, isolation: Isolation, calls: usize) {
    let prepare = async |_: &AwsBench, broker: &Working| {
        with_client(broker, isolation).await;
        broker.create_client("tenants/acme/clients/billing").await.expect("another client");
    };
    let act = async |_: &AwsBench, broker: &Working| {
        broker.tenants.delete(&call(), &tenant_id(TENANT), None, false).await.is_ok()
    };
    let check = async |bench: &AwsBench, answered: bool| {
        let is_there = tenant_is_there(bench).await;
        assert!(!answered || !is_there, "it was answered");
        let clients: Vec<Client> = bench.backend.records(Shelf::Client).await;
        let left = clients.iter().filter(|client| client.name.tenant.as_str() == TENANT).count();
        assert_eq!(left, if is_there { 2 } else { 0 }, "all of it or nothing");
    };
    sweep(&Operation::new(name, calls, 0), prepare, act, check);
}

#[test]
fn onboarding_with_a_domain_of_its_own_survives_a_fault_at_any_call() {
    let act = async |_: &AwsBench, broker: &Working| {
        let tenant = broker.create_tenant_at(TENANT, custom_domain(DOMAIN)).await.is_ok();
        (tenant, broker.create_client(CLIENT).await.is_ok())
    };
    let check = async |bench: &AwsBench, (tenant, client): (bool, bool)| {
        assert!(!tenant || tenant_is_there(bench).await, "the tenant was answered");
        assert!(!client || client_is_there(bench).await, "the client was answered");
        if tenant_is_there(bench).await {
            assert_eq!(sign_in_of(bench).await, DOMAIN);
        }
    };
    sweep(&Operation::new("onboarding, domain of its own", 26, 1), async |_, _| {}, act, check);
}

#[test]
fn a_domain_of_its_own_survives_a_fault_at_any_call() {
    change_of_domain("to a domain of its own", None, Some(custom_domain(DOMAIN)), 12);
}

#[test]
fn from_one_domain_of_its_own_to_another_survives_a_fault_at_any_call() {
    let (one, other) = (custom_domain(DOMAIN), custom_domain("auth.acme.example"));
    change_of_domain("to another domain of its own", Some(one), Some(other), 14);
}

#[test]
fn from_one_prefix_to_another_survives_a_fault_at_any_call() {
    change_of_domain("to another prefix", None, Some(HostedDomain::Prefix("acme".to_owned())), 7);
}

#[test]
fn back_to_the_brokers_choice_survives_a_fault_at_any_call() {
    change_of_domain("back from its own domain", Some(custom_domain(DOMAIN)), None, 4);
}

/// Of a tenant with a client, which has tokens all the time that Cognito has an endpoint for them.
fn change_of_domain(name: &'static str, from: Option<HostedDomain>, to: Option<HostedDomain>, calls: usize) {
    let prepare = async |_: &AwsBench, broker: &Working| {
        match from.clone() {
            Some(domain) => broker.create_tenant_at(TENANT, domain).await.expect("a tenant"),
            None => broker.create_tenant(TENANT, DEDICATED).await.expect("a tenant"),
        }
        broker.create_client(CLIENT).await.expect("a client");
    };
    let act = async |_: &AwsBench, broker: &Working| broker.move_tenant_to(TENANT, to.clone()).await.is_ok();
    let check = async |bench: &AwsBench, answered: bool| {
        let tenant: Tenant = bench.backend.record(Shelf::Tenant, TENANT).await.expect("the tenant");
        let wanted = tenant.user_pool.expect("its settings").domain;
        assert!(!answered || wanted == to, "it was answered");
        let sign_in = sign_in_of(bench).await;
        match &wanted {
            Some(domain) => assert_eq!(sign_in, domain.name()),
            None => assert!(sign_in.starts_with("keyward-tenant-"), "{sign_in}"),
        }
        // A prefix and, if that was wanted, a domain of its own: nothing of what was before is left.
        let domains = bench.fake.domains();
        let custom: Vec<_> = domains.iter().map(|(name, _)| name).filter(|name| name.contains('.')).collect();
        assert_eq!(custom, custom_name(wanted.as_ref()).as_slice(), "{domains:?}");
        assert_eq!(domains.len() - custom.len(), 1, "{domains:?}");
    };
    sweep(&Operation { serves: Some(CLIENT), ..Operation::new(name, calls, 0) }, prepare, act, check);
}

fn custom_name(domain: Option<&HostedDomain>) -> Vec<&String> {
    match domain {
        Some(HostedDomain::Custom { domain, .. }) => vec![domain],
        _ => Vec::new(),
    }
}

#[test]
fn deleting_a_tenant_with_a_domain_of_its_own_survives_a_fault_at_any_call() {
    let prepare = async |_: &AwsBench, broker: &Working| {
        broker.create_tenant_at(TENANT, custom_domain(DOMAIN)).await.expect("a tenant");
        broker.create_client(CLIENT).await.expect("a client");
    };
    let act = async |_: &AwsBench, broker: &Working| {
        broker.tenants.delete(&call(), &tenant_id(TENANT), None, false).await.is_ok()
    };
    let check = async |bench: &AwsBench, answered: bool| {
        let is_there = tenant_is_there(bench).await;
        assert!(!answered || !is_there, "it was answered");
        assert_eq!(bench.fake.domains().len(), if is_there { 2 } else { 0 }, "{:?}", bench.fake.domains());
    };
    sweep(&Operation::new("offboarding, domain of its own", 10, 0), prepare, act, check);
}

#[test]
fn onboarding_with_second_factors_survives_a_fault_at_any_call() {
    let act = async |_: &AwsBench, broker: &Working| broker.create_tenant_like(TENANT, with_factors()).await.is_ok();
    let check = async |bench: &AwsBench, answered: bool| {
        let settings = settings_of(bench).await;
        assert!(!answered || settings.is_some(), "it was answered");
        assert!(settings.is_none_or(|settings| settings == with_factors()), "not as it was asked for");
    };
    sweep(&Operation::new("onboarding, second factors", 7, 0), async |_, _| {}, act, check);
}

/// Of the password policy by one operation, and of the factors by another, which comes first on the way to the plan Lite.
#[test]
fn a_change_of_settings_and_second_factors_survives_a_fault_at_any_call() {
    let lite = || UserPoolSettings { mfa: Mfa::On, feature_plan: FeaturePlan::Lite, ..Default::default() };
    for (name, from, to, calls) in [
        ("settings, with factors", UserPoolSettings::default(), with_factors(), 5),
        ("settings, to the plan Lite", with_factors(), lite(), 6),
    ] {
        let prepare = async |_: &AwsBench, broker: &Working| {
            broker.create_tenant_like(TENANT, from.clone()).await.expect("a tenant");
        };
        let act = async |_: &AwsBench, broker: &Working| broker.change_settings(TENANT, to.clone()).await.is_ok();
        let check = async |bench: &AwsBench, answered: bool| {
            let tenant: Tenant = bench.backend.record(Shelf::Tenant, TENANT).await.expect("the tenant");
            let wanted = tenant.user_pool.expect("its settings");
            assert!(!answered || wanted == to, "it was answered");
            assert_eq!(settings_of(bench).await, Some(wanted));
        };
        sweep(&Operation::new(name, calls, 0), prepare, act, check);
    }
}

fn with_factors() -> UserPoolSettings {
    let password_policy = PasswordPolicy { history_size: 5, ..Default::default() };
    UserPoolSettings { password_policy, mfa: Mfa::Optional, ..Default::default() }
}

/// Of the tenant's pool, as Cognito says them; `None` where there is no tenant.
async fn settings_of(bench: &AwsBench) -> Option<UserPoolSettings> {
    let tenant: Tenant = bench.backend.record(Shelf::Tenant, TENANT).await?;
    let pool: Pool = bench.backend.record(Shelf::Pool, tenant.pool.as_str()).await.expect("its pool");
    let seen = bench.backend.0.user_pools.pool_settings(&pool.made.expect("made")).await;
    Some(seen.expect("read").expect("there"))
}

/// The domain that the record of the tenant's pool says.
async fn sign_in_of(bench: &AwsBench) -> String {
    let tenant: Tenant = bench.backend.record(Shelf::Tenant, TENANT).await.expect("the tenant");
    let pool: Pool = bench.backend.record(Shelf::Pool, tenant.pool.as_str()).await.expect("its pool");
    pool.made.expect("made").domain
}

async fn with_client(broker: &Working, isolation: Isolation) {
    bystander(broker).await;
    broker.create_tenant(TENANT, isolation).await.expect("a tenant");
    broker.create_client(CLIENT).await.expect("a client");
}

async fn bystander(broker: &Working) {
    broker.create_tenant("bigco", SHARED).await.expect("another tenant");
    broker.create_client(BYSTANDER).await.expect("its client");
}

async fn tenant_is_there(bench: &AwsBench) -> bool {
    bench.backend.record::<Tenant>(Shelf::Tenant, TENANT).await.is_some()
}

async fn client_is_there(bench: &AwsBench) -> bool {
    bench.backend.record::<Client>(Shelf::Client, &key(CLIENT)).await.is_some()
}
