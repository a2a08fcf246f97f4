//! Carries the move of a tenant on: the new place made ready, every client given an app client there, the old place
//! removed.
//!
//! It makes no step of a client's by itself. It starts a rotation for each client, which is to replace the app client, and
//! joins whatever is under way for it; where a new app client goes is decided by the tenant's home
//! ([`replacing`](crate::broker::rotations::replacing)). So a client is never without a working secret, whoever else rotates, changes or
//! deletes it meanwhile, and a crash leaves the journals of rotations, which go on without this one.
//!
//! It must never:
//! - **change the home before the new place is ready**, or leave it unchanged once a client may be there;
//! - **let an old app client go before every client has a new one**: its rotations are held in their overlap until then;
//! - **delete a pool of the tenant's own while a token of it can be valid**, since verifiers need its keys;
//! - **be over while something of the tenant's is in the old place.**
//!
//! It goes over the clients in passes, a page at a time, and gives the tenant's lock up after each page that had work. How
//! far a pass came is in memory: whoever has forgotten it begins the pass again. What could not be done is told by
//! `last_error_reason`, and is tried again in another pass.

mod clients;

use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use crate::broker::api::Page;
use crate::broker::journals::Journals;
use crate::broker::pools::Pools;
use crate::broker::records::shelves::tenant_prefix;
use crate::broker::records::{Change, Versioned, settle};
use crate::broker::rotations::rotator::Rotator;
use crate::broker::world::World;
use crate::domain::client::Client;
use crate::domain::error::{Reason, Result};
use crate::domain::id::TenantId;
use crate::domain::journal::{Journal, Progress, Task};
use crate::domain::moving::{MoveState, TenantMove};
use crate::domain::tenant::{HostedDomain, Tenant, TenantState, UserPoolSettings};
use clients::Outcome;

/// Clients of one page, and how many of them are worked on side by side.
const CLIENTS: usize = 32;
const AT_A_TIME: usize = 8;
/// Moves of which it is remembered how far their pass came.
const MAX_PASSES: u64 = 1_000;

pub struct Moving {
    world: Arc<World>,
    pools: Arc<Pools>,
    rotator: Arc<Rotator>,
    passes: moka::sync::Cache<TenantId, Pass>,
}

/// One pass over the clients of a tenant.
#[derive(Clone)]
struct Pass {
    /// Of which move, and of which part of it.
    of: (Timestamp, MoveState),
    after: Option<String>,
    clients: u32,
    /// Those that need nothing (more).
    settled: u32,
    /// When something is to be done again, at the earliest.
    next: Option<Timestamp>,
    /// Until when nothing is to be done but to wait, at the latest.
    end: Option<Timestamp>,
    trouble: Option<Reason>,
}

impl Moving {
    pub fn new(world: Arc<World>, pools: Arc<Pools>, rotator: Arc<Rotator>) -> Self {
        Moving { world, pools, rotator, passes: moka::sync::Cache::new(MAX_PASSES) }
    }

    /// One step.
    pub async fn advance(
        &self,
        journals: &Arc<Journals>,
        journal: &Versioned<Journal>,
        id: &TenantId,
    ) -> Result<Progress> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let is_in_use =
            |tenant: &Versioned<Tenant>| matches!(tenant.state, TenantState::Active | TenantState::Suspended);
        let tenant = tenant.filter(is_in_use);
        let Some((tenant, moved)) = tenant.as_ref().and_then(|tenant| Some((tenant, tenant.moving()?))) else {
            self.world.records.commit(Change::housekeeping().delete(journal)).await?;
            return Ok(Progress::Done);
        };
        let outcome = match moved.state {
            MoveState::Running if tenant.is_leaving() => self.arrive(journal, tenant, moved).await,
            MoveState::Running | MoveState::Overlap => self.pass(journals, journal, tenant, moved).await,
            MoveState::Succeeded => Ok(Progress::Done),
        };
        if let Err(error) = &outcome
            && error.reason() != Reason::ConcurrentChange
        {
            let reason = error.reason().as_str();
            self.note(id, moved, |record| reason.clone_into(&mut record.last_error_reason)).await?;
        }
        outcome
    }

    /// Makes the new place ready, and then the tenant's home. From then on new app clients are made there, whoever asks
    /// for them.
    async fn arrive(
        &self,
        journal: &Versioned<Journal>,
        tenant: &Versioned<Tenant>,
        moved: &TenantMove,
    ) -> Result<Progress> {
        // As where a tenant is onboarded.
        if journal.lease.as_ref().is_some_and(|lease| !lease.is_first()) {
            self.pools.take_unasked(&moved.to);
        }
        self.pools.ready(&moved.to, &journal.cause).await?;
        let now = self.world.now();
        let record = Tenant {
            isolation: moved.target,
            pool: moved.to.clone(),
            user_pool: moved.user_pool.clone(),
            moved: Some(TenantMove { last_error_reason: String::new(), ..moved.clone() }),
            update_time: now,
            ..tenant.value.clone()
        };
        let cause = journal.cause.doing("keyward.move/arrive");
        let event = cause.event(now, tenant.id.name()).detail(moved.to.as_str());
        let mut change = Change::because(event).update(tenant.version, &record);
        // What is not the home yet is not protected; and a domain of the tenant's own takes longer than anybody waits.
        let is_left = |settings: &UserPoolSettings| {
            settings.deletion_protection || matches!(settings.domain, Some(HostedDomain::Custom { .. }))
        };
        if moved.user_pool.as_ref().is_some_and(is_left) {
            let task = Task::ApplyUserPool(tenant.id.clone());
            change = self.world.with_journal(change, task, &journal.cause).await?;
        }
        self.world.records.commit(change).await?;
        Ok(Progress::More)
    }

    /// A page of clients, and what follows when it was the last one.
    async fn pass(
        &self,
        journals: &Arc<Journals>,
        journal: &Versioned<Journal>,
        tenant: &Versioned<Tenant>,
        moved: &TenantMove,
    ) -> Result<Progress> {
        let of = (moved.create_time, moved.state);
        let pass = self.passes.get(&tenant.id).filter(|pass| pass.of == of);
        let mut pass = pass.unwrap_or_else(|| Pass::new(of));
        let page = Page { after: pass.after.clone(), size: CLIENTS };
        let listing = self.world.records.list::<Client>(&tenant_prefix(&tenant.id), &page).await?;
        // Collected first: a lazy iterator would borrow across the waits.
        let work: Vec<_> =
            listing.items.into_iter().map(|client| self.see_to(journals, journal, moved, client)).collect();
        let seen: Vec<(bool, Outcome)> = stream::iter(work).buffer_unordered(AT_A_TIME).try_collect().await?;
        let was_work = seen.iter().any(|(was_work, _)| *was_work);
        seen.into_iter().for_each(|(_, outcome)| pass.count(outcome));

        let now = self.world.now();
        if let Some(next) = listing.next {
            pass.after = Some(next);
            let settled = pass.settled;
            self.passes.insert(tenant.id.clone(), pass);
            if was_work && moved.state == MoveState::Running {
                self.note(&tenant.id, moved, |record| {
                    record.moved_client_count = record.moved_client_count.max(settled);
                    record.client_count = record.client_count.max(settled);
                })
                .await?;
            }
            // Others may have their turn at the tenant between two pages.
            return Ok(if was_work { Progress::Wait(now) } else { Progress::More });
        }
        self.passes.invalidate(&tenant.id);
        let again = pass.next.or(pass.end);
        match (moved.state, again) {
            (MoveState::Running, None) => self.overlap(journal, &tenant.id, moved, &pass).await,
            (_, None) => self.finish(journal, &tenant.id).await,
            (state, Some(again)) => {
                let trouble = pass.trouble.map_or("", Reason::as_str);
                self.note(&tenant.id, moved, |record| {
                    trouble.clone_into(&mut record.last_error_reason);
                    if state == MoveState::Running {
                        (record.client_count, record.moved_client_count) = (pass.clients, pass.settled);
                    }
                })
                .await?;
                Ok(Progress::Wait(again))
            }
        }
    }

    /// Every client uses its new app client: now it is known when the old ones go.
    async fn overlap(
        &self,
        journal: &Versioned<Journal>,
        id: &TenantId,
        moved: &TenantMove,
        pass: &Pass,
    ) -> Result<Progress> {
        let Some(tenant) = self.still(id, moved).await? else { return Ok(Progress::More) };
        let now = self.world.now();
        let moved = TenantMove {
            state: MoveState::Overlap,
            client_count: pass.clients,
            moved_client_count: pass.settled,
            retire_time: Some(now + moved.overlap),
            last_error_reason: String::new(),
            ..moved.clone()
        };
        let record = Tenant { moved: Some(moved), update_time: now, ..tenant.value.clone() };
        let event = journal.cause.doing("keyward.move/overlap").event(now, id.name());
        self.world.records.commit(Change::because(event).update(tenant.version, &record)).await?;
        Ok(Progress::More)
    }

    /// Nothing of the tenant's is in the old place: it goes, where it was the tenant's own.
    async fn finish(&self, journal: &Versioned<Journal>, id: &TenantId) -> Result<Progress> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let Some((tenant, moved)) = tenant.as_ref().and_then(|tenant| Some((tenant, tenant.moving()?))) else {
            return Ok(Progress::More);
        };
        let now = self.world.now();
        let ended = TenantMove {
            state: MoveState::Succeeded,
            end_time: Some(now),
            last_error_reason: String::new(),
            ..moved.clone()
        };
        let record = Tenant { moved: Some(ended), update_time: now, ..tenant.value.clone() };
        let event = journal.cause.doing("keyward.move/finish").event(now, id.name());
        let change = Change::because(event).update(tenant.version, &record).delete(journal);
        let Some(own) = self.pools.delete_own(id, &moved.from).await? else {
            self.world.records.commit(change).await?;
            return Ok(Progress::Done);
        };
        let _turn = self.pools.place_in_turn().await;
        let change = self.pools.forget_own(change, tenant, &own).await?;
        self.world.records.commit(change).await?;
        Ok(Progress::Done)
    }

    /// The tenant as it is now, if it is in the same part of the same move.
    async fn still(&self, id: &TenantId, of: &TenantMove) -> Result<Option<Versioned<Tenant>>> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let is_same = |moved: &TenantMove| moved.create_time == of.create_time && moved.state == of.state;
        Ok(tenant.filter(|tenant| tenant.moving().is_some_and(is_same)))
    }

    /// Writes down how far the move is, where that has changed.
    async fn note(&self, id: &TenantId, of: &TenantMove, edit: impl Fn(&mut TenantMove)) -> Result<()> {
        settle(|| async {
            let Some(tenant) = self.still(id, of).await? else { return Ok(()) };
            let mut record = tenant.value.clone();
            record.moved.iter_mut().for_each(&edit);
            if record == tenant.value {
                return Ok(());
            }
            record.update_time = self.world.now();
            self.world.records.commit(Change::housekeeping().update(tenant.version, &record)).await
        })
        .await
    }
}

impl Pass {
    fn new(of: (Timestamp, MoveState)) -> Self {
        Pass { of, after: None, clients: 0, settled: 0, next: None, end: None, trouble: None }
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Gone => return,
            Outcome::Settled => self.settled += 1,
            Outcome::Unsettled { again, trouble } => {
                self.next = Some(self.next.map_or(again, |next| next.min(again)));
                self.trouble = Some(trouble);
            }
            Outcome::Waiting(until) => self.end = Some(self.end.map_or(until, |end| end.max(until))),
        }
        self.clients += 1;
    }
}
