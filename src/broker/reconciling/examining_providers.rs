//! Identity providers, as tenants' records have them and as pools do: those that lack or were changed, and those that bear
//! Keyward's mark and are nobody's. The rules are those of [`reconciling`](super).

use std::collections::BTreeMap;

use super::{Pass, Reconciling, is_settled, or_none};
use crate::broker::api::Page;
use crate::broker::records::Versioned;
use crate::domain::drift::{Drift, DriftKind};
use crate::domain::error::Result;
use crate::domain::id::{PoolId, SecretName, TenantId};
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::MadePool;
use crate::domain::provider::{IdentityProvider, ProviderId, ProviderName, ProviderProtocol};
use crate::domain::tenant::Tenant;

/// Tenants of one page.
const TENANTS: usize = 100;

impl Reconciling {
    /// The next tenants that may have providers, and where the page after them begins.
    pub(super) async fn with_providers(
        &self,
        pass: &Pass,
        after: Option<String>,
    ) -> Result<(Vec<TenantId>, Option<String>)> {
        if let Some(id) = &pass.tenant {
            return Ok((vec![id.clone()], None));
        }
        let listing = self.world.records.list::<Tenant>("", &Page { after, size: TENANTS }).await?;
        let with_some = listing.items.iter().filter(|tenant| !tenant.identity_providers.is_empty());
        Ok((with_some.map(|tenant| tenant.id.clone()).collect(), listing.next))
    }

    /// What is nobody's on a page of a pool's providers, and where the next page begins.
    pub(super) async fn providers_of(
        &self,
        pass: &Pass,
        id: &PoolId,
        after: Option<String>,
    ) -> Result<(Vec<Drift>, Option<String>)> {
        let Some(made) = self.pools.made(id).await? else { return Ok((Vec::new(), None)) };
        let page = self.world.user_pools.list_identity_providers(&made, after.as_deref()).await.map(Some);
        let Some(page) = or_none(page)? else { return Ok((Vec::new(), None)) };
        Ok((self.orphaned_providers(pass, &made, &page.items).await?, page.next))
    }

    /// What the tenant's pool lacks or has otherwise, of the tenant's providers.
    pub(super) async fn provider_drifts(&self, pass: &Pass, id: &TenantId) -> Result<Vec<Drift>> {
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        if tenant.is_none_or(|tenant| tenant.identity_providers.is_empty()) {
            return Ok(Vec::new());
        }
        // Nobody brings others to the pool meanwhile.
        let _tenant = self.world.targets.lock(id.name()).await;
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let Some(tenant) = tenant.filter(|tenant| is_settled(tenant)) else { return Ok(Vec::new()) };
        if self.are_applied(id).await? {
            return Ok(Vec::new());
        }
        let Some(made) = self.pools.made(&tenant.pool).await? else { return Ok(Vec::new()) };
        let compared = async {
            let mut drifts = Vec::new();
            for provider in &tenant.identity_providers {
                drifts.extend(self.one_providers(pass, &tenant, &made, provider).await?);
            }
            Ok(drifts)
        };
        let compared: Result<Vec<Drift>> = compared.await;
        // Another broker may have changed them meanwhile.
        let now: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        if now.as_ref().is_some_and(|now| now.version == tenant.version) && !self.are_applied(id).await? {
            return compared;
        }
        // And may have been done before this one mended what it had found.
        let is_mended = pass.mend && compared.as_ref().map_or(true, |drifts| !drifts.is_empty());
        if now.is_some_and(|now| is_mended && is_settled(&now)) {
            self.bring_up_again(pass, Task::ApplyProviders(id.clone())).await?;
        }
        compared.map(|_| Vec::new())
    }

    async fn one_providers(
        &self,
        pass: &Pass,
        tenant: &Tenant,
        made: &MadePool,
        provider: &IdentityProvider,
    ) -> Result<Vec<Drift>> {
        let resource = tenant.id.name();
        let (mut drifts, mut spec) = (Vec::new(), self.providers.spec(tenant, provider).await?);
        if spec.is_none() {
            let secret = self.providers.secret_name(tenant, &provider.id).await?;
            if pass.mend {
                self.note(pass, "keyward.reconcile/restore-secret", &resource, secret.as_str()).await?;
                self.tried("an identity provider's secret", self.world.vault.restore(&secret).await.map(drop));
                spec = self.providers.spec(tenant, provider).await?;
            }
            let detail =
                "the secret of an identity provider is not in the vault; where it cannot be restored, give it again";
            drifts.push(Drift { mended: spec.is_some(), ..Drift::new(DriftKind::Missing, &resource, secret, detail) });
        }
        let Some(spec) = spec else { return Ok(drifts) };
        let seen = or_none(self.world.user_pools.compare_identity_provider(made, &spec).await)?;
        let mut in_pool: Vec<_> = match seen {
            None => {
                let detail = "the user pool lacks this identity provider of the tenant";
                vec![Drift::new(DriftKind::Missing, &resource, &provider.name, detail)]
            }
            Some(differing) => differing
                .into_iter()
                .map(|field| {
                    let detail = "a setting of the identity provider was changed";
                    Drift::new(DriftKind::ChangedSetting, &resource, &provider.name, detail).of_field(field)
                })
                .collect(),
        };
        if pass.mend && !in_pool.is_empty() {
            self.note(pass, "keyward.reconcile/put-identity-provider", &resource, &provider.name).await?;
            let put = self.world.user_pools.put_identity_provider(made, &spec).await;
            let mended = self.tried("an identity provider", put);
            in_pool.iter_mut().for_each(|drift| drift.mended = mended);
        }
        drifts.extend(in_pool);
        Ok(drifts)
    }

    /// Whether a tenant's providers are on their way.
    async fn are_applied(&self, tenant: &TenantId) -> Result<bool> {
        let applying = Task::ApplyProviders(tenant.clone()).to_string();
        Ok(self.world.records.get::<Journal>(&applying).await?.is_some())
    }

    /// Providers of a pool with names of Keyward's that no tenant has.
    async fn orphaned_providers(&self, pass: &Pass, made: &MadePool, names: &[String]) -> Result<Vec<Drift>> {
        let mut marked: BTreeMap<String, Vec<(&String, ProviderName)>> = BTreeMap::new();
        for name in names {
            if let Some(read) = ProviderName::read(name)
                && pass.tenant.as_ref().is_none_or(|tenant| tenant.as_str().starts_with(&read.tenant))
            {
                marked.entry(read.tenant.clone()).or_default().push((name, read));
            }
        }
        let mut drifts = Vec::new();
        for (prefix, names) in marked {
            let owners = self.owners(&prefix, &names).await?;
            for (name, read) in names {
                let owner = owners.get(name);
                if pass.tenant.as_ref().is_some_and(|wanted| owner.is_none_or(|owner| owner != wanted)) {
                    continue;
                }
                drifts.extend(self.orphaned_provider(pass, made, name, &read, owner).await?);
            }
        }
        Ok(drifts)
    }

    /// Whose the names are, of tenants whose ids begin like this. Of a tenant that is no more there is none.
    async fn owners(&self, prefix: &str, names: &[(&String, ProviderName)]) -> Result<BTreeMap<String, TenantId>> {
        let mut owners = BTreeMap::new();
        let mut page = Page { after: None, size: 200 };
        loop {
            let listing = self.world.records.list::<Tenant>(prefix, &page).await?;
            for tenant in &listing.items {
                let theirs = names.iter().filter(|(_, read)| read.is_of(&tenant.id, &tenant.uid));
                owners.extend(theirs.map(|(name, _)| ((*name).clone(), tenant.id.clone())));
            }
            match listing.next {
                Some(next) if owners.len() < names.len() => page.after = Some(next),
                _ => return Ok(owners),
            }
        }
    }

    async fn orphaned_provider(
        &self,
        pass: &Pass,
        made: &MadePool,
        name: &str,
        read: &ProviderName,
        owner: Option<&TenantId>,
    ) -> Result<Option<Drift>> {
        // Whatever of its owner's is on its way is over once the lock is had, or goes on under a journal.
        let _owner = match owner {
            Some(owner) => Some(self.world.targets.lock(owner.name()).await),
            None => None,
        };
        if let Some(owner) = owner {
            let tenant: Option<Versioned<Tenant>> = self.world.records.get(owner.as_str()).await?;
            let is_theirs = |tenant: &Tenant| tenant.identity_providers.iter().any(|provider| provider.name == name);
            let is_coming_or_going = |tenant: &Tenant| !is_settled(tenant) || !read.is_of(&tenant.id, &tenant.uid);
            if tenant.is_some_and(|tenant| is_theirs(&tenant) || is_coming_or_going(&tenant))
                || self.are_applied(owner).await?
            {
                return Ok(None);
            }
        }
        // The page may be older than a deletion.
        if !self.providers.names(made).await?.iter().any(|there| there == name) {
            return Ok(None);
        }
        let resource = owner.map(TenantId::name).unwrap_or_default();
        let detail = "an identity provider that Keyward named and that no tenant has";
        let mut drift = Drift::new(DriftKind::Orphan, &resource, name, detail);
        if pass.mend {
            self.note(pass, "keyward.reconcile/delete-identity-provider", &resource, name).await?;
            let deleted = self.world.user_pools.delete_identity_provider(made, name).await;
            drift.mended = self.tried("an orphaned identity provider", deleted);
        }
        Ok(Some(drift))
    }

    /// A secret where those of identity providers are, that belongs to none.
    pub(super) async fn orphaned_provider_secret(&self, pass: &Pass, secret: &SecretName) -> Result<Option<Drift>> {
        let Some((id, provider)) = self.provider_of(secret) else { return Ok(None) };
        let _tenant = self.world.targets.lock(id.name()).await;
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        let has_it = |tenant: &Tenant| {
            let mut with_secret = tenant.identity_providers.iter();
            with_secret.any(|has| has.id == provider && matches!(has.protocol, ProviderProtocol::Oidc(_)))
        };
        if tenant.as_ref().is_some_and(|tenant| has_it(tenant) || !is_settled(tenant))
            || self.are_applied(&id).await?
            || self.world.vault.labels(secret).await?.is_none()
        {
            return Ok(None);
        }
        let drift = self.nobodys_secret(pass, secret, tenant.as_deref(), "identity provider").await?;
        // Another broker may have put such a provider meanwhile.
        let tenant: Option<Versioned<Tenant>> = self.world.records.get(id.as_str()).await?;
        if pass.mend && tenant.is_some_and(|tenant| has_it(&tenant)) {
            self.world.vault.restore(secret).await?;
        }
        Ok(Some(drift))
    }

    fn provider_of(&self, secret: &SecretName) -> Option<(TenantId, ProviderId)> {
        let inner = secret.as_str().strip_prefix(&format!("{}/tenants/", self.world.settings.secret_prefix))?;
        let (tenant, provider) = inner.split_once("/providers/")?;
        let tenant = TenantId::parse("tenant", tenant).ok()?;
        let (provider, _region) = provider.split_once('@').unwrap_or((provider, ""));
        Some((tenant, ProviderId::parse("provider", provider).ok()?))
    }
}
