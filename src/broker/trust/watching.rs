//! One watcher: where it is, and what it is told next.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Trust;
use super::finding::{MOST, Walk};
use crate::broker::api::{TrustEvent, TrustMessage, TrustQuery, TrustSynced, TrustTerms};
use crate::broker::records::trust_log::Read;
use crate::domain::chain::Digest;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::trust::TrustChange;

/// Heartbeats within the time after which watchers must not verify any more: some may be late.
const HEARTBEATS: u32 = 5;
/// So often a watcher begins with everything without having come to an end of it.
const MAX_STARTS: u32 = 3;
/// How long one is to wait that could not keep up.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct Watching {
    trust: Arc<Trust>,
    query: TrustQuery,
    stage: Stage,
    /// Up to which change of the log all was told.
    place: u64,
    seen: watch::Receiver<u64>,
    /// More than fits into one message.
    rest: Vec<TrustChange>,
    goal: Option<Goal>,
    next_heartbeat: Timestamp,
    /// Whether all was told once since the last start.
    is_whole: bool,
    starts: u32,
    _permit: OwnedSemaphorePermit,
}

/// The end of the log, and an instant before which all was in it that was answered.
#[derive(Clone, Copy)]
struct Goal {
    fresh_time: Timestamp,
    end: u64,
}

enum Stage {
    Starting,
    Walking(Walk),
    Following,
}

impl Watching {
    pub fn new(trust: Arc<Trust>, query: TrustQuery, permit: OwnedSemaphorePermit) -> Self {
        let seen = trust.world.records.trust_log.watch();
        let next_heartbeat = trust.world.now();
        let mut watching = Watching {
            stage: Stage::Starting,
            place: 0,
            seen,
            rest: Vec::new(),
            goal: None,
            next_heartbeat,
            is_whole: false,
            starts: 0,
            trust,
            query,
            _permit: permit,
        };
        if let Some(place) = watching.resumed() {
            (watching.place, watching.stage, watching.is_whole) = (place, Stage::Following, true);
        }
        watching
    }

    pub async fn next(&mut self) -> Result<TrustMessage> {
        loop {
            if let Some(message) = self.rest_of_changes() {
                return Ok(message);
            }
            let said = match self.stage {
                Stage::Starting => Some(self.start()?),
                Stage::Walking(_) => self.walk().await?,
                Stage::Following => self.follow().await?,
            };
            if let Some(event) = said {
                return Ok(self.message(event));
            }
        }
    }

    fn start(&mut self) -> Result<TrustEvent> {
        self.starts += 1;
        if self.starts > MAX_STARTS {
            let message = "more changes than the caller, or this broker, has read in the time; begin anew";
            return Err(Error::new(Reason::Overloaded, message).retry_after(RETRY));
        }
        (self.goal, self.is_whole) = (None, false);
        // The place first: what changes from now on is told after what is read from now on.
        self.place = self.trust.world.records.trust_log.last();
        self.stage = Stage::Walking(Walk::new(&self.query));
        let settings = &self.trust.world.settings.verification;
        let (max_staleness, leeway) = (settings.max_staleness, settings.leeway);
        Ok(TrustEvent::Reset(TrustTerms { heartbeat: self.heartbeat(), max_staleness, leeway }))
    }

    /// What has changed meanwhile, or else the next page.
    async fn walk(&mut self) -> Result<Option<TrustEvent>> {
        self.take_changes().await?;
        if !self.rest.is_empty() {
            return Ok(None);
        }
        let Stage::Walking(walk) = &mut self.stage else { return Ok(None) };
        match self.trust.page(walk, &self.query).await? {
            Some(page) => self.rest = page,
            None => {
                self.stage = Stage::Following;
                self.next_heartbeat = self.trust.world.now();
            }
        }
        Ok(None)
    }

    /// What has changed, or that all was told; waits where there is nothing to say.
    async fn follow(&mut self) -> Result<Option<TrustEvent>> {
        let trust = self.trust.clone();
        let world = &trust.world;
        // However fast changes come, this end is reached.
        let Goal { fresh_time, end } = match self.goal {
            Some(goal) => goal,
            None => {
                self.seen.borrow_and_update();
                // In this order: whatever was answered before that instant is in the log by then.
                let fresh_time = world.fresh_time();
                *self.goal.insert(Goal { fresh_time, end: world.records.trust_log.last() })
            }
        };
        if self.place < end {
            self.take_changes().await?;
            return Ok(None);
        }
        self.goal = None;
        let now = world.now();
        // A clock that was set back is no reason to be silent.
        if now >= self.next_heartbeat || now + self.heartbeat() < self.next_heartbeat {
            world.may_say_verified()?;
            self.next_heartbeat = now + self.heartbeat();
            (self.starts, self.is_whole) = (0, true);
            let max_staleness = world.settings.verification.max_staleness;
            let fresh_until = fresh_time.saturating_add(max_staleness).unwrap_or(Timestamp::MAX);
            return Ok(Some(TrustEvent::Synced(TrustSynced { fresh_time, now, fresh_until })));
        }
        tokio::select! {
            // The log lives as long as the world.
            _ = self.seen.changed() => {}
            () = world.clock.sleep_until(self.next_heartbeat) => {}
        }
        Ok(None)
    }

    /// Takes what comes next in the log, at most a message of it. Where the place there is lost, all begins anew.
    async fn take_changes(&mut self) -> Result<()> {
        match self.trust.world.records.trust_log.read(self.place, MOST) {
            Read::Lost => self.stage = Stage::Starting,
            Read::Touched(touched, up_to) => {
                self.rest = self.trust.find(&touched, &self.query).await?;
                self.place = up_to;
            }
        }
        Ok(())
    }

    fn rest_of_changes(&mut self) -> Option<TrustMessage> {
        if self.rest.is_empty() {
            return None;
        }
        let later = self.rest.split_off(self.rest.len().min(MOST));
        let changes = std::mem::replace(&mut self.rest, later);
        Some(self.message(TrustEvent::Changes(changes)))
    }

    fn message(&self, event: TrustEvent) -> TrustMessage {
        // In the middle of something nobody can go on.
        let resume = (self.is_whole && self.rest.is_empty()).then(|| self.resume_token());
        TrustMessage { event, resume }
    }

    fn heartbeat(&self) -> Duration {
        self.trust.world.settings.verification.max_staleness / HEARTBEATS
    }

    fn resume_token(&self) -> String {
        format!("{}.{}.{}", self.trust.world.broker, self.place, self.query.digest())
    }

    /// The place that the caller comes back to, if it is one of this process and this query. Whether the log still knows it
    /// is found when it is read.
    fn resumed(&self) -> Option<u64> {
        let mut parts = self.query.resume.as_deref()?.split('.');
        let (broker, place, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let is_ours = broker == self.trust.world.broker.as_str() && digest == self.query.digest();
        is_ours.then(|| place.parse().ok()).flatten()
    }
}

impl TrustQuery {
    /// The same for the same tenants.
    fn digest(&self) -> String {
        let tenants: Vec<_> = self.tenants.iter().map(|tenant| tenant.as_str()).collect();
        Digest::of(tenants.join(" ").as_bytes()).to_string()
    }
}
