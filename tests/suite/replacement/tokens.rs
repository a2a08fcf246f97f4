//! What happens to tokens: those that are held, those that are out, those that are asked for meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyward::proto;

use super::{
    HOUR, app_client_of, client, eventually, furnish, rejection, replace, replace_over, replace_request, rotation,
    until_state,
};
use crate::harness::{Daemon, SCOPES, token};

#[tokio::test]
async fn the_tokens_of_both_app_clients_are_good_until_they_expire() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let (before, old) = (client(&daemon, &name).await, daemon.token(&name).await);

    let replaced = replace_over(&daemon, &name, Duration::from_secs(600)).await;
    let after = client(&daemon, &name).await;
    assert_ne!(after.app_client_id, before.app_client_id);
    assert_eq!(replaced.app_client_id, after.app_client_id);
    assert_eq!(replaced.replaced_app_client_id, before.app_client_id);
    assert_eq!(replaced.method(), proto::RotationMethod::ReplaceAppClient);
    assert_eq!(replaced.state(), proto::RotationState::Overlap);

    // Nobody notices: what is held is served on, and is good.
    assert_eq!(daemon.token(&name).await, old);
    assert_eq!(app_client_of(&daemon, &old.access_token).await, before.app_client_id);
    // What is fetched is the new one's.
    let one_scope = fetch(&daemon, &name, &SCOPES[..1]).await;
    assert_eq!(app_client_of(&daemon, &one_scope).await, after.app_client_id);

    clock.advance(Duration::from_secs(601));
    until_state(&daemon, &replaced.name, proto::RotationState::Succeeded).await;
    assert_eq!(app_client_of(&daemon, &old.access_token).await, before.app_client_id);
    assert_eq!(daemon.token(&name).await, old);

    clock.advance(HOUR + Duration::from_secs(60));
    assert_eq!(rejection(&daemon, &old.access_token).await, proto::RejectionReason::Expired);
    let new = daemon.token(&name).await;
    assert_eq!(app_client_of(&daemon, &new.access_token).await, after.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn a_replaced_app_client_is_listed_until_its_last_token_has_expired() {
    let (daemon, clock) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let before = client(&daemon, &name).await;
    let first = replace_over(&daemon, &name, Duration::from_secs(600)).await;
    let between = client(&daemon, &name).await;
    let [listed] = between.replaced_app_clients.as_slice() else { panic!("{between:?}") };
    assert_eq!((&listed.app_client_id, &listed.pool), (&before.app_client_id, &before.pool));
    assert_eq!(listed.issuer, before.issuer);
    assert_eq!(listed.retire_time, first.retire_time);
    let (retire, forget) = (listed.retire_time.expect("set"), listed.forget_time.expect("set"));
    assert!(forget.seconds - retire.seconds >= 3600, "its tokens are valid for an hour");

    clock.advance(Duration::from_secs(600));
    until_state(&daemon, &first.name, proto::RotationState::Succeeded).await;
    let second = replace_over(&daemon, &name, Duration::ZERO).await;
    let ids = |client: &proto::Client| {
        client.replaced_app_clients.iter().map(|replaced| replaced.app_client_id.clone()).collect::<Vec<_>>()
    };
    let after = client(&daemon, &name).await;
    assert_eq!(ids(&after), [between.app_client_id, before.app_client_id], "newest first");
    assert_eq!(second.state(), proto::RotationState::Succeeded);

    clock.advance(Duration::from_secs(25 * 3600));
    eventually("both are forgotten", || async { client(&daemon, &name).await.replaced_app_clients.is_empty() }).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_compromised_app_client_goes_at_once_and_its_tokens_with_it() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let old = daemon.token(&name).await;
    let request = proto::ReplaceClientRequest { immediate: true, ..replace_request(&name) };
    let replaced = replace(&daemon, request).await.expect("a rotation");
    assert_eq!(replaced.state(), proto::RotationState::Succeeded);
    assert!(replaced.immediate);
    assert_eq!(rejection(&daemon, &old.access_token).await, proto::RejectionReason::Revoked);
    let new = daemon.token(&name).await;
    assert_eq!(app_client_of(&daemon, &new.access_token).await, replaced.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn a_compromise_during_an_overlap_revokes_the_tokens_of_both() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let first = daemon.token(&name).await.access_token;
    let overlapping = replace_over(&daemon, &name, HOUR).await;
    let second = fetch(&daemon, &name, &SCOPES[..1]).await;
    let request = proto::ReplaceClientRequest { immediate: true, ..replace_request(&name) };
    let last = replace(&daemon, request).await.expect("a rotation");
    assert_eq!(last.state(), proto::RotationState::Succeeded);
    assert_eq!(rotation(&daemon, &overlapping.name).await.state(), proto::RotationState::Succeeded);
    for token in [&first, &second] {
        assert_eq!(rejection(&daemon, token).await, proto::RejectionReason::Revoked);
    }
    let new = daemon.token(&name).await;
    assert_eq!(app_client_of(&daemon, &new.access_token).await, last.app_client_id);
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_of_the_same_name_does_not_inherit_the_tokens_of_a_replaced_app_client() {
    let (daemon, _) = Daemon::start_at_rest().await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let old = daemon.token(&name).await.access_token;
    replace_over(&daemon, &name, HOUR).await;
    let request = proto::DeleteClientRequest { name: name.clone(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    assert_eq!(rejection(&daemon, &old).await, proto::RejectionReason::ClientDeleted);
    daemon.create_client("acme", "orders").await;
    assert_eq!(rejection(&daemon, &old).await, proto::RejectionReason::ClientDeleted);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_app_clients_are_replaced_under_load() {
    let clock = Arc::new(keyward::runtime::clock::SystemClock);
    let daemon = Daemon::start_with(clock, |config| config.embedded.latency = Duration::from_millis(1)).await;
    furnish(&daemon).await;
    let name = daemon.create_client("acme", "orders").await.name;
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (over, channel, name) = (over.clone(), daemon.channel.clone(), name.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !over.load(Ordering::SeqCst) {
                    token(&channel, &name).await.expect("a token");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for round in 0..10 {
        let request = proto::ReplaceClientRequest {
            immediate: round % 2 == 0,
            overlap: (round % 2 == 1).then(prost_types::Duration::default),
            ..replace_request(&name)
        };
        let replaced = replace(&daemon, request).await.expect("a rotation");
        assert_eq!(replaced.state(), proto::RotationState::Succeeded, "{replaced:?}");
    }
    over.store(true, Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.expect("no call fails") > 0);
    }
    daemon.stop().await;
}

async fn fetch(daemon: &Daemon, name: &str, scopes: &[&str]) -> String {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let request = proto::GetTokenRequest { name: name.to_owned(), scopes, ..Default::default() };
    daemon.tokens().get_token(request).await.expect("a token").into_inner().access_token
}
