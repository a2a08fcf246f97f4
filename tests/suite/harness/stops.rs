//! Two brokers on one registry, each of which can be held up in the middle of something while the other one goes on.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::FutureExt as _;
use keyward::broker::Ports;
use keyward::broker::ports::{PortResult, Shelf, StoredRecord};
use keyward::broker::settings::Settings;
use tokio::sync::Notify;

use super::brokers::{Bench, Working};
use super::ports::in_time;
use super::readings::{Reader, told_by};
use super::tolls::{Toll, tolled};

/// Where somebody is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// This call of a port is not done yet.
    Before(&'static str),
    /// It is done, and whoever made it does not know.
    After(&'static str),
    /// A `get` or a `scan` of a shelf has found what there is, and whoever made it does not know.
    Found(&'static str, Shelf),
}

/// Holds somebody up once, when it is told to.
#[derive(Default)]
pub struct Stop {
    next: Mutex<Option<At>>,
    is_reached: Notify,
    go: Notify,
}

impl Stop {
    pub fn through(self: &Arc<Self>, ports: Ports) -> Ports {
        told_by(tolled(ports, self.clone()), self.clone())
    }

    pub fn at(&self, at: At) {
        *self.next.lock().expect("no panic under it") = Some(at);
    }

    pub async fn reached(&self) {
        in_time(self.is_reached.notified()).await;
    }

    /// Whether it holds somebody up, for whoever has something to do until then. Says so once.
    pub fn has_been_reached(&self) -> bool {
        self.is_reached.notified().now_or_never().is_some()
    }

    pub fn go(&self) {
        self.go.notify_one();
    }

    /// Does the one until it is held up, then the other, then the rest of the one.
    pub async fn during<T>(&self, at: At, slowly: impl Future<Output = T>, meanwhile: impl Future<Output = ()>) -> T {
        self.at(at);
        let passing = async {
            self.reached().await;
            meanwhile.await;
            self.go();
        };
        let (slowly, passing) = (Box::pin(slowly), Box::pin(passing));
        tokio::join!(slowly, passing).0
    }

    async fn pass(&self, at: At) {
        if self.next.lock().expect("no panic under it").take_if(|next| *next == at).is_some() {
            self.is_reached.notify_one();
            self.go.notified().await;
        }
    }
}

#[async_trait]
impl Toll for Stop {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        self.pass(At::Before(call)).await;
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        self.pass(At::After(call)).await;
        Ok(())
    }
}

#[async_trait]
impl Reader for Stop {
    async fn told(
        &self,
        how: &'static str,
        shelf: Shelf,
        found: PortResult<Vec<StoredRecord>>,
    ) -> PortResult<Vec<StoredRecord>> {
        self.pass(At::Found(how, shelf)).await;
        found
    }
}

/// Brokers that do not hear of each other, and what holds each of them up. Neither works by itself.
pub struct Pair {
    pub bench: Bench,
    pub one: Working,
    pub stop: Arc<Stop>,
    pub other: Working,
    pub other_stop: Arc<Stop>,
}

impl Pair {
    /// With the orders API in the catalogue.
    pub async fn set() -> Self {
        Pair::set_with(|_| {}).await
    }

    pub async fn set_with(edit: impl Fn(&mut Settings)) -> Self {
        let bench = Bench::new().await;
        let [stop, other_stop] = [Arc::new(Stop::default()), Arc::new(Stop::default())];
        let one = Working::open_with(stop.through(bench.ports()), &edit).await.expect("a broker");
        let other = Working::open_with(other_stop.through(bench.ports()), &edit).await.expect("a broker");
        Pair { bench, one, stop, other, other_stop }
    }

    /// Lets the other one do what is left. Then all must be as it should be, with these clients.
    pub async fn settle(self, clients: &[&str]) {
        self.other.work();
        self.bench.settle().await;
        self.one.stop().await;
        self.other.stop().await;
        self.bench.check(clients).await;
    }
}
