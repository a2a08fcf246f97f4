//! What calls set going runs behind them, not on the threads that serve, and after those where it has to.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keyward::broker::ports::PortResult;
use keyward::proto;
use keyward::runtime::clock::SystemClock;

use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Binary, Daemon, create_client, create_tenant, folder, put_orders_api, rotations};

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

/// Name and nice value of a thread: fields 2 and 19 of `/proc/PID/task/TID/stat` (proc_pid_stat(5)).
fn thread(stat: &str) -> (String, i32) {
    let (start, rest) = stat.rsplit_once(')').expect("a name in brackets");
    let name = start.split_once('(').expect("its beginning").1.to_owned();
    let nice = rest.split_whitespace().nth(16).expect("a nice value").parse().expect("a number");
    (name, nice)
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_threads_that_serve_go_first() {
    let (_folder, path) = folder();
    let binary = Binary::dev(&path);
    // With the threads that sign tokens, which are started when they are needed.
    let channel = binary.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", proto::Isolation::AppClient).await;
    create_client(&channel, "acme", "checkout").await;

    let read = |file: PathBuf| thread(&fs::read_to_string(file).expect("what the kernel tells"));
    let process = PathBuf::from(format!("/proc/{}", binary.id()));
    let (_, usual) = read(process.join("stat"));
    assert!(usual < 10, "the test itself goes last");
    let tasks = fs::read_dir(process.join("task")).expect("its threads").flatten();
    let threads: Vec<_> = tasks.map(|task| read(task.path().join("stat"))).collect();
    // SQLite's have the name of those that they were started from.
    let (behind, others): (Vec<_>, Vec<_>) = threads.into_iter().partition(|(name, _)| name == "behind");
    assert!(behind.len() > 3 && behind.iter().all(|(_, nice)| *nice == 10), "{behind:?}");
    assert!(others.len() > 3 && others.iter().all(|(_, nice)| *nice == usual), "{others:?}");
    binary.kill();
}
