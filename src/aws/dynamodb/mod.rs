//! The registry in DynamoDB, which several brokers can share, the feed of its changes, and the tokens that they share.
//!
//! One table holds everything, who else lives included; [`items`] says how. A change set is one transaction, in which every record carries the
//! version that it must still have, and the head of the table numbers the change and chains its events. So a commit is
//! all or nothing, events have no gaps, and no two brokers take a number twice. Nothing here knows what a record says.
//!
//! It must never make a table, write without the head, or answer a change that may not have been made. Records are read
//! consistently; the index of what is due is a hint. Fails as the port says: Conflict when an expectation does not hold,
//! Refused when a change set is too large, Throttled when DynamoDB or other brokers leave no room, Unavailable when
//! nobody knows.
//!
//! The head is one item: DynamoDB writes it some 500 times a second at the most, whatever the number of brokers.

mod checking;
pub(super) mod data_key;
mod importing;
mod items;
mod members;
mod opening;
pub(super) mod probing;
mod pruning;
mod reading;
mod recent;
mod table;
mod tokens;
mod transaction;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

pub use importing::Importing;
pub use opening::OpenTableError;

use crate::broker::ports::{ChangeFeed, ChangeSet, LoggedChange, Members, PortResult, Registry, Shelf, StoredRecord};
use crate::domain::audit::NumberedEvent;
use crate::domain::id::BrokerId;
use crate::domain::share::Member;
use recent::Recent;
use table::{Table, asking};
use writing::Writer;

/// A registry in one table.
#[derive(Clone)]
pub struct DynamoDb {
    table: Arc<Table>,
    recent: Arc<Recent>,
    writer: Writer,
}

impl DynamoDb {
    /// Fails unless the table is there and has the keys and the index that are needed, while a migration fills it, and where
    /// it has records of a form that is not read.
    /// The writer runs where this is called.
    pub(super) async fn open(table: Table) -> Result<Self, OpenTableError> {
        opening::check(&table).await?;
        opening::check_whole(&table).await?;
        opening::check_form(&table).await?;
        let (table, recent) = (Arc::new(table), Arc::new(Recent::default()));
        let writer = Writer::start(table.clone(), recent.clone());
        Ok(DynamoDb { table, recent, writer })
    }
}

pub(super) use table::Table as RegistryTable;

#[async_trait]
impl Registry for DynamoDb {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        reading::get(&self.table, shelf, key).await
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        reading::scan(&self.table, shelf, prefix, after, limit).await
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        reading::due(&self.table, &self.recent, shelf, limit).await
    }

    async fn commit(&self, changes: ChangeSet) -> PortResult<u64> {
        self.writer.commit(changes).await
    }

    async fn events(&self, after: u64, limit: usize) -> PortResult<Vec<NumberedEvent>> {
        reading::events(&self.table, after, limit).await
    }

    async fn last_event(&self) -> PortResult<u64> {
        Ok(self.table.head(asking("read the last event's number")).await?.log.sequence)
    }

    async fn prune_events(&self, before: Timestamp, limit: usize) -> PortResult<usize> {
        pruning::prune(&self.table, before, limit).await
    }
}

#[async_trait]
impl ChangeFeed for DynamoDb {
    async fn last_change(&self) -> PortResult<u64> {
        Ok(self.table.head(asking("read the last change's number")).await?.change)
    }

    async fn changes(&self, after: u64, limit: usize) -> PortResult<Vec<LoggedChange>> {
        reading::changes(&self.table, after, limit).await
    }
}

#[async_trait]
impl Members for DynamoDb {
    async fn beat(&self, member: &Member) -> PortResult<()> {
        members::beat(&self.table, member).await
    }

    async fn members(&self) -> PortResult<Vec<Member>> {
        members::all(&self.table).await
    }

    async fn leave(&self, broker: &BrokerId) -> PortResult<()> {
        members::leave(&self.table, broker).await
    }
}
