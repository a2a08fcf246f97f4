//! The account's quotas: every call waits for its turn, so that AWS never has to throttle.
//!
//! There is a limit for each category of Cognito's quota table in each Region, and one for each operation on each user
//! pool. Calls are spaced evenly: in no second, wherever it begins, are there more than the quota allows, whether AWS
//! counts in windows or in buckets (which it does not say). Whoever waits is served in order. A call that would have to
//! wait longer than it may is Throttled without having been made.
//!
//! Who needs both limits keeps the head of the pool's line until the category lets them go, and both are used up then. So what
//! has waited for a busy category never leaves in a heap that is too much for its pool; and of each operation on a pool one
//! call at a time is in the category's line, so nobody's many are in the way of others.
//!
//! Where several brokers use one account, each limit is the broker's [`Share`](crate::domain::share::Share) of the quota, as
//! it is at the moment of the call: whoever waits when it changes waits by the new one. While there is none nobody has a turn.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, MutexGuard};

use super::Quotas;
use super::pace::Pace;
use super::usage::Used;
use crate::broker::ports::{Clock, Fault, Peer, PortError, PortResult, ShareInForce};
use crate::domain::id::UserPoolId;

/// Operations on pools whose limits are held in memory: more than there can be in use within a few seconds.
const MAX_POOL_LIMITS: u64 = 50_000;
/// After this time without a call, a limit is as good as new.
const IDLE: Duration = Duration::from_secs(60);

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
    /// KMS, which allows thousands a second where a broker asks a few times in its life.
    DataKeys,
}

impl Category {
    /// As `[aws.quotas]` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Category::ClientAuthentication => "client_authentication",
            Category::AppClientReads => "app_client_reads",
            Category::AppClientUpdates => "app_client_updates",
            Category::UserPoolReads => "user_pool_reads",
            Category::UserPoolUpdates => "user_pool_updates",
            Category::ResourceServerReads => "resource_server_reads",
            Category::ResourceServerUpdates => "resource_server_updates",
            Category::ClientSecrets => "client_secrets",
            Category::SecretReads => "secret_reads",
            Category::SecretWrites => "secret_writes",
            Category::Registry => "registry",
            Category::DataKeys => "data_keys",
        }
    }
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
    share: Arc<ShareInForce>,
    categories: moka::sync::Cache<(String, Category), Arc<Limit>>,
    pools: moka::sync::Cache<(&'static str, UserPoolId), Arc<Limit>>,
}

impl Governor {
    pub fn new(quotas: &Quotas, longest_wait: Duration, clock: Arc<dyn Clock>, share: Arc<ShareInForce>) -> Self {
        Governor {
            quotas: quotas.clone(),
            longest_wait,
            clock,
            share,
            // As many as Regions times categories, which configuration bounds.
            categories: moka::sync::Cache::new(1_000),
            pools: moka::sync::Cache::builder().max_capacity(MAX_POOL_LIMITS).time_to_idle(IDLE).build(),
        }
    }

    /// Returns when the call may be made. Fails with Throttled when it would have to wait too long.
    pub async fn turn(&self, peer: Peer, call: Call<'_>) -> PortResult<()> {
        let deadline = later(self.clock.now(), self.longest_wait);
        let throttled = |quota: &str, why: NoTurn| {
            let detail = match why {
                NoTurn::TooLong => {
                    format!("the quota of {quota} in {} is used up for {:?}", call.region, self.longest_wait)
                }
                NoTurn::NoShare => "the other brokers do not count this one yet, or are out of its sight".to_owned(),
            };
            PortError::new(peer, Fault::Throttled, call.operation, detail)
        };
        let is_counted_by_pool = call.category != Category::ClientAuthentication;
        let of_pool = call.pool.filter(|_| is_counted_by_pool).map(|pool| {
            let make = || Arc::new(Limit::new(self.quotas.per_operation_and_pool));
            self.pools.get_with((call.operation, pool.clone()), make)
        });
        let of_category = self.a_second(call.category).map(|a_second| {
            let make = || Arc::new(Limit::new(a_second));
            self.categories.get_with((call.region.to_owned(), call.category), make)
        });
        let mut in_pool = match &of_pool {
            Some(limit) => Some(limit.line_up().await),
            None => None,
        };
        loop {
            if let (Some(head), Some(pool)) = (&mut in_pool, call.pool) {
                let turn = head.wait(self, deadline).await;
                turn.map_err(|why| throttled(&format!("{} on {pool}", call.operation), why))?;
            }
            let mut in_category = None;
            if let Some(limit) = &of_category {
                let head = in_category.insert(limit.line_up().await);
                let turn = head.wait(self, deadline).await;
                turn.map_err(|why| throttled(&format!("{:?}", call.category), why))?;
            }
            let now = self.clock.now();
            let mut heads = [in_pool.as_mut(), in_category.as_mut()];
            // The share may have changed while the pool's head waited in the category's line.
            if heads.iter().flatten().all(|head| head.may_go(self, now).is_ok()) {
                heads.iter_mut().flatten().for_each(|head| head.go(self, now));
                return Ok(());
            }
        }
    }

    /// The limits that were used so far, by Region and category.
    pub(super) fn limits(&self) -> Vec<((String, Category), Arc<Limit>)> {
        self.categories.iter().map(|(key, limit)| ((*key).clone(), limit)).collect()
    }

    /// Calls a second that a limit allows now.
    pub(super) fn rate(&self, limit: &Limit, now: Timestamp) -> f64 {
        let share = *self.share.watch().borrow();
        share.rate(limit.a_second, now).map_or(0.0, |rate| f64::from(rate.calls) / f64::from(rate.seconds.max(1)))
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
            Category::ClientSecrets | Category::Registry | Category::DataKeys => None,
            Category::SecretReads => Some(quotas.secret_reads),
            Category::SecretWrites => Some(quotas.secret_writes),
        }
    }
}

/// One limit, and the line of those who wait for it: its lock is fair, and only its holder looks at the pace.
pub(super) struct Limit {
    a_second: u32,
    pub(super) used: Used,
    line: Mutex<Pace>,
}

enum NoTurn {
    TooLong,
    NoShare,
}

impl Limit {
    fn new(a_second: u32) -> Self {
        Limit { a_second, used: Used::default(), line: Mutex::default() }
    }

    async fn line_up(&self) -> Head<'_> {
        Head { limit: self, pace: self.line.lock().await }
    }
}

/// Whoever is first in a line.
struct Head<'a> {
    limit: &'a Limit,
    pace: MutexGuard<'a, Pace>,
}

impl Head<'_> {
    /// Returns when it may go. Nothing is used up by that.
    async fn wait(&mut self, governor: &Governor, deadline: Timestamp) -> Result<(), NoTurn> {
        let turn = self.wait_for_pace(governor, deadline).await;
        if turn.is_err() {
            self.limit.used.refused.add(1);
        }
        turn
    }

    async fn wait_for_pace(&self, governor: &Governor, deadline: Timestamp) -> Result<(), NoTurn> {
        let mut changes = governor.share.watch();
        loop {
            changes.borrow_and_update();
            let now = governor.clock.now();
            let time = match self.may_go(governor, now) {
                Ok(()) => return Ok(()),
                Err(Some(time)) if time > deadline => return Err(NoTurn::TooLong),
                Err(Some(time)) => time,
                Err(None) if now >= deadline => return Err(NoTurn::NoShare),
                Err(None) => deadline,
            };
            tokio::select! {
                // The sender is the governor's own, so this is a change.
                _ = changes.changed() => {}
                () = governor.clock.sleep_until(time) => {}
            }
        }
    }

    /// Whether it may, or from when on. `None` without a share.
    fn may_go(&self, governor: &Governor, now: Timestamp) -> Result<(), Option<Timestamp>> {
        let share = *governor.share.watch().borrow();
        let rate = share.rate(self.limit.a_second, now).ok_or(None)?;
        self.pace.look(rate, now).map_err(Some)
    }

    /// The call is made.
    fn go(&mut self, governor: &Governor, now: Timestamp) {
        let share = *governor.share.watch().borrow();
        if let Some(rate) = share.rate(self.limit.a_second, now) {
            self.pace.count(rate, now);
            self.limit.used.one(now);
        }
    }
}

pub(super) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::share::Share;
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
        let share = Arc::new(ShareInForce::new(Share::Whole));
        (clock.clone(), Arc::new(Governor::new(&QUOTAS, longest_wait, clock, share)))
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
    async fn a_pool_keeps_its_limit_behind_a_busy_category_and_no_other_waits_for_it() {
        let (clock, governor) = at_rest(Duration::from_secs(3600));
        let start = clock.now();
        // One of each of 45 pools, then 20 of a single one.
        let pools = (1..=45).chain(std::iter::repeat_n(0, 20));
        let mut waiting = tokio::task::JoinSet::new();
        for number in pools {
            let (clock, governor) = (clock.clone(), governor.clone());
            waiting.spawn(async move {
                let (category, pool) = (Category::AppClientUpdates, pool(number));
                let call = Call { region: "local", category, operation: "Do", pool: Some(&pool) };
                governor.turn(Peer::UserPools, call).await.expect("its turn");
                (number, clock.now())
            });
        }
        let mut times = Vec::new();
        while times.len() < 65 {
            tokio::select! {
                biased;
                Some(time) = waiting.join_next() => times.push(time.expect("ran")),
                () = async {
                    clock.wait_for_sleepers(1).await;
                    clock.set(clock.next_wake().expect("somebody sleeps"));
                    tokio::task::yield_now().await;
                } => {}
            }
        }
        let of = |is_it: fn(usize) -> bool| {
            let mut of: Vec<_> = times.iter().filter(|(pool, _)| is_it(*pool)).map(|(_, time)| *time).collect();
            of.sort();
            of
        };
        let (one, others, all) = (of(|pool| pool == 0), of(|pool| pool > 0), of(|_| true));
        assert!(most_in_a_second(&one) <= 5, "{}", most_in_a_second(&one));
        assert!(most_in_a_second(&all) <= 15, "{}", most_in_a_second(&all));
        // 45 calls at 15 a second, and the few of the one pool that came between.
        let took = others[44].duration_since(start).as_secs_f64();
        assert!(took < 3.3, "the others took {took} s");
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

    #[tokio::test]
    async fn a_share_is_held_and_a_change_of_it_counts_for_those_who_wait() {
        let (clock, governor) = at_rest(Duration::from_secs(3600));
        let part = |place, among| Share::Part { place, among, end_time: Timestamp::MAX };
        for (share, calls, least, most) in
            [(part(0, 2), 80, 9.8, 10.0), (part(1, 2), 70, 9.8, 10.0), (part(39, 40), 4, 7.9, 8.1)]
        {
            governor.share.set(share);
            clock.advance(Duration::from_secs(60));
            let times = times(&clock, &governor, Category::AppClientUpdates, None, calls).await;
            let took = times[times.len() - 1].duration_since(times[0]).as_secs_f64();
            assert!((least..most).contains(&took), "{share:?} took {took} s");
        }

        // The next would be in 2.7 s. With the whole quota it is a 15th of a second after the last.
        let start = clock.now();
        let waiting = tokio::spawn({
            let governor = governor.clone();
            let call = Call { region: "local", category: Category::AppClientUpdates, operation: "Do", pool: None };
            async move { governor.turn(Peer::UserPools, call).await }
        });
        clock.wait_for_sleepers(1).await;
        governor.share.set(Share::Whole);
        while clock.next_wake().is_none_or(|time| time > start + Duration::from_secs(1)) {
            tokio::task::yield_now().await;
        }
        clock.set(clock.next_wake().expect("it waits"));
        waiting.await.expect("ran").expect("its turn");
    }

    #[tokio::test]
    async fn without_a_share_nobody_has_a_turn_and_one_that_ends_is_none() {
        let (clock, governor) = at_rest(Duration::ZERO);
        let call = Call { region: "local", category: Category::ClientAuthentication, operation: "Do", pool: None };
        let end_time = clock.now() + Duration::from_secs(15);
        for (share, has_turn) in [(Share::Nothing, false), (Share::Part { place: 0, among: 3, end_time }, true)] {
            governor.share.set(share);
            assert_eq!(governor.turn(Peer::TokenEndpoint, call).await.is_ok(), has_turn, "{share:?}");
        }
        clock.set(end_time);
        let error = governor.turn(Peer::TokenEndpoint, call).await.expect_err("it is over");
        assert!(error.is(Fault::Throttled) && error.detail.contains("out of its sight"), "{error}");
    }
}
