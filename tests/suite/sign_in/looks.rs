//! What a hint costs: the same reads of the registry, in the same order, whether it is known or not.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::Ports;
use keyward::broker::ports::{ChangeSet, PortResult, Registry, Shelf, StoredRecord};
use keyward::domain::audit::NumberedEvent;
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::{self};

use super::{Stage, about, email};

/// A registry, and what was read of it.
struct Watched {
    registry: Arc<dyn Registry>,
    read: Arc<Mutex<Vec<(&'static str, Shelf)>>>,
}

impl Watched {
    /// A daemon that has just started looks at its own settings besides, whenever it comes to it.
    fn note(&self, how: &'static str, shelf: Shelf) {
        if shelf == Shelf::Setting {
            return;
        }
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push((how, shelf));
    }
}

#[async_trait]
impl Registry for Watched {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        self.note("get", shelf);
        self.registry.get(shelf, key).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        self.note("scan", shelf);
        self.registry.scan(shelf, prefix, after, limit).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        self.registry.due(shelf, limit).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        self.registry.commit(changes).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        self.registry.events(after, limit).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        self.registry.last_event().await
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        self.registry.prune_events(before, limit).await
    }
}

/// What one question reads of a daemon that was just started, and what it reads the second time.
async fn reads(stage: Stage, request: proto::MatchTenantRequest) -> (Stage, [Vec<(&'static str, Shelf)>; 2], bool) {
    let read = Arc::new(Mutex::new(Vec::new()));
    let Stage { daemon, clock, names, registry } = stage;
    let watch = read.clone();
    let daemon = daemon
        .restart_through(|ports| Ports {
            registry: Arc::new(Watched { registry: ports.registry.clone(), read: watch }),
            ..ports
        })
        .await;
    let stage = Stage { daemon, clock, names, registry };
    let take = || std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner));
    take();
    let answer = stage.ask(request.clone()).await.expect("answered");
    let first = take();
    assert_eq!(stage.ask(request).await.expect("answered"), answer);
    let again = take();
    (stage, [first, again], !answer.tenant.is_empty())
}

#[tokio::test]
async fn a_hint_that_is_not_known_is_looked_for_as_one_that_is() {
    let mut stage = Stage::set().await.with_people().await;
    // Claimed and not proven; of a tenant that is suspended; of one that has no client for people.
    let proven = [("acme.example", proto::SignInDomainKind::Email), ("new.example", proto::SignInDomainKind::Email)];
    stage.claim("acme", &proven).await.expect("claimed");
    let app_client = stage.find(email("a@acme.example")).await.app_client_id;
    let issuer = stage.find(email("a@globex.example")).await.issuer;
    stage.daemon.create_tenant("umbrella").await;
    for tenant in ["globex"] {
        let request = proto::SuspendTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() };
        stage.daemon.tenants().suspend_tenant(request).await.expect("suspended");
    }
    let by_client =
        |hint: Hint, client: &str| proto::MatchTenantRequest { client_id: client.to_owned(), ..about(hint) };
    let tenant = |id: &str| Hint::Tenant(format!("tenants/{id}"));
    let app = |id: &str| Hint::AppClientId(id.to_owned());
    let cases = [
        (
            about(email("ann@acme.example")),
            vec![about(email("ann@nowhere.example")), about(email("new.example")), about(email("globex.example"))],
        ),
        (
            by_client(email("acme.example"), "web"),
            vec![by_client(email("nowhere.example"), "web"), by_client(email("acme.example"), "other")],
        ),
        (about(tenant("acme")), vec![about(tenant("nobody")), about(tenant("globex")), about(tenant("umbrella"))]),
        (about(app(&app_client)), vec![about(app("0123456789abcdefghijklmnop"))]),
    ];
    for (known, unknown) in cases {
        let (next, expected, is_known) = reads(stage, known).await;
        assert!(is_known && expected[0].len() >= 3, "{expected:?}");
        stage = next;
        for request in unknown {
            let (next, found, is_known) = reads(stage, request).await;
            assert!(!is_known);
            assert_eq!(found, expected);
            stage = next;
        }
    }
    // Whose is suspended is as unknown as what is no issuer.
    let (next, suspended, _) = reads(stage, about(Hint::Issuer(issuer))).await;
    let (next, nobodys, _) = reads(next, about(Hint::Issuer("https://issuer.example".to_owned()))).await;
    assert_eq!(suspended, nobodys);
    next.stop().await;
}
