//! Cognito's and Secrets Manager's quotas, by the clock: a token bucket for each account, Region and category, and one
//! for each operation on each pool.
//!
//! The numbers are AWS's own, from its documentation; they are written here a second time on purpose, so that the
//! program's idea of them is held against something.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Call, Service};

const NANOS: i128 = 1_000_000_000;

/// Calls a second of one operation on one user pool.
const PER_OPERATION_AND_POOL: i128 = 5;

/// What operations of the categories `UserPoolResourceRead` and `UserPoolResourceUpdate` have in their names.
const IN_POOLS: [&str; 7] = [
    "ResourceServer",
    "UserPoolDomain",
    "IdentityProvider",
    "MfaConfig",
    "TagResource",
    "UntagResource",
    "TagsForResource",
];

/// Full at first; holds one second's worth and fills evenly.
#[derive(Default)]
pub struct Quotas {
    is_enforced: bool,
    /// When each bucket will be full, in nanoseconds of the clock.
    full: BTreeMap<String, i128>,
    throttled: usize,
}

impl Quotas {
    pub fn enforce(&mut self) {
        self.is_enforced = true;
    }

    /// As if nothing had been asked for yet.
    pub fn refill(&mut self) {
        self.full.clear();
        self.throttled = 0;
    }

    pub fn throttled(&self) -> usize {
        self.throttled
    }

    /// Whether the call may go on. One that may not takes nothing from any bucket.
    pub fn admit(
        &mut self,
        service: Service,
        operation: &str,
        region: &str,
        pool: Option<&str>,
        now: Timestamp,
    ) -> bool {
        if !self.is_enforced {
            return true;
        }
        let buckets = buckets(service, operation, region, pool);
        let now = now.as_nanosecond();
        let filled = |full: &BTreeMap<String, i128>, name: &str, rate: i128| {
            full.get(name).copied().unwrap_or(now).max(now) + NANOS / rate
        };
        let has_room = |(name, rate): &(String, i128)| filled(&self.full, name, *rate) - now <= NANOS;
        if !buckets.iter().all(has_room) {
            self.throttled += 1;
            return false;
        }
        for (name, rate) in buckets {
            let full = filled(&self.full, &name, rate);
            self.full.insert(name, full);
        }
        true
    }
}

/// The shortest time that these calls, of one Region, can be spread over, and by which quota: of each category and of
/// each operation on a pool, as many as there are by as many as there may be in a second. The second's worth that a
/// full bucket holds is left out of account.
pub fn least_time(calls: &[Call]) -> (Duration, String) {
    let mut counts: BTreeMap<(String, i128), u32> = BTreeMap::new();
    for call in calls {
        let (service, operation) = call.action.split_once(':').expect("a service and an operation");
        let is_named = |of: &&Service| of.signing_name() == service;
        let service = *Service::ALL.iter().find(is_named).expect("a service");
        for bucket in buckets(service, operation, &call.region, call.pool.as_deref()) {
            *counts.entry(bucket).or_default() += 1;
        }
    }
    let times = counts
        .into_iter()
        .map(|((name, rate), count)| (Duration::from_secs(1) * count / u32::try_from(rate).expect("a rate"), name));
    times.max().expect("at least one call")
}

/// What a call takes from, each with its calls a second.
fn buckets(service: Service, operation: &str, region: &str, pool: Option<&str>) -> Vec<(String, i128)> {
    let mut buckets = Vec::new();
    if let Some((category, rate)) = category(service, operation) {
        buckets.push((format!("{region} {category}"), rate));
    }
    if let Some(pool) = pool.filter(|_| service == Service::Cognito && operation != "GetClientToken") {
        buckets.push((format!("{pool} {operation}"), PER_OPERATION_AND_POOL));
    }
    buckets
}

/// The category's name and its calls a second; `None` for what is in no published category.
fn category(service: Service, operation: &str) -> Option<(&'static str, i128)> {
    let is_read = ["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb));
    let category = match (service, operation) {
        (Service::Oauth, "Token") | (Service::Cognito, "GetClientToken") => ("client authentication", 150),
        (Service::Oauth, _) => ("key sets", 50_000),
        (Service::Cognito, name) if name.ends_with("ClientSecret") || name.ends_with("ClientSecrets") => return None,
        (Service::Cognito, name) if name.contains("UserPoolClient") => match is_read {
            true => ("app client reads", 15),
            false => ("app client updates", 15),
        },
        (Service::Cognito, name) if IN_POOLS.iter().any(|part| name.contains(part)) => match is_read {
            true => ("resource server reads", 20),
            false => ("resource server updates", 15),
        },
        (Service::Cognito, _) if is_read => ("user pool reads", 15),
        (Service::Cognito, _) => ("user pool updates", 15),
        (Service::SecretsManager, _) if is_read => ("secret reads", 10_000),
        (Service::SecretsManager, _) => ("secret writes", 50),
    };
    Some(category)
}

/// The same numbers in the program's form.
pub fn published() -> keyward::aws::Quotas {
    keyward::aws::Quotas {
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
    }
}
