//! `keyward tour`.

use std::net::TcpListener;

use keyward::proto;
use keyward::proto::catalog_service_client::CatalogServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use tonic::transport::Channel;

use super::run;
use crate::harness::{Binary, create_client, create_tenant, folder, put_orders_api};

/// The shortest text that can be a token of ours.
const TOKEN_LENGTH: usize = 100;

#[test]
fn on_a_broker_of_its_own_every_expectation_is_met_and_nothing_is_left() {
    let (_folder, path) = folder();
    let ran = run(Binary::command().arg("tour").env("TMPDIR", &path));
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let (met, summary) = (ran.out.matches("\n✓ ").count(), ran.out.matches("\n  ✓ ").count());
    assert!(met > 20 && met == summary, "{met} and {summary}");
    assert!(ran.out.ends_with(&format!("\nAll {met} expectations were met.\n")) && !ran.out.contains('✗'));
    assert_no_token(&ran.out);
    assert_no_token(&ran.err);
    assert_eq!(std::fs::read_dir(&path).expect("listed").count(), 0, "its data is left");
}

#[tokio::test]
async fn on_a_running_broker_it_leaves_nothing_behind() {
    let (_folder, path) = folder();
    let broker = Binary::dev(&path.join("data"));
    let channel = broker.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", proto::Isolation::AppClient).await;
    create_client(&channel, "acme", "checkout").await;
    let before = everything(&channel).await;

    let target = format!("http://{}", broker.address);
    let ran = tokio::task::spawn_blocking(move || run(Binary::command().args(["tour", "--target", &target])));
    let ran = ran.await.expect("it ends");
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    assert_no_token(&ran.out);
    assert_eq!(everything(&channel).await, before);
}

#[test]
fn without_a_broker_to_reach_it_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    drop(taken);
    let ran = run(Binary::command().args(["tour", "--target", &format!("http://{address}")]));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.starts_with("keyward: ") && ran.err.contains(&address), "{}", ran.err);
    for target in ["https://127.0.0.1:7443", "ftp://x", ""] {
        let ran = run(Binary::command().args(["tour", "--target", target]));
        assert_eq!(ran.code, 2, "{target:?}: {}", ran.err);
        assert!(ran.err.contains(target) && ran.err.contains("http://127.0.0.1:7443"), "{target:?}: {}", ran.err);
    }
}

/// What a broker lists, in one text.
async fn everything(channel: &Channel) -> String {
    let mut tenants = TenantServiceClient::new(channel.clone());
    let tenants = tenants.list_tenants(proto::ListTenantsRequest::default()).await.expect("tenants");
    let clients = proto::ListClientsRequest { parent: "tenants/-".to_owned(), ..Default::default() };
    let clients = ClientServiceClient::new(channel.clone()).list_clients(clients).await.expect("clients");
    let mut catalog = CatalogServiceClient::new(channel.clone());
    let servers = catalog.list_resource_servers(proto::ListResourceServersRequest::default()).await.expect("servers");
    let mut servers = servers.into_inner();
    for server in &mut servers.resource_servers {
        // How far the broker is with applying it, which goes on meanwhile.
        server.in_force = false;
    }
    let pools = catalog.list_pools(proto::ListPoolsRequest::default()).await.expect("pools");
    format!("{:#?}\n{:#?}\n{:#?}\n{:#?}", tenants.into_inner(), clients.into_inner(), servers, pools.into_inner())
}

fn assert_no_token(text: &str) {
    for (start, _) in text.match_indices("eyJ") {
        let from = &text[start..];
        let end = from.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(from.len());
        assert!(end < TOKEN_LENGTH, "a token is printed: {}", &from[..40]);
    }
}
