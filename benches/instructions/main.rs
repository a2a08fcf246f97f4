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

    pub use calls::{connect, create_client, create_tenant, put_api, put_orders_api, verify};
}
#[path = "../calls/daemon.rs"]
mod daemon;
#[path = "../calls/keys.rs"]
#[allow(dead_code, reason = "the other bench program uses the rest")]
mod keys;
#[path = "../calls/load.rs"]
#[allow(dead_code, reason = "the other bench programs use the rest")]
mod load;
#[path = "../calls/server.rs"]
#[allow(dead_code, reason = "the other bench programs use the rest")]
mod server;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
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
/// The same for tokens that are verified for the first time: each has to be signed before.
const NEW_WARM_UP: usize = 60;
const NEW_CALLS: usize = 240;
const CLIENT: &str = "tenants/acme/clients/orders";

/// Instructions of one call, by what is called.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = start(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(prepare(&daemon.address, folder.path()));
    control(&daemon, "--instr=on");
    let count = |method: &str, messages, warm_up, calls| {
        count(&daemon, folder.path(), &format!("keyward.v1.{method}"), messages, warm_up, calls)
    };
    let counts: Counts = [
        ("GetToken", count("TokenService/GetToken", "get", WARM_UP, CALLS)),
        ("VerifyToken", count("VerificationService/VerifyToken", "verify", WARM_UP, CALLS)),
        ("VerifyToken-first-seen", count("VerificationService/VerifyToken", "verify-new", NEW_WARM_UP, NEW_CALLS)),
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
    println!("{:<22} {:>10} {:>10} {:>7}", "instructions", "recorded", "now", "ratio");
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
        println!("{name:<22} {before:>10} {now:>10} {ratio:>7.3}{word}");
    }
    code
}

/// The daemon under callgrind, which counts nothing yet, so that it starts as fast as it can.
fn start(folder: &Path) -> Server {
    let out = format!("--callgrind-out-file={}", folder.join("callgrind").display());
    let under = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet", &out].map(OsString::from);
    daemon::start(folder, "keyward", daemon::EVERYBODY, &under)
}

async fn prepare(address: &str, folder: &Path) {
    let channel = harness::connect(address).await;
    harness::put_orders_api(&channel).await;
    harness::create_tenant(&channel, "acme", Isolation::AppClient).await;
    harness::create_client(&channel, "acme", "orders").await;
    let get = GetTokenRequest { name: CLIENT.to_owned(), ..Default::default() };
    let token = TokenServiceClient::new(channel.clone()).get_token(get.clone()).await.expect("a token").into_inner();
    let verify = VerifyTokenRequest { token: token.access_token, ..Default::default() };
    write_messages(&folder.join("get"), [get.encode_to_vec()]);
    write_messages(&folder.join("verify"), [verify.encode_to_vec()]);
    let keys = keys::prepare(&channel, NEW_WARM_UP + NEW_CALLS + NEW_WARM_UP).await;
    let verify =
        |key: &keys::Key| VerifyTokenRequest { token: key.token.clone(), ..Default::default() }.encode_to_vec();
    // Those that were verified when they were prepared are none.
    write_messages(&folder.join("verify-new"), keys.new_tokens().iter().map(verify));
}

/// Instructions of the daemon for one call.
fn count(daemon: &Server, folder: &Path, method: &str, messages: &str, warm_up: usize, calls: usize) -> u64 {
    let order = |first, calls| Order {
        address: daemon.address.clone(),
        tls: None,
        method: method.to_owned(),
        messages: folder.join(messages),
        rare: None,
        first,
        calls,
        connections: 1,
        streams: 1,
        rate: None,
    };
    let ask = |first, calls| assert_eq!(load::run(order(first, calls)).failed, 0, "calls failed");
    ask(0, warm_up);
    control(daemon, "--zero");
    ask(warm_up, calls);
    control(daemon, "--dump");
    total(folder) / calls as u64
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
