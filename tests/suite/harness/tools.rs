//! Programs that tests need and a fresh machine does not have. They are built once, into `target/tools/`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of crates.io.
struct Tool {
    package: &'static str,
    version: &'static str,
    program: &'static str,
    /// Of the package, in place of its default ones.
    features: Option<&'static str>,
    /// How much the compiler is to optimise. What tests wait for is worth some seconds of a build.
    optimised: &'static str,
}

const GRPCURL: Tool =
    Tool { package: "grpcurl-rs", version: "0.2.1", program: "grpcurl", features: None, optimised: "0" };

const DYNOXIDE: Tool = Tool {
    package: "dynoxide-rs",
    version: "3.2.0",
    program: "dynoxide",
    features: Some("native-sqlite,http-server,cli"),
    optimised: "1",
};

/// The folder that `grpcurl` is in. The first call on a machine builds it, which takes minutes.
pub fn grpcurl() -> PathBuf {
    GRPCURL.folder()
}

/// The program `dynoxide`. The first call on a machine builds it, which takes minutes.
pub fn dynoxide() -> PathBuf {
    DYNOXIDE.folder().join(DYNOXIDE.program)
}

impl Tool {
    /// The folder that the program is in, which is built where it is not there yet.
    fn folder(&self) -> PathBuf {
        let Tool { package, version, program, .. } = self;
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
        let root = tools.join(format!("{package}-{version}"));
        std::fs::create_dir_all(&tools).expect("the folder of tools");
        // Test programs that run side by side wait here for the one that builds.
        let lock = File::create(tools.join(format!("{package}.lock"))).expect("the lock");
        lock.lock().expect("locked");
        if !root.join("bin").join(program).exists() {
            let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            install.args(["install", package, "--version", &format!("={version}"), "--locked", "--profile", "dev"]);
            if let Some(features) = self.features {
                install.args(["--no-default-features", "--features", features]);
            }
            install.arg("--root").arg(&root).env("CARGO_TARGET_DIR", tools.join("build"));
            install.env("CARGO_PROFILE_DEV_OPT_LEVEL", self.optimised).env("CARGO_PROFILE_DEV_DEBUG", "0");
            let output = install.output().expect("cargo runs");
            assert!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&output.stderr));
        }
        root.join("bin")
    }
}
