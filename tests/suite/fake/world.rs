//! All that the fake knows: pools, app clients, secrets. One value, behind one mutex.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::keys::PoolKey;
use super::secrets::Secret;

pub const ACCOUNT: &str = "123456789012";

pub type Members = Map<String, Value>;
pub type OperationResult = Result<Value, ApiError>;

/// An error as the service says it, by the name of its exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub name: String,
    pub message: String,
}

impl ApiError {
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        ApiError { name: name.to_owned(), message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        ApiError::new("InvalidParameterException", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        ApiError::new("ResourceNotFoundException", message)
    }
}

/// What an operation is asked: in which Region, when, and its input.
pub struct Ask<'a> {
    pub region: &'a str,
    pub now: Timestamp,
    pub input: &'a Members,
}

impl Ask<'_> {
    /// A text of the input, empty when it is not given.
    pub fn text(&self, name: &str) -> &str {
        self.input.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn given(&self, name: &str) -> Option<&str> {
        self.input.get(name).and_then(Value::as_str)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.input.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        texts_of(self.input, name)
    }
}

#[derive(Clone, Default)]
pub struct World {
    /// By id.
    pub pools: BTreeMap<String, Pool>,
    /// By Region and prefix: whose it is.
    pub domains: BTreeMap<(String, String), String>,
    /// By name, which are one namespace for all Regions: CloudFront's.
    pub custom_domains: BTreeMap<String, CustomDomain>,
    /// Names above which none of them can be made, since they have no address.
    pub unresolved: BTreeSet<String>,
    /// Those whose making fails in the end.
    pub failing: BTreeSet<String>,
    /// By Region and name.
    pub secrets: BTreeMap<(String, String), Secret>,
    /// When which of them may have to go, the earliest first.
    pub deletions: BTreeSet<(Timestamp, (String, String))>,
    /// How long a new secret is missing from listings, which Secrets Manager says may be five minutes.
    pub listed_after: Duration,
    /// For how long a pool is taken to have a prefix that is gone, when it is to be deleted.
    pub domains_remembered: Duration,
    pub propagation: Propagation,
    pub ceilings: Ceilings,
    /// Whether app clients get no secret but one that is generated here, and never a second one.
    pub ignores_own_secrets: bool,
    made: u64,
}

/// How long a change takes to be seen by the token endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Propagation {
    /// A new app client or secret is refused for so long.
    pub appears: Duration,
    /// A deleted app client or secret is served for so long.
    pub lingers: Duration,
}

/// A domain of somebody's own.
#[derive(Clone)]
pub struct CustomDomain {
    pub pool: String,
    pub region: String,
    /// `CustomDomainConfigType`.
    pub config: Value,
    pub cloud_front: String,
    pub work: DomainWork,
}

/// What is done to it, and until when.
#[derive(Clone, Copy)]
pub enum DomainWork {
    Making(Timestamp),
    Changing(Timestamp),
    Failed,
    Deleting(Timestamp),
}

impl CustomDomain {
    pub fn status(&self, now: Timestamp) -> &'static str {
        match self.work {
            DomainWork::Making(until) if now < until => "CREATING",
            DomainWork::Changing(until) if now < until => "UPDATING",
            DomainWork::Making(_) | DomainWork::Changing(_) => "ACTIVE",
            DomainWork::Failed => "FAILED",
            DomainWork::Deleting(_) => "DELETING",
        }
    }

    pub fn is_served(&self, now: Timestamp) -> bool {
        matches!(self.status(now), "ACTIVE" | "UPDATING")
    }
}

/// The quotas that are numbers of things; AWS's defaults.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    /// Of one Region.
    pub custom_domains: usize,
    pub user_pools: usize,
    pub app_clients: usize,
    pub resource_servers: usize,
    pub identity_providers: usize,
}

impl Default for Ceilings {
    fn default() -> Self {
        let (app_clients, resource_servers, identity_providers) = (1_000, 25, 300);
        Ceilings { custom_domains: 4, user_pools: 1_000, app_clients, resource_servers, identity_providers }
    }
}

#[derive(Clone)]
pub struct Pool {
    pub id: String,
    pub region: String,
    /// As `UserPoolType` has them.
    pub settings: Members,
    pub tags: Members,
    /// How many accounts there are, of which it knows nothing more.
    pub users: u64,
    /// As `GetUserPoolMfaConfig` answers, but `MfaConfiguration`, which is a setting.
    pub mfa: Members,
    pub domain: Option<String>,
    pub custom_domain: Option<String>,
    /// Until when it is taken to have the prefix that was taken from it.
    pub domain_remembered: Timestamp,
    /// By identifier, as `ResourceServerType`.
    pub resource_servers: BTreeMap<String, Value>,
    /// By name, as `IdentityProviderType`.
    pub providers: BTreeMap<String, Value>,
    /// By id.
    pub clients: BTreeMap<String, AppClient>,
    /// Deleted ones that the token endpoint has not heard of, and until when.
    pub ghosts: BTreeMap<String, (AppClient, Timestamp)>,
    /// The newest first.
    pub keys: Vec<PoolKey>,
    pub keys_made: usize,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Pool {
    pub fn arn(&self) -> String {
        format!("arn:aws:cognito-idp:{}:{ACCOUNT}:userpool/{}", self.region, self.id)
    }

    pub fn issuer(&self) -> String {
        let is_updated = self.settings.get("IssuerConfiguration").is_some_and(|of| of["Type"] == "UPDATED");
        let host = if is_updated { "issuer-cognito-idp" } else { "cognito-idp" };
        format!("https://{host}.{}.amazonaws.com/{}", self.region, self.id)
    }

    /// Whether `<resource server>/<scope>` is there.
    pub fn defines(&self, scope: &str) -> bool {
        scope.rsplit_once('/').is_some_and(|(identifier, name)| {
            let scopes = self.resource_servers.get(identifier).and_then(|server| server["Scopes"].as_array());
            scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope["ScopeName"] == name))
        })
    }

    pub fn rotate_key(&mut self, withdrawn: bool) {
        self.keys_made += 1;
        if withdrawn {
            self.keys.clear();
        }
        self.keys.insert(0, PoolKey::new(&self.id, self.keys_made));
    }

    pub fn client(&mut self, id: &str) -> Result<&mut AppClient, ApiError> {
        let text = format!("User pool client {id} does not exist.");
        self.clients.get_mut(id).ok_or_else(|| ApiError::not_found(text))
    }
}

#[derive(Clone)]
pub struct AppClient {
    /// As `UserPoolClientType` has them.
    pub settings: Members,
    /// Oldest first.
    pub secrets: Vec<ClientSecret>,
    /// Deleted values that the token endpoint still takes, and until when.
    pub lingering: Vec<(String, Timestamp)>,
    pub last_secret_second: i64,
    /// From when on the token endpoint knows it.
    pub known_from: Timestamp,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

#[derive(Clone)]
pub struct ClientSecret {
    pub id: String,
    pub value: String,
    pub create_time: Timestamp,
    /// From when on the token endpoint takes it.
    pub known_from: Timestamp,
}

impl AppClient {
    pub fn is_authenticated_by(&self, value: &str, now: Timestamp) -> bool {
        let is_known = |secret: &ClientSecret| secret.value == value && secret.known_from <= now;
        let lingers = |(old, until): &(String, Timestamp)| old == value && now < *until;
        self.known_from <= now && (self.secrets.iter().any(is_known) || self.lingering.iter().any(lingers))
    }
}

impl World {
    /// Takes away the domains whose deletion is over, and lets fail those that are to.
    pub fn settle_domains(&mut self, now: Timestamp) {
        let World { custom_domains, pools, failing, .. } = self;
        custom_domains.retain(|name, domain| {
            match domain.work {
                DomainWork::Making(until) if until <= now && failing.contains(name) => domain.work = DomainWork::Failed,
                DomainWork::Deleting(until) if until <= now => {
                    if let Some(pool) = pools.get_mut(&domain.pool) {
                        pool.custom_domain = None;
                    }
                    return false;
                }
                _ => {}
            }
            true
        });
    }

    /// Whether the pool's endpoints are served under that prefix, or that name of its own.
    pub fn is_served(&self, domain: &str, pool: &Pool, now: Timestamp) -> bool {
        let prefix = self.domains.get(&(pool.region.clone(), domain.to_owned()));
        let custom = self.custom_domains.get(domain).filter(|custom| custom.is_served(now));
        prefix == Some(&pool.id) || custom.is_some_and(|custom| custom.pool == pool.id)
    }

    /// Pools of another Region are not there.
    pub fn pool(&mut self, id: &str, region: &str) -> Result<&mut Pool, ApiError> {
        let found = self.pools.get_mut(id).filter(|pool| pool.region == region);
        found.ok_or_else(|| ApiError::not_found(format!("User pool {id} does not exist.")))
    }

    /// The pool that the operation is about.
    pub fn pool_of(&mut self, ask: &Ask<'_>) -> Result<&mut Pool, ApiError> {
        self.pool(ask.text("UserPoolId"), ask.region)
    }

    /// The pool in which there is, or was lately, an app client of this id.
    pub fn pool_of_client(&self, client: &str) -> Option<&Pool> {
        self.pools.values().find(|pool| pool.clients.contains_key(client) || pool.ghosts.contains_key(client))
    }

    /// A text that was never given before, of these characters.
    pub fn unique(&mut self, alphabet: &str, length: usize) -> String {
        self.made += 1;
        let alphabet: Vec<char> = alphabet.chars().collect();
        let mut bytes = digest(&SHA256, format!("fake {}", self.made).as_bytes()).as_ref().to_vec();
        while bytes.len() < length {
            let more = digest(&SHA256, &bytes);
            bytes.extend_from_slice(more.as_ref());
        }
        bytes[..length].iter().map(|byte| alphabet[usize::from(*byte) % alphabet.len()]).collect()
    }
}

pub const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
pub const MIXED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Seconds since 1970 with milliseconds, as the JSON protocol writes times.
pub fn seconds(time: Timestamp) -> Value {
    json!(time.as_millisecond() as f64 / 1_000.0)
}

pub fn texts_of(members: &Members, name: &str) -> Vec<String> {
    let items = members.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

pub fn members(value: Value) -> Members {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} has no members"),
    }
}

/// The page of `items`, which are in the order of their keys, after the key that the token says, and the next token.
pub fn page<T>(
    items: impl Iterator<Item = (String, T)>,
    token: Option<&str>,
    limit: Option<&Value>,
    default: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let limit = limit.and_then(Value::as_u64).map_or(default, |limit| limit as usize);
    let after = match token {
        None => None,
        Some(token) => {
            let key = hex::decode(token).ok().and_then(|key| String::from_utf8(key).ok());
            Some(key.ok_or_else(|| ApiError::invalid("Invalid pagination token"))?)
        }
    };
    let mut rest = items.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).peekable();
    let (mut taken, mut last) = (Vec::new(), String::new());
    while taken.len() < limit && rest.peek().is_some() {
        let (key, item) = rest.next().expect("peeked");
        last = key;
        taken.push(item);
    }
    Ok((taken, rest.peek().is_some().then(|| hex::encode(last))))
}

/// `members` with the token of the next page, if there is one.
pub fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    answer
}
