//! Looks for TXT records: when they come, and what becomes of one that fails or that another broker was faster with.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use keyward::broker::Ports;
use keyward::broker::ports::{
    Action, ChangeSet, DomainProofs, Fault, Peer, PortError, PortResult, Registry, Shelf, StoredRecord, Write,
};
use keyward::domain::form::Form;
use keyward::proto::{Isolation, SignInDomainKind};
use serde_json::{Value, json};
use tonic::Code;

use super::{Stage, record};
use crate::harness::readings::{Reader, told_by};
use crate::harness::rotations::eventually;
use crate::harness::{Outage, create_tenant, refusal, start_time};

use SignInDomainKind::{Email, Host};

const CLAIM: &str = "email/acme.example";

type Before = Box<dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync>;

/// A name server, and what happens just before it is asked.
struct Preceded {
    proofs: Arc<dyn DomainProofs>,
    before: Before,
}

#[async_trait]
impl DomainProofs for Preceded {
    async fn has_txt(&self, name: &str, value: &str) -> PortResult<bool> {
        (self.before)(name).await;
        self.proofs.has_txt(name, value).await
    }
}

fn preceded(ports: Ports, before: impl Fn(&str) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Ports {
    let proofs = ports.domain_proofs.clone();
    Ports { domain_proofs: Arc::new(Preceded { proofs, before: Box::new(before) }), ..ports }
}

/// Counts how often it is asked which claims are due, and does not say while it is down.
#[derive(Default)]
struct Schedule {
    asked: AtomicUsize,
    is_down: AtomicBool,
}

#[async_trait]
impl Reader for Schedule {
    async fn told(
        &self,
        how: &'static str,
        shelf: Shelf,
        found: PortResult<Vec<StoredRecord>>,
    ) -> PortResult<Vec<StoredRecord>> {
        if (how, shelf) != ("due", Shelf::Claim) {
            return found;
        }
        let is_down = self.is_down.load(Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::SeqCst);
        if is_down { Err(PortError::new(Peer::Registry, Fault::Unavailable, "due", "not now")) } else { found }
    }
}

/// A claim as it is stored.
async fn stored(registry: &dyn Registry, key: &str) -> (StoredRecord, Value) {
    let stored = registry.get(Shelf::Claim, key).await.expect("read").expect("a claim");
    let body = serde_json::from_slice(&stored.body).expect("JSON");
    (stored, body)
}

#[tokio::test]
async fn a_record_is_not_looked_for_before_anybody_can_know_what_it_must_hold() {
    let looks = Arc::new(Mutex::new(Vec::new()));
    let list = looks.clone();
    let note = move |name: &str| {
        list.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        std::future::ready(()).boxed()
    };
    let stage = Stage::set_through(|_| {}, |ports| preceded(ports, note)).await;
    let taken = || {
        let mut taken = std::mem::take(&mut *looks.lock().unwrap_or_else(PoisonError::into_inner));
        taken.sort();
        taken
    };
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    stage.claim("acme", &[("a.example", Email)]).await.expect("claimed");
    assert_eq!(taken(), Vec::<String>::new());
    stage.claim("acme", &[("a.example", Email), ("b.example", Host)]).await.expect("claimed");
    assert_eq!(taken(), ["_keyward.a.example"], "what was there before");
    stage.touch("acme").await;
    assert_eq!(taken(), ["_keyward.a.example", "_keyward.b.example"]);
    stage.claim("acme", &[("b.example", Host)]).await.expect("one is given back");
    assert_eq!(taken(), ["_keyward.b.example"]);
    stage.stop().await;
}

#[tokio::test]
async fn of_two_brokers_that_look_at_one_time_the_second_leaves_what_the_first_has_written() {
    let is_armed = Arc::new(AtomicBool::new(false));
    let other = |ports: Ports| {
        let (registry, is_armed) = (ports.registry.clone(), is_armed.clone());
        preceded(ports, move |_| {
            let (registry, is_armed) = (registry.clone(), is_armed.swap(false, Ordering::SeqCst));
            async move {
                if !is_armed {
                    return;
                }
                // It asked a moment earlier or later, and found the record.
                let (stored, mut body) = stored(&*registry, CLAIM).await;
                body["verified"] = json!(true);
                body["verify_time"] = json!(start_time());
                let body = serde_json::to_vec(&body).expect("JSON");
                let action = Action::Put { body, form: Form::SECOND, due_time: stored.due_time };
                let (shelf, key) = (Shelf::Claim, CLAIM.to_owned());
                let write = Write { shelf, key, expected: Some(stored.version), action };
                registry.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("written");
            }
            .boxed()
        })
    };
    let stage = Stage::set_through(|_| {}, other).await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    stage.claim("acme", &[("acme.example", Email)]).await.expect("claimed");
    is_armed.store(true, Ordering::SeqCst);
    stage.touch("acme").await;
    assert!(!is_armed.load(Ordering::SeqCst), "there were two looks");
    let (_, body) = stored(&*stage.registry, CLAIM).await;
    assert_eq!(body["verified"], json!(true));
    stage.stop().await;
}

#[tokio::test]
async fn what_was_found_and_cannot_be_written_down_is_an_error() {
    let (outage, is_armed) = (Outage::default(), Arc::new(AtomicBool::new(false)));
    let failing = |ports: Ports| {
        let (outage, is_armed) = (outage.clone(), is_armed.clone());
        preceded(outage.of_changes(ports), move |_| {
            if is_armed.load(Ordering::SeqCst) {
                outage.begin();
            }
            std::future::ready(()).boxed()
        })
    };
    let stage = Stage::set_through(|_| {}, failing).await;
    create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
    let claimed = stage.claim("acme", &[("acme.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
    stage.names.knows(&record(&claimed));
    is_armed.store(true, Ordering::SeqCst);
    // Nothing is to be changed, so the look is all that is left to write down.
    let refused = stage.claim("acme", &[("acme.example", Email)]).await;
    assert_eq!(refusal(refused), (Code::Unavailable, "REGISTRY_UNAVAILABLE".to_owned()));
    is_armed.store(false, Ordering::SeqCst);
    outage.end();
    assert!(stage.touch("acme").await.sign_in_domains[0].verified);
    stage.stop().await;
}

#[tokio::test]
async fn the_next_look_comes_when_it_is_due_and_soon_after_one_that_failed() {
    for fails in [false, true] {
        let schedule = Arc::new(Schedule::default());
        let stage = Stage::set_through(|_| {}, |ports| told_by(ports, schedule.clone())).await;
        create_tenant(&stage.daemon.channel, "acme", Isolation::AppClient).await;
        let claimed = stage.claim("acme", &[("acme.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
        stage.names.knows(&record(&claimed));
        // It looks every 30 seconds what is due, so the time after this is 75 seconds.
        let asked = || schedule.asked.load(Ordering::SeqCst);
        eventually("it works", async || asked() > 0).await;
        let before = asked();
        schedule.is_down.store(fails, Ordering::SeqCst);
        stage.at(SignedDuration::from_secs(45));
        eventually("it works on", async || asked() > before).await;
        schedule.is_down.store(false, Ordering::SeqCst);
        stage.at(SignedDuration::from_secs(60));
        let found = async || stored(&*stage.registry, CLAIM).await.1["verified"] == json!(true);
        eventually("it is looked for when it is due", found).await;
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_tenant_that_only_a_newer_broker_reads_keeps_its_names() {
    let stage = Stage::set().await;
    for tenant in ["acme", "globex"] {
        create_tenant(&stage.daemon.channel, tenant, Isolation::AppClient).await;
    }
    let claimed = stage.claim("acme", &[("acme.example", Email)]).await.expect("claimed").sign_in_domains.remove(0);
    let tenant = stage.registry.get(Shelf::Tenant, "acme").await.expect("read").expect("a tenant");
    let form = Form::new(u64::from(Form::READ.number()) + 1).expect("a form");
    let action = Action::Put { body: b"{}".to_vec(), form, due_time: tenant.due_time };
    let write = Write { shelf: Shelf::Tenant, key: "acme".to_owned(), expected: Some(tenant.version), action };
    stage.registry.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("written");

    let taken = stage.claim("globex", &[("acme.example", Email)]).await;
    assert_eq!(refusal(taken), (Code::AlreadyExists, "DOMAIN_CLAIMED".to_owned()));
    stage.names.knows(&record(&claimed));
    stage.at(SignedDuration::from_secs(61));
    let found = async || stored(&*stage.registry, CLAIM).await.1["verified"] == json!(true);
    eventually("it is looked for as any other", found).await;
    stage.stop().await;
}
