//! Very many callers of one token that nobody has fetched yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use keyward::config::Config;
use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;

use crate::harness::on_aws::AwsStage;
use crate::harness::ports::Fetches;
use crate::harness::{connect, token};

const CONNECTIONS: usize = 10;
const CALLERS_EACH: usize = 1_000;
const CALLERS: usize = CONNECTIONS * CALLERS_EACH;

#[tokio::test]
async fn ten_thousand_callers_who_wait_for_one_cold_token_cost_one_request_at_cognito() {
    let fetches = Arc::new(Fetches::default());
    let roomy = |config: &mut Config| {
        config.limits.max_calls = 8 * CALLERS;
        // For as long as a slow machine needs.
        (config.tokens.fetch_timeout, config.grpc.request_timeout) =
            (Duration::from_secs(120), Duration::from_secs(120));
    };
    let stage = AwsStage::set_through(roomy, |_| {}, |ports| fetches.over(ports)).await;
    stage.daemon.create_tenant("acme").await;
    let client = stage.daemon.create_client("acme", "checkout").await.name;
    stage.fake.forget_calls();
    fetches.forget();

    let gate = fetches.hold_next();
    let address = stage.daemon.address();
    let connections = join_all((0..CONNECTIONS).map(|_| connect(&address))).await;
    let answered = AtomicUsize::new(0);
    let callers = connections.iter().flat_map(|connection| std::iter::repeat_n(connection, CALLERS_EACH));
    let callers = join_all(callers.map(async |connection| {
        let token = token(connection, &client).await.expect("a token");
        answered.fetch_add(1, Ordering::SeqCst);
        token
    }));
    let opener = async {
        fetches.wait_for(1).await;
        // What is asked after them on the same connection is answered after they were begun.
        for connection in &connections {
            let request = proto::GetClientRequest { name: client.clone() };
            ClientServiceClient::new(connection.clone()).get_client(request).await.expect("the client");
        }
        assert_eq!(answered.load(Ordering::SeqCst), 0, "all of them wait");
        gate.open();
    };
    let (tokens, ()) = tokio::join!(callers, opener);

    assert_eq!(tokens.len(), CALLERS);
    assert!(tokens.iter().all(|token| *token == tokens[0]), "callers got different tokens");
    let requests = stage.fake.calls().iter().filter(|call| call.action == "oauth2:Token").count();
    assert_eq!(requests, 1);
    stage.strike().await;
}
