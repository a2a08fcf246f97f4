//! Drift: what was done behind the broker's back is reported, mended when told to, and gone then.

mod leftovers;
mod load;
mod overtaken;
mod races;
mod secrets;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyward::proto::{self, DriftKind, Isolation};
use keyward::runtime::clock::ManualClock;
use tonic::Code;

use crate::harness::backend::Backend;
use crate::harness::outside::{import, secret};
use crate::harness::rotations::rotate;
use crate::harness::{Daemon, create_tenant, details, start_time};

const NAME: &str = "tenants/acme/clients/checkout";
const ALL: &str = "tenants/-";

/// A daemon at rest with the tenants `acme` and `bigco`, a client `checkout` each.
struct Platform {
    daemon: Daemon,
    backend: Backend,
    clock: Arc<ManualClock>,
}

impl Platform {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(start_time()));
        let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| ports).await;
        daemon.put_orders_api().await;
        for tenant in ["acme", "bigco"] {
            daemon.create_tenant(tenant).await;
            daemon.create_client(tenant, "checkout").await;
        }
        // The ids of secrets count seconds.
        clock.advance(Duration::from_secs(10));
        Platform { daemon, backend, clock }
    }

    async fn reconcile(&self, name: &str, mend: bool) -> Vec<proto::Drift> {
        let found = reconcile(&self.daemon, name, mend).await;
        assert!(!found.truncated);
        found.drifts
    }

    /// Reports, mends, and looks again: each difference is told both times, and all are gone in the end.
    async fn mended(&self, name: &str) -> Vec<proto::Drift> {
        let reported = self.reconcile(name, false).await;
        assert!(reported.iter().all(|drift| !drift.mended), "{reported:?}");
        let mended = self.reconcile(name, true).await;
        let as_reported: Vec<_> = mended.iter().map(|drift| proto::Drift { mended: false, ..drift.clone() }).collect();
        assert_eq!(as_reported, reported);
        assert!(mended.iter().all(|drift| drift.mended), "{mended:?}");
        assert_eq!(self.reconcile(name, false).await, [], "it is gone");
        reported
    }
}

async fn reconcile(daemon: &Daemon, name: &str, mend: bool) -> proto::ReconcileTenantResponse {
    let request = proto::ReconcileTenantRequest { name: name.to_owned(), mend, ..Default::default() };
    daemon.tenants().reconcile_tenant(request).await.expect("reconciled").into_inner()
}

/// Kind, resource, what it is called outside, field.
fn told(drifts: &[proto::Drift]) -> Vec<(DriftKind, &str, &str, &str)> {
    assert!(drifts.iter().all(|drift| !drift.detail.is_empty()));
    drifts.iter().map(one).collect()
}

fn one(drift: &proto::Drift) -> (DriftKind, &str, &str, &str) {
    (drift.kind(), &drift.resource, &drift.external_id, &drift.field)
}

#[tokio::test]
async fn a_healthy_platform_has_no_drift_whatever_is_under_way() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    create_tenant(&daemon.channel, "isolated", Isolation::UserPool).await;
    daemon.create_client("isolated", "checkout").await;
    rotate(&daemon.channel, NAME).await;
    let request = proto::SuspendTenantRequest { name: "tenants/bigco".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let pool = daemon.create_tenant("third").await.pool;
    let app_client = backend.app_client(&backend.made(&pool).await, "legacy", &secret(1)).await;
    let request = import("tenants/third/clients/legacy", &pool, &app_client, secret(1).expose());
    daemon.clients().import_client(request).await.expect("imported");
    backend.app_client(&backend.made(&pool).await, "nobody-of-ours", &secret(2)).await;

    for name in [ALL, "tenants/acme", "tenants/bigco", "tenants/isolated", "tenants/third"] {
        for mend in [false, true] {
            assert_eq!(platform.reconcile(name, mend).await, [], "{name}");
        }
    }
    backend.check_current_works(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_must_exist_and_be_named() {
    let Platform { daemon, .. } = Platform::start().await;
    for (name, code, reason) in [
        ("tenants/nobody", Code::NotFound, "RESOURCE_NOT_FOUND"),
        ("acme", Code::InvalidArgument, "FIELD_INVALID"),
        ("", Code::InvalidArgument, "FIELD_INVALID"),
    ] {
        let request = proto::ReconcileTenantRequest { name: name.to_owned(), ..Default::default() };
        let status = daemon.tenants().reconcile_tenant(request).await.expect_err("refused");
        assert_eq!((details(&status).code, details(&status).reason.as_str()), (code, reason), "{name}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_repeated_request_mends_nothing_twice() {
    let Platform { daemon, backend, .. } = Platform::start().await;
    let made = backend.must_see(NAME).await.pool;
    let request = proto::ReconcileTenantRequest { name: ALL.to_owned(), mend: true, request_id: "once".to_owned() };
    let first = daemon.tenants().reconcile_tenant(request.clone()).await.expect("reconciled").into_inner();
    assert_eq!(first.drifts, []);
    let orphan = backend.app_client(&made, "keyward-acme.gone-0123456789abcdef", &secret(1)).await;
    let again = daemon.tenants().reconcile_tenant(request).await.expect("answered").into_inner();
    let [drift] = again.drifts.as_slice() else { panic!("{again:?}") };
    assert_eq!((drift.external_id.as_str(), drift.mended), (orphan.as_str(), false), "as it now is");
    assert!(backend.is_there(&made, &orphan).await);
    daemon.stop().await;
}

#[tokio::test]
async fn more_than_a_call_can_tell_is_cut_and_found_by_the_next() {
    const ORPHANS: usize = 1_100;
    let Platform { daemon, backend, .. } = Platform::start().await;
    let made = backend.must_see(NAME).await.pool;
    for number in 0..ORPHANS {
        backend.app_client(&made, &format!("keyward-acme.gone-{number:016x}"), &secret(number)).await;
    }
    let reported = reconcile(&daemon, ALL, false).await;
    assert_eq!((reported.drifts.len(), reported.truncated), (1_000, true));
    let (mut calls, mut mended) = (0, BTreeSet::new());
    loop {
        let found = reconcile(&daemon, ALL, true).await;
        assert!(found.drifts.len() <= 1_000 && found.drifts.iter().all(|drift| drift.mended));
        mended.extend(found.drifts.into_iter().map(|drift| drift.external_id));
        calls += 1;
        if !found.truncated {
            break;
        }
    }
    assert_eq!(calls, 2);
    let again = reconcile(&daemon, ALL, true).await;
    assert_eq!((again.drifts, again.truncated), (Vec::new(), false));
    daemon.stop().await;
}
