//! Servers in processes of their own, and what the kernel says that they cost.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    /// Nanoseconds on a processor of each thread, also of those that have ended.
    threads: Mutex<HashMap<OsString, u64>>,
}

impl Server {
    /// Returns once it says where it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = loop {
            let line = lines.next().expect("it listens").expect("a line");
            if let Some((_, address)) = line.split_once("listening on ") {
                break address
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .trim_matches(|c| "\"\u{1b}".contains(c))
                    .to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address, threads: Mutex::default() }
    }

    #[allow(dead_code, reason = "the other bench program asks it")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time on a processor so far, in all its threads: the first field of `/proc/PID/task/TID/schedstat`, in nanoseconds.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let mut threads = self.threads.lock().expect("not poisoned");
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            if let Some(nanos) = text.split_whitespace().next().and_then(|field| field.parse().ok()) {
                threads.insert(task.file_name(), nanos);
            }
        }
        Duration::from_nanos(threads.values().sum())
    }

    /// Memory that it has now: `VmRSS` of `/proc/PID/status`.
    #[allow(dead_code, reason = "the other bench program asks it")]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
