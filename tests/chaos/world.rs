//! Three brokers as processes of their own, what they share, and everything that can be done to them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use keyward::aws::{Aws, Credentials, Options};
use keyward::runtime::clock::SystemClock;
use tempfile::TempDir;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::door::Door;
use crate::fake::{Fake, REGION, signing};
use crate::harness::{Binary, connect, folder};
use crate::line::{Cut, Line};
use crate::peers::Peer;
use crate::tables::{self, Layout, TABLE};

pub const BROKERS: usize = 3;
/// Of leases, the shortest that a machine with other work to do keeps: a broker that gets no processor for so long loses it.
pub const LEASE: Duration = Duration::from_secs(3);
pub const CLOCK_DIFFERENCE: Duration = Duration::from_millis(500);
/// What a call to a service may take. That is what a line that is cut in silence costs whoever waits, and what the
/// emulator takes at the worst on a machine that has much else to do.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);
/// What a step may wait for a share of the quotas. Shorter than a lease, so that
/// one which has just begun need not be renewed for it.
const QUOTA_WAIT: Duration = Duration::from_secs(2);
/// How often the emulator is asked for nothing.
const PULSE: Duration = Duration::from_millis(50);
/// How often a broker's start is tried.
const STARTS: usize = 5;

/// The fake of Cognito and Secrets Manager, an emulator of DynamoDB, and the brokers. Gone when dropped.
pub struct World {
    pub sites: Vec<Arc<Site>>,
    pub fake: Arc<Fake>,
    table: Peer,
    _folder: TempDir,
}

/// Where a broker is: its configuration, its lines, and its process while there is one.
pub struct Site {
    pub name: String,
    pub config: PathBuf,
    table: Line,
    aws: Line,
    /// To the token endpoints and key sets, by the same line.
    door: Arc<Door>,
    process: Mutex<Option<Binary>>,
    /// By which its processes are known to the others, one after the other.
    ids: Mutex<Vec<String>>,
    past_log: Mutex<String>,
    /// To the last process, where that is gone.
    channel: Mutex<Option<Channel>>,
    is_healthy: AtomicBool,
    troubles: Mutex<Vec<Trouble>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL, until the next process answers.
    Killed,
    /// A new process, for one moment.
    Started,
    /// SIGSTOP, until SIGCONT.
    Stopped,
    /// Its line to DynamoDB is cut.
    Table,
    /// The machine had no time for the emulator, or for this process, and so for a broker neither.
    Starved,
    /// Its line to Cognito, the token endpoints, the key sets and Secrets Manager is cut.
    Aws,
}

/// Something that was done to a broker.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub kind: Kind,
    pub begin: Instant,
    pub end: Option<Instant>,
}

impl World {
    /// All brokers run; `more` is added to the configuration of each.
    pub async fn start(more: &str) -> World {
        let (_folder, path) = folder();
        let fake = Arc::new(Fake::start(Arc::new(SystemClock)).await);
        let table = Peer::dynoxide().await;
        tables::make(&dynamodb(&table.endpoint), TABLE, Layout::default()).await;
        // Tokens are shared under this key.
        keyward::embedded::MasterKey::generate_file(&path.join("token.key")).expect("a key");
        let door = Arc::new(Door::to(place(&fake.endpoint())).await);
        let mut sites = Vec::new();
        for number in 1..=BROKERS {
            let (table, aws) = (Line::to(place(&table.endpoint)).await, Line::to(place(&fake.endpoint())).await);
            let name = format!("broker-{number}");
            let config = configure(&path, &name, [table.address, aws.address, door.address], more);
            sites.push(Arc::new(Site {
                name,
                config,
                table,
                aws,
                door: door.clone(),
                process: Mutex::default(),
                ids: Mutex::default(),
                past_log: Mutex::default(),
                channel: Mutex::default(),
                is_healthy: AtomicBool::new(false),
                troubles: Mutex::default(),
            }));
        }
        let world = World { sites, fake, table, _folder };
        for site in &world.sites {
            site.start().await;
        }
        world
    }

    /// The AWS backend of this process, past the lines.
    pub async fn aws(&self) -> Aws {
        let mut options: Options = self.fake.options();
        options.endpoints.dynamodb = self.table.endpoint.clone();
        options.credentials = Credentials::Fixed {
            access_key_id: signing::ACCESS_KEY_ID.to_owned(),
            secret_access_key: signing::SECRET_ACCESS_KEY.to_owned(),
        };
        Aws::connect(options, Arc::new(SystemClock)).await.expect("clients are made")
    }

    /// Asks the emulator for nothing again and again, past the lines, and writes down when that takes longer than `limit`, the
    /// wait included.
    pub async fn feel_pulse(&self, limit: Duration, stop: CancellationToken) {
        let client = dynamodb(&self.table.endpoint);
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut begin = Instant::now();
        while stop.run_until_cancelled(pulse.tick()).await.is_some() {
            let key = |name: &str| AttributeValue::S(name.to_owned());
            let ask = client.get_item().table_name(TABLE).key("pk", key("pulse")).key("sk", key("pulse"));
            // An error is none of this one's business.
            let _ = ask.send().await;
            let end = Instant::now();
            if end - begin > limit {
                for site in &self.sites {
                    lock(&site.troubles).push(Trouble { kind: Kind::Starved, begin, end: Some(end) });
                }
            }
            begin = end;
        }
    }

    /// For how long the machine had no time.
    pub fn starved(&self) -> Duration {
        let troubles = lock(&self.sites[0].troubles);
        let starved = troubles.iter().filter(|trouble| trouble.kind == Kind::Starved);
        starved.filter_map(|trouble| trouble.end.map(|end| end - trouble.begin)).sum()
    }

    /// Where this broker is or was.
    pub fn site_of(&self, broker: &str) -> &Site {
        let site = self.sites.iter().find(|site| lock(&site.ids).iter().any(|id| id == broker));
        site.unwrap_or_else(|| panic!("there was no broker {broker}"))
    }

    /// Ends the brokers, and gives the fake's complaints.
    pub fn end(self) -> Vec<String> {
        for site in &self.sites {
            drop(lock(&site.process).take());
        }
        self.fake.take_complaints()
    }
}

impl Site {
    /// Returns once it answers.
    pub async fn start(&self) {
        let binary = self.serve().await;
        self.door.register(binary.id(), self.aws.state());
        let id = std::fs::read_to_string(self.config.with_extension("").join("broker.id")).expect("it says who it is");
        lock(&self.ids).push(id.trim().to_owned());
        *lock(&self.channel) = Some(connect(&binary.address).await);
        *lock(&self.process) = Some(binary);
        self.over(Kind::Killed);
        self.begins(Kind::Started);
        self.over(Kind::Started);
        self.is_healthy.store(true, Ordering::SeqCst);
    }

    /// A start that fails since the emulator is busy is repeated, as whoever looks after a process does.
    async fn serve(&self) -> Binary {
        for _ in 0..STARTS {
            let mut command = command(&["serve"], &self.config);
            if let Ok(binary) = tokio::task::spawn_blocking(move || Binary::start(&mut command)).await {
                return binary;
            }
        }
        panic!("{} does not start", self.name);
    }

    pub fn channel(&self) -> Channel {
        lock(&self.channel).clone().expect("it was started")
    }

    /// What its processes have logged, one after the other.
    pub fn log(&self) -> String {
        let current = lock(&self.process).as_ref().map(Binary::log).unwrap_or_default();
        lock(&self.past_log).clone() + &current
    }

    pub fn kill(&self) {
        self.begins(Kind::Killed);
        if let Some(process) = lock(&self.process).take() {
            let log = process.kill();
            lock(&self.past_log).push_str(&log);
        }
    }

    pub fn stop(&self) {
        self.begins(Kind::Stopped);
        self.signal("STOP");
    }

    pub fn go_on(&self) {
        self.signal("CONT");
        self.over(Kind::Stopped);
    }

    pub fn cut_table(&self, cut: Cut) {
        self.begins(Kind::Table);
        self.table.cut(cut);
    }

    pub fn mend_table(&self) {
        self.table.mend();
        self.over(Kind::Table);
    }

    pub fn cut_aws(&self, cut: Cut) {
        self.begins(Kind::Aws);
        self.aws.cut(cut);
    }

    pub fn mend_aws(&self) {
        self.aws.mend();
        self.over(Kind::Aws);
    }

    pub fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::SeqCst)
    }

    pub fn set_healthy(&self, is_healthy: bool) {
        self.is_healthy.store(is_healthy, Ordering::SeqCst);
    }

    /// What was done to it at some time from `begin` to `end`, or was over for less than `grace` at `begin`.
    pub fn troubles(&self, begin: Instant, end: Instant, grace: Duration) -> Vec<Kind> {
        let overlaps =
            |trouble: &&Trouble| trouble.begin <= end && trouble.end.is_none_or(|over| begin <= over + grace);
        lock(&self.troubles).iter().filter(overlaps).map(|trouble| trouble.kind).collect()
    }

    fn signal(&self, name: &str) {
        lock(&self.process).as_ref().expect("it runs").signal(name);
    }

    fn begins(&self, kind: Kind) {
        lock(&self.troubles).push(Trouble { kind, begin: Instant::now(), end: None });
    }

    fn over(&self, kind: Kind) {
        for trouble in lock(&self.troubles).iter_mut().filter(|trouble| trouble.kind == kind) {
            trouble.end.get_or_insert_with(Instant::now);
        }
    }
}

/// The program, with the credentials that the fake knows.
pub fn command(arguments: &[&str], config: &Path) -> Command {
    let mut command = Binary::command();
    command.args(arguments).arg("--config").arg(config);
    command.env("AWS_ACCESS_KEY_ID", signing::ACCESS_KEY_ID);
    command.env("AWS_SECRET_ACCESS_KEY", signing::SECRET_ACCESS_KEY);
    command
}

/// The quotas of an account that has had them raised: what a quota does is not in question here.
fn configure(folder: &Path, name: &str, [table, aws, door]: [SocketAddr; 3], more: &str) -> PathBuf {
    let quotas = [
        "client_authentication",
        "app_client_reads",
        "app_client_updates",
        "user_pool_reads",
        "user_pool_updates",
        "resource_server_reads",
        "resource_server_updates",
        "per_operation_and_pool",
        "secret_reads",
        "secret_writes",
    ];
    let quotas: String = quotas.iter().map(|quota| format!("{quota} = 10000\n")).collect();
    let text = format!(
        "listen = '127.0.0.1:0'\ncallers.trust_loopback = true\nbackend = 'aws'\ndata_dir = {:?}\n\
         registry.table = '{TABLE}'\nregistry.token_key_file = {:?}\nlimits.calls_per_second = 10000\nlimits.calls_burst = 10000\n\
         log.format = 'json'\nlog.filter = 'info,keyward::broker::tokens::sharing=debug'\n\
         tokens.fetch_timeout = '{fetch}ms'\n{more}\n\
         [journal]\nlease = '{lease}ms'\nclock_difference = '{difference}ms'\npoll_interval = '1s'\n\
         first_retry = '200ms'\nmax_retry = '2s'\n\
         [aws]\nregion = '{REGION}'\nconnect_timeout = '3s'\ncall_timeout = '{call}ms'\nquota_wait = '{quota}ms'\n\
         [aws.endpoints]\ncognito = 'http://{aws}'\nsecrets_manager = 'http://{aws}'\ndynamodb = 'http://{table}'\n\
         token = 'http://{door}/oauth2/token'\njwks = 'http://{door}/{{user_pool}}/.well-known/jwks.json'\n\
         [aws.quotas]\n{quotas}",
        folder.join(name),
        folder.join("token.key"),
        fetch = CALL_TIMEOUT.as_millis(),
        call = CALL_TIMEOUT.as_millis(),
        quota = QUOTA_WAIT.as_millis(),
        lease = LEASE.as_millis(),
        difference = CLOCK_DIFFERENCE.as_millis(),
    );
    let config = folder.join(format!("{name}.toml"));
    std::fs::write(&config, text).expect("written");
    config
}

fn dynamodb(endpoint: &str) -> aws_sdk_dynamodb::Client {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    let credentials = Credentials::new(signing::ACCESS_KEY_ID, signing::SECRET_ACCESS_KEY, None, None, "test");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(credentials);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Of `http://127.0.0.1:1234`.
fn place(endpoint: &str) -> SocketAddr {
    endpoint.trim_start_matches("http://").parse().expect("an address")
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics under it")
}
