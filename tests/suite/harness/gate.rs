//! The daemon's backend behind a gate: it can be without second secrets, refuse tokens, and die at any call.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{
    AppClientSeen, AppClientSpec, ChangeSet, DomainSet, Fault, FoundPool, InteractiveSeen, InteractiveSpec, Label,
    NewAppClient, Peer, PortError, PortPage, PortResult, ProviderDrift, ProviderSpec, Registry, SecretDocument, Shelf,
    StoredRecord, TokenEndpoint, Unmet, UserPools, Vault, Wanted,
};
use keyward::domain::audit::NumberedEvent;
use keyward::domain::id::{AppClientId, PoolId, SecretId, SecretName, UserPoolId, VersionId};
use keyward::domain::pool::MadePool;
use keyward::domain::rotation::Labels;
use keyward::domain::scope::{Identifier, ResourceServer, ScopeSet};
use keyward::domain::secret::ClientSecret;
use keyward::domain::tenant::{HostedDomain, UserPoolSettings};
use keyward::domain::token::AccessToken;
use zeroize::Zeroizing;

/// What stands between a daemon and its backend. Several daemons, one after the other, may go through one gate.
pub struct Gate {
    second_secrets: AtomicBool,
    refuses_tokens: AtomicBool,
    /// How many half steps of changing calls are left to live: one before the change, one after it.
    life: AtomicUsize,
    user_pools: OnceLock<Arc<dyn UserPools>>,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Gate {
            second_secrets: AtomicBool::new(true),
            refuses_tokens: AtomicBool::new(false),
            life: AtomicUsize::new(usize::MAX),
            user_pools: OnceLock::new(),
        })
    }

    /// As a backend that knows one secret for each app client.
    pub fn without_second_secrets() -> Arc<Self> {
        let gate = Gate::new();
        gate.second_secrets.store(false, Ordering::SeqCst);
        gate
    }

    pub fn refuse_tokens(&self, yes: bool) {
        self.refuses_tokens.store(yes, Ordering::SeqCst);
    }

    /// After so many half steps of changing calls every call fails, as if the daemon's process were gone.
    pub fn die_after(&self, half_steps: usize) {
        self.life.store(half_steps, Ordering::SeqCst);
    }

    pub fn revive(&self) {
        self.life.store(usize::MAX, Ordering::SeqCst);
    }

    pub fn is_dead(&self) -> bool {
        self.life.load(Ordering::SeqCst) == 0
    }

    pub fn through(self: &Arc<Self>, ports: Ports) -> Ports {
        // A daemon that starts again has new ports to the same file; those that are open already serve as well.
        let _ = self.user_pools.set(ports.user_pools.clone());
        Ports {
            user_pools: Arc::new(Gated { inner: ports.user_pools, gate: self.clone() }),
            token_endpoint: Arc::new(Gated { inner: ports.token_endpoint, gate: self.clone() }),
            vault: Arc::new(Gated { inner: ports.vault, gate: self.clone() }),
            registry: Arc::new(Gated { inner: ports.registry, gate: self.clone() }),
            ..ports
        }
    }

    /// The app clients that are at the backend in a pool, told by its name, `pools/{pool}`.
    pub async fn app_clients(&self, pool: &str) -> Vec<String> {
        let user_pools = self.user_pools.get().expect("a daemon has gone through");
        let id = PoolId::parse("pool", pool.trim_start_matches("pools/")).expect("a pool's name");
        let made = user_pools.find_pool(&id, "").await.expect("looked for").expect("the pool is there").made;
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = user_pools.list_app_clients(&made, after.as_deref()).await.expect("a page");
            ids.extend(page.items.into_iter().map(|(id, _)| id.to_string()));
            match page.next {
                Some(next) => after = Some(next),
                None => return ids,
            }
        }
    }

    fn alive(&self, peer: Peer) -> PortResult<()> {
        if self.is_dead() { Err(PortError::new(peer, Fault::Unavailable, "any call", "gone")) } else { Ok(()) }
    }

    fn half_step(&self, peer: Peer) -> PortResult<()> {
        let spend = |life: usize| Some(if life == usize::MAX { life } else { life.saturating_sub(1) });
        // It always says Some.
        let _ = self.life.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
        self.alive(peer)
    }
}

struct Gated<T: ?Sized> {
    inner: Arc<T>,
    gate: Arc<Gate>,
}

impl<T: ?Sized> Gated<T> {
    async fn read<R>(&self, peer: Peer, call: impl Future<Output = PortResult<R>>) -> PortResult<R> {
        self.gate.alive(peer)?;
        call.await
    }

    async fn change<R>(&self, peer: Peer, call: impl Future<Output = PortResult<R>>) -> PortResult<R> {
        self.gate.half_step(peer)?;
        let result = call.await;
        self.gate.half_step(peer)?;
        result
    }
}

const POOLS: Peer = Peer::UserPools;

#[async_trait]
impl UserPools for Gated<dyn UserPools> {
    async fn ensure_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.change(POOLS, self.inner.ensure_pool(id, settings)).await
    }

    async fn make_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.change(POOLS, self.inner.make_pool(id, settings)).await
    }

    async fn find_pool(&self, id: &PoolId, region: &str) -> PortResult<Option<FoundPool>> {
        self.read(POOLS, self.inner.find_pool(id, region)).await
    }

    async fn describe_pool(&self, user_pool: &UserPoolId, region: &str) -> PortResult<Option<MadePool>> {
        self.read(POOLS, self.inner.describe_pool(user_pool, region)).await
    }

    async fn pool_settings(&self, pool: &MadePool) -> PortResult<Option<UserPoolSettings>> {
        self.read(POOLS, self.inner.pool_settings(pool)).await
    }

    async fn list_pools(&self, after: Option<&str>) -> PortResult<PortPage<PoolId>> {
        self.read(POOLS, self.inner.list_pools(after)).await
    }

    async fn check_settings(&self, settings: &UserPoolSettings, pool: Option<&MadePool>) -> PortResult<Option<Unmet>> {
        self.read(POOLS, self.inner.check_settings(settings, pool)).await
    }

    async fn set_domain(&self, id: &PoolId, pool: &MadePool, wanted: Option<&HostedDomain>) -> PortResult<DomainSet> {
        self.change(POOLS, self.inner.set_domain(id, pool, wanted)).await
    }

    async fn update_pool(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()> {
        self.change(POOLS, self.inner.update_pool(pool, settings)).await
    }

    async fn delete_pool(&self, id: &PoolId, region: &str, known: Option<&MadePool>) -> PortResult<()> {
        self.change(POOLS, self.inner.delete_pool(id, region, known)).await
    }

    async fn put_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.change(POOLS, self.inner.put_resource_server(pool, server)).await
    }

    async fn create_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.change(POOLS, self.inner.create_resource_server(pool, server)).await
    }

    async fn list_resource_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>> {
        self.read(POOLS, self.inner.list_resource_servers(pool)).await
    }

    async fn delete_resource_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()> {
        self.change(POOLS, self.inner.delete_resource_server(pool, identifier)).await
    }

    async fn create_app_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<NewAppClient> {
        self.change(POOLS, self.inner.create_app_client(pool, spec, secret)).await
    }

    async fn took_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<bool> {
        self.read(POOLS, self.inner.took_secret(pool, client, secret)).await
    }

    async fn find_app_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>> {
        self.read(POOLS, self.inner.find_app_client(pool, marker)).await
    }

    async fn describe_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Option<AppClientSeen>> {
        self.read(POOLS, self.inner.describe_app_client(pool, client)).await
    }

    async fn list_app_clients(
        &self,
        pool: &MadePool,
        after: Option<&str>,
    ) -> PortResult<PortPage<(AppClientId, String)>> {
        self.read(POOLS, self.inner.list_app_clients(pool, after)).await
    }

    async fn update_app_client(&self, pool: &MadePool, client: &AppClientId, spec: &AppClientSpec) -> PortResult<()> {
        self.change(POOLS, self.inner.update_app_client(pool, client, spec)).await
    }

    async fn create_interactive_client(&self, pool: &MadePool, spec: &InteractiveSpec) -> PortResult<AppClientId> {
        self.change(POOLS, self.inner.create_interactive_client(pool, spec)).await
    }

    async fn describe_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<InteractiveSeen>> {
        self.read(POOLS, self.inner.describe_interactive_client(pool, client)).await
    }

    async fn update_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &InteractiveSpec,
    ) -> PortResult<()> {
        self.change(POOLS, self.inner.update_interactive_client(pool, client, spec)).await
    }

    async fn delete_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<()> {
        self.change(POOLS, self.inner.delete_app_client(pool, client)).await
    }

    async fn put_identity_provider(&self, pool: &MadePool, spec: &ProviderSpec) -> PortResult<()> {
        self.change(POOLS, self.inner.put_identity_provider(pool, spec)).await
    }

    async fn compare_identity_provider(
        &self,
        pool: &MadePool,
        spec: &ProviderSpec,
    ) -> PortResult<Option<ProviderDrift>> {
        self.read(POOLS, self.inner.compare_identity_provider(pool, spec)).await
    }

    async fn list_identity_providers(&self, pool: &MadePool, after: Option<&str>) -> PortResult<PortPage<String>> {
        self.read(POOLS, self.inner.list_identity_providers(pool, after)).await
    }

    async fn delete_identity_provider(&self, pool: &MadePool, name: &str) -> PortResult<()> {
        self.change(POOLS, self.inner.delete_identity_provider(pool, name)).await
    }

    async fn add_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<SecretId> {
        if !self.gate.second_secrets.load(Ordering::SeqCst) {
            self.gate.alive(POOLS)?;
            return Err(PortError::new(POOLS, Fault::Unsupported, "add a client secret", "there is no such operation"));
        }
        self.change(POOLS, self.inner.add_secret(pool, client, secret)).await
    }

    async fn list_secrets(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>> {
        self.read(POOLS, self.inner.list_secrets(pool, client)).await
    }

    async fn delete_secret(&self, pool: &MadePool, client: &AppClientId, secret: &SecretId) -> PortResult<()> {
        self.change(POOLS, self.inner.delete_secret(pool, client, secret)).await
    }
}

#[async_trait]
impl TokenEndpoint for Gated<dyn TokenEndpoint> {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        if self.gate.refuses_tokens.load(Ordering::SeqCst) {
            let (fault, doing) = (Fault::InvalidClient, "fetch a token");
            return Err(PortError::new(Peer::TokenEndpoint, fault, doing, "invalid_client"));
        }
        self.read(Peer::TokenEndpoint, self.inner.fetch(pool, client, secret, scopes)).await
    }
}

#[async_trait]
impl Vault for Gated<dyn Vault> {
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.change(Peer::Vault, self.inner.stage(name, version, document)).await
    }

    async fn put(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.change(Peer::Vault, self.inner.put(name, version, document)).await
    }

    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>> {
        self.read(Peer::Vault, self.inner.labels(name)).await
    }

    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>> {
        Gated::read(self, Peer::Vault, self.inner.read(name, version)).await
    }

    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()> {
        self.change(Peer::Vault, self.inner.promote(name, from, to)).await
    }

    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()> {
        self.change(Peer::Vault, self.inner.clear(name, label, version)).await
    }

    async fn schedule_deletion(&self, name: &SecretName, window: Duration) -> PortResult<()> {
        self.change(Peer::Vault, self.inner.schedule_deletion(name, window)).await
    }

    async fn restore(&self, name: &SecretName) -> PortResult<bool> {
        self.change(Peer::Vault, self.inner.restore(name)).await
    }

    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()> {
        self.change(Peer::Vault, self.inner.set_readers(name, readers)).await
    }

    async fn read_foreign(&self, name: &str) -> PortResult<Option<Zeroizing<String>>> {
        Gated::read(self, Peer::Vault, self.inner.read_foreign(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>> {
        Gated::read(self, Peer::Vault, self.inner.list(prefix, after)).await
    }
}

#[async_trait]
impl Registry for Gated<dyn Registry> {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        self.read(Peer::Registry, self.inner.get(shelf, key)).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        self.read(Peer::Registry, self.inner.scan(shelf, prefix, after, limit)).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        self.read(Peer::Registry, self.inner.due(shelf, limit)).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        self.change(Peer::Registry, self.inner.commit(changes)).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        self.read(Peer::Registry, self.inner.events(after, limit)).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        self.read(Peer::Registry, self.inner.last_event()).await
    }

    async fn prune_events(&self, before: jiff::Timestamp, limit: usize) -> PortResult<usize> {
        self.read(Peer::Registry, self.inner.prune_events(before, limit)).await
    }
}
