//! Backends that go down when a test says so, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::Ports;
use keyward::broker::ports::{
    AppClientSpec, ChangeSet, Fault, Peer, PortError, PortResult, Registry, Shelf, StoredRecord, UserPools,
};
use keyward::domain::audit::NumberedEvent;
use keyward::domain::id::{AppClientId, PoolId, SecretId};
use keyward::domain::pool::MadePool;
use keyward::domain::scope::{Identifier, ResourceServer};
use keyward::domain::secret::ClientSecret;
use keyward::domain::tenant::UserPoolSettings;

/// What such a backend says for its log; no caller may ever read it.
pub const INNER_DETAIL: &str = "connection reset by peer 10.1.2.3";

/// The switch of a backend.
#[derive(Clone, Default)]
pub struct Outage(Arc<AtomicBool>);

impl Outage {
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// These ports, with user pools that do not answer during the outage.
    pub fn of_user_pools(&self, ports: Ports) -> Ports {
        let user_pools = Arc::new(Weathered { inner: ports.user_pools.clone(), outage: self.clone() });
        Ports { user_pools, ..ports }
    }

    /// These ports, with a registry that takes no changes during the outage.
    pub fn of_changes(&self, ports: Ports) -> Ports {
        let registry = Arc::new(Weathered { inner: ports.registry.clone(), outage: self.clone() });
        Ports { registry, ..ports }
    }

    fn pass(&self, peer: Peer) -> PortResult<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(PortError::new(peer, Fault::Unavailable, "reach the backend", INNER_DETAIL));
        }
        Ok(())
    }
}

struct Weathered<T: ?Sized> {
    inner: Arc<T>,
    outage: Outage,
}

#[async_trait]
impl UserPools for Weathered<dyn UserPools> {
    async fn ensure_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.ensure_pool(id, settings).await
    }

    async fn update_pool(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.update_pool(pool, settings).await
    }

    async fn delete_pool(&self, id: &PoolId) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.delete_pool(id).await
    }

    async fn put_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.put_resource_server(pool, server).await
    }

    async fn list_resource_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.list_resource_servers(pool).await
    }

    async fn delete_resource_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.delete_resource_server(pool, identifier).await
    }

    async fn create_app_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<AppClientId> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.create_app_client(pool, spec, secret).await
    }

    async fn find_app_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.find_app_client(pool, marker).await
    }

    async fn update_app_client(&self, pool: &MadePool, client: &AppClientId, spec: &AppClientSpec) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.update_app_client(pool, client, spec).await
    }

    async fn delete_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.delete_app_client(pool, client).await
    }

    async fn add_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<SecretId> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.add_secret(pool, client, secret).await
    }

    async fn list_secrets(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.list_secrets(pool, client).await
    }

    async fn delete_secret(&self, pool: &MadePool, client: &AppClientId, secret: &SecretId) -> PortResult<()> {
        self.outage.pass(Peer::UserPools)?;
        self.inner.delete_secret(pool, client, secret).await
    }
}

#[async_trait]
impl Registry for Weathered<dyn Registry> {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        self.inner.get(shelf, key).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        self.inner.scan(shelf, prefix, after, limit).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        self.inner.due(shelf, limit).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        self.outage.pass(Peer::Registry)?;
        self.inner.commit(changes).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        self.inner.events(after, limit).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        self.inner.last_event().await
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        self.inner.prune_events(before, limit).await
    }
}
