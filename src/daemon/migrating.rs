//! Brings the records and the audit log of a data folder into the table that brokers are to share.
//!
//! Versions, forms, due times, numbers and digests stay what they are, so a broker goes on where the last one stopped, and a log
//! that was noted can still be compared. It must never mix two platforms: what is in the table and not in the folder stops
//! it before anything is written. It reads the folder under the broker's lock and changes nothing there. Whoever is cut off
//! leaves a table that no broker opens, and can begin again.

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use super::{StartError, aws_options, lock_data_folder};
use crate::aws::{Aws, Importing};
use crate::broker::ports::{Clock, PortError, PortResult, Registry, Shelf, StoredRecord};
use crate::config::{Backend, Config, ConfigError};
use crate::domain::audit::NumberedEvent;
use crate::embedded::{self, LogEnd};

/// Of records or events that are read in one go.
const PAGE: usize = 500;

/// Why nothing was brought over, or not all.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("data_dir: there is no {0}, so there is nothing to bring over")]
    NoSource(PathBuf),
    #[error("registry.table: the table {table} has {what} that is not in the data folder, or not so")]
    Foreign { table: String, what: String },
    #[error("registry.table: the table {table} lacks {what}, which was brought over; somebody else writes to it")]
    Lacks { table: String, what: String },
    #[error(transparent)]
    Registry(#[from] PortError),
}

/// What there is on both sides now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    pub records: u64,
    pub events: u64,
    /// Of both, those that this run has brought over.
    pub brought: u64,
}

/// Brings everything over that is not there yet, and compares all of it. The configuration names both sides.
pub async fn migrate(config: &Config, clock: Arc<dyn Clock>) -> Result<Migrated, MigrateError> {
    let table = match (&config.backend, &config.registry.table) {
        (Backend::Aws, Some(table)) => table.clone(),
        _ => {
            let why = "must be set, with backend = \"aws\": the table that the records go to";
            return Err(StartError::from(ConfigError::key("registry.table", why.to_owned())).into());
        }
    };
    let file = config.data_dir.join("keyward.db");
    if !file.is_file() {
        return Err(MigrateError::NoSource(file));
    }
    let _lock = lock_data_folder(&config.data_dir)?;
    let registry = embedded::open_registry(&file).await.map_err(StartError::from)?;
    let end = embedded::log_end(&file).map_err(StartError::from)?;
    let aws = Aws::connect(aws_options(&config.aws), clock.clone()).await.map_err(StartError::from)?;
    let target = aws.open_for_import(&table).await.map_err(StartError::from)?;
    Migration { table, registry, end, target }.run(&*clock).await
}

struct Migration {
    table: String,
    registry: Arc<dyn Registry>,
    end: LogEnd,
    target: Importing,
}

/// What is walked along in one go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Records(Shelf),
    Events,
}

#[derive(Clone, PartialEq, Eq)]
enum Entry {
    Record(StoredRecord),
    Event(Box<NumberedEvent>),
}

/// What is done with what the table lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Counts,
    IsBrought,
    IsAFault,
}

impl Migration {
    async fn run(&self, clock: &dyn Clock) -> Result<Migrated, MigrateError> {
        let head = self.target.head().await?;
        if head.is_some_and(|head| head != self.end.head) {
            return Err(self.foreign("a log of events".to_owned()));
        }
        // All of it, before anything is written.
        let missing = self.walk(Missing::Counts).await?.brought;
        let is_whole = head.is_some();
        if is_whole && missing > 0 {
            return Err(self.foreign("the end of this log".to_owned()));
        }
        if !is_whole {
            self.target.begin(clock.now()).await?;
            self.walk(Missing::IsBrought).await?;
        }
        let counted = self.walk(Missing::IsAFault).await?;
        if !is_whole {
            let LogEnd { head, chain_start, deleted_version, form } = self.end;
            self.target.finish(head, chain_start, deleted_version, form).await?;
        }
        if self.target.head().await? != Some(self.end.head) {
            return Err(self.lacks("the end of the log".to_owned()));
        }
        Ok(Migrated { brought: missing, ..counted })
    }

    /// Goes along both sides in the order of their keys. Fails at the first thing that only the table has, or has otherwise.
    async fn walk(&self, missing: Missing) -> Result<Migrated, MigrateError> {
        let mut walked = Migrated::default();
        for part in Shelf::ALL.into_iter().map(Part::Records).chain([Part::Events]) {
            let (here, brought) = self.walk_part(part, missing).await?;
            match part {
                Part::Records(_) => walked.records += here,
                Part::Events => walked.events += here,
            }
            walked.brought += brought;
        }
        Ok(walked)
    }

    /// How many the data folder has, and how many of them the table did not have.
    async fn walk_part(&self, part: Part, missing: Missing) -> Result<(u64, u64), MigrateError> {
        let (mut count, mut lacking) = (0, 0);
        let (mut here, mut there) = (Side::new(), Side::new());
        loop {
            here.fill(self.read_here(part, here.after()).await?);
            let mut brought = Vec::new();
            // A page of the folder at a time; of the table as many as come with it.
            while let Some(entry) = here.next() {
                count += 1;
                if there.is_empty() && !there.is_at_end {
                    there.fill(self.read_there(part, there.after()).await?);
                }
                match there.peek().map(|other| (entry.key().cmp(&other.key()), other)) {
                    Some((Ordering::Equal, other)) if *other == entry => drop(there.next()),
                    Some((Ordering::Equal | Ordering::Greater, other)) => {
                        return Err(self.foreign(part.names(&other.key())));
                    }
                    _ if missing == Missing::IsAFault => return Err(self.lacks(part.names(&entry.key()))),
                    _ => {
                        lacking += 1;
                        brought.push(entry);
                    }
                }
            }
            if missing == Missing::IsBrought {
                self.bring(part, brought).await?;
            }
            if here.is_at_end {
                break;
            }
        }
        if there.is_empty() && !there.is_at_end {
            there.fill(self.read_there(part, there.after()).await?);
        }
        match there.peek() {
            Some(more) => Err(self.foreign(part.names(&more.key()))),
            None => Ok((count, lacking)),
        }
    }

    async fn read_here(&self, part: Part, after: Option<&str>) -> PortResult<Vec<Entry>> {
        match part {
            Part::Records(shelf) => Ok(records(self.registry.scan(shelf, "", after, PAGE).await?)),
            Part::Events => Ok(events(self.registry.events(number(after), PAGE).await?)),
        }
    }

    async fn read_there(&self, part: Part, after: Option<&str>) -> PortResult<Vec<Entry>> {
        match part {
            Part::Records(shelf) => Ok(records(self.target.records(shelf, after, PAGE).await?)),
            Part::Events => Ok(events(self.target.events(number(after), PAGE).await?)),
        }
    }

    async fn bring(&self, part: Part, entries: Vec<Entry>) -> PortResult<()> {
        let (mut records, mut events) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Record(record) => records.push(record),
                Entry::Event(event) => events.push(*event),
            }
        }
        match part {
            Part::Records(shelf) => self.target.bring(shelf, &records).await,
            Part::Events => self.target.bring_events(&events).await,
        }
    }

    fn foreign(&self, what: String) -> MigrateError {
        MigrateError::Foreign { table: self.table.clone(), what }
    }

    fn lacks(&self, what: String) -> MigrateError {
        MigrateError::Lacks { table: self.table.clone(), what }
    }
}

impl Part {
    fn names(self, key: &str) -> String {
        match self {
            Part::Records(shelf) => format!("the {} {key}", shelf.name()),
            Part::Events => format!("the event {}", number(Some(key))),
        }
    }
}

impl Entry {
    /// By which both sides are in one order: bytes of records' keys, numbers of events.
    fn key(&self) -> String {
        match self {
            Entry::Record(record) => record.key.clone(),
            Entry::Event(event) => format!("{:020}", event.sequence),
        }
    }
}

/// One side of a walk: the rest of a page, and where the next begins.
struct Side {
    page: std::vec::IntoIter<Entry>,
    last: Option<String>,
    is_at_end: bool,
}

impl Side {
    fn new() -> Self {
        Side { page: Vec::new().into_iter(), last: None, is_at_end: false }
    }

    fn after(&self) -> Option<&str> {
        self.last.as_deref()
    }

    fn fill(&mut self, page: Vec<Entry>) {
        self.is_at_end = page.len() < PAGE;
        self.last = page.last().map(Entry::key).or(self.last.take());
        self.page = page.into_iter();
    }

    fn is_empty(&self) -> bool {
        self.page.len() == 0
    }

    fn peek(&self) -> Option<&Entry> {
        self.page.as_slice().first()
    }

    fn next(&mut self) -> Option<Entry> {
        self.page.next()
    }
}

fn number(key: Option<&str>) -> u64 {
    key.and_then(|key| key.parse().ok()).unwrap_or(0)
}

fn records(found: Vec<StoredRecord>) -> Vec<Entry> {
    found.into_iter().map(Entry::Record).collect()
}

fn events(found: Vec<NumberedEvent>) -> Vec<Entry> {
    found.into_iter().map(|event| Entry::Event(Box::new(event))).collect()
}
