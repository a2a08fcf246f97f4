//! The brokers together: what can happen next, what must always be true, and which states are the same.

use keyward::domain::id::BrokerId;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::rotation::{Step, plan};
use stateright::{Model, Property};

use crate::broker::{Broker, Run};
use crate::world::{TERMS, Value, World, at, broker_id, value_of, version};

/// Longer than any rotation takes here, in ticks: whoever gets there goes round in circles.
const LATEST: i64 = 60;

/// The rules of the daemon, each of which can be left out to see what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub terms: LeaseTerms,
    /// Condemned before removed.
    pub condemns: bool,
    /// Taking a lease raises its fence.
    pub raises_fence: bool,
    /// Whoever has lost the lease sees to it that somebody looks after them.
    pub touches: bool,
    /// Whoever finds a lease lapsed looks whether it was renewed under a step.
    pub heeds_renewals: bool,
    /// There are leases at all.
    pub leases: bool,
}

pub const RULES: Rules =
    Rules { terms: TERMS, condemns: true, raises_fence: true, touches: true, heeds_renewals: true, leases: true };

/// How often each of these may happen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub crashes: u8,
    pub late_calls: u8,
    pub stalls: u8,
    pub stale_reads: u8,
    pub refusals: u8,
}

#[derive(Clone, Debug)]
pub struct Fleet {
    pub rules: Rules,
    pub brokers: usize,
    pub budget: Budget,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    world: World,
    brokers: Vec<Broker>,
    /// Calls whose callers do not wait for them any more.
    flying: Vec<Step>,
    /// Whether something may have been done after the last look, and nobody is there to say so.
    came_late: bool,
    left: Budget,
}

/// What happens next, mostly to the broker of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Take(usize),
    Look(usize),
    StaleLook(usize),
    Land(usize),
    Refuse(usize),
    Write(usize),
    Renew(usize),
    Crash(usize),
    CrashWithCallUnderWay(usize),
    TimeOut(usize),
    ComesLate(usize),
    Reconcile,
    TimePasses,
    Stall,
    StallUntilDue,
}

impl Model for Fleet {
    type State = State;
    type Action = Event;

    /// Clocks that are the same, and every way to have some of them ahead.
    fn init_states(&self) -> Vec<State> {
        let state = |ahead_from: usize| State {
            world: World::new(),
            brokers: (0..self.brokers)
                .map(|number| Broker {
                    id: broker_id(number + 1),
                    ahead: i64::from(number >= ahead_from),
                    run: Run::Idle,
                })
                .collect(),
            flying: Vec::new(),
            came_late: false,
            left: self.budget,
        };
        (1..=self.brokers).map(state).collect()
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        let (world, left) = (&state.world, &state.left);
        for (number, broker) in state.brokers.iter().enumerate() {
            match &broker.run {
                // Idle ones with the same clock are all the same.
                Run::Idle
                    if state.brokers[..number].iter().any(|it| it.run == Run::Idle && it.ahead == broker.ahead) => {}
                Run::Idle if broker.can_take(world, &self.rules).is_some() => events.push(Event::Take(number)),
                Run::Idle => {}
                Run::Holding(_) => events.push(Event::Look(number)),
                Run::Calling { .. } => events.push(Event::Land(number)),
                Run::Writing { .. } => events.push(Event::Write(number)),
            }
        }
        let is_anybody_busy = !events.is_empty();
        for (number, broker) in state.brokers.iter().enumerate() {
            let Run::Calling { step, .. } = &broker.run else { continue };
            if left.refusals > 0 && matches!(step, Step::Prove(_)) {
                events.push(Event::Refuse(number));
            }
            if left.late_calls > 0 && !matches!(step, Step::Prove(_)) {
                events.push(Event::TimeOut(number));
                if left.crashes > 0 {
                    events.push(Event::CrashWithCallUnderWay(number));
                }
            }
        }
        for (number, broker) in state.brokers.iter().enumerate() {
            if left.crashes > 0 && broker.run != Run::Idle {
                events.push(Event::Crash(number));
            }
            if left.stale_reads > 0 && world.before.is_some() && matches!(broker.run, Run::Holding(_)) {
                events.push(Event::StaleLook(number));
            }
            if broker.can_renew(world, &self.rules) {
                events.push(Event::Renew(number));
            }
        }
        events.extend((0..state.flying.len()).map(Event::ComesLate));
        if is_anybody_busy && left.stalls > 0 {
            events.push(Event::Stall);
            if due_tick(world).is_some_and(|due| due > world.now + 1) {
                events.push(Event::StallUntilDue);
            }
        }
        if !is_anybody_busy && world.journal.is_some() {
            events.push(Event::TimePasses);
        }
        if state.is_over() && state.came_late && self.is_anything_left(world) {
            events.push(Event::Reconcile);
        }
    }

    fn next_state(&self, last: &State, event: Event) -> Option<State> {
        let mut state = last.clone();
        let State { world, brokers, flying, came_late, left } = &mut state;
        let keep_before = left.stale_reads > 0;
        match event {
            Event::Take(number) => brokers[number].take(world, &self.rules),
            Event::Look(number) => brokers[number].look(world, &self.rules, false),
            Event::StaleLook(number) => {
                left.stale_reads -= 1;
                brokers[number].look(world, &self.rules, true);
            }
            Event::Land(number) => brokers[number].land(world, false),
            Event::Refuse(number) => {
                left.refusals -= 1;
                brokers[number].land(world, true);
            }
            Event::Write(number) => brokers[number].write(world, keep_before),
            Event::Renew(number) => brokers[number].renew(world, &self.rules),
            Event::Crash(number) => {
                left.crashes -= 1;
                // Its last call may have come after the last look, and it can no longer say so.
                *came_late |= brokers[number].has_lost(world);
                brokers[number].crash(world);
            }
            Event::CrashWithCallUnderWay(number) => {
                left.crashes -= 1;
                left.late_calls -= 1;
                flying.extend(brokers[number].call().cloned());
                brokers[number].crash(world);
            }
            Event::TimeOut(number) => {
                left.late_calls -= 1;
                flying.extend(brokers[number].call().cloned());
                let now = brokers[number].now(world);
                brokers[number].fail(world, now);
            }
            Event::ComesLate(number) => {
                let step = flying.remove(number);
                world.take_effect(&step);
                *came_late = true;
            }
            Event::Reconcile => {
                let now = at(world.now);
                world.begin_again(now);
                *came_late = false;
            }
            Event::TimePasses => world.now += 1,
            Event::Stall => {
                left.stalls -= 1;
                world.now += 1;
            }
            Event::StallUntilDue => {
                left.stalls -= 1;
                world.now = due_tick(world)?;
            }
        }
        if state.left.stale_reads == 0 {
            state.world.before = None;
        }
        state.rename();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CURRENT_WORKS, |_, state: &State| {
                let current = state.world.labels.current.as_ref();
                current.is_some_and(|current| state.world.authenticates(current))
            }),
            Property::always(NOTHING_IS_LOST, |fleet: &Fleet, state: &State| state.is_nothing_lost(fleet)),
            Property::always(NEVER_CONDEMNED, |_, state: &State| state.is_served_to_be_trusted()),
            Property::always(ONE_ACTS, |fleet: &Fleet, state: &State| {
                let may_act = |broker: &&Broker| broker.may_act(&state.world, &fleet.rules);
                state.brokers.iter().filter(may_act).count() <= 1
            }),
            Property::always(ONE_FENCE_EACH, |_, state: &State| {
                let fence = |broker: &Broker| broker.run.held().map(|held| (held.life, held.lease.fence));
                let mut fences: Vec<_> = state.brokers.iter().filter_map(fence).collect();
                let runs = fences.len();
                fences.sort_unstable();
                fences.dedup();
                fences.len() == runs
            }),
            Property::always(NOTHING_IS_LEFT, |fleet: &Fleet, state: &State| {
                let may_be_left = state.came_late && fleet.is_anything_left(&state.world);
                !state.is_over() || may_be_left || state.world.is_clean()
            }),
            Property::always(ENDS_IN_TIME, |_, state: &State| state.world.now < LATEST),
            Property::sometimes(COMES_THROUGH, |_, state: &State| state.is_over() && state.serves(Value::New)),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        // Without leases two can strike the journal out and write it again in step, for ever.
        state.world.now <= LATEST && (self.rules.leases || state.world.lives <= 3)
    }
}

pub const CURRENT_WORKS: &str = "AWSCURRENT authenticates";
pub const NOTHING_IS_LOST: &str = "what was promoted authenticates until its overlap is over";
pub const NEVER_CONDEMNED: &str = "what is served was proved and is not condemned";
pub const ONE_ACTS: &str = "two never act at once";
pub const ONE_FENCE_EACH: &str = "two never hold one fence";
pub const NOTHING_IS_LEFT: &str = "once the journal is struck out nothing is left, but what came too late to be seen";
pub const ENDS_IN_TIME: &str = "it comes to an end";
pub const COMES_THROUGH: &str = "the new secret becomes current and the old one goes";

impl Fleet {
    fn is_anything_left(&self, world: &World) -> bool {
        !plan(at(world.now), &world.credential.value, &world.observe()).is_empty()
    }
}

/// When everybody may take the journal up, be it that its lease has lapsed.
fn due_tick(world: &World) -> Option<i64> {
    let due_time = world.journal.as_ref()?.due_time;
    (world.now..LATEST).find(|tick| at(*tick) >= due_time)
}

impl State {
    fn is_over(&self) -> bool {
        self.world.journal.is_none()
            && self.flying.is_empty()
            && self.brokers.iter().all(|broker| broker.run == Run::Idle)
    }

    /// Brokers with the same clock are told apart by their names alone: of all states that differ in these, one is kept.
    fn rename(&mut self) {
        let key = |broker: &Broker| (broker.ahead, broker.run.held().map_or(u64::MAX, |held| held.lease.fence));
        if self.brokers.is_sorted_by_key(key) {
            return;
        }
        let ids: Vec<_> = self.brokers.iter().map(|broker| broker.id.clone()).collect();
        self.brokers.sort_by_key(key);
        let renamed: Vec<_> = self.brokers.iter().map(|broker| broker.id.clone()).zip(ids).collect();
        let new_id = |old: &BrokerId| renamed.iter().find(|(from, _)| from == old).map(|(_, to)| to.clone());
        for broker in &mut self.brokers {
            broker.id = new_id(&broker.id).expect("one of them");
            if let Some(held) = broker.run.held_mut() {
                held.lease.holder = broker.id.clone();
                if let Some(renewed) = &mut held.renewed {
                    renewed.holder = broker.id.clone();
                }
            }
        }
        for lease in self.world.leases_mut() {
            if let Some(id) = new_id(&lease.holder) {
                lease.holder = id;
            }
        }
    }

    fn serves(&self, value: Value) -> bool {
        self.world.labels.current.as_ref() == Some(&version(value))
    }

    fn is_nothing_lost(&self, fleet: &Fleet) -> bool {
        let credential = &self.world.credential.value;
        // By the clock of whoever is ahead of all: from then on it may be removed.
        let latest = at(self.world.now) + fleet.rules.terms.clock_difference.max(TERMS.clock_difference);
        let previous = credential.previous.as_ref().filter(|previous| latest < previous.retire_time);
        let previous = previous.map(|previous| &previous.held);
        [Some(&credential.current), previous].into_iter().flatten().all(|held| self.world.authenticates(&held.version))
    }

    /// The label moves before the record does: until then the candidate is what is served.
    fn is_served_to_be_trusted(&self) -> bool {
        let credential = &self.world.credential.value;
        let candidate = credential.candidate.as_ref().filter(|candidate| candidate.proved);
        let secret = match self.world.labels.current.as_ref() {
            Some(current) if *current == credential.current.version => Some(&credential.current.secret),
            Some(current) => candidate.filter(|it| it.version == *current).and_then(|it| it.secret.as_ref()),
            None => None,
        };
        secret.is_some_and(|secret| {
            let is_it = |(id, value): &&(_, Value)| {
                id == secret && Some(*value) == self.world.labels.current.as_ref().map(value_of)
            };
            !credential.condemned.contains_key(secret) && self.world.secrets.iter().any(|it| is_it(&it))
        })
    }
}
