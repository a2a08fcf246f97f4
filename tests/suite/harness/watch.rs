//! A toll that notes every call of a broker's ports, and holds up the one that a test wants.

use std::sync::Mutex;

use async_trait::async_trait;
use keyward::broker::ports::PortResult;
use tokio::sync::Notify;

use super::tolls::Toll;

/// Where a call is held up: before it is done, or before its answer is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// Notes every call, and holds up one.
#[derive(Default)]
pub struct Watch {
    calls: Mutex<Vec<&'static str>>,
    held: Mutex<Option<(&'static str, Moment)>>,
    /// The call that is held is made, and waits.
    pub reached: Notify,
    /// Lets it go on.
    pub release: Notify,
}

impl Watch {
    pub fn hold(&self, call: &'static str, moment: Moment) {
        *self.held.lock().expect("alone") = Some((call, moment));
    }

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

    async fn pass(&self, call: &'static str, moment: Moment) {
        let is_held = self.held.lock().expect("alone").take_if(|held| *held == (call, moment)).is_some();
        if is_held {
            self.reached.notify_one();
            self.release.notified().await;
        }
    }
}

#[async_trait]
impl Toll for Watch {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        self.calls.lock().expect("alone").push(call);
        self.pass(call, Moment::Before).await;
        Ok(())
    }

    async fn after(&self, call: &'static str) -> PortResult<()> {
        self.pass(call, Moment::After).await;
        Ok(())
    }
}
