//! The chain of digests, computed from what the broker answers and from the contract's description alone.

use aws_lc_rs::digest::{SHA256, digest};
use keyward::proto::{self, AuditEvent};

use crate::harness::{Daemon, events};
use crate::requests::{mutations, world};

/// As `AuditEvent.previous_digest` in the contract describes it.
pub fn digest_of(event: &AuditEvent) -> Vec<u8> {
    let mut form = b"keyward-audit-v1".to_vec();
    form.extend(event.sequence.to_be_bytes());
    let time = event.create_time.expect("a time");
    form.extend(time.seconds.to_be_bytes());
    form.extend(u32::try_from(time.nanos).expect("not negative").to_be_bytes());
    form.push(u8::try_from(event.outcome).expect("a small number"));
    let texts = [
        &event.principal,
        &event.method,
        &event.resource,
        &event.reason,
        &event.detail,
        &event.request_id,
        &event.call_id,
    ];
    for part in texts.map(|text| text.as_bytes()).into_iter().chain([event.previous_digest.as_slice()]) {
        form.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
        form.extend(part);
    }
    digest(&SHA256, &form).as_ref().to_vec()
}

pub fn assert_chained(events: &[AuditEvent]) {
    for pair in events.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert_eq!(pair[1].previous_digest, digest_of(&pair[0]), "after {:?}", pair[0]);
    }
}

#[tokio::test]
async fn every_event_is_chained_to_the_one_before_over_everything_that_changes_and_a_restart() {
    let daemon = Daemon::start().await;
    world(&daemon).await;
    for (i, (mutation, _)) in mutations().into_iter().enumerate() {
        mutation.with_request_id(&format!("id-{i}")).send(&daemon.channel).await.expect("done");
    }
    let request =
        proto::RevealClientSecretRequest { name: "tenants/idle/clients/é".to_owned(), reason: "x".to_owned() };
    daemon.clients().reveal_client_secret(request).await.expect_err("denied");
    let before = events(&daemon.channel).await;
    assert!(before.len() > 20);
    assert_eq!((before[0].sequence, before[0].previous_digest.as_slice()), (1, &[][..]));
    assert_chained(&before);

    let daemon = daemon.restart().await;
    daemon.create_tenant("after").await;
    let after = events(&daemon.channel).await;
    assert!(after.len() > before.len() && after.starts_with(&before));
    assert_chained(&after);
    daemon.stop().await;
}

#[tokio::test]
async fn events_that_are_written_at_once_are_one_chain() {
    let daemon = Daemon::start().await;
    let calls: Vec<_> = (0..20)
        .map(|i| {
            let channel = daemon.channel.clone();
            let id = format!("t-{i}");
            tokio::spawn(async move {
                crate::harness::create_tenant(&channel, &id, proto::Isolation::AppClient).await;
            })
        })
        .collect();
    for call in calls {
        call.await.expect("created");
    }
    let events = events(&daemon.channel).await;
    assert!(events.len() >= 20);
    assert_chained(&events);
    daemon.stop().await;
}
