//! The program's commands, as a shell sees them: what they print, what they leave, and their exit codes.

mod audit;
mod check;
mod dev;
mod failed_starts;
mod live;
mod plan;
mod shell;
mod tour;

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::Binary;

#[test]
fn every_command_explains_itself_with_examples() {
    for command in ["dev", "serve", "check", "tour", "audit", "migrate", "plan", "completions", "man"] {
        let ran = run(Binary::command().args([command, "--help"]));
        assert_eq!(ran.code, 0, "{command}");
        assert!(ran.out.contains(&format!("Usage: keyward {command}")), "{}", ran.out);
        assert!(ran.out.contains("Examples:") && ran.out.contains("--help"), "{}", ran.out);
    }
    let ran = run(Binary::command().arg("--help"));
    assert_eq!(ran.code, 0);
    for wanted in ["dev ", "serve ", "check ", "tour ", "Exit codes:", "KEYWARD_MASTER_KEY", "RUST_LOG", "NO_COLOR"] {
        assert!(ran.out.contains(wanted), "{wanted:?} is not in\n{}", ran.out);
    }
    assert_eq!(run(Binary::command().arg("--version")).out.trim(), format!("keyward {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_cannot_be_read_is_exit_code_2() {
    for arguments in [&[][..], &["nothing"], &["serve"], &["dev", "--listen", "here"], &["tour", "--loud"]] {
        let ran = run(Binary::command().args(arguments));
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("--help"), "{arguments:?}: {}", ran.err);
    }
}

/// How a program that ends by itself ended, and what it printed.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("keyward runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code().expect("not killed"), out: text(stdout), err: text(stderr) }
}

/// A configuration in `folder` that works, on a free port, with `more` at its end.
fn configure(folder: &Path, more: &str) -> std::path::PathBuf {
    let key = folder.join("master.key");
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let least = format!(
        "listen = \"127.0.0.1:0\"\ncallers.trust_loopback = true\n\
         data_dir = {:?}\nembedded.master_key_file = {key:?}\n",
        folder.join("data")
    );
    let config = folder.join("keyward.toml");
    std::fs::write(&config, least + more).expect("written");
    config
}

fn serve(config: &Path) -> Command {
    let mut command = Binary::command();
    command.arg("serve").arg("--config").arg(config);
    command
}
