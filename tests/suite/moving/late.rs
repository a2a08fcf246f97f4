//! What a move has read of a client when that is not so any more.

use std::sync::Arc;
use std::time::Duration;

use keyward::broker::ports::{Clock as _, Shelf};
use keyward::domain::journal::Task;
use keyward::proto::{self, Isolation, RotationState, TenantMoveState};
use keyward::runtime::clock::ManualClock;

use super::{
    BILLING, DAY, ORDERS, counts, furnish, furnished, move_of, move_over, start, state_of, tenant, until, until_over,
    until_trouble,
};
use crate::harness::backend::Backend;
use crate::harness::propagation::Propagation;
use crate::harness::rotations::{eventually, get_client, rotate_at_once, try_rotate};
use crate::harness::stops::{At, Stop};
use crate::harness::{span, start_time};

const SECOND: Duration = Duration::from_secs(1);
/// How long a move waits at the most before it looks whether it still has to.
const LOOK: Duration = Duration::from_secs(15 * 60);
/// Much longer than that.
const LONG: Duration = Duration::from_secs(20 * DAY.as_secs());

#[tokio::test]
async fn clients_that_come_to_the_new_place_while_a_listing_of_them_is_on_its_way_are_not_waited_for() {
    let (clock, propagation) = (Arc::new(ManualClock::new(start_time())), Arc::new(Propagation::default()));
    let stop = Arc::new(Stop::default());
    let through = |ports| stop.through(propagation.through(ports));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, through).await;
    furnish(&daemon, Isolation::AppClient).await;
    propagation.stop();
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::from_secs(60))).await.expect("started");
    eventually("new app clients are there", async || {
        let counts = counts(&daemon).await;
        counts.len() == 2 && counts.iter().all(|(_, count)| *count == 2)
    })
    .await;

    stop.at(At::Found("scan", Shelf::Client));
    eventually("the move lists its clients", async || {
        // No further than to what is due: the new app clients are given up after a quarter of an hour.
        let due = backend.journals().await.into_iter().map(|journal| journal.due_time).min();
        clock.set(due.map_or(clock.now(), |due| due.max(clock.now())));
        stop.has_been_reached()
    })
    .await;
    propagation.resume();
    let home = tenant(&daemon, "acme").await.pool;
    for name in [BILLING, ORDERS] {
        eventually("it is where the tenant is", async || {
            clock.advance(SECOND);
            get_client(&daemon.channel, name).await.pool == home
        })
        .await;
    }
    stop.go();
    eventually("the move has seen them", async || {
        clock.advance(SECOND);
        state_of(&tenant(&daemon, "acme").await) != TenantMoveState::Running
    })
    .await;
    assert_eq!(move_of(&tenant(&daemon, "acme").await).moved_client_count, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn an_overlap_that_an_operator_ends_early_is_not_waited_for() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    let request =
        proto::RotateClientSecretRequest { name: BILLING.to_owned(), overlap: span(LONG), ..Default::default() };
    let rotation = try_rotate(&daemon.channel, request).await.expect("rotated");
    assert_eq!(rotation.state(), RotationState::Overlap);
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::ZERO)).await.expect("started");
    until_trouble(&daemon, "acme", "ROTATION_RUNNING").await;

    rotate_at_once(&daemon.channel, BILLING).await;
    clock.advance(LOOK);
    let over = until_over(&daemon, &clock, "acme").await;
    assert_eq!(get_client(&daemon.channel, BILLING).await.pool, over.pool);
    daemon.stop().await;
}

#[tokio::test]
async fn an_overlap_of_clients_that_are_deleted_is_not_waited_for() {
    let clock = Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| ports).await;
    furnish(&daemon, Isolation::AppClient).await;
    start(&daemon, move_over("acme", Isolation::UserPool, LONG)).await.expect("started");
    until(&daemon, "acme", TenantMoveState::Overlap).await;
    eventually("it waits", async || {
        let journals = backend.journals().await;
        let mut moves = journals.iter().filter(|journal| matches!(journal.task, Task::MoveTenant(_)));
        moves.all(|journal| journal.due_time > clock.now())
    })
    .await;

    for name in [BILLING, ORDERS] {
        let request = proto::DeleteClientRequest { name: name.to_owned(), ..Default::default() };
        daemon.clients().delete_client(request).await.expect("deleted");
    }
    clock.advance(LOOK);
    until_over(&daemon, &clock, "acme").await;
    daemon.stop().await;
}
