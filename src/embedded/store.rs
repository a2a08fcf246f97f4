//! The SQLite file: one connection that writes, two that read, each on a thread of its own.
//!
//! A write is one IMMEDIATE transaction, on the disk when it returns (`synchronous=FULL`); it is carried through even
//! when the caller no longer waits. A read is one transaction, so that all it sees is of one moment, and sees every
//! write that was answered before it began. Nothing here knows what the tables mean.

use std::fs::{DirBuilder, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::OpenError;
use super::schema::{self, Refusal};
use super::sealing::Sealing;
use crate::broker::ports::{Fault, Peer, PortError, PortResult};
use crate::sealing::{MasterKey, private, sync_folder};

/// The name of the file in a data folder.
const FILE_NAME: &str = "keyward.db";
/// How long a transaction waits for one of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: usize = 2;
/// All statements of this backend, with room to spare.
const CACHED_STATEMENTS: usize = 128;

pub(super) struct Store {
    writer: tokio_rusqlite::Connection,
    readers: [tokio_rusqlite::Connection; READERS],
    turn: AtomicUsize,
}

impl Store {
    /// Blocks: call it where that is allowed.
    pub fn open(path: &Path, master: Option<&MasterKey>) -> Result<(Store, Option<Sealing>, PathBuf), OpenError> {
        let file = place(path)?;
        let refused = |refusal: Refusal| refusal.of(&file);
        let connect = |flags| connect(&file, flags).map_err(|error| refused(error.into()));
        let mut writer = connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let sealing = schema::admit(&mut writer, master).map_err(refused)?;
        let tune = || -> rusqlite::Result<()> {
            writer.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            writer.pragma_update(None, "synchronous", "FULL")?;
            writer.pragma_update(None, "secure_delete", "ON")
        };
        tune().map_err(|error| refused(error.into()))?;
        let reader = || -> Result<tokio_rusqlite::Connection, OpenError> {
            let reader = connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            reader.pragma_update(None, "query_only", "ON").map_err(|error| refused(error.into()))?;
            Ok(reader.into())
        };
        let readers = [reader()?, reader()?];
        Ok((Store { writer: writer.into(), readers, turn: AtomicUsize::new(0) }, sealing, file))
    }

    /// Runs `query` in a transaction that is thrown away.
    pub async fn read<T, F>(&self, asking: Asking, query: F) -> PortResult<T>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let run = move |connection: &mut rusqlite::Connection| query(&connection.transaction()?);
        self.readers[turn].call(run).await.map_err(|error| asking.failed(error))
    }

    /// Runs `change` in a transaction that is committed if it succeeds.
    pub async fn write<T, F>(&self, asking: Asking, change: F) -> PortResult<T>
    where
        F: FnOnce(&Transaction<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let run = move |connection: &mut rusqlite::Connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        self.writer.call(run).await.map_err(|error| asking.failed(error))
    }
}

/// Finds or makes the file. What is made is for its owner alone; a folder that is there is left as it is.
fn place(path: &Path) -> Result<PathBuf, OpenError> {
    let is_file = path.is_file() || (!path.is_dir() && path.extension().is_some_and(|extension| extension == "db"));
    let file = if is_file { path.to_owned() } else { path.join(FILE_NAME) };
    let io = |source| OpenError::Io { file: file.clone(), source };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(io)?;
    }
    match private(OpenOptions::new().write(true).create_new(true)).open(&file) {
        Ok(_) => sync_folder(&file).map_err(io)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(error)),
    }
    Ok(file)
}

fn connect(file: &Path, flags: OpenFlags) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.pragma_update(None, "foreign_keys", "ON")?;
    Ok(connection)
}

/// Who asks the store for what, for its errors.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    pub peer: Peer,
    pub doing: &'static str,
}

impl Asking {
    pub fn error(self, fault: Fault, detail: impl std::fmt::Display) -> PortError {
        PortError::new(self.peer, fault, self.doing, detail)
    }

    fn failed(self, error: tokio_rusqlite::Error<Failure>) -> PortError {
        match error {
            tokio_rusqlite::Error::Error(Failure::Told(fault, detail)) => self.error(fault, detail),
            tokio_rusqlite::Error::Error(Failure::Sqlite(error)) => self.error(fault_of(&error), error),
            _ => self.error(Fault::Unavailable, "the connection to the data file is closed"),
        }
    }
}

/// Why a transaction was thrown away.
#[derive(Debug)]
pub(super) enum Failure {
    /// The port's contract says so.
    Told(Fault, String),
    Sqlite(rusqlite::Error),
}

impl Failure {
    pub fn told(fault: Fault, detail: impl Into<String>) -> Self {
        Failure::Told(fault, detail.into())
    }

    pub fn refused(detail: impl Into<String>) -> Self {
        Failure::Told(Fault::Refused, detail.into())
    }

    /// Something of ours that does not read back. Says what, not what it holds.
    pub fn broken(what: &str) -> Self {
        Failure::Told(Fault::Broken, format!("a stored {what} cannot be read"))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

fn fault_of(error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed,
        ) => Fault::Unavailable,
        _ => Fault::Broken,
    }
}

/// A time as text of fixed width, whose order is that of time from the year 0 on. Loses nothing.
pub(super) fn text_of(time: Timestamp) -> String {
    format!("{time:.9}")
}

pub(super) fn time_of(text: &str) -> Result<Timestamp, Failure> {
    text.parse().map_err(|_| Failure::broken("time"))
}

/// A number of rows for `LIMIT`, where a negative one would mean all.
pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
