//! Prometheus itself and its promtool, of Debian's package `prometheus`: unpacked, not installed, so that no root is needed and
//! nothing is started. Where it is in the path already, that one is taken.
//!
//! Debian keeps one version for a release and mends it in place, so none is pinned here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Peer;
use super::provision::{provision, run};

/// Says what is needed where it cannot be brought.
const NEEDED: &str = "promtool is needed: install your system's package of Prometheus";

/// The program `promtool`.
pub fn promtool() -> PathBuf {
    program("promtool")
}

impl Peer {
    /// Prometheus with this configuration.
    pub async fn prometheus(config: &str) -> Peer {
        let program = program("prometheus");
        Peer::start("/-/ready", |folder, port| {
            let file = folder.join("prometheus.yml");
            std::fs::write(&file, config).expect("written");
            let mut command = Command::new(&program);
            command.arg("--config.file").arg(file).arg("--storage.tsdb.path").arg(folder.join("data"));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            command
        })
        .await
    }
}

fn program(name: &str) -> PathBuf {
    if let Some(known) = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file()))
    {
        return known;
    }
    provision("prometheus", "of Debian", unpack).join("usr/bin").join(name)
}

fn unpack(folder: &Path) {
    let fetch = || Command::new("apt-get").args(["download", "prometheus"]).current_dir(folder).output().expect(NEEDED);
    if !fetch().status.success() {
        // The lists of packages may be missing, or name a version that was mended since. Only root may bring new ones.
        let _ = Command::new("apt-get").args(["update", "--quiet"]).output();
        let fetched = fetch();
        assert!(fetched.status.success(), "{NEEDED}\n{}", String::from_utf8_lossy(&fetched.stderr));
    }
    let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let package = entries.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    run(Command::new("dpkg-deb").arg("--extract").arg(package.expect("the package")).arg(folder));
}
