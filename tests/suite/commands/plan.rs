//! `keyward plan`: what a platform costs, and what bounds it.

use super::{configure, run};
use crate::harness::{Binary, folder};

fn plan(arguments: &str) -> super::Ran {
    run(Binary::command().arg("plan").args(arguments.split_whitespace()))
}

/// The values of a row: of shared pools, and of pools of tenants' own.
fn row(text: &str, name: &str) -> (String, String) {
    let lines: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with(name)).collect();
    let [line, ..] = lines.as_slice() else { panic!("no row {name} in\n{text}") };
    let values = line.trim_start().strip_prefix(name).expect("it starts so").trim();
    let (shared, own) = values.split_once("  ").unwrap_or_else(|| panic!("{line:?} has two values"));
    (shared.trim().to_owned(), own.trim().to_owned())
}

fn both(shared: &str, own: &str) -> (String, String) {
    (shared.to_owned(), own.to_owned())
}

#[test]
fn a_thousand_tenants_are_reckoned_up_in_both_models() {
    let ran = plan("--tenants 1000 --tokens-per-hour 60");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let row = |name| row(&ran.out, name);
    assert_eq!(row("tenants are kept apart by"), both("app client", "user pool"));
    assert_eq!(row("issuer and keys of tokens"), both("the pool's, of many tenants", "the tenant's own"));
    assert_eq!(row("user pools"), both("1", "1,000"));
    assert_eq!(row("app clients, and secrets"), both("1,000", "1,000"));
    // An hour's token is fetched anew after three quarters of it: 730 / 0.75 a month, and one for a rotation in 90 days.
    assert_eq!(row("tokens fetched a month"), both("973,671", "973,671"));
    assert_eq!(row("tokens a month without a cache"), both("43,800,000", "43,800,000"));
    assert_eq!(row("USD a month for tokens without a cache"), both("98,550", "98,550"));
    assert_eq!(row("for secrets, and calls for them"), both("405", "405"));
    assert_eq!(row("USD a month"), both("2,596", "2,596"));
    assert_eq!(row("first bound, in one Region"), both("150 tokens a second", "1,000 user pools"));
    assert_eq!(row("reached at"), both("404,859 tenants", "1,000 tenants"));
    // One pool makes 5 app clients a second; a domain and a resource server are two of 15 changes a second.
    assert_eq!(row("onboarding takes"), both("3 min 20 s", "2 min 14 s"));
    assert_eq!(row("bounded by"), both("app client updates of one pool", "resource server updates"));
    for line in ran.out.lines() {
        assert!(line.chars().count() <= 100, "{line:?}");
    }
}

#[test]
fn what_is_asked_for_seldom_is_fetched_as_often_as_without_a_cache() {
    let ran = plan("--tenants 10 --tokens-per-hour 1 --clients-per-tenant 2 --scope-sets 2 --rotation-days 3650");
    // Each of four tokens is asked for every four hours, and lives one.
    assert_eq!(row(&ran.out, "tokens a month without a cache"), both("7,300", "7,300"));
    assert_eq!(row(&ran.out, "tokens fetched a month").0, "7,300");
    let ran = plan("--tenants 10 --tokens-per-hour 1 --token-validity 24h --rotation-days 3650");
    assert_eq!(row(&ran.out, "tokens fetched a month").0, "406");
}

#[test]
fn quotas_and_pools_are_those_of_a_configuration() {
    let (_folder, path) = folder();
    let more = "[pools]\nshared_pools_with_room = 3\n[quotas]\nuser_pools_per_region = 500\n\
                [tokens]\nprice_per_million_usd = 1000\n";
    let config = configure(&path, more);
    let ran = plan(&format!("--tenants 1000 --tokens-per-hour 60 --config {}", config.display()));
    assert_eq!(row(&ran.out, "user pools"), both("3", "1,000"));
    assert_eq!(row(&ran.out, "USD a month for tokens without a cache"), both("43,800", "43,800"));
    assert_eq!(row(&ran.out, "first bound, in one Region").1, "500 user pools");
    assert_eq!(row(&ran.out, "onboarding takes").0, "1 min 7 s");
    assert!(ran.out.contains("USER_POOL does not fit into one Region"), "{}", ran.out);
    let ran = plan("--tenants 1 --tokens-per-hour 1 --config nothing.toml");
    assert_eq!(ran.code, 2, "{}", ran.err);
}

#[test]
fn what_cannot_be_is_refused() {
    for arguments in [
        "--tenants 0 --tokens-per-hour 1",
        "--tenants 1",
        "--tenants 1 --tokens-per-hour 1 --token-validity 1m",
        "--tenants 1 --tokens-per-hour 1 --token-validity soon",
        "--tenants 1 --tokens-per-hour 1 --clients-per-tenant 0",
    ] {
        assert_eq!(plan(arguments).code, 2, "{arguments}");
    }
    let none = plan("--tenants 1 --tokens-per-hour 0 --rotation-days 3650");
    assert_eq!(row(&none.out, "reached at").0, "500,000 tenants");
}
