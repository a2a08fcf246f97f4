//! A caller that is denied in a loop: what is on record of it, and how often.

use std::sync::Arc;
use std::time::Duration;

use keyward::config::Config;
use keyward::proto::{self, AuditEvent, AuditOutcome};
use keyward::runtime::clock::ManualClock;

use crate::harness::backend::Backend;
use crate::harness::{Daemon, events, refusal, start_time};

const LIMIT: u32 = 5;
const ORDERS: &str = "tenants/acme/clients/orders";

async fn denials(daemon: &Daemon) -> Vec<AuditEvent> {
    events(&daemon.channel).await.into_iter().filter(|event| event.outcome() == AuditOutcome::Denied).collect()
}

/// A daemon with a tenant that is suspended.
async fn suspended() -> (Daemon, Arc<ManualClock>) {
    let (daemon, clock) = Daemon::start_at_rest_with(|config| config.audit.denials_per_minute = LIMIT).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_client("acme", "orders").await;
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    (daemon, clock)
}

async fn ask(daemon: &Daemon, times: u32) {
    for _ in 0..times {
        let request = proto::GetTokenRequest { name: ORDERS.to_owned(), ..Default::default() };
        assert_eq!(refusal(daemon.tokens().get_token(request).await).1, "TENANT_SUSPENDED");
    }
}

async fn reveal(daemon: &Daemon) {
    let request = proto::RevealClientSecretRequest { name: ORDERS.to_owned(), reason: "x".to_owned() };
    assert_eq!(refusal(daemon.clients().reveal_client_secret(request).await).1, "REVEAL_DISABLED");
}

#[tokio::test]
async fn what_is_denied_in_a_loop_is_counted_and_each_count_is_an_event_a_minute_later() {
    let (daemon, clock) = suspended().await;
    let request = proto::TailAuditEventsRequest::default();
    let mut tail = daemon.audit().tail_audit_events(request).await.expect("open").into_inner();
    ask(&daemon, LIMIT + 40).await;
    reveal(&daemon).await;
    let each = denials(&daemon).await;
    assert_eq!(each.len(), LIMIT as usize);
    assert!(each.iter().all(|event| event.reason == "TENANT_SUSPENDED" && event.resource == ORDERS), "{each:?}");

    let counted = async {
        let mut counted = Vec::new();
        while counted.len() < 2 {
            let event = tail.message().await.expect("goes on").expect("an event");
            if event.detail.contains("more calls") {
                counted.push(event);
            }
        }
        counted
    };
    clock.advance(Duration::from_secs(60));
    let counted = tokio::time::timeout(Duration::from_secs(60), counted).await.expect("they come");
    let told = counted.iter().map(|event| {
        let count: u32 = event.detail.split(' ').next().expect("a word").parse().expect("a number");
        (event.method.rsplit('/').next().expect("a method"), event.reason.as_str(), event.resource.as_str(), count)
    });
    let mut told: Vec<_> = told.collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [("GetToken", "TENANT_SUSPENDED", ORDERS, 40), ("RevealClientSecret", "REVEAL_DISABLED", ORDERS, 1)]
    );
    assert!(counted.iter().all(|event| event.principal == "operator:dev" && event.outcome() == AuditOutcome::Denied));

    // Another minute, in which each is an event again.
    ask(&daemon, 2).await;
    assert_eq!(denials(&daemon).await.len(), LIMIT as usize + 4);
    daemon.stop().await;
}

#[tokio::test]
async fn a_broker_that_stops_leaves_no_count_behind() {
    let (daemon, _clock) = suspended().await;
    ask(&daemon, LIMIT + 7).await;
    let daemon = daemon.restart().await;
    let all = denials(&daemon).await;
    assert_eq!(all.len(), LIMIT as usize + 1);
    assert!(all[LIMIT as usize].detail.starts_with("7 more calls were denied since "), "{all:?}");
    daemon.stop().await;
}

/// What a caller says who has proven nothing is in the log where it may be a name, and only there.
#[tokio::test]
async fn a_stranger_does_not_choose_what_is_on_record() {
    let clock = Arc::new(ManualClock::new(start_time()));
    let edit = |config: &mut Config| config.callers.trust_loopback = false;
    let (daemon, backend) = Backend::behind(clock, edit, |ports| ports).await;
    let long = format!("tenants/{}", "a".repeat(200_000));
    let token = format!("eyJ{}.eyJ{}.{}", "a".repeat(100), "b".repeat(300), "c".repeat(342));
    for name in [ORDERS, &long, &token, "tenants/a\u{1}\u{2}"] {
        let request = proto::GetTokenRequest { name: name.to_owned(), ..Default::default() };
        assert_eq!(refusal(daemon.tokens().get_token(request).await).1, "CREDENTIALS_MISSING");
    }
    let events = backend.0.registry.events(0, 100).await.expect("read");
    let resources: Vec<_> = events.iter().map(|numbered| numbered.event.resource.as_str()).collect();
    assert!(resources == [ORDERS, "", "", ""], "{:?}", resources.iter().map(|text| text.len()).collect::<Vec<_>>());
    daemon.stop().await;
}
