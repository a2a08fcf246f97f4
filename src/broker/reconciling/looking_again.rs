//! The look after a mend. What is mended is written as the records were when it was compared. Another broker may have changed
//! them since, brought that up and struck its journal out; then what is written last is the older. So whoever has written
//! looks once more, and has the newer brought up again where there is one: by the journal that does so for every change, which
//! finds out by itself when it is overtaken. Resource servers have that of [`Pools`](crate::broker::pools::Pools).
//!
//! It must follow every such write, also one that failed: nobody knows whether that was done.

use super::{Pass, Reconciling, is_settled};
use crate::broker::records::shelves::client_key;
use crate::broker::records::{Change, Versioned, settle};
use crate::domain::client::{Client, ClientState};
use crate::domain::error::Result;
use crate::domain::id::{PoolId, TenantId};
use crate::domain::journal::Task;
use crate::domain::tenant::{Tenant, UserPoolSettings};

impl Reconciling {
    /// An app client was written as `client` says, and where people sign in with it as `tenant` does.
    pub(super) async fn look_at_client(
        &self,
        pass: &Pass,
        client: &Versioned<Client>,
        tenant: Option<&Versioned<Tenant>>,
    ) -> Result<()> {
        let now: Option<Versioned<Client>> = self.world.records.get(&client_key(&client.name)).await?;
        let Some(now) = now.filter(|now| now.state == ClientState::Active) else { return Ok(()) };
        let mut is_as_written = now.version == client.version;
        if let Some(tenant) = tenant {
            let now: Option<Versioned<Tenant>> = self.world.records.get(tenant.id.as_str()).await?;
            is_as_written &= now.is_some_and(|now| now.version == tenant.version);
        }
        match is_as_written {
            true => Ok(()),
            false => self.bring_up_again(pass, Task::ApplyClient(client.name.clone())).await,
        }
    }

    /// The settings of a tenant's own pool were written.
    pub(super) async fn look_at_pool(
        &self,
        pass: &Pass,
        pool: &PoolId,
        tenant: &TenantId,
        written: &UserPoolSettings,
    ) -> Result<()> {
        let now: Option<Versioned<Tenant>> = self.world.records.get(tenant.as_str()).await?;
        let now = now.filter(|now| is_settled(now) && now.pool == *pool);
        match now.and_then(|now| now.value.user_pool).is_some_and(|now| now != *written) {
            true => self.bring_up_again(pass, Task::ApplyUserPool(tenant.clone())).await,
            false => Ok(()),
        }
    }

    /// What was written may be older than what the task brings up.
    pub(super) async fn bring_up_again(&self, pass: &Pass, task: Task) -> Result<()> {
        settle(|| async {
            let change = self.world.with_journal(Change::housekeeping(), task.clone(), &pass.call).await?;
            self.world.records.commit(change).await
        })
        .await
    }
}
