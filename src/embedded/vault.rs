//! Secrets with versions and staging labels in SQLite, sealed: Secrets Manager in small.
//!
//! Labels move as in Secrets Manager. `AWSCURRENT` is given to the first version of a secret and from then on moves by
//! compare-and-swap, or to a version that is put; versions without a label are kept for a while (the newest
//! [`MAX_UNLABELLED`]). A secret scheduled for deletion cannot be seen; staging and putting restore it, with the versions
//! and labels it had. A version staged then gets `AWSPENDING` only, so that `AWSCURRENT` may be on a version whose app
//! client is long gone: whoever gives a name to something new has to put it, or to promote. A secret whose window is over
//! is gone, by the clock, and is taken out of the file by the next write.
//!
//! Nothing here knows what a document means, and none is ever in an error. Fails with Broken when one does not open.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction, params};
use zeroize::Zeroizing;

use super::Distance;
use super::registry::successor;
use super::sealing::Sealing;
use super::store::{Asking, Failure, Store, limit_of, text_of};
use crate::broker::ports::{Fault, Label, Peer, PortPage, PortResult, SecretDocument, Vault, Wanted};
use crate::domain::id::{SecretName, VersionId};
use crate::domain::rotation::Labels;
use crate::sealing::Place;

/// Versions without a label that a secret keeps.
const MAX_UNLABELLED: u32 = 10;

/// Secrets Manager's bounds of a recovery window. Zero deletes at once, as its `ForceDeleteWithoutRecovery` does.
const MIN_WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Names on a page.
const PAGE: usize = 100;

/// Made on every write, so it must not look through all secrets.
pub(super) const PURGE: &str = "DELETE FROM secrets WHERE deletion_time <= ?1";

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";
const PREVIOUS: &str = "AWSPREVIOUS";

pub(super) struct SqliteVault {
    store: Arc<Store>,
    sealing: Arc<Sealing>,
    distance: Distance,
}

impl SqliteVault {
    pub fn new(store: Arc<Store>, sealing: Arc<Sealing>, distance: Distance) -> Self {
        SqliteVault { store, sealing, distance }
    }

    /// Before it is known whether it is needed, so that no clear content waits in the writer's queue.
    fn seal(
        &self,
        asking: Asking,
        name: &SecretName,
        version: &VersionId,
        document: &SecretDocument,
    ) -> PortResult<Vec<u8>> {
        serialize(document)
            .and_then(|content| self.sealing.vault.seal(place(name, version), content).ok())
            .ok_or_else(|| asking.error(Fault::Broken, "the document cannot be sealed"))
    }
}

const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::Vault, doing }
}

#[async_trait]
impl Vault for SqliteVault {
    async fn stage(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("stage a version");
        let sealed = self.seal(asking, name, version, document)?;
        let (name, version, now) = (name.clone(), version.clone(), self.distance.now());
        let change = move |tx: &Transaction<'_>| {
            add(tx, &name, &version, &sealed, now)?;
            attach(tx, &name, PENDING, &version)?;
            if labelled(tx, &name, CURRENT)?.is_none() {
                attach(tx, &name, CURRENT, &version)?;
            }
            prune(tx, &name)
        };
        self.store.write(asking, change).await
    }

    async fn put(&self, name: &SecretName, version: &VersionId, document: &SecretDocument) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("put a version");
        let sealed = self.seal(asking, name, version, document)?;
        let (name, version, now) = (name.clone(), version.clone(), self.distance.now());
        let change = move |tx: &Transaction<'_>| {
            if add(tx, &name, &version, &sealed, now)? {
                if let Some(current) = labelled(tx, &name, CURRENT)? {
                    attach(tx, &name, PREVIOUS, &current)?;
                }
                attach(tx, &name, CURRENT, &version)?;
            }
            prune(tx, &name)
        };
        self.store.write(asking, change).await
    }

    async fn labels(&self, name: &SecretName) -> PortResult<Option<Labels>> {
        self.distance.travel().await;
        let name = name.clone();
        let query = move |tx: &Transaction<'_>| {
            if !is_visible(tx, &name)? {
                return Ok(None);
            }
            let on = |label| labelled(tx, &name, label);
            Ok(Some(Labels { current: on(CURRENT)?, pending: on(PENDING)?, previous: on(PREVIOUS)? }))
        };
        self.store.read(asking("read labels"), query).await
    }

    async fn read(&self, name: &SecretName, version: Wanted<'_>) -> PortResult<Option<SecretDocument>> {
        self.distance.travel().await;
        let asking = asking("read a version");
        let wanted = match version {
            Wanted::Current => None,
            Wanted::Version(version) => Some(version.clone()),
        };
        let named = name.clone();
        let query = move |tx: &Transaction<'_>| {
            if !is_visible(tx, &named)? {
                return Ok(None);
            }
            let current = || labelled(tx, &named, CURRENT);
            let Some(version) = wanted.map_or_else(current, |version| Ok(Some(version)))? else {
                return Ok(None);
            };
            let sql = "SELECT sealed FROM versions WHERE secret = ?1 AND id = ?2";
            let place = params![named.as_str(), version.as_str()];
            let sealed: Option<Vec<u8>> = tx.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
            Ok(sealed.map(|sealed| (version, sealed)))
        };
        let Some((version, sealed)) = self.store.read(asking, query).await? else {
            return Ok(None);
        };
        let content = self.sealing.vault.open(place(name, &version), sealed);
        let content =
            content.map_err(|_| asking.error(Fault::Broken, format!("version {version} of {name} does not open")))?;
        // Serde's own words could repeat a part of the content.
        let document = serde_json::from_slice(&content)
            .map_err(|_| asking.error(Fault::Broken, format!("version {version} of {name} is not a document")))?;
        Ok(Some(document))
    }

    async fn promote(&self, name: &SecretName, from: &VersionId, to: &VersionId) -> PortResult<()> {
        self.distance.travel().await;
        let (name, from, to) = (name.clone(), from.clone(), to.clone());
        let change = move |tx: &Transaction<'_>| {
            if !is_visible(tx, &name)? {
                return Err(Failure::told(Fault::NotFound, format!("there is no secret {name}")));
            }
            let current = labelled(tx, &name, CURRENT)?;
            if current.as_ref() == Some(&to) {
                return Ok(());
            }
            if current.as_ref() != Some(&from) {
                let current = current.map_or("no version".to_owned(), |version| version.to_string());
                let detail = format!("{CURRENT} of {name} is on {current}, not on {from}");
                return Err(Failure::told(Fault::Conflict, detail));
            }
            let sql = "SELECT 1 FROM versions WHERE secret = ?1 AND id = ?2";
            if !tx.prepare_cached(sql)?.exists(params![name.as_str(), to.as_str()])? {
                return Err(Failure::told(Fault::NotFound, format!("{name} has no version {to}")));
            }
            attach(tx, &name, CURRENT, &to)?;
            attach(tx, &name, PREVIOUS, &from)?;
            prune(tx, &name)
        };
        self.store.write(asking("promote a version"), change).await
    }

    async fn clear(&self, name: &SecretName, label: Label, version: &VersionId) -> PortResult<()> {
        self.distance.travel().await;
        let (name, version) = (name.clone(), version.clone());
        let label = match label {
            Label::Pending => PENDING,
            Label::Previous => PREVIOUS,
        };
        let change = move |tx: &Transaction<'_>| {
            if !is_visible(tx, &name)? {
                return Ok(());
            }
            let sql = "DELETE FROM labels WHERE secret = ?1 AND label = ?2 AND version = ?3";
            tx.prepare_cached(sql)?.execute(params![name.as_str(), label, version.as_str()])?;
            prune(tx, &name)
        };
        self.store.write(asking("clear a label"), change).await
    }

    async fn schedule_deletion(&self, name: &SecretName, window: Duration) -> PortResult<()> {
        self.distance.travel().await;
        let asking = asking("schedule a deletion");
        if !window.is_zero() && !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
            return Err(asking.error(Fault::Refused, "a recovery window is 7 to 30 days, or none"));
        }
        let (name, now) = (name.clone(), self.distance.now());
        let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
        let end = now.saturating_add(window).unwrap_or(Timestamp::MAX);
        let change = move |tx: &Transaction<'_>| {
            let sql = "UPDATE secrets SET deletion_time = ?2 WHERE name = ?1 AND deletion_time IS NULL";
            tx.prepare_cached(sql)?.execute(params![name.as_str(), text_of(end)])?;
            purge(tx, now)
        };
        self.store.write(asking, change).await
    }

    async fn restore(&self, name: &SecretName) -> PortResult<bool> {
        self.distance.travel().await;
        let (name, now) = (name.clone(), self.distance.now());
        let change = move |tx: &Transaction<'_>| {
            purge(tx, now)?;
            let sql = "UPDATE secrets SET deletion_time = NULL WHERE name = ?1 AND deletion_time IS NOT NULL";
            Ok(tx.prepare_cached(sql)?.execute([name.as_str()])? > 0)
        };
        self.store.write(asking("restore a secret"), change).await
    }

    async fn set_readers(&self, _name: &SecretName, _readers: &[String]) -> PortResult<()> {
        Ok(())
    }

    /// There are none but Keyward's own.
    async fn read_foreign(&self, _name: &str) -> PortResult<Option<Zeroizing<String>>> {
        Ok(None)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> PortResult<PortPage<SecretName>> {
        self.distance.travel().await;
        let (first, end, after) = (prefix.to_owned(), successor(prefix), after.unwrap_or_default().to_owned());
        let query = move |tx: &Transaction<'_>| {
            let sql = "SELECT name FROM secrets WHERE deletion_time IS NULL AND name >= ?1
                       AND (?2 IS NULL OR name < ?2) AND name > ?3 ORDER BY name LIMIT ?4";
            let mut statement = tx.prepare_cached(sql)?;
            // The lower bound is one value, so that a page far into the list starts there.
            let start = first.as_str().max(after.as_str());
            let place = params![start, end, after, limit_of(PAGE)];
            let names = statement.query_map(place, |row| row.get::<_, String>(0))?;
            let parse = |name: rusqlite::Result<String>| {
                SecretName::parse("name", &name?).map_err(|_| Failure::broken("secret's name"))
            };
            let items = names.map(parse).collect::<Result<Vec<_>, _>>()?;
            Ok(PortPage { next: items.last().filter(|_| items.len() == PAGE).map(ToString::to_string), items })
        };
        self.store.read(asking("list secrets"), query).await
    }
}

fn place<'a>(name: &'a SecretName, version: &'a VersionId) -> Place<'a, 3> {
    Place(["versions", name.as_str(), version.as_str()])
}

/// JSON in a buffer that did not grow: one that grows leaves copies of its content behind.
fn serialize(document: &SecretDocument) -> Option<Vec<u8>> {
    let id = document.client_id.as_ref().map_or(0, |id| id.as_str().len());
    let parts = [document.client_secret.expose(), &document.token_endpoint, &document.issuer, &document.scopes];
    let text: usize = parts.iter().map(|part| part.len()).sum();
    // Every character may have to be escaped, and the names of the fields come on top.
    let mut content = Zeroizing::new(Vec::with_capacity(256 + 6 * (id + text)));
    serde_json::to_writer(&mut *content, document).ok()?;
    Some(std::mem::take(&mut *content))
}

/// Whether the version is new. Makes or restores its secret if need be.
fn add(
    tx: &Transaction<'_>,
    name: &SecretName,
    version: &VersionId,
    sealed: &[u8],
    now: Timestamp,
) -> Result<bool, Failure> {
    purge(tx, now)?;
    let sql = "INSERT INTO secrets (name) VALUES (?1) ON CONFLICT DO UPDATE SET deletion_time = NULL";
    tx.prepare_cached(sql)?.execute([name.as_str()])?;
    let sql = "INSERT INTO versions (secret, id, sealed, create_time) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT DO NOTHING";
    let row = params![name.as_str(), version.as_str(), sealed, text_of(now)];
    Ok(tx.prepare_cached(sql)?.execute(row)? > 0)
}

fn is_visible(tx: &Transaction<'_>, name: &SecretName) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM secrets WHERE name = ?1 AND deletion_time IS NULL")?.exists([name.as_str()])
}

fn labelled(tx: &Transaction<'_>, name: &SecretName, label: &str) -> Result<Option<VersionId>, Failure> {
    let sql = "SELECT version FROM labels WHERE secret = ?1 AND label = ?2";
    let place = params![name.as_str(), label];
    let found: Option<String> = tx.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
    found.map(|id| VersionId::parse("version", &id).map_err(|_| Failure::broken("version id"))).transpose()
}

/// Moves the label to the version, from wherever it was.
fn attach(tx: &Transaction<'_>, name: &SecretName, label: &str, version: &VersionId) -> rusqlite::Result<()> {
    let sql = "INSERT INTO labels (secret, label, version) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET version = excluded.version";
    tx.prepare_cached(sql)?.execute(params![name.as_str(), label, version.as_str()])?;
    Ok(())
}

/// Drops the oldest of the versions that carry no label.
fn prune(tx: &Transaction<'_>, name: &SecretName) -> Result<(), Failure> {
    let sql = "DELETE FROM versions WHERE ordinal IN (
                   SELECT ordinal FROM versions WHERE secret = ?1
                   AND id NOT IN (SELECT version FROM labels WHERE secret = ?1)
                   ORDER BY ordinal DESC LIMIT -1 OFFSET ?2)";
    tx.prepare_cached(sql)?.execute(params![name.as_str(), MAX_UNLABELLED])?;
    Ok(())
}

/// Takes out the secrets whose recovery window is over.
fn purge(tx: &Transaction<'_>, now: Timestamp) -> Result<(), Failure> {
    tx.prepare_cached(PURGE)?.execute([text_of(now)])?;
    Ok(())
}
