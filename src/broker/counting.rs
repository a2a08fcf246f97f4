//! What the broker counts while it works: tokens handed out and fetched, verdicts, runs of journals.
//!
//! Counting is adding to a number in memory; whoever looks adds up ([`telling`](super::telling)). A hit and a verdict that
//! is given again are counted by whoever gives them again, so that nothing is asked twice for the sake of counting.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::api::FleetOutcome;
use super::ports::{ENDS, GIVEN_UP, PortResult, TokenEndpoint, end_of};
use super::settings::Settings;
use crate::counts::{Count, Counts, Striped};
use crate::domain::claims::Rule;
use crate::domain::id::{AppClientId, TenantId};
use crate::domain::journal::Task;
use crate::domain::pool::MadePool;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::ClientSecret;
use crate::domain::token::AccessToken;
use crate::traces::{self, Span};

/// The kinds of journals.
pub(super) const TASKS: [&str; 10] = [
    "onboard-tenant",
    "apply-user-pool",
    "offboard-tenant",
    "issue-client",
    "apply-client",
    "retire-client",
    "rotate-secret",
    "apply-catalog",
    "apply-providers",
    "move-tenant",
];

/// What becomes of a client that is rotated with others.
pub(super) const FLEET_OUTCOMES: [&str; 3] = ["promoted", "failed", "skipped"];

/// The broker's counters.
pub struct Counting {
    pub(super) hits: Striped,
    pub(super) misses: Count,
    pub(super) streamed: Count,
    pub(super) shared: Count,
    pub(super) fetches: Counts<{ ENDS.len() }>,
    pub(super) verified: Striped,
    pub(super) rejected: Counts<{ Rule::ALL.len() }>,
    pub(super) runs_done: Counts<{ TASKS.len() }>,
    pub(super) runs_failed: Counts<{ TASKS.len() }>,
    /// Clients of fleets, by what became of them.
    pub(super) seen_to: Counts<{ FLEET_OUTCOMES.len() }>,
    /// Tokens fetched for these tenants, and for no others.
    pub(super) tenants: BTreeMap<TenantId, Count>,
    /// Of a token, in millionths of a US dollar.
    pub(super) token_price: u64,
}

impl Counting {
    pub(super) fn new(settings: &Settings) -> Self {
        Counting {
            hits: Striped::default(),
            misses: Count::default(),
            streamed: Count::default(),
            shared: Count::default(),
            fetches: Counts::default(),
            verified: Striped::default(),
            rejected: Counts::default(),
            runs_done: Counts::default(),
            runs_failed: Counts::default(),
            seen_to: Counts::default(),
            tenants: settings.told_tenants.iter().map(|tenant| (tenant.clone(), Count::default())).collect(),
            token_price: settings.tokens.price,
        }
    }

    /// A token was handed out that was held.
    pub fn hit(&self) {
        self.hits.count();
    }

    /// A token was called good.
    pub fn verified(&self) {
        self.verified.count();
    }

    pub(super) fn rejected(&self, rule: Rule) {
        self.rejected.count(rule as usize);
    }

    pub(super) fn fetched_for(&self, tenant: &TenantId) {
        if let Some(count) = self.tenants.get(tenant) {
            count.add(1);
        }
    }

    pub(super) fn ran<T, E>(&self, task: &Task, result: &Result<T, E>) {
        let runs = if result.is_ok() { &self.runs_done } else { &self.runs_failed };
        runs.count(match task {
            Task::OnboardTenant(_) => 0,
            Task::ApplyUserPool(_) => 1,
            Task::OffboardTenant(_) => 2,
            Task::IssueClient(_) => 3,
            Task::ApplyClient(_) => 4,
            Task::RetireClient(_) => 5,
            Task::RotateSecret(_) => 6,
            Task::ApplyCatalog => 7,
            Task::ApplyProviders(_) => 8,
            Task::MoveTenant(_) => 9,
        });
    }

    pub(super) fn saw_to(&self, outcome: &FleetOutcome) {
        match outcome {
            FleetOutcome::Planned(_) => {}
            FleetOutcome::Promoted(_) => self.seen_to.count(0),
            FleetOutcome::Behind(..) => self.seen_to.count(1),
            FleetOutcome::PassedOver(_) => self.seen_to.count(2),
        }
    }

    /// Tokens that the endpoint has given, each of which is paid for.
    pub(super) fn fetched(&self) -> u64 {
        self.fetches.get(0)
    }
}

/// A token endpoint whose answers are counted: each token is paid for, whatever it is fetched for.
pub(super) struct CountedEndpoint {
    pub inner: Arc<dyn TokenEndpoint>,
    pub counting: Arc<Counting>,
}

/// A fetch under way. It was given up unless it is said how it ended.
struct Fetch<'a> {
    counting: &'a Counting,
    ended: usize,
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.counting.fetches.count(self.ended);
    }
}

#[async_trait]
impl TokenEndpoint for CountedEndpoint {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        let mut fetch = Fetch { counting: &self.counting, ended: GIVEN_UP };
        let span = Span::of_peer("fetch a token", &[]);
        let fetched = traces::within(span.as_ref(), pin!(self.inner.fetch(pool, client, secret, scopes))).await;
        fetch.ended = end_of(&fetched);
        if let (Some(span), Err(_)) = (&span, &fetched) {
            span.failed(ENDS[fetch.ended]);
        }
        fetched
    }
}
