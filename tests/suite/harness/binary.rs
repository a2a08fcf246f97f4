//! The real program as a child process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tonic::transport::Channel;

use super::connect;

/// A running `keyward`. Killed when dropped.
pub struct Binary {
    child: Child,
    pub address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Binary {
    /// `keyward dev` on a folder and a free port.
    pub fn dev(data: &Path) -> Self {
        Binary::start(Binary::command().args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data))
    }

    /// The program, with nothing of this process's environment that it would read.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
        for name in ["RUST_LOG", "KEYWARD_MASTER_KEY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Returns once it says where it listens, which it does when it answers. Fails the test if it ends before.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("keyward starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let mut address = None;
        while address.is_none() {
            let Some(Ok(line)) = lines.next() else {
                panic!("keyward ended before it listened:\n{}", log.lock().expect("the log"));
            };
            address = line.split_once("listening on ").map(|(_, rest)| {
                rest.split(|c: char| c.is_whitespace() || "\"\u{1b}".contains(c)).next().unwrap_or_default().to_owned()
            });
            let mut log = log.lock().expect("the log");
            log.push_str(&line);
            log.push('\n');
        }
        // Its log is read to the end, so that it never waits for a reader.
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().expect("the log");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Binary { child, address: address.expect("seen"), log, reader: Some(reader) }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns once it has logged this; the log until then. Fails the test after half a minute.
    pub async fn logs(&self, text: &str) -> String {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1_500 {
            let log = self.log.lock().expect("the log").clone();
            if log.contains(text) {
                return log;
            }
            looks.tick().await;
        }
        panic!("it never says {text:?}:\n{}", self.log.lock().expect("the log"));
    }

    pub async fn channel(&self) -> Channel {
        connect(&self.address).await
    }

    /// SIGKILL: it gets no chance to do anything.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
        self.rest_of_log()
    }

    /// Sends a signal by its name, `TERM` or `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it has ended by itself; its exit status and everything it logged.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("waited for");
        (status, self.rest_of_log())
    }

    fn rest_of_log(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends with the program");
        }
        self.log.lock().expect("the log").clone()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
