//! Everything that a daemon shows of what it keeps, so that two moments can be compared.

use std::time::Duration;

use keyward::proto;
use keyward::proto::audit_service_client::AuditServiceClient;
use keyward::proto::catalog_service_client::CatalogServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use tonic::transport::Channel;

/// The most that one page holds.
const WHOLE: i32 = 1_000;

/// All lists, and the last event. Small worlds only: one page of each is read.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub tenants: Vec<proto::Tenant>,
    pub clients: Vec<proto::Client>,
    pub rotations: Vec<proto::Rotation>,
    pub resource_servers: Vec<proto::ResourceServer>,
    pub pools: Vec<proto::Pool>,
    pub last_event: u64,
}

impl State {
    pub async fn of(channel: &Channel) -> Self {
        let request = proto::ListTenantsRequest { page_size: WHOLE, ..Default::default() };
        let tenants = TenantServiceClient::new(channel.clone()).list_tenants(request).await.expect("tenants");
        let mut service = ClientServiceClient::new(channel.clone());
        let request =
            proto::ListClientsRequest { parent: "tenants/-".to_owned(), page_size: WHOLE, ..Default::default() };
        let clients = service.list_clients(request).await.expect("clients").into_inner().clients;
        let mut rotations = Vec::new();
        for client in &clients {
            let request = proto::ListRotationsRequest { parent: client.name.clone(), ..Default::default() };
            rotations.extend(service.list_rotations(request).await.expect("rotations").into_inner().rotations);
        }
        let mut catalog = CatalogServiceClient::new(channel.clone());
        let request = proto::ListResourceServersRequest { page_size: WHOLE, ..Default::default() };
        let servers = catalog.list_resource_servers(request).await.expect("resource servers").into_inner();
        let resource_servers = servers.resource_servers.into_iter().map(without_progress).collect();
        let pools = pools(channel).await;
        let tenants = tenants.into_inner().tenants;
        State { tenants, clients, rotations, resource_servers, pools, last_event: last_event(channel).await }
    }
}

/// How far the catalogue has come goes on by itself, so it is no part of what calls change.
fn without_progress(server: proto::ResourceServer) -> proto::ResourceServer {
    proto::ResourceServer { in_force: false, ..server }
}

pub async fn pools(channel: &Channel) -> Vec<proto::Pool> {
    let request = proto::ListPoolsRequest { page_size: WHOLE, ..Default::default() };
    CatalogServiceClient::new(channel.clone()).list_pools(request).await.expect("pools").into_inner().pools
}

/// The sequence number of the last event; 0 when there is none.
pub async fn last_event(channel: &Channel) -> u64 {
    let request = proto::ListAuditEventsRequest { page_size: 1, ..Default::default() };
    let page = AuditServiceClient::new(channel.clone()).list_audit_events(request).await.expect("events").into_inner();
    page.audit_events.first().map_or(0, |event| event.sequence)
}

/// Every event, oldest first.
pub async fn events(channel: &Channel) -> Vec<proto::AuditEvent> {
    events_of(channel, proto::AuditEventFilter::default()).await
}

/// Every event that the filter lets through, oldest first.
pub async fn events_of(channel: &Channel, filter: proto::AuditEventFilter) -> Vec<proto::AuditEvent> {
    let mut audit = AuditServiceClient::new(channel.clone());
    let mut request = proto::ListAuditEventsRequest { page_size: WHOLE, filter: Some(filter), ..Default::default() };
    let mut events = Vec::new();
    loop {
        let page = audit.list_audit_events(request.clone()).await.expect("events").into_inner();
        events.extend(page.audit_events);
        if page.next_page_token.is_empty() {
            events.reverse();
            return events;
        }
        request.page_token = page.next_page_token;
    }
}

/// Waits for the first event after `after` of this method on this resource, or below it.
pub async fn event_after(channel: &Channel, after: u64, method: &str, resource: &str) -> proto::AuditEvent {
    let filter = proto::AuditEventFilter {
        method: method.to_owned(),
        resource_prefix: resource.to_owned(),
        ..Default::default()
    };
    let request = proto::TailAuditEventsRequest { after_sequence: Some(after), filter: Some(filter) };
    let mut tail =
        AuditServiceClient::new(channel.clone()).tail_audit_events(request).await.expect("open").into_inner();
    let next = tokio::time::timeout(Duration::from_secs(30), tail.message()).await;
    next.unwrap_or_else(|_| panic!("no {method} on {resource}")).expect("no error").expect("an event")
}
