//! What happens to a tenant and its clients while it is moved: all of it comes to its end, and so does the move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::ports::{Fault, Peer, PortError, PortResult};
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, Isolation, PoolKind, RejectionReason, RotationState, TenantMoveState, TenantState};
use keyward::runtime::clock::ManualClock;

use super::{
    BILLING, DAY, ORDERS, counts, furnish, furnished, move_of, move_over, move_request, start, state_of, tenant, until,
    until_over, until_trouble,
};
use crate::harness::backend::Backend;
use crate::harness::propagation::Propagation;
use crate::harness::rotations::{eventually, get_client, list_rotations, rotate, rotate_at_once};
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{
    Daemon, assert_invalid, create_tenant, details, get_tenant, mask, new_client, pools, refusal, rejection,
    start_time, token,
};
use crate::people::providers::{oidc, put};

const HOUR: Duration = Duration::from_secs(3_600);

/// Refuses one kind of call while it is shut.
struct Quarry {
    refuses: &'static str,
    is_shut: AtomicBool,
}

#[async_trait]
impl Toll for Quarry {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if call == self.refuses && self.is_shut.load(Ordering::SeqCst) {
            return Err(PortError::new(Peer::UserPools, Fault::Unavailable, call, "not today"));
        }
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }
}

/// A tenant whose move with these settings cannot begin, since one kind of call is refused.
async fn leaving(
    from: Isolation,
    user_pool: Option<proto::UserPoolSettings>,
    refuses: &'static str,
) -> (Daemon, Arc<ManualClock>, Arc<Quarry>) {
    let clock = Arc::new(ManualClock::new(start_time()));
    let quarry = Arc::new(Quarry { refuses, is_shut: AtomicBool::new(false) });
    let daemon = Daemon::start_through(clock.clone(), |_| {}, |ports| tolled(ports, quarry.clone())).await;
    furnish(&daemon, from).await;
    quarry.is_shut.store(true, Ordering::SeqCst);
    let target = if from == Isolation::UserPool { Isolation::AppClient } else { Isolation::UserPool };
    let request = proto::MoveTenantRequest { user_pool, ..move_over("acme", target, Duration::ZERO) };
    start(&daemon, request).await.expect("started");
    until_trouble(&daemon, "acme", "UPSTREAM_UNAVAILABLE").await;
    (daemon, clock, quarry)
}

/// A tenant whose new app clients get no token yet, so that its move stays where it is.
async fn held_up(target: Isolation) -> (Daemon, Arc<ManualClock>, Arc<Propagation>, Backend) {
    let (clock, propagation) = (Arc::new(ManualClock::new(start_time())), Arc::new(Propagation::default()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| propagation.through(ports)).await;
    let from = if target == Isolation::UserPool { Isolation::AppClient } else { Isolation::UserPool };
    furnish(&daemon, from).await;
    propagation.stop();
    start(&daemon, move_over("acme", target, HOUR)).await.expect("started");
    eventually("new app clients are there", async || {
        let counts = counts(&daemon).await;
        counts.len() == 2 && counts.iter().all(|(_, count)| *count == 2)
    })
    .await;
    // It has tried each as often as it does in one pass, and waits for the clock.
    let waiting = until_trouble(&daemon, "acme", "UPSTREAM_UNAVAILABLE").await;
    assert_eq!(state_of(&waiting), TenantMoveState::Running);
    (daemon, clock, propagation, backend)
}

#[tokio::test]
async fn until_the_new_place_is_ready_the_tenant_stays_at_home() {
    let (daemon, clock, quarry) = leaving(Isolation::AppClient, None, "ensure_pool").await;
    let home = tenant(&daemon, "acme").await;
    let provider = oidc("okta");
    assert_eq!(refusal(put(&daemon, "acme", &[provider]).await).1, "MOVE_RUNNING", "nor can their providers");
    assert_eq!((home.isolation(), state_of(&home)), (Isolation::AppClient, TenantMoveState::Running));
    let late = daemon.create_client("acme", "late").await;
    assert_eq!((late.state(), &late.pool), (proto::ClientState::Active, &home.pool));
    let people = proto::Client {
        kind: proto::ClientKind::Interactive.into(),
        scopes: vec!["openid".to_owned()],
        interactive: Some(proto::InteractiveSettings {
            callback_urls: vec!["https://app.acme.example/in".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = proto::CreateClientRequest { client: Some(people), ..new_client("acme", "portal") };
    assert_eq!(refusal(daemon.clients().create_client(request).await).1, "MOVE_RUNNING", "people cannot be moved");
    quarry.is_shut.store(false, Ordering::SeqCst);
    let over = until_over(&daemon, &clock, "acme").await;
    assert_eq!((move_of(&over).last_error_reason.as_str(), move_of(&over).moved_client_count), ("", 3));
    assert_eq!(get_client(&daemon.channel, &late.name).await.pool, over.pool);
    daemon.stop().await;
}

#[tokio::test]
async fn what_would_be_changed_of_a_pool_that_is_about_to_be_left_waits() {
    let (daemon, clock, quarry) = leaving(Isolation::UserPool, None, "ensure_pool").await;
    let protect = proto::Tenant {
        name: "tenants/acme".to_owned(),
        user_pool: Some(proto::UserPoolSettings { deletion_protection: true, ..Default::default() }),
        ..Default::default()
    };
    let update = |paths: &[&str], tenant: &proto::Tenant| proto::UpdateTenantRequest {
        tenant: Some(tenant.clone()),
        update_mask: mask(paths),
        ..Default::default()
    };
    let refused = daemon.tenants().update_tenant(update(&["user_pool.deletion_protection"], &protect)).await;
    assert_eq!(refusal(refused).1, "MOVE_RUNNING");
    let named = proto::Tenant { display_name: "Acme".to_owned(), ..protect };
    daemon.tenants().update_tenant(update(&["display_name"], &named)).await.expect("that is no matter of the pool");
    quarry.is_shut.store(false, Ordering::SeqCst);
    // A day after the old app clients were deleted their last tokens have expired.
    eventually("the move is over", async || {
        clock.advance(HOUR);
        state_of(&tenant(&daemon, "acme").await) == TenantMoveState::Succeeded
    })
    .await;
    let over = tenant(&daemon, "acme").await;
    assert_eq!((over.display_name.as_str(), over.user_pool), ("Acme", None));
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_that_is_deleted_before_its_new_place_is_there_leaves_nothing() {
    let protected = proto::UserPoolSettings { deletion_protection: true, ..Default::default() };
    for refuses in ["ensure_pool", "put_resource_server"] {
        let (daemon, _clock, _quarry) = leaving(Isolation::AppClient, Some(protected.clone()), refuses).await;
        delete(&daemon).await;
        assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 0)]);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_tenant_that_is_deleted_in_the_middle_leaves_nothing_in_either_place() {
    for target in [Isolation::UserPool, Isolation::AppClient] {
        let (daemon, _clock, _propagation, backend) = held_up(target).await;
        let token = daemon.token(ORDERS).await.access_token;
        delete(&daemon).await;
        check_gone(&daemon, &backend).await;
        assert!(matches!(daemon.verify(&token).await, Verdict::Rejected(_)));
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_tenant_that_is_deleted_in_its_overlap_leaves_nothing_in_either_place() {
    for target in [Isolation::UserPool, Isolation::AppClient] {
        let (daemon, clock, propagation, backend) = held_up(target).await;
        propagation.resume();
        move_on(&daemon, &clock, "acme", TenantMoveState::Overlap).await;
        delete(&daemon).await;
        check_gone(&daemon, &backend).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_is_created_meanwhile_goes_to_the_new_place() {
    let (daemon, clock, propagation, _) = held_up(Isolation::UserPool).await;
    let new = daemon.clients().create_client(new_client("acme", "late")).await.expect("begun").into_inner();
    assert_eq!(new.pool, tenant(&daemon, "acme").await.pool);
    propagation.resume();
    let over = until_over_in_steps(&daemon, &clock).await;
    // The pass that was under way when it came may be the last, and has not seen it: it was never to be moved.
    let counted = (move_of(&over).client_count, move_of(&over).moved_client_count);
    assert!([(2, 2), (3, 3)].contains(&counted), "{counted:?}");
    let late = get_client(&daemon.channel, &new.name).await;
    assert_eq!(
        (late.state(), late.replaced_app_clients.len()),
        (proto::ClientState::Active, 0),
        "it was never elsewhere"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_that_is_deleted_meanwhile_is_not_waited_for() {
    let (daemon, clock, propagation, _) = held_up(Isolation::UserPool).await;
    let request = proto::DeleteClientRequest { name: BILLING.to_owned(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    propagation.resume();
    let over = until_over_in_steps(&daemon, &clock).await;
    assert_eq!((move_of(&over).client_count, move_of(&over).moved_client_count), (1, 1));
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 0), (PoolKind::Dedicated, 1)]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_rotation_that_is_under_way_is_waited_for_and_nobodys_old_app_client_goes_before() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    let rotation = rotate(&daemon.channel, BILLING).await;
    assert_eq!(rotation.state(), RotationState::Overlap);
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::ZERO)).await.expect("started");
    let waiting = until_trouble(&daemon, "acme", "ROTATION_RUNNING").await;
    assert_eq!((state_of(&waiting), move_of(&waiting).moved_client_count), (TenantMoveState::Running, 1));
    // A whole day without an overlap: it was to begin when everybody is there.
    clock.advance(DAY - Duration::from_secs(60));
    let moved = &list_rotations(&daemon.channel, ORDERS).await[0];
    assert_eq!(moved.state(), RotationState::Overlap, "{moved:?}");
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 2), (PoolKind::Dedicated, 1)]);
    clock.advance(Duration::from_secs(61));
    let over = until_over(&daemon, &clock, "acme").await;
    assert_eq!(get_client(&daemon.channel, BILLING).await.pool, over.pool);
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 0), (PoolKind::Dedicated, 2)]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_compromise_meanwhile_is_answered_at_once_and_the_client_is_moved_all_the_same() {
    let (daemon, clock, propagation, _) = held_up(Isolation::UserPool).await;
    propagation.resume();
    let rotation = rotate_at_once(&daemon.channel, BILLING).await;
    assert_eq!(rotation.state(), RotationState::Succeeded, "{rotation:?}");
    let over = until_over_in_steps(&daemon, &clock).await;
    for name in [BILLING, ORDERS] {
        assert_eq!(get_client(&daemon.channel, name).await.pool, over.pool);
        daemon.token(name).await;
    }
    // What the superseded rotation may have made is looked for a quarter of an hour later.
    eventually("nothing else is left", async || {
        clock.advance(Duration::from_secs(60));
        counts(&daemon).await == [(PoolKind::Shared, 0), (PoolKind::Dedicated, 2)]
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn another_rotation_waits_for_the_end_of_the_move_unless_it_is_for_a_compromise() {
    let (daemon, _clock) = furnished(Isolation::AppClient).await;
    start(&daemon, move_request("acme", Isolation::UserPool)).await.expect("started");
    until(&daemon, "acme", TenantMoveState::Overlap).await;
    let request = proto::RotateClientSecretRequest { name: ORDERS.to_owned(), ..Default::default() };
    let refused = daemon.clients().rotate_client_secret(request).await.expect_err("not now");
    assert_eq!(details(&refused).reason, "ROTATION_RUNNING");
    let compromised = rotate_at_once(&daemon.channel, ORDERS).await;
    assert_eq!(compromised.state(), RotationState::Succeeded);
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 1), (PoolKind::Dedicated, 2)], "its old app client is gone");
    daemon.stop().await;
}

#[tokio::test]
async fn a_suspended_tenant_is_moved_and_gets_no_tokens() {
    let (daemon, clock, propagation, _) = held_up(Isolation::UserPool).await;
    let before = daemon.token(ORDERS).await.access_token;
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    propagation.resume();
    let overlapping = move_on(&daemon, &clock, "acme", TenantMoveState::Overlap).await;
    assert_eq!(overlapping.state(), TenantState::Suspended);
    assert_eq!(refusal(token(&daemon.channel, ORDERS).await).1, "TENANT_SUSPENDED");
    assert_eq!(rejection(daemon.verify(&before).await), RejectionReason::TenantSuspended);
    let request = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    let resumed = daemon.tenants().resume_tenant(request).await.expect("active again").into_inner();
    assert_eq!(state_of(&resumed), TenantMoveState::Overlap);
    assert!(matches!(daemon.verify(&before).await, Verdict::Verified(_)));
    daemon.token(ORDERS).await;
    // And so it comes to its end, whoever is suspended.
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended again");
    clock.advance(HOUR);
    assert_eq!(until_over(&daemon, &clock, "acme").await.state(), TenantState::Suspended);
    daemon.stop().await;
}

#[tokio::test]
async fn a_reconciliation_takes_nothing_of_a_move_for_a_difference() {
    for target in [Isolation::UserPool, Isolation::AppClient] {
        let (daemon, clock, propagation, _) = held_up(target).await;
        check_no_drift(&daemon).await;
        propagation.resume();
        move_on(&daemon, &clock, "acme", TenantMoveState::Overlap).await;
        check_no_drift(&daemon).await;
        clock.advance(HOUR);
        eventually("the old app clients are gone", async || counts(&daemon).await.iter().any(|(_, count)| *count == 0))
            .await;
        check_no_drift(&daemon).await;
        clock.advance(DAY);
        until_over(&daemon, &clock, "acme").await;
        check_no_drift(&daemon).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_taken_over_into_a_pool_that_is_left_or_is_not_the_home_yet() {
    let import = |pool: &str| proto::ImportClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "legacy".to_owned(),
        client: Some(proto::Client::default()),
        pool: pool.to_owned(),
        app_client_id: "1a2b3c4d5e6f7a8b9c0d1e2f3a".to_owned(),
        secret_source: Some(proto::import_client_request::SecretSource::ClientSecret(
            "a1b2c3d4e5f6a1b2c3d4e5f6".to_owned(),
        )),
        ..Default::default()
    };
    let own = async |daemon: &Daemon| {
        let pools = pools(&daemon.channel).await;
        pools.into_iter().find(|pool| pool.kind() == PoolKind::Dedicated).expect("its own").name
    };
    let (daemon, ..) = held_up(Isolation::AppClient).await;
    let refused = daemon.clients().import_client(import(&own(&daemon).await)).await;
    assert_invalid(refused, "FIELD_INVALID", "pool");
    daemon.stop().await;
    let (daemon, ..) = leaving(Isolation::AppClient, None, "put_resource_server").await;
    let refused = daemon.clients().import_client(import(&own(&daemon).await)).await;
    assert_invalid(refused, "FIELD_INVALID", "pool");
    daemon.stop().await;
}

#[tokio::test]
async fn other_tenants_are_not_touched() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    create_tenant(&daemon.channel, "globex", Isolation::AppClient).await;
    let other = daemon.create_client("globex", "orders").await;
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::ZERO)).await.expect("started");
    until_over(&daemon, &clock, "acme").await;
    let now = get_client(&daemon.channel, &other.name).await;
    assert_eq!(now, other);
    assert_eq!(get_tenant(&daemon.channel, "globex").await.expect("there").r#move, None);
    daemon.stop().await;
}

/// Asks for everything, and mends it.
async fn check_no_drift(daemon: &Daemon) {
    let request = proto::ReconcileTenantRequest { name: "tenants/-".to_owned(), mend: true, ..Default::default() };
    let found = daemon.tenants().reconcile_tenant(request).await.expect("compared").into_inner();
    assert_eq!(found.drifts, Vec::new());
}

async fn delete(daemon: &Daemon) {
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    eventually("the tenant is gone", async || get_tenant(&daemon.channel, "acme").await.is_err()).await;
}

/// Nothing of the tenant is in a pool, at the backend or in the registry, and no pool of its own is left.
async fn check_gone(daemon: &Daemon, backend: &Backend) {
    assert_eq!(counts(daemon).await, [(PoolKind::Shared, 0)]);
    let listed = backend.0.user_pools.list_pools(None).await.expect("a page");
    assert_eq!(listed.items.len(), 1, "{listed:?}");
    let pools: Vec<keyward::domain::pool::Pool> = backend.records(keyward::broker::ports::Shelf::Pool).await;
    let made = pools[0].made.as_ref().expect("made");
    let app_clients = backend.0.user_pools.list_app_clients(made, None).await.expect("a page");
    assert_eq!(app_clients.items, Vec::new());
    let secrets = backend.0.vault.list("keyward/", None).await.expect("a page");
    assert_eq!(secrets.items, Vec::new());
    assert_eq!(backend.journals().await, Vec::new());
}

/// Moves the clock by a second again and again until the move is in this state.
async fn move_on(daemon: &Daemon, clock: &ManualClock, id: &str, state: TenantMoveState) -> proto::Tenant {
    eventually(&format!("the move is {state:?}"), async || {
        clock.advance(Duration::from_secs(1));
        state_of(&tenant(daemon, id).await) == state
    })
    .await;
    tenant(daemon, id).await
}

/// The tenant once its move with an overlap of an hour is over.
async fn until_over_in_steps(daemon: &Daemon, clock: &ManualClock) -> proto::Tenant {
    move_on(daemon, clock, "acme", TenantMoveState::Overlap).await;
    clock.advance(HOUR);
    until_over(daemon, clock, "acme").await
}
