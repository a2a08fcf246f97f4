//! How often: calls of one caller, and failures of one source.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward::broker::background::Background;
use keyward::broker::ports::Clock as _;
use keyward::callers::{Callers, IssuerOptions, JwtOptions, KeysAt, Options, Rates};
use keyward::config;
use keyward::domain::error::Reason;
use keyward::net::{Connection, Source};
use keyward::proto;
use keyward::runtime::clock::ManualClock;
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::issuer::Issuer;
use super::{AUDIENCE, bearer, operator, told, trusted};
use crate::harness::{Daemon, details, start_time};

const ISSUER: &str = "https://issuer.example.org";

#[tokio::test]
async fn each_caller_has_a_rate_and_is_told_when_to_come_again() {
    let issuer = Issuer::new(ISSUER);
    let (daemon, clock) = Daemon::start_at_rest_with(|config| {
        config.callers = config::Callers {
            issuer: vec![trusted(&issuer)],
            grant: vec![operator(&format!("token:{ISSUER}#*"))],
            ..Default::default()
        };
        config.limits.calls_per_second = 5;
        config.limits.calls_burst = 10;
    })
    .await;
    let (eve, bob) = (issuer.token("eve", start_time()), issuer.token("bob", start_time()));
    for _ in 0..10 {
        bearer(&daemon.channel, &eve).await.expect("within the burst");
    }
    let status = bearer(&daemon.channel, &eve).await.expect_err("too often");
    let told = details(&status);
    assert_eq!((told.code, told.reason.as_str(), told.retry), (Code::ResourceExhausted, "RATE_LIMITED", true));
    bearer(&daemon.channel, &bob).await.expect("nobody else minds");
    clock.advance(Duration::from_millis(200));
    bearer(&daemon.channel, &eve).await.expect("again");
    daemon.stop().await;
}

#[tokio::test]
async fn who_fails_too_often_writes_no_more_events() {
    let issuer = Issuer::new(ISSUER);
    let (daemon, clock) = Daemon::start_at_rest_with(|config| {
        config.callers = config::Callers {
            issuer: vec![trusted(&issuer)],
            grant: vec![operator(&format!("token:{ISSUER}#*"))],
            ..Default::default()
        };
        config.limits.failures_per_second = 1;
    })
    .await;
    let good = issuer.token("eve", start_time());
    bearer(&daemon.channel, &good).await.expect("remembered from now on");
    let mut refused = [0, 0];
    for _ in 0..100 {
        let status = bearer(&daemon.channel, "a.b.c").await.expect_err("no token");
        match details(&status).reason.as_str() {
            "CREDENTIALS_INVALID" => refused[0] += 1,
            "RATE_LIMITED" => refused[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, [10, 90]);
    // Whoever is known already is not shut out by others behind the same address; a new token is.
    bearer(&daemon.channel, &good).await.expect("an operator");
    let unseen = issuer.token("bob", start_time());
    let status = bearer(&daemon.channel, &unseen).await.expect_err("not looked at");
    assert_eq!(details(&status).reason, "RATE_LIMITED");

    let mut request = tonic::Request::new(proto::ListAuditEventsRequest { page_size: 1_000, ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {good}").parse().expect("a header"));
    let events = daemon.audit().list_audit_events(request).await.expect("events").into_inner().audit_events;
    assert_eq!(events.iter().filter(|event| event.principal == "anonymous").count(), 10);
    clock.advance(Duration::from_secs(1));
    bearer(&daemon.channel, &unseen).await.expect("a second later");
    daemon.stop().await;
}

#[tokio::test]
async fn failures_are_counted_for_each_source_address() {
    let issuer = Issuer::new(ISSUER);
    let clock = Arc::new(ManualClock::new(start_time()));
    let jwt = JwtOptions {
        audience: AUDIENCE.to_owned(),
        keys: KeysAt::File(issuer.file.clone()),
        ca_file: None,
        token_file: None,
    };
    let options = Options {
        issuers: vec![IssuerOptions { issuer: ISSUER.to_owned(), jwt }],
        rates: Rates { failures_per_second: 1, ..Rates::default() },
        ..Options::default()
    };
    let callers =
        Callers::by_proof(options, None, clock.clone(), Background::here(TaskTracker::new())).expect("callers");
    let from = |last, port| Connection::new(Source::Tcp(SocketAddr::from(([192, 0, 2, last], port))), Vec::new());
    for port in 0..11 {
        let _ = callers.resolve(Some(&from(1, port)), &[b"Bearer a.b.c"]).await;
    }
    let token = format!("Bearer {}", issuer.token("eve", clock.now()));
    let ask = async |connection: Connection| told(callers.resolve(Some(&connection), &[token.as_bytes()]).await);
    assert_eq!(ask(from(1, 99)).await, Err(Reason::RateLimited), "another port is the same address");
    assert_eq!(ask(from(2, 1)).await.as_deref(), Ok("token:https://issuer.example.org#eve"));
    assert_eq!(told(callers.resolve(Some(&from(1, 1)), &[]).await), Err(Reason::RateLimited));
}
