//! The one writer of a process: change sets take turns at the head of the table, as many at once as go together.
//!
//! Every change is numbered by the head, so two transactions cannot be made on one head, and sending one after the other
//! is all that can be done. What arrives while one is under way waits, and then goes into the next together, as long as
//! that has room and no two change the same record. So a burst of revocations takes as many round trips as it fills
//! transactions, and a lone change waits for nothing. A change set whose expectations do not hold is answered Conflict and
//! left out; the others of its transaction go again without it.
//!
//! Another process that is faster at the head makes a transaction fail: it is made again on the new head, for as long as a
//! call may wait for its turn and [`ATTEMPTS`] times at the least. That is at once, since whoever pauses comes too late for
//! a head that moves with every round trip. But a process that sends one transaction after the other is always first: it
//! learns of the head that it made before anybody else does. So after [`STREAK`] of them it lets one and a half round trips
//! pass, in which one of those who wait comes through.
//!
//! What was sent and not answered is sent once more under the same token, which DynamoDB takes for the same transaction,
//! and is looked for in the change feed; only if that tells nothing either are the callers told Unavailable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::items::{self, TableHead};
use super::recent::Recent;
use super::table::{Sent, Table, asking, broken};
use super::transaction::{Transaction, joining, told_head};
use crate::aws::governor::later;
use crate::broker::ports::{ChangeSet, Fault, PortError, PortResult};

/// Change sets that may wait for their turn; whoever comes then waits to wait.
const WAITING: usize = 1_000;
/// How often a transaction is made at the least, each time on another head, before its callers are told to try later.
const ATTEMPTS: u32 = 12;
/// After so many failures at the head, those who wait get out of each other's way by pauses of random length, which grow by
/// `STEP` with each time as many.
const AT_ONCE: u32 = 4;
const STEP: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// Transactions that one process makes without letting others come first.
const STREAK: u32 = 8;
/// A round trip that took longer says nothing of the next.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(1);

struct Waiting {
    set: ChangeSet,
    answer: oneshot::Sender<PortResult<u64>>,
}

/// Where change sets are handed in. The writer ends when all of these are gone and everything handed in is answered.
#[derive(Clone)]
pub struct Writer {
    line: mpsc::Sender<Waiting>,
    table: Arc<Table>,
}

impl Writer {
    /// Starts it on the runtime that this is called on.
    pub fn start(table: Arc<Table>, recent: Arc<Recent>) -> Self {
        let (line, waiting) = mpsc::channel(WAITING);
        tokio::spawn(Writing::new(table.clone(), recent).run(waiting));
        Writer { line, table }
    }

    /// Makes the changes, also when nobody waits for the answer any more. Returns the number of the last event.
    pub async fn commit(&self, set: ChangeSet) -> PortResult<u64> {
        let asking = asking("change records");
        set.check().map_err(|problem| asking.error(Fault::Refused, problem))?;
        if set.writes.is_empty() && set.events.is_empty() {
            return Ok(self.table.head(asking).await?.log.sequence);
        }
        let deadline = later(self.table.clock.now(), self.table.patience);
        let ended = || asking.error(Fault::Unavailable, "the writer has ended");
        let place = tokio::select! {
            biased;
            place = self.line.reserve() => place.map_err(|_| ended())?,
            () = self.table.clock.sleep_until(deadline) => {
                return Err(asking.error(Fault::Throttled, format_args!("{WAITING} change sets wait already")));
            }
        };
        let (answer, answered) = oneshot::channel();
        place.send(Waiting { set, answer });
        answered.await.map_err(|_| ended())?
    }
}

struct Writing {
    table: Arc<Table>,
    recent: Arc<Recent>,
    /// As it was after the last transaction; another process may have moved it since.
    head: Option<TableHead>,
    /// Change sets that did not go together with others before.
    kept: VecDeque<Waiting>,
    /// When the last transaction ended, and how long it took.
    last: Option<(Timestamp, Duration)>,
    /// How many followed each other at once.
    streak: u32,
}

impl Writing {
    fn new(table: Arc<Table>, recent: Arc<Recent>) -> Self {
        Writing { table, recent, head: None, kept: VecDeque::new(), last: None, streak: 0 }
    }

    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        loop {
            if self.kept.is_empty() {
                match waiting.recv().await {
                    Some(first) => self.kept.push_back(first),
                    None => return,
                }
            }
            while self.kept.len() < WAITING
                && let Ok(next) = waiting.try_recv()
            {
                self.kept.push_back(next);
            }
            let joined = joining(self.kept.iter().map(|waiting| &waiting.set));
            let mut batch = Vec::with_capacity(joined.len());
            // From the end, so that the places before stay what they are.
            for place in joined.into_iter().rev() {
                batch.extend(self.kept.remove(place));
            }
            batch.reverse();
            self.write(batch).await;
        }
    }

    /// Answers all of the batch.
    async fn write(&mut self, batch: Vec<Waiting>) {
        self.let_others_in().await;
        let mut alone = VecDeque::from([batch]);
        while let Some(batch) = alone.pop_front() {
            // One that DynamoDB refuses must not take the others with it.
            if let Err(rest) = self.write_together(batch).await {
                alone.extend(rest.into_iter().map(|waiting| vec![waiting]));
            }
        }
    }

    /// Answers all of the batch, or gives back those that are to be tried one by one.
    async fn write_together(&mut self, mut batch: Vec<Waiting>) -> Result<(), Vec<Waiting>> {
        let asking = asking("change records");
        let (mut attempt, deadline) = (0, later(self.table.clock.now(), self.table.patience));
        while !batch.is_empty() {
            let (transaction, outcome) = match self.attempt(&batch).await {
                Ok(attempted) => attempted,
                Err(error) if error.is(Fault::Refused) && batch.len() > 1 => return Err(batch),
                Err(error) => return fail(batch, &error),
            };
            let Sent::Cancelled(reasons) = outcome else {
                self.done(batch, transaction);
                return Ok(());
            };
            let mut verdict = transaction.judge(&reasons);
            if let Some(told) = &verdict.head_moved {
                self.head = told_head(told.as_ref());
            }
            let (before, mut left) = (batch.len(), Vec::with_capacity(batch.len()));
            for (place, waiting) in batch.into_iter().enumerate() {
                match verdict.lost.remove(&place) {
                    // Whoever asked may have left.
                    Some((fault, detail)) => drop(waiting.answer.send(Err(asking.error(fault, detail)))),
                    None => left.push(waiting),
                }
            }
            batch = left;
            if let Some((fault, detail)) = verdict.stopped {
                return fail(batch, &asking.error(fault, detail));
            }
            if batch.len() == before {
                attempt += 1;
                if attempt >= ATTEMPTS && self.table.clock.now() >= deadline {
                    let detail = format_args!("other brokers were faster {attempt} times in a row");
                    return fail(batch, &asking.error(Fault::Throttled, detail));
                }
                self.pause(attempt).await;
            }
        }
        Ok(())
    }

    async fn let_others_in(&mut self) {
        let now = self.table.clock.now();
        let Some((_, took)) = self.last.filter(|(ended, took)| now <= later(*ended, *took)) else {
            self.streak = 0;
            return;
        };
        self.streak += 1;
        if self.streak >= STREAK {
            self.streak = 0;
            self.table.clock.sleep_until(later(now, took * 3 / 2)).await;
        }
    }

    async fn attempt(&mut self, batch: &[Waiting]) -> PortResult<(Transaction, Sent)> {
        let asking = asking("change records");
        let head = match self.head.take() {
            Some(head) => head,
            None => self.table.head(asking).await?,
        };
        let sets: Vec<_> = batch.iter().map(|waiting| &waiting.set).collect();
        let token = token().ok_or_else(|| asking.error(Fault::Unavailable, "the system gives no random bytes"))?;
        let now = self.table.clock.now();
        let transaction = Transaction::of(&self.table.name, &sets, &head, now, &token).map_err(broken(asking))?;
        let sent = self.send(&transaction, &token).await?;
        let ended = self.table.clock.now();
        let took = Duration::try_from(ended.duration_since(now)).unwrap_or_default();
        self.last = Some((ended, took.min(LONGEST_ROUND_TRIP)));
        // It stands, unless the verdict says otherwise.
        self.head = Some(head);
        Ok((transaction, sent))
    }

    async fn send(&self, transaction: &Transaction, token: &str) -> PortResult<Sent> {
        let asking = asking("change records");
        let begun = self.table.clock.now();
        let first = self.table.transact(asking, transaction.items.clone(), token).await;
        let Err(lost) = first else { return first };
        // Who has waited long enough is not kept waiting as long again.
        let is_late = self.table.clock.now() > later(begun, self.table.call_timeout / 2);
        if !lost.is(Fault::Unavailable) || is_late {
            return Err(lost);
        }
        match self.table.transact(asking, transaction.items.clone(), token).await {
            Ok(Sent::Done) => Ok(Sent::Done),
            // Where the token is not known any more, what the first sending wrote is what this one has met.
            Ok(cancelled @ Sent::Cancelled(_)) if transaction.makes_a_change() => {
                match self.is_made(transaction, token).await {
                    Ok(true) => Ok(Sent::Done),
                    Ok(false) => Ok(cancelled),
                    // Whatever kept it from being told, it may have been made.
                    Err(_) => Err(lost),
                }
            }
            Ok(cancelled) => Ok(cancelled),
            Err(_) => Err(lost),
        }
    }

    /// Whether the line of the change feed that this transaction writes is there, and is its own.
    async fn is_made(&self, transaction: &Transaction, token: &str) -> PortResult<bool> {
        let key = items::key(items::CHANGES, items::padded(transaction.head.change));
        let found = self.table.get(asking("look for a change"), key).await?;
        Ok(found.is_some_and(|item| items::text_at(&item, "token") == Some(token)))
    }

    fn done(&mut self, batch: Vec<Waiting>, transaction: Transaction) {
        let now = self.table.clock.now();
        self.head = Some(transaction.head);
        for (waiting, last_event) in batch.into_iter().zip(transaction.last_events) {
            self.recent.note(&waiting.set, now);
            // Whoever asked may have left.
            drop(waiting.answer.send(Ok(last_event)));
        }
    }

    async fn pause(&self, attempt: u32) {
        let longest = LONGEST_PAUSE.min(STEP * (attempt / AT_ONCE));
        if longest.is_zero() {
            return;
        }
        let mut random = [0_u8; 1];
        // Without randomness the pause is none, which is as good as any.
        let _ = aws_lc_rs::rand::fill(&mut random);
        self.table.clock.sleep_until(later(self.table.clock.now(), longest * u32::from(random[0]) / 255)).await;
    }
}

/// Answers all of them, so that none is left.
fn fail(batch: Vec<Waiting>, error: &PortError) -> Result<(), Vec<Waiting>> {
    for waiting in batch {
        let error = PortError::new(error.peer, error.fault, error.doing, &error.detail);
        // Whoever asked may have left.
        drop(waiting.answer.send(Err(error)));
    }
    Ok(())
}

/// 32 random characters, which is a token that DynamoDB takes.
pub fn token() -> Option<String> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}
