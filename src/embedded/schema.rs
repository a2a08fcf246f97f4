//! What the file looks like, and the door through which a file becomes one of ours.
//!
//! A file is known by SQLite's `application_id`; its schema by `user_version`. A file of another program, of a newer
//! Keyward or under another master key is refused before anything in it is changed; so is one that has a record in a form
//! that this Keyward does not read.

use std::cmp::Ordering;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::OpenError;
use super::random;
use super::sealing::Sealing;
use crate::domain::form::Form;
use crate::sealing::MasterKey;

/// "KWRD": tells our files from those of other programs.
const APPLICATION_ID: i32 = 0x4B57_5244;

/// The schema of version `n` is that of version `n - 1` after `MIGRATIONS[n - 1]`. Never change one that was released.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6];

const VERSION_1: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

    -- The registry. Times are text of fixed width, so that their order is that of time.
    CREATE TABLE records (
        shelf TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL, due TEXT,
        PRIMARY KEY (shelf, key)
    ) STRICT;
    CREATE INDEX records_due ON records (shelf, due, key) WHERE due IS NOT NULL;
    CREATE TABLE events (sequence INTEGER PRIMARY KEY, time TEXT NOT NULL, body BLOB NOT NULL) STRICT;
    -- One row: the number of the last event ever appended, which pruning does not lower.
    CREATE TABLE last_event (only INTEGER PRIMARY KEY CHECK (only = 1), sequence INTEGER NOT NULL) STRICT;
    INSERT INTO last_event VALUES (1, 0);

    -- The vault.
    CREATE TABLE secrets (name TEXT PRIMARY KEY, deletion_time TEXT) STRICT, WITHOUT ROWID;
    CREATE TABLE versions (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
        secret TEXT NOT NULL REFERENCES secrets ON DELETE CASCADE,
        id TEXT NOT NULL, sealed BLOB NOT NULL, create_time TEXT NOT NULL,
        UNIQUE (secret, id)
    ) STRICT;
    CREATE TABLE labels (
        secret TEXT NOT NULL, label TEXT NOT NULL, version TEXT NOT NULL,
        PRIMARY KEY (secret, label),
        FOREIGN KEY (secret, version) REFERENCES versions (secret, id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX labels_version ON labels (secret, version);

    -- The user pools.
    CREATE TABLE user_pools (
        id TEXT PRIMARY KEY, keyward_id TEXT NOT NULL UNIQUE, issuer TEXT NOT NULL UNIQUE,
        region TEXT NOT NULL, settings TEXT NOT NULL, create_time TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE signing_keys (
        kid TEXT PRIMARY KEY, user_pool TEXT NOT NULL REFERENCES user_pools ON DELETE CASCADE,
        modulus TEXT NOT NULL, exponent TEXT NOT NULL, private_key BLOB NOT NULL, create_time TEXT NOT NULL
    ) STRICT;
    CREATE INDEX signing_keys_pool ON signing_keys (user_pool);
    CREATE TABLE resource_servers (
        user_pool TEXT NOT NULL REFERENCES user_pools ON DELETE CASCADE,
        identifier TEXT NOT NULL, display_name TEXT NOT NULL,
        PRIMARY KEY (user_pool, identifier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE scopes (
        user_pool TEXT NOT NULL, scope TEXT NOT NULL, identifier TEXT NOT NULL, description TEXT NOT NULL,
        PRIMARY KEY (user_pool, scope),
        FOREIGN KEY (user_pool, identifier) REFERENCES resource_servers ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX scopes_identifier ON scopes (user_pool, identifier);
    CREATE TABLE app_clients (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE, user_pool TEXT NOT NULL REFERENCES user_pools ON DELETE CASCADE,
        name TEXT NOT NULL, scopes TEXT NOT NULL, validity_seconds INTEGER NOT NULL,
        -- The second in the id of its last secret: an id is never given twice.
        last_secret_second INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX app_clients_name ON app_clients (user_pool, name);
    CREATE TABLE client_secrets (
        app_client TEXT NOT NULL REFERENCES app_clients (id) ON DELETE CASCADE,
        second INTEGER NOT NULL, salt BLOB NOT NULL, verifier BLOB NOT NULL,
        PRIMARY KEY (app_client, second)
    ) STRICT, WITHOUT ROWID;
";

/// The audit log is chained from now on. Events that are there already stay without digests.
const VERSION_2: &str = "
    ALTER TABLE events ADD COLUMN previous_digest BLOB;
    -- Of the last event ever appended, which pruning does not take away.
    ALTER TABLE last_event ADD COLUMN digest BLOB;
    -- The number of the first event that the chain protects.
    ALTER TABLE last_event ADD COLUMN chain_start INTEGER NOT NULL DEFAULT 1;
    UPDATE last_event SET chain_start = sequence + 1;
    -- Owners are found by the app client's id alone, so it comes first in their keys.
    UPDATE records SET key = substr(key, instr(key, ' ') + 1) || ' ' || substr(key, 1, instr(key, ' ') - 1)
        WHERE shelf = 'owner';
";

/// Every write to the vault looks for secrets whose recovery window is over.
const VERSION_3: &str = "
    CREATE INDEX secrets_deletion ON secrets (deletion_time) WHERE deletion_time IS NOT NULL;
";

/// Versions of records do not come back. Of what was deleted before this nobody knows the version: it was hardly above
/// both the highest that is there and the number of events.
const VERSION_4: &str = "
    -- The highest version of a record that was ever deleted.
    ALTER TABLE last_event ADD COLUMN deleted_version INTEGER NOT NULL DEFAULT 0;
    UPDATE last_event SET deleted_version = max(sequence, (SELECT coalesce(max(version), 0) FROM records));
";

/// Records and events say in which form they are (`domain::form`). Those that are there are in the first.
const VERSION_5: &str = "
    ALTER TABLE records ADD COLUMN form INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE events ADD COLUMN form INTEGER NOT NULL DEFAULT 1;
    -- The newest in which anything was ever written.
    ALTER TABLE last_event ADD COLUMN form INTEGER NOT NULL DEFAULT 1;
";

/// App clients that people sign in with, and what they sign in by.
const VERSION_6: &str = "
    -- Absent for a machine's. JSON: what it has beside scopes and the validity of access tokens.
    ALTER TABLE app_clients ADD COLUMN sign_in TEXT;
    CREATE TABLE identity_providers (
        user_pool TEXT NOT NULL REFERENCES user_pools ON DELETE CASCADE,
        -- JSON, without what is secret.
        name TEXT NOT NULL, settings TEXT NOT NULL,
        PRIMARY KEY (user_pool, name)
    ) STRICT, WITHOUT ROWID;
";

/// Makes the file ours, or finds that it is, and brings its schema up to date. Gives the keys that open it.
///
/// A file that was made without a master key holds a registry alone, and is opened without one ever after.
pub(super) fn admit(connection: &mut Connection, master: Option<&MasterKey>) -> Result<Option<Sealing>, Refusal> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let application: i32 = tx.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: usize = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(Refusal::Foreign);
    }
    if version > MIGRATIONS.len() {
        return Err(Refusal::Newer { version, known: MIGRATIONS.len() });
    }

    if version >= MIGRATIONS.len() {
        check_form(&tx)?;
    }

    let meta = |name: &str| {
        tx.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, Vec<u8>>(0)).optional()
    };
    let known = if is_new { None } else { meta("salt")?.zip(meta("check")?) };
    let sealing = match (known, master) {
        (Some((salt, check)), Some(master)) => {
            let sealing = Sealing::derive(master, &salt).map_err(|_| Refusal::Cryptography)?;
            if !sealing.is_master_key_of(check) {
                return Err(Refusal::WrongMasterKey);
            }
            migrate(&tx, version)?;
            Some(sealing)
        }
        (None, Some(master)) if is_new => {
            migrate(&tx, version)?;
            let salt: [u8; 32] = random::bytes().map_err(|_| Refusal::Cryptography)?;
            let sealing = Sealing::derive(master, &salt).map_err(|_| Refusal::Cryptography)?;
            let check = sealing.seal_check().map_err(|_| Refusal::Cryptography)?;
            let sql = "INSERT INTO meta (name, value) VALUES ('salt', ?1), ('check', ?2)";
            tx.execute(sql, params![salt.as_slice(), check])?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            Some(sealing)
        }
        (None, None) => {
            migrate(&tx, version)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            None
        }
        (Some(_), None) | (None, Some(_)) => return Err(Refusal::OtherBackend),
    };
    tx.commit()?;
    Ok(sealing)
}

/// The newest form in which anything was ever written.
pub(super) fn newest_form(connection: &Connection) -> Result<Form, Refusal> {
    let number: u64 = connection.query_row("SELECT form FROM last_event", [], |row| row.get(0))?;
    Form::new(number).ok_or(Refusal::Foreign)
}

fn check_form(connection: &Connection) -> Result<(), Refusal> {
    let form = newest_form(connection)?;
    if form.is_read() { Ok(()) } else { Err(Refusal::NewerForm(form)) }
}

/// Fails unless the file is one of ours with the schema of this Keyward and nothing in a form that is not read. Changes nothing, and needs no master key.
pub(super) fn recognise(connection: &Connection) -> Result<(), Refusal> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version.cmp(&MIGRATIONS.len()) {
        _ if application != APPLICATION_ID => Err(Refusal::Foreign),
        Ordering::Equal => check_form(connection),
        Ordering::Greater => Err(Refusal::Newer { version, known: MIGRATIONS.len() }),
        Ordering::Less => Err(Refusal::Older { version, known: MIGRATIONS.len() }),
    }
}

fn migrate(tx: &rusqlite::Transaction<'_>, version: usize) -> rusqlite::Result<()> {
    for migration in &MIGRATIONS[version..] {
        tx.execute_batch(migration)?;
    }
    if version < MIGRATIONS.len() {
        tx.pragma_update(None, "user_version", MIGRATIONS.len())?;
    }
    Ok(())
}

/// Why a file is not let in; becomes an [`OpenError`] that names the file.
#[derive(Debug)]
pub(super) enum Refusal {
    Foreign,
    Newer { version: usize, known: usize },
    Older { version: usize, known: usize },
    NewerForm(Form),
    WrongMasterKey,
    Cryptography,
    OtherBackend,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Refusal::Foreign,
            _ => Refusal::Sqlite(error),
        }
    }
}

impl Refusal {
    pub fn of(self, file: &std::path::Path) -> OpenError {
        let file = file.to_owned();
        match self {
            Refusal::Foreign => OpenError::Foreign { file },
            Refusal::Newer { version, known } => OpenError::Newer { file, version, known },
            Refusal::Older { version, known } => OpenError::Older { file, version, known },
            Refusal::NewerForm(form) => OpenError::NewerForm { file, form },
            Refusal::WrongMasterKey => OpenError::WrongMasterKey { file },
            Refusal::Cryptography => OpenError::Cryptography { file },
            Refusal::OtherBackend => OpenError::OtherBackend { file },
            Refusal::Sqlite(source) => OpenError::Sqlite { file, source },
        }
    }
}
