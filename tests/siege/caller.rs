//! The honest caller: on a thread of its own, with one connection.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::harness::pki::connect_tls;
use crate::harness::token;

/// Calls of one window.
const CALLS: usize = 400;
/// From the beginning of one call to that of the next, unless that takes longer.
const PACE: Duration = Duration::from_millis(5);

pub struct Caller {
    ask: SyncSender<()>,
    answer: Receiver<Calls>,
}

/// What became of calls.
#[derive(Default)]
pub struct Calls {
    /// How long each took, in seconds.
    took: Vec<f64>,
    pub failed: usize,
    /// From the first to the last.
    pub length: Duration,
}

impl Caller {
    pub fn start(address: String, config: ClientConfig) -> Self {
        let ((ask, asked), (answers, answer)) = (sync_channel::<()>(1), sync_channel(1));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let channel = runtime.block_on(connect_tls(&address, config)).expect("connected");
            while asked.recv().is_ok() {
                if answers.send(runtime.block_on(window(&channel))).is_err() {
                    return;
                }
            }
        });
        Caller { ask, answer }
    }

    /// Makes the calls of one window.
    pub fn window(&self) -> Calls {
        self.ask.send(()).expect("the caller waits");
        self.answer.recv().expect("a window")
    }
}

async fn window(channel: &tonic::transport::Channel) -> Calls {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut took, mut failed, begun) = (Vec::with_capacity(CALLS), 0, Instant::now());
    for _ in 0..CALLS {
        pace.tick().await;
        let asked = Instant::now();
        if token(channel, "tenants/acme/clients/orders").await.is_err() {
            failed += 1;
        }
        took.push(asked.elapsed().as_secs_f64());
    }
    Calls { took, failed, length: begun.elapsed() }
}

impl Calls {
    pub fn add(&mut self, others: Calls) {
        self.took.extend(others.took);
        self.failed += others.failed;
        self.length += others.length;
    }

    /// What so many per cent of them took at most, in seconds.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut took = self.took.clone();
        took.sort_by(f64::total_cmp);
        took[(took.len() * percent / 100).min(took.len() - 1)]
    }
}
