//! Holding a journal while it is carried on, where the registry is shared with other brokers.
//!
//! A run takes the lease before its first step, looks at it before every step, renews it when a third of it is over, and
//! gives it up in the write that ends the run. What it knows of its lease is never believed: the journal is read before
//! each step, and every write of it says which version it saw. So whoever has lost a lease finds out before their next
//! step, at the latest when a write is refused, and changes nothing at Cognito after that.
//!
//! Under a step that takes long the lease is renewed beside the journal, in a record of its own: the steps write the journal
//! themselves, and a change of it between their look and their write would have that refused. A renewal is written only
//! while the journal is as it was just read, and whoever takes a lease over that has lapsed by the journal has looked for a
//! renewal, and is refused where one has come since. So the journal and its version are still what everybody is fenced by.
//! A step is not broken off: after [`LONGEST_STEP`], or where a renewal does not come through in time, another broker may
//! take over while it is under way, which is safe by the rules of the records and costs work.
//!
//! Whoever has lost a lease may have done something since the other one looked. So it touches the journal before it
//! leaves: that refuses a striking out which is under way, and has the other one look once more.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;

use super::Journals;
use crate::broker::records::{Change, Versioned};
use crate::domain::error::Result;
use crate::domain::journal::{Journal, Renewal, Task};
use crate::domain::lease::{Lease, LeaseTerms};

/// How long a lease is renewed under one step. Each call of a step has its own limit, so none lasts for ever; the longest
/// one brings hundreds of pools up to the catalogue, at the rate of a quota.
const LONGEST_STEP: Duration = Duration::from_secs(15 * 60);
/// From a renewal that has failed to the next.
const RETRY: Duration = Duration::from_secs(1);

impl Journals {
    /// Why the task is not done yet, as far as there is something to say.
    pub async fn why_unfinished(&self, task: &Task) -> Result<String> {
        let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? else {
            return Ok(String::new());
        };
        let is_elsewhere = self.held_elsewhere(&journal, self.world.now()).await?.is_some();
        Ok(match is_elsewhere && journal.last_error.is_empty() {
            true => "another broker is at work on it".to_owned(),
            false => journal.value.last_error,
        })
    }

    /// Until when another broker has it.
    pub(super) async fn held_elsewhere(&self, journal: &Journal, now: Timestamp) -> Result<Option<Timestamp>> {
        let (Some(terms), Some(lease)) = (self.world.settings.journal.lease, self.lease_of_another(journal)) else {
            return Ok(None);
        };
        let mut lapse_time = terms.lapse_time(lease);
        if now >= lapse_time {
            let renewal = self.renewal(&journal.task).await?;
            lapse_time = terms.lapse_time(&lease.extended_by(renewal.as_ref().map(|renewal| &renewal.lease)));
        }
        Ok((now < lapse_time).then_some(lapse_time))
    }

    fn lease_of_another<'a>(&self, journal: &'a Journal) -> Option<&'a Lease> {
        journal.lease.as_ref().filter(|lease| lease.holder != self.world.broker && !lease.is_given_up())
    }

    async fn renewal(&self, task: &Task) -> Result<Option<Versioned<Renewal>>> {
        self.world.records.get(&task.to_string()).await
    }

    /// The journal as it is now, if this run may make a step of it; `None` where another broker has it. `held` is the lease
    /// that the run has, and has then. Fails with CONCURRENT_CHANGE where somebody else was faster.
    pub(super) async fn hold(
        &self,
        journal: Versioned<Journal>,
        held: &mut Option<Lease>,
    ) -> Result<Option<Versioned<Journal>>> {
        let Some(terms) = self.world.settings.journal.lease else { return Ok(Some(journal)) };
        let (now, stored) = (self.world.now(), journal.lease.as_ref());
        let own = stored.filter(|stored| held.as_ref().is_some_and(|held| held.is_same(stored)));
        let (lease, change) = match own {
            Some(own) if terms.may_act(own, now) && !terms.is_renewal_due(own, now) => return Ok(Some(journal)),
            Some(own) if terms.may_act(own, now) => (terms.renew(own, now), Change::housekeeping()),
            None if held.is_some() => {
                self.world.records.commit(Change::housekeeping().update(journal.version, &journal.value)).await?;
                return Ok(None);
            }
            // Also one that has lapsed and that nobody else has taken.
            Some(_) | None => match self.take(&terms, &journal, now).await? {
                Some(taken) => taken,
                None => return Ok(None),
            },
        };
        // It has lapsed, or the last write of a run of this broker's did not come through.
        let left = stored.filter(|stored| !stored.is_given_up() && !stored.is_same(&lease)).cloned();
        // Until then nobody else need look at it.
        let due_time = terms.lapse_time(&lease);
        let record = Journal { lease: Some(lease.clone()), due_time, ..journal.value };
        self.world.records.commit(change.update(journal.version, &record)).await?;
        if let Some(left) = left {
            let Lease { holder, expire_time, .. } = left;
            tracing::info!(task = %record.task, %holder, %expire_time, "a lease on a journal that was not given up is taken over");
        }
        *held = Some(lease);
        Ok(Some(Versioned { value: record, version: journal.version + 1 }))
    }

    /// The lease that may be taken now, and the beginning of the change that takes it: what must still be so then.
    async fn take(&self, terms: &LeaseTerms, journal: &Journal, now: Timestamp) -> Result<Option<(Lease, Change)>> {
        let change = Change::housekeeping();
        let Some(lapsed) = self.lease_of_another(journal) else {
            let taken = terms.take(journal.lease.as_ref(), &self.world.broker, now);
            return Ok(taken.map(|taken| (taken, change)));
        };
        let renewal = self.renewal(&journal.task).await?;
        let lapsed = lapsed.extended_by(renewal.as_ref().map(|renewal| &renewal.lease));
        let change = match renewal {
            Some(renewal) => change.delete(&renewal),
            None => change.require_none::<Renewal>(journal.task.to_string()),
        };
        Ok(terms.take(Some(&lapsed), &self.world.broker, now).map(|taken| (taken, change)))
    }

    /// To be waited for beside a step that is made under the lease `held`: renews it for as long as that takes.
    pub(super) async fn renew_meanwhile(&self, task: &Task, held: Option<&Lease>) -> Infallible {
        if let (Some(terms), Some(held)) = (self.world.settings.journal.lease, held) {
            let (mut lease, end) = (held.clone(), self.world.now() + LONGEST_STEP);
            loop {
                self.world.clock.sleep_until(terms.renewal_time(&lease)).await;
                let now = self.world.now();
                if now >= end {
                    tracing::warn!(%task, "a step takes so long that its lease is not renewed any more");
                    break;
                }
                match self.renew(&terms, task, &lease, now).await {
                    Ok(Some(renewed)) => lease = renewed,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%task, %error, "a lease could not be renewed under a step");
                        self.world.clock.sleep_until(now + RETRY).await;
                    }
                }
            }
        }
        std::future::pending().await
    }

    /// `None` where it is not this run's any more, or has run out: then it has to be taken again.
    async fn renew(&self, terms: &LeaseTerms, task: &Task, held: &Lease, now: Timestamp) -> Result<Option<Lease>> {
        let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? else { return Ok(None) };
        let stored = journal.lease.as_ref().filter(|stored| stored.is_same(held) && !stored.is_given_up());
        let Some(stored) = stored.map(|stored| stored.extended_by(Some(held))) else { return Ok(None) };
        if !terms.may_act(&stored, now) {
            return Ok(None);
        }
        let lease = terms.renew(&stored, now);
        let record = Renewal { task: task.clone(), lease: lease.clone(), due_time: terms.lapse_time(&lease) };
        let seen = self.renewal(task).await?.map(|seen| seen.version);
        let change = Change::housekeeping().require(&journal).put(&record, seen);
        self.world.records.commit(change).await?;
        Ok(Some(lease))
    }
}
