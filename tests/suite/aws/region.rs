//! A pool of a tenant's own in another Region: it, its secrets and its token traffic stay there.

use std::time::Duration;

use keyward::proto;

use super::domains::custom;
use super::life::check_token;
use crate::fake::{Fake, OTHER_REGION};
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::{eventually, rotate_at_once};
use crate::harness::{assert_invalid, get_tenant, new_tenant_with_pool};

#[tokio::test]
async fn all_calls_for_a_pool_in_another_region_go_to_its_own_endpoints() {
    let stage = AwsStage::set_with(|_| {}, Fake::by_region).await;
    let AwsStage { daemon, fake, .. } = &stage;
    // With all that has calls of its own.
    let settings = proto::UserPoolSettings {
        region: OTHER_REGION.to_owned(),
        mfa_mode: proto::MfaMode::Required.into(),
        issuer_type: proto::IssuerType::Updated.into(),
        domain: Some(custom("login.acme.example")),
        ..Default::default()
    };
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
    eventually("its domain is served", async || {
        stage.clock.advance(Duration::from_secs(5));
        fake.calls().iter().any(|call| call.action.ends_with(":UpdateUserPool"))
    })
    .await;
    let request = proto::ReconcileTenantRequest { name: "tenants/acme".to_owned(), mend: true, ..Default::default() };
    daemon.tenants().reconcile_tenant(request).await.expect("reconciled");
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    eventually("nothing is left", async || {
        stage.clock.advance(Duration::from_secs(5));
        fake.inventory() == Default::default()
    })
    .await;

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
        assert_eq!((region.as_str(), call.endpoint.as_str()), (OTHER_REGION, OTHER_REGION), "{call:?}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_region_that_is_not_configured_is_refused_before_anything_is_begun() {
    let stage = AwsStage::set().await;
    stage.fake.forget_calls();
    let settings = proto::UserPoolSettings { region: "ap-south-1".to_owned(), ..Default::default() };
    let refused = stage.daemon.tenants().create_tenant(new_tenant_with_pool("acme", settings)).await;
    assert_invalid(refused, "FIELD_INVALID", "tenant.user_pool.region");
    assert_eq!(get_tenant(&stage.daemon.channel, "acme").await.expect_err("nobody").code(), tonic::Code::NotFound);
    assert_eq!(stage.fake.calls(), []);
    stage.strike().await;
}
