//! Who asks, as if through a load balancer: each call goes to a broker that its health check calls alive, and what becomes
//! of it is written down.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use keyward::proto::verify_token_response::Verdict;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::dice::Dice;
use crate::harness::SCOPES;
use crate::world::{Site, lock};

/// How often the load balancer asks a broker for its health, and how long it waits for the answer.
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);
const HEALTH_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a caller waits for an answer. Longer than the longest wait of a broker's own.
const PATIENCE: Duration = Duration::from_secs(40);
/// Calls that are under way at one time, at most. More than wait at a broker whose line is cut in silence; a slow machine gets
/// no more of them than it answers.
const AT_A_TIME: usize = 400;
/// The scope sets that tokens are asked for with.
pub const SCOPE_SETS: [&[&str]; 2] = [&SCOPES, &[SCOPES[0]]];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    GetToken,
    VerifyToken,
    RotateClientSecret,
}

/// A call, and what became of it.
pub struct Record {
    pub method: Method,
    pub site: Arc<Site>,
    pub begin: Instant,
    pub end: Instant,
    pub outcome: Outcome,
}

pub enum Outcome {
    Done,
    /// The broker has said why not.
    Told {
        code: Code,
        reason: String,
        retry: bool,
        message: String,
    },
    /// The connection ended, or none could be made.
    Lost(String),
    /// Nobody answered for [`PATIENCE`].
    Unanswered,
    /// An answer that must not be.
    Wrong(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Told { code, reason, retry, message } => {
                let wait = if *retry { "to be asked again" } else { "for good" };
                write!(f, "{code:?} {reason}, {wait}: {message}")
            }
            Outcome::Lost(why) => write!(f, "the connection's end: {why}"),
            Outcome::Unanswered => f.write_str("unanswered"),
            Outcome::Wrong(answer) => write!(f, "wrong: {answer}"),
        }
    }
}

/// Clients under load, their tokens, and what became of the calls.
pub struct Load {
    pub sites: Vec<Arc<Site>>,
    pub dice: Dice,
    /// As resource names.
    pub clients: Vec<String>,
    /// By client and scope set: what was handed out last.
    held: Mutex<BTreeMap<(usize, usize), String>>,
    /// By client and scope set: every token that was ever handed out.
    seen: Mutex<BTreeMap<(usize, usize), Vec<String>>>,
    records: Mutex<Vec<Record>>,
    rotated: AtomicUsize,
    stop: CancellationToken,
}

impl Load {
    pub fn new(sites: &[Arc<Site>], clients: Vec<String>, seed: u64) -> Arc<Load> {
        Arc::new(Load {
            sites: sites.to_vec(),
            dice: Dice::new(seed),
            clients,
            held: Mutex::default(),
            seen: Mutex::default(),
            records: Mutex::default(),
            rotated: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        })
    }

    /// Looks after the brokers' health until the load is ended.
    pub fn balance(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        for site in &self.sites {
            let (site, stop) = (site.clone(), self.stop.clone());
            tasks.spawn(async move {
                let mut looks = tokio::time::interval(HEALTH_INTERVAL);
                looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while stop.run_until_cancelled(looks.tick()).await.is_some() {
                    let mut health = HealthClient::new(site.channel());
                    let asked = tokio::time::timeout(HEALTH_TIMEOUT, health.check(HealthCheckRequest::default()));
                    site.set_healthy(asked.await.is_ok_and(|answer| answer.is_ok()));
                }
            });
        }
    }

    /// Asks for tokens and for verdicts by turns, so many a second, whatever becomes of them.
    pub fn begin(self: &Arc<Self>, calls_per_second: u32, tasks: &mut JoinSet<()>) {
        let load = self.clone();
        tasks.spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_secs(1) / calls_per_second);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut calls = JoinSet::new();
            while load.stop.run_until_cancelled(pace.tick()).await.is_some() {
                if calls.len() < AT_A_TIME {
                    let load = load.clone();
                    calls.spawn(async move { load.ask().await });
                }
                while let Some(ended) = calls.try_join_next() {
                    ended.expect("a call is made");
                }
            }
            while let Some(ended) = calls.join_next().await {
                ended.expect("a call is made");
            }
        });
    }

    /// No calls from now on.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// A broker that is alive, as far as is known; nobody knows of one when none is.
    pub fn pick(&self) -> Option<Arc<Site>> {
        let healthy: Vec<_> = self.sites.iter().filter(|site| site.is_healthy()).collect();
        (!healthy.is_empty()).then(|| healthy[self.dice.roll(healthy.len())].clone())
    }

    pub fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        lock(&self.records)
    }

    /// How many different tokens were handed out, by client and scope set.
    pub fn tokens_seen(&self) -> Vec<[usize; SCOPE_SETS.len()]> {
        let seen = lock(&self.seen);
        let count = |client, set| seen.get(&(client, set)).map_or(0, Vec::len);
        (0..self.clients.len()).map(|client| std::array::from_fn(|set| count(client, set))).collect()
    }

    /// How many rotations have been answered.
    pub fn rotated(&self) -> usize {
        self.rotated.load(Ordering::SeqCst)
    }

    async fn ask(&self) {
        let Some(site) = self.pick() else { return };
        let (client, set) = (self.dice.roll(self.clients.len()), self.dice.roll(SCOPE_SETS.len()));
        let held = lock(&self.held).get(&(client, set)).cloned();
        match held.filter(|_| self.dice.roll(2) == 0) {
            Some(token) => {
                let call = verify(site.channel(), token, self.clients[client].clone());
                self.note(Method::VerifyToken, site, call).await;
            }
            None => {
                let call = get(site.channel(), self.clients[client].clone(), SCOPE_SETS[set]);
                if let Some(token) = self.note(Method::GetToken, site, call).await {
                    let mut seen = lock(&self.seen);
                    let seen = seen.entry((client, set)).or_default();
                    if !seen.contains(&token) {
                        seen.push(token.clone());
                    }
                    lock(&self.held).insert((client, set), token);
                }
            }
        }
    }

    /// Rotates a client's secret, with so short an overlap that it is over while the test runs. Asks again, elsewhere,
    /// under the same request id, until somebody has answered.
    pub async fn rotate(&self, client: usize) {
        let request = proto::RotateClientSecretRequest {
            name: self.clients[client].clone(),
            overlap: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            request_id: format!("rotate-{client}"),
            ..Default::default()
        };
        let mut pace = tokio::time::interval(Duration::from_millis(200));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.stop.run_until_cancelled(pace.tick()).await.is_some() {
            let Some(site) = self.pick() else { continue };
            let (channel, request) = (site.channel(), request.clone());
            let call = async move {
                let mut clients = ClientServiceClient::new(channel);
                clients.rotate_client_secret(request).await.map_err(outcome).map(drop)
            };
            if self.note(Method::RotateClientSecret, site, call).await.is_some() {
                self.rotated.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }

    async fn note<T>(
        &self,
        method: Method,
        site: Arc<Site>,
        call: impl Future<Output = Result<T, Outcome>>,
    ) -> Option<T> {
        let begin = Instant::now();
        let result = tokio::time::timeout(PATIENCE, call).await.unwrap_or(Err(Outcome::Unanswered));
        let (answer, outcome) = match result {
            Ok(answer) => (Some(answer), Outcome::Done),
            Err(outcome) => (None, outcome),
        };
        self.records().push(Record { method, site, begin, end: Instant::now(), outcome });
        answer
    }
}

async fn get(channel: Channel, name: String, scopes: &[&str]) -> Result<String, Outcome> {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let request = proto::GetTokenRequest { name, scopes, ..Default::default() };
    let answer = TokenServiceClient::new(channel).get_token(request).await.map_err(outcome)?;
    Ok(answer.into_inner().access_token)
}

async fn verify(channel: Channel, token: String, client: String) -> Result<(), Outcome> {
    let request = proto::VerifyTokenRequest { token, ..Default::default() };
    let answer = VerificationServiceClient::new(channel).verify_token(request).await.map_err(outcome)?;
    match answer.into_inner().verdict {
        Some(Verdict::Verified(verified)) if verified.client == client => Ok(()),
        other => Err(Outcome::Wrong(format!("{client}: {other:?}"))),
    }
}

/// A status without an `ErrorInfo` of the broker's is not the broker's.
pub fn outcome(status: Status) -> Outcome {
    let details = status.get_error_details();
    match details.error_info().filter(|info| info.domain == "keyward") {
        Some(info) => Outcome::Told {
            code: status.code(),
            reason: info.reason.clone(),
            retry: details.retry_info().is_some(),
            message: status.message().to_owned(),
        },
        None => Outcome::Lost(format!("{:?}: {}", status.code(), status.message())),
    }
}
