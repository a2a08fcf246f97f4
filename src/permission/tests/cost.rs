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

    let made = each(200, || assert!(black_box(&in_force).explain(black_box(&ask), &known).permitted));
    let found = each(20_000, || assert!(black_box(&in_force).decide(black_box(&ask), &known).is_ok()));
    println!("a decision: made in {made} ns, found in {found} ns");
    assert!(found * 10 < made, "made in {made} ns, found in {found} ns: nothing is remembered");
}

/// Nanoseconds for one of so many: the best of five rounds, since other programs only ever make it slower.
fn each(times: u32, mut work: impl FnMut()) -> u128 {
    let mut rounds = [u128::MAX; 5];
    for round in &mut rounds {
        let start = Instant::now();
        for _ in 0..times {
            work();
        }
        *round = start.elapsed().as_nanos() / u128::from(times);
    }
    rounds.into_iter().min().unwrap_or_default()
}
