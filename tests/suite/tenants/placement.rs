//! Where app clients go: shared pools are filled up to their limit, exactly, and room is used again.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyward::proto::{self, Isolation};
use keyward::runtime::clock::SystemClock;
use tonic::Code;

use crate::harness::{Daemon, create_tenant, new_client, new_tenant, pools};

async fn daemon_with_room_for(app_clients: u32) -> Daemon {
    let daemon =
        Daemon::start_with(Arc::new(SystemClock), |config| config.pools.app_clients_per_shared_pool = app_clients)
            .await;
    daemon.put_orders_api().await;
    daemon
}

/// What `ListPools` says each pool holds.
async fn counts(daemon: &Daemon) -> BTreeMap<String, i32> {
    pools(&daemon.channel).await.into_iter().map(|pool| (pool.name, pool.app_client_count)).collect()
}

/// How many clients say that they are in each pool.
async fn clients_by_pool(daemon: &Daemon) -> BTreeMap<String, i32> {
    let request = proto::ListClientsRequest { parent: "tenants/-".to_owned(), page_size: 1_000, ..Default::default() };
    let clients = daemon.clients().list_clients(request).await.expect("clients").into_inner().clients;
    let mut counts = BTreeMap::new();
    for client in clients {
        *counts.entry(client.pool).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn tenants_share_a_pool_until_it_is_full_and_then_the_next_is_made() {
    let daemon = daemon_with_room_for(2).await;
    let acme = daemon.create_tenant("acme").await;
    let globex = daemon.create_tenant("globex").await;
    assert_eq!(acme.pool, globex.pool);
    let first = daemon.create_client("acme", "one").await;
    let second = daemon.create_client("globex", "one").await;
    assert_eq!((&first.pool, &second.pool), (&acme.pool, &acme.pool));

    let third = daemon.create_client("acme", "two").await;
    assert_ne!(third.pool, acme.pool);
    let initech = daemon.create_tenant("initech").await;
    assert_eq!(initech.pool, third.pool, "a full pool takes no tenant");
    let all = pools(&daemon.channel).await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|pool| pool.app_client_limit == 2));
    assert_eq!(counts(&daemon).await, clients_by_pool(&daemon).await);
    // Tokens come from either pool.
    for client in [first, second, third] {
        daemon.token(&client.name).await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn room_that_a_deletion_leaves_is_used_again() {
    let daemon = daemon_with_room_for(1).await;
    daemon.create_tenant("acme").await;
    let first = daemon.create_client("acme", "one").await;
    let second = daemon.create_client("acme", "two").await;
    assert_ne!(first.pool, second.pool);
    let request = proto::DeleteClientRequest { name: first.name, ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    let third = daemon.create_client("acme", "three").await;
    assert_eq!(third.pool, first.pool);
    assert_eq!(counts(&daemon).await, clients_by_pool(&daemon).await);

    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    assert!(counts(&daemon).await.values().all(|count| *count == 0));
    daemon.create_tenant("globex").await;
    let fourth = daemon.create_client("globex", "one").await;
    assert!([first.pool, second.pool].contains(&fourth.pool));
    assert_eq!(pools(&daemon.channel).await.len(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenants_own_pool_is_not_bounded_by_the_limit_of_shared_ones() {
    let daemon = daemon_with_room_for(1).await;
    let globex = create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    for id in ["one", "two", "three"] {
        assert_eq!(daemon.create_client("globex", id).await.pool, globex.pool);
    }
    daemon.create_tenant("acme").await;
    assert_ne!(daemon.create_client("acme", "one").await.pool, globex.pool);
    daemon.stop().await;
}

/// Fifty at once are a storm on one pool's record; whoever loses too often is told to try again, and does.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_never_overfill_a_pool_and_counts_are_exact() {
    let daemon = daemon_with_room_for(8).await;
    let creations: Vec<_> = (0..50)
        .map(|n| {
            let (mut tenants, mut clients) = (daemon.tenants(), daemon.clients());
            tokio::spawn(async move {
                let id = format!("tenant-{n:02}");
                while let Err(status) = tenants.create_tenant(new_tenant(&id, Isolation::AppClient)).await {
                    assert_eq!(status.code(), Code::Aborted, "{status:?}");
                }
                while let Err(status) = clients.create_client(new_client(&id, "orders")).await {
                    assert_eq!(status.code(), Code::Aborted, "{status:?}");
                }
            })
        })
        .collect();
    for creation in creations {
        creation.await.expect("created");
    }
    let counts = counts(&daemon).await;
    let filled: BTreeMap<_, _> = counts.iter().filter(|(_, count)| **count > 0).map(|(k, v)| (k.clone(), *v)).collect();
    assert_eq!(filled, clients_by_pool(&daemon).await);
    assert_eq!(counts.values().sum::<i32>(), 50);
    assert!(counts.values().all(|count| *count <= 8), "{counts:?}");
    daemon.stop().await;
}
