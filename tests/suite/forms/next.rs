//! A broker of the next release, as far as what it stores goes: today's, behind a registry that has another form besides.
//!
//! In form 2, records of clients, credentials, rotations and journals look quite different. The registry reads both forms;
//! whether it begins to write form 2 is its own setting, as it would be in the release that first reads it and the one
//! after. A record that is in form 2 stays in form 2.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::ports::{Action, ChangeSet, PortResult, Registry, Shelf, StoredRecord};
use keyward::domain::audit::NumberedEvent;
use keyward::domain::form::Form;

/// On these shelves there are two forms.
pub const CHANGED: [Shelf; 4] = [Shelf::Client, Shelf::Credential, Shelf::Rotation, Shelf::Journal];

const BEFORE: &[u8] = b"{\"what\":";

pub fn second() -> Form {
    Form::new(2).expect("a form")
}

pub struct Next {
    pub registry: Arc<dyn Registry>,
    /// Whether it writes form 2 of itself.
    pub writes: bool,
}

impl Next {
    fn read(record: StoredRecord) -> StoredRecord {
        if record.form != second() {
            return record;
        }
        let inner = record.body.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(b"}"));
        StoredRecord { body: inner.expect("form 2").to_vec(), form: Form::FIRST, ..record }
    }
}

#[async_trait]
impl Registry for Next {
    async fn get(&self, shelf: Shelf, key: &str) -> PortResult<Option<StoredRecord>> {
        Ok(self.registry.get(shelf, key).await?.map(Next::read))
    }

    async fn scan(
        &self,
        shelf: Shelf,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> PortResult<Vec<StoredRecord>> {
        Ok(self.registry.scan(shelf, prefix, after, limit).await?.into_iter().map(Next::read).collect())
    }

    async fn due(&self, shelf: Shelf, limit: usize) -> PortResult<Vec<StoredRecord>> {
        Ok(self.registry.due(shelf, limit).await?.into_iter().map(Next::read).collect())
    }

    async fn commit(&self, mut changes: ChangeSet) -> PortResult<u64> {
        for write in &mut changes.writes {
            let Action::Put { body, form, .. } = &mut write.action else { continue };
            // If it is another by now, the version is too.
            let before = self.registry.get(write.shelf, &write.key).await?.map(|record| record.form);
            if CHANGED.contains(&write.shelf) && (self.writes || before == Some(second())) {
                (*body, *form) = ([BEFORE, body.as_slice(), b"}"].concat(), second());
            }
        }
        self.registry.commit(changes).await
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
