//! What a decision costs. `cargo test permission::tests::cost -- --nocapture` prints it.

use std::hint::black_box;
use std::time::Instant;

use super::*;

#[test]
fn a_decision_that_was_made_before_costs_little() {
    let in_force = defaults();
    let caller = of_tenant("acme", Some("orders"));
    let ask = ask(&caller, "GetToken", ORDERS);
    let known = Known::default();
    assert!(in_force.decide(&ask, &known).is_ok());

    let made = least(50, 4, || assert!(black_box(&in_force).explain(black_box(&ask), &known).permitted));
    let found = least(1_000, 20, || assert!(black_box(&in_force).decide(black_box(&ask), &known).is_ok()));
    let opened = least(5, 1, || drop(black_box(defaults())));
    println!("policies: read and checked in {opened} ns");
    println!("a decision: made in {made} ns, found in {found} ns");
    assert!(found * 3 < made, "made in {made} ns, found in {found} ns: nothing is remembered");
}

/// Nanoseconds for one, in the best of so many rounds of so many times. Rounds are short, so that some are not interrupted
/// however busy the machine is.
fn least(rounds: u32, times: u32, mut work: impl FnMut()) -> u128 {
    let rounds = (0..rounds).map(|_| {
        let start = Instant::now();
        (0..times).for_each(|_| work());
        start.elapsed().as_nanos() / u128::from(times)
    });
    rounds.min().unwrap_or_default()
}
