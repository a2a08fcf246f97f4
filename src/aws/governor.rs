//! The account's quotas: every call waits for its turn, so that AWS never has to throttle.
//!
//! There is a limit for each category of Cognito's quota table in each Region, and one for each operation on each user
//! pool. Calls are spaced evenly: in no second, wherever it begins, are there more than the quota allows, whether AWS
//! counts in windows or in buckets (which it does not say). Whoever waits is served in order. A call that would have to
//! wait longer than it may is Throttled without having been made.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::Quotas;
use crate::broker::ports::{Clock, Fault, Peer, PortError, PortResult};
use crate::domain::id::UserPoolId;
use crate::runtime::wall_clock::WallClock;

/// Operations on pools whose limits are held in memory: more than there can be in use within a few seconds.
const MAX_POOL_LIMITS: u64 = 50_000;
/// After this time without a call, a limit is as good as new.
const IDLE: Duration = Duration::from_secs(60);
/// No single wait is longer than this, since the spacing of the slowest limit is a second. A longer one means that the
/// clock was set back.
const LONGEST_SPACING: Duration = Duration::from_secs(2);

/// The categories that AWS counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    ClientAuthentication,
    AppClientReads,
    AppClientUpdates,
    UserPoolReads,
    UserPoolUpdates,
    ResourceServerReads,
    ResourceServerUpdates,
    /// The three operations on an app client's secrets, which are in no published category: bounded by pool alone.
    ClientSecrets,
    SecretReads,
    SecretWrites,
    /// DynamoDB, which grows with what is asked of it: bounded by what is under way, not by time.
    Registry,
}

/// A call that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub region: &'a str,
    pub category: Category,
    pub operation: &'static str,
    /// The pool that it is about, where it is about one.
    pub pool: Option<&'a UserPoolId>,
}

pub struct Governor {
    quotas: Quotas,
    longest_wait: Duration,
    clock: Arc<dyn Clock>,
    categories: moka::sync::Cache<(String, Category), Arc<Limit>>,
    pools: moka::sync::Cache<(&'static str, UserPoolId), Arc<Limit>>,
}

impl Governor {
    pub fn new(quotas: &Quotas, longest_wait: Duration, clock: Arc<dyn Clock>) -> Self {
        Governor {
            quotas: quotas.clone(),
            longest_wait,
            clock,
            // As many as Regions times categories, which configuration bounds.
            categories: moka::sync::Cache::new(1_000),
            pools: moka::sync::Cache::builder().max_capacity(MAX_POOL_LIMITS).time_to_idle(IDLE).build(),
        }
    }

    /// Returns when the call may be made. Fails with Throttled when it would have to wait too long.
    pub async fn turn(&self, peer: Peer, call: Call<'_>) -> PortResult<()> {
        let deadline = later(self.clock.now(), self.longest_wait);
        let throttled = |quota: &str| {
            let detail = format!("the quota of {quota} in {} is used up for {:?}", call.region, self.longest_wait);
            PortError::new(peer, Fault::Throttled, call.operation, detail)
        };
        if let Some(pool) = call.pool
            && call.category != Category::ClientAuthentication
        {
            let make = || Arc::new(Limit::new(self.quotas.per_operation_and_pool, &self.clock));
            let limit = self.pools.get_with((call.operation, pool.clone()), make);
            limit.wait(&self.clock, deadline).await.map_err(|_| throttled(&format!("{} on {pool}", call.operation)))?;
        }
        if let Some(a_second) = self.a_second(call.category) {
            let make = || Arc::new(Limit::new(a_second, &self.clock));
            let limit = self.categories.get_with((call.region.to_owned(), call.category), make);
            limit.wait(&self.clock, deadline).await.map_err(|_| throttled(&format!("{:?}", call.category)))?;
        }
        Ok(())
    }

    fn a_second(&self, category: Category) -> Option<u32> {
        let quotas = &self.quotas;
        match category {
            Category::ClientAuthentication => Some(quotas.client_authentication),
            Category::AppClientReads => Some(quotas.app_client_reads),
            Category::AppClientUpdates => Some(quotas.app_client_updates),
            Category::UserPoolReads => Some(quotas.user_pool_reads),
            Category::UserPoolUpdates => Some(quotas.user_pool_updates),
            Category::ResourceServerReads => Some(quotas.resource_server_reads),
            Category::ResourceServerUpdates => Some(quotas.resource_server_updates),
            Category::ClientSecrets | Category::Registry => None,
            Category::SecretReads => Some(quotas.secret_reads),
            Category::SecretWrites => Some(quotas.secret_writes),
        }
    }
}

/// One limit, and the line of those who wait for it: its lock is fair, and only its holder looks at the limiter.
struct Limit {
    quota: Quota,
    line: Mutex<Limiter>,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, WallClock, NoOpMiddleware<Nanos>>;

struct TooLong;

impl Limit {
    fn new(a_second: u32, clock: &Arc<dyn Clock>) -> Self {
        let quota = spacing(a_second);
        Limit { quota, line: Mutex::new(limiter(quota, clock)) }
    }

    async fn wait(&self, clock: &Arc<dyn Clock>, deadline: Timestamp) -> Result<(), TooLong> {
        let mut limiter = self.line.lock().await;
        loop {
            let Err(not_yet) = limiter.check() else { return Ok(()) };
            let now = WallClock(clock.clone());
            let wait = not_yet.wait_time_from(governor::clock::Clock::now(&now));
            if wait > LONGEST_SPACING {
                *limiter = self::limiter(self.quota, clock);
                continue;
            }
            let time = later(clock.now(), wait);
            if time > deadline {
                return Err(TooLong);
            }
            clock.sleep_until(time).await;
        }
    }
}

/// One call after the other, evenly over a second. Timers are no finer than a millisecond, so fast limits let a few pass
/// at once, and so many fewer a second.
fn spacing(a_second: u32) -> Quota {
    let burst = NonZeroU32::new(a_second / 50).unwrap_or(NonZeroU32::MIN);
    let spaced = if a_second < 50 { a_second } else { a_second - burst.get() };
    // Rounded up, or one too many would fit into the last nanoseconds of a second.
    let period = Duration::from_nanos(1_000_000_000_u64.div_ceil(u64::from(spaced.max(1))));
    Quota::with_period(period).map_or(Quota::per_second(NonZeroU32::MIN), |quota| quota.allow_burst(burst))
}

fn limiter(quota: Quota, clock: &Arc<dyn Clock>) -> Limiter {
    RateLimiter::direct_with_clock(quota, WallClock(clock.clone()))
}

pub(super) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::ManualClock;

    const QUOTAS: Quotas = Quotas {
        client_authentication: 150,
        app_client_reads: 15,
        app_client_updates: 15,
        user_pool_reads: 15,
        user_pool_updates: 15,
        resource_server_reads: 20,
        resource_server_updates: 15,
        per_operation_and_pool: 5,
        secret_reads: 10_000,
        secret_writes: 50,
    };

    fn at_rest(longest_wait: Duration) -> (Arc<ManualClock>, Arc<Governor>) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_767_225_600).expect("in range")));
        (clock.clone(), Arc::new(Governor::new(&QUOTAS, longest_wait, clock)))
    }

    fn pool(number: usize) -> UserPoolId {
        UserPoolId::parse("pool", &format!("local_{number}")).expect("valid")
    }

    /// Makes so many calls at once, and gives the times at which they may go ahead.
    async fn times(
        clock: &Arc<ManualClock>,
        governor: &Arc<Governor>,
        category: Category,
        pools: Option<usize>,
        calls: usize,
    ) -> Vec<Timestamp> {
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..calls {
            let (clock, governor) = (clock.clone(), governor.clone());
            waiting.spawn(async move {
                let pool = pools.map(|pools| pool(number % pools));
                let call = Call { region: "local", category, operation: "Do", pool: pool.as_ref() };
                governor.turn(Peer::UserPools, call).await.map(|()| clock.now())
            });
        }
        let mut times = Vec::new();
        while times.len() < calls {
            tokio::select! {
                biased;
                Some(time) = waiting.join_next() => times.push(time.expect("ran").expect("its turn")),
                () = async {
                    clock.wait_for_sleepers(1).await;
                    clock.set(clock.next_wake().expect("somebody sleeps"));
                    // Whoever woke goes first; then the next may be waited for.
                    tokio::task::yield_now().await;
                } => {}
            }
        }
        times.sort();
        times
    }

    fn most_in_a_second(times: &[Timestamp]) -> usize {
        let within = |start: Timestamp| {
            let end = start + Duration::from_secs(1);
            times.iter().filter(move |time| (start..end).contains(time))
        };
        times.iter().map(|start| within(*start).count()).max().unwrap_or(0)
    }

    #[tokio::test]
    async fn no_second_holds_more_calls_than_the_quota_and_none_is_wasted() {
        let hour = Duration::from_secs(3600);
        let cases =
            [(Category::AppClientUpdates, 15), (Category::ClientAuthentication, 150), (Category::SecretWrites, 50)];
        for (category, a_second) in cases {
            let (clock, governor) = at_rest(hour);
            let times = times(&clock, &governor, category, None, a_second * 10).await;
            assert!(most_in_a_second(&times) <= a_second, "{category:?}: {}", most_in_a_second(&times));
            let took = times[times.len() - 1].duration_since(times[0]).as_secs_f64();
            assert!((9.8..10.6).contains(&took), "{category:?} took {took} s");
        }
    }

    #[tokio::test]
    async fn a_pool_has_a_limit_of_its_own_for_each_operation() {
        let (clock, governor) = at_rest(Duration::from_secs(3600));
        let alone = times(&clock, &governor, Category::ClientSecrets, Some(1), 50).await;
        assert_eq!(most_in_a_second(&alone), 5);
        let twelve = times(&clock, &governor, Category::ClientSecrets, Some(12), 600).await;
        assert_eq!(most_in_a_second(&twelve), 60);
    }

    #[tokio::test]
    async fn a_call_that_would_wait_too_long_is_throttled_unmade() {
        let (_clock, governor) = at_rest(Duration::ZERO);
        let call = Call { region: "local", category: Category::AppClientReads, operation: "Do", pool: None };
        governor.turn(Peer::UserPools, call).await.expect("the first");
        let error = governor.turn(Peer::UserPools, call).await.expect_err("too long");
        assert!(error.is(Fault::Throttled) && error.detail.contains("AppClientReads"), "{error}");
        let elsewhere = Call { region: "elsewhere", ..call };
        governor.turn(Peer::UserPools, elsewhere).await.expect("another Region");
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_stops_nobody() {
        let (clock, governor) = at_rest(Duration::from_secs(5));
        let call = Call { region: "local", category: Category::AppClientReads, operation: "Do", pool: None };
        governor.turn(Peer::UserPools, call).await.expect("the first");
        clock.set(clock.now() - Duration::from_secs(86_400));
        governor.turn(Peer::UserPools, call).await.expect("not a day later");
    }
}
