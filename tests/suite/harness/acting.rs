//! Daemons to which everybody is one caller, whoever that is.

use keyward::callers::Callers;
use keyward::daemon;
use keyward::domain::caller::{Caller, Principal};
use keyward::domain::id::{ClientId, TenantId};
use keyward::runtime::shutdown::Drained;

use super::{Daemon, connect};

impl Daemon {
    /// Stops it and starts another one on the same folder, to which everybody is this caller.
    pub async fn restart_as(self, caller: Caller) -> Self {
        let Daemon { running, channel, clock, config, folder, reach } = self;
        drop(channel);
        assert_eq!(running.stop().await, Drained::Clean, "the daemon leaves something running");
        let callers = Callers::everybody_is(caller);
        let running = daemon::start_for(config.clone(), clock.clone(), Some(callers), |ports| ports).await;
        let running = running.expect("the daemon starts");
        let channel = connect(&running.local_addr().to_string()).await;
        Daemon { running, channel, clock, config, folder, reach }
    }
}

/// A workload of this tenant, and of this one client where one is given.
pub fn of_tenant(tenant: &str, client: Option<&str>) -> Caller {
    Caller {
        tenant: Some(TenantId::parse("tenant", tenant).expect("an id")),
        client: client.map(|client| ClientId::parse("client", client).expect("an id")),
        ..Caller::of(Principal::Spiffe(format!("spiffe://example.org/{tenant}").into()))
    }
}
