//! What a registry keeps, and what is changed in it together.
//!
//! The limits are those of one transaction of DynamoDB, whichever registry there is, so that what fits here fits there.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::domain::audit::Event;
use crate::domain::form::Form;

/// The kinds of records, each with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    Tenant,
    Client,
    Credential,
    Rotation,
    Pool,
    /// By issuer: which pool it is.
    Issuer,
    /// By issuer and app client id: whose it is.
    Owner,
    ResourceServer,
    /// By resource server and client: who uses it.
    Use,
    Revocation,
    /// By `jti`.
    RevokedToken,
    Journal,
    /// By journal: that its lease lasts longer than it says itself.
    Renewal,
    /// By caller and request id.
    Request,
    /// By kind and name: which tenant claims it.
    Claim,
    /// By tenant and identity provider: the document that describes it.
    ProviderDocument,
    /// By client: that people sign in with it.
    Interactive,
    /// Single records of the broker itself.
    Setting,
}

impl Shelf {
    pub const ALL: [Shelf; 18] = [
        Shelf::Tenant,
        Shelf::Client,
        Shelf::Credential,
        Shelf::Rotation,
        Shelf::Pool,
        Shelf::Issuer,
        Shelf::Owner,
        Shelf::ResourceServer,
        Shelf::Use,
        Shelf::Revocation,
        Shelf::RevokedToken,
        Shelf::Journal,
        Shelf::Renewal,
        Shelf::Request,
        Shelf::Claim,
        Shelf::ProviderDocument,
        Shelf::Interactive,
        Shelf::Setting,
    ];

    /// What it is called where it is kept. Never rename one.
    pub const fn name(self) -> &'static str {
        match self {
            Shelf::Tenant => "tenant",
            Shelf::Client => "client",
            Shelf::Credential => "credential",
            Shelf::Rotation => "rotation",
            Shelf::Pool => "pool",
            Shelf::Issuer => "issuer",
            Shelf::Owner => "owner",
            Shelf::ResourceServer => "resource-server",
            Shelf::Use => "use",
            Shelf::Revocation => "revocation",
            Shelf::RevokedToken => "revoked-token",
            Shelf::Journal => "journal",
            Shelf::Renewal => "renewal",
            Shelf::Request => "request",
            Shelf::Claim => "claim",
            Shelf::ProviderDocument => "provider-document",
            Shelf::Interactive => "interactive",
            Shelf::Setting => "setting",
        }
    }

    /// The shelf of that name. `None` for one that this Keyward does not have, as a newer one might.
    pub fn named(name: &str) -> Option<Shelf> {
        Shelf::ALL.into_iter().find(|shelf| shelf.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub key: String,
    /// One more with every change. The first is above that of every record which this registry has ever deleted, so that a
    /// key has no version twice: whoever expects one never meets another record that was made in between.
    pub version: u64,
    /// JSON, in this form. A registry keeps it, whatever it is.
    pub body: Vec<u8>,
    pub form: Form,
    pub due_time: Option<Timestamp>,
}

/// What changes together: at most [`MAX_WRITES`](Self::MAX_WRITES) records and [`MAX_EVENTS`](Self::MAX_EVENTS) events.
///
/// One transaction of DynamoDB holds 100 items (`TransactWriteItems`). Two are the registry's own, the head of the log and
/// the line in the change feed; each event is one; the rest is for records, which [`Action::Check`] takes up too.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    pub writes: Vec<Write>,
    pub events: Vec<Event>,
}

impl ChangeSet {
    pub const MAX_WRITES: usize = 90;
    pub const MAX_EVENTS: usize = 8;
    /// Of a record's key, in bytes: what a sort key of DynamoDB holds. None is empty.
    pub const MAX_KEY_BYTES: usize = 1_024;
    /// Of a record's body or an event: an item of DynamoDB has at most 400 KB, its key and names of attributes included.
    pub const MAX_BODY_BYTES: usize = 380_000;
    /// Of all bodies, keys and events: a transaction of DynamoDB has at most 4 MB.
    pub const MAX_BYTES: usize = 3_000_000;

    /// Says which limit is overstepped, or which record is there twice; a registry then changes nothing.
    pub fn check(&self) -> Result<(), String> {
        let (writes, events) = (self.writes.len(), self.events.len());
        if writes > Self::MAX_WRITES {
            return Err(format!("{writes} writes in one change set; at most {}", Self::MAX_WRITES));
        }
        if events > Self::MAX_EVENTS {
            return Err(format!("{events} events in one change set; at most {}", Self::MAX_EVENTS));
        }
        let mut seen = HashSet::new();
        for write in &self.writes {
            let (shelf, length) = (write.shelf.name(), write.key.len());
            if !(1..=Self::MAX_KEY_BYTES).contains(&length) {
                return Err(format!("a key of {length} bytes on {shelf}; 1 to {}", Self::MAX_KEY_BYTES));
            }
            if write.body_bytes() > Self::MAX_BODY_BYTES {
                let bytes = write.body_bytes();
                return Err(format!("{shelf} {} of {bytes} bytes; at most {}", write.key, Self::MAX_BODY_BYTES));
            }
            if !seen.insert((write.shelf, &write.key)) {
                return Err(format!("{shelf} {} is there twice in one change set", write.key));
            }
        }
        if let Some(large) = self.events.iter().find(|event| bytes_of(event) > Self::MAX_BODY_BYTES) {
            return Err(format!("an event of {} bytes; at most {}", bytes_of(large), Self::MAX_BODY_BYTES));
        }
        match self.bytes() {
            bytes if bytes > Self::MAX_BYTES => {
                Err(format!("{bytes} bytes in one change set; at most {}", Self::MAX_BYTES))
            }
            _ => Ok(()),
        }
    }

    /// The newest of all forms in which it stores something.
    pub fn newest_form(&self) -> Form {
        let records = self.writes.iter().filter_map(|write| match write.action {
            Action::Put { form, .. } => Some(form),
            Action::Check | Action::Delete => None,
        });
        records.chain(self.events.iter().map(Event::form)).max().unwrap_or(Form::FIRST)
    }

    /// Bodies, keys and events together.
    pub fn bytes(&self) -> usize {
        let records: usize = self.writes.iter().map(|write| write.key.len() + write.body_bytes()).sum();
        records + self.events.iter().map(bytes_of).sum::<usize>()
    }
}

/// An event's texts.
fn bytes_of(event: &Event) -> usize {
    let Event { principal, method, resource, reason, detail, request_id, call_id, .. } = event;
    [principal, method, resource, reason, detail, request_id, call_id].iter().map(|text| text.len()).sum()
}

#[derive(Clone, Debug)]
pub struct Write {
    pub shelf: Shelf,
    pub key: String,
    /// The version the record must have now; `None`: it must not exist.
    pub expected: Option<u64>,
    pub action: Action,
}

impl Write {
    fn body_bytes(&self) -> usize {
        match &self.action {
            Action::Put { body, .. } => body.len(),
            Action::Check | Action::Delete => 0,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Action {
    /// Only check the expectation.
    Check,
    Put {
        body: Vec<u8>,
        form: Form,
        due_time: Option<Timestamp>,
    },
    Delete,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: String, bytes: usize) -> Write {
        let action = Action::Put { body: vec![b'x'; bytes], form: Form::FIRST, due_time: None };
        Write { shelf: Shelf::Tenant, key, expected: None, action }
    }

    fn set(writes: Vec<Write>) -> ChangeSet {
        ChangeSet { writes, events: Vec::new() }
    }

    #[test]
    fn every_shelf_has_a_name_of_its_own_that_is_read_back() {
        let names: HashSet<_> = Shelf::ALL.into_iter().map(Shelf::name).collect();
        assert_eq!(names.len(), Shelf::ALL.len());
        for shelf in Shelf::ALL {
            assert_eq!(Shelf::named(shelf.name()), Some(shelf));
        }
        assert_eq!(Shelf::named("nothing"), None);
    }

    #[test]
    fn what_a_transaction_of_dynamodb_would_not_hold_is_named() {
        let many = |count: usize, bytes: usize| set((0..count).map(|i| put(format!("k{i}"), bytes)).collect());
        for fits in [many(90, 10), many(7, 380_000), set(vec![put("k".repeat(1_024), 0)]), ChangeSet::default()] {
            assert_eq!(fits.check(), Ok(()));
        }
        for (large, said) in [
            (many(91, 1), "91 writes"),
            (many(1, 380_001), "tenant k0 of 380001 bytes"),
            (many(8, 380_000), "3040016 bytes"),
            (set(vec![put(String::new(), 1)]), "a key of 0 bytes on tenant"),
            (set(vec![put("k".repeat(1_025), 1)]), "a key of 1025 bytes"),
            (set(vec![put("k".to_owned(), 1), put("k".to_owned(), 1)]), "tenant k is there twice"),
        ] {
            let problem = large.check().expect_err(said);
            assert!(problem.starts_with(said), "{problem}");
        }
    }
}
