//! Today's broker on what brokers before it have stored. What they stored was written by their own programs, driven over gRPC and
//! killed by [`recording`](super::recording). Secrets and keys are sealed, the master key is that of every fixture, and no
//! token is in any.
//!
//! Data files: `2026-11-25.sql` (commit 1236a22, the last before records could be in DynamoDB) and `2026-11-29.sql` (0.2, which
//! reads form 2). Tables, all items of each: `2026-11-28.items` (commit 8991483, which said nothing of forms) and
//! `2026-11-29.items` (0.2). The user pools and secrets that the items are about are gone, so they are read, and changed, and
//! no more.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use keyward::broker::ports::{Clock, Registry, ShareInForce, Shelf};
use keyward::broker::{Ports, Shared};
use keyward::domain::chain::Walk;
use keyward::domain::form::Form;
use keyward::domain::id::{ClientName, TenantId};
use keyward::domain::journal::Task;
use keyward::domain::share::Share;
use keyward::embedded::check_audit_log;
use keyward::proto;
use keyward::runtime::clock::ManualClock;
use tempfile::TempDir;
use tonic::Code;

use super::recording::{create_acme, write_master_key};
use super::{is_served, restore};
use crate::fake::{REGION, signing};
use crate::harness::backend::Backend;
use crate::harness::rotations::{get_client, list_rotations};
use crate::harness::{Binary, Daemon, State, folder};
use crate::peers::Peer;
use crate::permission::until;
use crate::registry::between::Between;
use crate::registry::tables::{self, Layout, TABLE};

const ORDERS: &str = "tenants/acme/clients/orders";
const BILLING: &str = "tenants/acme/clients/billing";
const REPLACED: &str = "tenants/globex/clients/orders";

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/forms");
    std::fs::read_to_string(folder.join(name)).expect("the fixture")
}

const DATA_FILES: [&str; 2] = ["2026-11-25.sql", "2026-11-29.sql"];
/// And whether records say their form.
const TABLES: [(&str, bool); 2] = [("2026-11-28.items", false), ("2026-11-29.items", true)];

/// A data folder of the release before, and a clock that stands a minute after it was killed.
pub struct Before {
    pub data: PathBuf,
    pub clock: Arc<ManualClock>,
    dump: String,
    _folder: TempDir,
}

impl Before {
    pub fn new(fixture_name: &str) -> Before {
        let dump = fixture(fixture_name);
        let (folder, path) = folder();
        let data = path.join("data");
        std::fs::create_dir(&data).expect("the data folder");
        write_master_key(&data.join("master.key"));
        let file = restore(&dump, &data.join("keyward.db"));
        let last: String = file.query_row("SELECT max(time) FROM events", [], |row| row.get(0)).expect("events");
        let last: Timestamp = last.parse().expect("a time");
        let clock = Arc::new(ManualClock::new(last + SignedDuration::from_mins(1)));
        Before { data, clock, dump, _folder: folder }
    }

    pub async fn serve(&self, shared: bool, through: impl FnOnce(Ports) -> Ports) -> (Daemon, Backend) {
        let data = self.data.clone();
        let edit = move |config: &mut keyward::config::Config| {
            config.embedded.master_key_file = Some(data.join("master.key"));
            config.registry.table = shared.then(|| TABLE.to_owned());
            config.data_dir = data;
        };
        Backend::behind(self.clock.clone(), edit, through).await
    }

    /// The same file without user pools and secrets: what the release kept for a broker on AWS.
    fn registry_alone(&self) -> PathBuf {
        let folder = self.data.with_file_name("registry");
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("keyward.db");
        let connection = restore(&self.dump, &file);
        let emptied = "DELETE FROM meta; DELETE FROM labels; DELETE FROM versions; DELETE FROM secrets;
                       DELETE FROM client_secrets; DELETE FROM app_clients; DELETE FROM scopes;
                       DELETE FROM resource_servers; DELETE FROM signing_keys; DELETE FROM user_pools;";
        connection.execute_batch(emptied).expect("emptied");
        file
    }
}

/// What was under way when it was killed.
async fn check_what_is_under_way(registry: &dyn Registry) {
    let journals: Vec<_> = registry.scan(Shelf::Journal, "", None, 100).await.expect("read");
    let client = |name: &str| ClientName::parse("name", name).expect("a name");
    for task in [
        Task::OffboardTenant(TenantId::parse("tenant", "initech").expect("a tenant")),
        Task::RotateSecret(client(ORDERS)),
        Task::RotateSecret(client(BILLING)),
        Task::RotateSecret(client(REPLACED)),
    ] {
        assert!(journals.iter().any(|journal| journal.key == task.to_string()), "{task} is not under way");
    }
    // There were none of these then.
    const LATER: [Shelf; 4] = [Shelf::Renewal, Shelf::Claim, Shelf::ProviderDocument, Shelf::Interactive];
    for shelf in Shelf::ALL.into_iter().filter(|shelf| !LATER.contains(shelf)) {
        let records = registry.scan(shelf, "", None, 1_000).await.expect("read");
        assert!(!records.is_empty(), "no {} is in the fixture", shelf.name());
        assert!(records.iter().all(|record| record.form == Form::FIRST), "{}", shelf.name());
    }
}

/// It serves what is there, and finishes what is under way.
async fn check_that_it_goes_on(daemon: &Daemon, backend: &Backend, clock: &ManualClock) {
    let again = daemon.tenants().create_tenant(create_acme()).await.expect("the same request").into_inner();
    assert_eq!((again.display_name.as_str(), again.labels["tier"].as_str()), ("Acme", "gold"));
    for client in [ORDERS, BILLING, REPLACED] {
        is_served(clock, &[daemon], client).await;
    }
    let hooli = proto::GetTokenRequest { name: "tenants/hooli/clients/orders".to_owned(), ..Default::default() };
    let refused = daemon.tokens().get_token(hooli).await.expect_err("it is suspended");
    assert_eq!(refused.code(), Code::FailedPrecondition);

    until(async || {
        let request = proto::GetTenantRequest { name: "tenants/initech".to_owned() };
        clock.advance(std::time::Duration::from_millis(250));
        daemon.tenants().get_tenant(request).await.is_err_and(|status| status.code() == Code::NotFound)
    })
    .await;
    // To the end of every overlap.
    until(async || {
        if let Some(due) = backend.journals().await.into_iter().map(|journal| journal.due_time).min() {
            clock.set(due.max(clock.now()) + SignedDuration::from_millis(250));
            return false;
        }
        true
    })
    .await;
    for client in [ORDERS, BILLING, REPLACED] {
        let rotations = list_rotations(&daemon.channel, client).await;
        assert_eq!(rotations.len(), 1, "{client}");
        assert_eq!(rotations[0].state(), proto::RotationState::Succeeded, "{client}");
        assert!(get_client(&daemon.channel, client).await.rotate_time.is_some());
        backend.check_settled(client).await;
        is_served(clock, &[daemon], client).await;
    }
    for shelf in [Shelf::Client, Shelf::Credential, Shelf::Rotation] {
        let left = backend.0.registry.scan(shelf, "initech/", None, 10).await.expect("read");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_of_the_release_before_is_served_and_what_was_under_way_is_finished() {
    for name in DATA_FILES {
        let before = Before::new(name);
        let (daemon, backend) = {
            let registry = keyward::embedded::open_registry(&before.registry_alone()).await.expect("opened");
            check_what_is_under_way(&*registry).await;
            before.serve(false, |ports| ports).await
        };
        check_that_it_goes_on(&daemon, &backend, &before.clock).await;
        daemon.stop().await;
        let checked = check_audit_log(&before.data, None).expect("read");
        assert!(checked.outcome.expect("whole").count > 20, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_release_before_are_brought_into_a_table_and_finished_there() {
    for name in DATA_FILES {
        let before = Before::new(name);
        let between = Between::before(Peer::ministack().await).await;
        tables::make(&between.sdk(), TABLE, Layout::default()).await;
        let data = before.registry_alone().parent().expect("its folder").to_owned();
        migrate(&data, &between).await;

        let table = Arc::new(between.open(TABLE).await.expect("opened"));
        check_what_is_under_way(&*table).await;
        let on_table = |ports: Ports| {
            let (feed, members) = (table.clone(), table.clone());
            let share = Arc::new(ShareInForce::new(Share::Whole));
            Ports { registry: table.clone(), shared: Some(Shared { feed, members, share, tokens: None }), ..ports }
        };
        let (daemon, behind) = before.serve(true, on_table).await;
        let backend = Backend(on_table(behind.0));
        check_that_it_goes_on(&daemon, &backend, &before.clock).await;
        daemon.stop().await;

        // Anew: connections of the one before were the daemon's too, and end with its threads.
        walk(&between.open(TABLE).await.expect("opened")).await;
        assert_eq!(between.complaints(), Vec::<String>::new());
    }
}

async fn migrate(data: &Path, between: &Between) {
    let config = data.with_file_name("migrate.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ncallers.trust_loopback = true\nbackend = \"aws\"\ndata_dir = {data:?}\n\
         registry.table = {TABLE:?}\naws.region = {REGION:?}\naws.endpoints.dynamodb = {:?}\n",
        between.endpoint()
    );
    std::fs::write(&config, text).expect("written");
    let mut command: Command = Binary::command();
    command.args(["migrate", "--from", "sqlite", "--to", "dynamodb", "--config"]).arg(&config);
    command.env("AWS_ACCESS_KEY_ID", signing::ACCESS_KEY_ID);
    command.env("AWS_SECRET_ACCESS_KEY", signing::SECRET_ACCESS_KEY);
    let run = move || command.output().expect("keyward runs");
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.expect("ran");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_release_before_is_read_and_changed() {
    for (name, says) in TABLES {
        let between = Between::before(Peer::ministack().await).await;
        let sdk = between.sdk();
        tables::make(&sdk, TABLE, Layout::default()).await;
        let lines = fixture(name);
        for line in lines.lines() {
            let item = super::items::item(line);
            assert!(says || !item.contains_key("form"), "{line}");
            sdk.put_item().table_name(TABLE).set_item(Some(item)).send().await.expect("put");
        }
        let table = Arc::new(between.open(TABLE).await.expect("opened"));
        check_what_is_under_way(&*table).await;
        walk(&*table).await;

        let events = table.events(0, 10_000).await.expect("read");
        let clock = Arc::new(ManualClock::new(events.last().expect("events").event.time));
        let registry = table.clone();
        let on_table = move |ports: Ports| Ports { registry, ..ports };
        let daemon = Daemon::start_through(clock, |_| {}, on_table).await;
        let state = State::of(&daemon.channel).await;
        for (tenant, client) in [("tenants/acme", ORDERS), ("tenants/acme", BILLING), ("tenants/globex", REPLACED)] {
            assert!(state.tenants.iter().any(|known| known.name == tenant), "{tenant}");
            assert!(state.clients.iter().any(|known| known.name == client), "{client}");
        }
        assert!(!state.rotations.is_empty() && !state.resource_servers.is_empty());
        let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
        daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
        daemon.stop().await;
        let acme = sdk.get_item().table_name(TABLE).key("pk", text("r#tenant")).key("sk", text("acme"));
        let acme = acme.send().await.expect("read").item.expect("there");
        assert_eq!(acme["form"], AttributeValue::N("1".to_owned()));
        walk(&between.open(TABLE).await.expect("opened")).await;
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// The audit log is whole.
async fn walk(registry: &dyn Registry) {
    let mut walk = Walk::new(1, None);
    for event in &registry.events(0, 10_000).await.expect("read") {
        walk.step(event.link()).expect("it follows");
    }
    walk.finish(Some((registry.last_event().await.expect("read"), None))).expect("whole");
}
