//! Taking over app clients that are there already: what an import makes, what it refuses, what it survives.

mod pools;
mod readers;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use keyward::broker::api::{NewImport, SecretSource};
use keyward::broker::ports::{PortResult, Shelf};
use keyward::domain::client::Client;
use keyward::domain::id::{AppClientId, PoolId};
use keyward::domain::pool::{MadePool, Pool};
use keyward::domain::tenant::Isolation;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, ClientState, RejectionReason, RotationState};
use keyward::runtime::clock::ManualClock;

use crate::crash::Fuse;
use crate::harness::backend::{Backend, key};
use crate::harness::brokers::{Bench, Working, call, client_name, tenant_id};
use crate::harness::outside::{import, secret, with_foreign};
use crate::harness::rotations::{get_client, rotate};
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Daemon, SCOPES, details, start_time};

const NAME: &str = "tenants/acme/clients/orders";

/// A daemon with the tenant `acme`, and an app client in its pool that the daemon did not make.
struct Legacy {
    daemon: Daemon,
    backend: Backend,
    clock: Arc<ManualClock>,
    /// The pool's resource name.
    pool: String,
    made: MadePool,
    app_client: AppClientId,
}

impl Legacy {
    async fn start() -> Self {
        Legacy::start_with(&[]).await
    }

    /// With secrets in the vault that are not Keyward's.
    async fn start_with(foreign: &[(&str, String)]) -> Self {
        let clock = Arc::new(ManualClock::new(start_time()));
        let through = |ports| with_foreign(ports, foreign);
        let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, through).await;
        daemon.put_orders_api().await;
        let pool = daemon.create_tenant("acme").await.pool;
        let made = backend.made(&pool).await;
        let app_client = backend.app_client(&made, "legacy-orders", &secret(1)).await;
        Legacy { daemon, backend, clock, pool, made, app_client }
    }

    /// With the secret that it has.
    fn request(&self) -> proto::ImportClientRequest {
        import(NAME, &self.pool, &self.app_client, secret(1).expose())
    }

    async fn import(&self, request: proto::ImportClientRequest) -> Result<proto::Client, tonic::Status> {
        self.daemon.clients().import_client(request).await.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn an_imported_client_has_what_the_app_client_has() {
    let legacy = Legacy::start().await;
    let client = legacy.import(legacy.request()).await.expect("imported");
    assert_eq!((client.name.as_str(), client.state()), (NAME, ClientState::Active));
    assert_eq!(client.app_client_id, legacy.app_client.as_str());
    assert_eq!((&client.pool, &client.issuer), (&legacy.pool, &legacy.made.issuer.to_string()));
    assert_eq!(client.scopes, SCOPES);
    assert_eq!(client.access_token_validity.expect("given").seconds, 1_800);
    assert!(client.next_rotate_time.is_some(), "the default policy rotates it");
    assert_eq!(client, get_client(&legacy.daemon.channel, NAME).await);
    legacy.backend.check_settled(NAME).await;
    let seen = legacy.backend.must_see(NAME).await;
    assert_eq!(legacy.backend.value(&seen, &seen.credential.current.version).await, secret(1));
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn tokens_from_before_an_import_verify_after_it() {
    let Legacy { daemon, backend, made, app_client, pool, .. } = Legacy::start().await;
    let token = backend.0.token_endpoint.fetch(&made, &app_client, &secret(1), &Default::default()).await;
    let token = token.expect("a token").expose().to_owned();
    match daemon.verify(&token).await {
        Verdict::Rejected(rejected) => assert_eq!(rejected.reason(), RejectionReason::UnknownClient),
        Verdict::Verified(verified) => panic!("{verified:?}"),
    }
    let request = import(NAME, &pool, &app_client, secret(1).expose());
    daemon.clients().import_client(request).await.expect("imported");
    match daemon.verify(&token).await {
        Verdict::Verified(verified) => {
            assert_eq!((verified.tenant.as_str(), verified.client.as_str()), ("tenants/acme", NAME))
        }
        Verdict::Rejected(rejected) => panic!("{rejected:?}"),
    }
    daemon.stop().await;
}

#[tokio::test]
async fn an_imported_client_lives_like_an_issued_one() {
    let legacy = Legacy::start().await;
    legacy.import(legacy.request()).await.expect("imported");
    let token = legacy.daemon.token(NAME).await;
    assert!(matches!(legacy.daemon.verify(&token.access_token).await, Verdict::Verified(_)));

    // The ids of secrets count seconds.
    legacy.clock.advance(Duration::from_secs(1));
    let rotation = rotate(&legacy.daemon.channel, NAME).await;
    assert_eq!((rotation.state(), &rotation.app_client_id), (RotationState::Overlap, &legacy.app_client.to_string()));
    let seen = legacy.backend.must_see(NAME).await;
    assert!(legacy.backend.takes(&seen, &secret(1)).await, "the overlap");
    legacy.backend.check_current_works(NAME).await;

    let request = proto::DeleteClientRequest { name: NAME.to_owned(), ..Default::default() };
    legacy.daemon.clients().delete_client(request).await.expect("deleted");
    assert!(!legacy.backend.is_there(&legacy.made, &legacy.app_client).await);
    assert_eq!(legacy.backend.secrets("keyward/").await, []);
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn the_secret_may_be_in_the_vault_bare_or_as_json() {
    let value = secret(1).expose().to_owned();
    let json = format!(r#"{{"client_id":"old","client_secret":"{value}","owner":"orders team"}}"#);
    let legacy = Legacy::start_with(&[("bare", format!("{value}\n")), ("json", json)]).await;
    for name in ["bare", "json"] {
        let source = proto::import_client_request::SecretSource::SecretName(name.to_owned());
        let request = proto::ImportClientRequest { secret_source: Some(source), ..legacy.request() };
        let dry = proto::ImportClientRequest { validate_only: true, ..request.clone() };
        legacy.import(dry).await.unwrap_or_else(|status| panic!("{name}: {status}"));
        if name == "json" {
            legacy.import(request).await.expect("imported");
        }
    }
    legacy.backend.check_settled(NAME).await;
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn settings_that_are_given_are_applied_to_the_app_client() {
    let legacy = Legacy::start().await;
    let settings = proto::Client {
        display_name: "Orders".to_owned(),
        scopes: vec![SCOPES[0].to_owned()],
        access_token_validity: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        labels: [("team".to_owned(), "orders".to_owned())].into(),
        rotation_policy: Some(proto::RotationPolicy { disabled: true, ..Default::default() }),
        ..Default::default()
    };
    let request = proto::ImportClientRequest { client: Some(settings.clone()), ..legacy.request() };
    let client = legacy.import(request).await.expect("imported");
    assert_eq!((&client.display_name, &client.scopes), (&settings.display_name, &settings.scopes));
    assert_eq!((&client.labels, client.access_token_validity), (&settings.labels, settings.access_token_validity));
    assert!(client.rotation_policy.expect("given").disabled && client.next_rotate_time.is_none());

    let seen = legacy.backend.0.user_pools.describe_app_client(&legacy.made, &legacy.app_client).await;
    let seen = seen.expect("the backend answers").expect("there");
    assert_eq!((seen.scopes.to_string().as_str(), seen.access_token_validity.as_secs()), (SCOPES[0], 600));
    assert_eq!(seen.name, "legacy-orders", "the name is left as it is");
    assert_eq!(legacy.daemon.token(NAME).await.scopes, [SCOPES[0]]);
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn a_repeated_request_imports_nothing_twice() {
    let legacy = Legacy::start().await;
    let request = proto::ImportClientRequest { request_id: "once".to_owned(), ..legacy.request() };
    let first = legacy.import(request.clone()).await.expect("imported");
    assert_eq!(legacy.import(request).await.expect("answered again"), first);
    let pool: Pool = legacy.backend.record(Shelf::Pool, legacy.pool.trim_start_matches("pools/")).await.expect("there");
    assert_eq!(pool.app_clients, 1);
    legacy.daemon.stop().await;
}

/// The first two fetches wait for each other.
struct Together {
    both: tokio::sync::Barrier,
    fetches: AtomicUsize,
}

#[async_trait]
impl Toll for Together {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if call == "fetch" && self.fetches.fetch_add(1, Ordering::SeqCst) < 2 {
            self.both.wait().await;
        }
        Ok(())
    }

    async fn after(&self, _: &'static str) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn of_two_imports_of_one_app_client_one_wins_and_the_other_leaves_nothing() {
    let together = Arc::new(Together { both: tokio::sync::Barrier::new(2), fetches: AtomicUsize::new(0) });
    let clock = Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock, |_| {}, |ports| tolled(ports, together)).await;
    daemon.put_orders_api().await;
    let pool = daemon.create_tenant("acme").await.pool;
    let app_client = backend.app_client(&backend.made(&pool).await, "legacy", &secret(1)).await;
    let import = async |name: &str| {
        let request = import(&format!("tenants/acme/clients/{name}"), &pool, &app_client, secret(1).expose());
        daemon.clients().import_client(request).await.map(tonic::Response::into_inner)
    };
    let (one, other) = tokio::join!(import("one"), import("other"));
    let (won, lost) = match (one, other) {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        both => panic!("{both:?}"),
    };
    assert_eq!(details(&lost).reason, "APP_CLIENT_TAKEN");
    let secrets: Vec<_> = backend.secrets("keyward/").await.iter().map(ToString::to_string).collect();
    assert_eq!(secrets, [format!("keyward/{}", won.name)]);
    backend.check_settled(&won.name).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_thousand_app_clients_are_imported() {
    const CLIENTS: usize = 1_000;
    let legacy = Legacy::start().await;
    let mut requests = Vec::new();
    for number in 0..CLIENTS {
        let app_client = legacy.backend.app_client(&legacy.made, &format!("legacy-{number}"), &secret(number)).await;
        let name = format!("tenants/acme/clients/legacy-{number}");
        requests.push(import(&name, &legacy.pool, &app_client, secret(number).expose()));
    }
    let imports = stream::iter(requests).map(|request| legacy.import(request)).buffer_unordered(8);
    let clients: Vec<_> = imports.map(|client| client.expect("imported")).collect().await;
    assert!(clients.iter().all(|client| client.state() == ClientState::Active));
    let stored: Vec<Client> = legacy.backend.records(Shelf::Client).await;
    assert_eq!((clients.len(), stored.len()), (CLIENTS, CLIENTS));
    let pool: Pool = legacy.backend.record(Shelf::Pool, legacy.pool.trim_start_matches("pools/")).await.expect("there");
    assert_eq!(usize::try_from(pool.app_clients), Ok(CLIENTS));
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn an_import_survives_a_crash_at_any_call() {
    const AT_LEAST: usize = 50;
    let bench = Bench::new().await;
    for point in 0..1_000 {
        let id = format!("tenant-{point}");
        let name = format!("tenants/{id}/clients/orders");
        let healthy = Working::open(bench.ports()).await.expect("a broker");
        healthy.create_tenant(&id, Isolation::AppClient).await.expect("a tenant");
        let pool = healthy.tenants.get(&tenant_id(&id)).await.expect("a tenant").tenant.pool;
        healthy.stop().await;
        let made = bench.backend.made(&pool.name()).await;
        let app_client = bench.backend.app_client(&made, &format!("legacy-{point}"), &secret(point)).await;
        let new = || new_import(&name, &pool, &app_client, point);

        let fuse = Fuse::at(point);
        if let Ok(dying) = Working::open(tolled(bench.ports(), fuse.clone())).await {
            let answered = dying.clients.import(&call(), new(), false).await.is_ok();
            dying.stop().await;
            let is_known = bench.backend.record::<Client>(Shelf::Client, &key(&name)).await.is_some();
            assert!(!answered || is_known, "{name} was answered");
        }
        assert!(bench.backend.is_there(&made, &app_client).await, "an import deletes nothing");

        let next = Working::open(bench.ports()).await.expect("a broker");
        next.work();
        bench.settle().await;
        let found = next.reconciling.reconcile(&call(), Some(tenant_id(&id)), true).await.expect("reconciled").drifts;
        assert!(found.iter().all(|drift| drift.mended), "{found:?}");
        if bench.backend.record::<Client>(Shelf::Client, &key(&name)).await.is_none() {
            next.clients.import(&call(), new(), false).await.expect("it can be done again");
        }
        next.stop().await;
        bench.check(&[&name]).await;
        let seen = bench.backend.must_see(&name).await;
        assert_eq!(bench.backend.value(&seen, &seen.credential.current.version).await, secret(point));
        if !fuse.is_blown() {
            println!("{point} points");
            assert!(point >= AT_LEAST, "only {point} points");
            return;
        }
    }
    panic!("it does not end");
}

fn new_import(name: &str, pool: &PoolId, app_client: &AppClientId, number: usize) -> NewImport {
    let name = client_name(name);
    NewImport {
        tenant: name.tenant,
        id: name.client,
        pool: pool.clone(),
        app_client: app_client.clone(),
        secret: SecretSource::Given(secret(number)),
        display_name: String::new(),
        labels: Default::default(),
        scopes: None,
        access_token_validity: Some(Duration::from_secs(3_600)),
        rotation: None,
        secret_readers: Vec::new(),
    }
}
