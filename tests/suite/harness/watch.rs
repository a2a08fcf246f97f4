//! A toll that notes every call of a broker's ports, and holds up the one that a test wants.

use std::sync::Mutex;

use async_trait::async_trait;
use keyward::broker::ports::PortResult;

use super::stops::Stop;
use super::tolls::Toll;

/// Notes every call, and holds up one.
#[derive(Default)]
pub struct Watch {
    calls: Mutex<Vec<&'static str>>,
    pub stop: Stop,
}

impl Watch {
    pub fn forget(&self) {
        self.calls.lock().expect("alone").clear();
    }

    pub fn count(&self, call: &str) -> usize {
        self.calls.lock().expect("alone").iter().filter(|made| **made == call).count()
    }

    /// Calls that change something at Cognito or in the vault.
    pub fn changes(&self) -> Vec<&'static str> {
        const CHANGING: &[&str] = &[
            "ensure_pool",
            "update_pool",
            "set_domain",
            "put_resource_server",
            "create_app_client",
            "update_app_client",
            "delete_app_client",
            "add_secret",
            "delete_secret",
            "stage",
            "put",
            "promote",
            "clear",
            "schedule_deletion",
        ];
        let calls = self.calls.lock().expect("alone");
        calls.iter().filter(|call| CHANGING.contains(*call)).copied().collect()
    }
}

#[async_trait]
impl Toll for Watch {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        self.calls.lock().expect("alone").push(call);
        self.stop.before(call).await
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        self.stop.after(call).await
    }
}
