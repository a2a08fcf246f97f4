//! The broker's limits and periods. The configuration says them; every one has a bound there.

use std::time::Duration;

use crate::domain::id::{TenantId, UserPoolId};
use crate::domain::lease::LeaseTerms;
use crate::domain::quota::Ceilings;
use crate::domain::sign_in::ClaimTerms;

#[derive(Clone, Debug)]
pub struct Settings {
    /// App clients that a shared pool takes before the next pool is used.
    pub app_clients_per_shared_pool: u32,
    /// While fewer shared pools have room, another is made for whoever needs a place in one: 1 to 50.
    pub shared_pools_with_room: usize,
    /// How much the account may have of Cognito's things.
    pub ceilings: Ceilings,
    /// The Regions that pools may be in, the broker's own first. Never empty.
    pub regions: Vec<String>,
    /// Pools that are there already and are used like shared ones, each with its Region.
    pub adopted_pools: Vec<(UserPoolId, String)>,
    /// How long one call may compare the registry with the world before it says that there is more.
    pub reconcile_time: Duration,
    /// Secrets are named `<prefix>/tenants/<tenant>/clients/<client>`.
    pub secret_prefix: String,
    pub reveal_secrets: bool,
    pub tokens: TokenSettings,
    pub verification: VerificationSettings,
    pub rotation: RotationSettings,
    pub journal: JournalSettings,
    pub feed: FeedSettings,
    pub sign_in: SignInSettings,
    /// Tenants whose fetches are counted one by one.
    pub told_tenants: Vec<TenantId>,
    /// Denials of one caller in a minute that are each an event.
    pub denials_per_minute: u32,
    /// How long audit events are kept.
    pub audit_retention: Duration,
}

#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// Clients whose tokens are held in memory.
    pub max_cached: u64,
    pub max_scope_sets_per_client: usize,
    /// Calls to the token endpoint at one time.
    pub max_concurrent_fetches: usize,
    pub fetch_timeout: Duration,
    /// After a failed fetch, the endpoint is not asked again for the same token before this.
    pub retry_after_failure: Duration,
    /// What a token costs, in millionths of a US dollar.
    pub price: u64,
}

#[derive(Clone, Debug)]
pub struct VerificationSettings {
    /// How far another's clock may be off ours.
    pub leeway: Duration,
    /// Verified signatures held in memory.
    pub max_cached: u64,
    /// The least time between two fetches of one issuer's keys.
    pub key_refetch_floor: Duration,
    /// Keys older than this are fetched again in the background.
    pub key_max_age: Duration,
    /// Those who are told of all that verification looks at, at one time.
    pub max_watchers: usize,
    /// How long after they heard last they may verify by themselves.
    pub max_staleness: Duration,
}

#[derive(Clone, Debug)]
pub struct RotationSettings {
    /// How long a new secret may be refused a token before it is given up.
    pub prove_timeout: Duration,
    /// Scheduled rotations are early by up to this many percent of their period, by hash of the client's name.
    pub jitter_percent: u32,
    /// How long a deleted client's secret can be recovered from the vault.
    pub recovery_window: Duration,
}

/// How a broker learns of other brokers' changes, where it shares its registry.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// How often it is asked for changes.
    pub interval: Duration,
    /// How long after it last heard of changes a broker says of a token that it is good.
    pub verdicts_for: Duration,
    /// How long after that it hands out the tokens that it holds.
    pub tokens_for: Duration,
}

/// Telling where people sign in.
#[derive(Clone, Debug)]
pub struct SignInSettings {
    pub claims: ClaimTerms,
    /// Where people sign in of whom nobody knows whose they are.
    pub fallback_url: Option<String>,
}

#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// Journals carried on at one time.
    pub concurrency: usize,
    /// The registry is asked at least this often for what is due.
    pub poll_interval: Duration,
    /// Wait after a first failure; doubles with each further one.
    pub first_retry: Duration,
    pub max_retry: Duration,
    /// How journals are shared with other brokers; `None` where the registry has this one only, which then needs no
    /// leases and writes none. Whoever puts a broker together knows which registry it is given.
    pub lease: Option<LeaseTerms>,
}
