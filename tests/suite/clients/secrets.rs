//! The secret of a client: in the vault, in no answer but one, and that one only where it is wanted.

use std::sync::{Arc, Mutex};

use keyward::broker::Ports;
use keyward::broker::ports::Wanted;
use keyward::config::Config;
use keyward::domain::id::{AppClientId, Issuer, SecretName, UserPoolId};
use keyward::domain::pool::MadePool;
use keyward::domain::scope::ScopeSet;
use keyward::domain::secret::ClientSecret;
use keyward::proto::{self, AuditOutcome};
use keyward::runtime::clock::SystemClock;
use tonic::Code;

use super::{daemon, delete, named, update};
use crate::harness::{Daemon, SCOPES, events, pools, refusal};

fn reveal(name: &str) -> proto::RevealClientSecretRequest {
    proto::RevealClientSecretRequest { name: name.to_owned(), reason: "moving to a backend".to_owned() }
}

/// A daemon with a client of acme, and the ports behind it, to look where no caller can.
async fn daemon_and_its_ports(edit: impl FnOnce(&mut Config)) -> (Daemon, Ports, proto::Client) {
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    let look = move |ports: Ports| {
        *keep.lock().expect("lock") = Some(ports.clone());
        ports
    };
    let daemon = Daemon::start_through(Arc::new(SystemClock), edit, look).await;
    let ports = seen.lock().expect("lock").take().expect("seen");
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    (daemon, ports, client)
}

async fn stored_secret(ports: &Ports, client: &proto::Client) -> Option<ClientSecret> {
    let name = SecretName::parse("name", &client.secret_name).expect("a name");
    let document = ports.vault.read(&name, Wanted::Current).await.expect("read");
    document.map(|document| document.client_secret)
}

#[tokio::test]
async fn a_broker_reveals_no_secret_unless_it_is_told_to() {
    let daemon = daemon().await;
    let client = daemon.create_client("acme", "orders").await;
    let before = events(&daemon.channel).await.len();
    let refused = refusal(daemon.clients().reveal_client_secret(reveal(&client.name)).await);
    assert_eq!(refused, (Code::FailedPrecondition, "REVEAL_DISABLED".into()));
    let events = events(&daemon.channel).await;
    let [denial] = &events[before..] else { panic!("{:?}", &events[before..]) };
    assert_eq!((denial.outcome(), denial.reason.as_str()), (AuditOutcome::Denied, "REVEAL_DISABLED"));
    assert_eq!(denial.method, "keyward.v1.ClientService/RevealClientSecret");
    assert_eq!((denial.resource.as_str(), denial.principal.as_str()), (client.name.as_str(), "operator:dev"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_revealed_secret_authenticates_and_its_event_comes_first() {
    let (daemon, ports, client) = daemon_and_its_ports(|config| config.secrets.reveal = true).await;
    let revealed = daemon.clients().reveal_client_secret(reveal(&client.name)).await.expect("revealed").into_inner();
    assert_eq!((&revealed.app_client_id, &revealed.issuer), (&client.app_client_id, &client.issuer));
    assert_eq!((&revealed.token_endpoint, &revealed.scopes), (&client.token_endpoint, &client.scopes));
    assert_eq!(revealed.next_rotate_time, client.next_rotate_time);
    let event = events(&daemon.channel).await.pop().expect("an event");
    assert_eq!((event.method.as_str(), event.outcome()), (REVEAL, AuditOutcome::Succeeded));
    assert_eq!((event.resource.as_str(), event.detail.as_str()), (client.name.as_str(), "moving to a backend"));
    assert!(!format!("{event:?}").contains(&revealed.client_secret));

    let pool = &pools(&daemon.channel).await[0];
    let made = MadePool {
        user_pool: UserPoolId::parse("id", &pool.user_pool_id).expect("an id"),
        region: pool.region.clone(),
        issuer: Issuer::parse("issuer", &pool.issuer).expect("an issuer"),
        domain: String::new(),
        cname_target: String::new(),
        token_endpoint: pool.token_endpoint.clone(),
        jwks_uri: pool.jwks_uri.clone(),
    };
    let id = AppClientId::parse("id", &revealed.app_client_id).expect("an id");
    let scopes = ScopeSet::parse("scopes", &SCOPES).expect("scopes");
    let secret = ClientSecret::parse("secret", &revealed.client_secret).expect("Cognito's form");
    let token = ports.token_endpoint.fetch(&made, &id, &secret, &scopes).await.expect("it authenticates");
    assert!(matches!(daemon.verify(token.expose()).await, proto::verify_token_response::Verdict::Verified(_)));
    let wrong = ClientSecret::parse("secret", &"a".repeat(64)).expect("Cognito's form");
    ports.token_endpoint.fetch(&made, &id, &wrong, &scopes).await.expect_err("another secret does not");
    daemon.stop().await;
}

const REVEAL: &str = "keyward.v1.ClientService/RevealClientSecret";

#[tokio::test]
async fn what_has_no_secret_to_reveal_says_why() {
    let (daemon, _, client) = daemon_and_its_ports(|config| config.secrets.reveal = true).await;
    let nobody = reveal("tenants/acme/clients/nobody");
    assert_eq!(refusal(daemon.clients().reveal_client_secret(nobody).await).0, Code::NotFound);
    let no_reason = proto::RevealClientSecretRequest { reason: String::new(), ..reveal(&client.name) };
    crate::harness::assert_invalid(daemon.clients().reveal_client_secret(no_reason).await, "FIELD_INVALID", "reason");
    let request = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    let refused = refusal(daemon.clients().reveal_client_secret(reveal(&client.name)).await);
    assert_eq!(refused, (Code::FailedPrecondition, "TENANT_SUSPENDED".into()));
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_is_in_no_answer_but_the_one_that_reveals_it() {
    let (daemon, ports, client) = daemon_and_its_ports(|_| {}).await;
    let first = stored_secret(&ports, &client).await.expect("stored");
    let mut clients = daemon.clients();
    let rename = proto::Client { display_name: "Orders".to_owned(), ..named(&client.name) };
    let renamed = clients.update_client(update(rename, &["display_name"])).await.expect("updated");
    let request = proto::RotateClientSecretRequest { name: client.name.clone(), ..Default::default() };
    let rotation = clients.rotate_client_secret(request).await.expect("rotated");
    let second = stored_secret(&ports, &client).await.expect("stored");
    assert_ne!(first, second);
    let request = proto::ListRotationsRequest { parent: client.name.clone(), ..Default::default() };
    let rotations = clients.list_rotations(request).await.expect("rotations");
    let request = proto::ListClientsRequest { parent: "tenants/-".to_owned(), ..Default::default() };
    let listed = clients.list_clients(request).await.expect("clients");
    let refused = clients.reveal_client_secret(reveal(&client.name)).await.expect_err("refused");
    let events = events(&daemon.channel).await;
    let details = String::from_utf8_lossy(refused.details()).into_owned();
    let said = format!("{client:?}{renamed:?}{rotation:?}{rotations:?}{listed:?}{refused:?}{details}{events:?}");
    for secret in [first, second] {
        assert!(!said.contains(secret.expose()), "a secret is in an answer");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_secret_of_a_deleted_client_is_scheduled_for_deletion() {
    let (daemon, ports, client) = daemon_and_its_ports(|_| {}).await;
    let old = stored_secret(&ports, &client).await.expect("stored");
    daemon.clients().delete_client(delete(&client.name)).await.expect("deleted");
    assert_eq!(stored_secret(&ports, &client).await, None);
    // A new client of the name has a secret of its own.
    let new = daemon.create_client("acme", "orders").await;
    assert_ne!(stored_secret(&ports, &new).await.expect("stored"), old);
    daemon.token(&new.name).await;
    daemon.stop().await;
}
