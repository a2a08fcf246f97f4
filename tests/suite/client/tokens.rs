//! A token that is always fresh.

use std::time::Duration;

use keyward::client::{Connection, NoToken, TokenRequest, TokenSource};
use keyward::proto;
use tonic::transport::Endpoint;

use super::{clock, patient_stage, until};
use crate::harness::folder;
use crate::harness::ports::{AT_REST, Stage, in_time};

fn source(stage: &Stage, request: TokenRequest) -> TokenSource {
    TokenSource::start_with(Connection::new(stage.daemon.channel.clone()), request, clock(&stage.clock))
}

#[tokio::test]
async fn it_gives_the_token_of_the_moment_and_the_next_before_that_has_expired() {
    let stage = patient_stage().await;
    let source = source(&stage, TokenRequest::new(&stage.client.name));
    let first = in_time(source.token()).await.expect("a token");
    assert_eq!(first.expose(), stage.daemon.token(&stage.client.name).await.access_token);
    assert_eq!(first.scopes(), ["orders/read", "orders/write"]);
    // The stream, too.
    in_time(stage.clock.wait_for_sleepers(AT_REST + 1)).await;
    stage.at_second(2_700);
    until(async || source.current().is_some_and(|token| token.expose() != first.expose())).await;
    let second = source.token().await.expect("a token");
    assert!(second.expire_time() > first.expire_time());
    let printed = format!("{source:?} {second:?}");
    assert!(!printed.contains("eyJ"), "{printed}");
    drop(source);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_at_once_takes_the_token_away_and_ends_when_its_reason_does() {
    let stage = patient_stage().await;
    let source = source(&stage, TokenRequest::new(&stage.client.name));
    in_time(source.token()).await.expect("a token");
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    until(async || source.current().is_none()).await;
    assert!(matches!(in_time(source.token()).await, Err(NoToken::Refused(_))));
    let resume = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(resume).await.expect("resumed");
    until(async || source.current().is_some()).await;
    drop(source);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_is_held_is_given_while_its_broker_is_away_and_until_it_has_expired() {
    let stage = patient_stage().await;
    let request = TokenRequest { wait: Duration::from_millis(50), ..TokenRequest::new(&stage.client.name) };
    let source = source(&stage, request);
    until(async || source.current().is_some()).await;
    let held = source.token().await.expect("a token");
    let clock = stage.clock.clone();
    stage.daemon.stop().await;
    assert_eq!(source.token().await.expect("held").expose(), held.expose());
    clock.set(held.expire_time());
    assert!(matches!(source.token().await, Err(NoToken::NotNow(_))));
}

#[tokio::test]
async fn without_a_broker_it_waits_for_as_long_as_it_was_told() {
    let (_folder, path) = folder();
    let channel = Endpoint::from_shared(format!("unix://{}", path.join("nobody").display()));
    let connection = Connection::new(channel.expect("an address").connect_lazy());
    let request = TokenRequest { wait: Duration::from_millis(50), ..TokenRequest::new("tenants/acme/clients/orders") };
    let source = TokenSource::start(connection, request);
    assert!(matches!(in_time(source.token()).await, Err(NoToken::NotNow(_))));
}
