//! Resource servers of a pool.

use aws_sdk_cognitoidentityprovider::types::ResourceServerScopeType;

use super::cognito::{Cognito, asking};
use super::faults::{Asking, if_there};
use super::regions::Region;
use crate::broker::ports::{Fault, PortResult};
use crate::domain::pool::MadePool;
use crate::domain::scope::{Identifier, ResourceServer};

const PUTTING: Asking = asking("put a resource server");
/// Entries of a page, as many as Cognito gives (`ListResourceServersLimitType`).
const PAGE: i32 = 50;

impl Cognito {
    /// Updates, and creates where there is nothing to update. Of two who create, the second is refused, and updates
    /// when its task is carried on.
    pub(super) async fn put_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        match if_there(self.update_server(pool, server).await)? {
            Some(()) => Ok(()),
            None => self.add_server(pool, server).await,
        }
    }

    /// Creates, and updates where that is refused: both count as updates, so in a new pool trying the other first would
    /// take twice as much of the account's quota.
    pub(super) async fn create_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        match self.add_server(pool, server).await {
            Err(refused) if refused.is(Fault::Refused) => {
                if_there(self.update_server(pool, server).await)?.ok_or(refused)
            }
            outcome => outcome,
        }
    }

    async fn update_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        let (region, scopes) = self.described(pool, server)?;
        let update = region
            .cognito
            .update_resource_server()
            .user_pool_id(pool.user_pool.as_str())
            .identifier(server.identifier.as_str())
            .name(&server.display_name)
            .set_scopes(Some(scopes));
        self.calls.make(PUTTING, &region.name, Some(&pool.user_pool), update.send()).await?;
        Ok(())
    }

    async fn add_server(&self, pool: &MadePool, server: &ResourceServer) -> PortResult<()> {
        let (region, scopes) = self.described(pool, server)?;
        let create = region
            .cognito
            .create_resource_server()
            .user_pool_id(pool.user_pool.as_str())
            .identifier(server.identifier.as_str())
            .name(&server.display_name)
            .set_scopes(Some(scopes));
        self.calls.make(PUTTING, &region.name, Some(&pool.user_pool), create.send()).await?;
        Ok(())
    }

    fn described(
        &self,
        pool: &MadePool,
        server: &ResourceServer,
    ) -> PortResult<(&Region, Vec<ResourceServerScopeType>)> {
        server.check().map_err(|error| PUTTING.error(Fault::Refused, error.message()))?;
        Ok((self.regions.get(PUTTING, &pool.region)?, scopes_of(PUTTING, server)?))
    }

    pub(super) async fn list_servers(&self, pool: &MadePool) -> PortResult<Vec<Identifier>> {
        let asking = asking("list resource servers");
        let region = self.regions.get(asking, &pool.region)?;
        let (mut identifiers, mut token) = (Vec::new(), None);
        loop {
            let request = region.cognito.list_resource_servers().user_pool_id(pool.user_pool.as_str());
            let request = request.max_results(PAGE).set_next_token(token);
            let page = self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await?;
            for server in page.resource_servers() {
                let identifier = Identifier::parse("identifier", server.identifier().unwrap_or_default());
                identifiers.push(identifier.map_err(|error| asking.error(Fault::Unavailable, error.message()))?);
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(identifiers);
            }
        }
    }

    pub(super) async fn delete_server(&self, pool: &MadePool, identifier: &Identifier) -> PortResult<()> {
        let asking = asking("delete a resource server");
        let region = self.regions.get(asking, &pool.region)?;
        let request = region.cognito.delete_resource_server();
        let request = request.user_pool_id(pool.user_pool.as_str()).identifier(identifier.as_str());
        if_there(self.calls.make(asking, &region.name, Some(&pool.user_pool), request.send()).await)?;
        Ok(())
    }
}

fn scopes_of(asking: Asking, server: &ResourceServer) -> PortResult<Vec<ResourceServerScopeType>> {
    let scope = |scope: &crate::domain::scope::ScopeDefinition| {
        ResourceServerScopeType::builder()
            .scope_name(&scope.scope_name)
            .scope_description(&scope.description)
            .build()
            .map_err(|error| asking.error(Fault::Refused, error))
    };
    server.scopes.iter().map(scope).collect()
}
