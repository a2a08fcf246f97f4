//! README.md is run: its examples in order, against a `keyward dev`, and each answer is compared with what is shown.
//!
//! What `…` stands for is left open: a part of a text, further fields, further entries, further lines.

mod commands;
mod shown;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

use prost_reflect::{DescriptorPool, ServiceDescriptor};

use crate::harness::{Binary, folder, grpcurl};
use shown::{Block, blocks, json_matches, text_matches};

const README: &str = include_str!("../../README.md");
/// Where README says that `keyward dev` listens.
const ADDRESS: &str = "127.0.0.1:7443";
const OAUTH_WALK: &str = "From a secret to a token";
/// Printed between the answers of two examples.
const MARK: &str = "@@ example";

#[test]
fn the_examples_answer_as_shown() {
    let (_folder, path) = folder();
    let broker = Binary::dev(&path.join("data"));
    // A walk has a broker of its own.
    let readme = README.replace(section(README, OAUTH_WALK), "").replace(ADDRESS, &broker.address);
    let examples = examples(&readme);
    assert!(examples.len() > 15, "README shows {} examples", examples.len());

    let mut script = String::new();
    for (example, _) in &examples {
        script.push_str(&format!("{}\necho; echo '{MARK}'\n", example.text));
    }
    let printed = bash(&format!("exec 2>&1\n{script}"));
    let answers: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(answers.len(), examples.len() + 1, "not every example was run:\n{printed}");

    for ((example, shown), answer) in examples.iter().zip(answers) {
        let difference = match shown.lang {
            "json" => json_matches(&shown.text, answer),
            _ => text_matches(&shown.text, answer),
        };
        if let Err(difference) = difference {
            let line = shown.line;
            panic!("README.md:{line}: {difference}\nthe example:\n{}\ncame:\n{answer}", example.text);
        }
    }
}

#[test]
fn the_walk_over_mutual_tls_and_behind_envoy_goes_as_shown() {
    // Keyward, Envoy, and the service behind it.
    walk(&["From a certificate to a token", "Behind Envoy"], &["7444", "10000", "8080"], &crate::peers::envoy());
}

#[test]
fn the_walk_with_an_oauth_client_goes_as_shown() {
    walk(&[OAUTH_WALK], &["7446", "7480"], Path::new(env!("CARGO_BIN_EXE_keyward")));
}

/// The section of this title.
fn section<'p>(page: &'p str, title: &str) -> &'p str {
    let (_, section) = page.split_once(&format!("### {title}\n")).expect(title);
    section.split_once("\n### ").expect("what comes next").0
}

/// Goes through sections whose servers are at these ports, with a program that is used there.
fn walk(titles: &[&str], ports: &[&str], program: &Path) {
    let sections: String = titles.iter().map(|title| section(README, title)).collect();
    let walk = ports.iter().fold(sections, |walk, shown| {
        let port = quiet_port().to_string();
        let forms = [format!("127.0.0.1:{shown}"), format!("port_value: {shown}"), format!("\"127.0.0.1\", {shown}")];
        forms.iter().fold(walk, |walk, form| walk.replace(form, &form.replace(shown, &port)))
    });
    let walk = walk.replace("cargo run -- ", &format!("{} ", env!("CARGO_BIN_EXE_keyward")));
    let (mut script, mut examples) = (String::new(), Vec::new());
    let mut blocks = blocks(&walk).into_iter().peekable();
    while let Some(block) = blocks.next() {
        match block.lang {
            "yaml" => script.push_str(&format!("cat > envoy.yaml <<'END'\n{}END\n", block.text)),
            "toml" => script.push_str(&format!("cat > walk.toml <<'END'\n{}END\n", block.text)),
            "sh" => {
                script.push_str(&format!("{}\necho; echo '{MARK}'\n", block.text));
                examples.push((block, blocks.next_if(|next| ["json", "text"].contains(&next.lang))));
            }
            other => panic!("a block of {other}"),
        }
    }
    let (_folder, path) = folder();
    let start = "exec 2>&1\ntrap 'kill $(jobs -p)' EXIT";
    let programs = program.parent().expect("a folder").display();
    let printed = bash(&format!("{start}\nPATH=$PATH:{programs}\ncd {}\n{script}", path.display()));
    let answers: Vec<&str> = printed.split(MARK).collect();
    assert_eq!(answers.len(), examples.len() + 1, "not every command was run:\n{printed}");
    let mut seen = 0;
    for ((example, shown), answer) in examples.iter().zip(answers) {
        let Some(shown) = shown else { continue };
        let compare = if shown.lang == "json" { json_matches } else { text_matches };
        if let Err(difference) = compare(&shown.text, answer) {
            panic!("{difference}\nthe example:\n{}\ncame:\n{answer}", example.text);
        }
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} answers are shown");
}

/// Nobody listens there, and the system gives it to nobody who asks for any port. Another one each time.
pub fn quiet_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 10_000).expect("small");
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let next = || first + TAKEN.fetch_add(1, Ordering::Relaxed);
    std::iter::repeat_with(next).take(1_000).find(is_free).expect("a port")
}

#[test]
fn a_newcomer_needs_two_commands() {
    let first = blocks(README).into_iter().find(|block| block.lang == "sh").expect("a block of commands");
    assert_eq!(first.text, "cargo run -- tour\ncargo test\n");
}

#[test]
fn the_tour_looks_as_shown() {
    let shown = blocks(README).into_iter().find(|block| block.lang == "text").expect("what the tour prints");
    let tour = Binary::command().arg("tour").output().expect("keyward runs");
    assert!(tour.status.success(), "{tour:?}");
    if let Err(difference) = text_matches(&shown.text, &stdout(&tour)) {
        panic!("README.md:{}: {difference}", shown.line);
    }
}

#[test]
fn every_command_line_is_understood() {
    let commands = blocks(README).into_iter().filter(|block| block.lang == "sh").flat_map(|block| {
        let arguments = |line: &str| {
            let given = line.strip_prefix("cargo run -- ").or_else(|| line.strip_prefix("keyward "))?;
            // What follows is the shell's.
            let arguments = given.split_whitespace().take_while(|word| !word.contains(['>', '&']));
            Some(arguments.map(str::to_owned).collect::<Vec<_>>())
        };
        block.text.lines().filter_map(arguments).collect::<Vec<_>>()
    });
    let commands: Vec<_> = commands.collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for arguments in commands {
        let help = Binary::command().args(&arguments).arg("--help").output().expect("keyward runs");
        assert!(help.status.success(), "keyward {}: {help:?}", arguments.join(" "));
    }
}

#[test]
fn every_configuration_is_valid() {
    let (_folder, path) = folder();
    for name in ["master.key", "token.key"] {
        keyward::sealing::MasterKey::generate_file(&path.join(name)).expect("a key");
    }
    let configurations: Vec<_> = blocks(README).into_iter().filter(|block| block.lang == "toml").collect();
    assert!(!configurations.is_empty());
    for block in configurations {
        let output = check(&path, &block);
        assert!(output.status.success(), "README.md:{}: {output:?}", block.line);
    }
}

#[test]
fn every_method_is_in_the_contract() {
    let methods: BTreeSet<String> = methods().chain(["Health/Check".to_owned()]).collect();
    let named = methods_named_in(README);
    assert!(named.len() > 15, "{named:?}");
    assert_eq!(named.difference(&methods).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the contract");
}

#[test]
fn every_method_of_the_contract_is_offered() {
    let (_folder, path) = folder();
    let broker = Binary::dev(&path.join("data"));
    let refused = |method: &String| {
        let call = format!("timeout 2 grpcurl -plaintext {} keyward.v1.{method} 2>&1", broker.address);
        bash(&call).contains("Code: Unimplemented")
    };
    assert_eq!(methods().filter(refused).collect::<Vec<_>>(), Vec::<String>::new());
}

/// Each example that calls the broker, with what is shown as its answer.
fn examples(readme: &str) -> Vec<(Block<'_>, Block<'_>)> {
    let mut blocks = blocks(readme).into_iter().peekable();
    let mut examples = Vec::new();
    while let Some(block) = blocks.next() {
        if block.lang == "sh" && block.text.contains("grpcurl -plaintext") {
            let shown = blocks.next_if(|next| next.lang != "sh");
            let shown = shown.unwrap_or_else(|| panic!("README.md:{}: no answer is shown", block.line));
            examples.push((block, shown));
        }
    }
    examples
}

/// Every method of ours, such as `TokenService/GetToken`.
fn methods() -> impl Iterator<Item = String> {
    let pool = DescriptorPool::decode(keyward::proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let of = |service: ServiceDescriptor| {
        service.methods().map(|method| format!("{}/{}", service.name(), method.name())).collect::<Vec<_>>()
    };
    pool.services().flat_map(of).collect::<Vec<_>>().into_iter()
}

fn methods_named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '/'));
    let is_method = |word: &&str| {
        let parts = word.split_once('/');
        parts.is_some_and(|(service, method)| {
            (service.ends_with("Service") || service == "Health")
                && method.starts_with(|c: char| c.is_ascii_uppercase())
        })
    };
    words.filter(is_method).map(str::to_owned).collect()
}

/// What a script prints, with the grpcurl of the tests.
fn bash(script: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([grpcurl()].into_iter().chain(std::env::split_paths(&path))).expect("a path");
    stdout(&Command::new("bash").arg("-c").arg(script).env("PATH", path).output().expect("bash runs"))
}

fn check(path: &Path, block: &Block<'_>) -> Output {
    std::fs::write(path.join("keyward.toml"), &block.text).expect("written");
    let mut command = Binary::command();
    command.args(["check", "--config", "keyward.toml"]).current_dir(path).output().expect("keyward runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
