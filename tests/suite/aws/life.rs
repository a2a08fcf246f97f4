//! Tenants and clients from their beginning to their end, on the strict fake.

use std::time::Duration;

use keyward::proto;
use keyward::proto::verify_token_response::Verdict;

use crate::fake::{After, AppClientItem, Fake, Fault, Outcome};
use crate::harness::on_aws::AwsStage;
use crate::harness::rotations::{eventually, get_client, get_rotation, rotate, rotate_at_once, try_rotate};
use crate::harness::{Daemon, create_tenant, details, token};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_tenant_in_a_shared_pool_lives_its_whole_life() {
    let stage = AwsStage::set().await;
    stage.daemon.create_tenant("acme").await;
    live(&stage).await;
    // What is left is the shared pool.
    let inventory = stage.fake.inventory();
    let names: Vec<_> = inventory.user_pools.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("keyward-shared-"), "{names:?}");
    assert_eq!((inventory.app_clients, inventory.secrets), (vec![], vec![]));
    stage.strike().await;
}

#[tokio::test]
async fn a_tenant_with_a_pool_of_its_own_lives_its_whole_life() {
    let stage = AwsStage::set().await;
    create_tenant(&stage.daemon.channel, "acme", proto::Isolation::UserPool).await;
    live(&stage).await;
    assert_eq!(stage.fake.inventory(), Default::default());
    stage.strike().await;
}

/// Everything that can happen to `acme` and its client, deletion included.
async fn live(stage: &AwsStage) {
    let AwsStage { daemon, fake, .. } = stage;
    let client = daemon.create_client("acme", "checkout").await;
    assert_eq!(client.state(), proto::ClientState::Active);
    let first = only(fake);
    assert_eq!((first.id.as_str(), first.secrets.len()), (client.app_client_id.as_str(), 1));
    check_token(daemon, &client.name, &first.id).await;

    let second = rotate_with_an_overlap(stage, &client.name, &first).await;
    let rotation = rotate_at_once(&daemon.channel, &client.name).await;
    until_succeeded(daemon, &rotation.name).await;
    let third = only(fake);
    assert_eq!((&third.id, third.secrets.len()), (&first.id, 1));
    assert!(third.secrets != second.secrets && third.secrets != first.secrets, "the value is new");
    check_token(daemon, &client.name, &first.id).await;

    let fourth = replace(stage, &client.name, &third).await;
    suspend_and_resume(daemon, &client.name).await;
    check_token(daemon, &client.name, &fourth.id).await;

    let request = proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() };
    daemon.clients().delete_client(request).await.expect("deleted");
    eventually("the app client and its secret are gone", async || {
        let inventory = fake.inventory();
        inventory.app_clients.is_empty() && inventory.secrets.is_empty()
    })
    .await;
    assert_eq!(token(&daemon.channel, &client.name).await.expect_err("gone").code(), tonic::Code::NotFound);

    daemon.create_client("acme", "billing").await;
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleted");
    eventually("nothing of the tenant is left", async || {
        let inventory = fake.inventory();
        let pools = inventory.user_pools.iter().filter(|(_, name)| name.contains("acme")).count();
        inventory.app_clients.is_empty() && inventory.secrets.is_empty() && pools == 0
    })
    .await;
}

async fn rotate_with_an_overlap(stage: &AwsStage, name: &str, first: &AppClientItem) -> AppClientItem {
    let AwsStage { daemon, fake, clock, .. } = stage;
    let rotation = rotate(&daemon.channel, name).await;
    eventually("the overlap", async || {
        get_rotation(&daemon.channel, &rotation.name).await.state() == proto::RotationState::Overlap
    })
    .await;
    let both = only(fake);
    assert_eq!((&both.id, both.secrets.len(), &both.secrets[0]), (&first.id, 2, &first.secrets[0]));
    check_token(daemon, name, &first.id).await;
    clock.advance(2 * DAY);
    until_succeeded(daemon, &rotation.name).await;
    let second = only(fake);
    assert_eq!((&second.id, &second.secrets[..]), (&first.id, &both.secrets[1..]), "the new one is left");
    check_token(daemon, name, &first.id).await;
    second
}

async fn replace(stage: &AwsStage, name: &str, old: &AppClientItem) -> AppClientItem {
    let AwsStage { daemon, fake, clock, .. } = stage;
    let before = daemon.token(name).await.access_token;
    let request = proto::ReplaceClientRequest { name: name.to_owned(), ..Default::default() };
    let rotation = daemon.clients().replace_client(request).await.expect("replaced").into_inner();
    eventually("another app client is used", async || get_client(&daemon.channel, name).await.app_client_id != old.id)
        .await;
    let new = get_client(&daemon.channel, name).await.app_client_id;
    assert!(matches!(daemon.verify(&before).await, Verdict::Verified(_)), "a token of the old one is good");
    clock.advance(2 * DAY);
    until_succeeded(daemon, &rotation.name).await;
    check_token(daemon, name, &new).await;
    let left = only(fake);
    assert_eq!((&left.id, left.secrets.len()), (&new, 1));
    left
}

async fn suspend_and_resume(daemon: &Daemon, name: &str) {
    let before = daemon.token(name).await.access_token;
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let refused = token(&daemon.channel, name).await.expect_err("suspended");
    assert_eq!(details(&refused).reason, "TENANT_SUSPENDED");
    assert!(matches!(daemon.verify(&before).await, Verdict::Rejected(_)), "a token from before is refused");
    let request = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().resume_tenant(request).await.expect("active again");
}

#[tokio::test]
async fn where_cognito_has_no_second_secrets_a_rotation_replaces_the_app_client() {
    let stage = AwsStage::set().await;
    let AwsStage { daemon, fake, clock, .. } = &stage;
    for operation in ["AddUserPoolClientSecret", "ListUserPoolClientSecrets", "DeleteUserPoolClientSecret"] {
        fake.fail(After::calls(0).of(operation).for_ever(), Fault::Error("UnknownOperationException"));
    }
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await;
    let request = proto::RotateClientSecretRequest { name: client.name.clone(), ..Default::default() };
    let rotation = try_rotate(&daemon.channel, request).await.expect("started");
    eventually("another app client is used", async || {
        get_client(&daemon.channel, &client.name).await.app_client_id != client.app_client_id
    })
    .await;
    let new = get_client(&daemon.channel, &client.name).await.app_client_id;
    clock.advance(2 * DAY);
    until_succeeded(daemon, &rotation.name).await;
    check_token(daemon, &client.name, &new).await;
    let left = only(fake);
    assert_eq!((&left.id, left.secrets.len()), (&new, 1));
    let tried = |operation: &str| fake.calls().iter().filter(|call| call.action.ends_with(operation)).count();
    assert!(tried(":AddUserPoolClientSecret") >= 1, "it was found out by trying");
    // The service model has no such error, which is what an older Cognito is about.
    let complaints = fake.take_complaints();
    assert!(complaints.iter().all(|text| text.contains("UnknownOperationException")), "{complaints:?}");
    assert!(fake.calls().iter().all(|call| call.outcome != Outcome::Throttled));
    stage.strike().await;
}

async fn until_succeeded(daemon: &Daemon, rotation: &str) {
    eventually("the rotation succeeds", async || {
        get_rotation(&daemon.channel, rotation).await.state() == proto::RotationState::Succeeded
    })
    .await;
}

/// The one app client that there is.
fn only(fake: &Fake) -> AppClientItem {
    let mut clients = fake.inventory().app_clients;
    assert_eq!(clients.len(), 1, "{clients:?}");
    clients.remove(0)
}

/// A token is there and good, and of this app client.
pub async fn check_token(daemon: &Daemon, name: &str, app_client: &str) {
    let token = daemon.token(name).await.access_token;
    match daemon.verify(&token).await {
        Verdict::Verified(verified) => assert_eq!((&*verified.app_client_id, &*verified.client), (app_client, name)),
        Verdict::Rejected(rejected) => panic!("{rejected:?}"),
    }
}
