//! `UserPools` on Cognito: who does what. Every method is in the file of its topic.

use std::sync::Arc;

use async_trait::async_trait;

use super::calls::Calls;
use super::faults::Asking;
use super::names::{Names, Need};
use super::regions::Regions;
use super::{Messages, TokenSource};
use crate::broker::ports::{
    AppClientSeen, AppClientSpec, DomainSet, FoundPool, InteractiveSeen, InteractiveSpec, NewAppClient, Peer, PortPage,
    PortResult, ProviderDrift, ProviderSpec, Unmet, UserPools,
};
use crate::domain::id::{AppClientId, PoolId, SecretId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::scope::{Identifier, ResourceServer};
use crate::domain::secret::ClientSecret;
use crate::domain::tenant::{HostedDomain, UserPoolSettings};

/// Entries of a page, as many as Cognito gives (`MaxResults`).
pub(super) const PAGE: i32 = 60;

pub(super) struct Cognito {
    pub regions: Arc<Regions>,
    pub calls: Arc<Calls>,
    pub names: Arc<Names>,
    pub token_source: TokenSource,
    pub messages: Messages,
}

impl Cognito {
    pub fn need(&self) -> Need {
        match self.token_source {
            TokenSource::TokenEndpoint => Need::Domain,
            TokenSource::GetClientToken => Need::NoDomain,
        }
    }
}

pub(super) const fn asking(doing: &'static str) -> Asking {
    Asking { peer: Peer::UserPools, doing }
}

#[async_trait]
impl UserPools for Cognito {
    async fn ensure_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.ensure(id, settings).await
    }

    async fn make_pool(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.make(id, settings).await
    }

    async fn find_pool(&self, id: &PoolId, region: &str) -> PortResult<Option<FoundPool>> {
        self.look_for(id, region).await
    }

    async fn describe_pool(&self, user_pool: &UserPoolId, region: &str) -> PortResult<Option<MadePool>> {
        self.describe(user_pool, region).await
    }

    async fn pool_settings(&self, pool: &MadePool) -> PortResult<Option<UserPoolSettings>> {
        self.settings(pool).await
    }

    async fn list_pools(&self, after: Option<&str>) -> PortResult<PortPage<PoolId>> {
        self.list(after).await
    }

    async fn check_settings(&self, settings: &UserPoolSettings, pool: Option<&MadePool>) -> PortResult<Option<Unmet>> {
        self.check(settings, pool).await
    }

    async fn set_domain(&self, id: &PoolId, pool: &MadePool, wanted: Option<&HostedDomain>) -> PortResult<DomainSet> {
        self.step_to_domain(id, pool, wanted).await
    }

    async fn update_pool(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()> {
        self.update(pool, settings).await
    }

    async fn delete_pool(&self, id: &PoolId, region: &str, known: Option<&MadePool>) -> PortResult<()> {
        self.delete(id, region, known).await
    }

    async fn create_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.create_server(pool, server).await
    }

    async fn put_resource_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        self.put_server(pool, server).await
    }

    async fn list_resource_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>> {
        self.list_servers(pool).await
    }

    async fn delete_resource_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()> {
        self.delete_server(pool, identifier).await
    }

    async fn create_app_client(
        &self,
        pool: &MadePool,
        spec: &AppClientSpec,
        secret: &ClientSecret,
    ) -> PortResult<NewAppClient> {
        self.create_client(pool, spec, secret).await
    }

    async fn took_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<bool> {
        self.client_took(pool, client, secret).await
    }

    async fn find_app_client(&self, pool: &MadePool, marker: &str) -> PortResult<Option<AppClientId>> {
        self.find_client(pool, marker).await
    }

    async fn describe_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Option<AppClientSeen>> {
        self.describe_client(pool, client).await
    }

    async fn list_app_clients(
        &self,
        pool: &MadePool,
        after: Option<&str>,
    ) -> PortResult<PortPage<(AppClientId, String)>> {
        self.list_clients(asking("list app clients"), pool, after).await
    }

    async fn update_app_client(&self, pool: &MadePool, client: &AppClientId, spec: &AppClientSpec) -> PortResult<()> {
        self.update_client(pool, client, spec).await
    }

    async fn create_interactive_client(&self, pool: &MadePool, spec: &InteractiveSpec) -> PortResult<AppClientId> {
        self.create_interactive(pool, spec).await
    }

    async fn describe_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
    ) -> PortResult<Option<InteractiveSeen>> {
        self.describe_interactive(pool, client).await
    }

    async fn update_interactive_client(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        spec: &InteractiveSpec,
    ) -> PortResult<()> {
        self.update_interactive(pool, client, spec).await
    }

    async fn delete_app_client(&self, pool: &MadePool, client: &AppClientId) -> PortResult<()> {
        self.delete_client(asking("delete an app client"), pool, client).await
    }

    async fn put_identity_provider(&self, pool: &MadePool, spec: &ProviderSpec) -> PortResult<()> {
        self.put_provider(pool, spec).await
    }

    async fn compare_identity_provider(
        &self,
        pool: &MadePool,
        spec: &ProviderSpec,
    ) -> PortResult<Option<ProviderDrift>> {
        self.compare_provider(pool, spec).await
    }

    async fn list_identity_providers(&self, pool: &MadePool, after: Option<&str>) -> PortResult<PortPage<String>> {
        self.list_providers(pool, after).await
    }

    async fn delete_identity_provider(&self, pool: &MadePool, name: &str) -> PortResult<()> {
        self.delete_provider(pool, name).await
    }

    async fn add_secret(&self, pool: &MadePool, client: &AppClientId, secret: &ClientSecret) -> PortResult<SecretId> {
        self.add_client_secret(pool, client, secret).await
    }

    async fn list_secrets(&self, pool: &MadePool, client: &AppClientId) -> PortResult<Vec<SecretId>> {
        self.client_secrets(asking("list client secrets"), pool, client).await
    }

    async fn delete_secret(&self, pool: &MadePool, client: &AppClientId, secret: &SecretId) -> PortResult<()> {
        self.delete_client_secret(pool, client, secret).await
    }
}
