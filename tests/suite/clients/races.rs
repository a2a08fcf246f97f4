//! What one broker does about a client while another one is in the middle of something for it.

use keyward::broker::api::{ClientPatch, NewResourceServer, RotationRequest, WantedScopes};
use keyward::broker::ports::Shelf;
use keyward::domain::error::Reason;
use keyward::domain::scope::{Identifier, ResourceServer, ScopeDefinition, ScopeSet};
use keyward::domain::tenant::Isolation;
use tokio::sync::Notify;

use crate::harness::SCOPES;
use crate::harness::brokers::{Working, call, client_name, tenant_id};
use crate::harness::stops::{At, Pair};

const CLIENT: &str = "tenants/acme/clients/checkout";

async fn with_tenant() -> Pair {
    let pair = Pair::set().await;
    pair.other.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    pair
}

/// The API with one of its two scopes.
fn narrowed() -> NewResourceServer {
    let scopes = vec![ScopeDefinition { scope_name: "read".to_owned(), description: "read".to_owned() }];
    NewResourceServer { identifier: orders(), display_name: "Orders".to_owned(), scopes }
}

fn orders() -> Identifier {
    Identifier::parse("identifier", "orders").expect("an identifier")
}

#[tokio::test]
async fn a_scope_that_goes_while_a_client_is_created_with_it_is_unknown() {
    for is_deleted in [false, true] {
        let pair = with_tenant().await;
        let creating = pair.one.create_client(CLIENT);
        let taking_away = async {
            match is_deleted {
                true => pair.other.catalog.delete(&call(), &orders(), None).await.expect("deleted"),
                false => drop(pair.other.catalog.put(&call(), narrowed(), None, false).await.expect("narrowed")),
            }
        };
        let created = Box::pin(pair.stop.during(At::Found("get", Shelf::ResourceServer), creating, taking_away)).await;
        assert_eq!(created.expect_err("it is not there").reason(), Reason::ScopeUnknown);
        pair.settle(&[]).await;
    }
}

#[tokio::test]
async fn a_scope_that_goes_while_it_is_given_to_a_client_is_unknown() {
    let pair = with_tenant().await;
    pair.other.create_client(CLIENT).await.expect("a client");
    let change = async |broker: &Working, scopes: &[&str]| {
        let resource = ScopeSet::parse("scopes", scopes).expect("scopes");
        let scopes = Some(WantedScopes { resource, standard: Default::default() });
        let patch = ClientPatch { scopes, ..Default::default() };
        broker.clients.update(&call(), &client_name(CLIENT), patch, None, false).await.map(drop)
    };
    change(&pair.other, &SCOPES[..1]).await.expect("changed");
    let taking_away = async { drop(pair.other.catalog.put(&call(), narrowed(), None, false).await.expect("narrowed")) };
    let giving = change(&pair.one, &SCOPES);
    let given = Box::pin(pair.stop.during(At::Found("get", Shelf::ResourceServer), giving, taking_away)).await;
    assert_eq!(given.expect_err("it is not there").reason(), Reason::ScopeUnknown);
    pair.settle(&[CLIENT]).await;
}

#[tokio::test]
async fn a_scope_that_a_client_is_given_when_it_was_seen_to_be_nobodys_stays() {
    for is_deleted in [false, true] {
        let pair = with_tenant().await;
        let taking_away = async {
            match is_deleted {
                true => pair.one.catalog.delete(&call(), &orders(), None).await,
                false => pair.one.catalog.put(&call(), narrowed(), None, false).await.map(drop),
            }
        };
        let creating = async { drop(pair.other.create_client(CLIENT).await.expect("a client")) };
        let taken = Box::pin(pair.stop.during(At::Before("commit"), taking_away, creating)).await;
        assert_eq!(taken.expect_err("a client has it").reason(), Reason::ScopeInUse);
        let server: Option<ResourceServer> = pair.bench.backend.record(Shelf::ResourceServer, "orders").await;
        assert_eq!(server.expect("it is back").scopes.len(), SCOPES.len());
        pair.settle(&[CLIENT]).await;
    }
}

#[tokio::test]
async fn an_app_client_that_comes_in_place_of_one_whose_client_is_deleted_meanwhile_goes_too() {
    for is_tenants in [false, true] {
        let pair = with_tenant().await;
        pair.other.create_client(CLIENT).await.expect("a client");
        let replacing = async {
            let request = RotationRequest { immediate: false, replace: true, overlap: None, reason: String::new() };
            // It comes to nothing.
            let _ = pair.one.rotations.rotate(&call(), &client_name(CLIENT), request, false).await;
        };
        let deleting = async {
            match is_tenants {
                true => pair.other.tenants.delete(&call(), &tenant_id("acme"), None, false).await.expect("deleted"),
                false => pair.other.clients.delete(&call(), &client_name(CLIENT), None).await.expect("deleted"),
            }
        };
        Box::pin(pair.stop.during(At::Before("create_app_client"), replacing, deleting)).await;
        pair.settle(&[]).await;
    }
}

#[tokio::test]
async fn an_app_client_that_is_made_when_a_deletion_has_looked_for_it_goes_too() {
    let pair = with_tenant().await;
    pair.stop.at(At::Before("create_app_client"));
    let is_made = Notify::new();
    let making = async {
        let _ = pair.one.create_client(CLIENT).await;
        is_made.notify_one();
    };
    let deleting = async {
        pair.stop.reached().await;
        pair.other.clients.delete(&call(), &client_name(CLIENT), None).await.expect("deleted");
    };
    let meanwhile = async {
        pair.stop.go();
        is_made.notified().await;
    };
    let deleting = pair.other_stop.during(At::After("find_app_client"), deleting, meanwhile);
    let (making, deleting) = (Box::pin(making), Box::pin(deleting));
    tokio::join!(making, deleting);
    pair.settle(&[]).await;
}

#[tokio::test]
async fn a_client_whose_tenant_another_broker_has_suspended_is_not_revealed() {
    let pair = Pair::set_with(|settings| settings.reveal_secrets = true).await;
    pair.other.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    pair.other.create_client(CLIENT).await.expect("a client");
    let reveal = async || pair.one.clients.reveal(&call(), &client_name(CLIENT), "a test").await.map(drop);
    reveal().await.expect("revealed");
    pair.other.tenants.suspend(&call(), &tenant_id("acme"), "late").await.expect("suspended");
    assert_eq!(reveal().await.expect_err("it is suspended").reason(), Reason::TenantSuspended);
    pair.other.tenants.resume(&call(), &tenant_id("acme")).await.expect("resumed");
    pair.settle(&[CLIENT]).await;
}
