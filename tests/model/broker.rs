//! A broker as the registry, Cognito and the vault know one: it takes the lease, looks, plans, calls, writes down, and may
//! be stopped, held up or killed between any two of these. What to do is decided by the daemon's own rules.

use std::sync::Arc;

use jiff::Timestamp;
use keyward::domain::id::BrokerId;
use keyward::domain::lease::Lease;
use keyward::domain::rotation::{Credential, Step, plan};

use crate::fleet::Rules;
use crate::world::{Answer, Stored, TICK, World, at, broker_id};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    pub id: BrokerId,
    /// How many ticks its clock is ahead.
    pub ahead: i64,
    pub run: Run,
}

/// How far a run has come. What it knows may be out of date.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    Idle,
    /// Before its next look.
    Holding(Held),
    /// It has looked, and its call is under way.
    Calling {
        held: Held,
        seen: Stored,
        step: Step,
    },
    /// Its call is done, or it needed none.
    Writing {
        held: Held,
        seen_version: u64,
        write: Write,
    },
}

/// The lease as its holder knows it, and of which life of the journal it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    pub lease: Lease,
    /// What it has become under the step that is under way.
    pub renewed: Option<Lease>,
    pub life: u8,
    /// Whether somebody else may be at work too: with leases, if the journal is gone at the next look.
    pub overtaken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    Credential(Arc<Credential>),
    /// Nothing was left to do: the journal, as it was at this version, is struck out.
    Strike(u64),
}

impl Run {
    pub fn held(&self) -> Option<&Held> {
        match self {
            Run::Idle => None,
            Run::Holding(held) | Run::Calling { held, .. } | Run::Writing { held, .. } => Some(held),
        }
    }
}

impl Run {
    pub fn held_mut(&mut self) -> Option<&mut Held> {
        match self {
            Run::Idle => None,
            Run::Holding(held) | Run::Calling { held, .. } | Run::Writing { held, .. } => Some(held),
        }
    }
}

impl Broker {
    pub fn now(&self, world: &World) -> Timestamp {
        at(world.now + self.ahead)
    }

    /// The call that it has under way.
    pub fn call(&self) -> Option<&Step> {
        match &self.run {
            Run::Calling { step, .. } => Some(step),
            _ => None,
        }
    }

    /// Whether its lease is not its own any more.
    pub fn has_lost(&self, world: &World) -> bool {
        let lease = world.journal.as_ref().and_then(|journal| journal.lease.as_ref());
        self.run.held().is_some_and(|held| !lease.is_some_and(|lease| lease.is_same(&held.lease)))
    }

    /// Whether its lease can be renewed under the step that it makes.
    pub fn can_renew(&self, world: &World, rules: &Rules) -> bool {
        let (Run::Calling { held, .. } | Run::Writing { held, .. }) = &self.run else { return false };
        let lease = held.renewed.as_ref().unwrap_or(&held.lease);
        let now = self.now(world);
        rules.leases
            && !self.has_lost(world)
            && rules.terms.is_renewal_due(lease, now)
            && rules.terms.may_act(lease, now)
            && rules.terms.renew(lease, now) != *lease
    }

    /// Beside the journal, which is as it was: so it is one with reading that.
    pub fn renew(&mut self, world: &mut World, rules: &Rules) {
        let now = self.now(world);
        let Some(held) = self.run.held_mut() else { return };
        let renewed = rules.terms.renew(held.renewed.as_ref().unwrap_or(&held.lease), now);
        world.renewal = Some(renewed.clone());
        held.renewed = Some(renewed);
    }

    /// All that it knew is gone, and the broker that is started in its place has another id. That one is given the old id,
    /// and the lease, if it has one, to nobody: which is the same, and makes fewer states that differ in names alone.
    pub fn crash(&mut self, world: &mut World) {
        self.run = Run::Idle;
        for lease in world.leases_mut().filter(|lease| lease.holder == self.id) {
            lease.holder = broker_id(0);
        }
    }

    /// Whether it may begin something now, as it believes.
    pub fn may_act(&self, world: &World, rules: &Rules) -> bool {
        let lease = self.run.held().map(|held| held.renewed.as_ref().unwrap_or(&held.lease));
        lease.is_some_and(|lease| rules.terms.may_act(lease, self.now(world)))
    }

    /// The lease that an idle broker can take now.
    pub fn can_take(&self, world: &World, rules: &Rules) -> Option<Lease> {
        let (journal, now) = (world.journal.as_ref()?, self.now(world));
        if !rules.leases {
            let lease = Lease { holder: self.id.clone(), expire_time: Timestamp::MAX, fence: 1 };
            return (now >= journal.due_time).then_some(lease);
        }
        let renewal = world.renewal.as_ref().filter(|_| rules.heeds_renewals);
        let before = journal.lease.as_ref().map(|lease| match lease.holder == self.id {
            true => lease.clone(),
            false => lease.extended_by(renewal),
        });
        let lease = rules.terms.take(before.as_ref(), &self.id, now).filter(|_| now >= journal.due_time)?;
        Some(if rules.raises_fence { lease } else { Lease { fence: 1, ..lease } })
    }

    pub fn take(&mut self, world: &mut World, rules: &Rules) {
        if let Some(lease) = self.can_take(world, rules) {
            let is_anothers = |before: &Lease| before.holder != self.id && !before.is_given_up();
            if world.journal.as_ref().and_then(|journal| journal.lease.as_ref()).is_some_and(is_anothers) {
                world.renewal = None;
            }
            self.hold(world, rules, lease);
        }
    }

    /// Reading the journal and writing it are one: a write that comes later fails, or nothing came in between.
    fn hold(&mut self, world: &mut World, rules: &Rules, lease: Lease) {
        if rules.leases {
            world.put_lease(lease.clone(), rules.terms.lapse_time(&lease));
        }
        self.run = Run::Holding(Held { lease, renewed: None, life: world.lives, overtaken: rules.leases });
    }

    /// One look: at the journal first, and if that is still its own, at the client. `stale`: the credential is read as it
    /// was before its last change.
    pub fn look(&mut self, world: &mut World, rules: &Rules, stale: bool) {
        let Run::Holding(held) = self.run.clone() else { return };
        let now = self.now(world);
        let journal = world.journal.clone();
        let is_own = |lease: &Option<Lease>| lease.as_ref().is_some_and(|lease| lease.is_same(&held.lease));
        let Some(journal) = journal.filter(|journal| !rules.leases || is_own(&journal.lease)) else {
            return self.leave(world, rules, now, held.overtaken);
        };
        if !rules.terms.may_act(&held.lease, now) {
            // Nobody has taken it meanwhile, but somebody may be about to.
            let lease = rules.terms.take(journal.lease.as_ref(), &self.id, now).expect("it is its own");
            return self.hold(world, rules, lease);
        }
        if rules.terms.is_renewal_due(&held.lease, now) {
            return self.hold(world, rules, rules.terms.renew(&held.lease, now));
        }

        let fresh = || world.credential.clone();
        let seen = if stale { world.before.clone().unwrap_or_else(fresh) } else { fresh() };
        let steps = plan(now, &seen.value, &world.observe());
        let is_left_out = |step: &&Step| !rules.condemns && matches!(step, Step::Condemn(_));
        let step = steps.iter().find(|step| !is_left_out(step));
        let mut next = Credential::clone(&seen.value);
        match step {
            None => {
                let write = Write::Strike(journal.version);
                self.run = Run::Writing { held, seen_version: seen.version, write };
                return;
            }
            Some(Step::Wait(until)) => {
                world.put_lease(given_up(&held.lease), *until);
                self.run = Run::Idle;
                return;
            }
            Some(Step::Condemn(secret)) => next.condemn(secret, now),
            Some(Step::Abandon(_)) => drop(next.give_up()),
            Some(Step::Finish(_)) => {
                next.previous = None;
                next.forget_condemned(now, &world.observe());
            }
            Some(step) => {
                self.run = Run::Calling { held, seen, step: step.clone() };
                return;
            }
        }
        self.run = Run::Writing { held, seen_version: seen.version, write: Write::Credential(Arc::new(next)) };
    }

    /// The lease is lost. The journal may be struck out by somebody who looked before this run's last call was done: so
    /// it is touched, which has its holder look again, or is written again.
    fn leave(&mut self, world: &mut World, rules: &Rules, now: Timestamp, overtaken: bool) {
        self.run = Run::Idle;
        match &mut world.journal {
            _ if !rules.touches || !overtaken => {}
            Some(journal) => journal.version += 1,
            None => world.begin_again(now),
        }
    }

    /// Its call takes effect and is answered.
    pub fn land(&mut self, world: &mut World, refused: bool) {
        let Run::Calling { held, seen, step } = self.run.clone() else { return };
        let now = self.now(world);
        let mut next = Credential::clone(&seen.value);
        let candidate = next.candidate.as_mut();
        self.run = Run::Holding(Held { renewed: None, ..held.clone() });
        match (world.take_effect(&step), candidate) {
            (Answer::Added(id), _) if seen.value.condemned.contains_key(&id) || seen.value.keeps(&id) => {
                // An id that came back within its second: not this time.
                return self.fail(world, now + TICK);
            }
            (Answer::Added(id), Some(candidate)) => {
                candidate.secret = Some(id);
                candidate.proved = false;
            }
            (Answer::Proved(works), Some(candidate)) => {
                if works && !refused {
                    candidate.proved = true;
                } else if candidate.give_up_time.is_none() {
                    candidate.give_up_time = Some(now + TICK);
                } else {
                    return self.fail(world, now + TICK);
                }
            }
            (Answer::Done, Some(_)) if matches!(step, Step::Promote { .. }) => {
                if next.promote(now).is_none() {
                    return;
                }
            }
            _ => return,
        }
        let write = Write::Credential(Arc::new(next));
        self.run = Run::Writing { held, seen_version: seen.version, write };
    }

    /// The run ends without having come through, and gives its lease up if it still has it.
    pub fn fail(&mut self, world: &mut World, due_time: Timestamp) {
        let held = self.run.held().cloned();
        self.run = Run::Idle;
        if let (Some(held), Some(lease)) = (held, world.journal.as_ref().and_then(|journal| journal.lease.as_ref()))
            && lease.is_same(&held.lease)
        {
            world.put_lease(given_up(&held.lease), due_time);
        }
    }

    /// Its conditional write reaches the registry.
    pub fn write(&mut self, world: &mut World, keep_before: bool) {
        let Run::Writing { held, seen_version, write } = self.run.clone() else { return };
        let is_made = match write {
            Write::Credential(credential) => world.put(seen_version, Credential::clone(&credential), keep_before),
            Write::Strike(version) => {
                let as_seen = world.journal.as_ref().is_some_and(|journal| journal.version == version);
                if as_seen && world.credential.version == seen_version {
                    world.journal = None;
                    self.run = Run::Idle;
                    return;
                }
                false
            }
        };
        let overtaken = held.overtaken || !is_made;
        self.run = Run::Holding(Held { renewed: None, overtaken, ..held });
    }
}

/// Whose it was makes no difference any more.
fn given_up(lease: &Lease) -> Lease {
    Lease { holder: broker_id(0), ..lease.given_up() }
}
