//! What bears the broker's mark and is nobody's, and what the registry knows and is not there.

use keyward::broker::ports::{SecretDocument, Shelf};
use keyward::domain::client::Client;
use keyward::domain::id::{PoolId, SecretName, VersionId};
use keyward::domain::scope::{Identifier, ResourceServer};
use keyward::proto::{DriftKind, Isolation};

use super::{ALL, NAME, Platform, told};
use crate::harness::create_tenant;
use crate::harness::outside::secret;

#[tokio::test]
async fn an_app_client_that_keyward_named_and_nobody_stands_for_goes() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let made = backend.must_see(NAME).await.pool;
    let clients: Vec<Client> = backend.records(Shelf::Client).await;
    let gone = backend.app_client(&made, "keyward-acme.gone-0123456789abcdef", &secret(1)).await;
    let double = backend.app_client(&made, &clients[0].marker(), &secret(2)).await;
    let nobodys = backend.app_client(&made, "keyward-nobody.gone-0123456789abcdef", &secret(3)).await;
    let foreign = backend.app_client(&made, "keyward-like", &secret(4)).await;

    let mut drifts = platform.mended("tenants/acme").await;
    drifts.sort_by(|a, b| a.resource.cmp(&b.resource));
    let expected =
        [(DriftKind::Orphan, "tenants/acme", gone.as_str(), ""), (DriftKind::Orphan, NAME, double.as_str(), "")];
    assert_eq!(told(&drifts), expected);
    assert!(!backend.is_there(&made, &gone).await && !backend.is_there(&made, &double).await);
    assert!(backend.is_there(&made, &nobodys).await, "it is not this tenant's");
    assert_eq!(told(&platform.mended(ALL).await), [(DriftKind::Orphan, "", nobodys.as_str(), "")]);
    assert!(backend.is_there(&made, &foreign).await, "its name is not one of Keyward's");
    backend.check_settled(NAME).await;
    daemon.token(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_secret_under_the_brokers_prefix_that_is_no_clients_goes() {
    let platform = Platform::start().await;
    let backend = &platform.backend;
    let document = SecretDocument {
        client_id: None,
        client_secret: secret(1),
        token_endpoint: String::new(),
        issuer: String::new(),
        scopes: String::new(),
    };
    let version = VersionId::parse("version", &"v".repeat(32)).expect("a version");
    let names =
        ["tenants/acme/clients/gone", "tenants/bigco/clients/gone", "tenants/nobody/clients/gone", "operators-own"];
    for name in names {
        let name = SecretName::parse("name", &format!("keyward/{name}")).expect("a name");
        backend.0.vault.stage(&name, &version, &document).await.expect("staged");
    }
    let acme = platform.mended("tenants/acme").await;
    assert_eq!(told(&acme), [(DriftKind::Orphan, "tenants/acme", "keyward/tenants/acme/clients/gone", "")]);
    let expected = [
        (DriftKind::Orphan, "tenants/bigco", "keyward/tenants/bigco/clients/gone", ""),
        (DriftKind::Orphan, "", "keyward/tenants/nobody/clients/gone", ""),
    ];
    assert_eq!(told(&platform.mended(ALL).await), expected);
    let left: Vec<_> = backend.secrets("keyward/").await.iter().map(ToString::to_string).collect();
    let expected =
        ["keyward/operators-own", "keyward/tenants/acme/clients/checkout", "keyward/tenants/bigco/clients/checkout"];
    assert_eq!(left, expected);
    platform.daemon.stop().await;
}

#[tokio::test]
async fn an_empty_pool_that_nobody_knows_goes_and_one_with_app_clients_is_only_told() {
    let platform = Platform::start().await;
    let backend = &platform.backend;
    backend.user_pool("tenant-0123456789abcdef").await;
    assert_eq!(platform.reconcile("tenants/acme", true).await, [], "it is no tenant's");
    assert_eq!(told(&platform.mended(ALL).await), [(DriftKind::Orphan, "", "tenant-0123456789abcdef", "")]);

    let used = backend.user_pool("shared-0123456789abcdef").await;
    let mut servers = backend.records::<ResourceServer>(Shelf::ResourceServer).await;
    backend.0.user_pools.put_resource_server(&used, &servers.remove(0)).await.expect("put");
    let app_client = backend.app_client(&used, "somebodys", &secret(1)).await;
    let drifts = platform.reconcile(ALL, true).await;
    assert_eq!(told(&drifts), [(DriftKind::Orphan, "", "shared-0123456789abcdef", "")]);
    assert!(!drifts[0].mended && backend.is_there(&used, &app_client).await);
    platform.daemon.stop().await;
}

#[tokio::test]
async fn a_resource_server_that_a_pool_has_lost_is_put_back() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let seen = backend.must_see(NAME).await;
    let orders = Identifier::parse("identifier", "orders").expect("an identifier");
    backend.0.user_pools.delete_resource_server(&seen.pool, &orders).await.expect("deleted");
    let pool = seen.client.pool.name();
    assert_eq!(told(&platform.mended(ALL).await), [(DriftKind::Missing, pool.as_str(), "orders", "")]);
    daemon.token(NAME).await;
    platform.daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_or_a_pool_that_is_gone_is_told_and_not_made_anew() {
    let platform = Platform::start().await;
    let Platform { daemon, backend, .. } = &platform;
    let own = create_tenant(&daemon.channel, "isolated", Isolation::UserPool).await.pool;
    daemon.create_client("isolated", "checkout").await;
    let made = backend.made(&own).await;
    let id = PoolId::parse("pool", own.trim_start_matches("pools/")).expect("an id");
    backend.0.user_pools.delete_pool(&id, "", Some(&made)).await.expect("deleted");
    let seen = backend.must_see(NAME).await;
    let app_client = seen.client.app_client.clone().expect("made");
    backend.0.user_pools.delete_app_client(&seen.pool, &app_client).await.expect("deleted");

    for mend in [false, true] {
        let acme = platform.reconcile("tenants/acme", mend).await;
        assert_eq!(told(&acme), [(DriftKind::Missing, NAME, app_client.as_str(), "")]);
        assert!(!acme[0].mended);
        let isolated = platform.reconcile("tenants/isolated", mend).await;
        let in_it = ("tenants/isolated/clients/checkout", DriftKind::Missing);
        assert_eq!(told(&isolated)[0], (DriftKind::Missing, own.as_str(), made.user_pool.as_str(), ""));
        assert_eq!((isolated[1].resource.as_str(), isolated[1].kind()), in_it);
        assert!(isolated.len() == 2 && isolated.iter().all(|drift| !drift.mended));
    }
    assert_eq!(platform.reconcile("tenants/bigco", false).await, []);
    platform.daemon.stop().await;
}
