//! The moments at which something in use looks like a leftover, each held still while a reconciliation passes by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::ports::PortResult;
use keyward::proto;
use keyward::runtime::clock::SystemClock;
use tokio::sync::Notify;

use super::{ALL, reconcile};
use crate::harness::backend::Backend;
use crate::harness::outside::{import, secret};
use crate::harness::ports::in_time;
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Daemon, create_tenant};

/// Stops one call after its effect, when it is told to, and counts all.
#[derive(Default)]
struct Stop {
    next: Mutex<Option<&'static str>>,
    reached: Notify,
    go: Notify,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

impl Stop {
    fn at(&self, call: &'static str) {
        *self.next.lock().expect("no panic under it") = Some(call);
    }

    async fn is_reached(&self) {
        in_time(self.reached.notified()).await;
    }

    fn go(&self) {
        self.go.notify_one();
    }

    fn count(&self, call: &str) -> usize {
        self.calls.lock().expect("no panic under it").get(call).copied().unwrap_or_default()
    }
}

#[async_trait]
impl Toll for Stop {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        *self.calls.lock().expect("no panic under it").entry(call).or_default() += 1;
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        let is_it = self.next.lock().expect("no panic under it").take_if(|next| *next == call).is_some();
        if is_it {
            self.reached.notify_one();
            self.go.notified().await;
        }
        Ok(())
    }
}

async fn start() -> (Daemon, Backend, Arc<Stop>, String) {
    let stop = Arc::new(Stop::default());
    let (daemon, backend) = Backend::behind(Arc::new(SystemClock), |_| {}, |ports| tolled(ports, stop.clone())).await;
    daemon.put_orders_api().await;
    let pool = daemon.create_tenant("acme").await.pool;
    (daemon, backend, stop, pool)
}

#[tokio::test]
async fn an_app_client_that_was_just_made_is_no_orphan() {
    let (daemon, _, stop, _) = start().await;
    stop.at("create_app_client");
    let creating = daemon.create_client("acme", "checkout");
    let passing = async {
        stop.is_reached().await;
        for name in [ALL, "tenants/acme"] {
            assert_eq!(in_time(reconcile(&daemon, name, true)).await.drifts, []);
        }
        stop.go();
    };
    let (client, ()) = tokio::join!(creating, passing);
    daemon.token(&client.name).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_an_import_has_just_stored_is_no_orphan() {
    let (daemon, backend, stop, pool) = start().await;
    let app_client = backend.app_client(&backend.made(&pool).await, "legacy", &secret(1)).await;
    stop.at("put");
    let importing = async {
        let request = import("tenants/acme/clients/orders", &pool, &app_client, secret(1).expose());
        daemon.clients().import_client(request).await.expect("imported").into_inner()
    };
    let reconciling = async {
        stop.is_reached().await;
        reconcile(&daemon, ALL, true).await
    };
    let passing = async {
        // It has seen the secret in the vault, and has all the time to take it for nobody's.
        let mut looks = crate::harness::pauses(Duration::from_millis(5));
        while stop.count("list") == 0 {
            looks.tick().await;
        }
        for _ in 0..20 {
            looks.tick().await;
        }
        assert_eq!(stop.count("schedule_deletion"), 0);
        stop.go();
    };
    let (client, found, ()) = tokio::join!(importing, reconciling, passing);
    assert_eq!(found.drifts, []);
    daemon.token(&client.name).await;
    backend.check_settled(&client.name).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_deleted_while_it_is_looked_at_is_no_drift() {
    for call in ["list_app_clients", "list"] {
        let (daemon, _, stop, _) = start().await;
        let name = daemon.create_client("acme", "checkout").await.name;
        stop.at(call);
        let deleting = async {
            stop.is_reached().await;
            let request = proto::DeleteClientRequest { name, ..Default::default() };
            daemon.clients().delete_client(request).await.expect("deleted");
            stop.go();
        };
        let (found, ()) = tokio::join!(reconcile(&daemon, ALL, true), deleting);
        assert_eq!(found.drifts, [], "{call}");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_pool_that_goes_with_its_tenant_while_it_is_looked_at_is_no_drift() {
    for (call, name) in [("list_pools", ALL), ("pool_settings", "tenants/isolated")] {
        let (daemon, backend, stop, _) = start().await;
        let pool = create_tenant(&daemon.channel, "isolated", proto::Isolation::UserPool).await.pool;
        stop.at(call);
        let deleting = async {
            stop.is_reached().await;
            let request = proto::DeleteTenantRequest { name: "tenants/isolated".to_owned(), ..Default::default() };
            daemon.tenants().delete_tenant(request).await.expect("deleted");
            stop.go();
        };
        let (found, ()) = tokio::join!(reconcile(&daemon, name, true), deleting);
        assert_eq!(found.drifts, [], "{call}");
        let left = backend.0.user_pools.list_pools(None).await.expect("listed").items;
        assert!(left.iter().all(|id| id.name() != pool), "it is not made again");
        daemon.stop().await;
    }
}
