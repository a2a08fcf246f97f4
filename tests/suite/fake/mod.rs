//! A strict fake of Cognito and Secrets Manager: a real HTTP server on loopback that speaks the SDK's protocol, checks
//! its signatures, and holds all that goes in and comes out against AWS's own service models.
//!
//! It keeps the documented rules, limits and error codes, and where the documentation is silent it does the less
//! convenient of what is possible. Whatever breaks a model, in the program or in the fake, is a complaint, and a test
//! that ends with one fails. Time is the clock's, so that a day passes when the test says so.

mod app_clients;
mod authorize;
mod dispatch;
mod domains;
mod faults;
pub mod http;
mod keys;
mod model;
mod providers;
mod quotas;
mod resource_servers;
mod secrets;
pub mod signing;
mod tokens;
mod user_pools;
mod versions;
mod watched;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use keyward::aws::{Credentials, Endpoints, Options, TokenSource};
use keyward::broker::ports::Clock;
use serde_json::Value;

use dispatch::Front;
use faults::Faults;
use http::Server;
use quotas::Quotas;
use watched::Watched;
use world::World;

pub use faults::{After, Fault};
pub use model::Model;
pub use quotas::least_time;
pub use tokens::SignedIn;
pub use world::{Ceilings, Propagation};

/// The Region of [`Fake::options`].
pub const REGION: &str = "eu-central-1";
/// A further one.
pub const OTHER_REGION: &str = "us-east-1";

/// Both, the broker's own first.
pub fn regions() -> Vec<String> {
    vec![REGION.to_owned(), OTHER_REGION.to_owned()]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Cognito,
    SecretsManager,
    /// The token endpoint (`Token`), the key sets (`Keys`) and where people sign in (`Authorize`).
    Oauth,
}

impl Service {
    const ALL: [Service; 3] = [Service::Cognito, Service::SecretsManager, Service::Oauth];

    fn signing_name(self) -> &'static str {
        match self {
            Service::Cognito => "cognito-idp",
            Service::SecretsManager => "secretsmanager",
            Service::Oauth => "oauth2",
        }
    }
}

/// A running fake.
pub struct Fake {
    shared: Arc<Shared>,
    server: Server,
}

struct Shared {
    clock: Arc<dyn Clock>,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    world: World,
    quotas: Quotas,
    calls: Vec<Call>,
    complaints: Vec<String>,
    watched: Option<Watched>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that fails under the lock is to fail with its own words.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that the fake knows at one moment.
#[derive(Clone)]
pub struct Image(World);

/// A call as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// As IAM names it: `cognito-idp:CreateUserPool`; `oauth2:Token`, `oauth2:Keys` and `oauth2:Authorize` for what IAM does not know.
    pub action: String,
    /// The Region whose endpoint was called; empty where all have the same (not [`Fake::by_region`]).
    pub endpoint: String,
    /// Of its signature, or of the pool. Empty when the call was refused before it was known.
    pub region: String,
    /// The user pool that it is about, where it is about one.
    pub pool: Option<String>,
    pub time: Timestamp,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It hangs, or its caller gave up.
    Unanswered,
    Done,
    /// The effect was had, but a fault kept the answer back.
    DoneUnheard,
    /// By the name of the exception, or OAuth's error.
    Refused(String),
    /// By a quota.
    Throttled,
    /// A fault came first; nothing was done.
    Faulted,
}

/// What there is, for tests that look for orphans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Ids and names.
    pub user_pools: Vec<(String, String)>,
    pub app_clients: Vec<AppClientItem>,
    /// Names of those that are not scheduled for deletion.
    pub secrets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClientItem {
    pub user_pool: String,
    pub id: String,
    pub name: String,
    /// Their values, the oldest first.
    pub secrets: Vec<String>,
}

impl Fake {
    pub async fn start(clock: Arc<dyn Clock>) -> Fake {
        let shared = Arc::new(Shared { clock, faults: Faults::new(), state: Mutex::default() });
        let server = Server::start(Arc::new(Front::new(shared.clone()))).await;
        Fake { shared, server }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What makes the AWS backend use this fake for everything.
    pub fn options(&self) -> Options {
        let endpoint = self.endpoint();
        Options {
            region: REGION.to_owned(),
            regions: vec![OTHER_REGION.to_owned()],
            name_prefix: "keyward".to_owned(),
            token_source: TokenSource::TokenEndpoint,
            kms_key: String::new(),
            messages: Default::default(),
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(10),
            quota_wait: Duration::from_secs(5),
            endpoints: Endpoints {
                cognito: endpoint.clone(),
                secrets_manager: endpoint.clone(),
                // It has no such things, and says so.
                dynamodb: endpoint.clone(),
                kms: endpoint.clone(),
                // Only a domain that the app client's pool has is served.
                token: format!("{endpoint}/{{domain}}/oauth2/token"),
                jwks: format!("{endpoint}/{{user_pool}}/.well-known/jwks.json"),
            },
            quotas: quotas::published(),
            credentials: self.credentials(),
        }
    }

    /// Gives each Region endpoints of its own, so that a call tells which one was asked.
    pub fn by_region(options: &mut Options) {
        let endpoint = format!("{}/{{region}}", options.endpoints.cognito);
        options.endpoints = Endpoints {
            cognito: endpoint.clone(),
            secrets_manager: endpoint.clone(),
            token: format!("{endpoint}/{{domain}}/oauth2/token"),
            jwks: format!("{endpoint}/{{user_pool}}/.well-known/jwks.json"),
            ..options.endpoints.clone()
        };
    }

    /// From now on the name above domains has no address, or has one again.
    pub fn resolve(&self, name: &str, has_address: bool) {
        let unresolved = &mut self.shared.state().world.unresolved;
        if has_address {
            unresolved.remove(name)
        } else {
            unresolved.insert(name.to_owned())
        };
    }

    /// From now on the making of this domain fails in the end, or does no more.
    pub fn fail_domain(&self, domain: &str, fails: bool) {
        let failing = &mut self.shared.state().world.failing;
        if fails {
            failing.insert(domain.to_owned())
        } else {
            failing.remove(domain)
        };
    }

    /// Every domain, with the pool that has it: prefixes, then those of somebody's own that are not being deleted.
    pub fn domains(&self) -> Vec<(String, String)> {
        let mut state = self.shared.state();
        let now = self.shared.clock.now();
        state.world.settle_domains(now);
        let prefixes = state.world.domains.iter().map(|((_, prefix), pool)| (prefix.clone(), pool.clone()));
        let custom = state.world.custom_domains.iter().filter(|(_, custom)| custom.status(now) != "DELETING");
        prefixes.chain(custom.map(|(name, custom)| (name.clone(), custom.pool.clone()))).collect()
    }

    /// The only ones that it knows.
    pub fn credentials(&self) -> Credentials {
        Credentials::Fixed {
            access_key_id: signing::ACCESS_KEY_ID.to_owned(),
            secret_access_key: signing::SECRET_ACCESS_KEY.to_owned(),
        }
    }

    /// Orders a fault.
    pub fn fail(&self, after: After, fault: Fault) {
        self.shared.faults.order(after, fault);
    }

    /// Forgets every order of a fault.
    pub fn heal(&self) {
        self.shared.faults.clear();
    }

    /// Lets every call go on that hangs now.
    pub fn release(&self) {
        self.shared.faults.release();
    }

    /// Returns once at least `count` calls hang.
    pub async fn wait_for_hanging(&self, count: usize) {
        self.shared.faults.wait_for_hanging(count).await;
    }

    /// How many calls hang now.
    pub fn hanging(&self) -> usize {
        self.shared.faults.hanging()
    }

    /// Returns once no call hangs.
    pub async fn wait_for_none_hanging(&self) {
        self.shared.faults.wait_for_none_hanging().await;
    }

    /// How many calls have met a fault, since the fake was started.
    pub fn faults_met(&self) -> usize {
        self.shared.faults.met()
    }

    pub fn image(&self) -> Image {
        Image(self.shared.state().world.clone())
    }

    /// Becomes as it was then, with no quota used, no call made and no fault ordered.
    pub fn restore(&self, image: &Image) {
        self.heal();
        let state = &mut *self.shared.state();
        state.world = image.0.clone();
        state.quotas.refill();
        state.calls.clear();
        state.watched = None;
    }

    /// From now on it is a complaint if after any call the secret under `AWSCURRENT` of this name does not authenticate.
    pub fn watch(&self, secret: &str) {
        self.shared.state().watched = Some(Watched(secret.to_owned()));
    }

    /// From now on changes take a while to be seen by the token endpoint.
    pub fn propagate(&self, propagation: Propagation) {
        self.shared.state().world.propagation = propagation;
    }

    /// From now on it is no Cognito but like what stands in for it (see `peers::ministack`): it ignores the secret that an
    /// app client is to be made with, and knows no second secrets. It tells the one that it generates once.
    pub fn ignore_own_secrets(&self) {
        self.shared.state().world.ignores_own_secrets = true;
    }

    pub fn set_ceilings(&self, ceilings: Ceilings) {
        self.shared.state().world.ceilings = ceilings;
    }

    /// From now on AWS's quotas hold.
    pub fn enforce_quotas(&self) {
        self.shared.state().quotas.enforce();
    }

    /// Calls that a quota has refused.
    pub fn throttled(&self) -> usize {
        self.shared.state().quotas.throttled()
    }

    /// Every call so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    pub fn forget_calls(&self) {
        self.shared.state().calls.clear();
    }

    /// As if so many people had got accounts in the pool.
    pub fn set_users(&self, user_pool: &str, users: u64) {
        self.shared.state().world.pools.get_mut(user_pool).expect("the pool is there").users = users;
    }

    /// A pool's setting, as `UserPoolType` has it.
    pub fn pool_setting(&self, user_pool: &str, setting: &str) -> Value {
        let state = self.shared.state();
        state.world.pools.get(user_pool).expect("the pool is there").settings[setting].clone()
    }

    /// Changes a pool's setting by hand, past every rule.
    pub fn set_pool(&self, user_pool: &str, setting: &str, value: Value) {
        let mut state = self.shared.state();
        let pool = state.world.pools.get_mut(user_pool).expect("the pool is there");
        pool.settings.insert(setting.to_owned(), value);
    }

    /// From now on a listing of secrets tells of what is made only after so long.
    pub fn list_secrets_late(&self, by: Duration) {
        self.shared.state().world.listed_after = by;
    }

    /// From now on no pool is deleted sooner than so long after its prefix, as if that were still there.
    pub fn remember_domains(&self, period: Duration) {
        self.shared.state().world.domains_remembered = period;
    }

    /// A secret's resource policy; `None` for a secret without one.
    pub fn secret_policy(&self, name: &str) -> Option<String> {
        let state = self.shared.state();
        let mut secrets = state.world.secrets.values();
        secrets.find(|secret| secret.name == name).expect("the secret is there").policy.clone()
    }

    /// Gives the pool a new signing key. The old one stays in the key set unless it is `withdrawn`.
    pub fn rotate_signing_key(&self, user_pool: &str, withdrawn: bool) {
        let mut state = self.shared.state();
        let pool = state.world.pools.get_mut(user_pool).expect("the pool is there");
        pool.rotate_key(withdrawn);
    }

    /// As if somebody had signed in with the app client, by its hosted sign-in.
    pub fn sign_in(&self, app_client: &str, username: &str, groups: &[&str]) -> SignedIn {
        let now = self.shared.clock.now();
        tokens::sign_in(&mut self.shared.state().world, app_client, username, groups, now)
    }

    /// What a browser is answered that is sent to a URL of a hosted sign-in: the status, and where it goes next, empty where it stays.
    pub async fn follow(&self, url: &str) -> (u16, String) {
        let url = reqwest::Url::parse(url).expect("a URL");
        assert_eq!((url.scheme(), url.port(), url.fragment()), ("https", None, None), "{url}");
        let here = format!("{}{}?{}", self.endpoint(), url.path(), url.query().unwrap_or_default());
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        let asked = http.expect("an HTTP client").get(here).header("host", url.host_str().expect("a host"));
        let answered = asked.send().await.expect("answered");
        let place = answered.headers().get("location").map(|place| place.to_str().expect("text").to_owned());
        (answered.status().as_u16(), place.unwrap_or_default())
    }

    pub fn inventory(&self) -> Inventory {
        let state = self.shared.state();
        let mut inventory = Inventory::default();
        for pool in state.world.pools.values() {
            let name = |settings: &world::Members, key: &str| settings[key].as_str().unwrap_or_default().to_owned();
            inventory.user_pools.push((pool.id.clone(), name(&pool.settings, "Name")));
            inventory.app_clients.extend(pool.clients.iter().map(|(id, client)| AppClientItem {
                user_pool: pool.id.clone(),
                id: id.clone(),
                name: name(&client.settings, "ClientName"),
                secrets: client.secrets.iter().map(|secret| secret.value.clone()).collect(),
            }));
        }
        let kept = state.world.secrets.values().filter(|secret| secret.deletion_time.is_none());
        inventory.secrets = kept.map(|secret| secret.name.clone()).collect();
        inventory
    }

    /// An app client's settings, as `UserPoolClientType` has them.
    pub fn app_client(&self, id: &str) -> Value {
        let state = self.shared.state();
        let client = state.world.pools.values().find_map(|pool| pool.clients.get(id)).expect("the app client is there");
        Value::Object(client.settings.clone())
    }

    /// Deletes an app client by hand.
    pub fn delete_app_client(&self, id: &str) {
        let mut state = self.shared.state();
        assert!(
            state.world.pools.values_mut().any(|pool| pool.clients.remove(id).is_some()),
            "the app client is there"
        );
    }

    /// Changes an app client's setting by hand, past every rule.
    pub fn set_app_client(&self, id: &str, setting: &str, value: Value) {
        let mut state = self.shared.state();
        let mut clients = state.world.pools.values_mut();
        let client = clients.find_map(|pool| pool.clients.get_mut(id)).expect("the app client is there");
        client.settings.insert(setting.to_owned(), value);
    }

    /// An identity provider, as `IdentityProviderType` has it, its document included.
    pub fn provider(&self, name: &str) -> Value {
        let state = self.shared.state();
        let found = state.world.pools.values().find_map(|pool| pool.providers.get(name));
        found.unwrap_or_else(|| panic!("{name} is not there")).clone()
    }

    /// The names of all identity providers.
    pub fn providers(&self) -> Vec<String> {
        let state = self.shared.state();
        state.world.pools.values().flat_map(|pool| pool.providers.keys().cloned()).collect()
    }

    /// Changes an identity provider by hand, past every rule.
    pub fn edit_provider(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.shared.state();
        edit(state.world.pools.values_mut().find_map(|pool| pool.providers.get_mut(name)).expect("it is there"));
    }

    pub fn delete_provider(&self, name: &str) {
        let mut state = self.shared.state();
        assert!(state.world.pools.values_mut().any(|pool| pool.providers.remove(name).is_some()), "it is there");
    }

    /// Puts one like it beside it.
    pub fn copy_provider(&self, name: &str, copy: &str) {
        let mut provider = self.provider(name);
        provider["ProviderName"] = Value::String(copy.to_owned());
        let mut state = self.shared.state();
        let mut pools = state.world.pools.values_mut();
        let pool = pools.find(|pool| pool.providers.contains_key(name)).expect("it is there");
        pool.providers.insert(copy.to_owned(), provider);
    }

    /// Puts identity providers of others into every pool, until it has so many.
    pub fn fill_with_providers(&self, count: usize) {
        let mut state = self.shared.state();
        for pool in state.world.pools.values_mut() {
            for number in pool.providers.len()..count {
                let name = format!("Other{number}");
                let provider = serde_json::json!({
                    "ProviderName": name, "ProviderType": "SAML", "CreationDate": 0, "LastModifiedDate": 0,
                });
                pool.providers.insert(name, provider);
            }
        }
    }

    /// How many versions a secret has.
    pub fn secret_versions(&self, name: &str) -> usize {
        let state = self.shared.state();
        let found = state.world.secrets.values().find(|secret| secret.name == name);
        found.map_or(0, |secret| secret.versions.len())
    }

    /// What broke a service model, so far. A fake that is dropped with complaints fails the test.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.state().complaints.clone()
    }

    /// The same, for a test that means them.
    pub fn take_complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().complaints)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let complaints = self.complaints();
        if !std::thread::panicking() {
            assert!(complaints.is_empty(), "the fake complains:\n{}", complaints.join("\n"));
        }
    }
}
