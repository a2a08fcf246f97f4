//! A broker of the next release, as far as what it stores goes: today's, behind a registry that has another form besides.
//!
//! In that form, records of clients, credentials, rotations and journals look quite different. The registry reads both forms;
//! whether it begins to write the newer is its own setting, as it would be in the release that first reads it and the one
//! after. A record that is in it stays in it.

use async_trait::async_trait;
use keyward::broker::ports::{Action, ChangeSet, PortResult, Registry, Shelf, StoredRecord};
use keyward::domain::form::Form;

use crate::harness::readings::Reader;

/// On these shelves there are two forms.
pub const CHANGED: [Shelf; 4] = [Shelf::Client, Shelf::Credential, Shelf::Rotation, Shelf::Journal];

const BEFORE: &[u8] = b"{\"what\":";

/// The first form that this Keyward does not read.
pub fn unread() -> Form {
    Form::new(u64::from(Form::READ.number()) + 1).expect("a form")
}

pub struct Next {
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
impl Reader for Next {
    async fn told(
        &self,
        _how: &'static str,
        _shelf: Shelf,
        found: PortResult<Vec<StoredRecord>>,
    ) -> PortResult<Vec<StoredRecord>> {
        Ok(found?.into_iter().map(Next::read).collect())
    }

    async fn commit(&self, registry: &dyn Registry, mut changes: ChangeSet) -> PortResult<u64> {
        for write in &mut changes.writes {
            let Action::Put { body, form, .. } = &mut write.action else { continue };
            // If it is another by now, the version is too.
            let before = registry.get(write.shelf, &write.key).await?.map(|record| record.form);
            if CHANGED.contains(&write.shelf) && (self.writes || before == Some(unread())) {
                (*body, *form) = ([BEFORE, body.as_slice(), b"}"].concat(), unread());
            }
        }
        registry.commit(changes).await
    }
}
