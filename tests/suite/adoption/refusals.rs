//! What cannot be imported, and that nothing comes of the attempt.

use std::time::Duration;

use keyward::broker::ports::{AppClientSpec, Shelf};
use keyward::domain::id::{AppClientId, SecretName};
use keyward::domain::scope::{Identifier, ResourceServer, ScopeSet};
use keyward::proto::{self, Isolation, import_client_request::SecretSource};
use tonic::Code;

use super::{Legacy, NAME};
use crate::harness::outside::{import, secret};
use crate::harness::{create_tenant, details};

/// Sends it, for real and as a dry run, and fails the test unless both are refused alike and nothing is left of it.
async fn refused(legacy: &Legacy, request: proto::ImportClientRequest) -> (Code, String, Vec<String>) {
    let before = state(legacy).await;
    let dry = proto::ImportClientRequest { validate_only: true, ..request.clone() };
    let dry = details(&legacy.import(dry).await.expect_err("refused"));
    let real = details(&legacy.import(request).await.expect_err("refused"));
    assert_eq!((&real.code, &real.reason, &real.fields), (&dry.code, &dry.reason, &dry.fields));
    assert_eq!(state(legacy).await, before, "something is left of a refused import");
    (real.code, real.reason, real.fields)
}

async fn state(legacy: &Legacy) -> (Vec<String>, Vec<SecretName>) {
    let mut keys = Vec::new();
    for shelf in [Shelf::Client, Shelf::Owner, Shelf::Journal, Shelf::Use, Shelf::Credential] {
        let stored = legacy.backend.0.registry.scan(shelf, "", None, 1_000).await.expect("the registry reads");
        keys.extend(stored.into_iter().map(|record| record.key));
    }
    (keys, legacy.backend.secrets("keyward/").await)
}

fn expected(code: Code, reason: &str, fields: &[&str]) -> (Code, String, Vec<String>) {
    (code, reason.to_owned(), fields.iter().map(|field| (*field).to_owned()).collect())
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let legacy = Legacy::start().await;
    let good = legacy.request();
    let cases = [
        (proto::ImportClientRequest { parent: "acme".to_owned(), ..good.clone() }, "parent"),
        (proto::ImportClientRequest { client_id: "No".to_owned(), ..good.clone() }, "client_id"),
        (proto::ImportClientRequest { pool: "shared-1".to_owned(), ..good.clone() }, "pool"),
        (proto::ImportClientRequest { app_client_id: "a b".to_owned(), ..good.clone() }, "app_client_id"),
        (proto::ImportClientRequest { secret_source: None, ..good.clone() }, "secret_source"),
        (
            proto::ImportClientRequest {
                secret_source: Some(SecretSource::ClientSecret("a b".to_owned())),
                ..good.clone()
            },
            "client_secret",
        ),
        (
            proto::ImportClientRequest { secret_source: Some(SecretSource::SecretName(String::new())), ..good.clone() },
            "secret_name",
        ),
    ];
    for (request, field) in cases {
        assert_eq!(refused(&legacy, request).await, expected(Code::InvalidArgument, "FIELD_INVALID", &[field]));
    }
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let legacy = Legacy::start_with(&[("no-json", "{".to_owned())]).await;
    let not_found = expected(Code::NotFound, "RESOURCE_NOT_FOUND", &[]);
    let good = legacy.request();
    let nobody = proto::ImportClientRequest { parent: "tenants/nobody".to_owned(), ..good.clone() };
    let no_pool = proto::ImportClientRequest { pool: "pools/shared-none".to_owned(), ..good.clone() };
    let no_app_client = proto::ImportClientRequest { app_client_id: "none".to_owned(), ..good.clone() };
    let source = |name: &str| Some(SecretSource::SecretName(name.to_owned()));
    let no_secret = proto::ImportClientRequest { secret_source: source("none"), ..good.clone() };
    for request in [nobody, no_pool, no_app_client, no_secret] {
        assert_eq!(refused(&legacy, request).await, not_found);
    }
    let no_value = proto::ImportClientRequest { secret_source: source("no-json"), ..good };
    assert_eq!(refused(&legacy, no_value).await, expected(Code::InvalidArgument, "FIELD_INVALID", &["secret_name"]));
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn a_pool_of_another_tenants_own_is_not_found_and_a_shared_one_is_not_for_a_tenant_with_its_own() {
    let legacy = Legacy::start().await;
    let own = create_tenant(&legacy.daemon.channel, "bigco", Isolation::UserPool).await.pool;
    let in_own = legacy.backend.app_client(&legacy.backend.made(&own).await, "theirs", &secret(2)).await;

    let foreign = import(NAME, &own, &in_own, secret(2).expose());
    assert_eq!(refused(&legacy, foreign).await, expected(Code::NotFound, "RESOURCE_NOT_FOUND", &[]));
    let shared = import("tenants/bigco/clients/orders", &legacy.pool, &legacy.app_client, secret(1).expose());
    assert_eq!(refused(&legacy, shared).await, expected(Code::InvalidArgument, "FIELD_INVALID", &["pool"]));
    let theirs = import("tenants/bigco/clients/orders", &own, &in_own, secret(2).expose());
    assert_eq!(legacy.import(theirs).await.expect("imported").pool, own);
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_stands_for_one_client_and_a_name_for_one_app_client() {
    let legacy = Legacy::start().await;
    let issued = legacy.daemon.create_client("acme", "issued").await;
    let issued = AppClientId::parse("id", &issued.app_client_id).expect("an id");
    legacy.import(legacy.request()).await.expect("imported");

    let taken = expected(Code::AlreadyExists, "APP_CLIENT_TAKEN", &[]);
    for app_client in [&legacy.app_client, &issued] {
        let again = import("tenants/acme/clients/again", &legacy.pool, app_client, secret(1).expose());
        assert_eq!(refused(&legacy, again).await, taken);
    }
    let other = legacy.backend.app_client(&legacy.made, "other", &secret(2)).await;
    let same_name = import(NAME, &legacy.pool, &other, secret(2).expose());
    assert_eq!(refused(&legacy, same_name).await, expected(Code::AlreadyExists, "RESOURCE_EXISTS", &[]));
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_does_not_authenticate_is_rejected_and_one_of_two_is_ambiguous() {
    let legacy = Legacy::start().await;
    let wrong = import(NAME, &legacy.pool, &legacy.app_client, secret(2).expose());
    assert_eq!(refused(&legacy, wrong).await, expected(Code::FailedPrecondition, "SECRET_REJECTED", &[]));

    let pools = &legacy.backend.0.user_pools;
    let second = pools.add_secret(&legacy.made, &legacy.app_client, &secret(2)).await.expect("added");
    let ambiguous = expected(Code::FailedPrecondition, "SECRET_AMBIGUOUS", &[]);
    assert_eq!(refused(&legacy, legacy.request()).await, ambiguous);
    pools.delete_secret(&legacy.made, &legacy.app_client, &second).await.expect("deleted");
    legacy.import(legacy.request()).await.expect("imported");
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn scopes_must_be_in_the_catalogue() {
    let legacy = Legacy::start().await;
    let client =
        proto::Client { scopes: vec!["orders/read".to_owned(), "billing/read".to_owned()], ..Default::default() };
    let given = proto::ImportClientRequest { client: Some(client), ..legacy.request() };
    let unknown = |field: &str| expected(Code::InvalidArgument, "SCOPE_UNKNOWN", &[field]);
    assert_eq!(refused(&legacy, given).await, unknown("client.scopes"));

    // A scope that the pool has and the catalogue has not.
    let mut billing = legacy.backend.records::<ResourceServer>(Shelf::ResourceServer).await.remove(0);
    billing.identifier = Identifier::parse("identifier", "billing").expect("valid");
    let pools = &legacy.backend.0.user_pools;
    pools.put_resource_server(&legacy.made, &billing).await.expect("put");
    let spec = AppClientSpec {
        marker: "legacy-orders".to_owned(),
        scopes: ScopeSet::parse("scopes", &["billing/read", "orders/read"]).expect("valid"),
        access_token_validity: Duration::from_secs(1_800),
    };
    pools.update_app_client(&legacy.made, &legacy.app_client, &spec).await.expect("updated");
    assert_eq!(refused(&legacy, legacy.request()).await, unknown("client.scopes"));
    let client = proto::Client { scopes: vec!["orders/read".to_owned()], ..Default::default() };
    let given = proto::ImportClientRequest { client: Some(client), ..legacy.request() };
    assert_eq!(legacy.import(given).await.expect("imported").scopes, ["orders/read"]);
    legacy.daemon.stop().await;
}

#[tokio::test]
async fn a_suspended_tenant_takes_nothing_over() {
    let legacy = Legacy::start().await;
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    legacy.daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let suspended = expected(Code::FailedPrecondition, "TENANT_SUSPENDED", &[]);
    assert_eq!(refused(&legacy, legacy.request()).await, suspended);
    legacy.daemon.stop().await;
}
