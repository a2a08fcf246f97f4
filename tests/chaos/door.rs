//! One address for all brokers, behind which each has a line of its own.
//!
//! Where a pool's tokens and keys are is written in the registry, so it is the same for all brokers. Which of them a
//! connection comes from is the kernel's to say (`proc_net(5)`, `proc_pid_fd(5)`).

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch::Receiver;
use tokio::task::{JoinHandle, JoinSet};

use crate::line::{Cut, pass};
use crate::world::lock;

/// By process id: the line that it comes through.
type Lines = Arc<Mutex<BTreeMap<u32, Receiver<Option<Cut>>>>>;

/// Gone when dropped.
pub struct Door {
    pub address: SocketAddr,
    lines: Lines,
    accepting: JoinHandle<()>,
}

impl Door {
    pub async fn to(service: SocketAddr) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let lines = Lines::default();
        let known = lines.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, from) = listener.accept().await.expect("a connection");
                let known = known.clone();
                connections.spawn(async move {
                    if let Some(cut) = line_of(from.port(), address.port(), &known).await {
                        pass(stream, service, cut).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Door { address, lines, accepting }
    }

    /// What the process connects to here goes through the line of this state.
    pub fn register(&self, process: u32, cut: Receiver<Option<Cut>>) {
        lock(&self.lines).insert(process, cut);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A process that has just started is not registered yet, and is waited for. `None` when it is gone meanwhile.
async fn line_of(from: u16, to: u16, known: &Lines) -> Option<Receiver<Option<Cut>>> {
    let socket = format!("socket:[{}]", inode(from, to)?);
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..500 {
        looks.tick().await;
        let lines = lock(known).clone();
        if let Some((_, cut)) = lines.into_iter().find(|(process, _)| has_open(*process, &socket)) {
            return Some(cut);
        }
    }
    None
}

/// Of the socket at that end of the connection.
fn inode(from: u16, to: u16) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the connections");
    let (from, to) = (format!(":{from:04X}"), format!(":{to:04X}"));
    table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields.len() > 9 && fields[1].ends_with(&from) && fields[2].ends_with(&to);
        is_it.then(|| fields[9].to_owned())
    })
}

fn has_open(process: u32, socket: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == Path::new(socket))
}
