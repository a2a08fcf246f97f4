//! Rotating over gRPC, and waiting for what the daemon does by itself.

use std::time::Duration;

use keyward::proto;
use keyward::proto::audit_service_client::AuditServiceClient;
use keyward::proto::client_service_client::ClientServiceClient;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

pub async fn try_rotate(
    channel: &Channel,
    request: proto::RotateClientSecretRequest,
) -> Result<proto::Rotation, Status> {
    Ok(ClientServiceClient::new(channel.clone()).rotate_client_secret(request).await?.into_inner())
}

/// With the policy's overlap.
pub async fn rotate(channel: &Channel, client: &str) -> proto::Rotation {
    let request = proto::RotateClientSecretRequest { name: client.to_owned(), ..Default::default() };
    try_rotate(channel, request).await.expect("the rotation is started")
}

/// Without an overlap.
pub async fn rotate_at_once(channel: &Channel, client: &str) -> proto::Rotation {
    let request = proto::RotateClientSecretRequest { name: client.to_owned(), immediate: true, ..Default::default() };
    try_rotate(channel, request).await.expect("the rotation is started")
}

pub async fn get_rotation(channel: &Channel, name: &str) -> proto::Rotation {
    let request = proto::GetRotationRequest { name: name.to_owned() };
    ClientServiceClient::new(channel.clone()).get_rotation(request).await.expect("the rotation").into_inner()
}

/// All that are kept, in the order of the answer.
pub async fn list_rotations(channel: &Channel, client: &str) -> Vec<proto::Rotation> {
    let request = proto::ListRotationsRequest { parent: client.to_owned(), ..Default::default() };
    let answer = ClientServiceClient::new(channel.clone()).list_rotations(request).await.expect("a page");
    answer.into_inner().rotations
}

pub fn steps(steps: &[proto::RotationStep]) -> Vec<proto::RotationStepKind> {
    steps.iter().map(proto::RotationStep::kind).collect()
}

pub async fn get_client(channel: &Channel, name: &str) -> proto::Client {
    let request = proto::GetClientRequest { name: name.to_owned() };
    ClientServiceClient::new(channel.clone()).get_client(request).await.expect("the client").into_inner()
}

/// The audit log from its beginning, as it is written.
pub struct Follower(Streaming<proto::AuditEvent>);

impl Follower {
    /// What happens to a resource and to what is below it; to anything, when it is empty.
    pub async fn of(channel: &Channel, resource: &str) -> Self {
        let filter = proto::AuditEventFilter { resource_prefix: resource.to_owned(), ..Default::default() };
        let request = proto::TailAuditEventsRequest { after_sequence: Some(0), filter: Some(filter) };
        let stream = AuditServiceClient::new(channel.clone()).tail_audit_events(request).await.expect("a stream");
        Follower(stream.into_inner())
    }

    /// Only what happens from now on, to anything.
    pub async fn from_now_on(channel: &Channel) -> Self {
        let request = proto::TailAuditEventsRequest::default();
        let stream = AuditServiceClient::new(channel.clone()).tail_audit_events(request).await.expect("a stream");
        Follower(stream.into_inner())
    }

    /// `None` once the daemon is gone.
    pub async fn next(&mut self) -> Option<proto::AuditEvent> {
        self.0.message().await.ok().flatten()
    }

    /// The next event of this method; those before it are passed over.
    pub async fn until(&mut self, method: &str) -> proto::AuditEvent {
        let seen = async {
            loop {
                let event = self.next().await.expect("the daemon is there");
                if event.method == method {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{method} does not happen"))
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is yes. For what nothing tells of.
pub async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let mut looks = crate::harness::pauses(Duration::from_millis(2));
    let asked = async {
        while !holds().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("never: {what}"));
}
