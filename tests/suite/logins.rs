//! A client's own app client id and secret, shown to the broker: good for as long as Cognito takes them, and no longer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::api::RotationRequest;
use keyward::broker::ports::{Fault, Peer, PortError, PortResult, SecretDocument, Shelf, Wanted};
use keyward::domain::client::Client;
use keyward::domain::error::{Kind, Result};
use keyward::domain::rotation::Credential;
use keyward::domain::tenant::Isolation;

use crate::harness::brokers::{Bench, Working, call, client_name};
use crate::harness::rotations::eventually;
use crate::harness::stops::{At, Pair};
use crate::harness::tolls::{Toll, tolled};

const CLIENT: &str = "tenants/acme/clients/checkout";
const OTHER: &str = "tenants/globex/clients/checkout";

/// Counts the vault's reads, and fails them when told to.
#[derive(Default)]
struct Watched {
    reads: AtomicUsize,
    is_down: AtomicBool,
    /// Of the user pools or the token endpoint: the call that fails.
    refused: Mutex<Option<&'static str>>,
}

#[async_trait]
impl Toll for Watched {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if *self.refused.lock().expect("no panic under it") == Some(call) {
            return Err(PortError::new(Peer::UserPools, Fault::Unavailable, call, "it is down"));
        }
        if call == "read" {
            self.reads.fetch_add(1, Ordering::SeqCst);
            if self.is_down.load(Ordering::SeqCst) {
                return Err(PortError::new(Peer::Vault, Fault::Unavailable, "read a secret", "it is down"));
            }
        }
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }
}

struct Stage {
    bench: Bench,
    broker: Working,
    watched: Arc<Watched>,
}

impl Stage {
    async fn set() -> Self {
        let bench = Bench::new().await;
        let watched = Arc::new(Watched::default());
        let broker = Working::open(tolled(bench.ports(), watched.clone())).await.expect("a broker");
        for (tenant, client) in [("acme", CLIENT), ("globex", OTHER)] {
            broker.create_tenant(tenant, Isolation::AppClient).await.expect("a tenant");
            broker.create_client(client).await.expect("a client");
        }
        broker.work();
        Stage { bench, broker, watched }
    }

    /// The current secret, as a backend reads it.
    async fn current(&self, name: &str) -> SecretDocument {
        current(&self.bench, name).await
    }

    async fn check(&self, id: &str, secret: &str) -> Result<Option<String>> {
        Ok(self.broker.logins.check(id, secret).await?.map(|name| name.to_string()))
    }

    /// Who this is.
    async fn who(&self, document: &SecretDocument) -> Option<String> {
        let id = document.client_id.as_ref().expect("an id").as_str();
        self.check(id, document.client_secret.expose()).await.expect("checked")
    }

    async fn rotate(&self, request: RotationRequest) {
        let name = client_name(CLIENT);
        self.broker.rotations.rotate(&call(), &name, request, false).await.expect("rotated");
    }

    async fn strike(self) {
        self.broker.stop().await;
    }
}

async fn current(bench: &Bench, name: &str) -> SecretDocument {
    let clients: Vec<Client> = bench.backend.records(Shelf::Client).await;
    let client = clients.into_iter().find(|client| client.name == client_name(name)).expect("a client");
    let read = bench.ports().vault.read(&client.secret_name, Wanted::Current).await;
    read.expect("read").expect("there")
}

fn request(immediate: bool, replace: bool) -> RotationRequest {
    RotationRequest { immediate, replace, overlap: None, reason: "a test".to_owned() }
}

#[tokio::test]
async fn only_the_right_pair_is_somebody() {
    let stage = Stage::set().await;
    let (acme, globex) = (stage.current(CLIENT).await, stage.current(OTHER).await);
    assert_eq!(stage.who(&acme).await.as_deref(), Some(CLIENT));
    assert_eq!(stage.who(&globex).await.as_deref(), Some(OTHER));

    let (id, secret) = (acme.client_id.as_ref().expect("an id").as_str(), acme.client_secret.expose());
    let other = globex.client_secret.expose();
    let longer = format!("{secret}0");
    for (id, secret) in [
        (id, other),
        (id, ""),
        (id, &secret[1..]),
        (id, &*longer),
        (id, &*secret.to_uppercase()),
        ("1234567890abcdefghijklmnop", secret),
        ("", secret),
        ("checkout", secret),
        (CLIENT, secret),
        (&*format!("{id} "), secret),
        (&id[..id.len() - 1], secret),
    ] {
        assert_eq!(stage.check(id, secret).await.expect("checked"), None, "{id:?}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_wrong_secret_and_a_right_one_cost_the_vault_nothing_once_it_was_read() {
    let stage = Stage::set().await;
    let document = stage.current(CLIENT).await;
    assert!(stage.who(&document).await.is_some());
    let before = stage.watched.reads.load(Ordering::SeqCst);
    let id = document.client_id.as_ref().expect("an id").as_str();
    for n in 0..50 {
        assert_eq!(stage.check(id, &format!("wrong-{n}")).await.expect("checked"), None);
        assert!(stage.who(&document).await.is_some());
    }
    assert_eq!(stage.watched.reads.load(Ordering::SeqCst), before);

    // Also when the vault is down; who was not seen before cannot be told from a liar.
    stage.watched.is_down.store(true, Ordering::SeqCst);
    assert!(stage.who(&document).await.is_some());
    let other = stage.current(OTHER).await;
    let id = other.client_id.as_ref().expect("an id").as_str();
    let error = stage.check(id, other.client_secret.expose()).await.expect_err("nobody knows");
    assert_eq!(error.kind(), Kind::Unavailable);
    stage.watched.is_down.store(false, Ordering::SeqCst);
    assert_eq!(stage.who(&other).await.as_deref(), Some(OTHER));
    stage.strike().await;
}

#[tokio::test]
async fn both_secrets_are_good_while_they_overlap_and_one_after_that() {
    let stage = Stage::set().await;
    let first = stage.current(CLIENT).await;
    assert!(stage.who(&first).await.is_some());
    stage.rotate(request(false, false)).await;
    let second = stage.current(CLIENT).await;
    assert_ne!(first.client_secret, second.client_secret);
    assert_eq!((stage.who(&first).await.as_deref(), stage.who(&second).await.as_deref()), (Some(CLIENT), Some(CLIENT)));
    stage.bench.settle().await;
    let credentials: Vec<Credential> = stage.bench.backend.records(Shelf::Credential).await;
    assert!(credentials.iter().all(|credential| credential.previous.is_none()), "the overlap is over");
    assert_eq!((stage.who(&first).await, stage.who(&second).await.as_deref()), (None, Some(CLIENT)));
    stage.strike().await;
}

#[tokio::test]
async fn a_compromised_secret_is_nobodys_as_soon_as_its_rotation_is_answered() {
    let stage = Stage::set().await;
    let stolen = stage.current(CLIENT).await;
    assert!(stage.who(&stolen).await.is_some());
    stage.rotate(request(true, false)).await;
    stage.bench.settle().await;
    assert_eq!(stage.who(&stolen).await, None);
    assert_eq!(stage.who(&stage.current(CLIENT).await).await.as_deref(), Some(CLIENT));
    stage.strike().await;
}

#[tokio::test]
async fn a_secret_on_its_way_in_is_good_once_cognito_has_it_and_not_before() {
    let stage = Stage::set().await;
    let current = stage.current(CLIENT).await;
    let refuse = |call| *stage.watched.refused.lock().expect("no panic under it") = call;
    for (refused, is_registered) in [("add_secret", false), ("fetch", true)] {
        refuse(Some(refused));
        let name = client_name(CLIENT);
        // What could not be done is tried again.
        let _ = stage.broker.rotations.rotate(&call(), &name, request(false, false), false).await;
        eventually("its secret is on its way", async || {
            let credentials: Vec<Credential> = stage.bench.backend.records(Shelf::Credential).await;
            let candidates = credentials.iter().filter_map(|credential| credential.candidate.as_ref());
            stage.bench.clock.advance(Duration::from_secs(1));
            candidates.into_iter().any(|candidate| candidate.secret.is_some() == is_registered)
        })
        .await;
        let clients: Vec<Client> = stage.bench.backend.records(Shelf::Client).await;
        let client = clients.iter().find(|client| client.name == name).expect("a client");
        let credentials: Vec<Credential> = stage.bench.backend.records(Shelf::Credential).await;
        let candidate = credentials.iter().find_map(|credential| credential.candidate.as_ref()).expect("a candidate");
        let read = stage.bench.ports().vault.read(&client.secret_name, Wanted::Version(&candidate.version)).await;
        let next = read.expect("read").expect("there");
        assert_ne!(next.client_secret, current.client_secret);
        let id = current.client_id.as_ref().expect("an id").as_str();
        let who = stage.check(id, next.client_secret.expose()).await.expect("checked");
        assert_eq!(who.as_deref(), is_registered.then_some(CLIENT), "{refused}");
        assert_eq!(stage.who(&current).await.as_deref(), Some(CLIENT));
    }
    refuse(None);
    stage.strike().await;
}

#[tokio::test]
async fn what_is_known_of_a_client_is_not_taken_for_the_next_of_its_name() {
    let stage = Stage::set().await;
    let document = stage.current(CLIENT).await;
    assert!(stage.who(&document).await.is_some());
    // Nobody asks in between.
    stage.broker.clients.delete(&call(), &client_name(CLIENT), None).await.expect("deleted");
    stage.bench.settle().await;
    stage.broker.create_client(CLIENT).await.expect("again");
    assert_eq!(stage.who(&document).await, None);
    assert_eq!(stage.who(&stage.current(CLIENT).await).await.as_deref(), Some(CLIENT));
    stage.strike().await;
}

#[tokio::test]
async fn an_app_client_that_is_replaced_is_good_while_it_overlaps() {
    let stage = Stage::set().await;
    let old = stage.current(CLIENT).await;
    assert!(stage.who(&old).await.is_some());
    stage.rotate(request(false, true)).await;
    let new = stage.current(CLIENT).await;
    assert_ne!(old.client_id, new.client_id);
    assert_eq!((stage.who(&old).await.as_deref(), stage.who(&new).await.as_deref()), (Some(CLIENT), Some(CLIENT)));
    let (old_id, new_id) = (old.client_id.clone().expect("an id"), new.client_id.clone().expect("an id"));
    for (id, secret) in [(&old_id, &new.client_secret), (&new_id, &old.client_secret)] {
        assert_eq!(stage.check(id.as_str(), secret.expose()).await.expect("checked"), None, "not of each other");
    }
    stage.bench.settle().await;
    assert_eq!((stage.who(&old).await, stage.who(&new).await.as_deref()), (None, Some(CLIENT)));

    // And a compromised one is not.
    stage.bench.clock.advance(Duration::from_secs(1));
    stage.rotate(request(true, true)).await;
    stage.bench.settle().await;
    assert_eq!(stage.who(&new).await, None);
    stage.strike().await;
}

#[tokio::test]
async fn a_deleted_clients_secret_is_nobodys() {
    let stage = Stage::set().await;
    let document = stage.current(CLIENT).await;
    assert!(stage.who(&document).await.is_some());
    stage.broker.clients.delete(&call(), &client_name(CLIENT), None).await.expect("deleted");
    assert_eq!(stage.who(&document).await, None);
    stage.bench.settle().await;
    assert_eq!(stage.who(&document).await, None);
    // Another of the same name is another.
    stage.broker.create_client(CLIENT).await.expect("again");
    assert_eq!(stage.who(&document).await, None);
    assert_eq!(stage.who(&stage.current(CLIENT).await).await.as_deref(), Some(CLIENT));
    stage.strike().await;
}

#[tokio::test]
async fn an_app_client_that_turns_out_to_be_compromised_while_it_is_looked_up_is_nobodys() {
    let pair = Pair::set().await;
    pair.other.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    pair.other.create_client(CLIENT).await.expect("a client");
    let stolen = current(&pair.bench, CLIENT).await;
    let id = stolen.client_id.expect("an id");

    pair.stop.at(At::Found("scan", Shelf::Owner));
    // It is replaced, and not deleted yet.
    pair.other_stop.at(At::Before("delete_app_client"));
    let looking = async {
        let mut who = Vec::new();
        // The second time from memory, where it is held.
        for _ in 0..2 {
            who.push(pair.one.logins.check(id.as_str(), stolen.client_secret.expose()).await.expect("checked"));
        }
        pair.other_stop.go();
        who
    };
    let replacing = async {
        pair.stop.reached().await;
        pair.other.rotations.rotate(&call(), &client_name(CLIENT), request(true, true), false).await
    };
    let between = async {
        pair.other_stop.reached().await;
        pair.stop.go();
    };
    let (looking, replacing) = (Box::pin(looking), Box::pin(replacing));
    let (who, replaced, ()) = tokio::join!(looking, replacing, between);
    replaced.expect("replaced");
    assert_eq!(who, [None, None]);
    pair.settle(&[CLIENT]).await;
}

#[tokio::test]
async fn whoever_asks_once_a_secret_was_rotated_out_is_not_answered_by_a_look_of_before() {
    let pair = Pair::set().await;
    pair.one.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    pair.one.create_client(CLIENT).await.expect("a client");
    let stolen = current(&pair.bench, CLIENT).await;
    let (id, secret) = (stolen.client_id.expect("an id"), stolen.client_secret);
    let mut late = Ok(None);
    let early = pair.one.logins.check(id.as_str(), secret.expose());
    let meanwhile = async {
        pair.one.work();
        pair.one.rotations.rotate(&call(), &client_name(CLIENT), request(true, false), false).await.expect("rotated");
        pair.bench.settle().await;
        let asked = async { late = pair.one.logins.check(id.as_str(), secret.expose()).await };
        // By now it waits for the look that was begun.
        tokio::join!(asked, async { pair.stop.go() });
    };
    Box::pin(pair.stop.during(At::After("read"), early, meanwhile)).await.expect("checked");
    assert_eq!(late.expect("checked"), None);
    pair.settle(&[CLIENT]).await;
}
