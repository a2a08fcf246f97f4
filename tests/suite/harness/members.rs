//! The memberships of brokers in memory, as a table keeps them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use keyward::broker::ports::{self, ChangeFeed, Fault, LoggedChange, Peer, PortError, PortResult};
use keyward::domain::id::BrokerId;
use keyward::domain::share::Member;

/// What one broker sees of it. Clones are of the same table, each to be cut off by itself.
#[derive(Default)]
pub struct Members {
    table: Arc<Mutex<BTreeMap<BrokerId, Member>>>,
    is_cut_off: AtomicBool,
}

impl Members {
    pub fn another(&self) -> Arc<Members> {
        Arc::new(Members { table: self.table.clone(), is_cut_off: AtomicBool::new(false) })
    }

    /// From now on nothing is answered.
    pub fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::SeqCst);
    }

    pub fn count(&self) -> usize {
        self.table.lock().expect("no test panics under it").len()
    }

    fn reach(&self) -> PortResult<MutexGuard<'_, BTreeMap<BrokerId, Member>>> {
        match self.is_cut_off.load(Ordering::SeqCst) {
            true => Err(PortError::new(Peer::Registry, Fault::Unavailable, "members", "cut off")),
            false => Ok(self.table.lock().expect("no test panics under it")),
        }
    }
}

#[async_trait]
impl ports::Members for Members {
    async fn beat(&self, member: &Member) -> PortResult<()> {
        let mut table = self.reach()?;
        if table.get(&member.broker).is_some_and(|stored| stored.expire_time >= member.expire_time) {
            return Err(PortError::new(Peer::Registry, Fault::Conflict, "members", "one that expires later is there"));
        }
        table.insert(member.broker.clone(), member.clone());
        Ok(())
    }

    async fn members(&self) -> PortResult<Vec<Member>> {
        Ok(self.reach()?.values().cloned().collect())
    }

    async fn leave(&self, broker: &BrokerId) -> PortResult<()> {
        self.reach()?.remove(broker);
        Ok(())
    }
}

/// A feed in which nothing ever changes.
pub struct NoFeed;

#[async_trait]
impl ChangeFeed for NoFeed {
    async fn last_change(&self) -> PortResult<u64> {
        Ok(0)
    }

    async fn changes(&self, _after: u64, _limit: usize) -> PortResult<Vec<LoggedChange>> {
        Ok(Vec::new())
    }
}
