//! What calls cost the server, beside what the transport costs by itself.
//!
//! `cargo bench --bench calls` starts the daemon and two echo servers, each in a process of its own, asks them in turn from
//! another process, and prints for each kind of call the *server's* time on a processor for one call: median and quartiles
//! of the rounds. Ratios are made within a round, so that what else the machine does weighs on both sides; the last table
//! holds them against their limits. `target/bench/latency.png` shows latency against load. It takes some ten minutes; with
//! `-- --short` three, and says less.

#[allow(dead_code, reason = "the other bench program serves the tuned one")]
mod echo;
mod h2load;
#[path = "../../tests/suite/harness"]
#[allow(dead_code, reason = "the tests use the rest")]
mod harness {
    mod calls;
    pub mod pki;

    pub use calls::{SCOPES, connect, create_client, create_tenant, put_api, put_orders_api, verify};
}
mod cases;
mod daemon;
mod keys;
mod limits;
mod load;
mod picture;
mod platform;
mod server;
mod signature;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cases::Servers;
use platform::Platform;
use server::Server;
use table::Table;

#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

/// How often each case is measured, and how many clients and scope sets there are.
const WHOLE: (usize, usize) = (9, 100_000);
/// To see that it works.
const SHORT: (usize, usize) = (2, 10_000);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("echo-stock") => echo::stock(&echo::Answers::read(Path::new(&arguments[2]))),
        Some("load") => {
            let done = load::run(serde_json::from_str(&arguments[2]).expect("an order"));
            println!("{}", serde_json::to_string(&done).expect("JSON"));
        }
        _ => {
            let (rounds, keys) = if arguments.iter().any(|argument| argument == "--short") { SHORT } else { WHOLE };
            compare(rounds, keys);
        }
    }
}

fn compare(rounds: usize, keys: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let platform = Platform::start(folder.path(), rounds, keys);
    let stock = Server::start(
        Command::new(std::env::current_exe().expect("this program")).arg("echo-stock").arg(folder.path()),
    );
    let tuned = Server::start(Command::new(tuned_echo()).arg("serve").arg(folder.path()));
    let servers = Servers { platform: &platform, stock: &stock, tuned: &tuned };
    let signature = signature::Signature::new(platform.signed_bytes);

    let cases = cases::all();
    let mut table = Table::default();
    for round in 0..rounds {
        for case in &cases {
            table.add(case.to_string(), case.measure(&servers, round));
        }
        table.add(signature::NAME.to_owned(), signature.measure());
    }
    table.print();
    limits::print(&table);
    picture::draw(&servers, &target().join("bench/latency.png"));
}

/// The other bench program, which has another allocator. Built here: Cargo builds only those that it was told to run.
fn tuned_echo() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["bench", "--locked", "--no-run", "--bench", "tuned_echo", "--message-format", "json"]);
    let output =
        build.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().expect("Cargo is there");
    assert!(output.status.success(), "tuned_echo was not built");
    let lines = String::from_utf8(output.stdout).expect("JSON");
    let mut programs = lines.lines().filter_map(|line| {
        let said: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = said["target"]["name"] == "tuned_echo";
        said["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    programs.next_back().expect("Cargo says where it is")
}

/// Where Cargo puts what it builds.
fn target() -> PathBuf {
    let here = std::env::current_exe().expect("this program");
    here.ancestors().nth(3).expect("target/release/deps/calls").to_owned()
}
