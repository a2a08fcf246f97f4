//! Brokers that share a registry and carry one move on, and one that is gone in the middle of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use keyward::broker::api::NewMove;
use keyward::broker::ports::Shelf;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::moving::MoveState;
use keyward::domain::tenant::{Isolation, Tenant};

use crate::harness::brokers::{Bench, Working, call, tenant_id};
use crate::harness::stops::{At, Stop};

const CLIENTS: usize = 40;

#[tokio::test]
async fn two_brokers_carry_one_move_on_and_leave_nothing_behind() {
    let bench = Bench::new().await;
    let [first, second] = [sharing(&bench).await, sharing(&bench).await];
    let names = tenant_with_clients(&first).await;
    for target in [Isolation::UserPool, Isolation::AppClient] {
        start(&first, target).await;
        first.work();
        second.work();
        bench.settle().await;
        check(&bench, target, &names).await;
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_move_whose_broker_is_gone_is_carried_on_by_another() {
    let bench = Bench::new().await;
    let first = sharing(&bench).await;
    let names = tenant_with_clients(&first).await;
    // It carries on what it has begun, a page of clients, and no more.
    start(&first, Isolation::UserPool).await;
    first.stop().await;
    let tenant: Tenant = bench.backend.record(Shelf::Tenant, "acme").await.expect("there");
    let moved = tenant.moved.expect("it is being moved");
    assert_eq!((moved.state, moved.moved_client_count), (MoveState::Running, 32), "how far it is");
    let second = sharing(&bench).await;
    second.work();
    bench.settle().await;
    second.stop().await;
    check(&bench, Isolation::UserPool, &names).await;
}

#[tokio::test]
async fn a_pool_that_is_made_for_a_tenant_that_another_broker_deletes_meanwhile_goes_too() {
    let bench = Bench::new().await;
    let stop = Arc::new(Stop::default());
    let first = Working::open(stop.through(bench.ports())).await.expect("a broker");
    let second = Working::open(bench.ports()).await.expect("a broker");
    second.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    stop.at(At::Before("ensure_pool"));
    start(&first, Isolation::UserPool).await;
    stop.reached().await;
    second.tenants.delete(&call(), &tenant_id("acme"), None, false).await.expect("deleted");
    stop.go();
    first.stop().await;
    second.stop().await;
    bench.check(&[]).await;
}

async fn sharing(bench: &Bench) -> Working {
    Working::open_with(bench.ports(), |settings| settings.journal.lease = Some(LeaseTerms::default()))
        .await
        .expect("a broker")
}

/// More than a page of them.
async fn tenant_with_clients(broker: &Working) -> Vec<String> {
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    let names: Vec<_> = (0..CLIENTS).map(|number| format!("tenants/acme/clients/client-{number}")).collect();
    for name in &names {
        broker.create_client(name).await.expect("a client");
    }
    names
}

async fn start(broker: &Working, target: Isolation) {
    let new = NewMove { target, user_pool: None, overlap: Duration::from_secs(60) };
    broker.tenants.move_to(&call(), &tenant_id("acme"), &new, None, false).await.expect("started");
}

async fn check(bench: &Bench, target: Isolation, names: &[String]) {
    let tenant: Tenant = bench.backend.record(Shelf::Tenant, "acme").await.expect("there");
    let moved = tenant.moved.expect("moved");
    assert_eq!((tenant.isolation, moved.state, moved.moved_client_count), (target, MoveState::Succeeded, 40));
    // The clock goes to whatever is due next, so that what nobody says is due is late.
    let took = moved.end_time.expect("over").duration_since(moved.create_time);
    assert!(took < SignedDuration::from_hours(48), "{took}");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    bench.check(&names).await;
}
