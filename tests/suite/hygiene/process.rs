//! What the kernel lets others see of the running program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;

use super::needles::Needles;
use crate::harness::{Binary, folder};

const KEY: [u8; 32] = [0xA7; 32];

/// The program with its master key in the environment.
fn broker(folder: &std::path::Path) -> (Binary, String) {
    let config = folder.join("keyward.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\ncallers.trust_loopback = true\n",
        folder.join("data").display()
    );
    fs::write(&config, text).expect("written");
    let key = base64::engine::general_purpose::STANDARD.encode(KEY);
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(&config).env("KEYWARD_MASTER_KEY", &key);
    (Binary::start(&mut command), key)
}

fn of_process(id: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{id}/{name}"))
}

#[test]
fn it_leaves_no_core_dump_and_says_what_it_did() {
    let (_folder, path) = folder();
    let (broker, _) = broker(&path);
    let limits = fs::read_to_string(of_process(broker.id(), "limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("told");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What a crash makes of it, whatever program `core_pattern` names: no dump.
    broker.signal("ABRT");
    let (status, log) = broker.wait();
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(status.signal(), Some(6), "{log}");
    assert!(!status.core_dumped());
    assert!(log.contains("the process is protected"), "{log}");
    for said in ["core_dumps=prevented", "inspection=prevented", "swap="] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
}

#[test]
fn neither_its_arguments_nor_its_log_have_the_key() {
    let (_folder, path) = folder();
    let (broker, key) = broker(&path);
    let mut needles = Needles::default();
    needles.add_key(&key);
    let arguments = fs::read(of_process(broker.id(), "cmdline")).expect("readable by everybody");
    assert!(!arguments.is_empty());
    assert_eq!(needles.first_in(&arguments), None);
    broker.signal("TERM");
    assert_eq!(needles.first_in(broker.wait().1.as_bytes()), None, "the log has the key");
}

/// The program as another user than root, and a process of that same user that looks into it. Needs root, to become both.
#[test]
fn not_even_its_own_user_reads_its_environment_or_its_memory() {
    const NOBODY: u32 = 65_534;
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| MetadataExt::uid(&own) == 0);
    if !is_root {
        eprintln!("only root can start a program as another user");
        return;
    }
    let (_folder, path) = folder();
    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
    let config = path.join("keyward.toml");
    let text =
        format!("listen = \"127.0.0.1:0\"\ndata_dir = \"{}/data\"\ncallers.trust_loopback = true\n", path.display());
    fs::write(&config, text).expect("written");
    // A copy, where that user can reach it.
    let program = path.join("keyward");
    fs::copy(env!("CARGO_BIN_EXE_keyward"), &program).expect("copied");
    let key = base64::engine::general_purpose::STANDARD.encode(KEY);
    let mut command = Command::new(&program);
    command
        .args(["serve", "--config"])
        .arg(&config)
        .env_clear()
        .env("KEYWARD_MASTER_KEY", &key)
        .uid(NOBODY)
        .gid(NOBODY);
    let broker = Binary::start(&mut command);
    let look = |id: u32, name: &str| {
        let mut look = Command::new("cat");
        look.arg(of_process(id, name)).uid(NOBODY).gid(NOBODY).output().expect("cat runs")
    };
    for name in ["environ", "maps", "mem"] {
        let looked = look(broker.id(), name);
        let err = String::from_utf8_lossy(&looked.stderr).into_owned();
        assert!(
            !looked.status.success() && looked.stdout.is_empty() && err.contains("Permission denied"),
            "{name}: {err}"
        );
    }
    // What is in /proc of a process that may be dumped belongs to the user that it runs as; of this one, to root.
    assert_eq!(MetadataExt::uid(&of_process(broker.id(), "environ").metadata().expect("there")), 0);
    // The same look into a process of that user that is not protected succeeds, or this test could not fail.
    let mut sleeper = Command::new("sleep");
    let mut open = sleeper.arg("60").env("KEYWARD_MASTER_KEY", &key).uid(NOBODY).gid(NOBODY).spawn().expect("started");
    let looked = look(open.id(), "environ");
    open.kill().and_then(|()| open.wait()).expect("ended");
    let seen = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(looked.status.success() && seen.contains("KEYWARD_MASTER_KEY"), "{seen}");
}
