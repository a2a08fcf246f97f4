//! A move on the strict fake of AWS, which takes a while until it knows everywhere what is new.

use std::time::Duration;

use keyward::proto::{Isolation, TenantMoveState};

use super::{BILLING, DAY, ORDERS, furnish_tenant, move_of, move_request, start, state_of, tenant};
use crate::fake::Propagation;
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::{eventually, get_client};

#[tokio::test]
async fn a_tenant_moves_there_and_back_and_leaves_nothing_behind() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, clock, .. } = &stage;
    furnish_tenant(daemon, Isolation::AppClient).await;
    let late = Duration::from_secs(3);
    fake.propagate(Propagation { appears: late, lingers: late });
    for target in [Isolation::UserPool, Isolation::AppClient] {
        let held = [daemon.token(BILLING).await, daemon.token(ORDERS).await];
        fake.forget_calls();
        start(daemon, move_request("acme", target)).await.expect("started");
        eventually("everybody is there", async || {
            stage.is_at_rest().await;
            clock.advance(Duration::from_secs(1));
            state_of(&tenant(daemon, "acme").await) == TenantMoveState::Overlap
        })
        .await;
        let walks = fake.calls().iter().filter(|call| call.action.ends_with(":ListUserPools")).count();
        assert_eq!(walks, 0, "nobody can have asked for a pool that was just written down");
        let inventory = fake.inventory();
        assert_eq!((inventory.app_clients.len(), inventory.user_pools.len(), inventory.secrets.len()), (4, 2, 2));
        for (name, token) in [BILLING, ORDERS].into_iter().zip(&held) {
            assert_eq!(daemon.token(name).await.access_token, token.access_token, "what is held is served on");
            let verdict = daemon.verify(&token.access_token).await;
            assert!(matches!(verdict, keyward::proto::verify_token_response::Verdict::Verified(_)), "{verdict:?}");
        }
        stage.is_at_rest().await;
        clock.advance(DAY);
        eventually("the old app clients are gone", async || fake.inventory().app_clients.len() == 2).await;
        stage.is_at_rest().await;
        clock.advance(DAY);
        eventually("the move is over", async || {
            stage.is_at_rest().await;
            clock.advance(Duration::from_secs(1));
            state_of(&tenant(daemon, "acme").await) == TenantMoveState::Succeeded
        })
        .await;
        let there = tenant(daemon, "acme").await;
        assert_eq!((there.isolation(), move_of(&there).last_error_reason.as_str()), (target, ""));
        let inventory = fake.inventory();
        let pools = if target == Isolation::UserPool { 2 } else { 1 };
        assert_eq!(inventory.user_pools.len(), pools, "{:?}", inventory.user_pools);
        for name in [BILLING, ORDERS] {
            let client = get_client(&daemon.channel, name).await;
            let left = inventory.app_clients.iter().find(|left| left.id == client.app_client_id).expect("there");
            assert_eq!(left.secrets.len(), 1);
            crate::aws::life::check_token(daemon, name, &client.app_client_id).await;
        }
        assert_eq!((inventory.app_clients.len(), inventory.secrets.len()), (2, 2));
    }
    stage.strike().await;
}
