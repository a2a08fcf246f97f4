//! Every call that changes something, as a value: so that what holds for all of them is written once.

use keyward::proto;
use keyward::proto::catalog_service_client::CatalogServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub enum Mutation {
    CreateTenant(proto::CreateTenantRequest),
    UpdateTenant(proto::UpdateTenantRequest),
    DeleteTenant(proto::DeleteTenantRequest),
    SuspendTenant(proto::SuspendTenantRequest),
    ResumeTenant(proto::ResumeTenantRequest),
    CreateClient(proto::CreateClientRequest),
    UpdateClient(proto::UpdateClientRequest),
    DeleteClient(proto::DeleteClientRequest),
    RotateClientSecret(proto::RotateClientSecretRequest),
    RevokeTokens(proto::RevokeTokensRequest),
    PutResourceServer(proto::PutResourceServerRequest),
    DeleteResourceServer(proto::DeleteResourceServerRequest),
}

/// What came back, whatever its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Nothing,
    Tenant(proto::Tenant),
    Client(proto::Client),
    Rotation(proto::Rotation),
    Revocation(proto::Revocation),
    /// Without its counts of pools, which go on by themselves.
    ResourceServer(proto::ResourceServer),
}

impl Mutation {
    /// As audit events name it.
    pub fn method(&self) -> &'static str {
        match self {
            Mutation::CreateTenant(_) => "keyward.v1.TenantService/CreateTenant",
            Mutation::UpdateTenant(_) => "keyward.v1.TenantService/UpdateTenant",
            Mutation::DeleteTenant(_) => "keyward.v1.TenantService/DeleteTenant",
            Mutation::SuspendTenant(_) => "keyward.v1.TenantService/SuspendTenant",
            Mutation::ResumeTenant(_) => "keyward.v1.TenantService/ResumeTenant",
            Mutation::CreateClient(_) => "keyward.v1.ClientService/CreateClient",
            Mutation::UpdateClient(_) => "keyward.v1.ClientService/UpdateClient",
            Mutation::DeleteClient(_) => "keyward.v1.ClientService/DeleteClient",
            Mutation::RotateClientSecret(_) => "keyward.v1.ClientService/RotateClientSecret",
            Mutation::RevokeTokens(_) => "keyward.v1.ClientService/RevokeTokens",
            Mutation::PutResourceServer(_) => "keyward.v1.CatalogService/PutResourceServer",
            Mutation::DeleteResourceServer(_) => "keyward.v1.CatalogService/DeleteResourceServer",
        }
    }

    pub fn with_request_id(mut self, id: &str) -> Self {
        let request_id = match &mut self {
            Mutation::CreateTenant(request) => &mut request.request_id,
            Mutation::UpdateTenant(request) => &mut request.request_id,
            Mutation::DeleteTenant(request) => &mut request.request_id,
            Mutation::SuspendTenant(request) => &mut request.request_id,
            Mutation::ResumeTenant(request) => &mut request.request_id,
            Mutation::CreateClient(request) => &mut request.request_id,
            Mutation::UpdateClient(request) => &mut request.request_id,
            Mutation::DeleteClient(request) => &mut request.request_id,
            Mutation::RotateClientSecret(request) => &mut request.request_id,
            Mutation::RevokeTokens(request) => &mut request.request_id,
            Mutation::PutResourceServer(request) => &mut request.request_id,
            Mutation::DeleteResourceServer(request) => &mut request.request_id,
        };
        *request_id = id.to_owned();
        self
    }

    /// The same as a dry run, where there is one.
    pub fn dry_run(mut self) -> Option<Self> {
        let validate_only = match &mut self {
            Mutation::CreateTenant(request) => &mut request.validate_only,
            Mutation::UpdateTenant(request) => &mut request.validate_only,
            Mutation::DeleteTenant(request) => &mut request.validate_only,
            Mutation::CreateClient(request) => &mut request.validate_only,
            Mutation::UpdateClient(request) => &mut request.validate_only,
            Mutation::RotateClientSecret(request) => &mut request.validate_only,
            Mutation::PutResourceServer(request) => &mut request.validate_only,
            _ => return None,
        };
        *validate_only = true;
        Some(self)
    }

    pub async fn send(&self, channel: &Channel) -> Result<Answer, Status> {
        Ok(self.call(channel, "").await?.into_inner())
    }

    /// Sends it, and fails the test where it fails.
    pub async fn done(&self, channel: &Channel) -> Answer {
        self.send(channel).await.unwrap_or_else(|status| panic!("{}: {status:?}", self.method()))
    }

    /// Sends it under this call id; with the metadata that came back.
    pub async fn call(&self, channel: &Channel, call_id: &str) -> Result<Response<Answer>, Status> {
        let mut tenants = TenantServiceClient::new(channel.clone());
        let mut clients = ClientServiceClient::new(channel.clone());
        let mut catalog = CatalogServiceClient::new(channel.clone());
        let nothing = |(): ()| Answer::Nothing;
        let server =
            |server: proto::ResourceServer| Answer::ResourceServer(proto::ResourceServer { in_force: false, ..server });
        Ok(match self.clone() {
            Mutation::CreateTenant(it) => tenants.create_tenant(named(it, call_id)).await?.map(Answer::Tenant),
            Mutation::UpdateTenant(it) => tenants.update_tenant(named(it, call_id)).await?.map(Answer::Tenant),
            Mutation::DeleteTenant(it) => tenants.delete_tenant(named(it, call_id)).await?.map(nothing),
            Mutation::SuspendTenant(it) => tenants.suspend_tenant(named(it, call_id)).await?.map(Answer::Tenant),
            Mutation::ResumeTenant(it) => tenants.resume_tenant(named(it, call_id)).await?.map(Answer::Tenant),
            Mutation::CreateClient(it) => clients.create_client(named(it, call_id)).await?.map(Answer::Client),
            Mutation::UpdateClient(it) => clients.update_client(named(it, call_id)).await?.map(Answer::Client),
            Mutation::DeleteClient(it) => clients.delete_client(named(it, call_id)).await?.map(nothing),
            Mutation::RotateClientSecret(it) => {
                clients.rotate_client_secret(named(it, call_id)).await?.map(Answer::Rotation)
            }
            Mutation::RevokeTokens(it) => clients.revoke_tokens(named(it, call_id)).await?.map(Answer::Revocation),
            Mutation::PutResourceServer(it) => catalog.put_resource_server(named(it, call_id)).await?.map(server),
            Mutation::DeleteResourceServer(it) => {
                catalog.delete_resource_server(named(it, call_id)).await?.map(nothing)
            }
        })
    }
}

/// A request that names its call; empty leaves that to the broker.
fn named<M>(message: M, call_id: &str) -> Request<M> {
    let mut request = Request::new(message);
    if !call_id.is_empty() {
        request.metadata_mut().insert("x-request-id", call_id.parse().expect("ASCII"));
    }
    request
}
