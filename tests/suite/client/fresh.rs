//! How fast a verifier hears, when it stops to believe what it heard, and how it comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::broker::ports::Clock;
use keyward::client::{CannotTell, Connection, NotVerified, Rule, Verifier, VerifierOptions};
use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;
use keyward::runtime::clock::{ManualClock, SystemClock};
use tonic::transport::{Channel, Endpoint};

use super::{clock, patient_stage, rule, until, verifier, verify};
use crate::harness::forge::decoded;
use crate::harness::{Daemon, folder, start_time, token};

fn is_stale<T>(said: &Result<T, NotVerified>) -> bool {
    matches!(said, Err(NotVerified::CannotTell(CannotTell::Stale { .. })))
}

/// To a daemon that may be there or not.
fn lazily(path: &std::path::Path) -> Channel {
    Endpoint::from_shared(format!("unix://{}", path.display())).expect("an address").connect_lazy()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_of_any_kind_is_felt_at_once_and_not_with_the_next_heartbeat() {
    // A heartbeat comes every fifth of this.
    let staleness = Duration::from_secs(250);
    let edit = |config: &mut keyward::config::Config| config.verification.max_staleness = staleness;
    let daemon = Daemon::start_with(Arc::new(SystemClock), edit).await;
    daemon.put_orders_api().await;
    let now: keyward::client::Now = Arc::new(|| SystemClock.now());
    let verifier = verifier(&daemon.channel, now).await;
    for kind in ["token", "client", "tenant", "suspension"] {
        daemon.create_tenant(kind).await;
        let client = daemon.create_client(kind, "orders").await;
        let token = daemon.token(&client.name).await.access_token;
        until(async || rule(&verifier, &token).await.is_none()).await;
        // A token is issued in a whole second, and revoked is what was issued before.
        until(async || SystemClock.now().as_second() > decoded(&token, 1)["iat"].as_i64().expect("a time")).await;
        let revoke = |target| proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
        let mut clients = daemon.clients();
        let due = match kind {
            "token" => {
                clients.revoke_tokens(revoke(Target::Token(token.clone()))).await.expect("revoked");
                Rule::Revoked
            }
            "client" => {
                clients.revoke_tokens(revoke(Target::Client(client.name.clone()))).await.expect("revoked");
                Rule::Revoked
            }
            "tenant" => {
                clients.revoke_tokens(revoke(Target::Tenant(format!("tenants/{kind}")))).await.expect("revoked");
                Rule::Revoked
            }
            _ => {
                let request = proto::SuspendTenantRequest { name: format!("tenants/{kind}"), ..Default::default() };
                daemon.tenants().suspend_tenant(request).await.expect("suspended");
                Rule::TenantSuspended
            }
        };
        let answered = Instant::now();
        until(async || rule(&verifier, &token).await == Some(due)).await;
        let felt = answered.elapsed();
        assert!(felt < staleness / 25, "a {kind} after {felt:?}");
    }
    drop(verifier);
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_heard_counts_until_the_time_that_the_broker_states_and_no_longer() {
    let stage = patient_stage().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let own = Arc::new(ManualClock::new(start_time()));
    let verifier = verifier(&stage.daemon.channel, clock(&own)).await;
    stage.daemon.stop().await;
    // The token is for an hour and 5 s, as is what was heard for an hour.
    own.set(start_time() + Duration::from_millis(3_599_999));
    assert_eq!(rule(&verifier, &token).await, None);
    own.set(start_time() + Duration::from_secs(3_600));
    assert!(is_stale(&verify(&verifier, &token).await));
    assert!(matches!(verify(&verifier, "abc").await, Err(NotVerified::Rejected(_))), "that it can tell");
    assert!(!verifier.is_ready());
}

#[tokio::test]
async fn a_clock_that_stands_does_not_make_what_was_heard_count_longer() {
    let (daemon, manual) =
        Daemon::start_at_rest_with(|config| config.verification.max_staleness = Duration::from_secs(1)).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&client.name).await.access_token;
    // The daemon's clock stands, so no heartbeat comes; the clock here stands with it.
    let verifier = verifier(&daemon.channel, clock(&manual)).await;
    assert_eq!(rule(&verifier, &token).await, None);
    until(async || is_stale(&verify(&verifier, &token).await)).await;
    drop(verifier);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_while_its_broker_is_started_anew_and_hears_again_from_the_next() {
    let (_folder, path) = folder();
    let socket = path.join("socket");
    let address = format!("unix:{}", socket.display());
    let edit = |config: &mut keyward::config::Config| {
        config.listen = keyward::config::Listen(vec![address.parse().expect("an address")]);
    };
    let daemon = Daemon::start_with(Arc::new(SystemClock), edit).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let before = daemon.token(&client.name).await.access_token;
    let verifier = Verifier::start(Connection::new(lazily(&socket)), VerifierOptions::default());
    until(async || verifier.is_ready()).await;
    assert_eq!(rule(&verifier, &before).await, None);

    let daemon = daemon.restart().await;
    assert_eq!(rule(&verifier, &before).await, None, "what was heard is fresh yet");
    let id = decoded(&before, 1)["jti"].as_str().expect("an id").to_owned();
    let request = proto::RevokeTokensRequest { target: Some(Target::TokenId(id)), ..Default::default() };
    daemon.clients().revoke_tokens(request).await.expect("revoked");
    until(async || matches!(verify(&verifier, &before).await, Err(NotVerified::Rejected(_)))).await;
    assert_eq!(rule(&verifier, &before).await, Some(Rule::Revoked));
    let after = token(&daemon.channel, &client.name).await.expect("a token").access_token;
    until(async || rule(&verifier, &after).await.is_none()).await;
    drop(verifier);
    daemon.stop().await;
}

#[tokio::test]
async fn a_verifier_that_has_heard_nothing_calls_no_token_good_or_bad() {
    let (_folder, path) = folder();
    let verifier = Verifier::start(Connection::new(lazily(&path.join("nobody"))), VerifierOptions::default());
    let stage = patient_stage().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    assert!(is_stale(&verify(&verifier, &token).await));
    assert!(!verifier.is_ready());
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_platform_that_is_too_large_for_a_verifier_is_one_of_which_it_cannot_tell() {
    let stage = patient_stage().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    // An issuer, a tenant, a client and an app client.
    for (max_entries, fits) in [(3, false), (4, true)] {
        let options = VerifierOptions { max_entries, now: clock(&stage.clock), ..Default::default() };
        let verifier = Verifier::start(Connection::new(stage.daemon.channel.clone()), options);
        if fits {
            until(async || verifier.is_ready()).await;
            assert_eq!(rule(&verifier, &token).await, None);
            // Of what does not fit any more it may not hear that it was revoked: nothing counts from then on.
            stage.daemon.create_client("acme", "more").await;
            until(async || is_stale(&verify(&verifier, &token).await)).await;
            continue;
        }
        let why = async || match verify(&verifier, &token).await {
            Err(NotVerified::CannotTell(CannotTell::Stale { why })) => why,
            other => panic!("{other:?}"),
        };
        until(async || why().await.contains("more than this verifier may hold")).await;
    }
    stage.daemon.stop().await;
}
