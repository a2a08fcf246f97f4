//! Secrets: those that Keyward did not add, those that get no token, those that are not where they should be.

use std::time::Duration;

use keyward::broker::ports::{SecretDocument, Wanted};
use keyward::domain::id::VersionId;
use keyward::proto::{self, AuditOutcome, DriftKind};

use super::{NAME, Platform, told};
use crate::harness::Daemon;
use crate::harness::backend::Seen;
use crate::harness::outside::secret;
use crate::harness::rotations::rotate;

const ACME: &str = "tenants/acme";

/// How often an alarm is on record for the client.
async fn alarms(daemon: &Daemon) -> usize {
    let filter = proto::AuditEventFilter {
        resource_prefix: NAME.to_owned(),
        outcome: AuditOutcome::Failed.into(),
        ..Default::default()
    };
    let request = proto::ListAuditEventsRequest { filter: Some(filter), ..Default::default() };
    let events = daemon.audit().list_audit_events(request).await.expect("a page").into_inner().audit_events;
    assert!(events.iter().all(|event| event.reason == "FOREIGN_SECRET"), "{events:?}");
    events.len()
}

async fn document(platform: &Platform, seen: &Seen) -> SecretDocument {
    let read = platform.backend.0.vault.read(&seen.client.secret_name, Wanted::Current).await;
    read.expect("the vault reads").expect("there")
}

fn version(letter: &str) -> VersionId {
    VersionId::parse("version", &letter.repeat(32)).expect("a version")
}

#[tokio::test]
async fn a_secret_that_keyward_did_not_add_is_an_alarm_and_goes() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let before = backend.must_see(NAME).await;
    let app_client = before.client.app_client.clone().expect("made");
    let foreign = backend.0.user_pools.add_secret(&before.pool, &app_client, &secret(1)).await.expect("added");
    assert_eq!(platform.reconcile("tenants/bigco", true).await, []);
    assert_eq!(alarms(daemon).await, 0);

    let expected = [(DriftKind::ForeignSecret, NAME, foreign.as_str(), "")];
    assert_eq!(told(&platform.mended(ACME).await), expected);
    assert_eq!(alarms(daemon).await, 2, "once reported, once mended");
    let after = backend.must_see(NAME).await;
    assert_eq!(after.secrets, before.secrets);
    assert_eq!(after.credential.current, before.credential.current, "the client's own secret is not touched");
    backend.check_settled(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_took_the_place_of_the_clients_own_goes_by_a_rotation() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let before = backend.must_see(NAME).await;
    let app_client = before.client.app_client.clone().expect("made");
    let pools = &backend.0.user_pools;
    let foreign = pools.add_secret(&before.pool, &app_client, &secret(1)).await.expect("added");
    pools.delete_secret(&before.pool, &app_client, &before.credential.current.secret).await.expect("deleted");

    platform.clock.advance(Duration::from_secs(1));
    let secret_name = before.client.secret_name.as_str();
    let expected =
        [(DriftKind::ForeignSecret, NAME, foreign.as_str(), ""), (DriftKind::DeadSecret, NAME, secret_name, "")];
    assert_eq!(told(&platform.mended(ACME).await), expected);
    let after = backend.must_see(NAME).await;
    assert!(!after.secrets.contains(&foreign) && !backend.takes(&after, &secret(1)).await);
    backend.check_settled(NAME).await;
    daemon.token(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_label_that_was_moved_comes_back() {
    let platform = Platform::start().await;
    let backend = &platform.backend;
    let before = backend.must_see(NAME).await;
    let document = document(&platform, &before).await;
    let vault = &backend.0.vault;
    let (name, current) = (&before.client.secret_name, &before.credential.current.version);
    let by_hand = SecretDocument { client_secret: secret(1), ..document };
    vault.stage(name, &version("b"), &by_hand).await.expect("staged");
    vault.promote(name, current, &version("b")).await.expect("moved");

    let expected = [
        (DriftKind::ChangedSetting, NAME, name.as_str(), "secret_name"),
        (DriftKind::DeadSecret, NAME, name.as_str(), ""),
    ];
    assert_eq!(told(&platform.mended(ACME).await), expected);
    let after = backend.must_see(NAME).await;
    assert_eq!(after.credential.current, before.credential.current, "no rotation was needed");
    backend.check_settled(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_scheduled_for_deletion_comes_back_with_its_value() {
    let platform = Platform::start().await;
    let backend = &platform.backend;
    let before = backend.must_see(NAME).await;
    let value = document(&platform, &before).await.client_secret;
    let (vault, name) = (&backend.0.vault, &before.client.secret_name);
    vault.schedule_deletion(name, Duration::from_secs(7 * 86_400)).await.expect("scheduled");
    assert_eq!(told(&platform.mended(ACME).await), [(DriftKind::Missing, NAME, name.as_str(), "")]);
    let after = backend.must_see(NAME).await;
    assert_eq!(after.credential.current, before.credential.current);
    assert_eq!(document(&platform, &after).await.client_secret, value);
    backend.check_settled(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_is_lost_is_replaced_by_a_rotation() {
    let platform = Platform::start().await;
    let backend = &platform.backend;
    let before = backend.must_see(NAME).await;
    let (vault, name) = (&backend.0.vault, &before.client.secret_name);
    vault.schedule_deletion(name, Duration::ZERO).await.expect("deleted");
    assert_eq!(told(&platform.mended(ACME).await), [(DriftKind::Missing, NAME, name.as_str(), "")]);
    let after = backend.must_see(NAME).await;
    assert_ne!(after.credential.current, before.credential.current);
    assert_eq!(after.client.app_client, before.client.app_client);
    backend.check_settled(NAME).await;
    platform.daemon.token(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_foreign_secret_is_found_beside_a_rotation_that_is_in_its_overlap() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    rotate(&daemon.channel, NAME).await;
    let during = backend.must_see(NAME).await;
    let previous = during.credential.previous.clone().expect("in its overlap").held;
    let app_client = during.client.app_client.clone().expect("made");
    let pools = &backend.0.user_pools;
    pools.delete_secret(&during.pool, &app_client, &previous.secret).await.expect("deleted");
    let foreign = pools.add_secret(&during.pool, &app_client, &secret(1)).await.expect("added");
    assert_eq!(told(&platform.mended(ACME).await), [(DriftKind::ForeignSecret, NAME, foreign.as_str(), "")]);
    backend.check_current_works(NAME).await;
    platform.daemon.stop().await;
}
