//! Calls whose messages are bytes, whatever the contract says.

use prost::bytes::{Buf as _, BufMut as _};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Every method of the contract.
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(keyward::proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Sends these bytes as the one message of a call that is not a stream, and waits for the end of the answer.
pub async fn send_bytes(channel: &Channel, method: &MethodDescriptor, message: Vec<u8>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    client.unary(Request::new(message), PathAndQuery::try_from(path).expect("a path"), Raw).await?;
    Ok(())
}

/// Sends these bytes as the one message of a call of whatever kind, under this call id. The first answer, or how the call
/// ended; `None` when it ended well without one.
pub async fn ask_with_bytes(
    channel: &Channel,
    method: &MethodDescriptor,
    call_id: &str,
    message: Vec<u8>,
) -> Result<Option<()>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut request = Request::new(futures::stream::iter([message]));
    request.metadata_mut().insert("x-request-id", call_id.parse().expect("a call id"));
    let answers = client.streaming(request, PathAndQuery::try_from(path).expect("a path"), Raw).await?;
    answers.into_inner().message().await
}

/// Sends bytes as they are, and reads any answer as nothing.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        source.advance(source.remaining());
        Ok(Some(()))
    }
}
