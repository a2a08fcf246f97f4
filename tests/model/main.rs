//! Every order of events in which brokers that share one registry can carry a rotation through, within bounds.
//!
//! What a broker decides is decided by the daemon's own code: `domain::rotation::plan` and what it calls on a
//! `Credential`, `domain::lease`. The model is the world around it (`world.rs`) and the loop that takes a lease, looks,
//! plans, calls and writes down (`broker.rs`), which in the daemon is `broker/journals.rs` and `broker/rotator.rs`.
//!
//! Between any two of a broker's moves every other one can make any number of theirs, and these can happen:
//!
//! - **a crash** with loss of all memory; whoever is started in its place is another broker. Its call is lost, or takes
//!   effect later;
//! - **a late call**: its caller is told that it failed, or is dead, and it takes effect at any later moment;
//! - **a stall**: time goes on although somebody could do something, by a tick, or until the journal is due, its lease lapsed;
//! - **a stale read**: the credential as it was before its last change;
//! - **a refusal**: Cognito does not know the new secret yet.
//!
//! Bounded are: one rotation by a second secret, since plan and record know one at a time; two or three brokers; clocks
//! that differ by nothing or by all that is tolerated, in steps of that; how often each of the events above happens,
//! in each test, since they are what makes the space grow. Otherwise time goes on only when nobody has anything to do: that
//! everything else may be slow is what stalls are for. Within these bounds the whole space is looked at.
//!
//! Not in here: app clients that are replaced and rotations that supersede each other, which the properties of
//! `domain::rotation` have, by chance instead of by exhaustion; tasks other than rotations.

mod broker;
mod world;

use broker::{Broker, Run};
use keyward::domain::id::BrokerId;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::rotation::{Step, plan};
use stateright::{Checker, Model, Property};
use world::{TERMS, Value, World, at, broker_id, value_of, version};

/// Longer than any rotation takes here, in ticks: whoever gets there goes round in circles.
const LATEST: i64 = 60;

/// The rules of the daemon, each of which can be left out to see what it is for.
#[derive(Clone, Debug)]
struct Rules {
    terms: LeaseTerms,
    /// Condemned before removed.
    condemns: bool,
    /// Taking a lease raises its fence.
    raises_fence: bool,
    /// Whoever has lost the lease sees to it that somebody looks after them.
    touches: bool,
}

const RULES: Rules = Rules { terms: TERMS, condemns: true, raises_fence: true, touches: true };

/// How often each of these may happen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Budget {
    crashes: u8,
    late_calls: u8,
    stalls: u8,
    stale_reads: u8,
    refusals: u8,
}

#[derive(Clone, Debug)]
struct Fleet {
    rules: Rules,
    brokers: usize,
    budget: Budget,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    world: World,
    brokers: Vec<Broker>,
    /// Calls whose callers do not wait for them any more.
    flying: Vec<Step>,
    /// Whether one of these took effect, maybe after the last look.
    came_late: bool,
    left: Budget,
}

/// What happens next, mostly to the broker of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Take(usize),
    Look(usize),
    StaleLook(usize),
    Land(usize),
    Refuse(usize),
    Write(usize),
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
        let State { world, brokers, flying, left, .. } = &mut state;
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
            Event::Crash(number) => {
                left.crashes -= 1;
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
                state.came_late = true;
            }
            Event::Reconcile => {
                let now = at(world.now);
                world.begin_again(now);
                state.came_late = false;
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
        state.world.now <= LATEST
    }
}

const CURRENT_WORKS: &str = "AWSCURRENT authenticates";
const NOTHING_IS_LOST: &str = "what was promoted authenticates until its overlap is over";
const NEVER_CONDEMNED: &str = "what is served was proved and is not condemned";
const ONE_ACTS: &str = "two never act at once";
const ONE_FENCE_EACH: &str = "two never hold one fence";
const NOTHING_IS_LEFT: &str = "once the journal is struck out nothing is left, but what comes late";
const ENDS_IN_TIME: &str = "it comes to an end";
const COMES_THROUGH: &str = "the new secret becomes current and the old one goes";

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
            }
        }
        let lease = self.world.journal.as_mut().and_then(|journal| journal.lease.as_mut());
        if let Some(lease) = lease
            && let Some(id) = new_id(&lease.holder)
        {
            lease.holder = id;
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

/// Looks at everything that can happen, and says how much that was.
fn explore(brokers: usize, rules: Rules, budget: Budget) -> impl Checker<Fleet> {
    let start = std::time::Instant::now();
    let checker = Fleet { rules, brokers, budget }.checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!(
        "{brokers} brokers, {budget:?}: {states} states, {} events, {depth} deep, {:?}",
        checker.state_count(),
        start.elapsed()
    );
    for (name, path) in checker.discoveries() {
        println!("{name}: {:?}", path.into_actions());
    }
    checker
}

const NOTHING: Budget = Budget { crashes: 0, late_calls: 0, stalls: 0, stale_reads: 0, refusals: 0 };

#[test]
fn two_brokers() {
    explore(2, RULES, Budget { crashes: 1, late_calls: 1, stalls: 1, stale_reads: 1, refusals: 1 }).assert_properties();
}

#[test]
fn three_brokers() {
    explore(3, RULES, Budget { crashes: 1, late_calls: 1, stalls: 1, ..NOTHING }).assert_properties();
}

#[test]
fn condemning_matters() {
    let rules = Rules { condemns: false, ..RULES };
    let checker = explore(2, rules, Budget { late_calls: 1, stalls: 1, ..NOTHING });
    checker.assert_any_discovery(CURRENT_WORKS);
}

#[test]
fn the_fence_matters() {
    let checker = explore(2, Rules { raises_fence: false, ..RULES }, Budget { stalls: 1, ..NOTHING });
    checker.assert_any_discovery(ONE_FENCE_EACH);
}

#[test]
fn the_clocks_matter() {
    let terms = LeaseTerms { clock_difference: std::time::Duration::ZERO, ..TERMS };
    let checker = explore(2, Rules { terms, ..RULES }, Budget { stalls: 3, ..NOTHING });
    checker.assert_any_discovery(ONE_ACTS);
}

#[test]
fn touching_matters() {
    let checker = explore(2, Rules { touches: false, ..RULES }, Budget { stalls: 2, ..NOTHING });
    checker.assert_any_discovery(NOTHING_IS_LEFT);
}

#[test]
fn measure() {
    for line in std::env::var("MEASURE").unwrap_or_default().split_whitespace() {
        let n: Vec<u8> = line.split(',').map(|n| n.parse().expect("n")).collect();
        let budget = Budget { crashes: n[1], late_calls: n[2], stalls: n[3], stale_reads: n[4], refusals: n[5] };
        let checker = explore(n[0].into(), RULES, budget);
        drop(checker);
    }
}
