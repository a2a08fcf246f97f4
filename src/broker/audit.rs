//! The record of what was done and refused. Changes bring their events with them; here they are read, followed, and
//! refusals are added.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::api::{EventFilter, Listing, Page};
use super::denials::Denials;
use super::world::World;
use crate::domain::audit::{Call, Event, NumberedEvent, Outcome};
use crate::domain::error::{Error, Reason, Result};

/// Events read at a time.
const BATCH: usize = 500;
/// Events that one page looks through at the most; a page may end early, and says where the next one starts.
const MAX_LOOKED_AT: usize = 10_000;

pub struct Audit {
    world: Arc<World>,
    denials: Denials,
}

impl Audit {
    pub fn new(world: Arc<World>) -> Self {
        Audit { denials: Denials::new(world.settings.denials_per_minute), world }
    }

    /// Puts on record how many denials were not events of their own, until stopped.
    pub async fn work(&self, stop: CancellationToken) {
        self.denials.work(&self.world, stop).await;
    }

    /// Newest first. `page.after` is the number of the last event looked at.
    pub async fn list(&self, filter: &EventFilter, page: Page) -> Result<Listing<NumberedEvent>> {
        let newest = self.newest();
        let mut below = match page.after.as_deref().map(str::parse::<u64>) {
            None => newest + 1,
            Some(Ok(number)) => number.min(newest + 1),
            Some(Err(_)) => {
                return Err(Error::invalid_because(Reason::PageTokenInvalid, "page_token", "is not of this list"));
            }
        };
        let (mut items, mut looked_at) = (Vec::new(), 0);
        while below > 1 && looked_at < MAX_LOOKED_AT {
            // Numbers have no gaps, so the batch below a number is known by subtraction.
            let after = below.saturating_sub(1 + BATCH as u64);
            let wanted = (below - 1 - after) as usize;
            let batch = self.world.records.events(after, wanted).await?;
            for event in batch.into_iter().filter(|event| event.sequence < below).rev() {
                looked_at += 1;
                if filter.start_time.is_some_and(|start| event.event.time < start) {
                    return Ok(Listing { items, next: None });
                }
                let number = event.sequence;
                if filter.matches(&event) {
                    items.push(event);
                }
                if items.len() == page.size {
                    return Ok(Listing { items, next: (number > 1).then(|| number.to_string()) });
                }
            }
            below = after + 1;
        }
        Ok(Listing { items, next: (below > 1).then(|| below.to_string()) })
    }

    /// Every event after number `after` (from now on, if `None`; from the first there is, if 0), oldest first, as they
    /// come. Loses none however slowly it is read: it reads from the registry, not from a queue. Fails with OUT_OF_RANGE
    /// where the next event is not there any more, or `after` is ahead of the log.
    pub fn tail(
        self: &Arc<Self>,
        after: Option<u64>,
        filter: EventFilter,
    ) -> BoxStream<'static, Result<NumberedEvent>> {
        let news = self.world.records.watch_events();
        let after = after.unwrap_or(*news.borrow());
        let start = Tail { world: self.world.clone(), news, after, seen: 0, read: VecDeque::new(), filter };
        stream::unfold(Some(start), |tail| async {
            let mut tail = tail?;
            match tail.next().await {
                Ok(event) => Some((Ok(event), Some(tail))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// The number of the last event.
    pub fn newest(&self) -> u64 {
        *self.world.records.watch_events().borrow()
    }

    /// An event of this moment, for another record than the registry's: it is not appended.
    pub fn event(&self, call: &Call, resource: impl fmt::Display) -> Event {
        call.event(self.world.now(), resource)
    }

    /// Puts a denial on record, or counts it where its caller has had too many. It may be answered once this has succeeded.
    pub async fn denied(&self, call: &Call, resource: &str, error: &Error) -> Result<()> {
        let (now, reason) = (self.world.now(), error.reason().as_str());
        if !self.denials.is_event(call, resource, reason, now) {
            return Ok(());
        }
        let event = call.event(now, resource).ended(Outcome::Denied, reason);
        self.world.put_on_record(event.detail(error.message())).await
    }
}

struct Tail {
    world: Arc<World>,
    news: tokio::sync::watch::Receiver<u64>,
    after: u64,
    /// The last event that was read. It may be newer than the news, which come a moment after the event itself.
    seen: u64,
    read: VecDeque<NumberedEvent>,
    filter: EventFilter,
}

impl Tail {
    async fn next(&mut self) -> Result<NumberedEvent> {
        loop {
            while let Some(event) = self.read.pop_front() {
                (self.after, self.seen) = (event.sequence, event.sequence);
                if self.filter.matches(&event) {
                    return Ok(event);
                }
            }
            let newest = self.seen.max(*self.news.borrow_and_update());
            if newest > self.after {
                let read = self.world.records.events(self.after, BATCH).await?;
                // What was written since is for the next round, which is then never behind what was sent.
                self.read = read.into_iter().filter(|event| event.sequence <= newest).collect();
                let is_next = |event: &NumberedEvent| event.sequence == self.after + 1;
                if self.after > 0 && !self.read.front().is_some_and(is_next) {
                    let message = format!("the audit log no longer has what followed event {}", self.after);
                    return Err(Error::new(Reason::SequenceUnknown, message));
                }
                if self.read.is_empty() {
                    // Everything so far was pruned, and nobody has asked for it by number.
                    self.after = newest;
                }
            } else if newest < self.after {
                let message = format!("the audit log ends at event {newest}");
                return Err(Error::new(Reason::SequenceUnknown, message));
            } else if self.news.changed().await.is_err() {
                return Err(Error::internal("following the audit log", "its source is gone"));
            }
        }
    }
}

impl EventFilter {
    pub fn matches(&self, numbered: &NumberedEvent) -> bool {
        let event = &numbered.event;
        let is_below = |resource: &str| match resource.strip_prefix(self.resource_prefix.as_str()) {
            Some(rest) => self.resource_prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        is_below(&event.resource)
            && (self.principal.is_empty() || self.principal == event.principal)
            && (self.method.is_empty() || self.method == event.method)
            && self.outcome.is_none_or(|outcome| outcome == event.outcome)
            && self.start_time.is_none_or(|start| event.time >= start)
            && self.end_time.is_none_or(|end| event.time < end)
    }
}
