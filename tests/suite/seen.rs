//! What is seen of a daemon from outside: its metrics, what README says of them, and what `deploy/` makes of them.

mod calls;
mod deploy;
mod oauth;
mod picture;
mod table;
mod tokens;
mod traces;
mod work;

use keyward::config::Config;
use keyward::proto;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

/// Has a daemon tell its status on a free port.
fn told(config: &mut Config) {
    config.status.listen = Some("127.0.0.1:0".parse().expect("an address"));
}

/// Which is UNIMPLEMENTED.
async fn call_what_is_no_method(channel: &Channel) {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<proto::GetTenantRequest, proto::Tenant>::default();
    let path = PathAndQuery::from_static("/keyward.v1.TenantService/acme");
    let request = tonic::Request::new(proto::GetTenantRequest::default());
    client.unary(request, path, codec).await.expect_err("no method");
}
