//! A pool of a tenant's own in another Region.

use keyward::proto;

use super::life::check_token;
use crate::fake::OTHER_REGION;
use crate::harness::new_tenant_with_pool;
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::{eventually, rotate_at_once};

#[tokio::test]
async fn all_calls_for_a_pool_in_another_region_go_there() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, .. } = &stage;
    let settings = proto::UserPoolSettings { region: OTHER_REGION.to_owned(), ..Default::default() };
    let tenant = daemon.tenants().create_tenant(new_tenant_with_pool("acme", settings)).await.expect("created");
    assert_eq!(tenant.into_inner().state(), proto::TenantState::Active);
    let client = daemon.create_client("acme", "checkout").await;
    check_token(daemon, &client.name, &client.app_client_id).await;
    rotate_at_once(&daemon.channel, &client.name).await;
    eventually("the rotation is over", async || {
        fake.inventory().app_clients.iter().all(|client| client.secrets.len() == 1)
            && crate::harness::rotations::list_rotations(&daemon.channel, &client.name)
                .await
                .iter()
                .all(|rotation| rotation.end_time.is_some())
    })
    .await;
    check_token(daemon, &client.name, &client.app_client_id).await;
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    eventually("nothing is left", async || fake.inventory() == Default::default()).await;

    let calls = fake.calls();
    for service in ["cognito-idp:", "secretsmanager:", "oauth2:Token", "oauth2:Keys"] {
        assert!(calls.iter().any(|call| call.action.starts_with(service)), "no calls of {service}");
    }
    for call in calls {
        // A key set is asked for by its URL, which names the pool and so the Region.
        let region = match (call.action.as_str(), &call.pool) {
            ("oauth2:Keys", Some(pool)) => pool.split('_').next().unwrap_or_default().to_owned(),
            _ => call.region.clone(),
        };
        assert_eq!(region, OTHER_REGION, "{call:?}");
    }
    stage.strike().await;
}
