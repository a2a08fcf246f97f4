//! The few calls that nearly every test begins with.

use std::path::PathBuf;

use keyward::proto;
use keyward::proto::catalog_service_client::CatalogServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use keyward::proto::verify_token_response::Verdict;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// The scopes of [`put_orders_api`], in canonical order.
pub const SCOPES: [&str; 2] = ["orders/read", "orders/write"];

/// As a configuration names it: an IP address with a port, or `unix:` and a path.
pub async fn connect(address: &str) -> Channel {
    let uri = match address.strip_prefix("unix:") {
        Some(path) => format!("unix://{path}"),
        None => format!("http://{address}"),
    };
    Endpoint::from_shared(uri).expect("an address").connect().await.expect("connected")
}

pub async fn put_orders_api(channel: &Channel) -> proto::ResourceServer {
    put_api(channel, "orders", "Orders", &["read", "write"]).await
}

pub async fn put_api(
    channel: &Channel,
    identifier: &str,
    display_name: &str,
    scope_names: &[&str],
) -> proto::ResourceServer {
    let scope = |name: &&str| proto::ResourceServerScope {
        scope_name: (*name).to_owned(),
        description: format!("{name} {identifier}"),
    };
    let server = proto::ResourceServer {
        identifier: identifier.to_owned(),
        display_name: display_name.to_owned(),
        scopes: scope_names.iter().map(scope).collect(),
        ..Default::default()
    };
    let request = proto::PutResourceServerRequest { resource_server: Some(server), ..Default::default() };
    let mut catalog = CatalogServiceClient::new(channel.clone());
    catalog.put_resource_server(request).await.expect("the API is put").into_inner()
}

pub async fn create_tenant(channel: &Channel, id: &str, isolation: proto::Isolation) -> proto::Tenant {
    let request = proto::CreateTenantRequest {
        tenant_id: id.to_owned(),
        tenant: Some(proto::Tenant { isolation: isolation.into(), ..Default::default() }),
        ..Default::default()
    };
    let mut tenants = TenantServiceClient::new(channel.clone());
    tenants.create_tenant(request).await.expect("the tenant is created").into_inner()
}

pub async fn create_client(channel: &Channel, tenant: &str, id: &str) -> proto::Client {
    let client = proto::Client { scopes: SCOPES.map(str::to_owned).to_vec(), ..Default::default() };
    let request = proto::CreateClientRequest {
        parent: format!("tenants/{tenant}"),
        client_id: id.to_owned(),
        client: Some(client),
        ..Default::default()
    };
    let mut clients = ClientServiceClient::new(channel.clone());
    clients.create_client(request).await.expect("the client is created").into_inner()
}

/// One that people sign in with, which gets tokens only by their doing.
pub async fn create_interactive(channel: &Channel, tenant: &str, id: &str) -> proto::Client {
    let interactive = proto::InteractiveSettings {
        callback_urls: vec!["https://app.example.com/callback".to_owned()],
        allow_native_accounts: true,
        ..Default::default()
    };
    let client = proto::Client {
        kind: proto::ClientKind::Interactive.into(),
        scopes: ["openid", "orders/read"].map(str::to_owned).to_vec(),
        interactive: Some(interactive),
        ..Default::default()
    };
    let request = proto::CreateClientRequest {
        parent: format!("tenants/{tenant}"),
        client_id: id.to_owned(),
        client: Some(client),
        ..Default::default()
    };
    let mut clients = ClientServiceClient::new(channel.clone());
    clients.create_client(request).await.expect("the client is created").into_inner()
}

pub async fn token(channel: &Channel, client: &str) -> Result<proto::AccessToken, tonic::Status> {
    let request = proto::GetTokenRequest { name: client.to_owned(), ..Default::default() };
    Ok(TokenServiceClient::new(channel.clone()).get_token(request).await?.into_inner())
}

pub async fn verify(channel: &Channel, token: &str) -> Verdict {
    let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
    let answer = VerificationServiceClient::new(channel.clone()).verify_token(request).await.expect("an answer");
    answer.into_inner().verdict.expect("a verdict")
}

/// A folder that is there for the whole test.
pub fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    (folder, path)
}
