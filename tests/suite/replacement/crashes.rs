//! A daemon that is gone before or after any change of a replacement, and the next one that finds its traces.

use std::sync::Arc;
use std::time::Duration;

use keyward::proto;
use keyward::runtime::clock::ManualClock;

use super::{app_client_of, client, eventually, furnish, pools};
use crate::harness::{Daemon, Gate, start_time};

/// What is asked for; the same comes of both.
#[derive(Clone, Copy)]
enum Asked {
    Replace,
    /// Of a backend without second secrets.
    Rotate,
}

/// How a life ends once the daemon is back.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Finish,
    Delete,
}

#[tokio::test]
async fn a_crash_anywhere_in_a_replacement_loses_nothing_and_leaves_nothing() {
    sweep(Asked::Replace, Then::Finish).await;
}

#[tokio::test]
async fn a_crash_anywhere_in_a_rotation_without_second_secrets_loses_nothing_and_leaves_nothing() {
    sweep(Asked::Rotate, Then::Finish).await;
}

#[tokio::test]
async fn a_client_that_is_deleted_after_a_crash_anywhere_in_its_replacement_leaves_nothing() {
    sweep(Asked::Replace, Then::Delete).await;
}

/// Tries every half step of every change until a replacement goes through without dying.
async fn sweep(asked: Asked, then: Then) {
    let gate = match asked {
        Asked::Replace => Gate::new(),
        Asked::Rotate => Gate::without_second_secrets(),
    };
    let clock = Arc::new(ManualClock::new(start_time()));
    // One app client in each pool, so that the places of two pools change.
    let edit = |config: &mut keyward::config::Config| config.pools.app_clients_per_shared_pool = 1;
    let mut daemon = Daemon::start_through(clock.clone(), edit, |ports| gate.through(ports)).await;
    furnish(&daemon).await;
    let mut points = 0;
    loop {
        let client = daemon.create_client("acme", &format!("orders-{points}")).await;
        let token = daemon.token(&client.name).await.access_token;
        gate.die_after(points + 1);
        ask(&daemon, asked, &client.name).await;
        if !gate.is_dead() {
            break;
        }
        gate.revive();
        daemon = daemon.restart_through(|ports| gate.through(ports)).await;
        // Whatever happened, the client has good tokens, the one that is out included.
        assert_eq!(app_client_of(&daemon, &token).await, client.app_client_id, "after {points}");
        daemon.token(&client.name).await;
        if then == Then::Finish {
            finish(&daemon, &gate, &clock, &client.name, points).await;
        }
        let request = proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() };
        daemon.clients().delete_client(request).await.expect("deleted");
        for (pool, count) in pools(&daemon).await {
            assert_eq!((gate.app_clients(&pool).await, count), (Vec::new(), 0), "{pool} after {points}");
        }
        points += 1;
    }
    println!("{points} points of a replacement were tried");
    assert!(points >= 30, "only {points} points were tried");
    daemon.stop().await;
}

/// However it is answered: the daemon may be gone.
async fn ask(daemon: &Daemon, asked: Asked, name: &str) {
    let (name, overlap) = (name.to_owned(), Some(prost_types::Duration::default()));
    let _ = match asked {
        Asked::Replace => {
            let request = proto::ReplaceClientRequest { name, overlap, ..Default::default() };
            daemon.clients().replace_client(request).await
        }
        Asked::Rotate => {
            let request = proto::RotateClientSecretRequest { name, overlap, ..Default::default() };
            daemon.clients().rotate_client_secret(request).await
        }
    };
}

/// What was begun is finished, and what a lost creation may have made is found: one app client is left, with one place.
async fn finish(daemon: &Daemon, gate: &Gate, clock: &ManualClock, name: &str, points: usize) {
    clock.advance(Duration::from_secs(16 * 60));
    eventually(&format!("one app client is left after {points}"), || async {
        clock.advance(Duration::from_secs(1));
        let total: i32 = pools(daemon).await.iter().map(|(_, count)| count).sum();
        total == 1 && !is_rotating(daemon, name).await
    })
    .await;
    let current = client(daemon, name).await;
    for (pool, count) in pools(daemon).await {
        let expected = (pool == current.pool).then(|| current.app_client_id.clone());
        assert_eq!(count as usize, usize::from(expected.is_some()), "{pool} after {points}");
        assert_eq!(gate.app_clients(&pool).await, Vec::from_iter(expected), "{pool} after {points}");
    }
    clock.advance(Duration::from_secs(3600));
    let token = daemon.token(name).await.access_token;
    assert_eq!(app_client_of(daemon, &token).await, current.app_client_id);
}

async fn is_rotating(daemon: &Daemon, name: &str) -> bool {
    let request = proto::ListRotationsRequest { parent: name.to_owned(), ..Default::default() };
    let rotations = daemon.clients().list_rotations(request).await.expect("rotations").into_inner().rotations;
    rotations.iter().any(|rotation| rotation.end_time.is_none())
}
