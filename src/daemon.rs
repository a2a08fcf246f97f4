//! The composition root: builds the daemon from its parts. The only place that names concrete backends.
//!
//! A start binds nothing before its storage is open and whole, and health says NOT_SERVING until everything is there.
//! A stop says NOT_SERVING first, then takes no new calls, ends the long streams, and waits for calls and background
//! work until the drain deadline. What is late then is in the journals, and the next start finishes it.

mod audit;
mod aws_options;
mod backend;
mod calling;
mod live;
mod migrating;
mod oauth_front;
mod predecessor;
mod running;
mod serving;
mod sharing;
mod stopping;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::aws::{ConnectError, OpenTableError};
use crate::broker::background::Background;
use crate::broker::ports::Clock;
use crate::broker::settings::{
    FeedSettings, JournalSettings, RotationSettings, Settings, SignInSettings, TokenSettings, VerificationSettings,
};
use crate::broker::{Broker, Ports};
use crate::callers::{self, Callers};
use crate::config::{self, Backend, Config, ConfigError};
use crate::domain::error::Error;
use crate::domain::form::Form;
use crate::domain::id::{BrokerId, UserPoolId};
use crate::domain::lease::LeaseTerms;
use crate::domain::quota::Ceilings;
use crate::domain::sign_in::ClaimTerms;
use crate::embedded::{MasterKeyError, OpenError};
use crate::gate::Gate;
use crate::grpc::{self, Front, Limits};
use crate::http;
use crate::net::{Address, Cores, Inherited, TlsError};
use crate::permission::{Origin, Permissions, PolicyError};
use crate::runtime::behind::Behind;
use crate::runtime::readiness::Readiness;
use crate::traces::StartTracesError;

pub use audit::check_shared_log;
use aws_options::aws_options;
pub use calling::grants;
pub use live::{Finding, Verdict, try_out};
pub use migrating::{MigrateError, Migrated, migrate};
pub use running::Running;
use running::announce;
pub use stopping::longest_stop;

/// Why the daemon did not start. Says which key or file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("permission.policies: {0}")]
    Policies(#[from] PolicyError),
    #[error("the data folder {folder}: {source}")]
    DataFolder { folder: PathBuf, source: std::io::Error },
    #[error("another keyward works on the data folder {0}; a folder has one broker")]
    Locked(PathBuf),
    #[error("the master key: {0}")]
    MasterKey(#[from] MasterKeyError),
    #[error("registry.token_key_file: {0}")]
    TokenKey(MasterKeyError),
    #[error(transparent)]
    Storage(#[from] OpenError),
    #[error(transparent)]
    Aws(#[from] ConnectError),
    #[error(transparent)]
    Table(#[from] OpenTableError),
    #[error(
        "registry.table: the broker {broker} reads records up to the form {reads}, and this Keyward writes the form {written}; \
         bring all brokers to the release before this one first, or stop them",
        written = Form::WRITTEN
    )]
    LeftBehind { broker: BrokerId, reads: Form },
    #[error("the registry cannot be read: {detail}")]
    Registry { detail: String },
    #[error("callers: {0}")]
    Callers(#[from] callers::OpenError),
    #[error("audit.file: {file}: {source}")]
    AuditFile { file: PathBuf, source: std::io::Error },
    #[error("listen: cannot listen on {address}: {source}")]
    Listen { address: Address, source: std::io::Error },
    #[error("listen: must have {0}, since whoever started the process listens there for it (LISTEN_FDS)")]
    HandedOver(Address),
    #[error("oauth.listen: cannot listen on {address}: {source}")]
    OAuth { address: Address, source: std::io::Error },
    #[error("status.listen: cannot listen on {address}: {source}")]
    Status { address: SocketAddr, source: std::io::Error },
    #[error("traces.endpoint: {0}")]
    Traces(#[from] StartTracesError),
    #[error("the system gives no more threads: {0}")]
    Threads(std::io::Error),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error("the contract that was compiled in cannot be read: {0}")]
    Contract(#[from] tonic_reflection::server::Error),
}

/// Starts the daemon over the backend that its configuration names. It serves once this has answered.
pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Running, StartError> {
    start_through(config, clock, |ports| ports).await
}

/// Like [`start`], on sockets that were handed over, where there are some at addresses of the configuration.
pub async fn start_on(config: Config, clock: Arc<dyn Clock>, sockets: Inherited) -> Result<Running, StartError> {
    assemble(config, clock, sockets, None, |ports| ports).await
}

/// Like [`start`], with the ports seen through `through`. Tests count, delay and fail calls there.
pub async fn start_through(
    config: Config,
    clock: Arc<dyn Clock>,
    through: impl FnOnce(Ports) -> Ports,
) -> Result<Running, StartError> {
    start_for(config, clock, None, through).await
}

/// Like [`start_through`], with callers told apart by `callers`, where there are any, and not as the configuration says. For
/// tests of what a caller may do.
pub async fn start_for(
    config: Config,
    clock: Arc<dyn Clock>,
    callers: Option<Callers>,
    through: impl FnOnce(Ports) -> Ports,
) -> Result<Running, StartError> {
    assemble(config, clock, Inherited::default(), callers, through).await
}

async fn assemble(
    config: Config,
    clock: Arc<dyn Clock>,
    sockets: Inherited,
    callers: Option<Callers>,
    through: impl FnOnce(Ports) -> Ports,
) -> Result<Running, StartError> {
    let permissions = Arc::new(permissions(&config)?);
    let readiness = Readiness::new();
    let starting = readiness.hold("storage");

    let data_lock = lock_data_folder(&config.data_dir)?;
    let (tracker, draining, stopping) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let behind = Behind::start().map_err(StartError::Threads)?;
    let background = Background::on(behind.runtime(), tracker.clone());
    let tls = serving::load_tls(&config, clock.clone())?;
    let opening = {
        let (config, clock) = (config.clone(), clock.clone());
        async move { backend::open(&config, clock).await }
    };
    // There, since SQLite's threads go before or after others as the one does that opens it.
    let opened = background.spawn(opening).await.map_err(|lost| StartError::Threads(lost.into()))?;
    let backend::Opened { ports, told } = opened?;
    let ports = through(ports);
    let broker = Broker::open(ports, settings(&config), background.clone()).await.map_err(unreadable)?;
    let broker = Arc::new(broker);
    predecessor::succeed(&config.data_dir, &broker).await;
    let callers = match callers {
        Some(callers) => callers,
        None => calling::callers(&config, broker.logins.clone(), clock.clone(), background.clone())?,
    };

    let audit_file = audit::open_file(&config, &broker, clock.clone(), &background, &stopping).await?;

    let listeners = serving::bind(&config, sockets).await?;
    let addresses = serving::addresses(&listeners);
    let oauth_listeners = oauth_front::bind(&config).await?;
    let oauth_addresses = serving::addresses(&oauth_listeners);
    let status = serving::bind_status(&config).await?;
    let status_address = status.as_ref().and_then(|listener| listener.local_addr().ok());

    let health = HealthReporter::new();
    announce(&health, ServingStatus::NotServing).await;
    let traces = serving::start_traces(&config, &background).await?;
    let counted = Arc::new(grpc::Counted::new(traces.clone()));
    let mut told = serving::told(&broker, &counted, audit_file.as_ref(), traces.as_ref(), told);
    let gate = Gate {
        broker: broker.clone(),
        background: background.clone(),
        callers: Arc::new(callers),
        permissions: permissions.clone(),
        audit_file,
    };
    let front = Front {
        gate: gate.clone(),
        shutdown: draining.clone(),
        limits: Limits {
            message_bytes: config.grpc.max_message_bytes,
            call_duration: config.grpc.request_timeout,
            calls: config.limits.max_calls,
        },
        counted,
    };
    let health_service = HealthService::from_health_reporter(health.clone());
    let routes = grpc::routes(front, tonic_health::pb::health_server::HealthServer::new(health_service))?;
    if let Some(tls) = &tls {
        let follow = serving::follow_files(tls.clone(), config.tls.reload_interval, clock.clone(), stopping.clone());
        background.spawn(follow);
    }
    let cores = Cores::start().map_err(StartError::Threads)?;
    let server = serving::serve(&config, routes, listeners, tls.clone(), &cores, draining.clone());
    let oauth = oauth_front::serve(&config, gate, clock, oauth_listeners, tls, &cores, draining.clone());
    let (oauth, oauth_told) = oauth.unzip();
    told.extend(oauth_told);

    let leaving = CancellationToken::new();
    // Not a part of what a drain waits for: it goes on until that is over.
    let membership = behind.runtime().spawn({
        let (broker, leaving) = (broker.clone(), leaving.clone());
        async move { broker.keep_membership(leaving).await }
    });
    if let Some(listener) = status {
        let status = http::Status { told, broker: broker.clone(), readiness: readiness.clone() };
        background.spawn(http::serve(listener, status, stopping.clone()));
    }
    background.spawn({
        let stopping = stopping.clone();
        async move { broker.work(stopping).await }
    });
    background.spawn(permissions.follow(config.permission.reload_interval, stopping.clone()));
    drop(starting);
    announce(&health, ServingStatus::Serving).await;
    Ok(Running {
        addresses,
        status_address,
        readiness,
        health,
        draining,
        stopping,
        tracker,
        leaving,
        membership,
        server,
        oauth_addresses,
        oauth,
        traces,
        cores,
        behind,
        drain_deadline: config.shutdown.drain_deadline,
        _data_lock: data_lock,
    })
}

/// The policies that the configuration names, read and checked.
pub fn permissions(config: &Config) -> Result<Permissions, StartError> {
    let config::Permission { policies, replace_defaults, .. } = &config.permission;
    Ok(Permissions::open(Origin { path: policies.clone(), replace_defaults: *replace_defaults })?)
}

/// Two brokers on one file would each trust memories that the other makes false.
fn lock_data_folder(folder: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::DataFolder { folder: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join("keyward.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

pub(crate) fn settings(config: &Config) -> Settings {
    // Each has the form of a user pool's id, or there would be no configuration.
    let adopted = config.aws.adopted_pools.iter().filter_map(|id| {
        let (region, _) = id.split_once('_')?;
        Some((UserPoolId::parse("aws.adopted_pools", id).ok()?, region.to_owned()))
    });
    let terms = LeaseTerms { duration: config.journal.lease, clock_difference: config.journal.clock_difference };
    Settings {
        app_clients_per_shared_pool: config.pools.app_clients_per_shared_pool,
        shared_pools_with_room: config.pools.shared_pools_with_room,
        ceilings: ceilings(config),
        regions: regions(config),
        adopted_pools: adopted.collect(),
        // The rest of the time is for the answer, and for the last page.
        reconcile_time: config.grpc.request_timeout / 2,
        secret_prefix: config.secrets.prefix.clone(),
        reveal_secrets: config.secrets.reveal,
        tokens: TokenSettings {
            max_cached: config.tokens.max_cached,
            max_scope_sets_per_client: config.tokens.max_scope_sets_per_client,
            max_concurrent_fetches: config.tokens.max_concurrent_fetches,
            fetch_timeout: config.tokens.fetch_timeout,
            retry_after_failure: config.tokens.retry_after_failure,
            price: config.tokens.price_per_million_usd,
        },
        verification: VerificationSettings {
            leeway: config.verification.leeway,
            max_cached: config.verification.max_cached,
            key_refetch_floor: config.verification.key_refetch_floor,
            key_max_age: config.verification.key_max_age,
            max_watchers: config.verification.max_watchers,
            max_staleness: config.verification.max_staleness,
        },
        rotation: RotationSettings {
            prove_timeout: config.rotation.prove_timeout,
            jitter_percent: u32::from(config.rotation.jitter),
            recovery_window: config.rotation.recovery_window,
        },
        journal: JournalSettings {
            concurrency: config.journal.concurrency,
            poll_interval: config.journal.poll_interval,
            first_retry: config.journal.first_retry,
            max_retry: config.journal.max_retry,
            // A file has one broker.
            lease: config.registry.table.is_some().then_some(terms),
        },
        feed: FeedSettings {
            interval: config.registry.feed_interval,
            verdicts_for: config.registry.verdicts_without_feed,
            tokens_for: config.registry.tokens_without_feed,
        },
        sign_in: SignInSettings {
            claims: ClaimTerms { look_interval: config.sign_in.look_interval, keep_for: config.sign_in.keep_for },
            fallback_url: config.sign_in.fallback_url.clone(),
        },
        told_tenants: config.status.told_tenants(),
        denials_per_minute: config.audit.denials_per_minute,
        audit_retention: config.audit.retention,
    }
}

fn ceilings(config: &Config) -> Ceilings {
    let quotas = &config.quotas;
    Ceilings {
        user_pools_per_region: quotas.user_pools_per_region,
        // Whoever puts more into a shared pool has had it raised.
        app_clients_per_user_pool: quotas.app_clients_per_user_pool.max(config.pools.app_clients_per_shared_pool),
        resource_servers_per_user_pool: quotas.resource_servers_per_user_pool,
        custom_domains_per_region: quotas.custom_domains_per_region,
    }
}

/// The broker's own first.
fn regions(config: &Config) -> Vec<String> {
    match config.backend {
        Backend::Embedded => vec![config.embedded.region.clone()],
        Backend::Aws => {
            let mut regions = vec![config.aws.region.clone()];
            regions.extend(config.aws.regions.iter().filter(|name| **name != config.aws.region).cloned());
            regions
        }
    }
}

fn unreadable(error: Error) -> StartError {
    StartError::Registry { detail: error.internal_detail().unwrap_or_else(|| error.to_string()) }
}
