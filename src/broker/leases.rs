//! Holding a journal while it is carried on, where the registry is shared with other brokers.
//!
//! A run takes the lease before its first step, looks at it before every step, renews it when a third of it is over, and
//! gives it up in the write that ends the run. What it knows of its lease is never believed: the journal is read before
//! each step, and every write of it says which version it saw. So whoever has lost a lease finds out before their next
//! step, at the latest when a write is refused, and changes nothing at Cognito after that.
//!
//! A step that takes longer than the lease is not broken off, nor is the lease renewed under it: the steps write the
//! journal's record themselves, and a renewal between their look and their write would have that refused. Another broker
//! may then take over while the step is under way, which is safe by the rules of the records and costs work.
//!
//! Whoever has lost a lease may have done something since the other one looked. So it touches the journal before it
//! leaves: that refuses a striking out which is under way, and has the other one look once more.

use jiff::Timestamp;

use super::journals::Journals;
use super::records::{Change, Versioned};
use crate::domain::error::Result;
use crate::domain::journal::{Journal, Task};
use crate::domain::lease::Lease;

impl Journals {
    /// Why the task is not done yet, as far as there is something to say.
    pub async fn why_unfinished(&self, task: &Task) -> Result<String> {
        let Some(journal) = self.world.records.get::<Journal>(&task.to_string()).await? else {
            return Ok(String::new());
        };
        let is_elsewhere = self.held_elsewhere(&journal, self.world.now()).is_some();
        Ok(match is_elsewhere && journal.last_error.is_empty() {
            true => "another broker is at work on it".to_owned(),
            false => journal.value.last_error,
        })
    }

    /// Until when another broker has it.
    pub(super) fn held_elsewhere(&self, journal: &Journal, now: Timestamp) -> Option<Timestamp> {
        let (terms, lease) = (self.world.settings.journal.lease?, journal.lease.as_ref()?);
        let lapse_time = terms.lapse_time(lease);
        (lease.holder != self.world.broker && now < lapse_time).then_some(lapse_time)
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
        let lease = match own {
            Some(own) if terms.may_act(own, now) && !terms.is_renewal_due(own, now) => return Ok(Some(journal)),
            Some(own) if terms.may_act(own, now) => Some(terms.renew(own, now)),
            None if held.is_some() => {
                self.world.records.commit(Change::housekeeping().update(journal.version, &journal.value)).await?;
                return Ok(None);
            }
            // Also one that has lapsed and that nobody else has taken.
            Some(_) | None => terms.take(stored, &self.world.broker, now),
        };
        let Some(lease) = lease else { return Ok(None) };
        // It has lapsed, or the last write of a run of this broker's did not come through.
        let left = stored.filter(|stored| !stored.is_given_up() && !stored.is_same(&lease)).cloned();
        // Until then nobody else need look at it.
        let due_time = terms.lapse_time(&lease);
        let record = Journal { lease: Some(lease.clone()), due_time, ..journal.value };
        self.world.records.commit(Change::housekeeping().update(journal.version, &record)).await?;
        if let Some(left) = left {
            let Lease { holder, expire_time, .. } = left;
            tracing::info!(task = %record.task, %holder, %expire_time, "a lease on a journal that was not given up is taken over");
        }
        *held = Some(lease);
        Ok(Some(Versioned { value: record, version: journal.version + 1 }))
    }
}
