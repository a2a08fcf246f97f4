//! Carries journals on: at once for the call that started one, and in the background for whatever a crash, a failure
//! or a schedule has left.
//!
//! A task is run by one flight, and tasks of one target never run side by side. A failed task is taken up again after
//! a wait that doubles; no step is retried in between. Whoever waits for a task learns how this run of it ended.
//!
//! Where the registry is shared, a run holds the journal's lease ([`leases`](leases)). One that finds it held by
//! another broker ends at once and well: whoever waits is told what is there so far, `CREATING` with that as the reason,
//! and does not wait for the other broker, which may take as long as it likes.

mod due;
mod leases;
pub(super) mod sweeping;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::background::Background;
use super::clients::issuing::Issuing;
use super::flights::{Flight, Flights};
use super::records::{Change, Versioned};
use super::rotations::rotator::Rotator;
use super::tenants::moving::Moving;
use super::tenants::onboarding::Onboarding;
use super::tenants::providers::Providers;
use super::world::World;
use crate::domain::audit::Call;
use crate::domain::error::{Reason, Result};
use crate::domain::journal::{Journal, Progress, Task};
use crate::domain::lease::Lease;
use sweeping::Sweeping;

/// How often a run looks again because somebody else was faster, before it counts as failed.
const MAX_OVERTAKEN: u32 = 32;

pub struct Journals {
    pub(super) world: Arc<World>,
    parts: Parts,
    flights: Flights<Task, ()>,
    slots: Arc<Semaphore>,
    background: Background,
}

/// Who does what the journals are of.
pub struct Parts {
    pub onboarding: Arc<Onboarding>,
    pub issuing: Arc<Issuing>,
    pub rotator: Arc<Rotator>,
    pub sweeping: Arc<Sweeping>,
    pub providers: Arc<Providers>,
    pub moving: Moving,
}

impl Journals {
    pub fn new(world: Arc<World>, parts: Parts, background: Background) -> Self {
        let slots = Arc::new(Semaphore::new(world.settings.journal.concurrency));
        let flights = Flights::new(background.clone());
        Journals { world, parts, flights, slots, background }
    }

    /// Carries a task on until it is done, has to wait, or fails. Nobody's going away stops it.
    pub fn run(self: &Arc<Self>, task: Task) -> Flight<()> {
        let (this, key) = (self.clone(), task.clone());
        self.flights.join(key, move || async move {
            let result = this.carry_on(&task).await;
            this.world.counting.ran(&task, &result);
            if let Err(error) = &result {
                tracing::warn!(%task, %error, cause = error.internal_detail(), "a journal is left for later");
            }
            // A slot or a follow-up may be free now.
            this.world.records.nudge();
            result
        })
    }

    async fn carry_on(self: &Arc<Self>, task: &Task) -> Result<()> {
        let _target = self.world.targets.lock(task.target()).await;
        let (mut overtaken, mut overtaken_as, mut held) = (0, None, None);
        loop {
            let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? else {
                held = None;
                match overtaken_as.take() {
                    Some(cause) if task.is_made_good() => self.write_again(task, &cause).await?,
                    _ => return Ok(()),
                }
                continue;
            };
            let cause = journal.cause.clone();
            let is_over = match self.hold(journal, &mut held).await {
                Ok(None) => return Ok(()),
                Ok(Some(journal)) => {
                    // If it is gone at the next look, another broker has struck it out.
                    overtaken_as = held.as_ref().map(|_| cause.clone()).or(overtaken_as);
                    tokio::select! {
                        biased;
                        is_over = self.step(&journal) => is_over,
                        never = self.renew_meanwhile(task, held.as_ref()) => match never {},
                    }
                }
                Err(error) => Err(error),
            };
            match is_over {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // Somebody else changed what the task looked at: look again.
                Err(error) if error.reason() == Reason::ConcurrentChange && overtaken < MAX_OVERTAKEN => {
                    overtaken += 1;
                    overtaken_as = Some(cause);
                }
                Err(error) => {
                    self.note_failure(task, held.as_ref(), &error.to_string()).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Makes one step. Returns whether the run is over.
    async fn step(self: &Arc<Self>, journal: &Versioned<Journal>) -> Result<bool> {
        match self.advance(journal).await? {
            Progress::Done => Ok(true),
            Progress::More => Ok(false),
            Progress::Wait(until) => self.postpone(journal, until).await.map(|()| true),
        }
    }

    async fn advance(self: &Arc<Self>, journal: &Versioned<Journal>) -> Result<Progress> {
        match &journal.task {
            Task::OnboardTenant(tenant) => self.parts.onboarding.onboard(journal, tenant).await,
            Task::ApplyUserPool(tenant) => self.parts.onboarding.apply_user_pool(journal, tenant).await,
            Task::OffboardTenant(tenant) => self.parts.onboarding.offboard(journal, tenant).await,
            Task::IssueClient(client) => self.parts.issuing.issue(journal, client).await,
            Task::ApplyClient(client) => self.parts.issuing.apply(journal, client).await,
            Task::RetireClient(client) => self.parts.issuing.retire(journal, client).await,
            Task::RotateSecret(client) => self.parts.rotator.advance(journal, client).await,
            Task::ApplyCatalog => self.parts.sweeping.apply_catalog(journal).await,
            Task::ApplyProviders(tenant) => self.parts.providers.apply(journal, tenant).await,
            Task::MoveTenant(tenant) => self.parts.moving.advance(self, journal, tenant).await,
        }
    }

    /// Another broker was faster and has struck the journal out, perhaps before the last call of this run took effect: a
    /// label or a secret may have come that nobody has seen, or an older setting in the place of a newer one.
    async fn write_again(&self, task: &Task, cause: &Call) -> Result<()> {
        let journal = Journal::new(task.clone(), cause, self.world.now());
        match self.world.records.commit(Change::housekeeping().create(&journal)).await {
            Err(error) if error.reason() != Reason::ConcurrentChange => Err(error),
            _ => Ok(()),
        }
    }

    async fn postpone(&self, journal: &Versioned<Journal>, until: Timestamp) -> Result<()> {
        let lease = journal.lease.as_ref().map(Lease::given_up);
        let record =
            Journal { due_time: until, failures: 0, last_error: String::new(), lease, ..journal.value.clone() };
        if record == journal.value {
            return Ok(());
        }
        self.world.records.commit(Change::housekeeping().update(journal.version, &record)).await
    }

    async fn note_failure(&self, task: &Task, held: Option<&Lease>, error: &str) -> Result<()> {
        // The task may have moved its own journal on before it failed.
        let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? else {
            return Ok(());
        };
        let is_held = |held: &Lease| journal.lease.as_ref().is_some_and(|lease| lease.is_same(held));
        if self.world.settings.journal.lease.is_some() && !held.is_some_and(is_held) {
            // It is for the broker that has it to say how it goes.
            return Ok(());
        }
        let settings = &self.world.settings.journal;
        let wait = settings.first_retry.saturating_mul(1 << journal.failures.min(20)).min(settings.max_retry);
        let record = Journal {
            due_time: self.world.now() + wait,
            failures: journal.failures.saturating_add(1),
            last_error: error.to_owned(),
            lease: journal.lease.as_ref().map(Lease::given_up),
            ..journal.value.clone()
        };
        self.world.records.commit(Change::housekeeping().update(journal.version, &record)).await
    }

    /// Works off what is due, until stopped. `start_rotations` starts the scheduled ones that are due and says when the
    /// next is.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = self.world.now();
            let poll = now + self.world.settings.journal.poll_interval;
            let next = match self.take_up(now).await {
                Ok(next) => next.min(poll),
                Err(error) => {
                    tracing::error!(%error, cause = error.internal_detail(), "cannot see what is due");
                    now + Duration::from_secs(1).min(self.world.settings.journal.poll_interval)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.world.records.due_changed() => {}
                () = self.world.clock.sleep_until(next) => {}
            }
        }
    }

    /// Starts what is due, as far as there are slots, and says when the next thing is.
    async fn take_up(self: &Arc<Self>, now: Timestamp) -> Result<Timestamp> {
        let mut next = self.parts.sweeping.sweep(now).await?;
        let mut sooner = |time: Timestamp| next = next.min(time);
        if let Some(time) = self.parts.rotator.start_due(now).await? {
            sooner(time);
        }
        let due = self.world.records.due::<Journal>(now, self.batch()).await?;
        if let Some(time) = due.next.filter(|time| *time > now) {
            sooner(time);
        }
        for journal in due.records {
            if self.flights.is_under_way(&journal.task) {
                continue;
            }
            // It was asked for again while somebody else is at work on it.
            if let Some(time) = self.held_elsewhere(&journal, now).await? {
                sooner(time);
                continue;
            }
            // With every slot taken, the end of any run asks for another look.
            let Ok(slot) = self.slots.clone().try_acquire_owned() else { break };
            let (this, task) = (self.clone(), journal.value.task);
            self.background.spawn(async move {
                // A failure is in the log and in the journal.
                let _ = this.run(task).await;
                drop(slot);
                this.world.records.nudge();
            });
        }
        Ok(next)
    }

    /// Enough to see past those that are under way already.
    fn batch(&self) -> usize {
        self.world.settings.journal.concurrency * 2 + 64
    }
}
