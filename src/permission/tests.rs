//! What the built-in policies permit, what other policies can say, and what is refused before it is in force.

use std::path::Path;
use std::sync::Arc;

use super::policies::Document;
use super::*;
use crate::domain::caller::{Ask, Caller, Known, Labelled, Named, Principal, Role, Target};
use crate::domain::error::Reason;
use crate::domain::id::{ClientId, TenantId};
use crate::domain::tenant::Labels;

mod cost;
mod followed;
mod refused;
mod written;

const ORDERS: &str = "tenants/acme/clients/orders";

fn spiffe(name: &str) -> Principal {
    Principal::Spiffe(format!("spiffe://example.org/{name}").into())
}

fn with_role(role: Role) -> Caller {
    Caller { roles: vec![role], ..Caller::of(spiffe(role.as_str())) }
}

/// A tenant's caller; one client of it, if one is given.
fn of_tenant(tenant: &str, client: Option<&str>) -> Caller {
    Caller {
        tenant: Some(TenantId::parse("tenant", tenant).expect("an id")),
        client: client.map(|client| ClientId::parse("client", client).expect("an id")),
        ..Caller::of(spiffe(tenant))
    }
}

fn ask<'a>(caller: &'a Caller, action: &'a str, on: &str) -> Ask<'a> {
    Ask { caller, action, target: Target::of(on), scopes: &[], source: None }
}

/// The vocabulary, and policies beside or in place of the built-in ones.
fn in_force(text: &str, replace_defaults: bool) -> Result<InForce, PolicyError> {
    let mut documents = Origin { path: None, replace_defaults }.read().expect("the built-in policies");
    documents.push(Document { name: "mine.cedar".into(), text: text.to_owned() });
    InForce::new(Arc::new(Vocabulary::new().expect("the schema")), &documents)
}

fn defaults() -> Arc<InForce> {
    Permissions::open(Origin::default()).expect("the built-in policies").in_force()
}

fn permits(in_force: &InForce, caller: &Caller, action: &str, on: &str) -> bool {
    in_force.decide(&ask(caller, action, on), &Known::default()).is_ok()
}

fn all_actions() -> Vec<String> {
    Permissions::open(Origin::default()).expect("the built-in policies").actions().into_keys().collect()
}

#[test]
fn operators_may_do_everything_and_a_caller_without_role_or_tenant_nothing() {
    let in_force = defaults();
    let (operator, stranger) = (with_role(Role::Operator), Caller::of(spiffe("stranger")));
    for action in all_actions() {
        for on in ["", "tenants/acme", ORDERS] {
            assert!(permits(&in_force, &operator, &action, on), "{action} {on}");
            assert!(!permits(&in_force, &stranger, &action, on), "{action} {on}");
        }
    }
}

#[test]
fn verifiers_verify_and_nothing_else() {
    let (in_force, verifier) = (defaults(), with_role(Role::Verifier));
    for action in all_actions() {
        let verifies = ["VerifyToken", "VerifyTokens", "WatchTrust"].contains(&action.as_str());
        for on in ["", "tenants/acme", ORDERS] {
            assert_eq!(permits(&in_force, &verifier, &action, on), verifies, "{action} {on}");
        }
    }
}

#[test]
fn a_tenants_callers_have_their_own_and_nothing_else() {
    let in_force = defaults();
    let (whole, orders) = (of_tenant("acme", None), of_tenant("acme", Some("orders")));
    for action in all_actions() {
        let of_client = ["GetToken", "WatchToken", "GetClient", "GetRotation", "ListRotations"];
        let of_client = of_client.contains(&action.as_str());
        let of_tenant = ["GetTenant", "ListClients"].contains(&action.as_str());
        let rotation = format!("{ORDERS}/rotations/r20260101");
        for (on, whole_may, orders_may) in [
            (ORDERS, of_client, of_client),
            (rotation.as_str(), of_client, of_client),
            ("tenants/acme/clients/billing", of_client, false),
            ("tenants/acme", of_tenant, false),
            ("tenants/acme/clients/-", false, false),
            ("tenants/-", false, false),
            ("tenants/acm", false, false),
            ("tenants/globex", false, false),
            ("tenants/globex/clients/orders", false, false),
            ("", false, false),
        ] {
            assert_eq!(permits(&in_force, &whole, &action, on), whole_may, "{action} {on}");
            assert_eq!(permits(&in_force, &orders, &action, on), orders_may, "{action} {on}, as one client");
        }
    }
}

#[test]
fn a_denial_says_nothing_of_what_it_is_about() {
    let (in_force, caller) = (defaults(), of_tenant("acme", None));
    let denial = |on: &str| in_force.decide(&ask(&caller, "GetTenant", on), &Known::default()).expect_err(on);
    let (one, other) = (denial("tenants/globex"), denial("pools/p"));
    assert_eq!(one.reason(), Reason::PermissionDenied);
    assert_eq!((one.message(), one.metadata(), one.fields()), (other.message(), other.metadata(), other.fields()));
    assert!(one.metadata().is_empty() && !one.message().contains("globex"), "{one:?}");
}

#[test]
fn what_decided_is_told_by_place_and_annotations() {
    let (in_force, operator) = (defaults(), with_role(Role::Operator));
    let explained = in_force.explain(&ask(&operator, "GetTenant", "tenants/acme"), &Known::default());
    assert!(explained.permitted && explained.errors.is_empty());
    let [policy] = explained.policies.as_slice() else { panic!("{explained:?}") };
    let line = include_str!("default.cedar").lines().position(|line| line == "@id(\"operators\")").expect("there") + 1;
    assert_eq!(policy.place, format!("built-in:{line}"));
    assert_eq!(policy.id.as_deref(), Some("operators"));
    assert_eq!(policy.description.as_deref(), Some("Operators may do everything."));
}

#[test]
fn every_question_is_one_that_the_schema_has() {
    let vocabulary = Vocabulary::new().expect("the schema");
    let labels = Given::labels(&[("env", "prod")]);
    let known = Known {
        of_target: Named { tenant: Some(labels.clone()), client: Some(labels.clone()) },
        of_caller: Named { tenant: Some(labels.clone()), client: Some(labels) },
    };
    let scopes = ["orders/read".to_owned()];
    let callers = [
        with_role(Role::Operator),
        with_role(Role::Verifier),
        of_tenant("acme", None),
        of_tenant("acme", Some("orders")),
        Caller::of(Principal::Anonymous),
        Caller::of(Principal::Subject { issuer: "https://i".into(), subject: "\"quoted\" \\ \n".into() }),
    ];
    for action in all_actions() {
        for caller in &callers {
            for on in ["", "tenants/acme", ORDERS, "tenants/globex/clients/orders"] {
                for source in [None, Some("192.0.2.1".parse().expect("an address")), Some("::1".parse().expect("one"))]
                {
                    let ask = Ask { caller, action: &action, target: Target::of(on), scopes: &scopes, source };
                    vocabulary.check(&ask, &known).unwrap_or_else(|error| panic!("{ask:?}: {error}"));
                }
            }
        }
    }
}

struct Given(Labels);

impl Labelled for Given {
    fn labels(&self) -> &Labels {
        &self.0
    }
}

impl Given {
    fn labels(labels: &[(&str, &str)]) -> Arc<dyn Labelled> {
        Arc::new(Given(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()))
    }
}
