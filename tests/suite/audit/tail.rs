//! Following the log: none lost and none twice, from wherever one begins.

use std::time::Duration;

use keyward::proto::{self, AuditEvent, Isolation};
use tonic::{Code, Streaming};

use crate::harness::{Daemon, assert_invalid, events, last_event, new_tenant, refusal};

async fn tail(daemon: &Daemon, after: Option<u64>) -> Streaming<AuditEvent> {
    let request = proto::TailAuditEventsRequest { after_sequence: after, filter: None };
    daemon.audit().tail_audit_events(request).await.expect("open").into_inner()
}

/// The sequence numbers of a stream up to `last`.
async fn numbers_to(mut stream: Streaming<AuditEvent>, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last().is_none_or(|number| *number < last) {
        let next = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
        numbers.push(next.expect("in time").expect("no error").expect("an event").sequence);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_mutations_leave_no_gap_and_every_follower_sees_each_once() {
    let daemon = Daemon::start().await;
    for n in 0..8 {
        daemon.create_tenant(&format!("tenant-{n}")).await;
    }
    let start = last_event(&daemon.channel).await;
    let followers = [(Some(0), 1), (Some(start / 2), start / 2 + 1), (Some(start), start + 1), (None, start + 1)];
    let mut streams = Vec::new();
    for (after, first) in followers {
        streams.push((tail(&daemon, after).await, first));
    }
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let (name, mut tenants) = (format!("tenants/tenant-{n}"), daemon.tenants());
            tokio::spawn(async move {
                for turn in 0..25 {
                    let reason = turn.to_string();
                    let request = proto::SuspendTenantRequest { name: name.clone(), reason, ..Default::default() };
                    tenants.suspend_tenant(request).await.expect("suspended");
                }
            })
        })
        .collect();
    let end = start + 200;
    for (stream, first) in streams {
        assert_eq!(numbers_to(stream, end).await, (first..=end).collect::<Vec<_>>());
    }
    for writer in writers {
        writer.await.expect("not lost");
    }
    let numbers: Vec<_> = events(&daemon.channel).await.into_iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=end).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test]
async fn a_follower_from_now_on_sees_nothing_of_before_and_a_filter_holds() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("before").await;
    let filter = proto::AuditEventFilter {
        method: "keyward.v1.TenantService/CreateTenant".to_owned(),
        resource_prefix: "tenants/wanted".to_owned(),
        ..Default::default()
    };
    let request = proto::TailAuditEventsRequest { after_sequence: None, filter: Some(filter) };
    let mut stream = daemon.audit().tail_audit_events(request).await.expect("open").into_inner();
    for id in ["other", "wanted-2", "wanted"] {
        daemon.create_tenant(id).await;
    }
    let event = stream.message().await.expect("no error").expect("an event");
    assert_eq!(event.resource, "tenants/wanted");
    let stored = events(&daemon.channel).await;
    assert!(stored.contains(&event));
    daemon.stop().await;
}

#[tokio::test]
async fn a_follower_goes_on_after_a_restart_where_it_was() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    let seen = last_event(&daemon.channel).await;
    let daemon = daemon.restart().await;
    let stream = tail(&daemon, Some(seen)).await;
    daemon.create_tenant("globex").await;
    let end = last_event(&daemon.channel).await;
    assert_eq!(numbers_to(stream, end).await, (seen + 1..=end).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test]
async fn what_lies_ahead_of_the_log_is_unknown() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    let last = last_event(&daemon.channel).await;
    for after in [last + 1, last + 1_000, u64::MAX] {
        let mut stream = tail(&daemon, Some(after)).await;
        let ended = stream.message().await;
        assert_eq!(refusal(ended), (Code::OutOfRange, "SEQUENCE_UNKNOWN".into()), "{after}");
    }
    let filter = proto::AuditEventFilter { end_time: Some(Default::default()), ..Default::default() };
    let request = proto::TailAuditEventsRequest { after_sequence: None, filter: Some(filter) };
    assert_invalid(daemon.audit().tail_audit_events(request).await, "FIELD_INVALID", "filter.end_time");
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_pruned_is_unknown_and_zero_begins_with_the_first_there_is() {
    let (daemon, clock) =
        Daemon::start_at_rest_with(|config| config.audit.retention = Duration::from_secs(86_400)).await;
    daemon.create_tenant("acme").await;
    let old = last_event(&daemon.channel).await;
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_secs(2 * 86_400));
    daemon.tenants().create_tenant(new_tenant("globex", Isolation::AppClient)).await.expect("created");
    let pruning = async {
        while events(&daemon.channel).await[0].sequence <= old {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), pruning).await.expect("pruned");
    let mut stream = tail(&daemon, Some(1)).await;
    assert_eq!(refusal(stream.message().await), (Code::OutOfRange, "SEQUENCE_UNKNOWN".into()));
    let last = last_event(&daemon.channel).await;
    assert_eq!(numbers_to(tail(&daemon, Some(0)).await, last).await, (old + 1..=last).collect::<Vec<_>>());
    // The first that is missing is the last that was pruned, so nothing was missed.
    assert_eq!(numbers_to(tail(&daemon, Some(old)).await, last).await, (old + 1..=last).collect::<Vec<_>>());
    daemon.stop().await;
}
