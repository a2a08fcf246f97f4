//! One contract for every backend: what `broker::ports` says, played to the embedded backend, to the AWS backend on the
//! strict fake, and to the AWS backend on programs of others as far as they go.
//!
//! Expectations come from the ports' documentation and are the same for all. What a program of others is known to do
//! otherwise is listed here, and nothing else differs.

mod app_clients;
mod interactive;
mod pools;
mod secrets;
mod tokens;
mod vault;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use keyward::aws::{Aws, Credentials, Endpoints, Options, Quotas, TokenSource};
use keyward::broker::ports::{AppClientSpec, Fault, KeySource, PortResult, TokenEndpoint, UserPools, Vault};
use keyward::domain::id::{AppClientId, PoolId};
use keyward::domain::pool::MadePool;
use keyward::domain::scope::{Identifier, ResourceServer, ScopeDefinition, ScopeSet};
use keyward::domain::secret::ClientSecret;
use keyward::embedded::{Embedded, MasterKey};
use keyward::runtime::clock::{ManualClock, SystemClock};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::fake::{Fake, OTHER_REGION, REGION};
use crate::harness::flowing::Flowing;
use crate::harness::start_time;
use crate::peers::Peer;

const DAY: Duration = Duration::from_secs(86_400);

/// A step, what the contract says, and what was answered.
type Difference = (&'static str, &'static str, &'static str);

/// What moto makes the AWS backend's vault do otherwise: see `peers::moto`.
const MOTO: &[Difference] = &[
    // It takes the label off before it sees that it has nowhere to go.
    ("promote what is not there", "NotFound", "Conflict"),
    ("current stays then", "Some(\"23-\")", "Some(\"-3-\")"),
];

/// What ministack makes the AWS backend's user pools do otherwise: see `peers::ministack`.
const MINISTACK: &[Difference] = &[
    ("an unknown scope", "Refused", "()"),
    ("an unknown API", "Refused", "()"),
    ("give it an unknown scope", "Refused", "()"),
    ("people: an unknown scope", "Refused", "()"),
    ("people: an unknown provider", "Refused", "()"),
    ("people: give it an unknown scope", "Refused", "()"),
    ("it is left out", "\"orders/read\"", "\"orders/read orders/write\""),
];

#[tokio::test]
async fn the_embedded_backend_keeps_the_contract() {
    let backend = Backend::embedded().await;
    let mut ledger = Ledger::default();
    play_all(&backend, &mut ledger).await;
    ledger.check(&[]);
}

#[tokio::test]
async fn the_aws_backend_keeps_the_contract() {
    let (backend, fake) = Backend::fake(TokenSource::TokenEndpoint).await;
    let mut ledger = Ledger::default();
    play_all(&backend, &mut ledger).await;
    ledger.check(&[]);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn the_aws_backend_keeps_the_contract_with_tokens_of_get_client_token() {
    let (backend, fake) = Backend::fake(TokenSource::GetClientToken).await;
    let mut ledger = Ledger::default();
    play_all(&backend, &mut ledger).await;
    ledger.check(&[]);
    assert_eq!(fake.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn the_aws_backend_keeps_the_contract_but_for_second_secrets_on_ministack() {
    let peer = Peer::ministack().await;
    let backend = Backend::peer(&peer).await;
    let mut ledger = Ledger::default();
    pools::play(&backend, &mut ledger).await;
    pools::play_resource_servers(&backend, &mut ledger).await;
    app_clients::play(&backend, &mut ledger).await;
    app_clients::play_pages(&backend, &mut ledger).await;
    interactive::play(&backend, &mut ledger).await;
    secrets::play_the_only_one(&backend, &mut ledger).await;
    tokens::play(&backend, &mut ledger).await;
    tokens::play_keys(&backend, &mut ledger).await;
    ledger.check(MINISTACK);
}

#[tokio::test]
async fn the_aws_backend_keeps_the_contract_of_the_vault_on_moto_but_for_what_is_listed() {
    let peer = Peer::moto().await;
    let mut ledger = Ledger::default();
    let backend = Backend::peer(&peer).await;
    vault::play(&backend, &mut ledger).await;
    vault::play_put(&backend, &mut ledger).await;
    vault::play_the_rest(&backend, &mut ledger).await;
    ledger.check(MOTO);
}

async fn play_all(backend: &Backend, ledger: &mut Ledger) {
    pools::play(backend, ledger).await;
    pools::play_in_another_region(backend, ledger).await;
    pools::play_domains(backend, ledger).await;
    pools::play_resource_servers(backend, ledger).await;
    app_clients::play(backend, ledger).await;
    app_clients::play_pages(backend, ledger).await;
    interactive::play(backend, ledger).await;
    interactive::play_providers(backend, ledger).await;
    secrets::play(backend, ledger).await;
    tokens::play(backend, ledger).await;
    tokens::play_two_secrets(backend, ledger).await;
    tokens::play_keys(backend, ledger).await;
    vault::play(backend, ledger).await;
    vault::play_put(backend, ledger).await;
    vault::play_deletion(backend, ledger).await;
    vault::play_the_rest(backend, ledger).await;
}

/// What was answered otherwise than the contract says.
#[derive(Default)]
pub struct Ledger {
    differences: Vec<(&'static str, String, String)>,
}

impl Ledger {
    /// The call succeeds with this.
    pub fn holds<T: Debug, U: Debug + ?Sized>(&mut self, step: &'static str, said: PortResult<T>, due: &U) {
        self.note(step, format!("{due:?}"), said.map_or_else(|error| told(&error), |value| format!("{value:?}")));
    }

    /// The call fails like this.
    pub fn fails<T: Debug>(&mut self, step: &'static str, said: PortResult<T>, due: Fault) {
        let said = said.map_or_else(|error| format!("{:?}", error.fault), |value| format!("{value:?}"));
        self.note(step, format!("{due:?}"), said);
    }

    /// The call succeeds, with whatever.
    pub fn goes<T>(&mut self, step: &'static str, said: PortResult<T>) -> Option<T> {
        let said = said.map_err(|error| self.note(step, "ok".to_owned(), told(&error)));
        said.ok()
    }

    pub fn is<T: Debug>(&mut self, step: &'static str, seen: T, due: T) {
        self.note(step, format!("{due:?}"), format!("{seen:?}"));
    }

    fn note(&mut self, step: &'static str, due: String, said: String) {
        if due != said {
            self.differences.push((step, due, said));
        }
    }

    #[track_caller]
    fn check(&self, known: &[Difference]) {
        let found: Vec<_> =
            self.differences.iter().map(|(step, due, said)| (*step, due.as_str(), said.as_str())).collect();
        assert_eq!(found, known, "(step, due, said)");
    }
}

fn told(error: &keyward::broker::ports::PortError) -> String {
    format!("{:?}: {error}", error.fault)
}

/// A backend through its ports, the registry excepted.
pub struct Backend {
    pub pools: Arc<dyn UserPools>,
    pub tokens: Arc<dyn TokenEndpoint>,
    pub keys: Arc<dyn KeySource>,
    pub vault: Arc<dyn Vault>,
    /// `None` where time cannot be moved.
    pub clock: Option<ManualClock>,
    _folder: Option<TempDir>,
}

impl Backend {
    async fn embedded() -> Backend {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("master.key");
        MasterKey::generate_file(&key).expect("a master key");
        let key = MasterKey::from_file(&key).expect("the master key");
        let clock = ManualClock::new(start_time());
        let flowing = Arc::new(Flowing::new(clock.clone()));
        let options = keyward::embedded::Options::default();
        let embedded = Embedded::open(&folder.path().join("keyward.db"), &key, options, flowing).await.expect("opened");
        Backend {
            pools: embedded.user_pools(),
            tokens: embedded.token_endpoint(),
            keys: embedded.key_source(),
            vault: embedded.vault(),
            clock: Some(clock),
            _folder: Some(folder),
        }
    }

    async fn fake(token_source: TokenSource) -> (Backend, Fake) {
        let clock = ManualClock::new(start_time());
        let fake = Fake::start(Arc::new(clock.clone())).await;
        // Quotas hold, and waiting for a turn under them moves the clock.
        fake.enforce_quotas();
        let options = Options { token_source, ..fake.options() };
        let aws = Aws::connect(options, Arc::new(Flowing::new(clock.clone()))).await.expect("connected");
        (Backend::of(&aws, Some(clock)), fake)
    }

    async fn peer(peer: &Peer) -> Backend {
        let aws = Aws::connect(peer_options(peer, peer), Arc::new(SystemClock)).await.expect("connected");
        Backend::of(&aws, None)
    }

    fn of(aws: &Aws, clock: Option<ManualClock>) -> Backend {
        Backend {
            pools: aws.user_pools(),
            tokens: aws.token_endpoint(),
            keys: aws.key_source(),
            vault: aws.vault(),
            clock,
            _folder: None,
        }
    }

    pub fn advance(&self, by: Duration) {
        self.clock.as_ref().expect("a clock that can be moved").advance(by);
    }

    /// A pool with the resource server `orders` and its scopes `read` and `write`.
    pub async fn pool(&self, id: &str) -> MadePool {
        let made = self.pools.ensure_pool(&pool_id(id), &Default::default()).await.expect("a pool");
        self.pools.put_resource_server(&made, &server("orders", &["read", "write"])).await.expect("an API");
        made
    }

    /// An app client of that pool for both scopes, and its secret: the first, or the one that the backend chose.
    pub async fn client(&self, pool: &MadePool, marker: &str) -> (AppClientId, ClientSecret) {
        let spec = spec(marker, &["orders/read", "orders/write"]);
        let made = self.pools.create_app_client(pool, &spec, &secret(1)).await.expect("an app client");
        (made.id, made.assigned.unwrap_or_else(|| secret(1)))
    }
}

/// For programs of others, which have no quotas: Cognito and its tokens of one, Secrets Manager of another.
pub fn peer_options(cognito: &Peer, secrets_manager: &Peer) -> Options {
    const MANY: u32 = 100_000;
    Options {
        region: REGION.to_owned(),
        regions: Vec::new(),
        name_prefix: "keyward".to_owned(),
        token_source: TokenSource::TokenEndpoint,
        kms_key: String::new(),
        messages: Default::default(),
        connect_timeout: Duration::from_secs(5),
        call_timeout: Duration::from_secs(30),
        quota_wait: Duration::from_secs(5),
        endpoints: Endpoints {
            cognito: cognito.endpoint.clone(),
            secrets_manager: secrets_manager.endpoint.clone(),
            dynamodb: String::new(),
            kms: String::new(),
            token: format!("{}/oauth2/token", cognito.endpoint),
            jwks: format!("{}/{{user_pool}}/.well-known/jwks.json", cognito.endpoint),
        },
        quotas: Quotas {
            client_authentication: MANY,
            app_client_reads: MANY,
            app_client_updates: MANY,
            user_pool_reads: MANY,
            user_pool_updates: MANY,
            resource_server_reads: MANY,
            resource_server_updates: MANY,
            per_operation_and_pool: MANY,
            secret_reads: MANY,
            secret_writes: MANY,
        },
        credentials: Credentials::Fixed { access_key_id: "AKIATEST".to_owned(), secret_access_key: "test".to_owned() },
    }
}

pub fn pool_id(id: &str) -> PoolId {
    PoolId::parse("pool", id).expect("a pool's id")
}

pub fn secret(byte: u8) -> ClientSecret {
    ClientSecret::from_entropy(&Zeroizing::new([byte; 32]))
}

pub fn scopes(texts: &[&str]) -> ScopeSet {
    ScopeSet::parse("scopes", texts).expect("scopes")
}

pub fn spec(marker: &str, texts: &[&str]) -> AppClientSpec {
    AppClientSpec { marker: marker.to_owned(), scopes: scopes(texts), access_token_validity: Duration::from_secs(3600) }
}

pub fn server(identifier: &str, names: &[&str]) -> ResourceServer {
    let scope = |name: &&str| ScopeDefinition { scope_name: (*name).to_owned(), description: (*name).to_owned() };
    ResourceServer {
        catalog_version: 1,
        identifier: Identifier::parse("identifier", identifier).expect("an identifier"),
        display_name: identifier.to_owned(),
        scopes: names.iter().map(scope).collect(),
        create_time: start_time(),
        update_time: start_time(),
    }
}
