//! What bears the broker's mark and is nobody's: app clients, secrets, pools. As a rule a crash leaves none, since all is
//! written down before it is made; a registry that was restored from an older copy leaves some.
//!
//! A deletion cannot be taken back, so each suspicion is looked into twice: whether it is still there, and once more,
//! under the lock of whoever it could belong to, whether it is somebody's.

use super::{Pass, Reconciling, or_none};
use crate::broker::ports::FoundPool;
use crate::broker::records::Versioned;
use crate::broker::records::shelves::{client_key, owner_key};
use crate::domain::client::{Client, ClientState, Marked, Owner};
use crate::domain::drift::{Drift, DriftKind};
use crate::domain::error::Result;
use crate::domain::id::{AppClientId, ClientName, PoolId, SecretName};
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::{MadePool, Pool};
use crate::domain::tenant::Tenant;

impl Reconciling {
    /// An app client with a name of Keyward's that nobody stands for.
    pub(super) async fn orphan(
        &self,
        pass: &Pass,
        made: &MadePool,
        id: &AppClientId,
        name: &str,
    ) -> Result<Vec<Drift>> {
        let Some(marked) = Marked::read(name) else { return Ok(Vec::new()) };
        if pass.tenant.as_ref().is_some_and(|tenant| *tenant != marked.tenant) {
            return Ok(Vec::new());
        }
        let Some(resource) = self.nobodys(made, id, &marked).await? else { return Ok(Vec::new()) };
        let known = self.world.marked(&marked).await?;
        let _client = match &known {
            Some(client) => Some(self.world.targets.lock(client.name.to_string()).await),
            None => None,
        };
        // The page may be older than a deletion, and a rotation may have ended while its lock was waited for.
        if or_none(self.world.user_pools.describe_app_client(made, id).await)?.is_none()
            || self.nobodys(made, id, &marked).await?.is_none()
        {
            return Ok(Vec::new());
        }
        let detail = "an app client that Keyward named and that no client stands for";
        let mut drift = Drift::new(DriftKind::Orphan, &resource, id, detail);
        if pass.mend {
            self.note(pass, "keyward.reconcile/delete-app-client", &resource, id.as_str()).await?;
            let deleted = self.world.user_pools.delete_app_client(made, id).await;
            drift.mended = self.tried("an orphaned app client", deleted);
        }
        Ok(vec![drift])
    }

    /// The nearest resource to an app client that is nobody's: its client, its tenant, or none. `None` if it is
    /// somebody's.
    async fn nobodys(&self, made: &MadePool, id: &AppClientId, marked: &Marked) -> Result<Option<String>> {
        let owner: Option<Versioned<Owner>> = self.world.records.get(&owner_key(&made.issuer, id)).await?;
        if owner.is_some_and(|owner| owner.purge_time.is_none()) {
            return Ok(None);
        }
        let Some(client) = self.world.marked(marked).await? else {
            let tenant: Option<Versioned<Tenant>> = self.world.records.get(marked.tenant.as_str()).await?;
            return Ok(Some(tenant.map(|tenant| tenant.id.name()).unwrap_or_default()));
        };
        let rotating = Task::RotateSecret(client.name.clone()).to_string();
        let is_somebodys = client.state != ClientState::Active
            || client.app_client.as_ref() == Some(id)
            || self.world.records.get::<Journal>(&rotating).await?.is_some();
        Ok((!is_somebodys).then(|| client.name.to_string()))
    }

    /// A secret under the broker's prefix that belongs to no client.
    pub(super) async fn orphaned_secret(&self, pass: &Pass, secret: &SecretName) -> Result<Vec<Drift>> {
        let inner = secret.as_str().strip_prefix(&format!("{}/", self.world.settings.secret_prefix));
        // What follows is the Region in which it is.
        let inner = inner.map(|inner| inner.split_once('@').map_or(inner, |(name, _)| name));
        let Some(name) = inner.and_then(|name| ClientName::parse("name", name).ok()) else {
            return Ok(self.orphaned_provider_secret(pass, secret).await?.into_iter().collect());
        };
        if self.is_of(secret, &name).await? {
            return Ok(Vec::new());
        }
        // An import writes the secret before the client, and holds the lock for as long.
        let _client = self.world.targets.lock(name.to_string()).await;
        if self.world.vault.labels(secret).await?.is_none() || self.is_of(secret, &name).await? {
            return Ok(Vec::new());
        }
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(name.tenant.as_str()).await?;
        let drift = self.nobodys_secret(pass, secret, tenant.as_deref(), "client").await?;
        // Another broker may have made a client of that name meanwhile.
        if pass.mend && self.is_of(secret, &name).await? {
            self.world.vault.restore(secret).await?;
        }
        Ok(vec![drift])
    }

    async fn is_of(&self, secret: &SecretName, name: &ClientName) -> Result<bool> {
        let client: Option<Versioned<Client>> = self.world.records.get(&client_key(name)).await?;
        Ok(client.is_some_and(|client| client.secret_name == *secret))
    }

    /// A secret that belongs to no `owner`, such as a client. It is scheduled for deletion, so it can be had back for a while.
    pub(super) async fn nobodys_secret(
        &self,
        pass: &Pass,
        secret: &SecretName,
        tenant: Option<&Tenant>,
        owner: &str,
    ) -> Result<Drift> {
        let resource = tenant.map(|tenant| tenant.id.name()).unwrap_or_default();
        let detail = format!("a secret under the broker's prefix that belongs to no {owner}");
        let mut drift = Drift::new(DriftKind::Orphan, &resource, secret, detail);
        if pass.mend {
            self.note(pass, "keyward.reconcile/schedule-deletion", &resource, secret.as_str()).await?;
            let window = self.world.settings.rotation.recovery_window;
            let scheduled = self.world.vault.schedule_deletion(secret, window).await;
            drift.mended = self.tried("an orphaned secret", scheduled);
        }
        Ok(drift)
    }

    /// A pool with the broker's mark that the registry does not know. Only an empty one is deleted: one with app clients or
    /// people's accounts is not what a crash leaves behind.
    pub(super) async fn orphaned_pool(&self, pass: &Pass, id: &PoolId) -> Result<Vec<Drift>> {
        let is_ours = ["shared-", "tenant-"].iter().any(|kind| id.as_str().starts_with(kind));
        // It is deleted before its record is, so the page may be older than that.
        if !is_ours || self.world.records.get::<Pool>(id.as_str()).await?.is_some() || !self.is_listed(id).await? {
            return Ok(Vec::new());
        }
        let detail =
            "a user pool with the broker's mark that the registry does not know; deleted only when nothing is in it";
        let mut drift = Drift::new(DriftKind::Orphan, "", id, detail);
        if pass.mend {
            self.note(pass, "keyward.reconcile/delete-pool", id.name(), "").await?;
            drift.mended = match self.delete_if_empty(id).await {
                Ok(()) => !self.is_listed(id).await?,
                Err(error) => {
                    tracing::warn!(pool = %id, %error, cause = error.internal_detail(), "an orphaned pool is left");
                    false
                }
            };
        }
        Ok(vec![drift])
    }

    /// Nothing else is done to it: one that is kept stays as it is. In which Region it is, its id does not say.
    async fn delete_if_empty(&self, id: &PoolId) -> Result<()> {
        for region in &self.world.settings.regions {
            let Some(FoundPool { made, users, .. }) = self.world.user_pools.find_pool(id, region).await? else {
                continue;
            };
            if users == 0 && self.world.user_pools.list_app_clients(&made, None).await?.items.is_empty() {
                self.world.user_pools.delete_pool(id, region, Some(&made)).await?;
            }
        }
        Ok(())
    }

    async fn is_listed(&self, id: &PoolId) -> Result<bool> {
        let mut after: Option<String> = None;
        loop {
            let page = self.world.user_pools.list_pools(after.as_deref()).await?;
            if page.items.contains(id) {
                return Ok(true);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
    }
}
