//! Envoy's external authorization: may this request of somebody else's go on to the service that it is for?
//!
//! Envoy is a caller like any other, and has to be permitted `VerifyToken`. What it asks is answered by the code of `VerifyToken`;
//! what a request needs is said by its route (`decode/check.rs`), what becomes of it is said in HTTP's words (`encode/check.rs`).
//!
//! It must never let a request pass that it does not understand: a rule that cannot be read, two credentials, a broker that
//! cannot tell. Each is a denial in an answer, and not a failed call, because Envoy can be told to let pass what failed.
//! Only a caller that may not ask, and a message that cannot be read, get an error.
//!
//! The messages are of `envoy-types`. Their `Debug` shows headers, tokens among them: none is ever printed.

use std::collections::HashMap;

use envoy_types::ext_authz::v3::pb::{Authorization, CheckRequest, CheckResponse};
use tonic::{Request, Response, Status};

use super::decode::check::{self, Headers};
use super::encode;
use super::encode::check::Denial;
use super::requests::Asked;
use super::{Front, Service};
use crate::broker::Basis;
use crate::broker::api::{Question, Verdict, Verified};
use crate::domain::id::TenantId;
use crate::gate::log_cause;
use crate::net::Seldom;

/// The service and everything that it is described with, as in the `types.bin` of `envoy-types`, for reflection.
/// `tests/suite/envoy/descriptors.rs` holds that.
pub const DESCRIPTORS: &[u8] = include_bytes!("envoy.bin");

impl Asked for CheckRequest {
    const METHOD: &'static str = "envoy.service.auth.v3.Authorization/Check";
    const CHANGES: bool = false;

    fn action() -> &'static str {
        "VerifyToken"
    }

    fn resource(&self) -> String {
        let extensions = self.attributes.as_ref().map(|attributes| &attributes.context_extensions);
        let tenant = extensions.and_then(|extensions| extensions.get(check::TENANT));
        // What is written there by mistake is not for the record of a denial.
        let tenant = tenant.and_then(|name| TenantId::from_name("tenant", name).ok());
        tenant.map(|tenant| tenant.name()).unwrap_or_default()
    }
}

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.0
            .answer(request, |front, call, message| async move { Ok(front.check(&call.call_id, message).await) })
            .await
    }
}

impl Front {
    /// Whether the request may go on. There is always an answer; what cannot be told is denied.
    pub(super) async fn check(&self, call_id: &str, request: CheckRequest) -> CheckResponse {
        let attributes = request.attributes.unwrap_or_default();
        let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
        let headers = Headers::read(http);
        match self.judge(&attributes.context_extensions, &headers).await {
            Ok(verified) => encode::check::allowed(&verified, headers.ours),
            Err(denial) => {
                note(&denial, call_id);
                encode::check::denied(&denial)
            }
        }
    }

    async fn judge(&self, rule: &HashMap<String, String>, headers: &Headers) -> Result<Verified, Denial> {
        let rule = check::Rule::read(rule).map_err(Denial::UnreadableRule)?;
        let token = headers.token()?;
        let question = Question { token, required_scopes: rule.scopes, tenant: rule.tenant, accepted: rule.accepted };
        match self.broker.verifier.verify(&question, &mut Basis::default()).await {
            Ok(Verdict::Verified(verified)) => Ok(verified),
            Ok(Verdict::Rejected(rejection)) => Err(Denial::Rejected(rejection, question.required_scopes)),
            Err(error) => Err(Denial::CannotTell(error)),
        }
    }
}

/// What whoever runs the broker has to mend is in the log; what is wrong with a token is its bearer's to know.
fn note(denial: &Denial, call_id: &str) {
    /// The line about one stands for the others of its second.
    static SAID: Seldom = Seldom::new();
    match denial {
        Denial::UnreadableRule(error) => {
            if let Some(others) = SAID.turn() {
                tracing::warn!(call_id, others, "a route's rule cannot be read, and its requests are denied: {error}");
            }
        }
        Denial::CannotTell(error) => log_cause(error, call_id),
        Denial::NoCredential | Denial::TwoCredentials | Denial::Rejected(..) => {}
    }
}
