//! `TenantService`: onboarding and offboarding.

use tonic::{Request, Response, Status};

use super::decode::authorizer::Export;
use super::decode::page::page;
use super::decode::{self, etag, reason, tenant};
use super::{Service, encode, pinned};
use crate::domain::id::TenantId;
use crate::proto::tenant_service_server::TenantService;
use crate::proto::{
    CreateTenantRequest, DeleteTenantRequest, ExportAuthorizerRequest, ExportAuthorizerResponse, GetTenantRequest,
    ListTenantsRequest, ListTenantsResponse, MatchTenantRequest, MatchTenantResponse, MoveTenantRequest,
    ReconcileTenantRequest, ReconcileTenantResponse, ResumeTenantRequest, SuspendTenantRequest, Tenant,
    UpdateTenantRequest,
};

#[tonic::async_trait]
impl TenantService for Service {
    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Result<Response<Tenant>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let validate_only = message.validate_only;
                let new = tenant::new(message)?;
                front.broker.tenants.create(&call, new, validate_only).await.map(encode::tenant)
            })
            .await
    }

    async fn get_tenant(&self, request: Request<GetTenantRequest>) -> Result<Response<Tenant>, Status> {
        self.0
            .answer(request, |front, _, message| async move {
                let id = TenantId::from_name("name", &message.name)?;
                front.broker.tenants.get(&id).await.map(encode::tenant)
            })
            .await
    }

    async fn list_tenants(
        &self,
        request: Request<ListTenantsRequest>,
    ) -> Result<Response<ListTenantsResponse>, Status> {
        self.0
            .answer(request, |front, _, mut message| async move {
                let (page, query) = page(&mut message)?;
                let state = decode::tenant::state(message.state)?;
                let listing = front.broker.tenants.list(state, page).await?;
                Ok(ListTenantsResponse {
                    tenants: listing.items.into_iter().map(encode::tenant).collect(),
                    next_page_token: query.token(listing.next),
                })
            })
            .await
    }

    async fn update_tenant(&self, request: Request<UpdateTenantRequest>) -> Result<Response<Tenant>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let validate_only = message.validate_only;
                let update = tenant::Update::read(message)?;
                let tenants = &front.broker.tenants;
                if !update.needs_current() {
                    let (patch, version) = (update.against(None)?, update.version);
                    return tenants.update(&call, &update.id, patch, version, validate_only).await.map(encode::tenant);
                }
                let current = tenants.get(&update.id).await?;
                let patch = update.against(Some(&current))?;
                let version = Some(update.version.unwrap_or(current.version));
                let updated = tenants.update(&call, &update.id, patch, version, validate_only).await;
                updated.map(encode::tenant).map_err(|error| pinned(error, update.version))
            })
            .await
    }

    async fn delete_tenant(&self, request: Request<DeleteTenantRequest>) -> Result<Response<()>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let id = TenantId::from_name("name", &message.name)?;
                let version = etag(id.name(), &message.etag)?;
                front.broker.tenants.delete(&call, &id, version, message.validate_only).await
            })
            .await
    }

    async fn suspend_tenant(&self, request: Request<SuspendTenantRequest>) -> Result<Response<Tenant>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let id = TenantId::from_name("name", &message.name)?;
                reason(&message.reason)?;
                front.broker.tenants.suspend(&call, &id, &message.reason).await.map(encode::tenant)
            })
            .await
    }

    async fn resume_tenant(&self, request: Request<ResumeTenantRequest>) -> Result<Response<Tenant>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let id = TenantId::from_name("name", &message.name)?;
                front.broker.tenants.resume(&call, &id).await.map(encode::tenant)
            })
            .await
    }

    async fn move_tenant(&self, request: Request<MoveTenantRequest>) -> Result<Response<Tenant>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let validate_only = message.validate_only;
                let (id, new, version) = tenant::new_move(message)?;
                front.broker.tenants.move_to(&call, &id, &new, version, validate_only).await.map(encode::tenant)
            })
            .await
    }

    async fn reconcile_tenant(
        &self,
        request: Request<ReconcileTenantRequest>,
    ) -> Result<Response<ReconcileTenantResponse>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let tenant = decode::one_or_all("name", &message.name)?;
                front.broker.reconciling.reconcile(&call, tenant, message.mend).await.map(encode::reconciled)
            })
            .await
    }

    async fn match_tenant(
        &self,
        request: Request<MatchTenantRequest>,
    ) -> Result<Response<MatchTenantResponse>, Status> {
        self.0.not_offered(request).await
    }

    async fn export_authorizer(
        &self,
        request: Request<ExportAuthorizerRequest>,
    ) -> Result<Response<ExportAuthorizerResponse>, Status> {
        self.0
            .answer(request, |front, _, message| async move {
                let Export { tenant, format, routes } = decode::authorizer::export(&message)?;
                let pools = front.broker.exporting.export(tenant.as_ref(), format, &routes).await?;
                encode::authorizer(tenant.as_ref(), format, &pools, &routes)
            })
            .await
    }
}
