//! User pools that a crash, a restored registry or a hand has left in a state of their own: unknown, half made, in the
//! way of their deletion.

use std::time::Duration;

use keyward::aws::Messages;
use keyward::broker::ports::Shelf;
use keyward::domain::id::PoolId;
use keyward::domain::pool::MadePool;
use keyward::domain::scope::ResourceServer;
use keyward::domain::tenant::{Mfa, UserPoolSettings};
use keyward::proto::{self, DriftKind};
use serde_json::json;

use super::domains::Platform;
use crate::fake::{After, Fault, OTHER_REGION, REGION};
use crate::harness::outside::secret;
use crate::harness::{get_tenant, mask, new_tenant_with_pool};

fn told(drifts: &[proto::Drift]) -> Vec<(DriftKind, &str, bool)> {
    drifts.iter().map(|drift| (drift.kind(), drift.external_id.as_str(), drift.mended)).collect()
}

/// A pool with Keyward's mark that the registry does not know, with a second factor for everybody.
async fn unknown(platform: &Platform, id: &str, region: &str) -> MadePool {
    let settings = UserPoolSettings { region: region.to_owned(), mfa: Mfa::On, ..Default::default() };
    let id = PoolId::parse("pool", id).expect("an id");
    platform.backend.0.user_pools.ensure_pool(&id, &settings).await.expect("a pool")
}

/// The operations of Cognito that have changed something.
fn changes(platform: &Platform) -> Vec<String> {
    let calls = platform.stage.fake.calls().into_iter().map(|call| call.action);
    let names = calls.filter_map(|action| action.strip_prefix("cognito-idp:").map(str::to_owned));
    names.filter(|name| !["List", "Describe", "Get"].iter().any(|verb| name.starts_with(verb))).collect()
}

#[tokio::test]
async fn a_pool_that_nobody_knows_is_not_changed_while_something_is_in_it() {
    let platform = Platform::set().await;
    let fake = &platform.stage.fake;
    let with_client = unknown(&platform, "shared-0123456789abcdef", REGION).await;
    let mut servers = platform.backend.records::<ResourceServer>(Shelf::ResourceServer).await;
    platform.backend.0.user_pools.put_resource_server(&with_client, &servers.remove(0)).await.expect("put");
    platform.backend.app_client(&with_client, "somebodys", &secret(1)).await;
    let with_people = unknown(&platform, "tenant-0123456789abcdef", REGION).await;
    let far = unknown(&platform, "tenant-fedcba9876543210", OTHER_REGION).await;
    for pool in [&with_people, &far] {
        fake.set_users(pool.user_pool.as_str(), 3);
    }
    fake.forget_calls();
    let drifts = platform.reconcile("-", true).await;
    let orphan = |id| (DriftKind::Orphan, id, false);
    let ids = ["shared-0123456789abcdef", "tenant-0123456789abcdef", "tenant-fedcba9876543210"];
    let mut told = told(&drifts);
    told.sort_by_key(|(_, id, _)| *id);
    assert_eq!(told, ids.map(orphan));
    assert_eq!(changes(&platform), Vec::<String>::new());
    for pool in [&with_client, &with_people, &far] {
        assert_eq!(fake.pool_setting(pool.user_pool.as_str(), "MfaConfiguration"), json!("ON"));
    }
    assert_eq!(fake.inventory().user_pools.len(), 3);
    platform.stage.strike().await;
}

#[tokio::test]
async fn a_pool_that_nobody_knows_and_nothing_is_in_goes_in_whichever_region_it_is() {
    let platform = Platform::set().await;
    unknown(&platform, "tenant-0123456789abcdef", REGION).await;
    unknown(&platform, "tenant-fedcba9876543210", OTHER_REGION).await;
    platform.stage.fake.forget_calls();
    let drifts = platform.reconcile("-", true).await;
    let mut told = told(&drifts);
    told.sort_by_key(|(_, id, _)| *id);
    let orphan = |id| (DriftKind::Orphan, id, true);
    assert_eq!(told, ["tenant-0123456789abcdef", "tenant-fedcba9876543210"].map(orphan));
    let expected = ["DeleteUserPoolDomain", "DeleteUserPool", "DeleteUserPoolDomain", "DeleteUserPool"];
    assert_eq!(changes(&platform), expected, "nothing is made for it");
    assert_eq!(platform.stage.fake.inventory(), Default::default());
    platform.stage.strike().await;
}

#[tokio::test]
async fn settings_that_change_while_a_pool_is_half_made_are_in_force_when_it_is_made() {
    let identity = "arn:aws:ses:{region}:123456789012:identity/login@example.com".to_owned();
    let messages = Messages { email_identity: identity, ..Default::default() };
    let platform = Platform::set_with(|_| {}, |options| options.messages = messages).await;
    let daemon = &platform.stage.daemon;
    platform.stage.fake.fail(After::calls(0).of("CreateUserPoolDomain"), Fault::Internal);
    let request = new_tenant_with_pool("acme", proto::UserPoolSettings::default());
    let creating = daemon.tenants().create_tenant(request).await.expect("written down").into_inner();
    assert_eq!(creating.state(), proto::TenantState::Creating);
    let policy = proto::PasswordPolicy { minimum_length: 14, ..Default::default() };
    let wanted = proto::UserPoolSettings {
        password_policy: Some(policy),
        // Which Cognito takes only in a pool that says where its email comes from.
        mfa_mode: proto::MfaMode::Required.into(),
        mfa_factors: vec![proto::MfaFactor::Email.into()],
        tags: [("team".to_owned(), "identity".to_owned())].into(),
        ..Default::default()
    };
    let tenant = proto::Tenant { name: "tenants/acme".to_owned(), user_pool: Some(wanted), ..Default::default() };
    let update_mask = mask(&["user_pool"]);
    let request = proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() };
    daemon.tenants().update_tenant(request).await.expect("updated");
    platform.until_settled().await;
    let active = get_tenant(&daemon.channel, "acme").await.expect("there");
    assert_eq!(active.state(), proto::TenantState::Active);
    assert_eq!(platform.stage.fake.inventory().user_pools.len(), 1);
    assert_eq!(platform.reconcile("acme", false).await, []);
    platform.stage.strike().await;
}

/// What the tenant says while it waits for its pool's deletion.
async fn waits_for(platform: &Platform) -> String {
    let daemon = &platform.stage.daemon;
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("written down");
    get_tenant(&daemon.channel, "acme").await.expect("there until its pool is gone").state_reason
}

#[tokio::test]
async fn only_a_pool_that_is_protected_is_said_to_be_protected_when_its_deletion_is_refused() {
    for is_protected in [false, true] {
        let platform = Platform::set().await;
        platform.create("acme", None).await.expect("created");
        let user_pool = platform.made("acme").await.user_pool;
        match is_protected {
            true => platform.stage.fake.set_pool(user_pool.as_str(), "DeletionProtection", json!("ACTIVE")),
            false => {
                let fault = Fault::Error("NotAuthorizedException");
                platform.stage.fake.fail(After::calls(0).of("DeleteUserPool"), fault);
            }
        }
        let reason = waits_for(&platform).await;
        assert_eq!(reason.ends_with("is protected against deletion"), is_protected, "{reason}");
        assert_eq!(reason.starts_with("the backend refuses it"), !is_protected, "{reason}");
        platform.stage.fake.set_pool(user_pool.as_str(), "DeletionProtection", json!("INACTIVE"));
        platform.delete("acme").await;
        platform.stage.strike().await;
    }
}

#[tokio::test]
async fn a_pool_that_is_said_to_have_its_domain_still_is_a_matter_of_time() {
    let platform = Platform::set().await;
    platform.create("acme", None).await.expect("created");
    platform.stage.fake.remember_domains(Duration::from_secs(60));
    assert_eq!(waits_for(&platform).await, "the identity backend does not answer", "nobody protects or forbids it");
    platform.delete("acme").await;
    assert_eq!(platform.stage.fake.inventory(), Default::default());
    platform.stage.strike().await;
}
