//! Commands that README shows without an answer: run as they are printed, or listed here with the reason why not.

use std::path::Path;
use std::process::{Command, Output};

use super::shown::{Block, blocks};
use super::{OAUTH_WALK, README, examples, quiet_port};
use crate::harness::folder;

/// Blocks that no test runs as they are printed, by how they begin, and why.
const NOT_RUN: [(&str, &str); 5] = [
    ("cargo run -- tour\ncargo test\n", "it would run itself; what the tour prints is compared"),
    ("cargo run -- dev\n", "the examples are run against it, at another address and folder"),
    ("cargo run -- check --config keyward.toml --live\n", "it asks AWS; `commands::live` and `aws` do, of the fake"),
    ("keyward migrate --from sqlite ", "it writes to AWS; `registry::migration` does, to emulators"),
    (
        "install -m 0755 target/release/keyward ",
        "it is for root and systemd; deploy/systemd/try runs it in a container",
    ),
];

#[test]
fn every_block_is_run_or_it_is_said_why_not() {
    let all: Vec<_> = blocks(README).into_iter().filter(|block| block.lang == "sh").collect();
    let is_run = |block: &Block<'_>| {
        let is_of = |title| section(title).iter().any(|other| other.text == block.text);
        examples(README).iter().any(|(example, _)| example.text == block.text)
            || is_of("From a certificate to a token")
            || is_of("Behind Envoy")
            || is_of(OAUTH_WALK)
            || [serving(), asking(), shell(), planning()].contains(&block.text)
    };
    let (run, rest): (Vec<_>, Vec<_>) = all.iter().partition(|block| is_run(block));
    assert!(run.len() >= 30, "only {} blocks are run", run.len());
    for block in &rest {
        let is_listed = NOT_RUN.iter().any(|(begin, _)| block.text.starts_with(begin));
        assert!(is_listed, "README.md:{}: nothing runs this:\n{}", block.line, block.text);
    }
    for (begin, why) in NOT_RUN {
        let times = rest.iter().filter(|block| block.text.starts_with(begin)).count();
        assert_eq!(times, 1, "{begin:?} is said not to be run ({why})");
    }
}

#[test]
fn a_broker_is_started_as_shown() {
    let (_folder, path) = folder();
    configure(&path);
    // In the background; asked to end once it is ready. And cargo would build it anew.
    let waits = "--ready-file ready & for _ in {1..300}; do [ ! -e ready ] || break; sleep 0.1; done; kill %1; wait %1";
    let commands = serving().replace("--ready-file ready", waits);
    let ran = bash(&path, &commands);
    assert!(ran.status.success(), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("keyward.toml is valid") && path.join("data/keyward.db").exists(), "{ran:?}");
}

#[test]
fn what_a_caller_may_do_is_asked_as_shown() {
    let (_folder, path) = folder();
    configure(&path);
    let ran = bash(&path, &asking());
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.code() == Some(1) && said.starts_with("denied: spiffe://example.org/"), "{ran:?}");
}

#[test]
fn the_shell_is_set_up_as_shown() {
    let (_folder, path) = folder();
    let ran = bash(&path, &shell());
    assert!(ran.status.success(), "{ran:?}");
    let share = path.join(".local/share");
    let completions = std::fs::read_to_string(share.join("bash-completion/completions/keyward")).expect("completions");
    assert!(completions.contains("complete -F"), "{completions}");
    assert!(share.join("man/man1/keyward-serve.1").exists());
}

#[test]
fn the_table_of_the_two_models_is_what_the_command_prints() {
    let (_folder, path) = folder();
    let ran = bash(&path, &planning());
    assert!(ran.status.success(), "{ran:?}");
    let table = String::from_utf8(ran.stdout).expect("UTF-8");
    assert!(README.contains(&table), "README has not:\n{table}");
}

/// Those of a section, in their order.
fn section(title: &str) -> Vec<Block<'static>> {
    let (_, text) =
        README.split_once(&format!("## {title}\n")).unwrap_or_else(|| panic!("there is no section {title}"));
    let text = text.split("\n## ").next().unwrap_or_default().split("\n### ").next().unwrap_or_default();
    blocks(text)
}

fn commands(title: &str) -> String {
    let commands: Vec<_> = section(title).into_iter().filter(|block| block.lang == "sh").collect();
    assert_eq!(commands.len(), 1, "blocks of commands under {title}");
    commands[0].text.clone()
}

fn serving() -> String {
    commands("Run it")
}

fn asking() -> String {
    commands("Who may do what")
}

fn shell() -> String {
    commands("In the shell")
}

fn planning() -> String {
    commands("Two models, and what each costs")
}

/// The least configuration, as shown but for the port, which may be somebody's.
fn configure(folder: &Path) {
    let least = section("Run it").into_iter().find(|block| block.lang == "toml").expect("a configuration");
    let text = format!("listen = \"127.0.0.1:{}\"\n{}", quiet_port(), least.text);
    std::fs::write(folder.join("keyward.toml"), text).expect("written");
}

/// Runs commands in a folder that is somebody's home, with the program that was built for the tests.
fn bash(home: &Path, commands: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_keyward"));
    let commands = commands.replace("cargo run -- ", "keyward ");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [program.parent().expect("a folder").to_owned()];
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).expect("a path");
    let mut bash = Command::new("bash");
    bash.args(["-euc", &commands]).current_dir(home).env("HOME", home).env("PATH", path).env_remove("RUST_LOG");
    bash.env_remove("KEYWARD_MASTER_KEY").output().expect("bash runs")
}
