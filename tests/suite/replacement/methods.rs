//! When an app client is replaced: on request, where there are no second secrets, by schedule; and what else goes on.

use std::sync::Arc;
use std::time::Duration;

use keyward::proto;
use keyward::runtime::clock::ManualClock;

use super::{
    HOUR, app_client_of, client, eventually, furnish, kinds, pools, rejection, replace, replace_over, replace_request,
    until_state,
};
use crate::harness::{Daemon, Gate, SCOPES, start_time};

async fn start_through(gate: &Arc<Gate>) -> (Daemon, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(start_time()));
    let daemon = Daemon::start_through(clock.clone(), |_| {}, |ports| gate.through(ports)).await;
    furnish(&daemon).await;
    (daemon, clock)
}

#[tokio::test]
async fn a_backend_without_second_secrets_gets_a_new_app_client_instead() {
    let gate = Gate::without_second_secrets();
    let (daemon, clock) = start_through(&gate).await;
    let before = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&before.name).await.access_token;
    let request = proto::RotateClientSecretRequest { name: before.name.clone(), ..Default::default() };
    let rotated = daemon.clients().rotate_client_secret(request).await.expect("a rotation").into_inner();
    let after = client(&daemon, &before.name).await;
    assert_eq!(rotated.method(), proto::RotationMethod::ReplaceAppClient);
    assert_eq!(rotated.state(), proto::RotationState::Overlap);
    assert_ne!(after.app_client_id, before.app_client_id);
    assert_eq!(rotated.app_client_id, after.app_client_id);
    assert_eq!(rotated.replaced_app_client_id, before.app_client_id);
    assert_eq!(app_client_of(&daemon, &token).await, before.app_client_id);

    clock.advance(24 * HOUR);
    until_state(&daemon, &rotated.name, proto::RotationState::Succeeded).await;
    assert_eq!(gate.app_clients(&after.pool).await, [after.app_client_id]);
    assert_eq!(pools(&daemon).await, [(after.pool, 1)]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_scheduled_rotation_does_the_same() {
    let gate = Gate::without_second_secrets();
    let (daemon, clock) = start_through(&gate).await;
    let before = daemon.create_client("acme", "orders").await;
    clock.advance(Duration::from_secs(90 * 86_400));
    let name = before.name.clone();
    eventually("the app client is replaced", || async {
        client(&daemon, &name).await.app_client_id != before.app_client_id
    })
    .await;
    let request = proto::ListRotationsRequest { parent: before.name.clone(), ..Default::default() };
    let listed = daemon.clients().list_rotations(request).await.expect("rotations").into_inner().rotations;
    let [rotated] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(rotated.trigger(), proto::RotationTrigger::Scheduled);
    assert_eq!(rotated.method(), proto::RotationMethod::ReplaceAppClient);
    daemon.stop().await;
}

#[tokio::test]
async fn a_rotation_that_had_to_replace_revokes_no_tokens() {
    let (daemon, _) = start_through(&Gate::without_second_secrets()).await;
    let before = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&before.name).await.access_token;
    let request = proto::RotateClientSecretRequest { name: before.name.clone(), immediate: true, ..Default::default() };
    let rotated = daemon.clients().rotate_client_secret(request).await.expect("a rotation").into_inner();
    assert_eq!(rotated.state(), proto::RotationState::Succeeded);
    assert_eq!(app_client_of(&daemon, &token).await, before.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn secrets_are_rotated_after_a_replacement_as_before_it() {
    let gate = Gate::new();
    let (daemon, _) = start_through(&gate).await;
    let name = daemon.create_client("acme", "orders").await.name;
    for round in 0..4 {
        let state = if round % 2 == 0 {
            replace_over(&daemon, &name, Duration::ZERO).await.state()
        } else {
            let overlap = Some(prost_types::Duration::default());
            let request = proto::RotateClientSecretRequest { name: name.clone(), overlap, ..Default::default() };
            let rotated = daemon.clients().rotate_client_secret(request).await.expect("a rotation").into_inner();
            assert_eq!(rotated.method(), proto::RotationMethod::SecondSecret);
            assert_eq!(rotated.app_client_id, client(&daemon, &name).await.app_client_id);
            rotated.state()
        };
        assert_eq!(state, proto::RotationState::Succeeded);
    }
    let client = client(&daemon, &name).await;
    assert_eq!(gate.app_clients(&client.pool).await, [client.app_client_id]);
    daemon.stop().await;
}

#[tokio::test]
async fn where_the_pool_is_full_the_new_app_client_goes_to_another() {
    let gate = Gate::new();
    let clock = Arc::new(ManualClock::new(start_time()));
    let edit = |config: &mut keyward::config::Config| config.pools.app_clients_per_shared_pool = 1;
    let daemon = Daemon::start_through(clock.clone(), edit, |ports| gate.through(ports)).await;
    furnish(&daemon).await;
    let before = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&before.name).await.access_token;
    let replaced = replace_over(&daemon, &before.name, HOUR).await;
    let after = client(&daemon, &before.name).await;
    assert_ne!(after.pool, before.pool);
    assert_ne!(after.issuer, before.issuer);
    let mut both = vec![(before.pool.clone(), 1), (after.pool.clone(), 1)];
    both.sort();
    assert_eq!(pools(&daemon).await, both);
    assert_eq!(app_client_of(&daemon, &token).await, before.app_client_id);

    clock.advance(HOUR);
    until_state(&daemon, &replaced.name, proto::RotationState::Succeeded).await;
    let mut one = vec![(before.pool.clone(), 0), (after.pool.clone(), 1)];
    one.sort();
    assert_eq!(pools(&daemon).await, one);
    assert_eq!(gate.app_clients(&before.pool).await, Vec::<String>::new());
    clock.advance(HOUR);
    let token = daemon.token(&before.name).await.access_token;
    assert_eq!(app_client_of(&daemon, &token).await, after.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn a_replacement_that_is_superseded_leaves_nothing() {
    let gate = Gate::new();
    let (daemon, _) = start_through(&gate).await;
    let before = daemon.create_client("acme", "orders").await;
    gate.refuse_tokens(true);
    let first = replace_over(&daemon, &before.name, HOUR).await;
    assert_eq!(first.state(), proto::RotationState::Running);
    assert_eq!(first.last_error_reason, "UPSTREAM_UNAVAILABLE");
    assert_ne!(first.app_client_id, "");
    assert_eq!(gate.app_clients(&before.pool).await.len(), 2);

    gate.refuse_tokens(false);
    let request = proto::ReplaceClientRequest { immediate: true, ..replace_request(&before.name) };
    let second = replace(&daemon, request).await.expect("a rotation");
    assert_eq!(second.state(), proto::RotationState::Succeeded);
    assert!(kinds(&second.steps).contains(&proto::RotationStepKind::RemoveStray), "{second:?}");
    let first = super::rotation(&daemon, &first.name).await;
    assert_eq!((first.state(), first.last_error_reason.as_str()), (proto::RotationState::Failed, "SUPERSEDED"));
    assert_eq!(gate.app_clients(&before.pool).await, [second.app_client_id]);
    assert_eq!(pools(&daemon).await, [(before.pool, 1)]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_replacement_that_never_proves_is_given_up_and_the_old_app_client_stays() {
    let gate = Gate::new();
    let (daemon, clock) = start_through(&gate).await;
    let before = daemon.create_client("acme", "orders").await;
    gate.refuse_tokens(true);
    let replaced = replace_over(&daemon, &before.name, HOUR).await;
    // Long enough for whatever may be configured.
    clock.advance(HOUR);
    let ended = until_state(&daemon, &replaced.name, proto::RotationState::Failed).await;
    assert!(kinds(&ended.steps).contains(&proto::RotationStepKind::Abandon));
    eventually("the new app client is gone", || async { gate.app_clients(&before.pool).await.len() == 1 }).await;
    gate.refuse_tokens(false);
    assert_eq!(gate.app_clients(&before.pool).await, std::slice::from_ref(&before.app_client_id));
    eventually("its place is free", || async { pools(&daemon).await == [(before.pool.clone(), 1)] }).await;
    assert_eq!(client(&daemon, &before.name).await.app_client_id, before.app_client_id);
    let token = daemon.token(&before.name).await.access_token;
    assert_eq!(app_client_of(&daemon, &token).await, before.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn new_scopes_are_given_to_the_current_app_client_and_to_one_on_its_way() {
    let gate = Gate::new();
    let (daemon, clock) = start_through(&gate).await;
    let request = proto::CreateClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "orders".to_owned(),
        client: Some(proto::Client { scopes: vec![SCOPES[0].to_owned()], ..Default::default() }),
        ..Default::default()
    };
    let name = daemon.clients().create_client(request).await.expect("a client").into_inner().name;
    gate.refuse_tokens(true);
    let replaced = replace_over(&daemon, &name, HOUR).await;
    assert_eq!(replaced.state(), proto::RotationState::Running);

    let wider = proto::Client { name: name.clone(), scopes: SCOPES.map(str::to_owned).to_vec(), ..Default::default() };
    let request = proto::UpdateClientRequest { client: Some(wider), ..Default::default() };
    daemon.clients().update_client(request).await.expect("updated");
    gate.refuse_tokens(false);
    let on_the_old = daemon.token(&name).await;
    assert_eq!(on_the_old.scopes, SCOPES);
    clock.advance(Duration::from_secs(2));
    until_state(&daemon, &replaced.name, proto::RotationState::Overlap).await;

    // Only what is current changes in the overlap.
    let narrower = proto::Client { name: name.clone(), scopes: vec![SCOPES[1].to_owned()], ..Default::default() };
    let request = proto::UpdateClientRequest { client: Some(narrower), ..Default::default() };
    daemon.clients().update_client(request).await.expect("updated");
    let token = daemon.token(&name).await;
    assert_eq!(token.scopes, SCOPES[1..]);
    assert_ne!(app_client_of(&daemon, &token.access_token).await, replaced.replaced_app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_that_is_deleted_in_the_overlap_leaves_nothing() {
    let gate = Gate::new();
    let (daemon, _) = start_through(&gate).await;
    let before = daemon.create_client("acme", "orders").await;
    let old = daemon.token(&before.name).await.access_token;
    replace_over(&daemon, &before.name, HOUR).await;
    assert_eq!(gate.app_clients(&before.pool).await.len(), 2);
    let request = proto::DeleteClientRequest { name: before.name.clone(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    assert_eq!(gate.app_clients(&before.pool).await, Vec::<String>::new());
    assert_eq!(pools(&daemon).await, [(before.pool, 0)]);
    assert_eq!(rejection(&daemon, &old).await, proto::RejectionReason::ClientDeleted);
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_that_is_deleted_while_an_app_client_is_on_its_way_leaves_nothing() {
    let gate = Gate::new();
    let (daemon, _) = start_through(&gate).await;
    let before = daemon.create_client("acme", "orders").await;
    gate.refuse_tokens(true);
    replace_over(&daemon, &before.name, HOUR).await;
    assert_eq!(gate.app_clients(&before.pool).await.len(), 2);
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    assert_eq!(gate.app_clients(&before.pool).await, Vec::<String>::new());
    assert_eq!(pools(&daemon).await, [(before.pool, 0)]);
    daemon.stop().await;
}
