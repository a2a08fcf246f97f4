//! Brokers without a daemon around them, several on one file where a test wants that, and what must hold of the file
//! when they are done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyward::broker::api::{
    ClientView, NewClient, NewMetadata, NewOidc, NewProtocol, NewProvider, NewResourceServer, NewSaml, NewTenant,
    TenantPatch,
};
use keyward::broker::background::Background;
use keyward::broker::ports::Shelf;
use keyward::broker::settings::{
    FeedSettings, JournalSettings, RotationSettings, Settings, SignInSettings, TokenSettings, VerificationSettings,
};
use keyward::broker::{Broker, Ports};
use keyward::domain::audit::{Call, Principal};
use keyward::domain::client::{Client, ClientState};
use keyward::domain::error::Result;
use keyward::domain::id::{ClientName, TenantId};
use keyward::domain::interactive::{
    ClientKind, DEFAULT_ID_TOKEN_VALIDITY, DEFAULT_REFRESH_TOKEN_VALIDITY, InteractiveSettings, StandardScope,
};
use keyward::domain::pool::Pool;
use keyward::domain::provider::{IdentityProvider, ProviderId, ProviderProtocol};
use keyward::domain::quota::Ceilings;
use keyward::domain::rotation::Rotation;
use keyward::domain::scope::{Identifier, ScopeDefinition, ScopeSet};
use keyward::domain::secret::ClientSecret;
use keyward::domain::sign_in::ClaimTerms;
use keyward::domain::tenant::{HostedDomain, Isolation, Tenant, TenantState, UserPoolSettings};
use keyward::embedded::{Embedded, MasterKey, Options};
use keyward::runtime::clock::ManualClock;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backend::Backend;
use super::{SCOPES, start_time};

/// A file, its ports, and a clock.
pub struct Bench {
    pub backend: Backend,
    pub clock: Arc<ManualClock>,
    /// For what no port lists.
    file: Connection,
    _folder: TempDir,
}

impl Bench {
    /// With the orders API in the catalogue.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("master.key");
        MasterKey::generate_file(&key).expect("a master key");
        let key = MasterKey::from_file(&key).expect("the master key");
        let clock = Arc::new(ManualClock::new(start_time()));
        let path = folder.path().join("keyward.db");
        let embedded = Embedded::open(&path, &key, Options::default(), clock.clone()).await.expect("opened");
        let ports = Ports {
            user_pools: embedded.user_pools(),
            token_endpoint: embedded.token_endpoint(),
            key_source: embedded.key_source(),
            shared: None,
            vault: embedded.vault(),
            registry: embedded.registry(),
            domain_proofs: Arc::new(keyward::dns::Dns::new(Default::default())),
            clock: clock.clone(),
        };
        let file = Connection::open(path).expect("opened");
        let bench = Bench { backend: Backend(ports), clock, file, _folder: folder };

        let broker = Working::open(bench.ports()).await.expect("a broker");
        broker.put_orders_api().await;
        broker.stop().await;
        bench
    }

    pub fn ports(&self) -> Ports {
        self.backend.0.clone()
    }

    /// Moves the clock to whatever is due next until every journal is struck out.
    pub async fn settle(&self) {
        let mut looks = crate::harness::pauses(Duration::from_millis(1));
        for _ in 0..20_000 {
            let Some(next) = self.backend.journals().await.into_iter().map(|journal| journal.due_time).min() else {
                return;
            };
            if next > keyward::broker::ports::Clock::now(&*self.clock) {
                self.clock.set(next);
            }
            looks.tick().await;
        }
        panic!("journals are left: {:?}", self.backend.journals().await);
    }

    /// Fails the test unless nothing is under way, everybody is active, and nothing is there that nobody knows. With
    /// the secrets of these clients, where they are.
    pub async fn check(&self, names: &[&str]) {
        assert_eq!(self.backend.journals().await, []);
        let tenants: Vec<Tenant> = self.backend.records(Shelf::Tenant).await;
        let clients: Vec<Client> = self.backend.records(Shelf::Client).await;
        let pools: Vec<Pool> = self.backend.records(Shelf::Pool).await;
        let rotations: Vec<Rotation> = self.backend.records(Shelf::Rotation).await;
        assert!(tenants.iter().all(|tenant| tenant.state == TenantState::Active), "{tenants:?}");
        assert!(clients.iter().all(|client| client.state == ClientState::Active), "{clients:?}");

        let known = |name: &ClientName| clients.iter().any(|client| client.name == *name);
        for rotation in &rotations {
            assert!(rotation.end_time.is_some() && known(&rotation.name.client), "{rotation:?}");
        }
        for pool in &pools {
            assert!(pool.tenant.as_ref().is_none_or(|id| tenants.iter().any(|tenant| tenant.id == *id)), "{pool:?}");
            let there = clients.iter().filter(|client| client.pool == pool.id).count();
            assert_eq!(usize::try_from(pool.app_clients), Ok(there), "{pool:?}");
        }
        let machines = || clients.iter().filter(|client| client.kind() == ClientKind::Machine);
        let keys = machines().map(|client| format!("{}/{}", client.name.tenant, client.name.client));
        assert_eq!(self.column("SELECT key FROM records WHERE shelf = 'credential'"), keys.collect());

        let people = clients.iter().filter(|client| client.kind() == ClientKind::Interactive);
        let entries = people.map(|client| format!("{}/{}", client.name.tenant, client.name.client));
        assert_eq!(self.column("SELECT key FROM records WHERE shelf = 'interactive'"), entries.collect());

        let app_clients = clients.iter().filter_map(|client| client.app_client.as_ref().map(ToString::to_string));
        assert_eq!(self.column("SELECT id FROM app_clients"), app_clients.collect(), "app clients at the backend");
        let made = pools.iter().filter(|pool| pool.made.is_some()).map(|pool| pool.id.to_string());
        assert_eq!(self.column("SELECT keyward_id FROM user_pools"), made.collect(), "user pools at the backend");
        let issuers = pools.iter().filter_map(|pool| pool.made.as_ref().map(|made| made.issuer.to_string()));
        let known_issuers = self.column("SELECT key FROM records WHERE shelf = 'issuer'");
        assert_eq!(known_issuers, issuers.collect(), "issuers");
        let providers =
            || tenants.iter().flat_map(|tenant| tenant.identity_providers.iter().map(move |it| (tenant, it)));
        let provided = providers().map(|(_, provider)| provider.name.clone());
        assert_eq!(self.column("SELECT name FROM identity_providers"), provided.collect(), "identity providers");
        let is_saml = |provider: &IdentityProvider| matches!(provider.protocol, ProviderProtocol::Saml(_));
        let documents = providers().filter(|(_, provider)| is_saml(provider));
        let documents = documents.map(|(tenant, provider)| format!("{}/{}", tenant.id, provider.id));
        let stored = self.column("SELECT key FROM records WHERE shelf = 'provider-document'");
        assert_eq!(stored, documents.collect(), "documents of identity providers");
        let of_providers = providers().filter(|(_, provider)| !is_saml(provider));
        let of_providers =
            of_providers.map(|(tenant, provider)| format!("keyward/{}/providers/{}", tenant.id.name(), provider.id));
        let secrets = machines().map(|client| client.secret_name.to_string()).chain(of_providers);
        let secrets: BTreeSet<_> = secrets.collect();
        // One of a provider that nobody has written down is left for a reconciliation.
        let mut there = self.column("SELECT name FROM secrets WHERE deletion_time IS NULL");
        there.retain(|name| secrets.contains(name) || !name.contains("/providers/"));
        assert_eq!(there, secrets, "the vault");

        for name in names {
            if known(&client_name(name)) {
                self.backend.check_settled(name).await;
            }
        }
    }

    fn column(&self, sql: &str) -> BTreeSet<String> {
        let mut statement = self.file.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("asked");
        rows.collect::<rusqlite::Result<_>>().expect("text")
    }
}

/// A broker with its background.
pub struct Working {
    broker: Arc<Broker>,
    stop: CancellationToken,
    tracker: TaskTracker,
    leaving: CancellationToken,
    killed: CancellationToken,
    membership: TaskTracker,
}

impl std::ops::Deref for Working {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

impl Working {
    /// It only answers calls until it is told to [`work`](Working::work).
    pub async fn open(ports: Ports) -> Result<Self> {
        Working::open_with(ports, |_| {}).await
    }

    pub async fn open_with(ports: Ports, edit: impl FnOnce(&mut Settings)) -> Result<Self> {
        let tracker = TaskTracker::new();
        let mut settings = settings();
        edit(&mut settings);
        let broker = Arc::new(Broker::open(ports, settings, Background::here(tracker.clone())).await?);
        let [stop, leaving, killed] = std::array::from_fn(|_| CancellationToken::new());
        Ok(Working { broker, stop, tracker, leaving, killed, membership: TaskTracker::new() })
    }

    pub fn work(&self) {
        let (broker, stop) = (self.broker.clone(), self.stop.clone());
        self.tracker.spawn(async move { broker.work(stop).await });
        let (broker, leaving, killed) = (self.broker.clone(), self.leaving.clone(), self.killed.clone());
        let membership = async move { broker.keep_membership(leaving).await };
        self.membership.spawn(async move { killed.run_until_cancelled(membership).await });
    }

    /// It says nothing any more, to nobody, but does not take itself out. What it has under way for callers goes on.
    pub fn kill(self) {
        self.killed.cancel();
        self.stop.cancel();
    }

    /// Returns when nothing of it is under way.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.leaving.cancel();
        self.membership.close();
        self.membership.wait().await;
    }

    pub async fn put_orders_api(&self) {
        let scope = |name: &str| ScopeDefinition { scope_name: name.to_owned(), description: name.to_owned() };
        let orders = NewResourceServer {
            identifier: Identifier::parse("identifier", "orders").expect("an identifier"),
            display_name: "Orders".to_owned(),
            scopes: vec![scope("read"), scope("write")],
        };
        self.catalog.put(&call(), orders, None, false).await.expect("the API is put");
    }

    pub async fn create_tenant(&self, id: &str, isolation: Isolation) -> Result<()> {
        self.create_tenant_with(id, isolation, Vec::new()).await
    }

    pub async fn create_tenant_with(
        &self,
        id: &str,
        isolation: Isolation,
        identity_providers: Vec<NewProvider>,
    ) -> Result<()> {
        let new = NewTenant {
            id: tenant_id(id),
            display_name: String::new(),
            isolation,
            labels: Default::default(),
            user_pool: None,
            sign_in_domains: Vec::new(),
            identity_providers,
        };
        self.tenants.create(&call(), new, false).await.map(drop)
    }

    /// One that people sign in with, with one URL to come back to.
    pub async fn create_interactive_client(&self, name: &str) -> Result<ClientView> {
        let name = client_name(name);
        let new = NewClient {
            tenant: name.tenant,
            id: name.client,
            display_name: String::new(),
            labels: Default::default(),
            scopes: ScopeSet::parse("scopes", &SCOPES).expect("scopes"),
            access_token_validity: None,
            rotation: None,
            secret_readers: Vec::new(),
            interactive: Some(sign_in()),
        };
        self.clients.create(&call(), new, false).await
    }

    /// With a pool of its own that has this domain.
    pub async fn create_tenant_at(&self, id: &str, domain: HostedDomain) -> Result<()> {
        self.create_tenant_like(id, UserPoolSettings { domain: Some(domain), ..Default::default() }).await
    }

    /// With a pool of its own that has these settings.
    pub async fn create_tenant_like(&self, id: &str, settings: UserPoolSettings) -> Result<()> {
        let new = NewTenant {
            id: tenant_id(id),
            display_name: String::new(),
            isolation: Isolation::UserPool,
            labels: Default::default(),
            user_pool: Some(settings),
            sign_in_domains: Vec::new(),
            identity_providers: Vec::new(),
        };
        self.tenants.create(&call(), new, false).await.map(drop)
    }

    pub async fn move_tenant_to(&self, id: &str, domain: Option<HostedDomain>) -> Result<()> {
        self.change_settings(id, UserPoolSettings { domain, ..Default::default() }).await
    }

    pub async fn change_settings(&self, id: &str, settings: UserPoolSettings) -> Result<()> {
        let patch = TenantPatch { user_pool: Some(settings), ..Default::default() };
        self.tenants.update(&call(), &tenant_id(id), patch, None, false).await.map(drop)
    }

    /// With both scopes of the orders API and every default.
    pub async fn create_client(&self, name: &str) -> Result<ClientView> {
        let name = client_name(name);
        let new = NewClient {
            tenant: name.tenant,
            id: name.client,
            display_name: String::new(),
            labels: Default::default(),
            scopes: ScopeSet::parse("scopes", &SCOPES).expect("scopes"),
            access_token_validity: None,
            rotation: None,
            secret_readers: Vec::new(),
            interactive: None,
        };
        self.clients.create(&call(), new, false).await
    }
}

/// An OpenID Connect provider.
pub fn oidc_provider(id: &str) -> NewProvider {
    let oidc = NewOidc {
        issuer: "https://login.example.com".to_owned(),
        client_id: "keyward".to_owned(),
        client_secret: Some(ClientSecret::parse_foreign("client_secret", "a-providers-secret").expect("a secret")),
        scopes: vec!["openid".to_owned()],
        authorize_url: String::new(),
        token_url: String::new(),
        user_info_url: String::new(),
        jwks_uri: String::new(),
    };
    NewProvider { id: provider_id(id), protocol: NewProtocol::Oidc(oidc), attribute_mapping: Default::default() }
}

/// A SAML provider with a document.
pub fn saml_provider(id: &str) -> NewProvider {
    let metadata = NewMetadata::Document("<EntityDescriptor/>".to_owned());
    let saml = NewSaml { metadata, sign_out: false, encrypted_responses: false };
    NewProvider { id: provider_id(id), protocol: NewProtocol::Saml(saml), attribute_mapping: Default::default() }
}

fn provider_id(id: &str) -> ProviderId {
    ProviderId::parse("provider", id).expect("a provider's id")
}

/// For people, at one URL, with `openid`.
pub fn sign_in() -> InteractiveSettings {
    InteractiveSettings {
        callback_urls: vec!["https://app.example.com/back".to_owned()],
        sign_out_urls: Vec::new(),
        standard_scopes: [StandardScope::OpenId].into_iter().collect(),
        identity_providers: Default::default(),
        allow_native_accounts: false,
        id_token_validity: DEFAULT_ID_TOKEN_VALIDITY,
        refresh_token_validity: DEFAULT_REFRESH_TOKEN_VALIDITY,
        default_sign_in: false,
    }
}

/// A domain of somebody's own, with a certificate that the fake of Cognito takes.
pub fn custom_domain(domain: &str) -> HostedDomain {
    let certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/0aa0".to_owned();
    HostedDomain::Custom { domain: domain.to_owned(), certificate_arn }
}

/// An operator's call without a request id.
pub fn call() -> Call {
    Call { principal: Principal::Operator("test".into()), method: "test".into(), call_id: "test".into(), request: None }
}

pub fn tenant_id(id: &str) -> TenantId {
    TenantId::parse("tenant", id).expect("a tenant's id")
}

/// Of `tenants/{tenant}/clients/{client}`.
pub fn client_name(name: &str) -> ClientName {
    ClientName::parse("name", name).expect("a client's name")
}

/// The configuration's defaults.
fn settings() -> Settings {
    Settings {
        app_clients_per_shared_pool: 1_000,
        shared_pools_with_room: 1,
        // Tests that crash everywhere begin anew often.
        ceilings: Ceilings { custom_domains_per_region: 1_000, ..Ceilings::default() },
        regions: vec!["local".to_owned()],
        adopted_pools: Vec::new(),
        reconcile_time: Duration::from_secs(15),
        secret_prefix: "keyward".to_owned(),
        reveal_secrets: false,
        told_tenants: Vec::new(),
        tokens: TokenSettings {
            max_cached: 1_000,
            max_scope_sets_per_client: 16,
            max_concurrent_fetches: 64,
            fetch_timeout: Duration::from_secs(10),
            retry_after_failure: Duration::from_secs(1),
            price: 2_250,
        },
        verification: VerificationSettings {
            leeway: Duration::from_secs(5),
            max_cached: 1_000,
            key_refetch_floor: Duration::from_secs(30),
            key_max_age: Duration::from_secs(3_600),
            max_watchers: 8,
            max_staleness: Duration::from_secs(10),
        },
        rotation: RotationSettings {
            prove_timeout: Duration::from_secs(900),
            jitter_percent: 10,
            recovery_window: Duration::from_secs(7 * 86_400),
        },
        journal: JournalSettings {
            concurrency: 8,
            poll_interval: Duration::from_secs(30),
            first_retry: Duration::from_secs(1),
            max_retry: Duration::from_secs(900),
            lease: None,
        },
        feed: FeedSettings {
            interval: Duration::from_millis(250),
            verdicts_for: Duration::from_secs(5),
            // A clock that is moved by hand has no time to hear of anything.
            tokens_for: Duration::from_secs(86_400),
        },
        sign_in: SignInSettings {
            claims: ClaimTerms {
                look_interval: Duration::from_secs(6 * 3_600),
                keep_for: Duration::from_secs(7 * 86_400),
            },
            fallback_url: None,
        },
        denials_per_minute: 60,
        audit_retention: Duration::from_secs(400 * 86_400),
    }
}
