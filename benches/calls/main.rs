//! What calls cost the server, beside what the transport costs by itself.
//!
//! `cargo bench --bench calls` starts the daemon and two echo servers, each in a process of its own, asks them in turn from
//! another process, and prints for each kind of call the *server's* time on a processor for one call: median and quartiles
//! of the rounds. Ratios are made within a round, so that what else the machine does weighs on both sides.

#[allow(dead_code, reason = "the other bench program serves the tuned one")]
mod echo;
#[path = "../../tests/suite/harness"]
#[allow(dead_code, reason = "the tests use the rest")]
mod harness {
    mod calls;
    pub mod pki;

    pub use calls::{SCOPES, connect, create_client, create_tenant, put_orders_api};
}
mod load;
mod platform;
mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use load::{Done, Order};
use platform::Platform;
use server::Server;

#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

const ROUNDS: usize = 9;
const CALLS: usize = 40_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("echo-stock") => echo::stock(&echo::Answers::read(Path::new(&arguments[2]))),
        Some("load") => {
            let done = load::run(serde_json::from_str(&arguments[2]).expect("an order"));
            println!("{}", serde_json::to_string(&done).expect("JSON"));
        }
        _ => compare(),
    }
}

/// Has another process make the calls.
fn load(order: &Order) -> Done {
    let order = serde_json::to_string(order).expect("JSON");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let output = command.args(["load", &order]).stderr(Stdio::inherit()).output().expect("it loads");
    let done: Done = serde_json::from_slice(&output.stdout).expect("what became of them");
    assert_eq!(done.failed, 0, "calls failed");
    done
}

/// One kind of call on one server.
struct Row {
    name: String,
    /// Microseconds of the server's for one call, in each round.
    cost: Vec<f64>,
    p99: Vec<f64>,
    rate: Vec<f64>,
}

fn compare() {
    let folder = tempfile::tempdir().expect("a folder");
    let platform = Platform::start(folder.path());
    let stock = Server::start(
        Command::new(std::env::current_exe().expect("this program")).arg("echo-stock").arg(folder.path()),
    );
    let tuned = Server::start(Command::new(tuned_echo()).arg("serve").arg(folder.path()));
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..ROUNDS {
        let mut at = 0;
        let mut measure = |name: String, server: &Server, order: Order| {
            let before = server.cpu();
            let done = load(&order);
            let cost = (server.cpu() - before).as_secs_f64() * 1e6 / order.calls as f64;
            if at == rows.len() {
                rows.push(Row { name, cost: Vec::new(), p99: Vec::new(), rate: Vec::new() });
            }
            rows[at].cost.push(cost);
            rows[at].p99.push(done.p99);
            rows[at].rate.push(order.calls as f64 / done.seconds);
            at += 1;
        };
        for (connections, streams) in [(1, 32), (4, 32), (64, 4)] {
            for (call, messages) in [("GetToken", "one_get"), ("VerifyToken", "one_verify")] {
                for (name, server) in [("stock echo", &stock), ("tuned echo", &tuned), ("keyward", &platform.plaintext)]
                {
                    let order = platform.order(server, call, messages, connections, streams, CALLS);
                    measure(format!("{call:<12} {name:<11} {connections:>2} x {streams:<2}"), server, order);
                }
            }
        }
        let tls = &platform.tls;
        let order = platform.order(tls, "GetToken", "one_get", 4, 32, CALLS);
        measure("GetToken     keyward mTLS 4 x 32".to_owned(), tls, order);
    }
    println!(
        "{:<36} {:>8} {:>8} {:>8}   {:>10} {:>10}",
        "server's µs for one call", "median", "lower q", "upper q", "p99 µs", "calls/s"
    );
    for row in &mut rows {
        println!(
            "{:<36} {:>8.2} {:>8.2} {:>8.2}   {:>10.0} {:>10.0}",
            row.name,
            quantile(&row.cost, 0.5),
            quantile(&row.cost, 0.25),
            quantile(&row.cost, 0.75),
            quantile(&row.p99, 0.5),
            quantile(&row.rate, 0.5),
        );
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// The other bench program: it has another allocator.
fn tuned_echo() -> std::path::PathBuf {
    let here = std::env::current_exe().expect("this program");
    let beside = std::fs::read_dir(here.parent().expect("its folder")).expect("read").flatten();
    let echoes = beside.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("tuned_echo-") && !name.contains('.')
    });
    echoes.max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok()).expect("it was built")
}
