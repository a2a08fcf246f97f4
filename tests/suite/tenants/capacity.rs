//! What a Region holds against its quotas: told by `ListPools`, and refused before anything is begun where it is full.

use std::sync::Arc;
use std::time::Duration;

use keyward::broker::api::Page;
use keyward::broker::ports::{Action, ChangeSet, Shelf, Write};
use keyward::broker::settings::Settings;
use keyward::domain::error::{Error, Reason};
use keyward::domain::form::Form;
use keyward::domain::id::{PoolId, TenantId};
use keyward::domain::pool::Pool;
use keyward::domain::quota::{Ceilings, Held, Quota, RegionUse};
use keyward::domain::tenant::{Isolation, TenantState, UserPoolSettings};
use keyward::proto;
use keyward::runtime::clock::SystemClock;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fake;
use crate::harness::aws_bench::AwsBench;
use crate::harness::backend::Backend;
use crate::harness::brokers::{Bench, Working, call, custom_domain, tenant_id};
use crate::harness::{Daemon, create_tenant, details, new_client, new_tenant};

const REGION: &str = "local";

/// A daemon whose Region takes so many pools, and a shared pool so many app clients.
async fn daemon_with(pools: u32, app_clients: u32) -> Daemon {
    let edit = |config: &mut keyward::config::Config| {
        config.quotas.user_pools_per_region = pools;
        config.quotas.app_clients_per_user_pool = 2;
        config.pools.app_clients_per_shared_pool = app_clients;
    };
    let daemon = Daemon::start_with(Arc::new(SystemClock), edit).await;
    daemon.put_orders_api().await;
    daemon
}

/// Fails unless it is refused since this quota is used up, with what its error says of it.
#[track_caller]
fn assert_full<T>(answer: Result<T, tonic::Status>, quota: &str, limit: &str) {
    let status = answer.err().expect("refused");
    let told = details(&status);
    assert_eq!((told.code, told.reason.as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
    let metadata = status.get_error_details().error_info().expect("ErrorInfo").metadata.clone();
    let said = (metadata.get("quota").map(String::as_str), metadata.get("limit").map(String::as_str));
    assert_eq!(said, (Some(quota), Some(limit)));
    // What is full: the Region, or the pool by its name.
    match metadata.get("region") {
        Some(region) => assert_eq!(region, REGION),
        None => assert!(metadata["resource"].starts_with("pools/"), "{status:?}"),
    }
}

async fn listed(daemon: &Daemon) -> proto::ListPoolsResponse {
    daemon.catalog().list_pools(proto::ListPoolsRequest::default()).await.expect("listed").into_inner()
}

fn told(usages: &[proto::QuotaUsage]) -> Vec<(&str, &str, i64, i64)> {
    usages.iter().map(|usage| (usage.quota.as_str(), usage.region.as_str(), usage.used, usage.limit)).collect()
}

#[tokio::test]
async fn a_tenant_for_whom_there_is_no_room_is_refused_before_anything_is_begun() {
    let daemon = daemon_with(2, 1).await;
    create_tenant(&daemon.channel, "acme", proto::Isolation::UserPool).await;
    create_tenant(&daemon.channel, "globex", proto::Isolation::UserPool).await;
    for isolation in [proto::Isolation::UserPool, proto::Isolation::AppClient] {
        for validate_only in [true, false] {
            let request = proto::CreateTenantRequest { validate_only, ..new_tenant("initech", isolation) };
            assert_full(daemon.tenants().create_tenant(request).await, "User pools per Region", "2");
        }
    }
    let get = proto::GetTenantRequest { name: "tenants/initech".to_owned() };
    assert_eq!(daemon.tenants().get_tenant(get).await.expect_err("nothing was begun").code(), Code::NotFound);
    assert_eq!(listed(&daemon).await.pools.len(), 2);

    // A pool that goes leaves its place, here to a shared one.
    let delete = proto::DeleteTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(delete).await.expect("deleted");
    daemon.create_tenant("initech").await;
    assert_full(
        daemon.tenants().create_tenant(new_tenant("globex", proto::Isolation::UserPool)).await,
        "User pools per Region",
        "2",
    );
    // While the shared pool has room, it is for more tenants; then it is full, and so is the Region.
    daemon.create_tenant("hooli").await;
    daemon.create_client("hooli", "orders").await;
    let late = daemon.tenants().create_tenant(new_tenant("umbrella", proto::Isolation::AppClient)).await;
    assert_full(late, "User pools per Region", "2");
    let late = daemon.clients().create_client(new_client("initech", "orders")).await;
    assert_full(late, "User pools per Region", "2");
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenants_own_pool_that_is_full_takes_no_more_clients() {
    let daemon = daemon_with(1, 1).await;
    create_tenant(&daemon.channel, "acme", proto::Isolation::UserPool).await;
    for id in ["one", "two"] {
        daemon.create_client("acme", id).await;
    }
    let late = daemon.clients().create_client(new_client("acme", "three")).await;
    assert_full(late, "App clients per user pool", "2");
    daemon.stop().await;
}

#[tokio::test]
async fn pools_are_listed_with_what_they_and_their_region_hold_against_the_quotas() {
    let daemon = daemon_with(7, 1).await;
    let of_region =
        |pools| vec![("User pools per Region", REGION, pools, 7), ("Custom domains per Region", REGION, 0, 4)];
    assert_eq!(told(&listed(&daemon).await.quotas), of_region(0));
    create_tenant(&daemon.channel, "acme", proto::Isolation::UserPool).await;
    daemon.create_tenant("globex").await;
    daemon.create_client("acme", "orders").await;
    let all = listed(&daemon).await;
    assert_eq!(told(&all.quotas), of_region(2));
    let app_clients = |pool: &proto::Pool| if pool.tenant.is_empty() { 0 } else { 1 };
    for pool in &all.pools {
        assert_eq!(
            told(&pool.quotas),
            [
                ("App clients per user pool", REGION, app_clients(pool), 2),
                ("Resource servers per user pool", REGION, 1, 25)
            ],
            "{pool:?}"
        );
    }
    // They are of the Region, whatever pools are asked for.
    let none = proto::ListPoolsRequest { region: "elsewhere".to_owned(), ..Default::default() };
    let none = daemon.catalog().list_pools(none).await.expect("listed").into_inner();
    assert_eq!((none.pools.len(), told(&none.quotas)), (0, of_region(2)));
    let delete = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(delete).await.expect("deleted");
    assert_eq!(told(&listed(&daemon).await.quotas), of_region(1));
    daemon.stop().await;
}

/// Two brokers that know nothing of each other, on one file.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_brokers_that_want_the_last_place_one_has_it() {
    let bench = Bench::new().await;
    let last =
        |settings: &mut Settings| settings.ceilings = Ceilings { user_pools_per_region: 1, ..Ceilings::default() };
    let one = Arc::new(Working::open_with(bench.ports(), last).await.expect("a broker"));
    let other = Arc::new(Working::open_with(bench.ports(), last).await.expect("a broker"));
    for round in 0..20 {
        let ask = |broker: &Arc<Working>, id: String| {
            let broker = broker.clone();
            tokio::spawn(async move { broker.create_tenant(&id, Isolation::UserPool).await })
        };
        let asked = [ask(&one, format!("one-{round}")), ask(&other, format!("other-{round}"))];
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.expect("ran"));
        }
        let refused: Vec<&Error> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert_eq!(
            refused.iter().map(|error| error.reason()).collect::<Vec<_>>(),
            [Reason::QuotaExceeded],
            "{refused:?}"
        );
        assert_eq!(used(&one).await, Some(1));
        let winner = if answers[0].is_ok() { format!("one-{round}") } else { format!("other-{round}") };
        one.tenants.delete(&call(), &tenant_id(&winner), None, false).await.expect("deleted");
        assert_eq!(used(&one).await, Some(0));
    }
    for broker in [one, other] {
        Arc::into_inner(broker).expect("nobody else has it").stop().await;
    }
}

/// Pools of the Region, as a broker tells; `None` where it does not.
async fn used(broker: &Working) -> Option<u32> {
    used_of(broker, Quota::UserPools).await
}

async fn used_of(broker: &Working, quota: Quota) -> Option<u32> {
    let listing = broker.catalog.list_pools(Default::default(), Page { after: None, size: 1 }).await.expect("listed");
    listing.quotas.iter().find(|usage| usage.quota == quota).map(|usage| usage.used)
}

async fn until_counted(broker: &Working) {
    let mut looks = crate::harness::pauses(Duration::from_millis(2));
    for _ in 0..10_000 {
        if used(broker).await.is_some() {
            return;
        }
        looks.tick().await;
    }
}

/// A pool that is not made, of that tenant or shared.
fn unmade(id: &str, tenant: Option<TenantId>, app_clients: u32) -> Write {
    let id = PoolId::parse("pool", id).expect("an id");
    let pool = Pool {
        id: id.clone(),
        tenant,
        region: String::new(),
        made: None,
        adopted: None,
        app_clients,
        catalog_version: 0,
        create_time: crate::harness::start_time(),
    };
    let body = serde_json::to_vec(&pool).expect("JSON");
    let action = Action::Put { body, form: Form::FIRST, due_time: None };
    Write { shelf: Shelf::Pool, key: id.to_string(), expected: None, action }
}

/// Changes the registry past every broker.
async fn write(backend: &Backend, writes: Vec<Write>) {
    backend.0.registry.commit(ChangeSet { writes, events: Vec::new() }).await.expect("written");
}

async fn count_of(backend: &Backend) -> keyward::broker::ports::StoredRecord {
    let read =
        backend.0.registry.get(Shelf::Setting, &format!("region-use/{REGION}")).await.expect("the registry reads");
    read.expect("there is a count")
}

async fn forget_count(backend: &Backend) {
    let count = count_of(backend).await;
    write(
        backend,
        vec![Write { shelf: Shelf::Setting, key: count.key, expected: Some(count.version), action: Action::Delete }],
    )
    .await;
}

#[tokio::test]
async fn a_registry_without_a_count_begins_one_and_a_wrong_one_is_mended_by_reconciling() {
    let bench = Bench::new().await;
    let last =
        |settings: &mut Settings| settings.ceilings = Ceilings { user_pools_per_region: 3, ..Ceilings::default() };
    let broker = Working::open_with(bench.ports(), last).await.expect("a broker");
    for id in ["acme", "globex"] {
        broker.create_tenant(id, Isolation::UserPool).await.expect("a tenant");
    }
    // One elsewhere is counted there.
    let elsewhere = UserPoolSettings { region: "us-east-1".to_owned(), ..Default::default() };
    broker.create_tenant_like("far", elsewhere).await.expect("a tenant");
    // As a release left it that counted nothing.
    forget_count(&bench.backend).await;
    assert_eq!(used(&broker).await, Some(2));
    broker.create_tenant("initech", Isolation::UserPool).await.expect("a tenant");
    assert_eq!(used(&broker).await, Some(3));
    let full = broker.create_tenant("hooli", Isolation::UserPool).await.expect_err("full");
    assert_eq!(full.reason(), Reason::QuotaExceeded);
    forget_count(&bench.backend).await;
    broker.tenants.delete(&call(), &tenant_id("globex"), None, false).await.expect("deleted");
    assert_eq!(used(&broker).await, Some(2));

    // As brokers that count nothing leave it.
    let count = count_of(&bench.backend).await;
    let wrong = RegionUse::beginning(REGION, Some(Held { user_pools: 3, custom_domains: 2 }));
    let body = serde_json::to_vec(&wrong).expect("JSON");
    let action = Action::Put { body, form: Form::FIRST, due_time: None };
    write(&bench.backend, vec![Write { shelf: Shelf::Setting, key: count.key, expected: Some(count.version), action }])
        .await;
    broker.create_tenant("hooli", Isolation::UserPool).await.expect_err("full, as is written");
    broker.reconciling.reconcile(&call(), Some(tenant_id("acme")), true).await.expect("reconciled");
    broker.reconciling.reconcile(&call(), None, false).await.expect("reconciled");
    assert_eq!(used(&broker).await, Some(3), "looking changes nothing");
    broker.reconciling.reconcile(&call(), None, true).await.expect("reconciled");
    assert_eq!(used(&broker).await, Some(2));
    broker.create_tenant("hooli", Isolation::UserPool).await.expect("a tenant");
    broker.stop().await;
}

/// More pools than a call may look at, from before they were counted.
#[tokio::test]
async fn a_large_registry_without_a_count_refuses_nobody_until_it_was_counted_in_the_background() {
    const POOLS: usize = 1_200;
    let bench = Bench::new().await;
    let pool = |n: usize| {
        let tenant = TenantId::parse("tenant", &format!("tenant-{n}")).expect("an id");
        unmade(&format!("tenant-{n:016x}"), Some(tenant), 0)
    };
    let numbers: Vec<usize> = (0..POOLS).collect();
    for some in numbers.chunks(80) {
        write(&bench.backend, some.iter().map(|n| pool(*n)).collect()).await;
    }
    let broker = Working::open(bench.ports()).await.expect("a broker");
    assert_eq!(used(&broker).await, None, "nobody has counted");
    broker.create_tenant("acme", Isolation::UserPool).await.expect("nobody can tell");
    assert_eq!(used(&broker).await, None);
    broker.work();
    until_counted(&broker).await;
    let all = Some(u32::try_from(POOLS + 1).expect("few"));
    assert_eq!(used(&broker).await, all);
    let full = broker.create_tenant("globex", Isolation::UserPool).await.expect_err("1,000 by default");
    assert_eq!(full.reason(), Reason::QuotaExceeded);
    broker.stop().await;

    // And where nobody has asked for a pool.
    forget_count(&bench.backend).await;
    let another = Working::open(bench.ports()).await.expect("a broker");
    another.work();
    until_counted(&another).await;
    assert_eq!(used(&another).await, all);
    another.stop().await;
}

#[tokio::test]
async fn room_is_found_behind_more_full_pools_than_a_page_has() {
    let bench = Bench::new().await;
    let numbers: Vec<usize> = (0..200).collect();
    for some in numbers.chunks(80) {
        write(&bench.backend, some.iter().map(|n| unmade(&format!("shared-{n:016x}"), None, 1)).collect()).await;
    }
    write(&bench.backend, vec![unmade("shared-ffffffffffffffff", None, 0)]).await;
    let one = |settings: &mut Settings| settings.app_clients_per_shared_pool = 1;
    let broker = Working::open_with(bench.ports(), one).await.expect("a broker");
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    let acme = broker.tenants.get(&tenant_id("acme")).await.expect("there").tenant;
    assert_eq!(acme.pool.as_str(), "shared-ffffffffffffffff");
    broker.stop().await;
}

#[tokio::test]
async fn domains_on_their_way_and_pools_that_are_not_made_are_counted_too() {
    let bench = AwsBench::new().await;
    let broker = bench.broker().await;
    broker.create_tenant_at("acme", custom_domain("login.acme.example")).await.expect("a tenant");
    bench.fake.set_ceilings(fake::Ceilings { user_pools: 1, ..fake::Ceilings::default() });
    broker.create_tenant_at("globex", custom_domain("login.globex.example")).await.expect("written down");
    let told = async || [used(&broker).await, used_of(&broker, Quota::CustomDomains).await];
    assert_eq!(told().await, [Some(2), Some(2)]);
    // Which counts anew.
    broker.reconciling.reconcile(&call(), None, true).await.expect("reconciled");
    assert_eq!(told().await, [Some(2), Some(2)]);
    bench.fake.set_ceilings(fake::Ceilings::default());
    bench.settle(|| false).await;
    broker.reconciling.reconcile(&call(), None, true).await.expect("reconciled");
    assert_eq!(told().await, [Some(2), Some(2)]);
    broker.stop().await;
    bench.check(&[]).await;
}

/// Others have pools in the account, too: what Cognito says counts, for five minutes or until a pool goes.
#[tokio::test]
async fn what_cognito_says_is_the_last_word_and_is_remembered() {
    let bench = AwsBench::new().await;
    bench.fake.set_ceilings(fake::Ceilings { user_pools: 1, ..fake::Ceilings::default() });
    let broker = bench.broker().await;
    broker.create_tenant("acme", Isolation::UserPool).await.expect("a tenant");
    let usage = async || {
        let listing =
            broker.catalog.list_pools(Default::default(), Page { after: None, size: 1 }).await.expect("listed");
        listing.quotas.iter().map(|usage| (usage.region.clone(), usage.used, usage.limit)).next().expect("one")
    };
    assert_eq!(usage().await, (fake::REGION.to_owned(), 1, 1_000));

    // Nobody knew. It is begun, and goes on by itself when there is room.
    broker.create_tenant_at("globex", custom_domain("login.globex.example")).await.expect("written down");
    let globex = broker.tenants.get(&tenant_id("globex")).await.expect("there");
    assert_eq!(globex.tenant.state, TenantState::Creating);
    assert!(globex.tenant.state_reason.contains("User pools per Region"), "{}", globex.tenant.state_reason);
    assert_eq!(usage().await, (fake::REGION.to_owned(), 2, 2));
    // From now on it is known, in this Region.
    for isolation in [Isolation::UserPool, Isolation::AppClient] {
        let full = broker.create_tenant("initech", isolation).await.expect_err("full");
        assert_eq!(full.reason(), Reason::QuotaExceeded);
        assert!(full.metadata().contains(&("quota", "User pools per Region".to_owned())), "{full:?}");
    }
    // Counting anew tells nothing of others' pools.
    broker.reconciling.reconcile(&call(), None, true).await.expect("reconciled");
    broker.create_tenant("initech", Isolation::AppClient).await.expect_err("full");
    // By another broker as well.
    let other = bench.broker().await;
    other.create_tenant("initech", Isolation::AppClient).await.expect_err("full");
    other.stop().await;

    bench.fake.set_ceilings(fake::Ceilings::default());
    bench.settle(|| false).await;
    assert_eq!(broker.tenants.get(&tenant_id("globex")).await.expect("there").tenant.state, TenantState::Active);
    assert_eq!(usage().await, (fake::REGION.to_owned(), 2, 1_000), "it took one, so there is room");
    broker.create_tenant("initech", Isolation::AppClient).await.expect("a tenant");
    broker.stop().await;
    bench.check(&[]).await;
}

/// A shared pool that Cognito will not make is room for nobody.
#[tokio::test]
async fn tenants_are_not_put_into_a_pool_that_cognito_refuses_to_make() {
    let bench = AwsBench::new().await;
    bench.fake.set_ceilings(fake::Ceilings { user_pools: 1, ..fake::Ceilings::default() });
    let broker = bench.broker().await;
    broker.create_tenant("acme", Isolation::UserPool).await.expect("a tenant");
    broker.create_tenant("globex", Isolation::AppClient).await.expect("written down, with a pool that is to be made");
    let full = broker.create_tenant("initech", Isolation::AppClient).await.expect_err("no pool that is there");
    assert_eq!(full.reason(), Reason::QuotaExceeded);
    broker.tenants.delete(&call(), &tenant_id("acme"), None, false).await.expect("deleted");
    broker.create_tenant("initech", Isolation::AppClient).await.expect("there is room");
    bench.settle(|| false).await;
    for id in ["globex", "initech"] {
        assert_eq!(broker.tenants.get(&tenant_id(id)).await.expect("there").tenant.state, TenantState::Active);
    }
    broker.stop().await;
    bench.check(&[]).await;
}
