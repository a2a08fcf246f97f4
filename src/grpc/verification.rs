//! `VerificationService`: whose token is this, and what may it do?

use std::sync::Arc;

use futures::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

use super::answer::Answers;
use super::decode::{required, token, trust};
use super::limits::violation;
use super::requests::Asked as _;
use super::status::code;
use super::{Front, Service, encode};
use crate::broker::Basis;
use crate::domain::audit::Call;
use crate::domain::error::{Error, Result};
use crate::gate::{log_cause, retry_delay};
use crate::proto::verification_service_server::VerificationService;
use crate::proto::{
    VerificationError, VerifyTokenRequest, VerifyTokenResponse, VerifyTokensRequest, VerifyTokensResponse,
    WatchTrustRequest, WatchTrustResponse, verify_token_response, verify_tokens_response,
};

/// Requests of one stream that are being answered at a time. More wait unread, so that a fast caller is slowed down
/// and not stored.
const MAX_IN_FLIGHT: usize = 64;

#[tonic::async_trait]
impl VerificationService for Service {
    async fn verify_token(
        &self,
        request: Request<VerifyTokenRequest>,
    ) -> Result<Response<VerifyTokenResponse>, Status> {
        self.0
            .answer(request, |front, _, message| async move {
                Ok(VerifyTokenResponse { verdict: Some(front.verdict(message, &mut Basis::default()).await?) })
            })
            .await
    }

    type VerifyTokensStream = Answers<VerifyTokensResponse>;

    async fn verify_tokens(
        &self,
        request: Request<Streaming<VerifyTokensRequest>>,
    ) -> Result<Response<Self::VerifyTokensStream>, Status> {
        let (metadata, extensions, questions) = request.into_parts();
        let front = self.0.clone();
        let answers = |call: &Call| {
            let call_id = call.call_id.clone();
            let answer = move |question| front.clone().part(call_id.clone(), question);
            questions
                .map(answer)
                .buffered(MAX_IN_FLIGHT)
                .take_while(|answer| std::future::ready(answer.is_some()))
                .filter_map(std::future::ready)
                .boxed()
        };
        self.0.converse::<VerifyTokensRequest, _>(metadata, &extensions, answers).await
    }

    type WatchTrustStream = Answers<WatchTrustResponse>;

    async fn watch_trust(
        &self,
        request: Request<WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        let open = |_: &Call, message: WatchTrustRequest| self.0.broker.trust.watch(trust::query(message)?);
        self.0.stream(request, open, encode::trust).await
    }
}

impl Front {
    /// `basis` gets what the verdict stands on.
    pub(super) async fn verdict(
        &self,
        message: VerifyTokenRequest,
        basis: &mut Basis,
    ) -> Result<verify_token_response::Verdict> {
        let question = token::question(message)?;
        Ok(encode::verdict(self.broker.verifier.verify(&question, basis).await?))
    }

    /// What a stream goes on with: an answer, its end, or `None` when the caller is gone.
    async fn part(
        self: Arc<Self>,
        call_id: Arc<str>,
        question: Result<VerifyTokensRequest, Status>,
    ) -> Option<Result<VerifyTokensResponse>> {
        match question {
            Ok(question) => Some(Ok(self.item(&call_id, question).await)),
            Err(complaint) => violation(VerifyTokensRequest::METHOD, &complaint).map(Err),
        }
    }

    /// The answer to one request of a stream. Its failure is its own.
    async fn item(&self, call_id: &str, item: VerifyTokensRequest) -> VerifyTokensResponse {
        let verdict = async {
            token::correlation_id(&item.correlation_id)?;
            let request = required("request", item.request)?;
            self.verdict(request, &mut Basis::default()).await.map_err(|error| error.within("request"))
        };
        let verdict = match verdict.await {
            Ok(verify_token_response::Verdict::Verified(token)) => verify_tokens_response::Verdict::Verified(token),
            Ok(verify_token_response::Verdict::Rejected(token)) => verify_tokens_response::Verdict::Rejected(token),
            Err(error) => {
                self.counted.refused(error.reason());
                verify_tokens_response::Verdict::Error(failure(&error, call_id))
            }
        };
        VerifyTokensResponse { correlation_id: item.correlation_id, verdict: Some(verdict) }
    }
}

fn failure(error: &Error, call_id: &str) -> VerificationError {
    log_cause(error, call_id);
    VerificationError {
        code: code(error.kind()).into(),
        reason: error.reason().to_string(),
        message: error.to_string(),
        retry_delay: retry_delay(error).map(encode::duration),
    }
}
