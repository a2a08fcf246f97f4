//! The way over all clients that match, and what is told of it.
//!
//! Clients come in the order of their names, so those of one tenant, and so of one pool, follow each other; and it is each
//! pool that has the narrowest quota. Whoever went by names alone would wait for one pool while all others are idle. So
//! the walk knows a window of clients, and takes them [by pools](super::lanes).
//!
//! It is driven by whoever reads the messages: nothing is begun while nobody does.

use std::sync::Arc;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{FuturesUnordered, Stream};
use futures::{FutureExt as _, StreamExt as _, stream};

use tokio_util::sync::DropGuard;

use super::lanes::{Candidate, Lanes};
use super::{Asking, Fleet};
use crate::broker::api::{FleetOutcome, FleetProgress, FleetTally, Listing};
use crate::domain::error::Result;
use crate::domain::id::{ClientName, PoolId};

/// Clients under way at one time: in one call, and in all calls of this broker.
pub(super) const AT_A_TIME: usize = 48;
/// Clients that wait at most before no further page is read, some 250 bytes each.
const WINDOW: usize = 4_000;

pub(super) struct Walk {
    fleet: Arc<Fleet>,
    asking: Arc<Asking>,
    tally: FleetTally,
    lanes: Lanes,
    under_way: FuturesUnordered<BoxFuture<'static, SeenTo>>,
    /// Where the next page starts; `None` while it is read, and after the last.
    rest: Option<PageStart>,
    reading: Option<BoxFuture<'static, Result<Listing<Candidate>>>>,
    /// Nothing is begun when this is gone.
    _caller: DropGuard,
}

/// After which client; `None` for the first page.
type PageStart = Option<String>;

struct SeenTo {
    client: ClientName,
    pool: PoolId,
    outcome: Result<FleetOutcome>,
}

impl Walk {
    pub fn new(fleet: Arc<Fleet>, asking: Asking) -> Self {
        Walk {
            _caller: asking.left.clone().drop_guard(),
            fleet,
            asking: Arc::new(asking),
            tally: FleetTally::default(),
            lanes: Lanes::default(),
            under_way: FuturesUnordered::new(),
            rest: Some(None),
            reading: None,
        }
    }

    /// A message for each client, and the last.
    pub fn told(self) -> impl Stream<Item = Result<FleetProgress>> {
        stream::unfold(Some(self), |walk| async {
            let mut walk = walk?;
            match walk.next().await {
                Ok(progress) => {
                    let is_last = progress.seen_to.is_none();
                    Some((Ok(progress), (!is_last).then_some(walk)))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<FleetProgress> {
        loop {
            self.take_up();
            tokio::select! {
                biased;
                Some(seen_to) = self.under_way.next() => return self.tell(seen_to),
                Some(page) = OptionFuture::from(self.reading.as_mut()) => {
                    self.reading = None;
                    let page = page?;
                    self.tally.matched += page.items.len() as u64;
                    page.items.into_iter().for_each(|candidate| self.lanes.line_up(candidate));
                    self.rest = page.next.map(Some);
                }
                else => return self.end().await,
            }
        }
    }

    /// Takes up those for whom there is room, and reads on if there is more.
    fn take_up(&mut self) {
        while self.under_way.len() < AT_A_TIME
            && let Some(candidate) = self.lanes.take()
        {
            let (client, pool) = (candidate.name.clone(), candidate.pool.clone());
            let seen_to = self.fleet.clone().see_to(self.asking.clone(), candidate);
            self.under_way.push(seen_to.map(|outcome| SeenTo { client, pool, outcome }).boxed());
        }
        let has_room = self.under_way.len() < AT_A_TIME && self.lanes.waiting() < WINDOW;
        if has_room && let Some(start) = self.rest.take() {
            let (fleet, asking) = (self.fleet.clone(), self.asking.clone());
            self.reading = Some(async move { fleet.page(&asking, start).await }.boxed());
        }
    }

    fn tell(&mut self, seen_to: SeenTo) -> Result<FleetProgress> {
        let SeenTo { client, pool, outcome } = seen_to;
        self.lanes.leave(&pool);
        let outcome = outcome?;
        let tally = &mut self.tally;
        match &outcome {
            FleetOutcome::Planned(_) => {}
            FleetOutcome::Promoted(_) => tally.promoted += 1,
            FleetOutcome::Behind(..) => tally.behind += 1,
            FleetOutcome::PassedOver(_) => tally.passed_over += 1,
        }
        if !self.asking.validate_only {
            self.fleet.world.counting.saw_to(&outcome);
        }
        Ok(FleetProgress { tally: *tally, seen_to: Some((client, outcome)) })
    }

    async fn end(&mut self) -> Result<FleetProgress> {
        let FleetTally { matched, promoted, behind, passed_over } = self.tally;
        let summary = format!("{matched} matched: {promoted} promoted, {behind} failed, {passed_over} skipped");
        let end = self.fleet.clone().end(self.asking.clone(), summary);
        self.fleet.apart(end).await?;
        Ok(FleetProgress { tally: self.tally, seen_to: None })
    }
}
