//! The catalogue: resource servers and scopes, and how they come into every pool.

use std::sync::Arc;
use std::time::Duration;

use keyward::broker::ports::Shelf;
use keyward::domain::pool::Pool;
use keyward::proto::{self, Isolation};
use keyward::runtime::clock::SystemClock;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::backend::Backend;
use crate::harness::rotations::eventually;
use crate::harness::{
    Daemon, Outage, State, assert_invalid, create_tenant, new_client, new_resource_server, pools, refusal,
};

async fn put(daemon: &Daemon, request: proto::PutResourceServerRequest) -> Result<proto::ResourceServer, Status> {
    Ok(daemon.catalog().put_resource_server(request).await?.into_inner())
}

async fn list(daemon: &Daemon) -> Vec<proto::ResourceServer> {
    let request = proto::ListResourceServersRequest { page_size: 1_000, ..Default::default() };
    daemon.catalog().list_resource_servers(request).await.expect("listed").into_inner().resource_servers
}

fn delete(name: &str) -> proto::DeleteResourceServerRequest {
    proto::DeleteResourceServerRequest { name: name.to_owned(), ..Default::default() }
}

fn client_with(tenant: &str, id: &str, scopes: &[&str]) -> proto::CreateClientRequest {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    proto::CreateClientRequest {
        client: Some(proto::Client { scopes, ..Default::default() }),
        ..new_client(tenant, id)
    }
}

/// The client that an error names.
fn client_named_by(status: &Status) -> String {
    status.get_error_details().error_info().expect("ErrorInfo").metadata["client"].clone()
}

#[tokio::test]
async fn a_resource_server_is_put_replaced_listed_and_deleted() {
    let daemon = Daemon::start().await;
    let created = put(&daemon, new_resource_server("orders", &["read", "write"])).await.expect("put");
    assert_eq!((created.name.as_str(), created.identifier.as_str()), ("resourceServers/orders", "orders"));
    assert_eq!(created.display_name, "orders", "the identifier, where there is no name");
    let scopes: Vec<_> = created.scopes.iter().map(|scope| (&*scope.scope_name, &*scope.description)).collect();
    assert_eq!(scopes, [("read", "read"), ("write", "write")], "a scope's name is its description");
    assert!(created.create_time.is_some() && created.create_time == created.update_time);

    let mut request = new_resource_server("orders", &["read", "cancel"]);
    let server = request.resource_server.as_mut().expect("set");
    server.display_name = "Orders, v2".to_owned();
    server.etag = created.etag.clone();
    let replaced = put(&daemon, request.clone()).await.expect("replaced");
    assert_eq!(replaced.display_name, "Orders, v2");
    assert_eq!(replaced.scopes.iter().map(|scope| &*scope.scope_name).collect::<Vec<_>>(), ["read", "cancel"]);
    assert_eq!(replaced.create_time, created.create_time);
    assert_ne!(replaced.etag, created.etag);
    assert_eq!(refusal(put(&daemon, request).await), (Code::Aborted, "ETAG_MISMATCH".into()));

    put(&daemon, new_resource_server("billing", &["read"])).await.expect("put");
    let identifiers: Vec<_> = list(&daemon).await.into_iter().map(|server| server.identifier).collect();
    assert_eq!(identifiers, ["billing", "orders"]);

    let stale = proto::DeleteResourceServerRequest { etag: created.etag, ..delete("resourceServers/orders") };
    assert_eq!(refusal(daemon.catalog().delete_resource_server(stale).await).1, "ETAG_MISMATCH");
    daemon.catalog().delete_resource_server(delete("resourceServers/orders")).await.expect("deleted");
    let gone = daemon.catalog().delete_resource_server(delete("resourceServers/orders")).await;
    assert_eq!(refusal(gone), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
    assert_eq!(list(&daemon).await.len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_scope_is_in_force_in_every_pool_whichever_was_first() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.pools.app_clients_per_shared_pool = 1).await;
    daemon.create_tenant("acme").await;
    create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    daemon.put_orders_api().await;
    create_tenant(&daemon.channel, "initech", Isolation::UserPool).await;
    // The second client of acme needs the next shared pool.
    let ids = [("acme", "one"), ("acme", "two"), ("globex", "one"), ("initech", "one")];
    for (tenant, id) in ids {
        let client = daemon.create_client(tenant, id).await;
        assert_eq!(daemon.token(&client.name).await.scopes, client.scopes);
    }
    assert_eq!(pools(&daemon.channel).await.len(), 4);
    // And one that comes when all are in use.
    put(&daemon, new_resource_server("billing", &["read"])).await.expect("put");
    for tenant in ["acme", "globex", "initech"] {
        let request = client_with(tenant, "billing", &["billing/read"]);
        let client = daemon.clients().create_client(request).await.expect("created").into_inner();
        assert_eq!(daemon.token(&client.name).await.scopes, ["billing/read"]);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_resource_server_that_is_deleted_leaves_every_pool() {
    let (daemon, backend) = Backend::behind(Arc::new(SystemClock), |_| {}, |ports| ports).await;
    daemon.put_orders_api().await;
    put(&daemon, new_resource_server("billing", &["read"])).await.expect("put");
    daemon.create_tenant("acme").await;
    create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    daemon.catalog().delete_resource_server(delete("resourceServers/billing")).await.expect("deleted");
    let pools: Vec<Pool> = backend.records(Shelf::Pool).await;
    assert_eq!(pools.len(), 2);
    for pool in pools {
        let made = pool.made.expect("made");
        eventually("only the other is left", async || {
            let there = backend.0.user_pools.list_resource_servers(&made).await.expect("listed");
            there.iter().map(ToString::to_string).collect::<Vec<_>>() == ["orders"]
        })
        .await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_resource_server_is_in_force_once_every_pool_has_it() {
    let outage = Outage::default();
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| outage.of_user_pools(ports)).await;
    daemon.create_tenant("acme").await;
    create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    for _ in 0..2 {
        outage.begin();
        assert!(!daemon.put_orders_api().await.in_force);
        assert!(!list(&daemon).await[0].in_force, "no pool can have it");
        outage.end();
        in_force(&daemon).await;
    }
    create_tenant(&daemon.channel, "initech", Isolation::UserPool).await;
    assert!(list(&daemon).await[0].in_force, "a new pool has it from the first");
    daemon.stop().await;
}

/// Waits until every pool has the one resource server.
async fn in_force(daemon: &Daemon) {
    let waiting = async {
        while !list(daemon).await[0].in_force {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("in time");
}

#[tokio::test]
async fn a_scope_that_a_client_has_cannot_be_taken_away() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let reader = daemon.clients().create_client(client_with("acme", "reader", &["orders/read"])).await;
    let reader = reader.expect("created").into_inner();
    let before = State::of(&daemon.channel).await;

    let without = new_resource_server("orders", &["write"]);
    let status = put(&daemon, without.clone()).await.expect_err("in use");
    assert_eq!(client_named_by(&status), reader.name);
    assert_eq!(refusal::<()>(Err(status)), (Code::FailedPrecondition, "SCOPE_IN_USE".into()));
    let status = daemon.catalog().delete_resource_server(delete("resourceServers/orders")).await.expect_err("in use");
    assert_eq!(client_named_by(&status), reader.name);
    assert_eq!(refusal::<()>(Err(status)), (Code::FailedPrecondition, "SCOPE_IN_USE".into()));
    assert_eq!(State::of(&daemon.channel).await, before);

    // What nobody has may go, and so may the rest once nobody has it.
    put(&daemon, new_resource_server("orders", &["read"])).await.expect("replaced");
    let request = proto::DeleteClientRequest { name: reader.name, ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    put(&daemon, without).await.expect("replaced");
    daemon.catalog().delete_resource_server(delete("resourceServers/orders")).await.expect("deleted");
    daemon.stop().await;
}

#[tokio::test]
async fn a_scope_that_an_update_took_from_its_client_is_free_to_go() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let given = proto::Client { name: client.name, scopes: vec!["orders/read".to_owned()], ..Default::default() };
    let request = proto::UpdateClientRequest { client: Some(given), ..Default::default() };
    daemon.clients().update_client(request).await.expect("updated");
    put(&daemon, new_resource_server("orders", &["read"])).await.expect("nobody has orders/write");
    daemon.stop().await;
}

#[tokio::test]
async fn a_scope_that_is_not_in_the_catalogue_is_unknown() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    for unknown in ["orders/cancel", "billing/read", "orders/read/x"] {
        let request = client_with("acme", "orders", &["orders/read", unknown]);
        let status = daemon.clients().create_client(request).await.expect_err("unknown");
        assert_eq!(refusal::<()>(Err(status)), (Code::InvalidArgument, "SCOPE_UNKNOWN".into()), "{unknown}");
    }
    let client = daemon.create_client("acme", "orders").await;
    let given = proto::Client { name: client.name, scopes: vec!["orders/cancel".to_owned()], ..Default::default() };
    let request = proto::UpdateClientRequest { client: Some(given), ..Default::default() };
    assert_invalid(daemon.clients().update_client(request).await, "SCOPE_UNKNOWN", "client.scopes");
    daemon.stop().await;
}

#[tokio::test]
async fn an_identifier_may_be_a_url_and_its_name_is_one_segment() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    let cases = [
        ("https://api.example.com/v1", "resourceServers/https:%2F%2Fapi.example.com%2Fv1"),
        ("a%2Fb", "resourceServers/a%252Fb"),
        ("a/b", "resourceServers/a%2Fb"),
        ("a%b", "resourceServers/a%25b"),
    ];
    for (i, (identifier, name)) in cases.into_iter().enumerate() {
        let server = put(&daemon, new_resource_server(identifier, &["read"])).await.expect("put");
        assert_eq!((server.identifier.as_str(), server.name.as_str()), (identifier, name));
        let scope = format!("{identifier}/read");
        let request = client_with("acme", &format!("client-{i}"), &[&scope]);
        let client = daemon.clients().create_client(request).await.expect("created").into_inner();
        assert_eq!(daemon.token(&client.name).await.scopes, [scope]);
    }
    let names: Vec<_> = list(&daemon).await.into_iter().map(|server| server.display_name).collect();
    assert_eq!(names, ["a-2Fb", "a-b", "a-b", "https---api.example.com-v1"], "in order of identifiers");
    for i in 0..cases.len() {
        let request =
            proto::DeleteClientRequest { name: format!("tenants/acme/clients/client-{i}"), ..Default::default() };
        daemon.clients().delete_client(request).await.expect("deleted");
    }
    for (_, name) in cases {
        daemon.catalog().delete_resource_server(delete(name)).await.expect(name);
    }
    assert_eq!(list(&daemon).await, []);
    daemon.stop().await;
}

#[tokio::test]
async fn a_pool_takes_twenty_five_resource_servers_of_a_hundred_scopes() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    let hundred: Vec<String> = (0..100).map(|n| format!("scope-{n}")).collect();
    let mut scopes: Vec<&str> = hundred.iter().map(String::as_str).collect();
    for n in 0..25 {
        put(&daemon, new_resource_server(&format!("api-{n:02}"), &scopes)).await.expect("put");
    }
    let status = put(&daemon, new_resource_server("api-25", &["read"])).await.expect_err("one too many");
    let info = status.get_error_details().error_info().expect("ErrorInfo").clone();
    assert_eq!(info.metadata["limit"], "25");
    assert!(info.metadata.contains_key("quota"));
    assert_eq!(refusal::<()>(Err(status)), (Code::ResourceExhausted, "QUOTA_EXCEEDED".into()));
    // One that is there can still be replaced, and one that goes makes room.
    put(&daemon, new_resource_server("api-00", &["read"])).await.expect("replaced");
    daemon.catalog().delete_resource_server(delete("resourceServers/api-01")).await.expect("deleted");
    put(&daemon, new_resource_server("api-25", &["read"])).await.expect("put");
    let client = daemon.clients().create_client(client_with("acme", "orders", &["api-25/read"])).await;
    daemon.token(&client.expect("in force").into_inner().name).await;

    scopes.push("one-too-many");
    let field = "resource_server.scopes";
    assert_invalid(put(&daemon, new_resource_server("api-00", &scopes)).await, "FIELD_INVALID", field);
    daemon.stop().await;
}

#[tokio::test]
async fn pools_are_told_apart_by_kind_and_region() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    let settings = proto::UserPoolSettings { region: "eu-central-1".to_owned(), ..Default::default() };
    let request = crate::harness::new_tenant_with_pool("globex", settings);
    let globex = daemon.tenants().create_tenant(request).await.expect("created").into_inner();
    let listed = |kind: proto::PoolKind, region: &str| {
        let request = proto::ListPoolsRequest { kind: kind.into(), region: region.to_owned(), ..Default::default() };
        let mut catalog = daemon.catalog();
        async move {
            let pools = catalog.list_pools(request).await.expect("listed").into_inner().pools;
            pools.into_iter().map(|pool| pool.name).collect::<Vec<_>>()
        }
    };
    let all = listed(proto::PoolKind::Unspecified, "").await;
    let [shared, dedicated] = &all[..] else { panic!("{all:?}") };
    assert_eq!(dedicated, &globex.pool, "shared-… comes before tenant-…");
    assert_eq!(listed(proto::PoolKind::Shared, "").await, std::slice::from_ref(shared));
    assert_eq!(listed(proto::PoolKind::Dedicated, "").await, std::slice::from_ref(dedicated));
    assert_eq!(listed(proto::PoolKind::Unspecified, "local").await, std::slice::from_ref(shared));
    assert_eq!(listed(proto::PoolKind::Unspecified, "eu-central-1").await, std::slice::from_ref(dedicated));
    assert!(listed(proto::PoolKind::Shared, "eu-central-1").await.is_empty());
    daemon.stop().await;
}
