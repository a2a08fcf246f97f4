//! The audit file: a line of JSON for every event of the registry, and for every token and secret that is handed out.
//!
//! What is handed out is written, and on the disk, before it leaves (`required`), or else at once and without waiting for
//! it. One task writes: whoever waits at the same time shares a write and an `fdatasync`. Its queue is bounded; when it is
//! full, callers are refused and nothing piles up. A write that fails refuses those who wait for it, and the next one tries
//! again, so that it recovers when the disk does. A caller who hangs up while waiting has a line too, and no token.
//!
//! Events are followed from the registry, which has them for sure: the file's last line says where to go on, so that after
//! a crash none is missing and none is there twice. No secret and no token is ever in the file. It knows no transport and
//! no configuration.

mod check;
mod line;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::broker::Audit;
use crate::broker::ports::Clock;
use crate::counts::{Count, Sheet, Told};
use crate::domain::audit::NumberedEvent;
use crate::domain::error::{Error, Reason, Result};
pub use check::check_file;
pub use line::HandedOut;
use line::Record;
use writer::{MAX_BATCH_BYTES, Writer};

/// Entries that wait to be written, most of them one line. A caller who comes when it is full is refused.
const QUEUE: usize = 8_192;
/// Entries that one write takes. A line is about 500 bytes.
const MAX_BATCH: usize = 1_024;
/// Events that are followed in one entry.
const FOLLOWED: usize = 256;
/// Between attempts to go on following events.
const RETRY: Duration = Duration::from_secs(1);
/// How often a trouble that lasts is logged.
const REMINDER: Duration = Duration::from_secs(10);

/// What is written, and who wants to know that it was.
struct Entry {
    records: Vec<Record>,
    done: oneshot::Sender<bool>,
}

/// Gives lines to the one task that writes them.
pub struct AuditFile {
    queue: mpsc::Sender<Entry>,
    /// Whether nothing may be handed out without a line.
    required: bool,
    /// The last event that the file had when it was opened.
    last_event: u64,
    counted: Arc<Counted>,
}

/// What became of lines.
#[derive(Default)]
struct Counted {
    written: Count,
    failed: Count,
    /// Lines that found the queue full, where nobody is refused for it.
    lost: Count,
    /// Whether the last write failed.
    is_failing: AtomicBool,
}

/// The task that writes. It ends when every [`AuditFile`] is gone.
pub struct Writing {
    writer: Writer,
    queue: mpsc::Receiver<Entry>,
    trouble: Trouble,
}

/// Opens the file, or makes it. What is read of it is its tail, however long it is. Blocks.
pub fn open(path: &Path, required: bool, clock: Arc<dyn Clock>) -> io::Result<(AuditFile, Writing)> {
    let writer = Writer::open(path, clock)?;
    let (sender, queue) = mpsc::channel(QUEUE);
    let counted = Arc::<Counted>::default();
    let file = AuditFile { queue: sender, required, last_event: writer.end().last_event, counted: counted.clone() };
    Ok((file, Writing { writer, queue, trouble: Trouble::of(path, counted) }))
}

impl AuditFile {
    /// Puts on record what is about to leave. Where the file is required, it may leave only if this succeeds, and the line
    /// is then on the disk; fails with AUDIT_UNAVAILABLE when it cannot be written, OVERLOADED when too much waits to be.
    pub async fn hand_out(&self, handed_out: HandedOut) -> Result<()> {
        let (done, written) = oneshot::channel();
        let entry = Entry { records: vec![Record::HandedOut(handed_out)], done };
        match self.queue.try_send(entry) {
            Ok(()) if !self.required => Ok(()),
            Ok(()) => match written.await {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(unavailable()),
            },
            Err(_) if !self.required => {
                self.counted.lost.add(1);
                let lost = self.counted.lost.get();
                // Said often enough to be seen, and not so often that it fills the log.
                if lost.is_power_of_two() {
                    tracing::error!(lost, "lines of the audit file are lost: too many wait to be written");
                }
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                let message = "more tokens are asked for than the audit file can record";
                Err(Error::new(Reason::Overloaded, message).retry_after(RETRY))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(unavailable()),
        }
    }

    /// Writes the registry's events as they come, from where the file ends, until stopped. What is not written then is
    /// written after the next start.
    pub async fn follow(self: Arc<Self>, audit: Arc<Audit>, stop: CancellationToken) {
        let follow = async {
            let mut after = self.last_event;
            let mut pauses = tokio::time::interval(RETRY);
            pauses.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                pauses.tick().await;
                if let Err(error) = self.follow_from(&audit, &mut after).await {
                    after = self.resume(&audit, after, &error);
                }
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    /// Returns when it cannot go on.
    async fn follow_from(&self, audit: &Arc<Audit>, after: &mut u64) -> Result<()> {
        let mut chunks = audit.tail(Some(*after), Default::default()).ready_chunks(FOLLOWED);
        while let Some(chunk) = chunks.next().await {
            let (mut events, mut failure): (Vec<NumberedEvent>, _) = (Vec::new(), None);
            for item in chunk {
                match item {
                    Ok(event) => events.push(event),
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(last) = events.last().map(|event| event.sequence) {
                self.write(events.into_iter().map(Record::Event).collect()).await?;
                *after = last;
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write(&self, records: Vec<Record>) -> Result<()> {
        let (done, written) = oneshot::channel();
        let sent = self.queue.send(Entry { records, done }).await;
        match (sent, written.await) {
            (Ok(()), Ok(true)) => Ok(()),
            _ => Err(unavailable()),
        }
    }

    /// Where to go on after an error.
    fn resume(&self, audit: &Audit, after: u64, error: &Error) -> u64 {
        let newest = audit.newest();
        match error.reason() {
            Reason::SequenceUnknown if newest < after => {
                tracing::error!(newest, after, "the audit file is ahead of the registry, as after a restored backup");
                newest
            }
            Reason::SequenceUnknown => {
                tracing::error!(after, "events were pruned before they were in the audit file");
                0
            }
            _ => {
                tracing::debug!(%error, "following events into the audit file will be tried again");
                after
            }
        }
    }
}

impl Told for AuditFile {
    fn tell(&self, sheet: &mut Sheet) {
        let Counted { written, failed, lost, is_failing } = &*self.counted;
        sheet
            .counter(
                "keyward_audit_file_lines_total",
                "Lines of the audit file: on the disk (written), not (failed), or not even tried since too many waited (lost)",
            )
            .count(&[("outcome", "written")], written.get())
            .count(&[("outcome", "failed")], failed.get())
            .count(&[("outcome", "lost")], lost.get());
        sheet
            .gauge("keyward_audit_file_failing", "1 while the last write of the audit file failed")
            .number(&[], f64::from(u8::from(is_failing.load(Ordering::Relaxed))));
    }
}

fn unavailable() -> Error {
    let message = "the audit file cannot be written, so nothing is handed out";
    Error::unavailable(Reason::AuditUnavailable, message, RETRY)
}

impl Writing {
    pub async fn run(mut self) {
        let mut entries = Vec::with_capacity(MAX_BATCH);
        while self.queue.recv_many(&mut entries, MAX_BATCH).await > 0 {
            let Writing { writer, queue, trouble } = self;
            let write = move || write(writer, trouble, entries);
            // Only a panic loses the writer; then whoever waits is refused, and everybody after.
            let Ok((writer, trouble, emptied)) = tokio::task::spawn_blocking(write).await else { return };
            (self, entries) = (Writing { writer, queue, trouble }, emptied);
        }
    }
}

fn write(mut writer: Writer, mut trouble: Trouble, mut entries: Vec<Entry>) -> (Writer, Trouble, Vec<Entry>) {
    let mut waiting = entries.drain(..).peekable();
    while waiting.peek().is_some() {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = waiting.next_if(|_| bytes < MAX_BATCH_BYTES) {
            bytes += entry.records.iter().map(Record::size).sum::<usize>();
            batch.push(entry);
        }
        let outcome = writer.append(batch.iter().flat_map(|entry| &entry.records));
        trouble.note(&outcome, batch.iter().map(|entry| entry.records.len()).sum());
        for entry in batch {
            // Whoever asked may have gone.
            let _ = entry.done.send(outcome.is_ok());
        }
    }
    drop(waiting);
    (writer, trouble, entries)
}

/// Says loudly that lines cannot be written, and how many; not for each of them.
struct Trouble {
    path: PathBuf,
    counted: Arc<Counted>,
    failed: usize,
    said: Option<Instant>,
}

impl Trouble {
    fn of(path: &Path, counted: Arc<Counted>) -> Self {
        Trouble { path: path.to_owned(), counted, failed: 0, said: None }
    }

    fn note(&mut self, outcome: &io::Result<()>, lines: usize) {
        let file = self.path.display();
        let count = if outcome.is_ok() { &self.counted.written } else { &self.counted.failed };
        count.add(lines as u64);
        self.counted.is_failing.store(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(()) if self.failed > 0 => {
                tracing::warn!(%file, failed = self.failed, "the audit file can be written again");
                (self.failed, self.said) = (0, None);
            }
            Ok(()) => {}
            Err(error) => {
                self.failed += lines;
                if self.said.is_none_or(|said| said.elapsed() >= REMINDER) {
                    tracing::error!(%file, %error, failed = self.failed, "the audit file cannot be written");
                    self.said = Some(Instant::now());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
