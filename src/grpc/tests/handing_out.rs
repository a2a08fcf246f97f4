//! What comes between a token's line in the audit file and the token.

use super::*;
use crate::proto::catalog_service_server::CatalogService;
use crate::proto::client_service_server::ClientService;
use crate::proto::tenant_service_server::TenantService;
use crate::proto::token_service_server::TokenService;

const CLIENT: &str = "tenants/acme/clients/orders";

fn wanted() -> Request<proto::GetTokenRequest> {
    Request::new(proto::GetTokenRequest { name: CLIENT.to_owned(), ..Default::default() })
}

async fn make_client(service: &Service) {
    let scope = proto::ResourceServerScope { scope_name: "read".to_owned(), ..Default::default() };
    let api = proto::ResourceServer { identifier: "orders".to_owned(), scopes: vec![scope], ..Default::default() };
    let request = proto::PutResourceServerRequest { resource_server: Some(api), ..Default::default() };
    service.put_resource_server(Request::new(request)).await.expect("put");
    let tenant = proto::Tenant { isolation: proto::Isolation::AppClient.into(), ..Default::default() };
    let request =
        proto::CreateTenantRequest { tenant_id: "acme".to_owned(), tenant: Some(tenant), ..Default::default() };
    service.create_tenant(Request::new(request)).await.expect("created");
    let request = proto::CreateClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "orders".to_owned(),
        client: Some(proto::Client { scopes: vec!["orders/read".to_owned()], ..Default::default() }),
        ..Default::default()
    };
    service.create_client(Request::new(request)).await.expect("created");
}

#[tokio::test]
async fn a_token_does_not_leave_when_its_tenant_is_suspended_while_the_disk_is_waited_for() {
    let (folder, plain) = front().await;
    let path = folder.path().join("audit.jsonl");
    let (file, writing) = crate::audit_file::open(&path, true, Arc::new(SystemClock)).expect("opened");
    let gate = Gate { audit_file: Some(Arc::new(file)), ..plain.gate.clone() };
    let recording = Service(Arc::new(Front { gate, ..front().await.1 }));
    let plain = Service(Arc::new(plain));
    make_client(&plain).await;
    // From now on everything that the call needs is in memory, so that it waits for nothing but its line.
    plain.get_token(wanted()).await.expect("a token");
    let mut waiting = recording.get_token(wanted());
    assert!(futures::poll!(&mut waiting).is_pending());

    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    plain.suspend_tenant(Request::new(request)).await.expect("suspended");
    let writing = tokio::spawn(writing.run());
    let status = waiting.await.expect_err("the tenant is suspended");
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("a reason").reason, "TENANT_SUSPENDED");
    drop(recording);
    writing.await.expect("no panic");
    let text = std::fs::read_to_string(&path).expect("read");
    assert_eq!(text.matches("\"kind\":\"handed_out\"").count(), 1, "it had been admitted, and was on record: {text}");
}
