//! User pools that the configuration names: used like shared ones, and left alone in all that is not Keyward's.

use std::sync::Arc;

use keyward::broker::ports::Shelf;
use keyward::domain::id::AppClientId;
use keyward::domain::pool::{MadePool, Pool};
use keyward::domain::scope::{Identifier, ResourceServer};
use keyward::domain::tenant::UserPoolSettings;
use keyward::proto::{self, PoolKind};
use keyward::runtime::clock::SystemClock;
use tonic::Code;

use crate::harness::backend::Backend;
use crate::harness::outside::{import, secret};
use crate::harness::{Daemon, details};

/// A daemon whose configuration names a pool that others made, with a resource server and an app client of theirs.
async fn adopting() -> (Daemon, Backend, MadePool, AppClientId) {
    let (daemon, backend) = Backend::behind(Arc::new(SystemClock), |_| {}, |ports| ports).await;
    daemon.put_orders_api().await;
    let made = backend.user_pool("legacy").await;
    let mut theirs = backend.records::<ResourceServer>(Shelf::ResourceServer).await.remove(0);
    backend.0.user_pools.put_resource_server(&made, &theirs).await.expect("put");
    theirs.identifier = Identifier::parse("identifier", "theirs").expect("valid");
    backend.0.user_pools.put_resource_server(&made, &theirs).await.expect("put");
    let app_client = backend.app_client(&made, "theirs", &secret(1)).await;
    let settings = UserPoolSettings { deletion_protection: true, ..Default::default() };
    backend.0.user_pools.update_pool(&made, &settings).await.expect("updated");

    let id = made.user_pool.to_string();
    let daemon = daemon.restart_with(|config| config.aws.adopted_pools = vec![id]).await;
    (daemon, backend, made, app_client)
}

async fn put(daemon: &Daemon, identifier: &str) {
    let scope = proto::ResourceServerScope { scope_name: "read".to_owned(), ..Default::default() };
    let server = proto::ResourceServer { identifier: identifier.to_owned(), scopes: vec![scope], ..Default::default() };
    let request = proto::PutResourceServerRequest { resource_server: Some(server), ..Default::default() };
    daemon.catalog().put_resource_server(request).await.expect("put");
}

async fn servers(backend: &Backend, made: &MadePool) -> Vec<String> {
    let servers = backend.0.user_pools.list_resource_servers(made).await.expect("listed");
    servers.into_iter().map(|identifier| identifier.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_pool_that_the_configuration_names_takes_new_tenants_and_its_app_clients_can_be_imported() {
    let (daemon, backend, made, app_client) = adopting().await;
    let tenant = daemon.create_tenant("acme").await;
    assert!(tenant.pool.starts_with("pools/shared-"), "{}", tenant.pool);
    assert_eq!(tenant.issuer, made.issuer.as_str());
    let request = proto::ListPoolsRequest::default();
    let proto::ListPoolsResponse { pools, quotas, .. } =
        daemon.catalog().list_pools(request).await.expect("a page").into_inner();
    let [pool] = pools.as_slice() else { panic!("{pools:?}") };
    assert_eq!((quotas[0].quota.as_str(), quotas[0].used), ("User pools per Region", 1));
    assert_eq!(
        (&pool.name, &pool.user_pool_id, pool.kind()),
        (&tenant.pool, &made.user_pool.to_string(), PoolKind::Shared)
    );
    assert_eq!((pool.app_client_count, pool.region.as_str()), (0, "local"), "theirs take no place");

    let issued = daemon.create_client("acme", "issued").await;
    assert_eq!(issued.pool, tenant.pool);
    let request = import("tenants/acme/clients/orders", &tenant.pool, &app_client, secret(1).expose());
    let imported = daemon.clients().import_client(request).await.expect("imported").into_inner();
    daemon.token(&imported.name).await;

    // Neither start finds it again, and another broker gives it the same name.
    let daemon = daemon.restart().await;
    assert_eq!(daemon.create_tenant("bigco").await.pool, tenant.pool);
    assert_eq!(backend.records::<Pool>(Shelf::Pool).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_not_keywards_in_it_is_left_alone() {
    let (daemon, backend, made, app_client) = adopting().await;
    daemon.create_tenant("acme").await;
    put(&daemon, "ours").await;
    daemon.create_client("acme", "issued").await;
    assert_eq!(servers(&backend, &made).await, ["orders", "ours", "theirs"]);
    let request = proto::DeleteResourceServerRequest { name: "resourceServers/ours".to_owned(), ..Default::default() };
    daemon.catalog().delete_resource_server(request).await.expect("deleted");
    // Issuing brings the pool up to the catalogue.
    daemon.create_client("acme", "another").await;
    assert_eq!(servers(&backend, &made).await, ["orders", "theirs"], "what Keyward brought goes, theirs stays");

    let reconcile = proto::ReconcileTenantRequest { name: "tenants/-".to_owned(), mend: true, ..Default::default() };
    let found = daemon.tenants().reconcile_tenant(reconcile).await.expect("reconciled").into_inner();
    assert_eq!(found.drifts, [], "their settings and app clients are no difference");

    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    assert!(backend.is_there(&made, &app_client).await);
    assert_eq!(servers(&backend, &made).await, ["orders", "theirs"]);
    let settings = backend.0.user_pools.pool_settings(&made).await.expect("read").expect("there");
    assert!(settings.deletion_protection);
    daemon.stop().await;
}

#[tokio::test]
async fn a_resource_server_that_was_there_stays_when_the_catalogue_drops_it() {
    let (daemon, backend, made, _) = adopting().await;
    daemon.create_tenant("acme").await;
    assert_eq!(servers(&backend, &made).await, ["orders", "theirs"]);
    let request =
        proto::DeleteResourceServerRequest { name: "resourceServers/orders".to_owned(), ..Default::default() };
    daemon.catalog().delete_resource_server(request).await.expect("deleted");
    put(&daemon, "ours").await;
    daemon.create_tenant("bigco").await;
    assert_eq!(servers(&backend, &made).await, ["orders", "ours", "theirs"]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_pool_that_is_no_longer_named_takes_no_more_and_one_that_does_not_exist_stops_nobody() {
    let (daemon, backend, made, app_client) = adopting().await;
    let adopted = daemon.create_tenant("acme").await.pool;
    let kept = daemon.create_client("acme", "kept").await;
    let daemon = daemon.restart_with(|config| config.aws.adopted_pools = vec!["local_doesnotexist".to_owned()]).await;
    let other = daemon.create_tenant("bigco").await.pool;
    assert_ne!(other, adopted);
    assert_eq!(daemon.create_client("acme", "new").await.pool, other);
    daemon.token(&kept.name).await;
    // What is in it can still be taken over.
    let request = import("tenants/acme/clients/orders", &adopted, &app_client, secret(1).expose());
    daemon.clients().import_client(request).await.expect("imported");
    assert_eq!(backend.made(&adopted).await, made);
    let gone = import("tenants/acme/clients/gone", &adopted, &app_client, secret(1).expose());
    let status = daemon.clients().import_client(gone).await.expect_err("taken");
    assert_eq!(details(&status).code, Code::AlreadyExists);
    daemon.stop().await;
}
