//! What a hint costs: the same reads of the registry, in the same order, whether it is known or not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use keyward::broker::ports::{Action, ChangeSet, PortResult, Shelf, StoredRecord, Write};
use keyward::proto::match_tenant_request::Hint;
use keyward::proto::{self};

use super::{Stage, about, email};
use crate::harness::readings::{Reader, told_by};

/// What was read, and how many records that gave.
struct Watched {
    read: Arc<Mutex<Reads>>,
    found: Arc<AtomicUsize>,
}

#[async_trait]
impl Reader for Watched {
    async fn told(
        &self,
        how: &'static str,
        shelf: Shelf,
        found: PortResult<Vec<StoredRecord>>,
    ) -> PortResult<Vec<StoredRecord>> {
        // A daemon that has just started looks at its own settings besides, whenever it comes to it, and at what is due.
        if how != "due" && shelf != Shelf::Setting {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).push((how, shelf));
            self.found.fetch_add(found.iter().map(Vec::len).sum(), Ordering::SeqCst);
        }
        found
    }
}

type Reads = Vec<(&'static str, Shelf)>;

impl Stage {
    /// The same after a start, with a note of what is read from then on.
    async fn watched(self, read: &Arc<Mutex<Reads>>) -> Self {
        self.watched_and_counted(read, &Arc::default()).await
    }

    /// The same, with how many records there were in what was read.
    async fn watched_and_counted(self, read: &Arc<Mutex<Reads>>, found: &Arc<AtomicUsize>) -> Self {
        let Stage { daemon, clock, names, registry } = self;
        let watched = Arc::new(Watched { read: read.clone(), found: found.clone() });
        let daemon = daemon.restart_through(|ports| told_by(ports, watched)).await;
        taken(read);
        Stage { daemon, clock, names, registry }
    }
}

fn taken(read: &Mutex<Reads>) -> Reads {
    std::mem::take(&mut *read.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What one question reads of a daemon that was just started, and what it reads the second time.
async fn reads(stage: Stage, request: proto::MatchTenantRequest) -> (Stage, [Reads; 2], bool) {
    let (stage, reads, is_known, _) = Box::pin(reads_and_records(stage, request)).await;
    (stage, reads, is_known)
}

/// The same, with how many records there were in what it read.
async fn reads_and_records(stage: Stage, request: proto::MatchTenantRequest) -> (Stage, [Reads; 2], bool, usize) {
    let (read, found) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let stage = stage.watched_and_counted(&read, &found).await;
    let before = found.load(Ordering::SeqCst);
    let answer = stage.ask(request.clone()).await.expect("answered");
    let (first, found) = (taken(&read), found.load(Ordering::SeqCst) - before);
    assert_eq!(stage.ask(request).await.expect("answered"), answer);
    let again = taken(&read);
    (stage, [first, again], !answer.tenant.is_empty(), found)
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

/// As many machines as anybody has, put there past the daemon.
const MACHINES: usize = 10_000;

#[tokio::test]
async fn a_match_reads_nothing_of_a_tenants_machines_however_many_there_are() {
    let stage = Stage::set().await.with_people().await;
    stage.daemon.create_client("acme", "backend").await;
    let (stage, few, is_known, found) = reads_and_records(stage, about(email("acme.example"))).await;
    assert!(
        is_known && found == 5,
        "{few:?}: a claim, the tenant, the entry of its client, the client, the pool: {found}"
    );

    let backend = stage.registry.get(Shelf::Client, "acme/backend").await.expect("read").expect("there");
    let machine = |number: usize| {
        let mut body: serde_json::Value = serde_json::from_slice(&backend.body).expect("JSON");
        // Before `web`, by its name.
        body["name"]["client"] = serde_json::json!(format!("backend-{number:05}"));
        let body = serde_json::to_vec(&body).expect("JSON");
        let action = Action::Put { body, form: backend.form, due_time: None };
        Write { shelf: Shelf::Client, key: format!("acme/backend-{number:05}"), expected: None, action }
    };
    let machines: Vec<_> = (0..MACHINES).map(machine).collect();
    for writes in machines.chunks(ChangeSet::MAX_WRITES) {
        let changes = ChangeSet { writes: writes.to_vec(), events: Vec::new() };
        stage.registry.commit(changes).await.expect("written");
    }
    let (stage, many, is_known, of_many) = reads_and_records(stage, about(email("acme.example"))).await;
    assert!(is_known, "it is found among them");
    assert_eq!((many, of_many), (few, found));
    stage.stop().await;
}

/// A broker of 0.2 may have deleted the client, and by now there may be a machine by its name.
#[tokio::test]
async fn an_entry_whose_client_is_gone_or_another_leads_nobody_anywhere() {
    let stage = Stage::set().await.with_people().await;
    stage.daemon.create_client("acme", "backend").await;
    for client in ["backend", "nobody"] {
        let body = serde_json::json!({ "client": { "tenant": "acme", "client": client } });
        let body = serde_json::to_vec(&body).expect("JSON");
        let action = Action::Put { body, form: keyward::domain::form::Form::FIRST, due_time: None };
        let write = Write { shelf: Shelf::Interactive, key: format!("acme/{client}"), expected: None, action };
        stage.registry.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("written");
    }
    let stage = stage.restarted().await;
    assert_eq!(stage.find(email("acme.example")).await.client, "tenants/acme/clients/web");
    // It is in nobody's way, and goes with the next client of that name.
    stage.create_for_people("acme", "nobody").await;
    let request = proto::DeleteClientRequest { name: "tenants/acme/clients/nobody".to_owned(), ..Default::default() };
    stage.daemon.clients().delete_client(request).await.expect("deleted");
    let entries = stage.registry.scan(Shelf::Interactive, "acme/", None, 9).await.expect("read");
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["acme/backend", "acme/web"]);
    stage.stop().await;
}
