//! What belongs to one kind of client is refused for the other.

use keyward::proto::{self, ClientKind};
use tonic::Code;

use super::{create, daemon, named, new_interactive, settings, update, with};
use crate::harness::{assert_invalid, new_client, refusal};

const PORTAL: &str = "tenants/acme/clients/portal";
const ORDERS: &str = "tenants/acme/clients/orders";

#[tokio::test]
async fn a_client_without_a_secret_gets_no_token_no_rotation_and_reveals_nothing() {
    let (daemon, _) = daemon().await;
    create(&daemon, new_interactive("acme", "portal")).await;
    let name = || PORTAL.to_owned();
    let mismatch = (Code::FailedPrecondition, "CLIENT_KIND_MISMATCH".to_owned());
    let request = proto::GetTokenRequest { name: name(), ..Default::default() };
    assert_eq!(refusal(daemon.tokens().get_token(request).await), mismatch);
    let request = proto::WatchTokenRequest { name: name(), ..Default::default() };
    let mut stream = daemon.tokens().watch_token(request).await.expect("a stream").into_inner();
    assert_eq!(refusal(stream.message().await), mismatch);
    for validate_only in [true, false] {
        let request = proto::RotateClientSecretRequest { name: name(), validate_only, ..Default::default() };
        assert_eq!(refusal(daemon.clients().rotate_client_secret(request).await), mismatch);
        let request = proto::ReplaceClientRequest { name: name(), validate_only, ..Default::default() };
        assert_eq!(refusal(daemon.clients().replace_client(request).await), mismatch);
    }
    let request = proto::RevealClientSecretRequest { name: name(), reason: "wanted".to_owned() };
    // Whether it is on comes first.
    assert_eq!(refusal(daemon.clients().reveal_client_secret(request).await).1, "REVEAL_DISABLED");
    let request = proto::ListRotationsRequest { parent: name(), ..Default::default() };
    let listed = daemon.clients().list_rotations(request).await.expect("listed").into_inner();
    assert_eq!(listed.rotations, []);
    daemon.stop().await;
}

#[tokio::test]
async fn a_broker_that_reveals_secrets_has_none_of_a_client_for_people() {
    let daemon =
        crate::harness::Daemon::start_with(std::sync::Arc::new(keyward::runtime::clock::SystemClock), |config| {
            config.secrets.reveal = true;
        })
        .await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    create(&daemon, new_interactive("acme", "portal")).await;
    let request = proto::RevealClientSecretRequest { name: PORTAL.to_owned(), reason: "wanted".to_owned() };
    let refused = refusal(daemon.clients().reveal_client_secret(request).await);
    assert_eq!(refused, (Code::FailedPrecondition, "CLIENT_KIND_MISMATCH".to_owned()));
    daemon.stop().await;
}

#[tokio::test]
async fn settings_of_the_other_kind_are_refused_at_creation_and_in_a_change() {
    let (daemon, _) = daemon().await;
    create(&daemon, new_interactive("acme", "portal")).await;
    create(&daemon, new_client("acme", "orders")).await;
    let policy = || Some(proto::RotationPolicy { disabled: true, ..Default::default() });
    let reader = || vec!["arn:aws:iam::123456789012:role/orders".to_owned()];
    let sign_in = || new_interactive("", "").client.expect("set").interactive;
    for (request, field) in [
        (with(new_interactive("acme", "x-y"), |client| client.rotation_policy = policy()), "client.rotation_policy"),
        (with(new_interactive("acme", "x-y"), |client| client.secret_readers = reader()), "client.secret_readers"),
        (with(new_client("acme", "x-y"), |client| client.interactive = sign_in()), "client.interactive"),
        (with(new_client("acme", "x-y"), |client| client.scopes.push("openid".to_owned())), "client.scopes"),
    ] {
        assert_invalid(daemon.clients().create_client(request).await, "CLIENT_KIND_MISMATCH", field);
    }
    let missing = with(new_interactive("acme", "x-y"), |client| client.interactive = None);
    assert_invalid(daemon.clients().create_client(missing).await, "FIELD_INVALID", "client.interactive");
    let confidential = with(new_interactive("acme", "x-y"), |client| settings(client).confidential = true);
    let refused = daemon.clients().create_client(confidential).await;
    assert_invalid(refused, "FIELD_INVALID", "client.interactive.confidential");

    for (patch, paths, field) in [
        (
            proto::Client { rotation_policy: policy(), ..named(PORTAL) },
            &["rotation_policy"][..],
            "client.rotation_policy",
        ),
        (
            proto::Client { rotation_policy: policy(), ..named(PORTAL) },
            &["rotation_policy.disabled"],
            "client.rotation_policy",
        ),
        (proto::Client { secret_readers: reader(), ..named(PORTAL) }, &[], "client.secret_readers"),
        (proto::Client { interactive: sign_in(), ..named(ORDERS) }, &[], "client.interactive"),
        (proto::Client { scopes: vec!["openid".to_owned()], ..named(ORDERS) }, &["scopes"], "client.scopes"),
    ] {
        let refused = daemon.clients().update_client(update(patch, paths)).await;
        assert_invalid(refused, "CLIENT_KIND_MISMATCH", field);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn everything_means_what_the_client_has_by_its_kind() {
    let (daemon, _) = daemon().await;
    let portal = create(&daemon, new_interactive("acme", "portal")).await;
    let orders = create(&daemon, new_client("acme", "orders")).await;
    // As it was read, and sent back.
    for client in [&portal, &orders] {
        let wanted = proto::Client { display_name: "Another".to_owned(), ..client.clone() };
        let updated = daemon.clients().update_client(update(wanted, &["*"])).await.expect("updated").into_inner();
        let as_before = proto::Client {
            display_name: client.display_name.clone(),
            update_time: client.update_time,
            etag: client.etag.clone(),
            ..updated
        };
        assert_eq!(as_before, *client);
    }
    let bare = proto::Client { scopes: vec!["openid".to_owned()], ..named(PORTAL) };
    let refused = daemon.clients().update_client(update(bare, &["*"])).await;
    assert_invalid(refused, "FIELD_INVALID", "client.interactive");
    daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_for_people_is_not_imported() {
    let (daemon, _) = daemon().await;
    let client = create(&daemon, new_interactive("acme", "portal")).await;
    let import = |kind: ClientKind| proto::ImportClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: "taken".to_owned(),
        client: Some(proto::Client { kind: kind.into(), ..Default::default() }),
        pool: client.pool.clone(),
        app_client_id: client.app_client_id.clone(),
        secret_source: Some(proto::import_client_request::SecretSource::ClientSecret("x".repeat(32))),
        ..Default::default()
    };
    let refused = daemon.clients().import_client(import(ClientKind::Interactive)).await;
    assert_invalid(refused, "FIELD_INVALID", "client.kind");
    let taken = refusal(daemon.clients().import_client(import(ClientKind::Machine)).await);
    assert_eq!(taken, (Code::AlreadyExists, "APP_CLIENT_TAKEN".to_owned()));
    daemon.stop().await;
}
