//! How many instructions a hot call takes, held against what was recorded.
//!
//! Time on a processor is never the same twice; the number of instructions nearly is, also on a machine that does other
//! things, so that a regression of a few per cent is seen. `cargo bench --bench instructions` runs the daemon under valgrind's
//! callgrind, asks it from outside over one connection, one call at a time, and fails where a call takes over 5 % more than
//! `recorded.toml` says. With `-- --record` it writes that file: to be done, with a word on why, when a change is worth it. The
//! numbers are of one compiler and one kind of processor; of others they may differ by a few per cent.

#[path = "../../tests/suite/harness"]
#[allow(dead_code, reason = "the tests use the rest")]
mod harness {
    mod calls;

    pub use calls::{connect, create_client, create_tenant, put_orders_api};
}
#[path = "../calls/load.rs"]
#[allow(dead_code, reason = "the other bench programs use the rest")]
mod load;
#[path = "../calls/server.rs"]
#[allow(dead_code, reason = "the other bench programs use the rest")]
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::{GetTokenRequest, Isolation, VerifyTokenRequest};
use prost::Message as _;

use load::{Order, write_messages};
use server::Server;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/recorded.toml");
/// More than this many times what was recorded is a regression.
const TOLERANCE: f64 = 1.05;
/// So many calls make everything that is made once.
const WARM_UP: usize = 300;
const CALLS: usize = 1_000;
const CLIENT: &str = "tenants/acme/clients/orders";

/// Instructions of one call, by what is called.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = start(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(prepare(&daemon.address, folder.path()));
    control(&daemon, "--instr=on");
    let counts: Counts = [
        ("GetToken", count(&daemon, folder.path(), "keyward.v1.TokenService/GetToken", "get")),
        ("VerifyToken", count(&daemon, folder.path(), "keyward.v1.VerificationService/VerifyToken", "verify")),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into();
    if std::env::args().any(|argument| argument == "--record") {
        let text: String = counts.iter().map(|(name, count)| format!("{name} = {count}\n")).collect();
        std::fs::write(RECORDED, format!("# Instructions of one call: see main.rs.\n{text}")).expect("written");
        println!("recorded:\n{text}");
        return ExitCode::SUCCESS;
    }
    compare(&counts)
}

fn compare(counts: &Counts) -> ExitCode {
    let recorded: Counts =
        toml::from_str(&std::fs::read_to_string(RECORDED).expect("a record")).expect("what --record writes");
    let mut code = ExitCode::SUCCESS;
    println!("{:<14} {:>10} {:>10} {:>7}", "instructions", "recorded", "now", "ratio");
    for (name, now) in counts {
        let before = recorded.get(name).unwrap_or_else(|| panic!("{name} is not recorded"));
        let ratio = *now as f64 / *before as f64;
        let word = match ratio {
            _ if ratio > TOLERANCE => "  a regression",
            _ if ratio < 1.0 / TOLERANCE => "  better: record it",
            _ => "",
        };
        if ratio > TOLERANCE {
            code = ExitCode::FAILURE;
        }
        println!("{name:<14} {before:>10} {now:>10} {ratio:>7.3}{word}");
    }
    code
}

/// The daemon under callgrind, which counts nothing yet, so that it starts as fast as it can.
fn start(folder: &Path) -> Server {
    let key = folder.join("master");
    keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{}'\n[callers]\ntrust_loopback = true\n[embedded]\nmaster_key_file = '{}'\n",
        folder.join("data").display(),
        key.display()
    );
    let file = folder.join("keyward.toml");
    std::fs::write(&file, config).expect("written");
    let program = std::env::var_os("KEYWARD_BENCH_DAEMON").unwrap_or_else(|| env!("CARGO_BIN_EXE_keyward").into());
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--instr-atstart=no", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", dump(folder).display()));
    Server::start(command.env_remove("RUST_LOG").arg(program).arg("serve").arg("--config").arg(file))
}

fn dump(folder: &Path) -> PathBuf {
    folder.join("callgrind")
}

async fn prepare(address: &str, folder: &Path) {
    let channel = harness::connect(address).await;
    harness::put_orders_api(&channel).await;
    harness::create_tenant(&channel, "acme", Isolation::AppClient).await;
    harness::create_client(&channel, "acme", "orders").await;
    let get = GetTokenRequest { name: CLIENT.to_owned(), ..Default::default() };
    let token = TokenServiceClient::new(channel).get_token(get.clone()).await.expect("a token").into_inner();
    let verify = VerifyTokenRequest { token: token.access_token, ..Default::default() };
    write_messages(&folder.join("get"), [get.encode_to_vec()]);
    write_messages(&folder.join("verify"), [verify.encode_to_vec()]);
}

/// Instructions of the daemon for one call.
fn count(daemon: &Server, folder: &Path, method: &str, messages: &str) -> u64 {
    let order = |calls| Order {
        address: daemon.address.clone(),
        tls: None,
        method: method.to_owned(),
        messages: folder.join(messages),
        rare: None,
        first: 0,
        calls,
        connections: 1,
        streams: 1,
        rate: None,
    };
    let ask = |calls| assert_eq!(load::run(order(calls)).failed, 0, "calls failed");
    ask(WARM_UP);
    control(daemon, "--zero");
    ask(CALLS);
    control(daemon, "--dump");
    total(folder) / CALLS as u64
}

/// Tells callgrind, which is there when this returns.
fn control(daemon: &Server, what: &str) {
    let output = Command::new("callgrind_control").arg(what).arg(daemon.id().to_string()).output();
    let output = output.expect("callgrind_control comes with valgrind");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the last dump adds up to.
fn total(folder: &Path) -> u64 {
    let name = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let dumps =
        std::fs::read_dir(folder).expect("read").flatten().filter(|entry| name(entry).starts_with("callgrind."));
    let number = |path: &Path| path.extension().and_then(|number| number.to_str()?.parse::<u64>().ok());
    let last = dumps.map(|entry| entry.path()).max_by_key(|path| number(path)).expect("a dump");
    let text = std::fs::read_to_string(last).expect("a dump");
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    line.and_then(|total| total.split_whitespace().next()?.parse().ok()).expect("a total")
}
