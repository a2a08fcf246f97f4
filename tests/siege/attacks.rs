//! What strangers do: on one thread of low priority, bounded in number and rate.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost::bytes::Bytes;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tonic::codegen::http::{HeaderName, HeaderValue};

use crate::harness::http2::{Raw, calls_taken_back, get_token};
use crate::harness::pki::handshake;

/// Connections of [`Attack::Silence`] that say nothing at all.
const SILENT: usize = 1_500;
/// Those that say nothing once HTTP/2 is spoken.
const SILENT_AFTER_HANDSHAKE: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// 2,000 connections that send nothing. What is closed is opened again.
    Silence,
    /// 50 connections with 20 calls each, whose messages come at a byte a second.
    SlowBodies,
    /// 20 connections that each send 20 times a second as many headers as are allowed, and then too many.
    HeaderFlood,
    /// 20 connections that each send 1,000 calls and take them back at once, and are opened again when they are closed,
    /// five times a second at the most.
    RapidResets,
    All,
}

impl Attack {
    pub const ALL: [Attack; 5] =
        [Attack::Silence, Attack::SlowBodies, Attack::HeaderFlood, Attack::RapidResets, Attack::All];

    fn includes(self, other: Attack) -> bool {
        self == other || self == Attack::All
    }
}

pub struct Attackers {
    orders: SyncSender<(Option<Attack>, SyncSender<usize>)>,
}

/// Whom to attack, and how often it was.
#[derive(Clone)]
struct Target {
    address: String,
    config: ClientConfig,
    done: Arc<AtomicUsize>,
}

/// Lets this thread run only when nobody else wants the processor. Attackers are elsewhere in life: they load the server, and
/// do not take the processor from it. A low priority alone lets whoever has the processor keep it for milliseconds.
fn give_way() {
    let thread = std::fs::read_link("/proc/thread-self").expect("this thread");
    let id = thread.file_name().expect("its id");
    let idle = Command::new("chrt").args(["--idle", "--pid", "0"]).arg(id).status();
    assert!(idle.is_ok_and(|status| status.success()), "chrt, of util-linux, makes a thread give way");
}

impl Attackers {
    pub fn start(address: String, config: ClientConfig) -> Self {
        let (orders, ordered) = sync_channel::<(Option<Attack>, SyncSender<usize>)>(1);
        std::thread::spawn(move || {
            give_way();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let target = Target { address, config, done: Arc::default() };
            let mut attackers = JoinSet::new();
            while let Some((attack, answer)) = runtime.block_on(order(&ordered, &mut attackers)) {
                let done = match attack {
                    Some(attack) => {
                        target.done.store(0, Ordering::Relaxed);
                        runtime.block_on(begin(attack, &target, &mut attackers));
                        0
                    }
                    None => {
                        runtime.block_on(attackers.shutdown());
                        target.done.load(Ordering::Relaxed)
                    }
                };
                let _ = answer.send(done);
            }
        });
        Attackers { orders }
    }

    /// Returns once it is under way.
    pub fn begin(&self, attack: Attack) {
        self.order(Some(attack));
    }

    /// How often it was attacked since.
    pub fn end(&self) -> usize {
        self.order(None)
    }

    fn order(&self, attack: Option<Attack>) -> usize {
        let (answer, answered) = sync_channel(1);
        self.orders.send((attack, answer)).expect("attackers wait");
        answered.recv().expect("an answer")
    }
}

/// The next order. Attackers go on while it is waited for.
async fn order(
    ordered: &Receiver<(Option<Attack>, SyncSender<usize>)>,
    attackers: &mut JoinSet<()>,
) -> Option<(Option<Attack>, SyncSender<usize>)> {
    let mut looks = interval(Duration::from_millis(5));
    loop {
        looks.tick().await;
        match ordered.try_recv() {
            Ok(order) => return Some(order),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => while attackers.try_join_next().is_some() {},
        }
    }
}

/// Returns once all of them are there.
async fn begin(attack: Attack, target: &Target, attackers: &mut JoinSet<()>) {
    let there = Arc::new(Semaphore::new(0));
    let mut expected = 0;
    let mut start = |count: usize, one: fn(Target, Arc<Semaphore>) -> BoxFuture<'static, ()>| {
        for _ in 0..count {
            attackers.spawn(one(target.clone(), there.clone()));
        }
        expected += count;
    };
    if attack.includes(Attack::Silence) {
        start(SILENT, |target, there| silence(target, there).boxed());
        start(SILENT_AFTER_HANDSHAKE, |target, there| silence_after_handshake(target, there).boxed());
    }
    if attack.includes(Attack::SlowBodies) {
        start(50, |target, there| slow_bodies(target, there).boxed());
    }
    if attack.includes(Attack::HeaderFlood) {
        start(20, |target, there| header_flood(target, there).boxed());
    }
    if attack.includes(Attack::RapidResets) {
        start(20, |target, there| rapid_resets(target, there).boxed());
    }
    let all = u32::try_from(expected).expect("a few");
    let all = timeout(Duration::from_secs(120), there.acquire_many(all)).await;
    drop(all.expect("they all get there").expect("it is not closed"));
}

/// Connections that are refused are tried again, five times a second.
fn again() -> Interval {
    let mut again = interval(Duration::from_millis(200));
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    again
}

impl Target {
    fn hit(&self, is_first: bool, there: &Semaphore) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if is_first {
            there.add_permits(1);
        }
    }

    async fn raw(&self) -> Option<Raw> {
        let stream = handshake(&self.address, self.config.clone()).await.ok()?;
        Raw::try_over(stream).await.ok()
    }
}

async fn silence(target: Target, there: Arc<Semaphore>) {
    let (mut again, mut is_first) = (again(), true);
    loop {
        again.tick().await;
        let Ok(mut stream) = TcpStream::connect(&target.address).await else { continue };
        target.hit(std::mem::take(&mut is_first), &there);
        // Until it is closed.
        let _ = stream.read(&mut [0]).await;
    }
}

async fn silence_after_handshake(target: Target, there: Arc<Semaphore>) {
    let (mut again, mut is_first) = (again(), true);
    loop {
        again.tick().await;
        let Some(raw) = target.raw().await else { continue };
        target.hit(std::mem::take(&mut is_first), &there);
        let _ = raw.ended().await;
    }
}

async fn slow_bodies(target: Target, there: Arc<Semaphore>) {
    let (mut again, mut is_first) = (again(), true);
    loop {
        again.tick().await;
        let Some(mut raw) = target.raw().await else { continue };
        let mut calls = VecDeque::new();
        let mut pace = interval(Duration::from_secs(1));
        loop {
            while calls.len() < 20 {
                let Ok(call) = raw.try_begin(get_token()).await else { break };
                calls.push_back(call);
                target.hit(std::mem::take(&mut is_first), &there);
            }
            pace.tick().await;
            // Those that were ended give place to others.
            calls.retain_mut(|(_, body)| body.send_data(Bytes::from_static(&[0]), false).is_ok());
            if calls.is_empty() {
                break;
            }
        }
    }
}

async fn header_flood(target: Target, there: Arc<Semaphore>) {
    let (mut again, mut is_first) = (again(), true);
    let with = |bytes: usize| {
        let mut request = get_token();
        // In short ones, each of which costs 32 bytes more than it is long.
        for at in 0..bytes / 64 {
            let name: HeaderName = format!("x-{at:05}").parse().expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_static("0123456789abcdef0123456"));
        }
        request
    };
    loop {
        again.tick().await;
        let Some(mut raw) = target.raw().await else { continue };
        let mut pace = interval(Duration::from_millis(50));
        for bytes in [15_000, 15_000, 15_000, 60_000].into_iter().cycle() {
            pace.tick().await;
            let Ok((answer, mut body)) = raw.try_begin(with(bytes)).await else { break };
            let _ = body.send_data(Bytes::new(), true);
            target.hit(std::mem::take(&mut is_first), &there);
            let _ = answer.await;
        }
    }
}

async fn rapid_resets(target: Target, there: Arc<Semaphore>) {
    let (mut again, mut is_first, attack) = (again(), true, calls_taken_back(1_000));
    loop {
        again.tick().await;
        let Ok(mut stream) = handshake(&target.address, target.config.clone()).await else { continue };
        // It is closed before it has all of it.
        let _ = stream.write_all(&attack).await;
        target.hit(std::mem::take(&mut is_first), &there);
        let _ = timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await;
    }
}
