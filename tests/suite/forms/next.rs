//! A broker of the next release, as far as what it stores goes: today's, behind a registry that has another form besides.
//!
//! In that form, records of clients, credentials, rotations and journals look quite different. The registry reads both forms;
//! whether it begins to write the newer is its own setting, as it would be in the release that first reads it and the one
//! after. A record that is in it stays in it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use keyward::broker::ports::{Action, ChangeSet, PortResult, Registry, Shelf, StoredRecord};
use keyward::domain::audit::NumberedEvent;
use keyward::domain::form::Form;

/// On these shelves there are two forms.
pub const CHANGED: [Shelf; 4] = [Shelf::Client, Shelf::Credential, Shelf::Rotation, Shelf::Journal];

const BEFORE: &[u8] = b"{\"what\":";

/// The first form that this Keyward does not read.
pub fn unread() -> Form {
    Form::new(u64::from(Form::READ.number()) + 1).expect("a form")
}

pub struct Next {
    pub registry: Arc<dyn Registry>,
    /// Whether it writes the newer form of itself.
    pub writes: bool,
}

impl Next {
    fn read(record: StoredRecord) -> StoredRecord {
        if record.form != unread() {
            return record;
        }
        let inner = record.body.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(b"}"));
        StoredRecord { body: inner.expect("the newer form").to_vec(), form: Form::FIRST, ..record }
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
            if CHANGED.contains(&write.shelf) && (self.writes || before == Some(unread())) {
                (*body, *form) = ([BEFORE, body.as_slice(), b"}"].concat(), unread());
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
