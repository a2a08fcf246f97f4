//! The daemon on ministack's Cognito and moto's Secrets Manager, as far as they go.

use std::sync::Arc;

use keyward::aws::Aws;
use keyward::proto;
use keyward::runtime::clock::SystemClock;

use crate::contract::peer_options;
use crate::harness::on_aws::over_aws;
use crate::harness::rotations::eventually;
use crate::harness::{Daemon, create_tenant, get_tenant, new_client};
use crate::peers::Peer;

/// ministack gives app clients a secret of its own making, or none: no client of ours could ever authenticate. So the
/// difference to AWS is that clients stay in the making; everything else about tenants goes well.
#[tokio::test]
async fn on_ministack_and_moto_tenants_live_and_clients_stay_in_the_making() {
    let (ministack, moto) = tokio::join!(Peer::ministack(), Peer::moto());
    let clock = Arc::new(SystemClock);
    let aws = Aws::connect(peer_options(&ministack, &moto), clock.clone()).await.expect("connected");
    let daemon = Daemon::start_through(clock, |_| {}, |ports| over_aws(&aws, ports)).await;
    daemon.put_orders_api().await;
    let shared = daemon.create_tenant("acme").await;
    let own = create_tenant(&daemon.channel, "globex", proto::Isolation::UserPool).await;
    assert_eq!((shared.state(), own.state()), (proto::TenantState::Active, proto::TenantState::Active));

    let answer = daemon.clients().create_client(new_client("acme", "checkout")).await;
    let client = answer.expect("the client in the making").into_inner();
    assert_eq!(client.state(), proto::ClientState::Creating);
    assert!(!client.state_reason.is_empty());
    let pool = aws.user_pools().list_pools(None).await.expect("pools").items;
    assert!(pool.iter().any(|id| shared.pool.ends_with(id.as_str())), "{pool:?}");
    for tenant in ["acme", "globex"] {
        let request = proto::DeleteTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() };
        daemon.tenants().delete_tenant(request).await.expect("deleted");
    }
    eventually("the tenants are gone", async || {
        get_tenant(&daemon.channel, "acme").await.is_err() && get_tenant(&daemon.channel, "globex").await.is_err()
    })
    .await;
    let page = aws.user_pools().list_pools(None).await.expect("pools").items;
    let left: Vec<_> = page.iter().filter(|id| id.as_str().starts_with("tenant-")).collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.stop().await;
}
