//! Brokers of different releases on one table.

use std::sync::Arc;
use std::time::Duration;

use keyward::aws::DynamoDb;
use keyward::broker::ports::{Action, ChangeSet, Clock as _, Registry, ShareInForce, Shelf, StoredRecord, Write};
use keyward::broker::{Ports, Shared};
use keyward::domain::form::Form;
use keyward::domain::share::Share;
use keyward::proto;
use keyward::runtime::clock::ManualClock;
use tonic::{Code, Status};

use super::is_served;
use super::next::{CHANGED, Next, unread};
use crate::harness::backend::Backend;
use crate::harness::readings::told_by;
use crate::harness::rotations::{get_rotation, rotate, rotate_at_once};
use crate::harness::{Daemon, claims, details, start_time};
use crate::peers::Peer;
use crate::permission::until;
use crate::registry::between::Between;
use crate::registry::tables::{self, Layout, TABLE};

const ORDERS: &str = "tenants/acme/clients/orders";
const BILLING: &str = "tenants/acme/clients/billing";

/// Which release a broker is of.
#[derive(Clone, Copy)]
enum Release {
    Today,
    /// Reads a newer form.
    Next,
    /// And writes it.
    AfterNext,
}

/// A table, and user pools and a vault for all of its brokers.
struct Fleet {
    between: Between,
    clock: Arc<ManualClock>,
    table: Arc<DynamoDb>,
    backend: Backend,
    /// For those that join, opened before anybody has written another form.
    others: [Arc<DynamoDb>; 2],
    /// Of today, and the one that user pools and vault are of.
    today: Daemon,
}

fn edit(config: &mut keyward::config::Config) {
    config.registry.table = Some(TABLE.to_owned());
}

fn on(registry: Arc<DynamoDb>, release: Release, ports: Ports) -> Ports {
    let (feed, members) = (registry.clone(), registry.clone());
    let shared = Shared { feed, members, share: Arc::new(ShareInForce::new(Share::Whole)), tokens: None };
    let ports = Ports { registry, shared: Some(shared), ..ports };
    match release {
        Release::Today => ports,
        Release::Next => told_by(ports, Arc::new(Next { writes: false })),
        Release::AfterNext => told_by(ports, Arc::new(Next { writes: true })),
    }
}

impl Fleet {
    async fn start() -> Fleet {
        let between = Between::before(Peer::ministack().await).await;
        tables::make(&between.sdk(), TABLE, Layout::default()).await;
        let open = async || Arc::new(between.open(TABLE).await.expect("opened"));
        let (table, others) = (open().await, [open().await, open().await]);
        let clock = Arc::new(ManualClock::new(start_time()));
        let of_today = table.clone();
        let through = |ports| on(of_today, Release::Today, ports);
        let (today, Backend(embedded)) = Backend::behind(clock.clone(), edit, through).await;
        today.put_orders_api().await;
        today.create_tenant("acme").await;
        today.create_client("acme", "orders").await;
        let backend = Backend(on(table.clone(), Release::Today, embedded));
        Fleet { between, clock, table, backend, others, today }
    }

    /// One more broker.
    async fn join(&self, place: usize, release: Release) -> Daemon {
        let (table, ports) = (self.others[place].clone(), self.backend.0.clone());
        Daemon::start_through(self.clock.clone(), edit, |_| on(table, release, ports)).await
    }

    async fn records(&self, shelf: Shelf) -> Vec<StoredRecord> {
        self.table.scan(shelf, "", None, 1_000).await.expect("read")
    }

    /// In which forms the records are that there are two forms of.
    async fn forms(&self) -> Vec<Form> {
        let mut forms = Vec::new();
        for shelf in CHANGED {
            forms.extend(self.records(shelf).await.into_iter().map(|record| record.form));
        }
        forms.sort();
        forms.dedup();
        forms
    }

    /// Time goes on until it is so.
    async fn until(&self, mut is_so: impl AsyncFnMut() -> bool) {
        until(async || {
            self.clock.advance(Duration::from_millis(250));
            is_so().await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_of_releases_that_follow_each_other_work_side_by_side_and_may_go_back() {
    let fleet = Fleet::start().await;
    // The next release comes in beside today's. It reads another form, and writes none.
    let next = fleet.join(0, Release::Next).await;
    next.create_client("acme", "billing").await;
    for (one, other) in [(&fleet.today, &next), (&next, &fleet.today)] {
        let rotation = rotate_at_once(&one.channel, ORDERS).await;
        fleet.until(async || get_rotation(&other.channel, &rotation.name).await.state() == SUCCEEDED).await;
        is_served(&fleet.clock, &[one, other], ORDERS).await;
        is_served(&fleet.clock, &[one, other], BILLING).await;
    }
    assert_eq!(fleet.forms().await, [Form::FIRST]);
    let Fleet { between, clock, table, backend, others, today } = fleet;
    today.stop().await;

    // The release after it comes in, and begins to write the form.
    let fleet = Fleet { today: next, between, clock, table, backend, others };
    let next = &fleet.today;
    let after = fleet.join(1, Release::AfterNext).await;
    after.create_client("acme", "returns").await;
    let rotation = rotate(&after.channel, ORDERS).await;
    assert_eq!(fleet.forms().await, [Form::FIRST, unread()]);
    fleet.until(async || get_rotation(&next.channel, &rotation.name).await.state() == OVERLAP).await;
    is_served(&fleet.clock, &[next, &after], ORDERS).await;
    is_served(&fleet.clock, &[next, &after], "tenants/acme/clients/returns").await;
    // It goes back; what it wrote is kept in the form that it is in, and finished.
    after.stop().await;
    fleet.clock.advance(Duration::from_secs(25 * 60 * 60));
    fleet.until(async || get_rotation(&next.channel, &rotation.name).await.state() == SUCCEEDED).await;
    is_served(&fleet.clock, &[next], ORDERS).await;
    let client = fleet.table.get(Shelf::Client, "acme/orders").await.expect("read").expect("there");
    assert_eq!(client.form, unread(), "what the form has brought is kept");
    fleet.today.stop().await;
    assert_eq!(fleet.between.complaints(), Vec::<String>::new());
}

const SUCCEEDED: proto::RotationState = proto::RotationState::Succeeded;
const OVERLAP: proto::RotationState = proto::RotationState::Overlap;

fn newer<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let details = details(&answer.expect_err("it cannot know"));
    let due = (Code::Unavailable, "RECORD_FORM_NEWER", true);
    assert_eq!((details.code, details.reason.as_str(), details.retry), due);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_than_a_broker_knows_is_neither_guessed_at_nor_taken_for_absent_nor_rewritten() {
    let fleet = Fleet::start().await;
    let today = &fleet.today;
    // Nobody has asked today's broker whether it can read that: two releases at once.
    let after = fleet.join(0, Release::AfterNext).await;
    after.create_client("acme", "billing").await;
    let token = after.token(BILLING).await.access_token;
    let rotation = rotate(&after.channel, BILLING).await;
    // An app client whose last token expires while today's broker is alone: whose it was is in the form of today.
    let returns = after.create_client("acme", "returns").await.name;
    let replace = proto::ReplaceClientRequest { name: returns, immediate: true, ..Default::default() };
    after.clients().replace_client(replace).await.expect("replaced");
    after.stop().await;

    let name = || BILLING.to_owned();
    let mut clients = today.clients();
    newer(today.tokens().get_token(proto::GetTokenRequest { name: name(), ..Default::default() }).await);
    newer(clients.get_client(proto::GetClientRequest { name: name() }).await);
    newer(clients.get_rotation(proto::GetRotationRequest { name: rotation.name.clone() }).await);
    newer(clients.delete_client(proto::DeleteClientRequest { name: name(), ..Default::default() }).await);
    newer(clients.rotate_client_secret(proto::RotateClientSecretRequest { name: name(), ..Default::default() }).await);
    let list = proto::ListClientsRequest { parent: "tenants/acme".to_owned(), ..Default::default() };
    newer(clients.list_clients(list).await);
    let create = proto::CreateClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "billing".to_owned(),
        client: Some(proto::Client { scopes: vec!["orders/read".to_owned()], ..Default::default() }),
        ..Default::default()
    };
    newer(clients.create_client(create).await);
    let verify = proto::VerifyTokenRequest { token, ..Default::default() };
    newer(today.verification().verify_token(verify).await);

    // Everything else goes on, what is due after the newer journal too.
    let before = fleet.newer_records().await;
    assert!(before.len() >= 4, "{before:?}");
    is_served(&fleet.clock, &[today], ORDERS).await;
    let own = rotate(&today.channel, ORDERS).await;
    fleet.clock.advance(Duration::from_secs(25 * 60 * 60));
    fleet.until(async || get_rotation(&today.channel, &own.name).await.state() == SUCCEEDED).await;
    assert_eq!(fleet.newer_records().await, before);

    // Whoever reads the form finishes it.
    let after = fleet.join(1, Release::AfterNext).await;
    fleet.until(async || get_rotation(&after.channel, &rotation.name).await.state() == SUCCEEDED).await;
    is_served(&fleet.clock, &[&after], BILLING).await;
    after.stop().await;
    fleet.today.stop().await;
    assert_eq!(fleet.between.complaints(), Vec::<String>::new());
}

impl Fleet {
    async fn newer_records(&self) -> Vec<StoredRecord> {
        let mut newer = Vec::new();
        for shelf in CHANGED {
            newer.extend(self.records(shelf).await.into_iter().filter(|record| !record.form.is_read()));
        }
        newer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_revoked_token_in_a_newer_form_a_broker_says_that_it_cannot_tell() {
    let fleet = Fleet::start().await;
    let revoked = fleet.today.token(ORDERS).await.access_token;
    let id = claims(&revoked)["jti"].as_str().expect("an id").to_owned();
    let expire_time = fleet.clock.now() + Duration::from_secs(3_600);
    let action = Action::Put { body: b"?".to_vec(), form: unread(), due_time: Some(expire_time) };
    let write = Write { shelf: Shelf::RevokedToken, key: id, expected: None, action };
    fleet.table.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("committed");

    let verify = || proto::VerifyTokenRequest { token: revoked.clone(), ..Default::default() };
    fleet
        .until(async || match fleet.today.verification().verify_token(verify()).await {
            Ok(_) => false,
            refused => {
                newer(refused);
                true
            }
        })
        .await;
    // All others are told, and all of them were read.
    fleet.today.create_client("acme", "returns").await;
    is_served(&fleet.clock, &[&fleet.today], "tenants/acme/clients/returns").await;
    fleet.today.stop().await;
}
