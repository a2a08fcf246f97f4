//! The real program, killed between its steps, and started again on the same folder.
//!
//! When to kill is told by the audit log: each step writes an event with its change, so that the k-th event is a moment
//! between two steps, the same one on a fast and on a slow machine.

use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, Isolation, RotationState};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::rotations::{Follower, eventually, list_rotations, try_rotate};
use crate::harness::{self, Binary, SCOPES, create_client, create_tenant, details, put_orders_api, token, verify};

#[tokio::test]
async fn rotations_that_were_killed_anywhere_are_finished_and_every_client_gets_tokens() {
    let (_folder, data) = harness::folder();
    let keyward = Binary::dev(&data);
    let channel = keyward.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", Isolation::AppClient).await;
    let mut names = Vec::new();
    for id in ["billing", "checkout", "mailer"] {
        names.push(create_client(&channel, "acme", id).await.name);
    }
    drop(channel);
    keyward.kill();

    // A rotation without an overlap is six events, so that this walks through those of three.
    for kill_after in 1..=12 {
        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        // What the last kill left is finished first, so that this one counts the events of three whole rotations.
        for name in &names {
            rotations_are_over(&channel, name).await;
            check_client(&channel, name).await;
        }
        let events = Follower::from_now_on(&channel).await;
        let immediate = |i: usize| (kill_after + i).is_multiple_of(2);
        let mut calls: Vec<_> = names.iter().map(|name| stream_calls(&channel, name)).collect();
        calls.extend(names.iter().enumerate().map(|(i, name)| rotate(&channel, name, immediate(i))));
        drop(channel);
        kill_at(keyward, kill_after, events, calls).await;
    }

    let keyward = Binary::dev(&data);
    let channel = keyward.channel().await;
    for name in &names {
        rotations_are_over(&channel, name).await;
        let rotations = list_rotations(&channel, name).await;
        assert!(!rotations.is_empty());
        for rotation in rotations {
            let superseded = rotation.state() == RotationState::Failed && rotation.last_error_reason == "SUPERSEDED";
            assert!(rotation.state() == RotationState::Succeeded || superseded, "{rotation:?}");
        }
        check_client(&channel, name).await;
    }
    drop(channel);
    keyward.kill();
}

#[tokio::test]
async fn tenants_and_clients_whose_onboarding_was_killed_anywhere_are_finished() {
    let (_folder, data) = harness::folder();
    let keyward = Binary::dev(&data);
    let channel = keyward.channel().await;
    put_orders_api(&channel).await;
    drop(channel);
    keyward.kill();

    for kill_after in 1..=10 {
        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        let events = Follower::from_now_on(&channel).await;
        let isolations = [Isolation::AppClient, Isolation::UserPool];
        let calls = isolations.map(|isolation| onboard(&channel, &tenant_of(kill_after, isolation), isolation));
        drop(channel);
        kill_at(keyward, kill_after, events, calls.into()).await;

        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        settle(&channel).await;
        for tenant in list_tenants(&channel).await {
            assert_eq!(tenant.state(), proto::TenantState::Active, "{tenant:?}");
        }
        for client in list_clients(&channel).await {
            check_client(&channel, &client.name).await;
        }
        // What the dead one did not get to goes through now.
        for isolation in isolations {
            onboard(&channel, &tenant_of(kill_after, isolation), isolation).await.expect("no panic");
            check_client(&channel, &format!("tenants/{}/clients/checkout", tenant_of(kill_after, isolation))).await;
        }
        drop(channel);
        keyward.kill();
    }
}

#[tokio::test]
async fn tenants_whose_offboarding_was_killed_anywhere_are_gone() {
    let (_folder, data) = harness::folder();
    let keyward = Binary::dev(&data);
    let channel = keyward.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "staying", Isolation::AppClient).await;
    let staying = create_client(&channel, "staying", "checkout").await.name;
    drop(channel);
    keyward.kill();

    // Two tenants of two clients each are eight events.
    for kill_after in 1..=8 {
        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        let isolations = [Isolation::AppClient, Isolation::UserPool];
        let mut tokens = Vec::new();
        for isolation in isolations {
            let tenant = tenant_of(kill_after, isolation);
            create_tenant(&channel, &tenant, isolation).await;
            for id in ["billing", "checkout"] {
                let client = create_client(&channel, &tenant, id).await.name;
                tokens.push(token(&channel, &client).await.expect("a token").access_token);
            }
        }
        let events = Follower::from_now_on(&channel).await;
        let mut calls: Vec<_> = vec![stream_calls(&channel, &staying)];
        calls.extend(isolations.map(|isolation| offboard(&channel, &tenant_of(kill_after, isolation))));
        drop(channel);
        kill_at(keyward, kill_after, events, calls).await;

        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        settle(&channel).await;
        // One whose deletion was not heard of before the end is whole; it is deleted now.
        for isolation in isolations {
            offboard(&channel, &tenant_of(kill_after, isolation)).await.expect("no panic");
        }
        settle(&channel).await;
        let left: Vec<_> = list_tenants(&channel).await.into_iter().map(|tenant| tenant.name).collect();
        assert_eq!(left, ["tenants/staying"]);
        let left: Vec<_> = list_clients(&channel).await.into_iter().map(|client| client.name).collect();
        assert_eq!(left, std::slice::from_ref(&staying));
        for token in &tokens {
            assert!(matches!(verify(&channel, token).await, Verdict::Rejected(_)), "the tenant is gone");
        }
        check_client(&channel, &staying).await;
        drop(channel);
        keyward.kill();
    }
}

#[tokio::test]
async fn moves_that_were_killed_anywhere_are_finished_and_nobody_is_without_tokens() {
    let (_folder, data) = harness::folder();
    let keyward = Binary::dev(&data);
    let channel = keyward.channel().await;
    put_orders_api(&channel).await;
    drop(channel);
    keyward.kill();

    // The move of two clients is some twenty events.
    for kill_after in (1..=19).step_by(3) {
        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        let tenant = tenant_of(kill_after, Isolation::AppClient);
        create_tenant(&channel, &tenant, Isolation::AppClient).await;
        let mut names = Vec::new();
        for id in ["billing", "checkout"] {
            names.push(create_client(&channel, &tenant, id).await.name);
        }
        let held = token(&channel, &names[0]).await.expect("a token").access_token;
        let events = Follower::from_now_on(&channel).await;
        let mut calls: Vec<_> = names.iter().map(|name| stream_calls(&channel, name)).collect();
        calls.push(start_move(&channel, &tenant));
        drop(channel);
        kill_at(keyward, kill_after, events, calls).await;

        let keyward = Binary::dev(&data);
        let channel = keyward.channel().await;
        for name in &names {
            check_client(&channel, name).await;
        }
        // One that was not heard of before the end is begun now.
        start_move(&channel, &tenant).await.expect("no panic");
        eventually("the move is over", || async {
            let tenants = list_tenants(&channel).await;
            let moved = tenants.into_iter().find(|other| other.name == format!("tenants/{tenant}"));
            let moved = moved.expect("there").r#move.expect("begun");
            moved.state() == proto::TenantMoveState::Succeeded
        })
        .await;
        for name in &names {
            check_client(&channel, name).await;
        }
        assert!(matches!(verify(&channel, &held).await, Verdict::Verified(_)), "a token from before is good");
        drop(channel);
        keyward.kill();
    }
}

async fn rotations_are_over(channel: &Channel, name: &str) {
    eventually("every rotation is over", || async {
        let rotations = list_rotations(channel, name).await;
        rotations.iter().all(|rotation| rotation.end_time.is_some())
    })
    .await;
}

/// Kills the program at the `event`-th event from now on, while calls stream in, and waits for those to end.
async fn kill_at(keyward: Binary, event: usize, mut events: Follower, calls: Vec<JoinHandle<()>>) {
    let seen = async {
        for number in 1..=event {
            assert!(events.next().await.is_some(), "it ended before event {number}");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.expect("there are as many events");
    keyward.kill();
    for call in calls {
        call.await.expect("no panic");
    }
}

/// Asks for a token again and again until the program is gone.
fn stream_calls(channel: &Channel, name: &str) -> JoinHandle<()> {
    let (channel, name) = (channel.clone(), name.to_owned());
    tokio::spawn(async move {
        loop {
            match token(&channel, &name).await {
                Ok(_) => {}
                Err(status) if is_gone(&status) => return,
                Err(status) => panic!("{name}: {status:?}"),
            }
        }
    })
}

/// One call of an operator's. It may be answered, refused because it was done before, or cut off.
fn rotate(channel: &Channel, name: &str, immediate: bool) -> JoinHandle<()> {
    let overlap = (!immediate).then_some(prost_types::Duration { seconds: 0, nanos: 0 });
    let request = proto::RotateClientSecretRequest { name: name.to_owned(), immediate, overlap, ..Default::default() };
    let channel = channel.clone();
    tokio::spawn(async move {
        if let Err(status) = try_rotate(&channel, request).await {
            assert!(is_gone(&status) || details(&status).reason == "ROTATION_RUNNING", "{status:?}");
        }
    })
}

fn onboard(channel: &Channel, tenant: &str, isolation: Isolation) -> JoinHandle<()> {
    let (channel, id) = (channel.clone(), tenant.to_owned());
    tokio::spawn(async move {
        let tenant = proto::Tenant { isolation: isolation.into(), ..Default::default() };
        let request = proto::CreateTenantRequest { tenant_id: id.clone(), tenant: Some(tenant), ..Default::default() };
        let created = TenantServiceClient::new(channel.clone()).create_tenant(request).await;
        check_created(created.map(drop));
        let client = proto::Client { scopes: SCOPES.map(str::to_owned).to_vec(), ..Default::default() };
        let request = proto::CreateClientRequest {
            parent: format!("tenants/{id}"),
            client_id: "checkout".to_owned(),
            client: Some(client),
            ..Default::default()
        };
        check_created(ClientServiceClient::new(channel).create_client(request).await.map(drop));
    })
}

/// To a pool of the tenant's own, without an overlap. It may be answered, cut off, or refused because it was done before.
fn start_move(channel: &Channel, tenant: &str) -> JoinHandle<()> {
    let request = proto::MoveTenantRequest {
        name: format!("tenants/{tenant}"),
        target: Isolation::UserPool.into(),
        overlap: Some(prost_types::Duration::default()),
        ..Default::default()
    };
    let channel = channel.clone();
    tokio::spawn(async move {
        if let Err(status) = TenantServiceClient::new(channel).move_tenant(request).await {
            let is_done = || ["MOVE_RUNNING", "FIELD_INVALID"].contains(&details(&status).reason.as_str());
            assert!(is_gone(&status) || is_done(), "{status:?}");
        }
    })
}

fn check_created(outcome: Result<(), Status>) {
    if let Err(status) = outcome {
        assert!(is_gone(&status) || status.code() == Code::AlreadyExists, "{status:?}");
    }
}

fn offboard(channel: &Channel, tenant: &str) -> JoinHandle<()> {
    let (channel, name) = (channel.clone(), format!("tenants/{tenant}"));
    tokio::spawn(async move {
        let request = proto::DeleteTenantRequest { name, ..Default::default() };
        if let Err(status) = TenantServiceClient::new(channel).delete_tenant(request).await {
            assert!(is_gone(&status) || status.code() == Code::NotFound, "{status:?}");
        }
    })
}

/// Whether a call was cut off, which has no reason of ours.
fn is_gone(status: &Status) -> bool {
    status.get_error_details().error_info().is_none()
}

/// Waits until nobody is on the way in or out.
async fn settle(channel: &Channel) {
    eventually("everybody is active or gone", || async {
        let tenants = list_tenants(channel).await;
        let clients = list_clients(channel).await;
        tenants.iter().all(|tenant| tenant.state() == proto::TenantState::Active)
            && clients.iter().all(|client| client.state() == proto::ClientState::Active)
    })
    .await;
}

async fn list_tenants(channel: &Channel) -> Vec<proto::Tenant> {
    let request = proto::ListTenantsRequest { page_size: 1_000, ..Default::default() };
    let answer = TenantServiceClient::new(channel.clone()).list_tenants(request).await.expect("a page");
    answer.into_inner().tenants
}

/// Of all tenants.
async fn list_clients(channel: &Channel) -> Vec<proto::Client> {
    let request = proto::ListClientsRequest { parent: "tenants/-".to_owned(), page_size: 1_000, ..Default::default() };
    let answer = ClientServiceClient::new(channel.clone()).list_clients(request).await.expect("a page");
    answer.into_inner().clients
}

/// The client gets a token, and the token verifies as its own.
async fn check_client(channel: &Channel, name: &str) {
    let token = token(channel, name).await.expect("a token");
    match verify(channel, &token.access_token).await {
        Verdict::Verified(verified) => assert_eq!(verified.client, name),
        Verdict::Rejected(rejected) => panic!("{name}: {rejected:?}"),
    }
}

fn tenant_of(round: usize, isolation: Isolation) -> String {
    let kind = if isolation == Isolation::UserPool { "dedicated" } else { "shared" };
    format!("{kind}-{round}")
}
