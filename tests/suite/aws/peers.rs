//! The daemon on programs of others: ministack's Cognito with its token endpoint, moto's Secrets Manager. Neither is
//! AWS (see `peers`), and ministack chooses the secrets of app clients itself, one for each.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};
use keyward::aws::Aws;
use keyward::proto;
use keyward::proto::verify_token_response::Verdict;
use keyward::runtime::clock::SystemClock;

use super::life::check_token;
use crate::contract::peer_options;
use crate::fake::REGION;
use crate::harness::on_aws::over_aws;
use crate::harness::rotations::{eventually, get_client, get_rotation, try_rotate};
use crate::harness::{Daemon, create_tenant, get_tenant, token};
use crate::peers::{Peer, Sdk};

/// A daemon, and both peers past it.
struct Stage {
    daemon: Daemon,
    ministack: Sdk,
    moto: Sdk,
    _peers: [Peer; 2],
}

impl Stage {
    async fn set() -> Stage {
        let (ministack, moto) = tokio::join!(Peer::ministack(), Peer::moto());
        let clock = Arc::new(SystemClock);
        let aws = Aws::connect(peer_options(&ministack, &moto), clock.clone()).await.expect("connected");
        let daemon = Daemon::start_through(clock, |_| {}, |ports| over_aws(&aws, ports)).await;
        daemon.put_orders_api().await;
        let sdk = |peer: &Peer| Sdk::new(&peer.endpoint, REGION, "AKIATEST", "test");
        Stage { daemon, ministack: sdk(&ministack), moto: sdk(&moto), _peers: [ministack, moto] }
    }

    /// Names of all user pools.
    async fn user_pools(&self) -> BTreeSet<String> {
        let answer = self.ministack.cognito.list_user_pools().max_results(60).send().await.expect("user pools");
        answer.user_pools().iter().map(|pool| pool.name().expect("a name").to_owned()).collect()
    }

    /// Ids of all app clients in all pools.
    async fn app_clients(&self) -> BTreeSet<String> {
        let cognito = &self.ministack.cognito;
        let pools = cognito.list_user_pools().max_results(60).send().await.expect("user pools");
        let mut ids = BTreeSet::new();
        for pool in pools.user_pools() {
            let clients = cognito.list_user_pool_clients().user_pool_id(pool.id().expect("an id")).max_results(60);
            let clients = clients.send().await.expect("app clients");
            ids.extend(clients.user_pool_clients().iter().map(|client| client.client_id().expect("an id").to_owned()));
        }
        ids
    }

    /// Names of all secrets that are not scheduled for deletion.
    async fn secrets(&self) -> BTreeSet<String> {
        let filter = Filter::builder().key(FilterNameStringType::Name).values("keyward/").build();
        let answer = self.moto.secrets.list_secrets().filters(filter).send().await.expect("secrets");
        let kept = answer.secret_list().iter().filter(|secret| secret.deleted_date().is_none());
        kept.map(|secret| secret.name().expect("a name").to_owned()).collect()
    }

    /// How many versions of a client's secret bear each label: current, pending, previous.
    async fn labels(&self, secret: &str) -> [usize; 3] {
        let seen = self.moto.secrets.describe_secret().secret_id(secret).send().await.expect("a secret");
        let versions = seen.version_ids_to_stages().cloned().unwrap_or_default();
        ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]
            .map(|label| versions.values().filter(|labels| labels.iter().any(|has| has == label)).count())
    }
}

#[tokio::test]
async fn a_tenant_of_each_kind_lives_its_whole_life_on_ministack_and_moto() {
    let stage = Stage::set().await;
    for (tenant, isolation) in [("acme", proto::Isolation::AppClient), ("globex", proto::Isolation::UserPool)] {
        let made = create_tenant(&stage.daemon.channel, tenant, isolation).await;
        assert_eq!(made.state(), proto::TenantState::Active);
        live(&stage, tenant).await;
    }
    // The shared pool is for the next tenant.
    let pools = stage.user_pools().await;
    assert!(pools.len() == 1 && pools.iter().all(|name| name.starts_with("keyward-shared-")), "{pools:?}");
    assert_eq!((stage.app_clients().await, stage.secrets().await), Default::default());
    stage.daemon.stop().await;
}

async fn live(stage: &Stage, tenant: &str) {
    let daemon = &stage.daemon;
    let client = daemon.create_client(tenant, "checkout").await;
    assert_eq!(client.state(), proto::ClientState::Active);
    let first = client.app_client_id.clone();
    assert_eq!(stage.app_clients().await, BTreeSet::from([first.clone()]), "what was made first to find out is gone");
    check_token(daemon, &client.name, &first).await;

    let request = proto::RotateClientSecretRequest {
        name: client.name.clone(),
        overlap: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let rotation = try_rotate(&daemon.channel, request).await.expect("rotated");
    assert_eq!(rotation.method(), proto::RotationMethod::ReplaceAppClient, "it found out by itself");
    let second = go_over(stage, &client.name, &first, &rotation).await;

    let request = proto::ReplaceClientRequest {
        name: client.name.clone(),
        overlap: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let rotation = daemon.clients().replace_client(request).await.expect("replaced").into_inner();
    let third = go_over(stage, &client.name, &second, &rotation).await;

    let request = proto::RotateClientSecretRequest { name: client.name.clone(), immediate: true, ..Default::default() };
    let rotation = try_rotate(&daemon.channel, request).await.expect("rotated at once");
    go_over(stage, &client.name, &third, &rotation).await;

    let request = proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    eventually("the app client and its secret are gone", async || {
        stage.app_clients().await.is_empty() && stage.secrets().await.is_empty()
    })
    .await;
    assert_eq!(token(&daemon.channel, &client.name).await.expect_err("gone").code(), tonic::Code::NotFound);

    daemon.create_client(tenant, "billing").await;
    let request = proto::DeleteTenantRequest { name: format!("tenants/{tenant}"), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    eventually("the tenant is gone", async || get_tenant(&daemon.channel, tenant).await.is_err()).await;
    let pools = stage.user_pools().await;
    assert!(!pools.iter().any(|name| name.contains(tenant)), "{pools:?}");
    assert_eq!((stage.app_clients().await, stage.secrets().await), Default::default());
}

/// A rotation until it is over: another app client has the place of `old`, and a token was there at every moment.
async fn go_over(stage: &Stage, name: &str, old: &str, rotation: &proto::Rotation) -> String {
    let daemon = &stage.daemon;
    eventually("another app client is used", async || {
        daemon.token(name).await;
        get_client(&daemon.channel, name).await.app_client_id != old
    })
    .await;
    let before = daemon.token(name).await.access_token;
    eventually("the rotation succeeds", async || {
        daemon.token(name).await;
        get_rotation(&daemon.channel, &rotation.name).await.state() == proto::RotationState::Succeeded
    })
    .await;
    let new = get_client(&daemon.channel, name).await;
    assert_eq!(stage.app_clients().await, BTreeSet::from([new.app_client_id.clone()]), "the old one is deleted");
    assert!(matches!(daemon.verify(&before).await, Verdict::Verified(_)), "a token from before is good");
    assert_eq!(stage.labels(&new.secret_name).await, [1, 0, 0], "current alone is left");
    new.app_client_id
}

/// Past every cache: the daemon that comes after it has no token, and reads the secret from the vault.
#[tokio::test]
async fn a_daemon_that_starts_again_gets_tokens_with_the_secret_that_ministack_chose() {
    let (ministack, moto) = tokio::join!(Peer::ministack(), Peer::moto());
    let clock = Arc::new(SystemClock);
    let aws = Aws::connect(peer_options(&ministack, &moto), clock.clone()).await.expect("connected");
    let daemon = Daemon::start_through(clock, |_| {}, |ports| over_aws(&aws, ports)).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await;
    check_token(&daemon, &client.name, &client.app_client_id).await;
    let request = proto::ReplaceClientRequest { name: client.name.clone(), ..Default::default() };
    daemon.clients().replace_client(request).await.expect("replaced");
    eventually("another app client is used", async || {
        get_client(&daemon.channel, &client.name).await.app_client_id != client.app_client_id
    })
    .await;
    let new = get_client(&daemon.channel, &client.name).await.app_client_id;
    let aws = Aws::connect(peer_options(&ministack, &moto), Arc::new(SystemClock)).await.expect("connected");
    let daemon = daemon.restart_through(|ports| over_aws(&aws, ports)).await;
    check_token(&daemon, &client.name, &new).await;
    daemon.stop().await;
}
