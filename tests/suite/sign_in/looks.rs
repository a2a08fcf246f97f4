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
    read: Arc<Mutex<Reads>>,
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

type Reads = Vec<(&'static str, Shelf)>;

impl Stage {
    /// The same after a start, with a note of what is read from then on.
    async fn watched(self, read: &Arc<Mutex<Reads>>) -> Self {
        let Stage { daemon, clock, names, registry } = self;
        let watch = read.clone();
        let daemon = daemon
            .restart_through(|ports| Ports {
                registry: Arc::new(Watched { registry: ports.registry.clone(), read: watch }),
                ..ports
            })
            .await;
        taken(read);
        Stage { daemon, clock, names, registry }
    }
}

fn taken(read: &Mutex<Reads>) -> Reads {
    std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What one question reads of a daemon that was just started, and what it reads the second time.
async fn reads(stage: Stage, request: proto::MatchTenantRequest) -> (Stage, [Reads; 2], bool) {
    let read = Arc::new(Mutex::new(Vec::new()));
    let stage = stage.watched(&read).await;
    let answer = stage.ask(request.clone()).await.expect("answered");
    let first = taken(&read);
    assert_eq!(stage.ask(request).await.expect("answered"), answer);
    let again = taken(&read);
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
    let request = proto::SuspendTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(request).await.expect("suspended");
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
        // Whose an app client is, is never held in memory here.
        assert!(expected[1].iter().all(|(_, shelf)| *shelf == Shelf::Owner), "{expected:?}");
        stage = next;
        for request in unknown {
            let (next, found, is_known) = reads(stage, request).await;
            assert!(!is_known);
            assert_eq!(found, expected);
            stage = next;
        }
    }
    // What was looked for in vain for one does not make it cheaper for the next.
    let read = Arc::new(Mutex::new(Vec::new()));
    stage = stage.watched(&read).await;
    let mut costs = Vec::new();
    for domain in ["one.nowhere.example", "another.nowhere.example"] {
        assert_eq!(stage.find(email(domain)).await.tenant, "");
        costs.push(taken(&read));
    }
    assert_eq!(costs[0], costs[1]);

    // Whose is suspended is as unknown as what is no issuer.
    let (next, suspended, _) = reads(stage, about(Hint::Issuer(issuer))).await;
    let (next, nobodys, _) = reads(next, about(Hint::Issuer("https://issuer.example".to_owned()))).await;
    assert_eq!(suspended, nobodys);
    next.stop().await;
}
