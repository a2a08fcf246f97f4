//! The broker's records, typed, over whatever [`Registry`] there is.
//!
//! - A [`Change`] is made from an audit event, so nothing changes without one.
//! - Every write says which version it saw; whoever comes second fails with CONCURRENT_CHANGE and has changed nothing.
//! - Tenants, clients, credentials, owners, issuers, pools, claims and revoked tokens are read through bounded views in memory. A commit
//!   drops what it touches, before it is answered: a caller who has been told of a change sees it.

pub(super) mod lapsing;
mod settling;
pub(super) mod shelves;
pub(super) mod trust_log;
mod viewed;
mod views;

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::api::{Listing, Page};
use super::basis::{Basis, Changes, Subject};
use super::ports::{Action, ChangeSet, Fault, Peer, PortError, Registry, Shelf, StoredRecord, Write};
use crate::domain::audit::{Event, NumberedEvent};
use crate::domain::client::{Client, Owner};
use crate::domain::error::{Error, Result};
use crate::domain::form::Form;
use crate::domain::id::{Issuer, TenantId};
use crate::domain::pool::Pool;
use crate::domain::revocation::RevokedToken;
use crate::domain::rotation::Credential;
use crate::domain::sign_in::Claim;
use crate::domain::tenant::Tenant;
use lapsing::Lapsing;
pub use settling::settle;
use trust_log::TrustLog;
pub use viewed::Viewed;
use views::View;

/// What is kept on a shelf of its own.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    const SHELF: Shelf;

    fn key(&self) -> String;

    /// The least form in which it can be stored. A newer one than the first has to be [`read`](Form::READ) a release before
    /// anything makes a record need it.
    fn form(&self) -> Form {
        Form::FIRST
    }

    /// When somebody has to look at it again.
    fn due_time(&self) -> Option<Timestamp> {
        None
    }
}

/// A record as it was read, and the version that a write must still find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    pub value: T,
    pub version: u64,
}

impl<T> std::ops::Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Which pool an issuer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct IssuerPool {
    pub issuer: crate::domain::id::Issuer,
    pub pool: crate::domain::id::PoolId,
}

pub struct Records {
    pub(super) registry: Arc<dyn Registry>,
    tenants: View<Tenant>,
    clients: View<Client>,
    credentials: View<Credential>,
    owners: View<Owner>,
    issuers: View<IssuerPool>,
    pools: View<Pool>,
    claims: View<Claim>,
    revoked: View<RevokedToken>,
    /// Counts the changes to revoked tokens.
    revocations: watch::Sender<u64>,
    changes: Changes,
    pub(super) trust_log: TrustLog,
    last_event: watch::Sender<u64>,
    due: Notify,
    watched: Mutex<Lapsing<TenantId, watch::Sender<()>>>,
}

impl Records {
    /// `max_cached`: how many records of each viewed kind are held in memory.
    pub async fn open(registry: Arc<dyn Registry>, max_cached: u64) -> Result<Self> {
        let last_event = registry.last_event().await?;
        Ok(Records {
            registry,
            tenants: View::new(max_cached),
            clients: View::new(max_cached),
            credentials: View::new(max_cached),
            owners: View::new(max_cached),
            issuers: View::new(max_cached),
            pools: View::new(max_cached),
            claims: View::new(max_cached),
            revoked: View::new(max_cached),
            revocations: watch::Sender::new(0),
            changes: Changes::new(),
            trust_log: TrustLog::default(),
            last_event: watch::Sender::new(last_event),
            due: Notify::new(),
            watched: Mutex::new(Lapsing::new(|sender| sender.receiver_count() > 0)),
        })
    }

    pub async fn get<T: Record>(&self, key: &str) -> Result<Option<Versioned<T>>> {
        self.registry.get(T::SHELF, key).await?.map(decode).transpose()
    }

    /// Like [`view`](Records::view), for an answer that may be given again: what is looked at is noted.
    pub async fn view_for<T: Viewed>(&self, key: &str, basis: &mut Basis) -> Result<Option<Arc<Versioned<T>>>> {
        self.note::<T>(key, basis);
        self.view(key).await
    }

    /// Notes that an answer stands on a record, there or not.
    pub fn note<T: Record>(&self, key: &str, basis: &mut Basis) {
        self.changes.note(Subject::Record(T::SHELF, key), basis);
    }

    /// Like [`get`](Records::get), from memory where possible.
    pub async fn view<T: Viewed>(&self, key: &str) -> Result<Option<Arc<Versioned<T>>>> {
        let view = T::view(self);
        if let Some(seen) = view.get(key) {
            return Ok(seen);
        }
        let drops = view.drops();
        // In a box: what waits for a record that is in memory is not to be as large as what reads one.
        let read = Box::pin(self.get::<T>(key)).await?.map(Arc::new);
        view.keep(key, &read, drops);
        Ok(read)
    }

    pub async fn list<T: Record>(&self, prefix: &str, page: &Page) -> Result<Listing<Versioned<T>>> {
        let Listing { items, next } = self.stored(T::SHELF, prefix, page).await?;
        Ok(Listing { items: items.into_iter().map(decode).collect::<Result<_>>()?, next })
    }

    /// Like [`list`](Records::list), which fails where one is of a form that this broker does not read. Of such a one this
    /// gives the key.
    pub async fn list_with_newer<T: Record>(
        &self,
        prefix: &str,
        page: &Page,
    ) -> Result<Listing<(String, Option<Versioned<T>>)>> {
        let Listing { items, next } = self.stored(T::SHELF, prefix, page).await?;
        let read = |stored: StoredRecord| {
            Ok((stored.key.clone(), if stored.form.is_read() { Some(decode(stored)?) } else { None }))
        };
        Ok(Listing { items: items.into_iter().map(read).collect::<Result<_>>()?, next })
    }

    async fn stored(&self, shelf: Shelf, prefix: &str, page: &Page) -> Result<Listing<StoredRecord>> {
        let mut items = self.registry.scan(shelf, prefix, page.after.as_deref(), page.size + 1).await?;
        let more = items.len() > page.size;
        items.truncate(page.size);
        let next = items.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Listing { items, next })
    }

    /// Makes the change, all of it or nothing.
    pub async fn commit(&self, change: Change) -> Result<()> {
        let Change { set, fault } = change;
        if let Some(fault) = fault {
            return Err(Error::internal("encoding a record", fault));
        }
        let touched: Vec<(Shelf, String)> = set
            .writes
            .iter()
            .filter(|write| !matches!(write.action, Action::Check))
            .map(|write| (write.shelf, write.key.clone()))
            .collect();
        let outcome = self.registry.commit(set).await;
        // After a lost answer nobody knows whether it happened: forget it in any case.
        self.forget(&touched);
        self.tell_of_event(outcome?);
        Ok(())
    }

    fn tell_of_event(&self, number: u64) {
        self.last_event.send_if_modified(|last| {
            let newer = number > *last;
            *last = number.max(*last);
            newer
        });
    }

    /// What this broker has changed, or may have.
    fn forget(&self, touched: &[(Shelf, String)]) {
        self.drop_held(touched);
        if touched.iter().any(|(shelf, _)| matches!(shelf, Shelf::Journal | Shelf::Client)) {
            self.due.notify_one();
        }
    }

    /// To be told of what another broker has changed. What is due of it is that broker's to see to, unless it does not.
    pub fn learn(&self, touched: &[(Shelf, String)], last_event: u64) {
        self.drop_held(touched);
        self.tell_of_event(last_event);
    }

    /// To be called where changes of other brokers were missed.
    pub fn forget_all(&self) {
        self.tenants.forget_all();
        self.clients.forget_all();
        self.credentials.forget_all();
        self.owners.forget_all();
        self.issuers.forget_all();
        self.pools.forget_all();
        self.claims.forget_all();
        self.revoked.forget_all();
        self.revocations.send_modify(|count| *count += 1);
        self.changes.count_all();
        self.trust_log.lose();
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.values().for_each(|sender| sender.send_modify(|()| ()));
    }

    fn drop_held(&self, touched: &[(Shelf, String)]) {
        for (shelf, key) in touched {
            match shelf {
                Shelf::Tenant => self.tenants.forget(key),
                Shelf::Client => self.clients.forget(key),
                Shelf::Credential => self.credentials.forget(key),
                Shelf::Owner => self.owners.forget(key),
                Shelf::Issuer => self.issuers.forget(key),
                Shelf::Pool => self.pools.forget(key),
                Shelf::Claim => self.claims.forget(key),
                Shelf::RevokedToken => {
                    self.revoked.forget(key);
                    self.revocations.send_modify(|count| *count += 1);
                }
                _ => {}
            }
            self.changes.count(Subject::Record(*shelf, key));
            if matches!(shelf, Shelf::Tenant | Shelf::Client) {
                self.tell_watchers(key.split('/').next().unwrap_or_default());
            }
        }
        self.trust_log.note(touched);
    }

    /// Whether nothing that an answer stands on has changed, as far as this broker knows.
    pub fn stands(&self, basis: &Basis) -> bool {
        self.changes.are_none_since(basis)
    }

    /// Notes that an answer stands on the keys of an issuer.
    pub fn note_keys(&self, issuer: &Issuer, basis: &mut Basis) {
        self.changes.note(Subject::Keys(issuer.as_str()), basis);
    }

    /// To be told when other keys of an issuer were read.
    pub fn keys_changed(&self, issuer: &Issuer) {
        self.changes.count(Subject::Keys(issuer.as_str()));
    }

    /// Changes whenever a token may have been revoked since.
    pub fn revocation_count(&self) -> u64 {
        *self.revocations.borrow()
    }

    /// Changes with [`revocation_count`](Records::revocation_count).
    pub fn watch_revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// Returns when something may have become due.
    pub async fn due_changed(&self) {
        self.due.notified().await;
    }

    /// Something may have become due.
    pub fn nudge(&self) {
        self.due.notify_one();
    }

    /// Changes whenever the tenant or one of its clients does.
    pub fn watch_tenant(&self, tenant: &TenantId) -> watch::Receiver<()> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.entry(tenant.clone(), || watch::Sender::new(())).subscribe()
    }

    fn tell_watchers(&self, tenant: &str) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.is_empty() {
            return;
        }
        if let Some(sender) = TenantId::parse("tenant", tenant).ok().and_then(|tenant| watched.get(&tenant)) {
            sender.send_replace(());
        }
    }

    /// The number of the last event.
    pub fn watch_events(&self) -> watch::Receiver<u64> {
        self.last_event.subscribe()
    }

    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<NumberedEvent>> {
        Ok(self.registry.events(after, limit).await?)
    }

    pub async fn prune_events(&self, before: Timestamp, limit: usize) -> Result<usize> {
        Ok(self.registry.prune_events(before, limit).await?)
    }
}

/// What changes together, and the event that says why.
#[must_use]
pub struct Change {
    set: ChangeSet,
    fault: Option<serde_json::Error>,
}

impl Change {
    pub fn because(event: Event) -> Self {
        Change { set: ChangeSet { writes: Vec::new(), events: vec![event] }, fault: None }
    }

    /// For what decides nothing: records whose time is over, and notes on when to try again.
    pub fn housekeeping() -> Self {
        Change { set: ChangeSet::default(), fault: None }
    }

    pub fn create<T: Record>(self, record: &T) -> Self {
        self.put(record, None)
    }

    pub fn update<T: Record>(self, version: u64, record: &T) -> Self {
        self.put(record, Some(version))
    }

    pub fn delete<T: Record>(mut self, seen: &Versioned<T>) -> Self {
        self.write(T::SHELF, seen.key(), Some(seen.version), Action::Delete);
        self
    }

    /// Fails the whole change if the record is no longer as it was seen.
    pub fn require<T: Record>(mut self, seen: &Versioned<T>) -> Self {
        self.write(T::SHELF, seen.key(), Some(seen.version), Action::Check);
        self
    }

    /// Fails the whole change if there is such a record.
    pub fn require_none<T: Record>(mut self, key: String) -> Self {
        self.write(T::SHELF, key, None, Action::Check);
        self
    }

    /// Creates the record, or replaces it where `seen` is one.
    pub fn put<T: Record>(mut self, record: &T, seen: Option<u64>) -> Self {
        match serde_json::to_vec(record) {
            Ok(body) => {
                let (form, due_time) = (record.form(), record.due_time());
                self.write(T::SHELF, record.key(), seen, Action::Put { body, form, due_time });
            }
            Err(fault) => self.fault = Some(fault),
        }
        self
    }

    fn write(&mut self, shelf: Shelf, key: String, expected: Option<u64>, action: Action) {
        self.set.writes.push(Write { shelf, key, expected, action });
    }
}

pub(super) fn decode<T: Record>(stored: StoredRecord) -> Result<Versioned<T>> {
    if !stored.form.is_read() {
        let detail = format!("{} {} is in the form {}", T::SHELF.name(), stored.key, stored.form);
        return Err(PortError::new(Peer::Registry, Fault::NewerForm(stored.form), "reading a record", detail).into());
    }
    let value = serde_json::from_slice(&stored.body).map_err(|error| {
        let detail = format!("{:?} {}: {error}", T::SHELF, stored.key);
        Error::from(PortError::new(Peer::Registry, Fault::Broken, "decoding a record", detail))
    })?;
    Ok(Versioned { value, version: stored.version })
}
