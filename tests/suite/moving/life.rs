//! A move from its beginning to its end, in both directions.

use std::time::Duration;

use keyward::broker::ports::Shelf;
use keyward::domain::journal::Task;
use keyward::domain::pool::Pool;
use keyward::domain::tenant::FeaturePlan;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, Isolation, PoolKind, RejectionReason, TenantMoveState};
use keyward::runtime::clock::ManualClock;

use super::{
    BILLING, DAY, ORDERS, counts, furnish, furnished, move_of, move_over, move_request, start, state_of, tenant, until,
    until_over,
};
use crate::harness::backend::Backend;
use crate::harness::rotations::{eventually, get_client, list_rotations};
use crate::harness::{Daemon, State, event_after, events_of, mask, rejection, start_time};

#[tokio::test]
async fn a_tenant_moves_to_a_pool_of_its_own_and_back() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    let (before, orders) = (tenant(&daemon, "acme").await, get_client(&daemon.channel, ORDERS).await);
    assert_eq!(before.r#move, None);

    let started = start(&daemon, move_request("acme", Isolation::UserPool)).await.expect("started");
    let moved = move_of(&started);
    assert_eq!((moved.target(), moved.client_count), (Isolation::UserPool, 2));
    assert!(moved.create_time.is_some() && moved.end_time.is_none());

    let overlapping = until(&daemon, "acme", TenantMoveState::Overlap).await;
    assert_eq!(overlapping.isolation(), Isolation::UserPool);
    assert!(overlapping.pool != before.pool && overlapping.issuer != before.issuer, "{overlapping:?}");
    assert!(overlapping.user_pool.is_some());
    let moved = move_of(&overlapping);
    assert_eq!((moved.client_count, moved.moved_client_count), (2, 2));
    let retire_time = moved.retire_time.expect("set");
    assert_eq!(retire_time.seconds, start_time().as_second() + 86_400, "24 hours");
    let there = get_client(&daemon.channel, ORDERS).await;
    assert_eq!((&there.pool, &there.issuer), (&overlapping.pool, &overlapping.issuer));
    assert_ne!(there.app_client_id, orders.app_client_id);
    assert_eq!(there.secret_name, orders.secret_name);
    eventually("its old app client goes when the move says", async || {
        let client = get_client(&daemon.channel, ORDERS).await;
        client.replaced_app_clients[0].retire_time == Some(retire_time)
    })
    .await;
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 2), (PoolKind::Dedicated, 2)]);
    assert_eq!(user_pools_used(&daemon).await, 2);

    clock.advance(DAY);
    let over = until_over(&daemon, &clock, "acme").await;
    assert!(move_of(&over).end_time.is_some());
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 0), (PoolKind::Dedicated, 2)]);
    for name in [BILLING, ORDERS] {
        let rotations = list_rotations(&daemon.channel, name).await;
        assert!(rotations.iter().all(|rotation| rotation.state() == proto::RotationState::Succeeded), "{rotations:?}");
    }

    let back = move_over("acme", Isolation::AppClient, Duration::ZERO);
    start(&daemon, back).await.expect("started");
    let overlapping = until(&daemon, "acme", TenantMoveState::Overlap).await;
    assert_eq!((overlapping.isolation(), &overlapping.pool), (Isolation::AppClient, &before.pool));
    assert_eq!(overlapping.user_pool, None);
    eventually("the old app clients are gone", async || {
        counts(&daemon).await == [(PoolKind::Shared, 2), (PoolKind::Dedicated, 0)]
    })
    .await;
    assert_eq!(state_of(&tenant(&daemon, "acme").await), TenantMoveState::Overlap, "its pool is still there");
    clock.advance(DAY);
    let over = until_over(&daemon, &clock, "acme").await;
    assert_eq!((over.isolation(), &over.issuer), (Isolation::AppClient, &before.issuer));
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 2)]);
    assert_eq!(user_pools_used(&daemon).await, 1);
    daemon.stop().await;
}

/// Of the quota, as `ListPools` tells.
async fn user_pools_used(daemon: &Daemon) -> i64 {
    let listed = daemon.catalog().list_pools(proto::ListPoolsRequest::default()).await.expect("listed").into_inner();
    listed.quotas.iter().find(|usage| usage.quota == "User pools per Region").expect("told").used
}

#[tokio::test]
async fn old_app_clients_stay_until_the_overlap_is_over_and_everything_says_when_that_is() {
    let clock = std::sync::Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| ports).await;
    furnish(&daemon, Isolation::AppClient).await;
    start(&daemon, move_over("acme", Isolation::UserPool, DAY)).await.expect("started");
    let overlapping = until(&daemon, "acme", TenantMoveState::Overlap).await;
    let end = move_of(&overlapping).retire_time.expect("set");
    eventually("nothing is left to do before that", async || {
        backend.journals().await.iter().all(|journal| match journal.task {
            // It looks every now and then whether it still has to wait.
            Task::MoveTenant(_) => journal.due_time > start_time(),
            _ => journal.due_time.as_second() >= end.seconds,
        })
    })
    .await;
    clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(counts(&daemon).await, [(PoolKind::Shared, 2), (PoolKind::Dedicated, 2)]);
    for name in [BILLING, ORDERS] {
        let rotation = &list_rotations(&daemon.channel, name).await[0];
        assert_eq!((rotation.state(), rotation.retire_time), (proto::RotationState::Overlap, Some(end)));
        let seen = backend.must_see(name).await;
        assert_eq!(seen.credential.previous.expect("the old one").retire_time.as_second(), end.seconds);
    }
    clock.advance(Duration::from_secs(1));
    eventually("they are gone", async || counts(&daemon).await == [(PoolKind::Shared, 0), (PoolKind::Dedicated, 2)])
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_without_clients_moves_at_once() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    daemon.create_tenant("acme").await;
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::ZERO)).await.expect("started");
    let over = until_over(&daemon, &clock, "acme").await;
    assert_eq!((move_of(&over).client_count, over.isolation()), (0, Isolation::UserPool));
    daemon.stop().await;
}

#[tokio::test]
async fn a_pool_of_a_tenants_own_stays_until_its_last_token_has_expired() {
    let (daemon, clock) = furnished(Isolation::UserPool).await;
    let longest = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let client = proto::Client { name: ORDERS.to_owned(), access_token_validity: longest, ..Default::default() };
    let request = proto::UpdateClientRequest {
        client: Some(client),
        update_mask: mask(&["access_token_validity"]),
        ..Default::default()
    };
    daemon.clients().update_client(request).await.expect("updated");
    let token = daemon.token(ORDERS).await;
    start(&daemon, move_over("acme", Isolation::AppClient, Duration::ZERO)).await.expect("started");
    eventually("the old app clients are gone", async || {
        counts(&daemon).await == [(PoolKind::Shared, 2), (PoolKind::Dedicated, 0)]
    })
    .await;
    // Another who verifies has no keys yet.
    let daemon = daemon.restart().await;
    clock.advance(DAY - Duration::from_secs(1));
    assert!(matches!(daemon.verify(&token.access_token).await, Verdict::Verified(_)), "a second before its end");
    assert_eq!(state_of(&tenant(&daemon, "acme").await), TenantMoveState::Overlap);
    until_over(&daemon, &clock, "acme").await;
    let reason = rejection(daemon.verify(&token.access_token).await);
    assert!(matches!(reason, RejectionReason::UnknownIssuer | RejectionReason::Expired), "{reason:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn the_new_pool_has_the_settings_that_were_asked_for_and_is_protected_once_it_is_the_home() {
    let clock = std::sync::Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| ports).await;
    furnish(&daemon, Isolation::AppClient).await;
    daemon.create_tenant("globex").await;
    for (id, deletion_protection) in [("acme", false), ("globex", true)] {
        let settings = proto::UserPoolSettings {
            deletion_protection,
            feature_plan: proto::FeaturePlan::Plus.into(),
            issuer_type: proto::IssuerType::Updated.into(),
            ..Default::default()
        };
        let request = move_over(id, Isolation::UserPool, Duration::ZERO);
        start(&daemon, proto::MoveTenantRequest { user_pool: Some(settings), ..request }).await.expect("started");
        let over = until_over(&daemon, &clock, id).await;
        let shown = over.user_pool.expect("settings");
        assert_eq!(shown.deletion_protection, deletion_protection);
        assert_eq!((shown.feature_plan(), shown.issuer_type()), (proto::FeaturePlan::Plus, proto::IssuerType::Updated));
        let pool: Pool = backend.record(Shelf::Pool, over.pool.trim_start_matches("pools/")).await.expect("its pool");
        let made = pool.made.expect("made");
        eventually("the pool is as it was asked for", async || {
            let seen = backend.0.user_pools.pool_settings(&made).await.expect("seen").expect("there");
            (seen.deletion_protection, seen.feature_plan) == (deletion_protection, FeaturePlan::Plus)
        })
        .await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn each_step_of_a_move_is_in_the_audit_log_and_bears_the_name_of_who_asked() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    let asked = State::of(&daemon.channel).await.last_event;
    start(&daemon, move_over("acme", Isolation::UserPool, Duration::ZERO)).await.expect("started");
    let over = until_over(&daemon, &clock, "acme").await;
    let begun = event_after(&daemon.channel, asked, "keyward.v1.TenantService/MoveTenant", "tenants/acme").await;
    for (method, resource) in [
        ("keyward.pool/make", over.pool.as_str()),
        ("keyward.move/arrive", "tenants/acme"),
        ("keyward.move/replace", BILLING),
        ("keyward.rotation/promote", ORDERS),
        ("keyward.move/overlap", "tenants/acme"),
        ("keyward.move/release", ORDERS),
        ("keyward.move/finish", "tenants/acme"),
    ] {
        let event = event_after(&daemon.channel, begun.sequence, method, resource).await;
        assert_eq!((&event.principal, &event.call_id), (&begun.principal, &begun.call_id), "{method}");
    }
    let filter = proto::AuditEventFilter { method: "keyward.move/arrive".to_owned(), ..Default::default() };
    assert_eq!(events_of(&daemon.channel, filter).await.len(), 1);
    daemon.stop().await;
}
