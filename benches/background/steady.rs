//! A caller in a process of its own that asks at a steady rate, whatever becomes of the calls before.
//!
//! A call is timed from when it is sent until its status is there. It is sent when it is due, however many are not
//! answered yet, so a server that stands still is asked all the same and nothing is left out of the figures.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::load::{self, Order};

const METHOD: &str = "keyward.v1.TokenService/GetToken";
const CONNECTIONS: usize = 4;
/// What comes before counts as the way into the caches.
const WARM_UP: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pace {
    pub address: String,
    /// What to ask for, in turn; as `load` reads it.
    pub messages: PathBuf,
    /// A tick of a millisecond has so many.
    pub calls_per_tick: usize,
    pub seconds: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    pub failed: usize,
    /// Of each call, in microseconds.
    pub took: Vec<u32>,
}

/// Has another process ask.
pub async fn ask(pace: &Pace) -> Vec<u32> {
    let pace = serde_json::to_string(pace).expect("JSON");
    let asked = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["steady", &pace]).stderr(Stdio::inherit()).output().expect("it asks")
    });
    let asked: Asked = serde_json::from_slice(&asked.await.expect("it asked").stdout).expect("what became of them");
    assert_eq!(asked.failed, 0, "calls failed");
    asked.took
}

/// In that process.
pub fn run(pace: &Pace) -> Asked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(ask_steadily(pace))
}

async fn ask_steadily(pace: &Pace) -> Asked {
    let order = Order {
        address: pace.address.clone(),
        tls: None,
        method: METHOD.to_owned(),
        messages: pace.messages.clone(),
        first: 0,
        calls: 0,
        connections: CONNECTIONS,
        streams: 0,
        rare: None,
        rate: None,
    };
    let messages = load::read_messages(&pace.messages);
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(load::connect(&order).await);
    }
    let (mut calls, mut number) = (JoinSet::new(), 0);
    let mut ticks = tokio::time::interval(TICK);
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP + Duration::from_secs_f64(pace.seconds) {
        ticks.tick().await;
        let sent = Instant::now();
        for _ in 0..pace.calls_per_tick {
            let (mut sender, message) =
                (senders[number % CONNECTIONS].clone(), messages[number % messages.len()].clone());
            number += 1;
            calls.spawn(async move {
                let is_answered = load::call(&mut sender, METHOD, message).await.is_some();
                (sent, sent.elapsed(), is_answered)
            });
        }
    }
    let mut asked = Asked { failed: 0, took: Vec::with_capacity(number) };
    for (sent, took, is_answered) in calls.join_all().await {
        asked.failed += usize::from(!is_answered);
        if sent - begun >= WARM_UP {
            asked.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }
    asked
}
