//! `TokenService`: access tokens for a tenant's backend.

use std::sync::Arc;

use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::answer::Answers;
use super::decode::token::Wanted;
use super::{Service, encode};
use crate::domain::token::AccessToken;
use crate::proto::token_service_server::TokenService;
use crate::proto::{self, GetTokenRequest, WatchTokenRequest};

#[tonic::async_trait]
impl TokenService for Service {
    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<proto::AccessToken>, Status> {
        self.0
            .answer(request, |front, _, message| async move {
                let wanted = Wanted::read(&message.name, &message.scopes, message.min_remaining.as_ref())?;
                let token = front.broker.tokens.get(&wanted.client, &wanted.scopes, wanted.min_remaining).await?;
                Ok(encode::access_token(&token))
            })
            .await
    }

    type WatchTokenStream = Answers<proto::AccessToken>;

    async fn watch_token(
        &self,
        request: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        let open = |message: WatchTokenRequest| {
            let wanted = Wanted::read(&message.name, &message.scopes, message.min_remaining.as_ref())?;
            Ok(self.0.broker.tokens.watch(wanted.client, wanted.scopes, wanted.min_remaining).boxed())
        };
        self.0.stream(request, open, |token: Arc<AccessToken>| encode::access_token(&token)).await
    }
}
