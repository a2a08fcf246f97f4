//! `CatalogService`: resource servers, scopes and pools.

use tonic::{Request, Response, Status};

use super::decode::page::page;
use super::decode::{catalog, etag};
use super::{Service, encode};
use crate::domain::scope::Identifier;
use crate::proto::catalog_service_server::CatalogService;
use crate::proto::{
    DeleteResourceServerRequest, ListPoolsRequest, ListPoolsResponse, ListResourceServersRequest,
    ListResourceServersResponse, PutResourceServerRequest, ResourceServer,
};

#[tonic::async_trait]
impl CatalogService for Service {
    async fn put_resource_server(
        &self,
        request: Request<PutResourceServerRequest>,
    ) -> Result<Response<ResourceServer>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let (new, version) = catalog::new(message.resource_server)?;
                let stored = front.broker.catalog.put(&call, new, version, message.validate_only).await;
                stored.map(encode::resource_server)
            })
            .await
    }

    async fn list_resource_servers(
        &self,
        request: Request<ListResourceServersRequest>,
    ) -> Result<Response<ListResourceServersResponse>, Status> {
        self.0
            .answer(request, |front, _, mut message| async move {
                let (page, query) = page(&mut message)?;
                let listing = front.broker.catalog.list(page).await?;
                Ok(ListResourceServersResponse {
                    resource_servers: listing.items.into_iter().map(encode::resource_server).collect(),
                    next_page_token: query.token(listing.next),
                })
            })
            .await
    }

    async fn delete_resource_server(
        &self,
        request: Request<DeleteResourceServerRequest>,
    ) -> Result<Response<()>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let identifier = Identifier::from_name("name", &message.name)?;
                let version = etag(identifier.name(), &message.etag)?;
                front.broker.catalog.delete(&call, &identifier, version).await
            })
            .await
    }

    async fn list_pools(&self, request: Request<ListPoolsRequest>) -> Result<Response<ListPoolsResponse>, Status> {
        self.0
            .answer(request, |front, _, mut message| async move {
                let (page, query) = page(&mut message)?;
                let filter = catalog::pool_filter(&message)?;
                let listing = front.broker.catalog.list_pools(filter, page).await?;
                Ok(ListPoolsResponse {
                    pools: listing.pools.items.into_iter().map(encode::pool).collect(),
                    next_page_token: query.token(listing.pools.next),
                    quotas: encode::quotas(listing.quotas),
                })
            })
            .await
    }
}
