//! Backends that go down when a test says so, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{Fault, Peer, PortError, PortResult};

use super::tolls::{Toll, tolled};

/// What such a backend says for its log; no caller may ever read it.
pub const INNER_DETAIL: &str = "connection reset by peer 10.1.2.3";

/// The switch of a backend.
#[derive(Clone, Default)]
pub struct Outage(Arc<AtomicBool>);

impl Outage {
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// These ports, with user pools that do not answer during the outage.
    pub fn of_user_pools(&self, ports: Ports) -> Ports {
        let broken = Broken { outage: self.clone(), peer: Peer::UserPools, is_hit: |_| true };
        Ports { user_pools: tolled(ports.clone(), Arc::new(broken)).user_pools, ..ports }
    }

    /// These ports, with a registry that does not answer during the outage.
    pub fn of_registry(&self, ports: Ports) -> Ports {
        let broken = Broken { outage: self.clone(), peer: Peer::Registry, is_hit: |_| true };
        Ports { registry: tolled(ports.clone(), Arc::new(broken)).registry, ..ports }
    }

    /// These ports, with a registry that takes no changes during the outage.
    pub fn of_changes(&self, ports: Ports) -> Ports {
        let broken = Broken { outage: self.clone(), peer: Peer::Registry, is_hit: |call| call == "commit" };
        Ports { registry: tolled(ports.clone(), Arc::new(broken)).registry, ..ports }
    }
}

struct Broken {
    outage: Outage,
    peer: Peer,
    is_hit: fn(&str) -> bool,
}

#[async_trait]
impl Toll for Broken {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if self.outage.0.load(Ordering::SeqCst) && (self.is_hit)(call) {
            return Err(PortError::new(self.peer, Fault::Unavailable, "reach the backend", INNER_DETAIL));
        }
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }
}
