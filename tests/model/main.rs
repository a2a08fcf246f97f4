//! Every order of events in which brokers that share one registry can carry a rotation through, within bounds.
//!
//! What a broker decides is decided by the daemon's own code: `domain::rotation::plan` and what it calls on a
//! `Credential`, `domain::lease`. The model is the world around it (`world.rs`) and the loop that takes a lease, looks,
//! plans, calls and writes down (`broker.rs`), which in the daemon is `broker/journals.rs` and `broker/rotations/rotator.rs`.
//!
//! Between any two of a broker's moves every other one can make any number of theirs, and these can happen:
//!
//! - **a crash** with loss of all memory; whoever is started in its place is another broker. Its call is lost, or takes
//!   effect later;
//! - **a late call**: its caller is told that it failed, or is dead, and it takes effect at any later moment;
//! - **a stall**: time goes on although somebody could do something, by a tick, or until the journal is due and its lease
//!   has lapsed. Under a step that takes so long its lease is renewed, or is not;
//! - **a stale read**: the credential as it was before its last change. The journal is read as it is: a stale read of it
//!   shows a lease that the clock forbids to act under by then, and every write of it is refused;
//! - **a refusal**: Cognito does not know the new secret yet.
//!
//! Cognito refuses a third secret, and so does `world.rs`: there never are more. What is looked at is that whoever is
//! refused gets on all the same.
//!
//! Bounded are: one rotation by a second secret, since plan and record know one at a time; two or three brokers; clocks
//! that differ by nothing or by all that is tolerated, in steps of that; how often each of the events above happens,
//! in each test, since they are what makes the space grow. Otherwise time goes on only when nobody has anything to do: that
//! everything else may be slow is what stalls are for. Within these bounds the whole space is looked at.
//!
//! Not in here: app clients that are replaced and rotations that supersede each other, which the properties of
//! `domain::rotation` have, by chance instead of by exhaustion; tasks other than rotations; circles in which no time
//! passes; a journal that is written again between a look at it and a write, and by chance has the same version.
//!
//! A call that takes effect when the journal is struck out already, and whose caller died or has given it up, leaves
//! something behind that nobody looks for. That is so in the daemon too: the next rotation finds it, or a reconciliation,
//! which the model has for this.

mod broker;
mod fleet;
mod world;

use std::time::Duration;

use fleet::{
    Budget, CURRENT_WORKS, ENDS_IN_TIME, Fleet, NEVER_CONDEMNED, NOTHING_IS_LEFT, NOTHING_IS_LOST, ONE_ACTS,
    ONE_FENCE_EACH, RULES, Rules,
};
use keyward::domain::lease::LeaseTerms;
use stateright::{Checker, HasDiscoveries, Model as _};
use world::TERMS;

const NOTHING: Budget = Budget { crashes: 0, late_calls: 0, stalls: 0, stale_reads: 0, refusals: 0 };

#[test]
fn two_brokers_of_which_one_dies_is_late_is_held_up_and_reads_what_is_over() {
    explore(2, RULES, Budget { crashes: 1, late_calls: 1, stalls: 1, stale_reads: 1, refusals: 0 }).assert_properties();
}

#[test]
fn two_brokers_that_are_held_up_again_and_again_while_cognito_is_slow_to_know_the_secret() {
    explore(2, RULES, Budget { crashes: 1, stalls: 2, refusals: 1, ..NOTHING }).assert_properties();
}

#[test]
fn three_brokers_of_which_one_dies_is_late_and_is_held_up() {
    explore(3, RULES, Budget { crashes: 1, late_calls: 1, stalls: 1, ..NOTHING }).assert_properties();
}

/// What keeps secrets is the record and its version. The lease keeps brokers from each other's work.
#[test]
fn without_leases_two_act_at_once_and_nothing_is_lost_all_the_same() {
    let checker = explore(2, Rules { leases: false, ..RULES }, Budget { crashes: 1, late_calls: 1, ..NOTHING });
    for kept in [CURRENT_WORKS, NOTHING_IS_LOST, NEVER_CONDEMNED] {
        checker.assert_no_discovery(kept);
    }
    checker.assert_any_discovery(ONE_ACTS);
}

#[test]
fn a_secret_that_is_removed_without_being_condemned_is_found_to_be_the_current_one() {
    let rules = Rules { condemns: false, ..RULES };
    let broken = [CURRENT_WORKS, NOTHING_IS_LOST, NEVER_CONDEMNED];
    find(&broken, 2, rules, Budget { late_calls: 1, stalls: 1, ..NOTHING });
}

#[test]
fn a_lease_that_is_taken_without_raising_its_fence_is_held_twice() {
    find(&[ONE_FENCE_EACH], 2, Rules { raises_fence: false, ..RULES }, Budget { stalls: 1, ..NOTHING });
}

#[test]
fn without_regard_to_clocks_two_act_at_once() {
    let terms = LeaseTerms { clock_difference: Duration::ZERO, ..TERMS };
    find(&[ONE_ACTS], 2, Rules { terms, ..RULES }, Budget { stalls: 2, ..NOTHING });
}

#[test]
fn where_nobody_looks_for_renewals_a_step_that_takes_long_has_two_act_at_once() {
    find(&[ONE_ACTS], 2, Rules { heeds_renewals: false, ..RULES }, Budget { stalls: 3, ..NOTHING });
}

#[test]
fn two_brokers_whose_steps_take_long() {
    explore(2, RULES, Budget { stalls: 3, ..NOTHING }).assert_properties();
}

#[test]
fn whoever_leaves_without_a_touch_leaves_something_behind() {
    find(&[NOTHING_IS_LEFT], 2, Rules { touches: false, ..RULES }, Budget { stalls: 2, ..NOTHING });
}

#[test]
fn a_lease_that_does_not_lapse_stops_everything_when_its_holder_dies() {
    let terms = LeaseTerms { duration: Duration::from_secs(3_600), ..TERMS };
    find(&[ENDS_IN_TIME], 2, Rules { terms, ..RULES }, Budget { crashes: 1, ..NOTHING });
}

/// Looks at everything that can happen.
fn explore(brokers: usize, rules: Rules, budget: Budget) -> impl Checker<Fleet> {
    look(brokers, rules, budget, HasDiscoveries::All)
}

/// Looks until each of these is found not to hold, and fails where one of them always does.
fn find(broken: &[&'static str], brokers: usize, rules: Rules, budget: Budget) {
    let checker = look(brokers, rules, budget, HasDiscoveries::AllOf(broken.iter().copied().collect()));
    for name in broken {
        println!("not so: {name}: {:?}", checker.assert_any_discovery(name).into_actions());
    }
}

/// Says how much there was to look at.
fn look(brokers: usize, rules: Rules, budget: Budget, enough: HasDiscoveries) -> impl Checker<Fleet> {
    let fleet = Fleet { rules, brokers, budget };
    let checker = fleet.checker().finish_when(enough).spawn_bfs().join();
    let (states, events, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{brokers} brokers, {budget:?}: {states} states, {events} events, up to {depth} in a row");
    checker
}
