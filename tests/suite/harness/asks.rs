//! Requests and answers that many tests begin or end with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::proto;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::verify_token_response::Verdict;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{SCOPES, details};

/// A tenant with nothing set but its isolation.
pub fn new_tenant(id: &str, isolation: proto::Isolation) -> proto::CreateTenantRequest {
    proto::CreateTenantRequest {
        tenant_id: id.to_owned(),
        tenant: Some(proto::Tenant { isolation: isolation.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// A tenant with a pool of its own that has these settings.
pub fn new_tenant_with_pool(id: &str, settings: proto::UserPoolSettings) -> proto::CreateTenantRequest {
    let mut request = new_tenant(id, proto::Isolation::UserPool);
    request.tenant.as_mut().expect("set").user_pool = Some(settings);
    request
}

/// A client with both scopes of the orders API and nothing else set.
pub fn new_client(tenant: &str, id: &str) -> proto::CreateClientRequest {
    proto::CreateClientRequest {
        parent: format!("tenants/{tenant}"),
        client_id: id.to_owned(),
        client: Some(proto::Client { scopes: SCOPES.map(str::to_owned).to_vec(), ..Default::default() }),
        ..Default::default()
    }
}

/// A resource server with scopes of these names.
pub fn new_resource_server(identifier: &str, scopes: &[&str]) -> proto::PutResourceServerRequest {
    let scope = |name: &&str| proto::ResourceServerScope { scope_name: (*name).to_owned(), ..Default::default() };
    let server = proto::ResourceServer {
        identifier: identifier.to_owned(),
        scopes: scopes.iter().map(scope).collect(),
        ..Default::default()
    };
    proto::PutResourceServerRequest { resource_server: Some(server), ..Default::default() }
}

pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

pub fn span(duration: Duration) -> Option<prost_types::Duration> {
    let seconds = i64::try_from(duration.as_secs()).expect("short");
    Some(prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).expect("below a second") })
}

pub async fn get_tenant(channel: &Channel, id: &str) -> Result<proto::Tenant, Status> {
    let request = proto::GetTenantRequest { name: format!("tenants/{id}") };
    Ok(TenantServiceClient::new(channel.clone()).get_tenant(request).await?.into_inner())
}

/// Code and reason of an error; the test fails where there is none.
#[track_caller]
pub fn refusal<T>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.err().expect("an error");
    let told = details(&status);
    (told.code, told.reason)
}

/// Fails unless it is INVALID_ARGUMENT, of this reason, for exactly this field.
#[track_caller]
pub fn assert_invalid<T>(answer: Result<T, Status>, reason: &str, field: &str) {
    let told = details(&answer.err().expect("an error"));
    assert_eq!((told.code, told.reason.as_str(), told.fields), (Code::InvalidArgument, reason, vec![field.to_owned()]));
}

/// Why a token is rejected.
#[track_caller]
pub fn rejection(verdict: Verdict) -> proto::RejectionReason {
    match verdict {
        Verdict::Rejected(rejected) => rejected.reason(),
        Verdict::Verified(verified) => panic!("accepted: {verified:?}"),
    }
}

/// What a token claims, without a look at its signature.
pub fn claims(token: &str) -> serde_json::Map<String, serde_json::Value> {
    let payload = token.split('.').nth(1).expect("three parts");
    let json = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&json).expect("a JSON object")
}
