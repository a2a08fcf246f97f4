//! `TokenService`: access tokens for a tenant's backend.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tonic::{Request, Response, Status};

use super::answer::Answers;
use super::decode::token::Wanted;
use super::{Service, encode};
use crate::broker::Basis;
use crate::domain::audit::Call;
use crate::domain::token::AccessToken;
use crate::proto::token_service_server::TokenService;
use crate::proto::{self, GetTokenRequest, WatchTokenRequest};

#[tonic::async_trait]
impl TokenService for Service {
    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<proto::AccessToken>, Status> {
        self.0
            .answer(request, |front, call, message| async move {
                let wanted = Wanted::read(&message.name, &message.scopes, message.min_remaining.as_ref())?;
                Ok(encode::access_token(&*front.token(&call, &wanted, &mut Basis::default()).await?))
            })
            .await
    }

    type WatchTokenStream = Answers<proto::AccessToken>;

    async fn watch_token(
        &self,
        request: Request<WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        let open = |call: &Call, message: WatchTokenRequest| {
            let wanted = Wanted::read(&message.name, &message.scopes, message.min_remaining.as_ref())?;
            let tokens = &self.0.broker.tokens;
            let tokens = tokens.watch(wanted.client.clone(), wanted.scopes.clone(), wanted.min_remaining);
            let context = Arc::new((self.0.clone(), call.clone(), wanted));
            let recorded = tokens.try_filter_map(move |token| {
                let context = context.clone();
                async move {
                    let (front, call, wanted) = &*context;
                    front.next_token(call, wanted, token).await
                }
            });
            // An error is the end, also one of the audit file.
            Ok(recorded.boxed())
        };
        self.0.stream(request, open, |token: Arc<AccessToken>| encode::access_token(&token)).await
    }
}
