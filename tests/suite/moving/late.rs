//! What a move has read of a client when that is not so any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::ports::{Clock as _, PortResult, Shelf, StoredRecord};
use keyward::proto::{Isolation, TenantMoveState};
use keyward::runtime::clock::ManualClock;
use tokio::sync::Notify;

use super::{BILLING, ORDERS, counts, furnish, move_of, move_over, start, state_of, tenant};
use crate::harness::backend::Backend;
use crate::harness::propagation::Propagation;
use crate::harness::readings::{Reader, told_by};
use crate::harness::rotations::{eventually, get_client};
use crate::harness::start_time;

const SECOND: Duration = Duration::from_secs(1);

/// Holds a listing of clients back.
#[derive(Default)]
struct HeldBack {
    is_armed: AtomicBool,
    is_read: AtomicBool,
    go_on: Notify,
}

#[async_trait]
impl Reader for HeldBack {
    async fn told(
        &self,
        how: &'static str,
        shelf: Shelf,
        found: PortResult<Vec<StoredRecord>>,
    ) -> PortResult<Vec<StoredRecord>> {
        if (how, shelf) == ("scan", Shelf::Client) && self.is_armed.swap(false, Ordering::SeqCst) {
            self.is_read.store(true, Ordering::SeqCst);
            self.go_on.notified().await;
        }
        found
    }
}

#[tokio::test]
async fn clients_that_come_to_the_new_place_while_a_listing_of_them_is_on_its_way_are_not_waited_for() {
    let (clock, propagation) = (Arc::new(ManualClock::new(start_time())), Arc::new(Propagation::default()));
    let held = Arc::new(HeldBack::default());
    let through = |ports| told_by(propagation.through(ports), held.clone());
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, through).await;
    furnish(&daemon, Isolation::AppClient).await;
    propagation.stop();
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::from_secs(60))).await.expect("started");
    eventually("new app clients are there", async || {
        let counts = counts(&daemon).await;
        counts.len() == 2 && counts.iter().all(|(_, count)| *count == 2)
    })
    .await;

    held.is_armed.store(true, Ordering::SeqCst);
    eventually("the move lists its clients", async || {
        // No further than to what is due: the new app clients are given up after a quarter of an hour.
        let due = backend.journals().await.into_iter().map(|journal| journal.due_time).min();
        clock.set(due.map_or(clock.now(), |due| due.max(clock.now())));
        held.is_read.load(Ordering::SeqCst)
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
    held.go_on.notify_one();
    eventually("the move has seen them", async || {
        clock.advance(SECOND);
        state_of(&tenant(&daemon, "acme").await) != TenantMoveState::Running
    })
    .await;
    assert_eq!(move_of(&tenant(&daemon, "acme").await).moved_client_count, 2);
    daemon.stop().await;
}
