//! `ReplaceClient`: a new app client takes the place of the old one, and nobody notices.

mod crashes;
mod methods;
mod steps;
mod tokens;

use std::time::Duration;

use keyward::proto;
use keyward::proto::verify_token_response::Verdict;
use tonic::Status;

use crate::harness::Daemon;
pub use crate::harness::rotations::eventually;

pub const HOUR: Duration = Duration::from_secs(3600);

/// With an API and a tenant.
pub async fn furnish(daemon: &Daemon) {
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
}

pub fn replace_request(name: &str) -> proto::ReplaceClientRequest {
    proto::ReplaceClientRequest { name: name.to_owned(), ..Default::default() }
}

pub async fn replace(daemon: &Daemon, request: proto::ReplaceClientRequest) -> Result<proto::Rotation, Status> {
    Ok(daemon.clients().replace_client(request).await?.into_inner())
}

/// With an overlap of so long.
pub async fn replace_over(daemon: &Daemon, name: &str, overlap: Duration) -> proto::Rotation {
    let overlap = Some(prost_types::Duration::try_from(overlap).expect("in range"));
    let request = proto::ReplaceClientRequest { overlap, ..replace_request(name) };
    replace(daemon, request).await.expect("a rotation")
}

pub async fn client(daemon: &Daemon, name: &str) -> proto::Client {
    let request = proto::GetClientRequest { name: name.to_owned() };
    daemon.clients().get_client(request).await.expect("the client").into_inner()
}

pub async fn rotation(daemon: &Daemon, name: &str) -> proto::Rotation {
    let request = proto::GetRotationRequest { name: name.to_owned() };
    daemon.clients().get_rotation(request).await.expect("the rotation").into_inner()
}

/// Every pool, with how many app clients it says it has.
pub async fn pools(daemon: &Daemon) -> Vec<(String, i32)> {
    let answer = daemon.catalog().list_pools(proto::ListPoolsRequest::default()).await.expect("pools");
    answer.into_inner().pools.into_iter().map(|pool| (pool.name, pool.app_client_count)).collect()
}

/// The app client that a good token is of.
pub async fn app_client_of(daemon: &Daemon, token: &str) -> String {
    match daemon.verify(token).await {
        Verdict::Verified(verified) => verified.app_client_id,
        Verdict::Rejected(rejected) => panic!("{rejected:?}"),
    }
}

pub async fn rejection(daemon: &Daemon, token: &str) -> proto::RejectionReason {
    match daemon.verify(token).await {
        Verdict::Verified(verified) => panic!("{verified:?}"),
        Verdict::Rejected(rejected) => rejected.reason(),
    }
}

pub async fn until_state(daemon: &Daemon, name: &str, state: proto::RotationState) -> proto::Rotation {
    eventually("the rotation's state", || async { rotation(daemon, name).await.state() == state }).await;
    rotation(daemon, name).await
}

pub fn kinds(steps: &[proto::RotationStep]) -> Vec<proto::RotationStepKind> {
    steps.iter().map(proto::RotationStep::kind).collect()
}
