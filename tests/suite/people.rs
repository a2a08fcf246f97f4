//! Clients that people sign in with: what is set and shown, what belongs to them and what to a machine's, and that they have
//! no secret anywhere.

mod at_cognito;
mod drift;
mod kinds;
mod provider_drift;
pub mod providers;

use std::time::Duration;

use keyward::broker::ports::Shelf;
use keyward::domain::client::Client;
use keyward::domain::credential::Credential;
use keyward::domain::id::SecretName;
use keyward::proto::{self, ClientKind, ClientState, Isolation};
use keyward::runtime::clock::SystemClock;
use std::sync::Arc;
use tonic::Code;

use crate::harness::backend::{Backend, key};
use crate::harness::{Daemon, SCOPES, assert_invalid, create_tenant, mask, new_client, refusal, span};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const BACK: &str = "https://app.example.com/back";

/// For people, with `openid`, the orders API and one URL to come back to.
pub fn new_interactive(tenant: &str, id: &str) -> proto::CreateClientRequest {
    let mut request = new_client(tenant, id);
    let client = request.client.as_mut().expect("set");
    client.kind = ClientKind::Interactive.into();
    client.scopes.push("openid".to_owned());
    client.interactive =
        Some(proto::InteractiveSettings { callback_urls: vec![BACK.to_owned()], ..Default::default() });
    request
}

/// The same, changed.
fn with(request: proto::CreateClientRequest, edit: impl FnOnce(&mut proto::Client)) -> proto::CreateClientRequest {
    let mut request = request;
    edit(request.client.as_mut().expect("set"));
    request
}

fn settings(client: &mut proto::Client) -> &mut proto::InteractiveSettings {
    client.interactive.as_mut().expect("set")
}

async fn create(daemon: &Daemon, request: proto::CreateClientRequest) -> proto::Client {
    daemon.clients().create_client(request).await.expect("created").into_inner()
}

fn update(client: proto::Client, paths: &[&str]) -> proto::UpdateClientRequest {
    proto::UpdateClientRequest { client: Some(client), update_mask: mask(paths), ..Default::default() }
}

fn reasons(client: &proto::Client) -> Vec<&str> {
    client.warnings.iter().map(|warning| warning.reason.as_str()).collect()
}

async fn daemon() -> (Daemon, Backend) {
    let (daemon, backend) = Backend::behind(Arc::new(SystemClock), |_| {}, |ports| ports).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    (daemon, backend)
}

#[tokio::test]
async fn an_interactive_client_with_nothing_set_has_every_default_and_no_secret() {
    let (daemon, backend) = daemon().await;
    let tenant = create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    let client = create(&daemon, new_interactive("globex", "portal")).await;
    assert_eq!((client.state(), client.kind()), (ClientState::Active, ClientKind::Interactive));
    assert_eq!(client.scopes, ["openid", SCOPES[0], SCOPES[1]]);
    assert_eq!((&client.pool, &client.issuer), (&tenant.pool, &tenant.issuer));
    assert!(!client.app_client_id.is_empty());
    let expected = proto::InteractiveSettings {
        callback_urls: vec![BACK.to_owned()],
        id_token_validity: span(HOUR),
        refresh_token_validity: span(30 * DAY),
        ..Default::default()
    };
    assert_eq!(client.interactive, Some(expected));
    assert_eq!(client.access_token_validity, span(HOUR));
    assert_eq!((client.rotation_policy, client.rotate_time, client.next_rotate_time), (None, None, None));
    assert_eq!((client.secret_name.as_str(), client.secret_readers.len()), ("", 0));
    assert_eq!(reasons(&client), Vec::<&str>::new(), "a pool of its own is shared with nobody");

    let key = key(&client.name);
    assert_eq!(backend.record::<Credential>(Shelf::Credential, &key).await, None);
    let stored: Client = backend.record(Shelf::Client, &key).await.expect("stored");
    let secret = SecretName::parse("name", stored.secret_name.as_str()).expect("a name");
    assert_eq!(backend.0.vault.labels(&secret).await.expect("labels"), None, "the vault has nothing");
    let request = proto::GetClientRequest { name: client.name.clone() };
    assert_eq!(daemon.clients().get_client(request).await.expect("there").into_inner(), client);
    daemon.stop().await;
}

#[tokio::test]
async fn an_interactive_client_keeps_everything_that_is_set_and_that_is_changed() {
    let (daemon, backend) = daemon().await;
    let wanted = proto::InteractiveSettings {
        callback_urls: vec!["https://b.example.com".to_owned(), BACK.to_owned()],
        sign_out_urls: vec!["http://localhost:3000/out".to_owned()],
        identity_provider_ids: Vec::new(),
        allow_native_accounts: true,
        confidential: false,
        id_token_validity: span(2 * HOUR),
        refresh_token_validity: span(7 * DAY),
        default_sign_in: true,
    };
    let request = with(new_interactive("acme", "portal"), |client| {
        client.interactive = Some(wanted.clone());
        client.access_token_validity = span(DAY);
    });
    let client = create(&daemon, request).await;
    assert_eq!((client.interactive.as_ref(), client.access_token_validity), (Some(&wanted), span(DAY)));

    let changed = proto::InteractiveSettings {
        callback_urls: vec![BACK.to_owned()],
        sign_out_urls: Vec::new(),
        allow_native_accounts: false,
        default_sign_in: false,
        ..wanted.clone()
    };
    let patch = proto::Client {
        name: client.name.clone(),
        interactive: Some(changed.clone()),
        scopes: vec!["email".to_owned(), "openid".to_owned()],
        ..Default::default()
    };
    let updated = daemon.clients().update_client(update(patch, &[])).await.expect("updated").into_inner();
    assert_eq!(updated.interactive.as_ref(), Some(&changed));
    assert_eq!(updated.scopes, ["email", "openid"], "an interactive client need have no scope of a resource server");
    assert_eq!(updated.access_token_validity, span(DAY));
    let stored: Client = backend.record(Shelf::Client, &key(&client.name)).await.expect("stored");
    assert!(stored.applied);

    // Scopes are by themselves, and so are settings.
    let patch = proto::Client { scopes: vec!["openid".to_owned()], ..named(&client.name) };
    let updated = daemon.clients().update_client(update(patch, &["scopes"])).await.expect("updated").into_inner();
    assert_eq!((updated.scopes.as_slice(), updated.interactive.as_ref()), (&["openid".to_owned()][..], Some(&changed)));
    let patch = proto::Client { interactive: Some(wanted.clone()), ..named(&client.name) };
    let updated = daemon.clients().update_client(update(patch, &["interactive"])).await.expect("updated").into_inner();
    assert_eq!((updated.scopes.as_slice(), updated.interactive), (&["openid".to_owned()][..], Some(wanted)));
    daemon.stop().await;
}

fn named(name: &str) -> proto::Client {
    proto::Client { name: name.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_client_warns_of_accounts_that_tenants_share_and_of_too_many_rotations() {
    let (daemon, _) = daemon().await;
    let planned = proto::CreateClientRequest { validate_only: true, ..new_interactive("acme", "portal") };
    let expected = ["NATIVE_ACCOUNTS_IN_SHARED_POOL"];
    assert_eq!(reasons(&create(&daemon, planned).await), expected, "said before it is there");
    assert_eq!(reasons(&create(&daemon, new_interactive("acme", "portal")).await), expected);
    let hourly = |disabled| proto::RotationPolicy { period: span(HOUR), overlap: span(Duration::ZERO), disabled };
    let request = with(new_client("acme", "often"), |client| client.rotation_policy = Some(hourly(false)));
    assert_eq!(reasons(&create(&daemon, request).await), ["SHORT_ROTATION_PERIOD"]);
    let request = with(new_client("acme", "never"), |client| client.rotation_policy = Some(hourly(true)));
    assert_eq!(reasons(&create(&daemon, request).await), Vec::<&str>::new());
    daemon.stop().await;
}

#[tokio::test]
async fn one_client_of_a_tenant_is_its_default_sign_in() {
    let (daemon, _) = daemon().await;
    daemon.create_tenant("bigco").await;
    let default =
        |tenant: &str, id: &str| with(new_interactive(tenant, id), |client| settings(client).default_sign_in = true);
    let first = create(&daemon, default("acme", "portal")).await;
    create(&daemon, default("bigco", "portal")).await;
    let second = daemon.clients().create_client(default("acme", "admin")).await;
    assert_invalid(second, "FIELD_INVALID", "client.interactive.default_sign_in");
    let other = create(&daemon, new_interactive("acme", "admin")).await;
    let mut wanted = other.clone();
    settings(&mut wanted).default_sign_in = true;
    let both = daemon.clients().update_client(update(wanted.clone(), &["interactive"])).await;
    assert_invalid(both, "FIELD_INVALID", "client.interactive.default_sign_in");
    // Its own is no other's, and once it is given up another can have it.
    let mut given_up = first.clone();
    daemon.clients().update_client(update(given_up.clone(), &["interactive"])).await.expect("it has it already");
    settings(&mut given_up).default_sign_in = false;
    given_up.etag.clear();
    daemon.clients().update_client(update(given_up, &["interactive"])).await.expect("given up");
    wanted.etag.clear();
    daemon.clients().update_client(update(wanted, &["interactive"])).await.expect("taken");
    daemon.stop().await;
}

#[tokio::test]
async fn people_of_one_tenant_sign_in_in_one_pool_and_a_tenant_that_nobody_signs_in_to_goes_where_there_is_room() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| config.pools.app_clients_per_shared_pool = 2).await;
    daemon.put_orders_api().await;
    let (acme, bigco) = (daemon.create_tenant("acme").await, daemon.create_tenant("bigco").await);
    assert_eq!(acme.pool, bigco.pool);
    let portal = create(&daemon, new_interactive("acme", "portal")).await;
    daemon.create_client("acme", "orders").await;
    // Its home is full, and it has nobody there.
    let theirs = create(&daemon, new_interactive("bigco", "portal")).await;
    assert_ne!(theirs.pool, portal.pool);
    let request = proto::GetTenantRequest { name: "tenants/bigco".to_owned() };
    assert_eq!(daemon.tenants().get_tenant(request).await.expect("there").into_inner().pool, theirs.pool);
    let refused = daemon.clients().create_client(new_interactive("acme", "admin")).await;
    assert_eq!(refusal(refused), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    assert_ne!(daemon.create_client("acme", "billing").await.pool, portal.pool, "a machine may go elsewhere");
    daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_interactive_client_leaves_its_id_free_for_either_kind() {
    let (daemon, backend) = daemon().await;
    for request in [new_interactive("acme", "portal"), new_client("acme", "portal"), new_interactive("acme", "portal")]
    {
        let client = create(&daemon, request).await;
        let request = proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() };
        daemon.clients().delete_client(request).await.expect("deleted");
        assert_eq!(backend.record::<Client>(Shelf::Client, &key(&client.name)).await, None);
    }
    assert_eq!(backend.journals().await, []);
    daemon.stop().await;
}
