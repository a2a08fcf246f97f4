//! What permission asks of the broker: labels from memory, when they may have changed, and what time it is.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::records::shelves::client_key;
use super::records::{Versioned, Viewed};
use super::{Basis, Broker};
use crate::domain::caller::{Caller, Known, Labelled, Named, Target};
use crate::domain::client::Client;
use crate::domain::error::Result;
use crate::domain::id::{ClientName, TenantId};
use crate::domain::tenant::{Labels, Tenant};

impl<T: Labelled> Labelled for Versioned<T> {
    fn labels(&self) -> &Labels {
        self.value.labels()
    }
}

impl Broker {
    /// The labels of the target, and those of the tenant and client that the caller is, from memory where possible. What
    /// does not exist has none.
    pub async fn known(&self, caller: &Caller, target: &Target, basis: &mut Basis) -> Result<Known> {
        let own = match (&caller.tenant, &caller.client) {
            (None, _) => Target::Platform,
            (Some(tenant), None) => Target::Tenant(tenant.clone()),
            (Some(tenant), Some(client)) => Target::Client(ClientName::new(tenant.clone(), client.clone())),
        };
        Ok(Known { of_target: self.named(target, basis).await?, of_caller: self.named(&own, basis).await? })
    }

    async fn named(&self, target: &Target, basis: &mut Basis) -> Result<Named> {
        Ok(match target {
            Target::Platform => Named::default(),
            Target::Tenant(tenant) => {
                Named { tenant: self.labelled::<Tenant>(tenant.as_str(), basis).await?, client: None }
            }
            Target::Client(client) => Named {
                tenant: self.labelled::<Tenant>(client.tenant.as_str(), basis).await?,
                client: self.labelled::<Client>(&client_key(client), basis).await?,
            },
        })
    }

    async fn labelled<T: Viewed + Labelled>(&self, key: &str, basis: &mut Basis) -> Result<Option<Arc<dyn Labelled>>> {
        let seen = self.world.records.view_for::<T>(key, basis).await?;
        Ok(seen.map(|record| record as Arc<dyn Labelled>))
    }

    /// Whether an answer may be given again.
    pub fn stands(&self, basis: &Basis, now: Timestamp) -> bool {
        self.world.stands(basis, now)
    }

    /// Changes whenever the tenant or one of its clients does, and their labels with them.
    pub fn watch_tenant(&self, tenant: &TenantId) -> watch::Receiver<()> {
        self.world.records.watch_tenant(tenant)
    }

    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// Returns once it is `time` or later.
    pub async fn sleep_until(&self, time: Timestamp) {
        self.world.clock.sleep_until(time).await;
    }
}
