//! What calls set going runs behind them, not on the threads that serve.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keyward::broker::ports::PortResult;
use keyward::runtime::clock::SystemClock;

use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Daemon, rotations};

const CALLS: [&str; 6] = ["add_secret", "commit", "create_app_client", "fetch", "promote", "stage"];

/// Remembers on which threads the world was changed, and asked for tokens.
#[derive(Default)]
struct Threads(Mutex<BTreeSet<(&'static str, String)>>);

#[async_trait]
impl Toll for Threads {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        if CALLS.contains(&call) {
            self.0.lock().expect("kept").insert((call, thread));
        }
        Ok(())
    }

    async fn after(&self, _: &'static str) -> PortResult<()> {
        Ok(())
    }
}

#[tokio::test]
async fn fetches_and_changes_leave_the_threads_that_serve_alone() {
    let threads = Arc::new(Threads::default());
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| tolled(ports, threads.clone())).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await;
    daemon.token(&client.name).await;
    rotations::rotate(&daemon.channel, &client.name).await;
    daemon.stop().await;

    let seen = threads.0.lock().expect("kept");
    let calls: BTreeSet<_> = seen.iter().map(|(call, _)| *call).collect();
    assert_eq!(calls, BTreeSet::from(CALLS));
    let serving: Vec<_> = seen.iter().filter(|(_, thread)| thread.starts_with("core-")).collect();
    assert!(serving.is_empty(), "on threads that serve: {serving:?}");
}
