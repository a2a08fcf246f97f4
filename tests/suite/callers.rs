//! Who calls: each way in, its forgeries and its confusions.

mod aws;
mod certificates;
pub mod issuer;
mod others;
mod rates;
mod starts;
pub mod sts;
mod tokens;

use keyward::config::{CallerGrant, Callers, Config, TokenIssuer};
use keyward::domain::caller::Caller;
use keyward::domain::error::Reason;
use keyward::proto;
use keyward::proto::tenant_service_client::TenantServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::details;
use issuer::Issuer;

pub const AUDIENCE: &str = "keyward.example.org";

/// Whoever a grant of these tests makes an operator.
pub fn operator(caller: &str) -> CallerGrant {
    CallerGrant { caller: caller.to_owned(), role: Some("operator".to_owned()), ..Default::default() }
}

/// Lets nobody in but those that these callers say.
fn only(callers: Callers) -> impl FnOnce(&mut Config) {
    move |config| config.callers = callers
}

/// An issuer whose keys are in a file.
pub fn trusted(issuer: &Issuer) -> TokenIssuer {
    TokenIssuer {
        issuer: issuer.name.clone(),
        audience: AUDIENCE.to_owned(),
        jwks_file: Some(issuer.file.clone()),
        ..Default::default()
    }
}

/// A call that only an operator may make, with these `authorization` headers.
async fn call(channel: &Channel, authorization: &[&str]) -> Result<(), Status> {
    let mut request = Request::new(proto::ListTenantsRequest::default());
    for value in authorization {
        request.metadata_mut().append("authorization", value.parse().expect("a header's value"));
    }
    TenantServiceClient::new(channel.clone()).list_tenants(request).await.map(|_| ())
}

async fn bearer(channel: &Channel, token: &str) -> Result<(), Status> {
    call(channel, &[&format!("Bearer {token}")]).await
}

/// Fails unless the call is UNAUTHENTICATED for this reason, in words that begin with `message`.
#[track_caller]
fn assert_refused(answer: Result<(), Status>, reason: &str, message: &str) {
    let status = answer.expect_err("a refusal");
    let told = details(&status);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, reason), "{status:?}");
    assert!(status.message().starts_with(message), "{:?} does not begin with {message:?}", status.message());
}

/// The principal, or why there is none.
fn told<T: AsRef<Caller>>(answer: keyward::domain::Result<T>) -> Result<String, Reason> {
    answer.map(|caller| caller.as_ref().principal.to_string()).map_err(|error| error.reason())
}
