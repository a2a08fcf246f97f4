//! Lists, all of them alike: sizes of pages, walks from page to page, tokens that fit nowhere else.

mod tokens;

use std::collections::BTreeSet;

use keyward::proto::{self, Isolation};
use tonic::Status;

use crate::harness::{Daemon, assert_invalid, create_tenant, new_client, new_resource_server};

/// The methods that list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum List {
    Tenants,
    /// Of one tenant.
    Clients,
    /// Of all tenants.
    AllClients,
    Rotations,
    ResourceServers,
    Pools,
    Events,
}

pub const ALL: [List; 7] =
    [List::Tenants, List::Clients, List::AllClients, List::Rotations, List::ResourceServers, List::Pools, List::Events];

impl List {
    /// The names on one page, and the token of the next.
    pub async fn page(self, daemon: &Daemon, size: i32, token: &str) -> Result<(Vec<String>, String), Status> {
        let (page_size, page_token) = (size, token.to_owned());
        Ok(match self {
            List::Tenants => {
                let request = proto::ListTenantsRequest { page_size, page_token, ..Default::default() };
                let page = daemon.tenants().list_tenants(request).await?.into_inner();
                (page.tenants.into_iter().map(|it| it.name).collect(), page.next_page_token)
            }
            List::Clients | List::AllClients => {
                let parent = if self == List::Clients { "tenants/acme" } else { "tenants/-" }.to_owned();
                let request = proto::ListClientsRequest { parent, page_size, page_token };
                let page = daemon.clients().list_clients(request).await?.into_inner();
                (page.clients.into_iter().map(|it| it.name).collect(), page.next_page_token)
            }
            List::Rotations => {
                let parent = "tenants/acme/clients/client-00".to_owned();
                let request = proto::ListRotationsRequest { parent, page_size, page_token };
                let page = daemon.clients().list_rotations(request).await?.into_inner();
                (page.rotations.into_iter().map(|it| it.name).collect(), page.next_page_token)
            }
            List::ResourceServers => {
                let request = proto::ListResourceServersRequest { page_size, page_token };
                let page = daemon.catalog().list_resource_servers(request).await?.into_inner();
                (page.resource_servers.into_iter().map(|it| it.name).collect(), page.next_page_token)
            }
            List::Pools => {
                let request = proto::ListPoolsRequest { page_size, page_token, ..Default::default() };
                let page = daemon.catalog().list_pools(request).await?.into_inner();
                (page.pools.into_iter().map(|it| it.name).collect(), page.next_page_token)
            }
            List::Events => {
                let request = proto::ListAuditEventsRequest { page_size, page_token, filter: None };
                let page = daemon.audit().list_audit_events(request).await?.into_inner();
                (page.audit_events.into_iter().map(|it| it.name).collect(), page.next_page_token)
            }
        })
    }

    /// Every name, by pages of this size.
    async fn walk(self, daemon: &Daemon, size: i32) -> Vec<String> {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = self.page(daemon, size, &token).await.expect("a page");
            assert!(page.len() <= usize::try_from(size).expect("positive"), "{self:?}");
            names.extend(page);
            if next.is_empty() {
                return names;
            }
            token = next;
        }
    }

    /// What makes one name come before another, as the contract says: by name, or newest first.
    fn is_in_order(self, names: &[String]) -> bool {
        let sequence = |name: &String| name.rsplit('/').next().and_then(|n| n.parse::<u64>().ok());
        match self {
            List::Events => names.is_sorted_by(|one, next| sequence(one) == sequence(next).map(|n| n + 1)),
            // Their ids begin with the time.
            List::Rotations => names.is_sorted_by(|one, next| one > next),
            _ => names.is_sorted_by(|one, next| one < next),
        }
    }
}

/// A daemon with at least `count` entries in every list.
pub async fn daemon_with(count: usize) -> Daemon {
    let (daemon, clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    for n in 0..count {
        let scopes = new_resource_server(&format!("https://api-{n:02}.example.com/%"), &["read"]);
        daemon.catalog().put_resource_server(scopes).await.expect("put");
    }
    daemon.create_tenant("acme").await;
    for n in 0..count {
        create_tenant(&daemon.channel, &format!("tenant-{n:02}"), Isolation::UserPool).await;
        daemon.create_client("acme", &format!("client-{n:02}")).await;
    }
    daemon.create_client("tenant-00", "client-99").await;
    for _ in 0..count {
        clock.advance(std::time::Duration::from_secs(1));
        let name = "tenants/acme/clients/client-00".to_owned();
        let request = proto::RotateClientSecretRequest { name, immediate: true, ..Default::default() };
        daemon.clients().rotate_client_secret(request).await.expect("rotated");
    }
    daemon
}

#[tokio::test]
async fn every_page_size_walks_through_everything_once_and_in_order() {
    let daemon = daemon_with(5).await;
    for list in ALL {
        let whole = list.walk(&daemon, 1_000).await;
        assert!(whole.len() >= 5, "{list:?}: {whole:?}");
        assert!(list.is_in_order(&whole), "{list:?}: {whole:?}");
        for size in [1, 2, 3, i32::try_from(whole.len()).expect("few"), i32::MAX] {
            assert_eq!(list.walk(&daemon, size).await, whole, "{list:?} by {size}");
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn no_size_means_fifty_and_a_negative_one_is_refused() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    for n in 0..52 {
        daemon.create_client("acme", &format!("client-{n:02}")).await;
    }
    for list in [List::Clients, List::AllClients, List::Events] {
        let (page, next) = list.page(&daemon, 0, "").await.expect("a page");
        assert_eq!(page.len(), 50, "{list:?}");
        assert!(!next.is_empty());
    }
    let (page, next) = List::Clients.page(&daemon, 1_001, "").await.expect("a page");
    assert_eq!((page.len(), next.as_str()), (52, ""));
    for list in ALL {
        for size in [-1, i32::MIN] {
            assert_invalid(list.page(&daemon, size, "").await, "FIELD_INVALID", "page_size");
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_page_never_holds_more_than_a_thousand() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    for n in 0..501 {
        for state in ["suspended", "resumed"] {
            let name = "tenants/acme".to_owned();
            if state == "suspended" {
                let request = proto::SuspendTenantRequest { name, reason: n.to_string(), ..Default::default() };
                daemon.tenants().suspend_tenant(request).await.expect(state);
            } else {
                let request = proto::ResumeTenantRequest { name, ..Default::default() };
                daemon.tenants().resume_tenant(request).await.expect(state);
            }
        }
    }
    let (page, next) = List::Events.page(&daemon, 5_000, "").await.expect("a page");
    assert_eq!(page.len(), 1_000);
    let (rest, next) = List::Events.page(&daemon, 5_000, &next).await.expect("the next");
    assert!(!rest.is_empty() && next.is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn a_walk_meets_what_stays_once_whatever_comes_and_goes_meanwhile() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let mut staying = BTreeSet::new();
    for n in 0..12 {
        let client = daemon.create_client("acme", &format!("client-{n:02}")).await;
        if n % 2 == 0 {
            staying.insert(client.name);
        }
    }
    let (mut met, mut token, mut n) = (Vec::new(), String::new(), 0);
    loop {
        let (page, next) = List::Clients.page(&daemon, 2, &token).await.expect("a page");
        met.extend(page);
        if next.is_empty() {
            break;
        }
        token = next;
        // One behind the walk, one ahead of it, and one that was there goes.
        for id in [format!("added-{n}"), format!("zulu-{n}")] {
            daemon.clients().create_client(new_client("acme", &id)).await.expect("created");
        }
        let name = format!("tenants/acme/clients/client-{:02}", 11 - 2 * n.min(5));
        let request = proto::DeleteClientRequest { name, ..Default::default() };
        // It may be gone already.
        let _ = daemon.clients().delete_client(request).await;
        n += 1;
        assert!(n < 40, "the walk does not end");
    }
    assert!(List::Clients.is_in_order(&met), "{met:?}");
    let met: BTreeSet<_> = met.into_iter().collect();
    assert!(met.is_superset(&staying), "{met:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn events_that_come_while_one_pages_are_on_no_later_page() {
    let daemon = Daemon::start().await;
    for id in ["acme", "globex", "initech"] {
        daemon.create_tenant(id).await;
    }
    let whole = List::Events.walk(&daemon, 1_000).await;
    let (mut met, mut token) = (Vec::new(), String::new());
    for n in 0.. {
        let (page, next) = List::Events.page(&daemon, 2, &token).await.expect("a page");
        met.extend(page);
        if next.is_empty() {
            break;
        }
        token = next;
        daemon.create_tenant(&format!("more-{n}")).await;
    }
    assert_eq!(met, whole);
    daemon.stop().await;
}

#[tokio::test]
async fn filters_choose_and_unknown_parents_are_not_found() {
    let daemon = daemon_with(3).await;
    let request = proto::SuspendTenantRequest { name: "tenants/tenant-01".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let by_state = |state: proto::TenantState| {
        let request = proto::ListTenantsRequest { state: state.into(), page_size: 1_000, ..Default::default() };
        let mut tenants = daemon.tenants();
        async move {
            let tenants = tenants.list_tenants(request).await.expect("listed").into_inner().tenants;
            tenants.into_iter().map(|tenant| tenant.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(by_state(proto::TenantState::Suspended).await, ["tenants/tenant-01"]);
    assert_eq!(by_state(proto::TenantState::Active).await.len(), 3);
    assert_eq!(by_state(proto::TenantState::Unspecified).await.len(), 4);
    assert!(by_state(proto::TenantState::Deleting).await.is_empty());

    let one = List::Clients.walk(&daemon, 1_000).await;
    assert!(one.iter().all(|name| name.starts_with("tenants/acme/clients/")));
    let all = List::AllClients.walk(&daemon, 1_000).await;
    assert_eq!(all.last().map(String::as_str), Some("tenants/tenant-00/clients/client-99"));
    assert_eq!(all.len(), one.len() + 1);
    let request = proto::ListClientsRequest { parent: "tenants/nobody".to_owned(), ..Default::default() };
    assert_eq!(crate::harness::refusal(daemon.clients().list_clients(request).await).1, "RESOURCE_NOT_FOUND");
    let parent = "tenants/acme/clients/nobody".to_owned();
    let request = proto::ListRotationsRequest { parent, ..Default::default() };
    assert_eq!(crate::harness::refusal(daemon.clients().list_rotations(request).await).1, "RESOURCE_NOT_FOUND");
    daemon.stop().await;
}
