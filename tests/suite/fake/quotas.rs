//! Cognito's and Secrets Manager's quotas, by the clock: a token bucket for each account, Region and category, and one
//! for each operation on each pool.
//!
//! The numbers are AWS's own, from its documentation; they are written here a second time on purpose, so that the
//! program's idea of them is held against something.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Service;

const NANOS: i128 = 1_000_000_000;

/// Calls a second of one operation on one user pool.
const PER_OPERATION_AND_POOL: i128 = 5;

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
        let mut buckets = Vec::new();
        if let Some((category, rate)) = category(service, operation) {
            buckets.push((format!("{region} {category}"), rate));
        }
        if let Some(pool) = pool.filter(|_| service == Service::Cognito && operation != "GetClientToken") {
            buckets.push((format!("{pool} {operation}"), PER_OPERATION_AND_POOL));
        }
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
        (Service::Cognito, name) if name.contains("ResourceServer") || name.ends_with("Domain") => match is_read {
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
