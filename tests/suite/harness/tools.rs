//! Programs that tests need and a fresh machine does not have. They are built once, into `target/tools/`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const GRPCURL: (&str, &str) = ("grpcurl-rs", "0.2.1");

/// The folder that `grpcurl` is in. The first call on a machine builds it, which takes minutes.
pub fn grpcurl() -> PathBuf {
    let (package, version) = GRPCURL;
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let root = tools.join(format!("{package}-{version}"));
    std::fs::create_dir_all(&tools).expect("the folder of tools");
    // Test programs that run side by side wait here for the one that builds.
    let lock = File::create(tools.join(format!("{package}.lock"))).expect("the lock");
    lock.lock().expect("locked");
    if !root.join("bin/grpcurl").exists() {
        let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        install.args(["install", package, "--version", &format!("={version}"), "--locked", "--profile", "dev"]);
        install.arg("--root").arg(&root).env("CARGO_TARGET_DIR", tools.join("build"));
        let output = install.output().expect("cargo runs");
        assert!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&output.stderr));
    }
    root.join("bin")
}
