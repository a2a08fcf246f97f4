//! `examples/`: in each language a backend calls a service, which lets it in by its token, and not any more once the token is
//! revoked. Everything is run as a reader would run it, against the daemon.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;

use crate::client::until;
use crate::harness::Daemon;
use crate::peers::{environment, provision, run};

/// A service that was started; killed when dropped.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Returns once it says where it listens.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the verifier starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        Service { child, address: address.unwrap_or_else(|| panic!("it says {line:?}")) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon with a client, a verifier, and a backend that calls it.
async fn check(verifier: impl Fn(&str) -> Command, backend: impl Fn(&str, &str, &str) -> Command) {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let address = daemon.address();
    let (name, verifier) = (client.name.clone(), verifier(&address));
    let service = tokio::task::spawn_blocking(move || Service::start(verifier)).await.expect("started");

    let mut backend = backend(&address, &name, &service.address);
    backend.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || backend.output()).await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(said, format!("200 hello {name}"), "{}", String::from_utf8_lossy(&output.stderr));

    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let token = daemon.token(&name).await.access_token;
    let ask = async |token: Option<&str>| {
        let request = http.get(format!("http://{}/orders", service.address));
        let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((ask(None).await, ask(Some("abc")).await, ask(Some(&token)).await), (401, 401, 200));
    let request = proto::RevokeTokensRequest { target: Some(Target::Token(token.clone())), ..Default::default() };
    daemon.clients().revoke_tokens(request).await.expect("revoked");
    until(async || ask(Some(&token)).await == 401).await;
    drop(service);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_rust_without_a_call_for_each_request() {
    let example = |name: &str| rust_example(name);
    let verifier = |keyward: &str| {
        let mut command = Command::new(example("verifier"));
        command.args([&format!("http://{keyward}"), "127.0.0.1:0"]);
        command
    };
    let backend = |keyward: &str, client: &str, service: &str| {
        let mut command = Command::new(example("backend"));
        command.args([&format!("http://{keyward}"), client, service]);
        command
    };
    check(verifier, backend).await;
}

/// The program of an example. `cargo test` has built it; `cargo test --test suite` has not.
fn rust_example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    let folder = test.parent().and_then(Path::parent).expect("target/<profile>/deps/suite-…").join("examples");
    let profile = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a profile");
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--locked", "--quiet", "--profile", profile, "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    build.env("CARGO_TARGET_DIR", folder.parent().and_then(Path::parent).expect("target"));
    run(&mut build);
    folder.join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_python() {
    let wanted = std::fs::read_to_string(here("examples/python/requirements.txt")).expect("the versions");
    let python = environment("python-examples", &wanted);
    let proto = here("proto");
    let texts = files(&proto.join("keyward/v1")).into_iter().map(|file| std::fs::read_to_string(file).expect("a file"));
    let made_from = wanted + &texts.collect::<String>();
    let stubs = provision("python-stubs", &made_from, |folder| {
        let mut protoc = Command::new(&python);
        protoc.args(["-m", "grpc_tools.protoc"]).arg(format!("--proto_path={}", proto.display()));
        protoc.arg(format!("--python_out={}", folder.display()));
        protoc.arg(format!("--grpc_python_out={}", folder.display()));
        protoc.args(files(&proto.join("keyward/v1")));
        run(&mut protoc);
    });
    let command = |script: &str, arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(here("examples/python").join(script)).args(arguments).env("PYTHONPATH", &stubs);
        command
    };
    check(
        |keyward| command("verifier.py", &[keyward, "0"]),
        |keyward, client, service| command("backend.py", &[keyward, client, &format!("http://{service}/orders")]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_node() {
    let wanted = std::fs::read_to_string(here("examples/node/package-lock.json")).expect("the versions");
    let modules = provision("node-examples", &wanted, |folder| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(here("examples/node").join(file), folder.join(file)).expect("copied");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        run(&mut npm);
    });
    let command = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("node");
        command.arg(here("examples/node").join(script)).args(arguments).env("NODE_PATH", modules.join("node_modules"));
        command
    };
    check(
        |keyward| command("verifier.js", &[keyward, "0"]),
        |keyward, client, service| command("backend.js", &[keyward, client, &format!("http://{service}/orders")]),
    )
    .await;
}

#[test]
fn what_readme_shows_is_in_them() {
    let readme = std::fs::read_to_string(here("README.md")).expect("the page");
    let example = std::fs::read_to_string(here("examples/verifier.rs")).expect("the example");
    let mut lines = readme.lines().skip_while(|line| *line != "```rust").skip(1).take_while(|line| *line != "```");
    let shown: Vec<_> = lines.by_ref().collect();
    assert!(shown.len() >= 3, "{shown:?}");
    for line in shown {
        assert!(example.lines().any(|written| written == line), "{line:?} is in no example");
    }
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the contract");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}
