//! A registry whose readings go through a test's hands: to be watched, held back or changed.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::Ports;
use keyward::broker::ports::{ChangeSet, PortResult, Registry, Shelf, StoredRecord};
use keyward::domain::audit::NumberedEvent;

/// What is done about them.
#[async_trait]
pub trait Reader: Send + Sync {
    /// What a `get`, a `scan` or a `due` of a shelf has found, and what its caller is told instead.
    async fn told(
        &self,
        how: &'static str,
        shelf: Shelf,
        found: PortResult<Vec<StoredRecord>>,
    ) -> PortResult<Vec<StoredRecord>>;

    async fn commit(&self, registry: &dyn Registry, changes: ChangeSet) -> PortResult<u64> {
        registry.commit(changes).await
    }
}

/// These ports, with what is read of their registry told by `reader`.
pub fn told_by(ports: Ports, reader: Arc<dyn Reader>) -> Ports {
    Ports { registry: Arc::new(Told { registry: ports.registry, reader }), ..ports }
}

struct Told {
    registry: Arc<dyn Registry>,
    reader: Arc<dyn Reader>,
}

#[async_trait]
impl Registry for Told {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        let found = self.registry.get(shelf, key).await.map(|found| found.into_iter().collect());
        Ok(self.reader.told("get", shelf, found).await?.pop())
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        let found = self.registry.scan(shelf, prefix, after, limit).await;
        self.reader.told("scan", shelf, found).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        let found = self.registry.due(shelf, limit).await;
        self.reader.told("due", shelf, found).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        self.reader.commit(&*self.registry, changes).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        self.registry.events(after, limit).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        self.registry.last_event().await
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        self.registry.prune_events(before, limit).await
    }
}
