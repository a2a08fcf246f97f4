//! What goes into and comes out of the broker: requests with every field checked for form, and views of resources.

mod fleet;
mod sign_in;
mod sign_in_names;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::broker::ports::{PublicKey, SecretDocument};
use crate::domain::audit::Outcome;
use crate::domain::claims::{Claims, Rejection};
use crate::domain::client::{Client, RotationPolicy};
use crate::domain::drift::Drift;
use crate::domain::id::{AppClientId, ClientId, ClientName, Issuer, PoolId, TenantId};
use crate::domain::interactive::{InteractiveSettings, StandardScope};
use crate::domain::person::Accepted;
use crate::domain::pool::{MadePool, Pool};
use crate::domain::provider::ProviderId;
use crate::domain::quota::QuotaUsage;
use crate::domain::revocation::TokenId;
use crate::domain::rotation::{Milestone, Rotation};
use crate::domain::scope::{Identifier, ResourceServer, ScopeDefinition, ScopeSet};
use crate::domain::secret::ClientSecret;
use crate::domain::sign_in::{Claim, SignInDomain};
use crate::domain::tenant::{Isolation, Labels, Tenant, UserPoolSettings};
use crate::domain::trust::TrustChange;
pub use fleet::{FleetOutcome, FleetProgress, FleetRequest, FleetTally};
pub use sign_in::{Hint, Matched, PassedOn, SignIn, SignInQuestion};
pub use sign_in_names::{ascii_name, email_domain};

/// A page of a list: what comes after a key, at most `size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub after: Option<String>,
    pub size: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<String>,
}

#[derive(Clone, Debug)]
pub struct NewTenant {
    pub id: TenantId,
    pub display_name: String,
    pub isolation: Isolation,
    pub labels: Labels,
    /// Only with [`Isolation::UserPool`].
    pub user_pool: Option<UserPoolSettings>,
    pub sign_in_domains: Vec<SignInDomain>,
    pub identity_providers: Vec<NewProvider>,
}

/// An identity provider that a tenant shall have.
#[derive(Clone, Debug)]
pub struct NewProvider {
    pub id: ProviderId,
    pub protocol: NewProtocol,
    pub attribute_mapping: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub enum NewProtocol {
    Oidc(NewOidc),
    Saml(NewSaml),
}

#[derive(Clone, Debug)]
pub struct NewOidc {
    pub issuer: String,
    pub client_id: String,
    /// `None` leaves the one that it has.
    pub client_secret: Option<ClientSecret>,
    pub scopes: Vec<String>,
    pub authorize_url: String,
    pub token_url: String,
    pub user_info_url: String,
    pub jwks_uri: String,
}

#[derive(Clone, Debug)]
pub struct NewSaml {
    pub metadata: NewMetadata,
    pub sign_out: bool,
    pub encrypted_responses: bool,
}

#[derive(Clone, Debug)]
pub enum NewMetadata {
    Url(String),
    Document(String),
    /// The document that it has.
    Kept,
}

/// What to change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantPatch {
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub user_pool: Option<UserPoolSettings>,
    pub sign_in_domains: Option<Vec<SignInDomain>>,
    /// All that it shall have.
    pub identity_providers: Option<Vec<NewProvider>>,
}

/// Where a tenant is to go.
#[derive(Clone, Debug)]
pub struct NewMove {
    /// Another than the tenant has.
    pub target: Isolation,
    /// Only with [`Isolation::UserPool`]; `None` for the defaults.
    pub user_pool: Option<UserPoolSettings>,
    /// How long the old app clients work after all clients were moved.
    pub overlap: Duration,
}

#[derive(Clone, Debug)]
pub struct TenantView {
    pub tenant: Tenant,
    /// The record's version: the resource's etag.
    pub version: u64,
    /// Of its pool, once that is made.
    pub issuer: Option<Issuer>,
    /// To the names that it claims, as far as they are made.
    pub claims: Vec<Claim>,
    /// Where the record of its pool's domain must point to; empty where that is none of the tenant's own.
    pub cname_target: String,
}

#[derive(Clone, Debug)]
pub struct NewClient {
    pub tenant: TenantId,
    pub id: ClientId,
    pub display_name: String,
    pub labels: Labels,
    /// Of resource servers.
    pub scopes: ScopeSet,
    pub access_token_validity: Option<Duration>,
    /// `None` with `interactive`.
    pub rotation: Option<RotationPolicy>,
    /// None with `interactive`.
    pub secret_readers: Vec<String>,
    /// How people sign in with it, its standard scopes included; `None` for a machine's.
    pub interactive: Option<InteractiveSettings>,
}

/// The scopes that a client shall have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedScopes {
    /// Those of resource servers.
    pub resource: ScopeSet,
    /// Those that Cognito defines itself, which only people get.
    pub standard: BTreeSet<StandardScope>,
}

/// An app client to take over. What is `None` is taken from the app client as it is, or is the default.
#[derive(Clone, Debug)]
pub struct NewImport {
    pub tenant: TenantId,
    pub id: ClientId,
    pub pool: PoolId,
    pub app_client: AppClientId,
    pub secret: SecretSource,
    pub display_name: String,
    pub labels: Labels,
    pub scopes: Option<ScopeSet>,
    pub access_token_validity: Option<Duration>,
    pub rotation: Option<RotationPolicy>,
    pub secret_readers: Vec<String>,
}

/// Where the secret of an app client is that is taken over.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// Here, this once.
    Given(ClientSecret),
    /// In the vault, under a name or ARN that is not Keyward's.
    Named(String),
}

#[derive(Clone, Debug, Default)]
pub struct ClientPatch {
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub scopes: Option<WantedScopes>,
    pub access_token_validity: Option<Duration>,
    pub rotation: Option<RotationPolicy>,
    pub secret_readers: Option<Vec<String>>,
    /// As a whole, but for the standard scopes, which are in `scopes`.
    pub interactive: Option<InteractiveSettings>,
}

#[derive(Clone, Debug)]
pub struct ClientView {
    pub client: Client,
    pub version: u64,
    /// Its pool, once that is made.
    pub pool: Option<MadePool>,
    /// The last failure while it is being created or deleted.
    pub state_reason: String,
    /// Whether people sign in with it by accounts that tenants share.
    pub shares_accounts: bool,
}

/// The answer of `RevealClientSecret`: the one place where a secret leaves towards a caller.
pub struct Revealed {
    pub document: SecretDocument,
    pub next_rotate_time: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct RotationRequest {
    pub immediate: bool,
    /// The app client goes, id and all, and not only its secret.
    pub replace: bool,
    /// In place of the client's own policy.
    pub overlap: Option<Duration>,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct RotationView {
    pub rotation: Rotation,
    /// What is left to do; the time is known only of what follows a wait.
    pub planned: Vec<(Milestone, Option<Timestamp>)>,
}

pub struct Question {
    /// At most [`MAX_TOKEN_BYTES`](crate::domain::claims::MAX_TOKEN_BYTES) long and not empty.
    pub token: Zeroizing<String>,
    pub required_scopes: ScopeSet,
    /// The token must belong to this tenant.
    pub tenant: Option<TenantId>,
    /// Every verdict is made for one of these, and none is kept for another.
    pub accepted: Accepted,
}

/// The keys of an issuer, as it publishes them.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// By `kid`, at most 16.
    pub keys: Vec<PublicKey>,
    /// How long they may be used before they are asked for again.
    pub good_for: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Verified(Verified),
    Rejected(Rejection),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub client: ClientName,
    pub claims: Arc<Claims>,
}

/// What somebody watches who verifies by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustQuery {
    /// Only these tenants, their clients and app clients; all where it is empty.
    pub tenants: BTreeSet<TenantId>,
    /// What the last message said that was taken in.
    pub resume: Option<String>,
}

impl TrustQuery {
    pub fn wants(&self, tenant: &TenantId) -> bool {
        self.tenants.is_empty() || self.tenants.contains(tenant)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustMessage {
    pub event: TrustEvent,
    /// Where to go on after it; `None` where that cannot be.
    pub resume: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustEvent {
    /// All follows.
    Reset(TrustTerms),
    Changes(Vec<TrustChange>),
    /// All was told.
    Synced(TrustSynced),
}

/// What is agreed at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustTerms {
    /// The longest time from one [`TrustEvent::Synced`] to the next.
    pub heartbeat: Duration,
    pub max_staleness: Duration,
    pub leeway: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustSynced {
    /// Every change was told that was answered before.
    pub fresh_time: Timestamp,
    pub now: Timestamp,
    /// From then on nobody can tell by what was told so far.
    pub fresh_until: Timestamp,
}

pub struct NewRevocation {
    pub target: NewRevocationTarget,
    /// For clients and tenants; now, if not given.
    pub issued_before: Option<Timestamp>,
    pub reason: String,
}

pub enum NewRevocationTarget {
    TokenId(TokenId),
    /// The whole JWT.
    Token(Zeroizing<String>),
    Client(ClientName),
    Tenant(TenantId),
}

#[derive(Clone, Debug)]
pub struct NewResourceServer {
    pub identifier: Identifier,
    pub display_name: String,
    pub scopes: Vec<ScopeDefinition>,
}

#[derive(Clone, Debug)]
pub struct ResourceServerView {
    pub server: ResourceServer,
    pub version: u64,
    /// Whether every pool has it as it is here.
    pub in_force: bool,
}

#[derive(Clone, Debug)]
pub struct PoolView {
    pub pool: Pool,
    /// Zero for a tenant's own pool.
    pub app_client_limit: u32,
    /// Of Cognito's quotas for one pool.
    pub quotas: Vec<QuotaUsage>,
}

#[derive(Clone, Debug)]
pub struct PoolListing {
    pub pools: Listing<PoolView>,
    /// Of every Region.
    pub quotas: Vec<QuotaUsage>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolFilter {
    pub dedicated: Option<bool>,
    pub region: Option<String>,
}

/// What a reconciliation found.
#[derive(Clone, Debug)]
pub struct Reconciled {
    pub drifts: Vec<Drift>,
    /// Whether there was more than one call looks at.
    pub truncated: bool,
}

/// Which events to show; what is not set matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Matches the resource itself and what is below it.
    pub resource_prefix: String,
    pub principal: String,
    pub method: String,
    pub outcome: Option<Outcome>,
    /// Inclusive.
    pub start_time: Option<Timestamp>,
    /// Exclusive.
    pub end_time: Option<Timestamp>,
}
