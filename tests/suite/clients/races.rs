//! What one broker does about a client while another one is in the middle of something for it.

use keyward::broker::api::{ClientPatch, NewResourceServer, WantedScopes};
use keyward::broker::ports::Shelf;
use keyward::domain::error::Reason;
use keyward::domain::scope::{Identifier, ScopeDefinition, ScopeSet};
use keyward::domain::tenant::Isolation;

use crate::harness::SCOPES;
use crate::harness::brokers::{Working, call, client_name};
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
