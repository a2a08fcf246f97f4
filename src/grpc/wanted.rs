//! Which of the hot methods a request is for, and what it asks for.

use envoy_types::ext_authz::v3::pb::CheckRequest;
use prost::Message;
use tonic::codegen::http::{self, Request, header};

use super::requests::Asked as _;
use crate::proto::{GetTokenRequest, VerifyTokenRequest};

const GET_TOKEN: &str = "/keyward.v1.TokenService/GetToken";
const VERIFY_TOKEN: &str = "/keyward.v1.VerificationService/VerifyToken";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The hot methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    GetToken,
    VerifyToken,
    /// Its answers are never kept: each of its messages is another one.
    Check,
}

impl Method {
    /// `None` for every other method, and for a request that is anything but plain.
    pub fn of<In>(request: &Request<In>) -> Option<Self> {
        let method = match request.uri().path() {
            GET_TOKEN => Method::GetToken,
            VERIFY_TOKEN => Method::VerifyToken,
            CHECK => Method::Check,
            _ => return None,
        };
        let headers = request.headers();
        let is_identity = headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity");
        let is_grpc = headers.get(header::CONTENT_TYPE).is_some_and(|content| content == "application/grpc");
        (is_identity && is_grpc && request.method() == http::Method::POST).then_some(method)
    }

    pub fn full_name(self) -> &'static str {
        match self {
            Method::GetToken => GetTokenRequest::METHOD,
            Method::VerifyToken => VerifyTokenRequest::METHOD,
            Method::Check => CheckRequest::METHOD,
        }
    }
}

/// What a message asks for.
pub enum Wanted {
    Token(GetTokenRequest),
    Verdict(VerifyTokenRequest),
    Check(Box<CheckRequest>),
}

impl Wanted {
    /// `None` for what cannot be decoded.
    pub fn read(method: Method, message: &[u8]) -> Option<Self> {
        match method {
            Method::GetToken => GetTokenRequest::decode(message).ok().map(Wanted::Token),
            Method::VerifyToken => VerifyTokenRequest::decode(message).ok().map(Wanted::Verdict),
            Method::Check => CheckRequest::decode(message).ok().map(|request| Wanted::Check(Box::new(request))),
        }
    }
}
