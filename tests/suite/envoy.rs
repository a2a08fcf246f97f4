//! Envoy's external authorization: each rule over gRPC, and the configuration that README gives in a real Envoy.

mod answers;
mod descriptors;
mod exported;
mod permission;
mod proxy;
mod upstream;

use std::collections::BTreeMap;

use envoy_types::ext_authz::v3::pb::{CheckRequest, CheckResponse, HttpResponse};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use tonic::Status;
use tonic::transport::Channel;

pub const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";

/// As Envoy asks with `encode_raw_headers`: the route's extensions, the request's headers.
pub fn question(extensions: &[(&str, &str)], headers: &[(&str, &str)]) -> CheckRequest {
    let header = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..Default::default()
    };
    let header_map = Some(HeaderMap { headers: headers.iter().map(header).collect() });
    let http =
        Some(HttpRequest { method: "GET".to_owned(), path: "/orders".to_owned(), header_map, ..Default::default() });
    let attributes = AttributeContext {
        request: Some(Request { http, ..Default::default() }),
        context_extensions: extensions.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..Default::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

pub async fn check(channel: &Channel, question: CheckRequest) -> Result<CheckResponse, Status> {
    Ok(AuthorizationClient::new(channel.clone()).check(question).await?.into_inner())
}

/// What Envoy is to do.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    GoOn { set: BTreeMap<String, String>, remove: Vec<String> },
    Deny { status: i32, headers: BTreeMap<String, String>, body: String },
}

impl Told {
    fn of(answer: &CheckResponse) -> Self {
        let code = answer.status.as_ref().expect("a status").code;
        match answer.http_response.as_ref().expect("an answer") {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(code, 0);
                assert!(ok.response_headers_to_add.is_empty() && ok.query_parameters_to_set.is_empty(), "{ok:?}");
                Told::GoOn { set: set(&ok.headers), remove: ok.headers_to_remove.clone() }
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(code, 0, "Envoy goes by this code");
                let status = denied.status.as_ref().expect("a status").code;
                Told::Deny { status, headers: set(&denied.headers), body: denied.body.clone() }
            }
            HttpResponse::ErrorResponse(error) => panic!("failure_mode_allow would let it pass: {error:?}"),
        }
    }
}

/// Each replaces what came under its name.
fn set(headers: &[HeaderValueOption]) -> BTreeMap<String, String> {
    let each = headers.iter().map(|option| {
        assert_eq!(option.append_action, 2, "OVERWRITE_IF_EXISTS_OR_ADD");
        let header = option.header.as_ref().expect("a header");
        (header.key.clone(), header.value.clone())
    });
    let set: BTreeMap<_, _> = each.collect();
    assert_eq!(set.len(), headers.len(), "each once");
    set
}

fn denied(status: i32, headers: &[(&str, &str)], reason: &str) -> Told {
    let headers = [("content-type", "application/json")].iter().chain(headers);
    Told::Deny {
        status,
        headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: format!("{{\"reason\":\"{reason}\"}}"),
    }
}
