//! A peer as a child process on a free port of loopback.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How long a peer may take until it answers; what is usual is a second, on a busy machine some.
const START_LIMIT: Duration = Duration::from_secs(90);
/// What a peer prints, in its folder.
const LOG: &str = "log";
const POLL: Duration = Duration::from_millis(20);
/// Somebody else may take the port between its choice and its use.
const ATTEMPTS: usize = 3;

/// A running peer. Killed when dropped.
pub struct Peer {
    child: Child,
    pub endpoint: String,
    /// Its working folder, gone with it.
    folder: TempDir,
}

impl Peer {
    /// Returns once `health` of it answers with success; or once it listens, where `health` is empty. `command` makes the command from the folder and the port.
    pub(super) async fn start(health: &str, command: impl Fn(&Path, u16) -> Command) -> Peer {
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir().expect("a folder");
            let port = free_port();
            let log = folder.path().join(LOG);
            let file = File::create(&log).expect("a log file");
            let mut command = command(folder.path(), port);
            command.current_dir(folder.path()).stdin(Stdio::null());
            command.stdout(file.try_clone().expect("another handle")).stderr(file);
            let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let mut peer = Peer { child, endpoint: format!("http://127.0.0.1:{port}"), folder };
            if peer.is_ready(health).await {
                return peer;
            }
            said = fs::read_to_string(&log).unwrap_or_default();
        }
        panic!("a peer does not start:\n{said}");
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).expect("its log")
    }

    async fn is_ready(&mut self, health: &str) -> bool {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let url = format!("{}{health}", self.endpoint);
        let asking = async {
            let mut ticks = tokio::time::interval(POLL);
            loop {
                ticks.tick().await;
                if self.child.try_wait().expect("asked for").is_some() {
                    return false;
                }
                let place = self.endpoint.trim_start_matches("http://");
                if health.is_empty() && tokio::net::TcpStream::connect(place).await.is_ok() {
                    return true;
                }
                if !health.is_empty() && http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return true;
                }
            }
        };
        tokio::time::timeout(START_LIMIT, asking).await.unwrap_or(false)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
