//! What follows from a platform's size, for each model of tenancy.
//!
//! The calls of a step are those that `tests/suite/fleet.rs` and `tests/suite/fleet/onboarding.rs` hold the program to.

use keyward::config::Config;

use super::table::{count, time};
use super::{Args, prices};

/// Share of a token's life after which Keyward fetches the next one, if somebody asks (`broker/tokens.rs`: 70 to 75 %).
const REFRESHED_AT: f64 = 0.75;
/// What one client's onboarding calls: changes of secrets, and of app clients. And one token.
const SECRET_WRITES_OF_A_CLIENT: f64 = 3.0;
const UPDATES_OF_A_CLIENT: f64 = 1.0;
/// Calls of Secrets Manager in a rotation, the look before each step included.
const SECRET_CALLS_OF_A_ROTATION: f64 = 20.0;
/// Secrets of an account in one Region (Secrets Manager's quotas, "Secrets").
const SECRETS: f64 = 500_000.0;

/// A platform, in both models.
pub struct Plan {
    pub tenants: f64,
    pub title: String,
    pub shared: Model,
    pub own: Model,
}

/// One model of tenancy. Counts and dollars are of a month.
pub struct Model {
    pub user_pools: f64,
    /// Secrets are as many.
    pub app_clients: f64,
    pub tokens: f64,
    pub tokens_without_cache: f64,
    /// Calls of Secrets Manager.
    pub secret_calls: f64,
    pub token_price: f64,
    /// The quotas, the one that is reached first in front.
    pub limits: Vec<Limit>,
    /// Seconds, and by which quota.
    pub onboarding: (f64, &'static str),
}

/// A quota, and at how many tenants of this kind it is reached.
#[derive(Clone)]
pub struct Limit {
    pub quota: String,
    pub tenants: f64,
}

impl Model {
    pub fn tokens_usd(&self) -> f64 {
        self.tokens * self.token_price
    }

    pub fn tokens_usd_without_cache(&self) -> f64 {
        self.tokens_without_cache * self.token_price
    }

    pub fn secrets_usd(&self) -> f64 {
        self.app_clients * prices::SECRET + self.secret_calls * prices::SECRET_CALL
    }

    pub fn pools_usd(&self) -> f64 {
        self.user_pools * prices::USER_POOL + self.app_clients * prices::APP_CLIENT
    }

    pub fn usd(&self) -> f64 {
        self.tokens_usd() + self.secrets_usd() + self.pools_usd()
    }
}

impl Plan {
    pub fn of(args: &Args, config: &Config) -> Plan {
        let tenants = f64::from(args.tenants);
        let clients = f64::from(args.clients_per_tenant);
        let sets = f64::from(args.scope_sets);
        let asked = f64::from(args.tokens_per_hour);
        let app_clients = tenants * clients;
        let rotations = prices::HOURS / (24.0 * f64::from(args.rotation_days));

        // A scope set of a client is fetched when its token ages, and no more often than somebody asks.
        let ageing = args.token_validity.as_secs_f64() / 3_600.0 * REFRESHED_AT;
        let fetched = (asked / (clients * sets)).min(1.0 / ageing) * clients * sets;
        // Each rotation proves its new secret by a token.
        let tokens_of_a_tenant = fetched * prices::HOURS + rotations * clients;
        let tokens = tenants * tokens_of_a_tenant;
        let secret_calls = tokens + tenants * rotations * clients * SECRET_CALLS_OF_A_ROTATION;

        let (calls, ceilings, pools) = (&config.aws.quotas, &config.quotas, &config.pools);
        let rate = |calls: u32| f64::from(calls);
        let per_shared_pool = f64::from(pools.app_clients_per_shared_pool);
        let with_room = pools.shared_pools_with_room as f64;
        let shared_pools = (app_clients / per_shared_pool).ceil().max(with_room);
        let token_price = match config.tokens.price_per_million_usd {
            price if price == Config::default().tokens.price_per_million_usd => prices::TOKEN,
            price => price as f64 / 1e6,
        };
        let user_pools = f64::from(ceilings.user_pools_per_region);
        let rates = Limit {
            quota: format!("{} tokens a second", count(rate(calls.client_authentication))),
            tenants: limit(rate(calls.client_authentication) * 3_600.0, tokens_of_a_tenant / prices::HOURS),
        };
        let secrets = Limit { quota: "500,000 secrets".to_owned(), tenants: limit(SECRETS, clients) };
        let pool_quota = format!("{} user pools", count(user_pools));

        let seconds_of_a_client = [
            (UPDATES_OF_A_CLIENT * clients / rate(calls.app_client_updates), "app client updates"),
            (SECRET_WRITES_OF_A_CLIENT * clients / rate(calls.secret_writes), "changes of secrets"),
            (clients / rate(calls.client_authentication), "tokens"),
        ];
        let in_shared_pools = (
            UPDATES_OF_A_CLIENT * clients / (rate(calls.per_operation_and_pool) * with_room),
            "app client updates of one pool",
        );
        let of_a_pool = [
            (1.0 / rate(calls.user_pool_updates), "user pool updates"),
            (1.0 / rate(calls.user_pool_reads), "user pool reads"),
            // A domain, which counts there, and each resource server.
            ((1.0 + f64::from(args.resource_servers)) / rate(calls.resource_server_updates), "resource server updates"),
        ];
        let model = |user_pools, mut limits: Vec<Limit>, seconds: (f64, &'static str)| {
            limits.sort_by(|one, other| one.tenants.total_cmp(&other.tenants));
            Model {
                user_pools,
                app_clients,
                tokens,
                tokens_without_cache: tenants * asked * prices::HOURS,
                secret_calls,
                token_price,
                limits,
                onboarding: (tenants * seconds.0, seconds.1),
            }
        };
        let shared_limits = vec![
            Limit {
                quota: format!("{} pools of {} app clients", count(user_pools), count(per_shared_pool)),
                tenants: limit(user_pools * per_shared_pool, clients),
            },
            rates.clone(),
            secrets.clone(),
        ];
        let own_limits = vec![Limit { quota: pool_quota, tenants: user_pools }, rates, secrets];
        Plan {
            tenants,
            title: title(args),
            shared: model(
                shared_pools,
                shared_limits,
                longest(seconds_of_a_client.into_iter().chain([in_shared_pools])),
            ),
            own: model(tenants, own_limits, longest(seconds_of_a_client.into_iter().chain(of_a_pool))),
        }
    }
}

/// How many fit. Each takes something: a client at least, and its rotations.
fn limit(whole: f64, each: f64) -> f64 {
    (whole / each).floor()
}

fn longest(times: impl Iterator<Item = (f64, &'static str)>) -> (f64, &'static str) {
    times.fold((0.0, ""), |longest, time| if time.0 > longest.0 { time } else { longest })
}

fn title(args: &Args) -> String {
    let clients = match args.clients_per_tenant {
        1 => "one client".to_owned(),
        count => format!("{count} clients"),
    };
    format!(
        "{} tenants of {clients} each, each tenant asking {} times an hour for a token that lives {}",
        count(f64::from(args.tenants)),
        count(f64::from(args.tokens_per_hour)),
        time(args.token_validity.as_secs_f64()),
    )
}
