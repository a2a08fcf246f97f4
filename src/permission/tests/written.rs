//! What an operator can write: labels, scopes, addresses, what is forbidden.

use super::*;

fn known(tenant: &[(&str, &str)], client: &[(&str, &str)]) -> Known {
    let of_target = Named { tenant: Some(Given::labels(tenant)), client: Some(Given::labels(client)) };
    Known { of_target, of_caller: Named::default() }
}

#[test]
fn labels_decide_and_are_looked_at_each_time() {
    let text = "permit (principal, action == Keyward::Action::\"GetClient\", resource)\n\
                when { resource.hasTag(\"env\") && resource.getTag(\"env\") == \"test\" };\n\
                permit (principal, action == Keyward::Action::\"GetToken\", resource is Keyward::Client)\n\
                when { resource.tenant.hasTag(\"tier\") && resource.tenant.getTag(\"tier\") == \"gold\" };";
    let in_force = in_force(text, true).expect("valid");
    assert!(in_force.reads_labels());
    let caller = Caller::of(spiffe("any"));
    let may = |action, tenant: &[(&str, &str)], client: &[(&str, &str)]| {
        in_force.decide(&ask(&caller, action, ORDERS), &known(tenant, client)).is_ok()
    };
    assert!(!may("GetClient", &[("env", "test")], &[]));
    // The same question with other labels, there and back: no answer of before is given.
    for _ in 0..2 {
        assert!(may("GetClient", &[], &[("env", "test"), ("a", "b")]));
        assert!(!may("GetClient", &[], &[("env", "prod")]));
        assert!(may("GetToken", &[("tier", "gold")], &[]));
        assert!(!may("GetToken", &[], &[("tier", "gold")]));
    }
    // What does not exist has no labels.
    assert!(in_force.decide(&ask(&caller, "GetClient", ORDERS), &Known::default()).is_err());
    // The platform may be asked for them too, and has none.
    assert!(in_force.decide(&ask(&caller, "GetClient", ""), &Known::default()).is_err());
}

#[test]
fn a_callers_own_labels_count_also_where_it_asks_for_something_else() {
    let text = "forbid (principal, action, resource)\n\
                when { principal has tenant && principal.tenant.hasTag(\"frozen\") };\n\
                permit (principal, action, resource);";
    let in_force = in_force(text, true).expect("valid");
    let caller = of_tenant("acme", Some("orders"));
    let labels = Some(Given::labels(&[("frozen", "yes")]));
    let frozen = Known { of_caller: Named { tenant: labels, client: None }, of_target: Named::default() };
    for on in ["", "tenants/globex"] {
        assert!(in_force.decide(&ask(&caller, "GetTenant", on), &Known::default()).is_ok());
        assert!(in_force.decide(&ask(&caller, "GetTenant", on), &frozen).is_err());
    }
}

#[test]
fn scopes_and_addresses_decide() {
    let text = "permit (principal, action in Keyward::Action::\"tokens\", resource)\n\
                when { [\"orders/read\"].containsAll(context.scopes) && !context.scopes.isEmpty() };\n\
                forbid (principal, action, resource)\n\
                unless { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) };";
    let in_force = in_force(text, true).expect("valid");
    let caller = Caller::of(spiffe("any"));
    let may = |scopes: &[&str], source: Option<&str>| {
        let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let source = source.map(|source| source.parse().expect("an address"));
        let ask = Ask { scopes: &scopes, source, ..ask(&caller, "GetToken", ORDERS) };
        in_force.decide(&ask, &Known::default()).is_ok()
    };
    for _ in 0..2 {
        assert!(may(&["orders/read"], Some("10.1.2.3")));
        assert!(may(&["orders/read"], Some("::ffff:10.1.2.3")), "an IPv4 caller of a listener for both");
        assert!(!may(&["orders/read", "orders/write"], Some("10.1.2.3")));
        assert!(!may(&[], Some("10.1.2.3")));
        assert!(!may(&["orders/read"], Some("192.0.2.1")));
        assert!(!may(&["orders/read"], None));
    }
}

#[test]
fn who_it_is_counts_and_not_until_when() {
    let text = "permit (principal == Keyward::Caller::\"unix:1000\", action, resource);\n\
                permit (principal, action, resource) when { principal.proof == \"aws\" };";
    let in_force = in_force(text, true).expect("valid");
    let may = |principal: &str| {
        let caller = Caller::of(principal.parse().expect("a principal"));
        permits(&in_force, &caller, "ListPools", "")
    };
    for _ in 0..2 {
        assert!(may("unix:1000") && may("aws:arn:aws:iam::123456789012:role/r"));
        assert!(!may("unix:1001") && !may("dns:unix:1000"));
    }
}

#[test]
fn what_one_forbids_no_other_permits() {
    let text = "@id(\"no-deletes\")\nforbid (principal, action == Keyward::Action::\"DeleteTenant\", resource);";
    let in_force = in_force(text, false).expect("valid");
    let operator = with_role(Role::Operator);
    assert!(permits(&in_force, &operator, "GetTenant", "tenants/acme"));
    assert!(!permits(&in_force, &operator, "DeleteTenant", "tenants/acme"));
    let explained = in_force.explain(&ask(&operator, "DeleteTenant", "tenants/acme"), &Known::default());
    let [policy] = explained.policies.as_slice() else { panic!("{explained:?}") };
    assert_eq!((policy.place.as_str(), policy.id.as_deref()), ("mine.cedar:1", Some("no-deletes")));
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies_whatever_others_permit() {
    let text = "permit (principal, action, resource);\n\
                forbid (principal, action, resource)\n\
                when { 9223372036854775807 + (if context.scopes.isEmpty() then 1 else 0) == 0 };";
    let in_force = in_force(text, false).expect("valid");
    let operator = with_role(Role::Operator);
    let scopes = ["orders/read".to_owned()];
    let fine = Ask { scopes: &scopes, ..ask(&operator, "GetToken", ORDERS) };
    assert!(in_force.decide(&fine, &Known::default()).is_ok());
    let broken = ask(&operator, "GetToken", ORDERS);
    assert!(in_force.decide(&broken, &Known::default()).is_err());
    let explained = in_force.explain(&broken, &Known::default());
    assert!(!explained.permitted);
    let [error] = explained.errors.as_slice() else { panic!("{explained:?}") };
    assert!(error.contains("mine.cedar:2"), "{error}");
}

#[test]
fn policies_are_told_apart_wherever_they_begin() {
    let text = "// first\npermit (principal in Keyward::Role::\"verifier\", action, resource); permit (principal in \
                Keyward::Role::\"verifier\", action, resource);\n\n@id(\"x\")\npermit (principal in \
                Keyward::Role::\"verifier\", action, resource);\n";
    let in_force = in_force(text, true).expect("valid");
    let explained = in_force.explain(&ask(&with_role(Role::Verifier), "ListPools", ""), &Known::default());
    let places: Vec<_> = explained.policies.iter().map(|policy| policy.place.as_str()).collect();
    assert_eq!(places, ["mine.cedar:2", "mine.cedar:2:68", "mine.cedar:4"]);
}

#[test]
fn the_policies_that_readme_shows_are_valid() {
    let readme = include_str!("../../../README.md");
    let shown: Vec<_> = readme.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!shown.is_empty());
    for text in shown {
        in_force(text, false).map(drop).unwrap_or_else(|error| panic!("{error}"));
    }
}
