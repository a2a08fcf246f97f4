//! The world as the broker sees it: what it needs of Cognito, Secrets Manager, a registry and a clock.
//!
//! Backends implement these traits; the composition root alone knows which. Every method is safe to repeat, because
//! after a crash or a lost reply the broker does repeat it. No method retries inside itself: the journals do that.

mod change_sets;
mod data_keys;
pub(super) mod faults;
mod feed;
mod pools;
mod sign_in;
pub(super) mod token_shelf;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use zeroize::Zeroizing;

pub use super::members::{Members, ShareInForce};
use crate::domain::audit::NumberedEvent;
use crate::domain::id::{AppClientId, PoolId, SecretId, SecretName, UserPoolId, VersionId};
use crate::domain::pool::MadePool;
use crate::domain::rotation::Labels;
use crate::domain::scope::{Identifier, ResourceServer, ScopeSet};
use crate::domain::secret::ClientSecret;
use crate::domain::tenant::{HostedDomain, UserPoolSettings};
use crate::domain::token::AccessToken;
pub use change_sets::{Action, ChangeSet, Shelf, StoredRecord, Write};
pub use data_keys::{DataKeys, KeptKey};
pub use faults::{ENDS, Fault, GIVEN_UP, Peer, PortError, PortResult, end_of};
pub use feed::{ChangeFeed, Followed, KEPT as FEED_KEPT, LoggedChange};
pub use pools::{DomainProgress, DomainSet, FoundPool, Unmet};
pub use sign_in::{
    InteractiveSeen, InteractiveSpec, OidcSpec, ProtocolSpec, ProviderDrift, ProviderSpec, SamlSource, SamlSpec,
};
pub use token_shelf::{SealedToken, SeenItem, ShelfItem, TokenPlace, TokenShelf};

/// User pools, their resource servers, app clients and secrets: Cognito's API for administrators.
#[async_trait]
pub trait UserPools: Send + Sync {
    /// Makes the pool, or finds the one that an earlier call with the same `id` made. It has all of `settings` but a domain
    /// of the tenant's own, which [`set_domain`](UserPools::set_domain) brings. [`Fault::Taken`]: its prefix is another's.
    async fn ensure_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool>;

    /// The same for an `id` that nobody has asked for yet, so that nothing has to be looked for: whoever asks twice with it
    /// may have two pools.
    async fn make_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.ensure_pool(id, settings).await
    }

    /// The pool that was made with this `id`, looked for in a Region (empty for the broker's own) and in no way changed; `None`
    /// when there is none.
    async fn find_pool(&self, id: &PoolId, region: &str) -> PortResult<Option<FoundPool>>;

    /// A pool by the backend's own id, as for taking over one that Keyward did not make; `None` when there is none.
    async fn describe_pool(&self, user_pool: &UserPoolId, region: &str) -> PortResult<Option<MadePool>>;

    /// The settings that the pool has now; `None` when there is no such pool. `region` says where it is. A domain that it
    /// should have and lacks is an empty prefix.
    async fn pool_settings(&self, pool: &MadePool) -> PortResult<Option<UserPoolSettings>>;

    /// A page of the pools that bear Keyward's mark, by Keyward's ids of them, in the broker's own and every other
    /// Region that it is configured for.
    async fn list_pools(&self, after: Option<&str>) -> PortResult<PortPage<PoolId>>;

    /// Whether this backend can give a pool such settings, asked before anything is begun. What it answers is what it does
    /// not offer; [`Fault::Taken`] says that the domain is known to be another's. Nothing said does not mean that all of
    /// it will be granted: whether a domain is free is certain only once it is made. `pool` is the one that has them
    /// already or will; `None` before it is made.
    async fn check_settings(&self, settings: &UserPoolSettings, pool: Option<&MadePool>) -> PortResult<Option<Unmet>>;

    /// Takes the pool's domain a step towards `wanted`; `None` is the prefix that the broker chooses. A domain that tokens
    /// come from goes only where there is no other way, and never before it is known that the new one can have its place.
    /// Where nobody needs a domain and none is wanted there is none.
    async fn set_domain(&self, id: &PoolId, pool: &MadePool, wanted: Option<&HostedDomain>) -> PortResult<DomainSet>;

    /// Brings an existing pool's settings up to `settings`, all but its domain; the Region is not one that can change.
    async fn update_pool(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()>;

    /// Deletes the pool with all that is in it. Deleting one that is gone succeeds. Where it is not `known`, since a
    /// crash came before it was written down, it is looked for in `region` (empty for the broker's own).
    /// Fails with [`Fault::Refused`] while deletion protection is on, with [`Fault::Unavailable`] while its domain is still
    /// on its way in or out.
    async fn delete_pool(&self, id: &PoolId, region: &str, known: Option<&MadePool>) -> PortResult<()>;

    /// Creates the resource server or replaces its name and scopes.
    async fn put_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()>;

    /// The same where it was not there a moment ago, and so is likely to be created.
    async fn create_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.put_resource_server(pool, server).await
    }

    /// Identifiers of the pool's resource servers.
    async fn list_resource_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>>;

    /// Deleting one that is gone succeeds.
    async fn delete_resource_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()>;

    /// Makes the app client with this secret as its only one; or with one that the backend chose, where it does not give
    /// app clients the secret that it is told. Not idempotent: look with
    /// [`find_app_client`](UserPools::find_app_client) first. An unknown scope is [`Fault::Refused`]. That, and
    /// [`Fault::LimitExceeded`], [`Fault::Throttled`], [`Fault::NotFound`] and [`Fault::Unsupported`] say that nothing is
    /// left of it; after any other nobody knows.
    async fn create_app_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<NewAppClient>;

    /// Whether an app client whose making nobody heard of has the secret that it was to be made with, and which is its
    /// only one. `false` also where the backend chooses the secrets: then nobody knows the one that it has.
    /// [`Fault::NotFound`] when there is no such app client.
    async fn took_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<bool>;

    /// The app client whose name is `marker`. May be slow: Cognito has no index of names.
    async fn find_app_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>>;

    /// The app client as it is now; `None` when there is none.
    async fn describe_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Option<AppClientSeen>>;

    /// A page of the pool's app clients with their names, in the backend's own order.
    async fn list_app_clients(
        &self,
        pool: &MadePool,
        after: Option<&str>,
    ) -> PortResult<PortPage<(AppClientId, String)>>;

    /// Brings scopes and token validity up to `spec`, leaving every other setting as it is, the name too.
    async fn update_app_client(&self, pool: &MadePool, client: &AppClientId, spec: &AppClientSpec) -> PortResult<()>;

    /// Makes an app client that people sign in with. Not idempotent, and fails as
    /// [`create_app_client`](UserPools::create_app_client) does; a provider that is not there is [`Fault::Refused`].
    async fn create_interactive_client(&self, pool: &MadePool, spec: &InteractiveSpec) -> PortResult<AppClientId>;

    /// An app client that people sign in with as it is now; `None` when there is none.
    async fn describe_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<InteractiveSeen>>;

    /// Brings everything that `spec` says up to it, but for the name, and leaves every other setting as it is. One that
    /// was given a secret keeps it: then it stays no client of people's.
    async fn update_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &InteractiveSpec,
    ) -> PortResult<()>;

    /// Deleting one that is gone succeeds.
    async fn delete_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<()>;

    /// Creates the identity provider, or brings the one of its name up to `spec`; its protocol cannot change.
    /// [`Fault::LimitExceeded`] when the pool has as many as it may.
    async fn put_identity_provider(&self, pool: &MadePool, spec: &ProviderSpec) -> PortResult<()>;

    /// What is not as `spec` says, as far as the backend tells; `None` when there is no such provider.
    async fn compare_identity_provider(
        &self,
        pool: &MadePool,
        spec: &ProviderSpec,
    ) -> PortResult<Option<ProviderDrift>>;

    /// A page of the names of the pool's identity providers.
    async fn list_identity_providers(&self, pool: &MadePool, after: Option<&str>) -> PortResult<PortPage<String>>;

    /// Deleting one that is gone succeeds. While an app client names it, that may be [`Fault::Refused`].
    async fn delete_identity_provider(&self, pool: &MadePool, name: &str) -> PortResult<()>;

    /// Adds a second secret. [`Fault::LimitExceeded`] when there are two. A backend without second secrets says
    /// [`Fault::Unsupported`].
    async fn add_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<SecretId>;

    /// Ids of the app client's secrets, oldest first. Never their values. A backend that lists none gives
    /// [`SecretId::unlisted`] for the one there is.
    async fn list_secrets(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>>;

    /// Deleting one that is gone succeeds; deleting the last one is [`Fault::Refused`].
    async fn delete_secret(&self, pool: &MadePool, client: &AppClientId, secret: &SecretId) -> PortResult<()>;
}

/// An app client for the client-credentials grant, as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClientSpec {
    /// Its name at Cognito, unique, by which a crash finds it again.
    pub marker: String,
    pub scopes: ScopeSet,
    pub access_token_validity: Duration,
}

/// What came of making an app client.
#[derive(Debug)]
pub struct NewAppClient {
    pub id: AppClientId,
    /// Its secret, where the backend chose it. It is said here once and never again, so whoever drops it has lost it.
    pub assigned: Option<ClientSecret>,
}

/// An app client as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClientSeen {
    pub name: String,
    pub scopes: ScopeSet,
    pub access_token_validity: Duration,
    /// Whether it has a secret and client credentials are its only flow.
    pub is_machine: bool,
}

/// A page of what a backend lists, in whatever order it lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPage<T> {
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last. Opaque.
    pub next: Option<String>,
}

/// Where client-credentials tokens come from (RFC 6749, section 4.4).
#[async_trait]
pub trait TokenEndpoint: Send + Sync {
    /// [`Fault::InvalidClient`] when the id or the secret is not known (there, yet or any more), [`Fault::Refused`]
    /// when nothing of `scopes` can be granted. The token's `scopes` are those granted, which may be fewer.
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken>;
}

/// Where the public keys of an issuer come from: its JWKS.
#[async_trait]
pub trait KeySource: Send + Sync {
    /// All RSA signature keys that the issuer publishes now.
    async fn keys(&self, pool: &MadePool) -> PortResult<Vec<PublicKey>>;
}

/// An RSA key of a JWKS (RFC 7517), its numbers base64url as published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub kid: String,
    pub modulus: String,
    pub exponent: String,
}

/// Whether whoever has a name of DNS has put a text there: TXT records.
#[async_trait]
pub trait DomainProofs: Send + Sync {
    /// Whether a TXT record of `name`, in its ASCII form, holds exactly `value`; what stands in several parts of one record
    /// is one text. `false` where there is no such record or no such name. [`Fault::Unavailable`] where nobody can tell.
    async fn has_txt(&self, name: &str, value: &str) -> PortResult<bool>;
}

/// Secrets with versions and staging labels: Secrets Manager.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Makes `version` exist and carry `AWSPENDING`, and the secret itself if need be (one that is scheduled for
    /// deletion is restored). A version that exists keeps its content, whatever `document` says: the first writer's
    /// value stands. The first version of a secret gets `AWSCURRENT` too, as in Secrets Manager.
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()>;

    /// Makes `version` exist, with `AWSCURRENT` on it if it is new and `AWSPREVIOUS` on the one that had it; and the
    /// secret itself as [`stage`](Vault::stage) does. A version that exists is left as it is, and so are the labels:
    /// repeating this moves nothing back. It compares with nothing, so it is for names whose secret is of nobody yet.
    /// Before a new version without an app client's id, which is the first of a new client, nobody may read the secret any more
    /// whom [`set_readers`](Vault::set_readers) let for a former one.
    async fn put(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()>;

    /// Where the labels are; `None` when there is no such secret, or it is scheduled for deletion.
    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>>;

    /// The content of a version, `None` when there is none.
    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>>;

    /// Moves `AWSCURRENT` to `to` if it is on `from` (compare-and-swap), and `AWSPREVIOUS` to `from`. Succeeds when
    /// `to` has it already; [`Fault::Conflict`] when any other version has.
    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()>;

    /// Takes a label off a version; succeeds when it is not there.
    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()>;

    /// Deletes the secret after the recovery window. Succeeds when it is gone or scheduled already.
    async fn schedule_deletion(&self, name: &SecretName, window: Duration) -> PortResult<()>;

    /// Takes back that the secret is to be deleted: it is there again with its versions and labels. `false` when it was not
    /// to be deleted, or is gone.
    async fn restore(&self, name: &SecretName) -> PortResult<bool>;

    /// Lets exactly these IAM principals (ARNs) read the secret by themselves. A vault without IAM takes no notice.
    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()>;

    /// The text of a secret that is not Keyward's, by its name or ARN, for taking it over; `None` when there is none.
    async fn read_foreign(&self, name: &str) -> PortResult<Option<Zeroizing<String>>>;

    /// A page of the secrets whose names start with `prefix` and that are not scheduled for deletion.
    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>>;
}

/// The staging labels that may be taken off; `AWSCURRENT` only moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Pending,
    Previous,
}

/// Which version of a secret to read.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    Current,
    Version(&'a VersionId),
}

/// What a version holds: JSON that a backend can use as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SecretDocument {
    /// Absent only while the app client is being made or taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<AppClientId>,
    pub client_secret: ClientSecret,
    pub token_endpoint: String,
    pub issuer: String,
    /// Space separated.
    pub scopes: String,
}

/// The broker's own records, each with a version, and the audit events. Everything that changes together is one
/// [`ChangeSet`], all or nothing.
#[async_trait]
pub trait Registry: Send + Sync {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>>;

    /// Records whose key starts with `prefix` and is greater than `after`, in byte order of their keys, at most
    /// `limit`. Each is as it was at some moment of the call, not all of one moment.
    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>>;

    /// Records that have a due time, the earliest first, at most `limit`. What is given is as it is now; what another
    /// broker wrote within the last second may be missing.
    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>>;

    /// Fails with [`Fault::Conflict`], and changes nothing, unless every expectation holds. Returns the number of the
    /// last event appended. Fails with [`Fault::Refused`] where [`ChangeSet::check`] does. After [`Fault::Unavailable`]
    /// nobody knows whether it happened; after any other, nothing did.
    ///
    /// Events are numbered and chained in the same transaction, in the order in which the change set has them, by
    /// [`Head::append`](crate::domain::audit::Head::append) on the head that the transaction reads and writes. So a
    /// registry keeps, besides each event, the digest that it got with its number, and the head.
    async fn commit(&self, changes: ChangeSet) -> PortResult<u64>;

    /// Events numbered above `after`, in order, at most `limit`.
    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>>;

    /// The number of the last event, 0 when there is none.
    async fn last_event(&self) -> PortResult<u64>;

    /// Forgets events older than `before`, the oldest `limit` of them at the most; returns how many went. Only from the
    /// front, and never the head, so that what is left is still one chain.
    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize>;
}

/// The time, and waiting for it. Tests have one that they move by hand.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Returns once `now()` is `time` or later.
    async fn sleep_until(&self, time: Timestamp);
}
