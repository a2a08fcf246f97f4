//! Callers that fetch and verify tokens without a pause while something else is done.
//!
//! It knows the two calls and nothing of rotation: what is done meanwhile is a future.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use prost_reflect::{DynamicMessage, Value};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::TourError;
use super::wire::{Method, Wire};

/// How many callers there are.
pub(super) const CALLERS: usize = 8;
/// How many calls are made at the least, unless time runs out.
const CALLS: u64 = 2_000;
/// When a quarter of these was made, what is done meanwhile begins; when it is over, at least a quarter more follows.
const QUARTER: u64 = CALLS / 4;
/// How long one phase may take at the most; only what is done meanwhile may take longer.
const PHASE: Duration = Duration::from_millis(1_500);

/// What the callers ask for and expect.
pub(super) struct Demand {
    /// The client's name, `tenants/{tenant}/clients/{client}`.
    pub client: String,
    /// The tenant that must be told.
    pub tenant: String,
    /// The scopes asked for.
    pub scopes: Vec<String>,
    /// Asked for in turn with `scopes` once what is done meanwhile is over, so that a token is fetched anew.
    pub scopes_afterwards: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Toll {
    pub made: u64,
    pub failed: u64,
    pub first_failure: Option<String>,
    pub took: Duration,
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.made as f64 / self.took.as_secs_f64().max(0.001);
        write!(f, "{} calls made, {} failed, {rate:.0} a second", self.made, self.failed)
    }
}

struct Shared {
    wire: Wire,
    get_token: Method,
    verify_token: Method,
    requests: [DynamicMessage; 2],
    tenant: String,
    made: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    /// From how many calls on to tell `reached`.
    goal: AtomicU64,
    reached: Notify,
    afterwards: AtomicBool,
    stop: AtomicBool,
    bar: ProgressBar,
}

/// Runs `meanwhile` while the callers call, and answers with what both found.
pub(super) async fn under_load<T>(
    wire: &Wire,
    demand: Demand,
    progress: bool,
    meanwhile: impl Future<Output = T>,
) -> Result<(T, Toll), TourError> {
    let get_token = wire.method("TokenService/GetToken")?;
    let request = |scopes: &[String]| get_token.request(json!({ "name": demand.client, "scopes": scopes }));
    let shared = Arc::new(Shared {
        requests: [request(&demand.scopes)?, request(&demand.scopes_afterwards)?],
        verify_token: wire.method("VerificationService/VerifyToken")?,
        wire: wire.clone(),
        get_token: get_token.clone(),
        tenant: demand.tenant,
        made: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        first_failure: Mutex::new(None),
        goal: AtomicU64::new(u64::MAX),
        reached: Notify::new(),
        afterwards: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        bar: bar(progress),
    });
    let started = Instant::now();
    // Dropped with this future, which ends the callers.
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call_on(Arc::clone(&shared)));
    }
    let _ = tokio::time::timeout(PHASE, shared.reach(QUARTER)).await;
    shared.bar.set_message("rotating");
    let outcome = meanwhile.await;
    shared.afterwards.store(true, Ordering::Release);
    shared.bar.set_message("rotated");
    let goal = CALLS.max(shared.made.load(Ordering::Acquire) + QUARTER);
    shared.bar.set_length(goal);
    let _ = tokio::time::timeout(2 * PHASE, shared.reach(goal)).await;
    shared.stop.store(true, Ordering::Release);
    while let Some(ended) = callers.join_next().await {
        if ended.is_err() {
            shared.fail("a caller panicked".to_owned());
        }
    }
    shared.bar.finish_and_clear();
    let toll = Toll {
        made: shared.made.load(Ordering::Acquire),
        failed: shared.failed.load(Ordering::Acquire),
        first_failure: shared.first_failure.lock().unwrap_or_else(PoisonError::into_inner).take(),
        took: started.elapsed(),
    };
    Ok((outcome, toll))
}

/// Hidden by indicatif itself when standard error is no terminal.
fn bar(progress: bool) -> ProgressBar {
    if !progress {
        return ProgressBar::with_draw_target(Some(CALLS), ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(CALLS);
    match ProgressStyle::with_template("  {bar:40} {pos}/{len} calls, {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn call_on(shared: Arc<Shared>) {
    let mut turn = 0;
    while !shared.stop.load(Ordering::Acquire) {
        turn += 1;
        let afterwards = turn % 2 == 1 && shared.afterwards.load(Ordering::Acquire);
        shared.fetch_and_verify(&shared.requests[usize::from(afterwards)]).await;
    }
}

impl Shared {
    async fn fetch_and_verify(&self, request: &DynamicMessage) {
        let answer = match self.wire.call(&self.get_token, request).await {
            Ok(answer) => answer,
            Err(status) => return self.fail(format!("GetToken: {:?}: {}", status.code(), status.message())),
        };
        self.count();
        let mut question = self.verify_token.empty_request();
        match answer.get_field_by_name("access_token") {
            Some(token) => question.set_field_by_name("token", token.into_owned()),
            None => return self.fail("GetToken: the answer has no access_token".to_owned()),
        }
        match self.wire.call(&self.verify_token, &question).await {
            Ok(verdict) => match tenant_of(&verdict) {
                Some(tenant) if tenant == self.tenant => self.count(),
                _ => self.fail(format!("VerifyToken: {}", serde_json::to_string(&verdict).unwrap_or_default())),
            },
            Err(status) => self.fail(format!("VerifyToken: {:?}: {}", status.code(), status.message())),
        }
    }

    fn count(&self) {
        let made = self.made.fetch_add(1, Ordering::AcqRel) + 1;
        self.bar.set_position(made);
        if made >= self.goal.load(Ordering::Acquire) {
            self.reached.notify_one();
        }
    }

    /// Returns once `goal` calls were made.
    async fn reach(&self, goal: u64) {
        self.goal.store(goal, Ordering::Release);
        // A caller that counted before the goal was set tells nothing, but the next one does.
        while self.made.load(Ordering::Acquire) < goal {
            self.reached.notified().await;
        }
        self.goal.store(u64::MAX, Ordering::Release);
    }

    fn fail(&self, failure: String) {
        self.failed.fetch_add(1, Ordering::AcqRel);
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.count();
    }
}

/// The tenant of a verified token; `None` when it was rejected.
fn tenant_of(verdict: &DynamicMessage) -> Option<String> {
    let Value::Message(verified) = verdict.get_field_by_name("verified")?.into_owned() else { return None };
    if !verdict.has_field_by_name("verified") {
        return None;
    }
    Some(verified.get_field_by_name("tenant")?.as_str()?.to_owned())
}
