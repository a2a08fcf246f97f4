//! `ClientService`: credentials, their rotation, and the revocation of what they signed.

use tonic::{Request, Response, Status};

use super::answer::Answers;
use super::decode::page::page;
use super::decode::{client, etag, import};
use super::{Service, encode, pinned};
use crate::domain::audit::Call;
use crate::domain::id::{ClientName, RotationName};
use crate::proto::client_service_server::ClientService;
use crate::proto::{
    Client, CreateClientRequest, DeleteClientRequest, GetClientRequest, GetRotationRequest, ImportClientRequest,
    ListClientsRequest, ListClientsResponse, ListRotationsRequest, ListRotationsResponse, ReplaceClientRequest,
    RevealClientSecretRequest, RevealClientSecretResponse, Revocation, RevokeTokensRequest, RotateClientSecretRequest,
    RotateClientSecretsRequest, RotateClientSecretsResponse, Rotation, UpdateClientRequest,
};

#[tonic::async_trait]
impl ClientService for Service {
    async fn create_client(&self, request: Request<CreateClientRequest>) -> Result<Response<Client>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let validate_only = message.validate_only;
                let new = client::new(message)?;
                front.broker.clients.create(&call, new, validate_only).await.map(encode::client)
            })
            .await
    }

    async fn get_client(&self, request: Request<GetClientRequest>) -> Result<Response<Client>, Status> {
        self.0
            .answer(request, |front, _, message| async move {
                let name = ClientName::parse("name", &message.name)?;
                front.broker.clients.get(&name).await.map(encode::client)
            })
            .await
    }

    async fn list_clients(
        &self,
        request: Request<ListClientsRequest>,
    ) -> Result<Response<ListClientsResponse>, Status> {
        self.0
            .answer(request, |front, _, mut message| async move {
                let (page, query) = page(&mut message)?;
                let tenant = client::parent(&message.parent)?;
                let listing = front.broker.clients.list(tenant.as_ref(), page).await?;
                Ok(ListClientsResponse {
                    clients: listing.items.into_iter().map(encode::client).collect(),
                    next_page_token: query.token(listing.next),
                })
            })
            .await
    }

    async fn update_client(&self, request: Request<UpdateClientRequest>) -> Result<Response<Client>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let validate_only = message.validate_only;
                let update = client::Update::read(message)?;
                let clients = &front.broker.clients;
                if !update.needs_current() {
                    let (patch, version) = (update.against(None)?, update.version);
                    let updated = clients.update(&call, &update.name, patch, version, validate_only).await;
                    return updated.map(encode::client);
                }
                let current = clients.get(&update.name).await?;
                let patch = update.against(Some(&current))?;
                let version = Some(update.version.unwrap_or(current.version));
                let updated = clients.update(&call, &update.name, patch, version, validate_only).await;
                updated.map(encode::client).map_err(|error| pinned(error, update.version))
            })
            .await
    }

    async fn delete_client(&self, request: Request<DeleteClientRequest>) -> Result<Response<()>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let name = ClientName::parse("name", &message.name)?;
                let version = etag(&name, &message.etag)?;
                front.broker.clients.delete(&call, &name, version).await
            })
            .await
    }

    async fn import_client(&self, request: Request<ImportClientRequest>) -> Result<Response<Client>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let validate_only = message.validate_only;
                let new = import::new(message)?;
                front.broker.clients.import(&call, new, validate_only).await.map(encode::client)
            })
            .await
    }

    async fn rotate_client_secret(
        &self,
        request: Request<RotateClientSecretRequest>,
    ) -> Result<Response<Rotation>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let name = ClientName::parse("name", &message.name)?;
                let rotation = client::rotation(&message)?;
                let view = front.broker.rotations.rotate(&call, &name, rotation, message.validate_only).await?;
                Ok(if message.validate_only { encode::planned_rotation(view) } else { encode::rotation(view) })
            })
            .await
    }

    async fn replace_client(&self, request: Request<ReplaceClientRequest>) -> Result<Response<Rotation>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let name = ClientName::parse("name", &message.name)?;
                let replacement = client::replacement(&message)?;
                let view = front.broker.rotations.rotate(&call, &name, replacement, message.validate_only).await?;
                Ok(if message.validate_only { encode::planned_rotation(view) } else { encode::rotation(view) })
            })
            .await
    }

    type RotateClientSecretsStream = Answers<RotateClientSecretsResponse>;

    async fn rotate_client_secrets(
        &self,
        request: Request<RotateClientSecretsRequest>,
    ) -> Result<Response<Self::RotateClientSecretsStream>, Status> {
        let open = |call: &Call, message: RotateClientSecretsRequest| {
            let validate_only = message.validate_only;
            client::fleet(message).map(|fleet| self.0.broker.fleet.rotate(call.clone(), fleet, validate_only))
        };
        self.0.stream(request, open, encode::fleet_progress).await
    }

    async fn get_rotation(&self, request: Request<GetRotationRequest>) -> Result<Response<Rotation>, Status> {
        self.0
            .answer(request, |front, _, message| async move {
                let name = RotationName::parse("name", &message.name)?;
                front.broker.rotations.get(&name).await.map(encode::rotation)
            })
            .await
    }

    async fn list_rotations(
        &self,
        request: Request<ListRotationsRequest>,
    ) -> Result<Response<ListRotationsResponse>, Status> {
        self.0
            .answer(request, |front, _, mut message| async move {
                let (page, query) = page(&mut message)?;
                let client = ClientName::parse("parent", &message.parent)?;
                let listing = front.broker.rotations.list(&client, page).await?;
                Ok(ListRotationsResponse {
                    rotations: listing.items.into_iter().map(encode::rotation).collect(),
                    next_page_token: query.token(listing.next),
                })
            })
            .await
    }

    async fn revoke_tokens(&self, request: Request<RevokeTokensRequest>) -> Result<Response<Revocation>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let revocation = client::revocation(message)?;
                front.broker.revocations.revoke(&call, revocation).await.map(encode::revocation)
            })
            .await
    }

    async fn reveal_client_secret(
        &self,
        request: Request<RevealClientSecretRequest>,
    ) -> Result<Response<RevealClientSecretResponse>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let name = ClientName::parse("name", &message.name)?;
                client::reveal_reason(&message.reason)?;
                let revealed = front.broker.clients.reveal(&call, &name, &message.reason).await?;
                front.record_secret(&call, &name, &message.reason).await?;
                Ok(encode::revealed(revealed))
            })
            .await
    }
}
