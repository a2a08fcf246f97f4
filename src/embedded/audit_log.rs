//! The audit log of a data file, checked from its first event to its last. Reads only, also while a broker writes.
//!
//! Everything is read in one transaction, so that it is of one moment, and one event at a time, so that a log of any
//! length needs little memory. The write-ahead log grows for as long as that takes.

use std::path::Path;

use rusqlite::{OpenFlags, params};

use super::registry::{event_of, head, stored_event};
use super::store::Failure;
use super::{OpenError, schema};
use crate::domain::audit::Head;
use crate::domain::chain::{Break, Noted, Walk, Walked};
use crate::domain::form::Form;

/// What an audit log is, if it is whole.
#[derive(Debug)]
pub struct CheckedLog {
    pub outcome: Result<Walked, Break>,
    /// The number of the last event ever appended, whether or not it was pruned since.
    pub last_event: u64,
}

/// Walks along the whole audit log of the data file `path`, or of `keyward.db` in the folder `path`. With `noted`, also
/// compares one event with what was noted of it. Needs no master key: events are not sealed.
///
/// Fails when the file cannot be opened, is not one of Keyward's, has another schema than this Keyward writes, or anything in
/// a form that it does not read. Blocks.
pub fn check_audit_log(path: &Path, noted: Option<Noted>) -> Result<CheckedLog, OpenError> {
    let file = if path.is_dir() { path.join("keyward.db") } else { path.to_owned() };
    let sqlite = |source| OpenError::Sqlite { file: file.clone(), source };
    if let Err(source) = file.metadata() {
        return Err(OpenError::Io { file, source });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = rusqlite::Connection::open_with_flags(&file, flags).map_err(sqlite)?;
    let tx = connection.transaction().map_err(sqlite)?;
    schema::recognise(&tx).map_err(|refusal| refusal.of(&file))?;
    match walk(&tx, noted) {
        Ok(checked) => Ok(checked),
        Err(Failure::Sqlite(source)) => Err(sqlite(source)),
        Err(Failure::Told(..)) => Err(OpenError::Foreign { file }),
    }
}

/// Where the audit log of a data file ends, which is the first event that its chain protects, and the highest version of a
/// record that was ever deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    pub head: Head,
    pub chain_start: u64,
    pub deleted_version: u64,
    /// The newest form in which the file has anything.
    pub form: Form,
}

/// Reads it of the data file `path`, which has this Keyward's schema. Blocks, and fails, as [`check_audit_log`] does.
pub fn log_end(path: &Path) -> Result<LogEnd, OpenError> {
    let sqlite = |source| OpenError::Sqlite { file: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(sqlite)?;
    schema::recognise(&connection).map_err(|refusal| refusal.of(path))?;
    let (chain_start, deleted_version) = connection
        .query_row("SELECT chain_start, deleted_version FROM last_event", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(sqlite)?;
    let form = schema::newest_form(&connection).map_err(|refusal| refusal.of(path))?;
    match head(&connection) {
        Ok(head) => Ok(LogEnd { head, chain_start, deleted_version, form }),
        Err(Failure::Sqlite(source)) => Err(sqlite(source)),
        Err(Failure::Told(..)) => Err(OpenError::Foreign { file: path.to_owned() }),
    }
}

fn walk(tx: &rusqlite::Transaction<'_>, noted: Option<Noted>) -> Result<CheckedLog, Failure> {
    let Head { sequence: last_event, digest } = head(tx)?;
    let start = tx.query_row("SELECT chain_start FROM last_event", [], |row| row.get(0))?;
    let mut walk = Walk::new(start, noted);
    let mut broken: Option<Break> = None;
    let mut statement = tx.prepare("SELECT sequence, previous_digest, body, form FROM events ORDER BY sequence")?;
    let mut rows = statement.query(params![])?;
    while let Some(row) = rows.next()? {
        let stored = stored_event(row)?;
        let number = stored.0;
        match (event_of(stored), &mut broken) {
            (Ok(event), None) => broken = walk.step(event.link()).err(),
            (Err(_), None) => broken = Some(Break::Unreadable { number }),
            // What comes after a break may explain it.
            (Ok(event), Some(broken)) => broken.explained_by(&event.link()),
            (Err(_), Some(_)) => {}
        }
    }
    let outcome = match broken {
        Some(broken) => Err(broken),
        None => walk.finish(Some((last_event, digest))),
    };
    Ok(CheckedLog { outcome, last_event })
}
