//! Settings that were changed by hand are told by their fields, and written back.

use std::time::Duration;

use keyward::broker::ports::AppClientSpec;
use keyward::domain::scope::ScopeSet;
use keyward::domain::tenant::{Mfa, UserPoolSettings};
use keyward::proto::{DriftKind, Isolation};

use super::{ALL, NAME, Platform, told};
use crate::harness::create_tenant;

#[tokio::test]
async fn an_app_clients_scopes_and_validity_are_written_back() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let seen = backend.must_see(NAME).await;
    let app_client = seen.client.app_client.clone().expect("made");
    let spec = AppClientSpec {
        marker: seen.client.marker(),
        scopes: ScopeSet::parse("scopes", &["orders/read"]).expect("scopes"),
        access_token_validity: Duration::from_secs(86_400),
    };
    backend.0.user_pools.update_app_client(&seen.pool, &app_client, &spec).await.expect("updated");
    assert_eq!(platform.reconcile("tenants/bigco", true).await, []);
    let id = app_client.as_str();
    let expected = [
        (DriftKind::ChangedSetting, NAME, id, "scopes"),
        (DriftKind::ChangedSetting, NAME, id, "access_token_validity"),
    ];
    assert_eq!(told(&platform.mended("tenants/acme").await), expected);
    let now = backend.0.user_pools.describe_app_client(&seen.pool, &app_client).await.expect("asked").expect("there");
    assert_eq!((&now.scopes, now.access_token_validity), (&seen.client.scopes, Duration::from_secs(3_600)));
    daemon.token(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_tenants_own_pool_and_a_shared_one_get_their_settings_back() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let own = create_tenant(&daemon.channel, "isolated", Isolation::UserPool).await.pool;
    let shared = backend.must_see(NAME).await.client.pool.name();
    let by_hand = UserPoolSettings { mfa: Mfa::On, deletion_protection: true, ..Default::default() };
    for pool in [&own, &shared] {
        backend.0.user_pools.update_pool(&backend.made(pool).await, &by_hand).await.expect("updated");
    }
    let own_id = backend.made(&own).await.user_pool.to_string();
    let shared_id = backend.made(&shared).await.user_pool.to_string();
    let differing = |pool, id| {
        ["user_pool.mfa_mode", "user_pool.deletion_protection"]
            .map(|field| (DriftKind::ChangedSetting, pool, id, field))
    };
    assert_eq!(told(&platform.mended("tenants/isolated").await), differing(own.as_str(), own_id.as_str()));
    assert_eq!(platform.reconcile("tenants/acme", true).await, [], "a shared pool is no tenant's");
    assert_eq!(told(&platform.mended(ALL).await), differing(shared.as_str(), shared_id.as_str()));
    for pool in [&own, &shared] {
        let now = backend.0.user_pools.pool_settings(&backend.made(pool).await).await.expect("asked").expect("there");
        assert_eq!((now.mfa, now.deletion_protection), (Mfa::Off, false));
    }
    platform.daemon.stop().await;
}
