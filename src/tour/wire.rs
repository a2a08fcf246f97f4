//! Calls without generated code: JSON in, the contract's descriptors in between, JSON out, as grpcurl does it.
//!
//! It knows no method by name.

use std::time::Duration;

use prost_reflect::prost::Message as _;
use prost_reflect::prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::TourError;
use crate::proto::FILE_DESCRIPTOR_SET;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call may take. A rotation fetches tokens until the new secret works.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection, and the contract to speak over it. Clones share both.
#[derive(Clone)]
pub(super) struct Wire {
    channel: Channel,
    contract: DescriptorPool,
    /// As grpcurl takes it: host and port.
    address: String,
}

/// A method with its types.
#[derive(Clone)]
pub(super) struct Method {
    /// As grpcurl takes it: `keyward.v1.TokenService/GetToken`.
    pub name: String,
    path: PathAndQuery,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

impl Wire {
    pub(super) async fn connect(target: &str) -> Result<Self, TourError> {
        let unusable = || TourError::Target { target: target.to_owned() };
        let address = target.strip_prefix("http://").unwrap_or(target).trim_end_matches('/').to_owned();
        if address.contains("://") || !address.contains(':') {
            return Err(unusable());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| unusable())?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT);
        let connected = endpoint.connect().await;
        let channel = connected.map_err(|source| TourError::Connect { target: target.to_owned(), source })?;
        let contract = DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .map_err(|error| TourError::Contract { method: "all".to_owned(), detail: error.to_string() })?;
        Ok(Wire { channel, contract, address })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A method by its short name, `TokenService/GetToken`.
    pub(super) fn method(&self, short: &str) -> Result<Method, TourError> {
        let name = format!("keyward.v1.{short}");
        let unknown = |detail: &str| TourError::Contract { method: name.clone(), detail: detail.to_owned() };
        let (service, method) = name.split_once('/').ok_or_else(|| unknown("the name has no slash"))?;
        let service = self.contract.get_service_by_name(service).ok_or_else(|| unknown("no such service"))?;
        let method = service.methods().find(|known| known.name() == method).ok_or_else(|| unknown("no such method"))?;
        let path = format!("/{name}").parse().map_err(|_| unknown("not a path"))?;
        Ok(Method { name: name.clone(), path, input: method.input(), output: method.output() })
    }

    pub(super) async fn call(&self, method: &Method, request: &DynamicMessage) -> Result<DynamicMessage, Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(reasons(&error)))?;
        let message = Bytes::from(request.encode_to_vec());
        let answer = client.unary(Request::new(message), method.path.clone(), BytesCodec).await?;
        DynamicMessage::decode(method.output.clone(), answer.into_inner())
            .map_err(|error| Status::internal(format!("the answer is not a {}: {error}", method.output.full_name())))
    }
}

impl Method {
    pub(super) fn empty_request(&self) -> DynamicMessage {
        DynamicMessage::new(self.input.clone())
    }

    /// A request from the JSON that grpcurl would be given.
    pub(super) fn request(&self, json: serde_json::Value) -> Result<DynamicMessage, TourError> {
        DynamicMessage::deserialize(self.input.clone(), json)
            .map_err(|error| TourError::Contract { method: self.name.clone(), detail: error.to_string() })
    }
}

/// Messages as the bytes that they are; both ends know the types.
#[derive(Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = BytesCodec;
    type Decoder = BytesCodec;

    fn encoder(&mut self) -> BytesCodec {
        BytesCodec
    }

    fn decoder(&mut self) -> BytesCodec {
        BytesCodec
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// An error with all its causes; tonic's own text leaves them out.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
