//! Which scopes a token is asked for with, and which it has.

use keyward::domain::scope::{Identifier, ResourceServer, ScopeDefinition};
use keyward::proto;
use tonic::{Code, Status};

use super::look;
use crate::harness::ports::Stage;
use crate::harness::{SCOPES, details, start_time};

const READ: &str = SCOPES[0];
const WRITE: &str = SCOPES[1];

#[tokio::test]
async fn scopes_in_any_order_and_repeated_are_one_key() {
    let stage = Stage::set().await;
    let first = token_for(&stage, &[WRITE, READ, WRITE]).await.expect("a token");
    assert_eq!(first.scopes, SCOPES);
    assert_eq!(token_for(&stage, &[READ, WRITE]).await.expect("a token"), first);
    assert_eq!(token_for(&stage, &[]).await.expect("a token"), first);
    assert_eq!(stage.fetches.count(), 1);

    let narrow = token_for(&stage, &[READ]).await.expect("a token");
    assert_eq!(narrow.scopes, [READ]);
    assert_eq!(stage.fetches.count(), 2);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_client_uses_a_bounded_number_of_scope_sets_and_expired_ones_make_room() {
    let stage = Stage::set_with(|config| config.tokens.max_scope_sets_per_client = 2).await;
    let read = token_for(&stage, &[READ]).await.expect("a token");
    token_for(&stage, &[WRITE]).await.expect("a token");
    let error = details(&token_for(&stage, &[]).await.expect_err("one too many"));
    assert_eq!((error.code, error.reason.as_str()), (Code::ResourceExhausted, "SCOPE_SETS_EXHAUSTED"));
    assert_eq!(token_for(&stage, &[READ]).await.expect("still served"), read);
    assert_eq!(stage.fetches.count(), 2);

    stage.at_second(3600);
    token_for(&stage, &[]).await.expect("there is room");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_scope_that_the_client_does_not_have_is_not_allowed() {
    let stage = Stage::set().await;
    update_scopes(&stage, &[READ]).await;
    for scopes in [vec![WRITE], vec![READ, WRITE]] {
        let error = details(&token_for(&stage, &scopes).await.expect_err("not its own"));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "SCOPE_NOT_ALLOWED"));
        assert_eq!(error.fields, ["scopes"]);
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_lacks_a_scope_is_never_handed_out() {
    let stage = Stage::set().await;
    let server = ResourceServer {
        identifier: Identifier::parse("identifier", "orders").expect("an identifier"),
        display_name: "Orders".to_owned(),
        scopes: vec![ScopeDefinition { scope_name: "read".to_owned(), description: "read orders".to_owned() }],
        catalog_version: 0,
        create_time: start_time(),
        update_time: start_time(),
    };
    stage.backend.user_pools.put_resource_server(&stage.pool().await, &server).await.expect("the scope is gone");
    for _ in 0..2 {
        let error = details(&token_for(&stage, &[]).await.expect_err("it lacks a scope"));
        assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "SCOPE_NOT_GRANTED"));
    }
    let error = details(&token_for(&stage, &[WRITE]).await.expect_err("it lacks its only scope"));
    assert_eq!((error.code, error.reason.as_str()), (Code::FailedPrecondition, "SCOPE_NOT_GRANTED"));
    assert_eq!(token_for(&stage, &[READ]).await.expect("a token").scopes, [READ]);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_change_of_scopes_drops_the_cached_tokens_of_the_client() {
    let stage = Stage::set().await;
    let both = token_for(&stage, &[]).await.expect("a token");
    let read = token_for(&stage, &[READ]).await.expect("a token");
    update_scopes(&stage, &[READ]).await;
    let error = details(&token_for(&stage, &SCOPES).await.expect_err("a scope is gone"));
    assert_eq!(error.reason, "SCOPE_NOT_ALLOWED");
    let narrowed = token_for(&stage, &[READ]).await.expect("a token");
    assert_ne!(narrowed, read, "the cached one was to be dropped");

    update_scopes(&stage, &SCOPES).await;
    assert_ne!(token_for(&stage, &[]).await.expect("a token"), both, "the cached one was to be dropped");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_change_of_scopes_while_a_caller_waits_is_no_error_of_the_callers() {
    let stage = Stage::set().await;
    let gate = stage.fetches.hold_next();
    let change = async {
        stage.fetches.wait_for(1).await;
        look(&stage).await;
        update_scopes(&stage, &[READ]).await;
        gate.open();
    };
    let (token, ()) = tokio::join!(token_for(&stage, &[]), change);
    assert_eq!(token.expect("a token").scopes, [READ]);
    stage.daemon.stop().await;
}

async fn token_for(stage: &Stage, scopes: &[&str]) -> Result<proto::AccessToken, Status> {
    let request = proto::GetTokenRequest {
        name: stage.client.name.clone(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..Default::default()
    };
    Ok(stage.daemon.tokens().get_token(request).await?.into_inner())
}

async fn update_scopes(stage: &Stage, scopes: &[&str]) {
    let client = proto::Client {
        name: stage.client.name.clone(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..Default::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["scopes".to_owned()] });
    let request = proto::UpdateClientRequest { client: Some(client), update_mask, ..Default::default() };
    stage.daemon.clients().update_client(request).await.expect("updated");
}
