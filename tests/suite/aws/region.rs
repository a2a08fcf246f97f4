//! A pool of a tenant's own in another Region: it, its secrets and its token traffic stay there.

use keyward::broker::ports::Wanted;
use keyward::domain::id::{SecretName, VersionId};
use keyward::proto::{self, DriftKind};

use super::domains::{Platform, custom};
use super::life::check_token;
use crate::fake::{Fake, OTHER_REGION};
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::{eventually, rotate_at_once};
use crate::harness::{assert_invalid, get_tenant, new_tenant_with_pool};

#[tokio::test]
async fn all_calls_for_a_pool_in_another_region_go_to_its_own_endpoints() {
    let platform = Platform::set_with(Fake::by_region).await;
    let AwsStage { daemon, fake, .. } = &platform.stage;
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
    platform.until_settled().await;
    platform.delete("acme").await;
    assert_eq!(fake.inventory(), Default::default());

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
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_secret_that_is_nobodys_is_a_leftover_in_each_region_and_one_that_is_in_use_is_not() {
    let platform = Platform::set().await;
    let AwsStage { daemon, fake, .. } = &platform.stage;
    let settings = proto::UserPoolSettings { region: OTHER_REGION.to_owned(), ..Default::default() };
    daemon.tenants().create_tenant(new_tenant_with_pool("acme", settings)).await.expect("created");
    let used = daemon.create_client("acme", "checkout").await.secret_name;
    assert_eq!(used, format!("keyward/tenants/acme/clients/checkout@{OTHER_REGION}"));
    let secret = |name: &str| SecretName::parse("name", name).expect("a name");
    let document = platform.backend.0.vault.read(&secret(&used), Wanted::Current).await.expect("read").expect("there");
    // Of no client, and beside the client's own.
    let left = [used.replace("checkout", "gone"), used.replace(&format!("@{OTHER_REGION}"), "")];
    for name in &left {
        let version = VersionId::from_digest(&"0".repeat(64));
        platform.backend.0.vault.put(&secret(name), &version, &document).await.expect("put");
    }
    for (mend, found) in [(false, 2), (true, 2), (true, 0)] {
        let drifts = platform.reconcile("acme", mend).await;
        let mut ids: Vec<_> = drifts.iter().map(|drift| drift.external_id.clone()).collect();
        ids.sort_by_key(|id| *id == left[1]);
        assert_eq!(ids, left[..found]);
        assert!(drifts.iter().all(|drift| drift.kind() == DriftKind::Orphan && drift.mended == mend), "{drifts:?}");
    }
    assert_eq!(fake.inventory().secrets, [used]);
    platform.stage.strike().await;
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
