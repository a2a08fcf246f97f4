//! How often: calls of each caller, failed proofs of each source address, and what it asks that anybody may.
//!
//! All are kept for as many as have come last. Whoever is pushed out begins anew, which gives them a little more than
//! their share and takes nothing from anybody else.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::Timestamp;
use moka::policy::EvictionPolicy;

use super::options::Rates;
use crate::broker::ports::Clock;
use crate::domain::caller::Principal;
use crate::domain::error::{Error, Reason, Result};
use crate::net::{Connection, Source};
use crate::runtime::wall_clock::WallClock;

/// Callers, and source addresses, that are counted at one time.
const MAX_COUNTED: u64 = 100_000;
/// So many seconds' worth of failures may come at once: somebody's whole fleet may have an old password.
const FAILURE_BURST_SECONDS: u32 = 10;

type Limiter = RateLimiter<NotKeyed, InMemoryState, WallClock, NoOpMiddleware<Nanos>>;

/// A limit of its own for each key.
struct Limits<K> {
    quota: Quota,
    clock: WallClock,
    limiters: moka::sync::Cache<K, Arc<Limiter>>,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Limits<K> {
    fn new(a_second: u32, burst: u32, clock: WallClock) -> Self {
        let positive = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(positive(a_second)).allow_burst(positive(burst));
        Limits { quota, clock, limiters: most_recent() }
    }

    /// Counts one. Fails with how long to wait when it is one too many.
    fn count(&self, key: &K) -> Result<(), Duration> {
        let limiter = self.limiters.get_with_by_ref(key, || self.limiter());
        let Err(not_yet) = limiter.check() else { return Ok(()) };
        let wait = not_yet.wait_time_from(governor::clock::Clock::now(&self.clock));
        if wait > self.quota.burst_size_replenished_in() + Duration::from_secs(1) {
            // The clock was set back: nobody waits for it to catch up.
            self.limiters.insert(key.clone(), self.limiter());
            return Ok(());
        }
        Err(wait)
    }

    fn limiter(&self) -> Arc<Limiter> {
        Arc::new(RateLimiter::direct_with_clock(self.quota, self.clock.clone()))
    }
}

/// The last to come push out the first, so that nobody who floods stays unseen.
fn most_recent<K: Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static>() -> moka::sync::Cache<K, V> {
    moka::sync::Cache::builder().max_capacity(MAX_COUNTED).eviction_policy(EvictionPolicy::lru()).build()
}

/// What is counted of all calls, whichever door they came by.
pub struct Counts {
    pub(super) calls: CallRates,
    pub(super) failures: Failures,
    strangers: Limits<Origin>,
}

impl Counts {
    pub fn new(rates: &Rates, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Counts {
            calls: CallRates::new(rates, clock.clone()),
            failures: Failures::new(rates, clock.clone()),
            strangers: Limits::new(rates.calls_per_second, rates.calls_burst, WallClock(clock)),
        })
    }

    /// Counts a call that asks for what anybody may have, by where it comes from: as many as of one caller. Fails with
    /// RATE_LIMITED.
    pub fn count_stranger(&self, connection: &Connection) -> Result<()> {
        let counted = self.strangers.count(&Origin::of(Some(connection)));
        counted.map_err(|wait| limited("too many calls come from there", wait))
    }
}

/// Calls, by caller.
pub(super) struct CallRates(Limits<Principal>);

impl CallRates {
    pub fn new(rates: &Rates, clock: Arc<dyn Clock>) -> Self {
        CallRates(Limits::new(rates.calls_per_second, rates.calls_burst, WallClock(clock)))
    }

    /// Fails with RATE_LIMITED.
    pub fn count(&self, caller: &Principal) -> Result<()> {
        self.0.count(caller).map_err(|wait| limited("this caller asks too often", wait))
    }
}

/// Failed proofs, by where they come from.
pub(super) struct Failures {
    limits: Limits<Origin>,
    /// Until when nothing of an origin is looked at, in milliseconds since 1970.
    shut_until: moka::sync::Cache<Origin, Arc<AtomicI64>>,
    clock: Arc<dyn Clock>,
}

/// Whose failures are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// An IPv4 address, or the /64 that an IPv6 address is in: one host has all of it (RFC 7421).
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
    Unknown,
}

impl Origin {
    pub fn of(connection: Option<&Connection>) -> Self {
        match connection.map(Connection::source) {
            Some(Source::Tcp(address)) => Origin::Address(match address.ip().to_canonical() {
                IpAddr::V6(address) => {
                    let mask = u128::from(u64::MAX) << 64;
                    IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
                }
                address => address,
            }),
            Some(Source::Unix { uid, .. }) => Origin::User(uid),
            None => Origin::Unknown,
        }
    }
}

impl Failures {
    pub fn new(rates: &Rates, clock: Arc<dyn Clock>) -> Self {
        let a_second = rates.failures_per_second;
        let burst = a_second.saturating_mul(FAILURE_BURST_SECONDS);
        let limits = Limits::new(a_second, burst, WallClock(clock.clone()));
        Failures { limits, shut_until: most_recent(), clock }
    }

    /// Whether a proof from there is looked at. Fails with RATE_LIMITED.
    pub fn admit(&self, origin: &Origin) -> Result<()> {
        let Some(until) = self.shut_until.get(origin) else { return Ok(()) };
        let left = until.load(Ordering::Relaxed).saturating_sub(self.now());
        match u64::try_from(left) {
            // Longer than it is ever shut for: the clock was set back.
            Ok(1..=10_000) => Err(too_many(Duration::from_millis(left.unsigned_abs()))),
            _ => Ok(()),
        }
    }

    /// Counts a failure, and says what to answer: the failure itself, or RATE_LIMITED.
    pub fn count(&self, origin: Origin, failure: Error) -> Error {
        let Err(wait) = self.limits.count(&origin) else { return failure };
        let until = self.now().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        self.shut_until.get_with(origin, Arc::default).store(until, Ordering::Relaxed);
        too_many(wait)
    }

    fn now(&self) -> i64 {
        Timestamp::as_millisecond(self.clock.now())
    }
}

fn too_many(wait: Duration) -> Error {
    limited("too many calls from there failed to prove who they are", wait)
}

fn limited(message: &'static str, wait: Duration) -> Error {
    Error::new(Reason::RateLimited, message).retry_after(wait.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::ManualClock;

    const RATES: Rates = Rates { calls_per_second: 10, calls_burst: 20, failures_per_second: 2 };

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_second(1_767_225_600).expect("in range")))
    }

    fn from(address: &str) -> Origin {
        let source = Source::Tcp(std::net::SocketAddr::new(address.parse().expect("an address"), 1));
        Origin::of(Some(&Connection::new(source, Vec::new())))
    }

    fn failure() -> Error {
        Error::new(Reason::CredentialsInvalid, "no")
    }

    #[test]
    fn each_caller_has_a_rate_of_its_own() {
        let clock = clock();
        let rates = CallRates::new(&RATES, clock.clone());
        let passed = |caller: &Principal, calls: usize| (0..calls).filter(|_| rates.count(caller).is_ok()).count();
        assert_eq!(passed(&Principal::User(1), 100), 20);
        assert_eq!(passed(&Principal::User(2), 5), 5);
        let error = rates.count(&Principal::User(1)).expect_err("too often");
        assert_eq!((error.reason(), error.retry_delay()), (Reason::RateLimited, Some(Duration::from_millis(100))));
        clock.advance(Duration::from_secs(1));
        assert_eq!(passed(&Principal::User(1), 100), 10);
        clock.set(clock.now() - Duration::from_secs(86_400));
        assert!(passed(&Principal::User(1), 100) > 0, "a clock that is set back shuts out nobody for a day");
    }

    #[test]
    fn who_fails_too_often_is_not_looked_at_and_nobody_else_minds() {
        let clock = clock();
        let failures = Failures::new(&RATES, clock.clone());
        let (bad, good) = (from("192.0.2.1"), from("192.0.2.2"));
        for _ in 0..20 {
            failures.admit(&bad).expect("looked at");
            assert_eq!(failures.count(bad, failure()).reason(), Reason::CredentialsInvalid);
        }
        assert_eq!(failures.count(bad, failure()).reason(), Reason::RateLimited);
        let error = failures.admit(&bad).expect_err("shut");
        assert_eq!((error.reason(), error.retry_delay()), (Reason::RateLimited, Some(Duration::from_millis(500))));
        failures.admit(&good).expect("nobody else");
        clock.advance(Duration::from_millis(500));
        failures.admit(&bad).expect("again");
        assert_eq!(failures.count(bad, failure()).reason(), Reason::CredentialsInvalid);
        assert_eq!(failures.count(bad, failure()).reason(), Reason::RateLimited);
        clock.set(clock.now() - Duration::from_secs(86_400));
        failures.admit(&bad).expect("not a day later");
    }

    #[test]
    fn an_origin_is_what_one_host_has() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:0:0:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let failures = Failures::new(&RATES, clock());
        for uid in 0..200_000 {
            let _ = failures.count(Origin::User(uid), failure());
        }
        failures.limits.limiters.run_pending_tasks();
        assert!(failures.limits.limiters.entry_count() <= MAX_COUNTED);
    }
}
