//! `MoveTenant`: a tenant goes to the other isolation, and whoever calls does not notice.

mod aws;
mod errors;
mod fleet;
mod late;
mod life;
mod load;
mod races;

use std::sync::Arc;
use std::time::Duration;

use keyward::proto::{self, Isolation, TenantMoveState};
use keyward::runtime::clock::ManualClock;
use tonic::Status;

use crate::harness::rotations::eventually;
use crate::harness::{Daemon, get_tenant, new_tenant, new_tenant_with_pool, pools, span};

const DAY: Duration = Duration::from_secs(86_400);

pub fn move_request(tenant: &str, target: Isolation) -> proto::MoveTenantRequest {
    proto::MoveTenantRequest { name: format!("tenants/{tenant}"), target: target.into(), ..Default::default() }
}

/// With an overlap of so long.
pub fn move_over(tenant: &str, target: Isolation, overlap: Duration) -> proto::MoveTenantRequest {
    proto::MoveTenantRequest { overlap: span(overlap), ..move_request(tenant, target) }
}

pub async fn start(daemon: &Daemon, request: proto::MoveTenantRequest) -> Result<proto::Tenant, Status> {
    Ok(daemon.tenants().move_tenant(request).await?.into_inner())
}

pub async fn tenant(daemon: &Daemon, id: &str) -> proto::Tenant {
    get_tenant(&daemon.channel, id).await.expect("there")
}

/// The tenant once its move is in this state. The clock is not moved.
pub async fn until(daemon: &Daemon, id: &str, state: TenantMoveState) -> proto::Tenant {
    eventually(&format!("the move of {id} is {state:?}"), async || state_of(&tenant(daemon, id).await) == state).await;
    tenant(daemon, id).await
}

/// The tenant once its move says why it does not go on.
pub async fn until_trouble(daemon: &Daemon, id: &str, reason: &str) -> proto::Tenant {
    eventually(reason, async || move_of(&tenant(daemon, id).await).last_error_reason == reason).await;
    tenant(daemon, id).await
}

/// The tenant once its move is over. The clock is moved on by a second again and again.
pub async fn until_over(daemon: &Daemon, clock: &ManualClock, id: &str) -> proto::Tenant {
    eventually(&format!("the move of {id} is over"), async || {
        clock.advance(Duration::from_secs(1));
        state_of(&tenant(daemon, id).await) == TenantMoveState::Succeeded
    })
    .await;
    tenant(daemon, id).await
}

pub fn move_of(tenant: &proto::Tenant) -> &proto::TenantMove {
    tenant.r#move.as_ref().expect("it is or was moved")
}

pub fn state_of(tenant: &proto::Tenant) -> TenantMoveState {
    move_of(tenant).state()
}

/// How many app clients each pool has, and whether it is somebody's own.
pub async fn counts(daemon: &Daemon) -> Vec<(proto::PoolKind, i32)> {
    pools(&daemon.channel).await.iter().map(|pool| (pool.kind(), pool.app_client_count)).collect()
}

/// A daemon with the orders API, and a tenant with two clients.
pub async fn furnished(isolation: Isolation) -> (Daemon, Arc<ManualClock>) {
    let (daemon, clock) = Daemon::start_at_rest().await;
    furnish(&daemon, isolation).await;
    (daemon, clock)
}

pub async fn furnish(daemon: &Daemon, isolation: Isolation) {
    daemon.put_orders_api().await;
    furnish_tenant(daemon, isolation).await;
}

/// A pool of its own has settings that are not the default.
pub async fn furnish_tenant(daemon: &Daemon, isolation: Isolation) {
    let settings = proto::UserPoolSettings { feature_plan: proto::FeaturePlan::Plus.into(), ..Default::default() };
    let request = match isolation {
        Isolation::UserPool => new_tenant_with_pool("acme", settings),
        _ => new_tenant("acme", isolation),
    };
    daemon.tenants().create_tenant(request).await.expect("a tenant");
    for id in ["billing", "orders"] {
        daemon.create_client("acme", id).await;
    }
}

pub const BILLING: &str = "tenants/acme/clients/billing";
pub const ORDERS: &str = "tenants/acme/clients/orders";
