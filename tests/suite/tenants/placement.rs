//! Where app clients go: shared pools are used in turn and filled up to their limit, exactly, and room is used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyward::proto::{self, Isolation};
use keyward::runtime::clock::SystemClock;

use crate::harness::rotations::get_client;
use crate::harness::{Daemon, create_tenant, new_client, new_tenant, pools};

async fn daemon_with_room_for(app_clients: u32) -> Daemon {
    daemon_with(app_clients, 1).await
}

async fn daemon_with(app_clients: u32, pools_with_room: usize) -> Daemon {
    let edit = |config: &mut keyward::config::Config| {
        config.pools.app_clients_per_shared_pool = app_clients;
        config.pools.shared_pools_with_room = pools_with_room;
    };
    let daemon = Daemon::start_with(Arc::new(SystemClock), edit).await;
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

#[tokio::test]
async fn so_many_shared_pools_as_are_wanted_have_room_and_each_has_its_turn() {
    let daemon = daemon_with(2, 3).await;
    let mut homes = Vec::new();
    for n in 0..6 {
        homes.push(daemon.create_tenant(&format!("tenant-{n}")).await.pool);
    }
    let three: BTreeSet<_> = homes[..3].iter().cloned().collect();
    assert_eq!(three.len(), 3, "each of the first three has another: {homes:?}");
    let again: BTreeSet<_> = homes[3..].iter().cloned().collect();
    assert_eq!(again, three, "the next three take their turns");

    // A tenant's clients stay together while there is room.
    for id in ["one", "two"] {
        assert_eq!(daemon.create_client("tenant-0", id).await.pool, homes[0]);
    }
    // Two have room, and three are to have: so it is a new one.
    let elsewhere = daemon.create_client("tenant-0", "three").await.pool;
    assert!(!three.contains(&elsewhere), "{elsewhere} of {three:?}");
    // Now three have again, and what comes goes to each of them.
    let mut used = BTreeSet::new();
    for n in 6..9 {
        used.insert(daemon.create_tenant(&format!("tenant-{n}")).await.pool);
    }
    let with_room: BTreeSet<_> = counts(&daemon).await.into_iter().filter(|(_, n)| *n < 2).map(|(id, _)| id).collect();
    assert_eq!(used, with_room);
    assert_eq!(counts(&daemon).await.len(), 4);
    daemon.stop().await;
}

#[tokio::test]
async fn while_a_pool_has_room_a_full_region_stops_nobody() {
    let edit = |config: &mut keyward::config::Config| {
        config.quotas.user_pools_per_region = 2;
        config.pools.shared_pools_with_room = 3;
    };
    let daemon = Daemon::start_with(Arc::new(SystemClock), edit).await;
    for n in 0..4 {
        daemon.create_tenant(&format!("tenant-{n}")).await;
    }
    assert_eq!(pools(&daemon.channel).await.len(), 2);
    daemon.stop().await;
}

/// Nobody is told to try again, no pool is overfilled, and none is made that is not needed.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_never_overfill_a_pool_and_counts_are_exact() {
    let daemon = daemon_with_room_for(8).await;
    let creations: Vec<_> = (0..50)
        .map(|n| {
            let (mut tenants, mut clients) = (daemon.tenants(), daemon.clients());
            tokio::spawn(async move {
                let id = format!("tenant-{n:02}");
                tenants.create_tenant(new_tenant(&id, Isolation::AppClient)).await.expect("a tenant");
                clients.create_client(new_client(&id, "orders")).await.expect("a client");
            })
        })
        .collect();
    for creation in creations {
        creation.await.expect("created");
    }
    let counts = counts(&daemon).await;
    assert_eq!(counts, clients_by_pool(&daemon).await);
    assert_eq!(counts.values().sum::<i32>(), 50);
    assert!(counts.values().all(|count| *count <= 8), "{counts:?}");
    assert_eq!(counts.len(), 7, "{counts:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_come_first_begin_one_pool_together() {
    let daemon = daemon_with_room_for(100).await;
    let creations: Vec<_> = (0..30)
        .map(|n| {
            let mut tenants = daemon.tenants();
            tokio::spawn(async move {
                let tenant = new_tenant(&format!("tenant-{n:02}"), Isolation::AppClient);
                tenants.create_tenant(tenant).await.expect("a tenant");
            })
        })
        .collect();
    for creation in creations {
        creation.await.expect("created");
    }
    assert_eq!(pools(&daemon.channel).await.len(), 1);
    daemon.stop().await;
}

/// While a replacement runs a client takes two places.
#[tokio::test(flavor = "multi_thread")]
async fn replacements_at_one_time_take_what_room_there_is_and_begin_one_pool_together() {
    let daemon = daemon_with_room_for(6).await;
    daemon.create_tenant("acme").await;
    let mut names = Vec::new();
    for n in 0..6 {
        names.push(daemon.create_client("acme", &format!("client-{n}")).await.name);
    }
    let replacements: Vec<_> = names
        .iter()
        .map(|name| {
            let mut clients = daemon.clients();
            let request = proto::ReplaceClientRequest { name: name.clone(), ..Default::default() };
            tokio::spawn(async move { clients.replace_client(request).await.expect("replaced") })
        })
        .collect();
    for replacement in replacements {
        replacement.await.expect("replaced");
    }
    for name in &names {
        daemon.token(&get_client(&daemon.channel, name).await.name).await;
    }
    let counts = counts(&daemon).await;
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [6, 6], "{counts:?}");
    daemon.stop().await;
}
