//! Ports with a toll at every call, before its effect and after it: where tests count, delay, check, and pull the plug.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::Ports;
use keyward::broker::ports::{
    AppClientSeen, AppClientSpec, ChangeSet, DomainSet, FoundPool, InteractiveSeen, InteractiveSpec, KeySource, Label,
    NewAppClient, PortPage, PortResult, ProviderDrift, ProviderSpec, PublicKey, Registry, SecretDocument, Shelf,
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

/// What each call of a port pays. `call` is the method's name.
#[async_trait]
pub trait Toll: Send + Sync {
    /// An error here is the caller's answer, and nothing has happened.
    async fn before(&self, call: &'static str) -> PortResult<()>;

    /// An error here is the caller's answer, although the call has been done.
    async fn after(&self, call: &'static str) -> PortResult<()>;

    /// Returns when whoever calls is dead: what it has under way is dropped, and nothing is ever answered.
    async fn death(&self) {
        std::future::pending().await
    }
}

/// All ports, each behind the toll. The clock is free.
pub fn tolled(ports: Ports, toll: Arc<dyn Toll>) -> Ports {
    let road = Arc::new(Road { ports: ports.clone(), toll });
    Ports {
        user_pools: road.clone(),
        token_endpoint: road.clone(),
        key_source: road.clone(),
        shared: ports.shared,
        vault: road.clone(),
        registry: road,
        domain_proofs: ports.domain_proofs,
        clock: ports.clock,
    }
}

struct Road {
    ports: Ports,
    toll: Arc<dyn Toll>,
}

impl Road {
    async fn pass<T>(&self, call: &'static str, effect: impl Future<Output = PortResult<T>>) -> PortResult<T> {
        let call = async {
            self.toll.before(call).await?;
            let answer = effect.await;
            self.toll.after(call).await?;
            answer
        };
        let answer = tokio::select! {
            biased;
            () = self.toll.death() => None,
            answer = call => Some(answer),
        };
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl UserPools for Road {
    async fn ensure_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.pass("ensure_pool", self.ports.user_pools.ensure_pool(id, settings)).await
    }

    async fn make_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.pass("ensure_pool", self.ports.user_pools.make_pool(id, settings)).await
    }

    async fn find_pool(&self, id: &PoolId, region: &str) -> PortResult<Option<FoundPool>> {
        self.pass("find_pool", self.ports.user_pools.find_pool(id, region)).await
    }

    async fn describe_pool(&self, user_pool: &UserPoolId, region: &str) -> PortResult<Option<MadePool>> {
        self.pass("describe_pool", self.ports.user_pools.describe_pool(user_pool, region)).await
    }

    async fn pool_settings(&self, pool: &MadePool) -> PortResult<Option<UserPoolSettings>> {
        self.pass("pool_settings", self.ports.user_pools.pool_settings(pool)).await
    }

    async fn list_pools(&self, after: Option<&str>) -> PortResult<PortPage<PoolId>> {
        self.pass("list_pools", self.ports.user_pools.list_pools(after)).await
    }

    async fn check_settings(&self, settings: &UserPoolSettings, pool: Option<&MadePool>) -> PortResult<Option<Unmet>> {
        self.pass("check_settings", self.ports.user_pools.check_settings(settings, pool)).await
    }

    async fn set_domain(&self, id: &PoolId, pool: &MadePool, wanted: Option<&HostedDomain>) -> PortResult<DomainSet> {
        self.pass("set_domain", self.ports.user_pools.set_domain(id, pool, wanted)).await
    }

    async fn update_pool(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()> {
        self.pass("update_pool", self.ports.user_pools.update_pool(pool, settings)).await
    }

    async fn delete_pool(&self, id: &PoolId, region: &str, known: Option<&MadePool>) -> PortResult<()> {
        self.pass("delete_pool", self.ports.user_pools.delete_pool(id, region, known)).await
    }

    async fn put_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.pass("put_resource_server", self.ports.user_pools.put_resource_server(pool, server)).await
    }

    async fn create_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.pass("put_resource_server", self.ports.user_pools.create_resource_server(pool, server)).await
    }

    async fn list_resource_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>> {
        self.pass("list_resource_servers", self.ports.user_pools.list_resource_servers(pool)).await
    }

    async fn delete_resource_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()> {
        self.pass("delete_resource_server", self.ports.user_pools.delete_resource_server(pool, identifier)).await
    }

    async fn create_app_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<NewAppClient> {
        self.pass("create_app_client", self.ports.user_pools.create_app_client(pool, spec, secret)).await
    }

    async fn took_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<bool> {
        self.pass("took_secret", self.ports.user_pools.took_secret(pool, client, secret)).await
    }

    async fn find_app_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>> {
        self.pass("find_app_client", self.ports.user_pools.find_app_client(pool, marker)).await
    }

    async fn describe_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Option<AppClientSeen>> {
        self.pass("describe_app_client", self.ports.user_pools.describe_app_client(pool, client)).await
    }

    async fn list_app_clients(
        &self,
        pool: &MadePool,
        after: Option<&str>,
    ) -> PortResult<PortPage<(AppClientId, String)>> {
        self.pass("list_app_clients", self.ports.user_pools.list_app_clients(pool, after)).await
    }

    async fn update_app_client(&self, pool: &MadePool, client: &AppClientId, spec: &AppClientSpec) -> PortResult<()> {
        self.pass("update_app_client", self.ports.user_pools.update_app_client(pool, client, spec)).await
    }

    async fn create_interactive_client(&self, pool: &MadePool, spec: &InteractiveSpec) -> PortResult<AppClientId> {
        self.pass("create_interactive_client", self.ports.user_pools.create_interactive_client(pool, spec)).await
    }

    async fn describe_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<InteractiveSeen>> {
        self.pass("describe_interactive_client", self.ports.user_pools.describe_interactive_client(pool, client)).await
    }

    async fn update_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &InteractiveSpec,
    ) -> PortResult<()> {
        let update = self.ports.user_pools.update_interactive_client(pool, client, spec);
        self.pass("update_interactive_client", update).await
    }

    async fn delete_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<()> {
        self.pass("delete_app_client", self.ports.user_pools.delete_app_client(pool, client)).await
    }

    async fn put_identity_provider(&self, pool: &MadePool, spec: &ProviderSpec) -> PortResult<()> {
        self.pass("put_identity_provider", self.ports.user_pools.put_identity_provider(pool, spec)).await
    }

    async fn compare_identity_provider(
        &self,
        pool: &MadePool,
        spec: &ProviderSpec,
    ) -> PortResult<Option<ProviderDrift>> {
        self.pass("compare_identity_provider", self.ports.user_pools.compare_identity_provider(pool, spec)).await
    }

    async fn list_identity_providers(&self, pool: &MadePool, after: Option<&str>) -> PortResult<PortPage<String>> {
        self.pass("list_identity_providers", self.ports.user_pools.list_identity_providers(pool, after)).await
    }

    async fn delete_identity_provider(&self, pool: &MadePool, name: &str) -> PortResult<()> {
        self.pass("delete_identity_provider", self.ports.user_pools.delete_identity_provider(pool, name)).await
    }

    async fn add_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<SecretId> {
        self.pass("add_secret", self.ports.user_pools.add_secret(pool, client, secret)).await
    }

    async fn list_secrets(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>> {
        self.pass("list_secrets", self.ports.user_pools.list_secrets(pool, client)).await
    }

    async fn delete_secret(&self, pool: &MadePool, client: &AppClientId, secret: &SecretId) -> PortResult<()> {
        self.pass("delete_secret", self.ports.user_pools.delete_secret(pool, client, secret)).await
    }
}

#[async_trait]
impl TokenEndpoint for Road {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        self.pass("fetch", self.ports.token_endpoint.fetch(pool, client, secret, scopes)).await
    }
}

#[async_trait]
impl KeySource for Road {
    async fn keys(&self, pool: &MadePool) -> PortResult<Vec<PublicKey>> {
        self.pass("keys", self.ports.key_source.keys(pool)).await
    }
}

#[async_trait]
impl Vault for Road {
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.pass("stage", self.ports.vault.stage(name, version, document)).await
    }

    async fn put(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.pass("put", self.ports.vault.put(name, version, document)).await
    }

    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>> {
        self.pass("labels", self.ports.vault.labels(name)).await
    }

    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>> {
        self.pass("read", self.ports.vault.read(name, version)).await
    }

    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()> {
        self.pass("promote", self.ports.vault.promote(name, from, to)).await
    }

    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()> {
        self.pass("clear", self.ports.vault.clear(name, label, version)).await
    }

    async fn schedule_deletion(&self, name: &SecretName, window: Duration) -> PortResult<()> {
        self.pass("schedule_deletion", self.ports.vault.schedule_deletion(name, window)).await
    }

    async fn restore(&self, name: &SecretName) -> PortResult<bool> {
        self.pass("restore", self.ports.vault.restore(name)).await
    }

    async fn set_readers(&self, name: &SecretName, readers: &[String]) -> PortResult<()> {
        self.pass("set_readers", self.ports.vault.set_readers(name, readers)).await
    }

    async fn read_foreign(&self, name: &str) -> PortResult<Option<Zeroizing<String>>> {
        self.pass("read_foreign", self.ports.vault.read_foreign(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>> {
        self.pass("list", self.ports.vault.list(prefix, after)).await
    }
}

#[async_trait]
impl Registry for Road {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        self.pass("get", self.ports.registry.get(shelf, key)).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        self.pass("scan", self.ports.registry.scan(shelf, prefix, after, limit)).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        self.pass("due", self.ports.registry.due(shelf, limit)).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        self.pass("commit", self.ports.registry.commit(changes)).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        self.pass("events", self.ports.registry.events(after, limit)).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        self.pass("last_event", self.ports.registry.last_event()).await
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        self.pass("prune_events", self.ports.registry.prune_events(before, limit)).await
    }
}
