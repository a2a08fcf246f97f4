//! Requests in: who calls, decode, call the broker, encode.
//!
//! Knows the broker's API and the domain, and no backend. It is the only place that makes a gRPC status, and the only
//! one that sees the contract's messages; nothing behind it does.
//!
//! Every handler is a few lines because `answer.rs` does what all have in common: the call's id, the
//! span, the audit event of a denial, the status.

mod answer;
mod answered;
mod aside;
mod audit;
mod bodies;
mod catalog;
mod clients;
mod counted;
mod deadline;
mod decode;
mod draining;
mod encode;
mod envoy;
mod hot;
mod limits;
mod others;
mod ready;
mod replayed;
mod requests;
mod shedding;
mod standing;
mod status;
mod tenants;
mod tokens;
mod verification;
mod wanted;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::ext_authz::v3::pb::AuthorizationServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::domain::error::{Error, Reason};
use crate::gate::Gate;
use crate::proto;
use crate::proto::audit_service_server::AuditServiceServer;
use crate::proto::catalog_service_server::CatalogServiceServer;
use crate::proto::client_service_server::ClientServiceServer;
use crate::proto::tenant_service_server::TenantServiceServer;
use crate::proto::token_service_server::TokenServiceServer;
use crate::proto::verification_service_server::VerificationServiceServer;

pub use counted::Counted;
pub use hot::Hot;
pub use limits::Limits;

/// What every service needs: the gate, and what gRPC adds to it.
pub struct Front {
    pub gate: Gate,
    /// Ends the long streams, with UNAVAILABLE and SHUTTING_DOWN, when it is cancelled.
    pub shutdown: CancellationToken,
    pub limits: Limits,
    /// Counts the calls.
    pub counted: Arc<Counted>,
}

/// What is asked of the gate is asked of the front.
impl Deref for Front {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}

/// One service of the contract over the front that all of them share.
#[derive(Clone)]
struct Service(Arc<Front>);

/// All services of the contract, Envoy's authorization, the health service as it was given, and reflection.
///
/// Fails when the descriptors that were compiled in cannot be read.
pub fn routes<H: Health>(
    front: Front,
    health: HealthServer<H>,
) -> Result<Hot<Routes>, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(envoy::DESCRIPTORS)
            // The messages of error details, which clients find in `Any`.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);

    let Limits { message_bytes: most, call_duration, calls } = front.limits;
    let draining = front.shutdown.clone();
    let front = Arc::new(front);
    let service = Service(front.clone());
    let mut routes = Routes::builder();
    routes
        .add_service(TokenServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(VerificationServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(TenantServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(ClientServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(CatalogServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(AuditServiceServer::new(service.clone()).max_decoding_message_size(most))
        .add_service(AuthorizationServer::new(service).max_decoding_message_size(most))
        .add_service(health)
        .add_service(v1)
        .add_service(v1alpha);
    let router = routes.routes().into_axum_router();
    let router = router.layer(limits::BlameTheRequest(front.counted.clone())).layer(deadline::Deadline(call_duration));
    let buffers = bodies::Buffers::new(limits::BUFFER_BYTES.max(most), call_duration + limits::FOR_STREAMS);
    let shed = shedding::Shed::new(calls, buffers, front.counted.clone());
    let router = router.layer(draining::EndStreams(draining)).layer(shed.clone());
    Ok(Hot::new(front, shed, Routes::from(router).prepare()))
}

/// What a caller who gave no etag learns when the resource changed between our reading it and writing it.
fn pinned(error: Error, etag: Option<u64>) -> Error {
    match (error.reason(), etag) {
        (Reason::EtagMismatch, None) => {
            let message = "somebody else changed the resource at the same moment; try again";
            Error::new(Reason::ConcurrentChange, message).retry_after(Duration::from_millis(100))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests;
