//! While clients come, rotate and go, a reconciliation that mends takes nothing away that is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future;
use keyward::broker::ports::PortResult;
use keyward::config::Config;
use keyward::proto::{self, verify_token_response::Verdict};
use keyward::runtime::clock::{ManualClock, SystemClock};

use super::{ALL, reconcile};
use crate::harness::backend::Backend;
use crate::harness::outside::{import, secret};
use crate::harness::rotations::rotate_at_once;
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Daemon, start_time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mending_loop_under_load_removes_nothing_that_is_in_use() {
    const WORKERS: usize = 6;
    const ROUNDS: usize = 6;
    // Time for others between any two calls.
    let far = |config: &mut Config| config.embedded.latency = Duration::from_millis(2);
    let (daemon, backend) = Backend::behind(Arc::new(SystemClock), far, |ports| ports).await;
    daemon.put_orders_api().await;
    let pool = daemon.create_tenant("acme").await.pool;
    let made = backend.made(&pool).await;

    let is_over = AtomicBool::new(false);
    let mending = async {
        let mut passes = 0;
        // At least one pass comes after the last change.
        loop {
            let was_over = is_over.load(Ordering::SeqCst);
            for name in [ALL, "tenants/acme"] {
                let found = reconcile(&daemon, name, true).await;
                assert_eq!(found.drifts, [], "nothing was done behind the broker's back");
            }
            passes += 1;
            if was_over {
                return passes;
            }
        }
    };
    let working = async {
        let workers = (0..WORKERS).map(|worker| {
            let (daemon, backend, pool, made) = (&daemon, &backend, &pool, &made);
            async move {
                for round in 0..ROUNDS {
                    let name = format!("tenants/acme/clients/worker-{worker}");
                    if round % 2 == 0 {
                        daemon.create_client("acme", &format!("worker-{worker}")).await;
                    } else {
                        let number = worker * ROUNDS + round;
                        let app_client = backend.app_client(made, "legacy", &secret(number)).await;
                        let request = import(&name, pool, &app_client, secret(number).expose());
                        daemon.clients().import_client(request).await.expect("imported");
                    }
                    use_it(daemon, &name).await;
                    rotate_at_once(&daemon.channel, &name).await;
                    use_it(daemon, &name).await;
                    backend.check_current_works(&name).await;
                    if round + 1 < ROUNDS {
                        let request = proto::DeleteClientRequest { name, ..Default::default() };
                        daemon.clients().delete_client(request).await.expect("deleted");
                    }
                }
            }
        });
        future::join_all(workers).await;
        is_over.store(true, Ordering::SeqCst);
    };
    let (passes, ()) = tokio::join!(mending, working);
    println!("{passes} passes");
    assert!(passes > 2, "it has to run beside the work");
    for worker in 0..WORKERS {
        backend.check_current_works(&format!("tenants/acme/clients/worker-{worker}")).await;
    }
    daemon.stop().await;
}

async fn use_it(daemon: &Daemon, name: &str) {
    let token = daemon.token(name).await.access_token;
    assert!(matches!(daemon.verify(&token).await, Verdict::Verified(_)), "{name}");
}

/// Every page of app clients takes a minute.
struct SlowPages(Arc<ManualClock>);

#[async_trait]
impl Toll for SlowPages {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if call == "list_app_clients" {
            self.0.advance(Duration::from_secs(60));
        }
        Ok(())
    }

    async fn after(&self, _: &'static str) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up_and_the_next_goes_on_from_there() {
    const ORPHANS: usize = 150;
    let clock = Arc::new(ManualClock::new(start_time()));
    let slow = Arc::new(SlowPages(clock.clone()));
    let (daemon, backend) = Backend::behind(clock, |_| {}, |ports| tolled(ports, slow)).await;
    daemon.put_orders_api().await;
    let made = backend.made(&daemon.create_tenant("acme").await.pool).await;
    for number in 0..ORPHANS {
        backend.app_client(&made, &format!("keyward-acme.gone-{number:016x}"), &secret(number)).await;
    }
    // A page holds 60.
    let mut found = Vec::new();
    for _ in 0..10 {
        let answer = reconcile(&daemon, ALL, false).await;
        found.push((answer.drifts.len(), answer.truncated));
        if !answer.truncated {
            break;
        }
    }
    assert_eq!(found, [(60, true), (60, true), (30, true), (0, false)]);
    daemon.stop().await;
}
