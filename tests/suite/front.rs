//! Everything between a stranger and the broker at once: TLS, who calls, what they may do, what is on record. Nobody is
//! trusted for being on this machine.

mod trust_domains;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::config::{CallerGrant, Config, SpiffeDomain};
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::tenant_service_client::TenantServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, AuditOutcome, Isolation};
use keyward::runtime::clock::ManualClock;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::audit_lines::{audit_lines, handed_out};
use crate::harness::pki::{Authority, Identity, Leaf, connect_tls, trusting};
use crate::harness::rotations::{eventually, get_client, get_rotation, rotate_at_once};
use crate::harness::{Daemon, details, events, folder, start_time, token, verify};

const OPERATOR: &str = "spiffe://example.org/operators/alice";
const CHECKOUT: &str = "tenants/acme/clients/checkout";
const BILLING: &str = "tenants/globex/clients/billing";
const HOUR: Duration = Duration::from_secs(3_600);

/// A daemon that is reached over TLS alone; `acme` and `globex` with a client each.
struct Stage {
    daemon: Daemon,
    clock: Arc<ManualClock>,
    servers: Authority,
    clients: Authority,
    _files: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        Stage::set_with(|_| {}).await
    }

    async fn set_with(more: impl FnOnce(&mut Config)) -> Self {
        let (files, path) = folder();
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let (certificate, key) = servers.issue(Leaf::server()).write(&path, "tls");
        std::fs::write(path.join("clients.pem"), clients.pem()).expect("written");
        let operator = clients.issue(Leaf::client().uri(OPERATOR));
        let clock = Arc::new(ManualClock::new(start_time()));
        let grant = |caller: &str, role: Option<&str>| CallerGrant {
            caller: caller.to_owned(),
            role: role.map(str::to_owned),
            ..CallerGrant::default()
        };
        let edit = |config: &mut Config| {
            (config.tls.certificate_file, config.tls.key_file) = (Some(certificate), Some(key));
            config.tls.client_ca_file = Some(path.join("clients.pem"));
            config.callers.client_secrets = true;
            let domain = SpiffeDomain { trust_domain: "example.org".to_owned(), ..SpiffeDomain::default() };
            config.callers.spiffe = vec![domain];
            config.callers.grant = vec![
                grant("spiffe://example.org/operators/*", Some("operator")),
                grant("spiffe://example.org/tenants/{tenant}/{client}", None),
                grant("dns:gateway.internal", Some("verifier")),
            ];
            config.secrets.reveal = true;
            more(config);
        };
        let daemon = Daemon::start_with_tls(clock.clone(), trusting(&servers, Some(&operator)), edit).await;
        daemon.put_orders_api().await;
        for (tenant, client) in [("acme", "checkout"), ("globex", "billing")] {
            daemon.create_tenant(tenant).await;
            daemon.create_client(tenant, client).await;
        }
        Stage { daemon, clock, servers, clients, _files: files }
    }

    /// A connection of whoever has this certificate.
    async fn connect(&self, identity: Option<&Identity>) -> Channel {
        connect_tls(&self.daemon.address(), trusting(&self.servers, identity)).await.expect("connected")
    }

    async fn connect_as(&self, leaf: Leaf) -> Channel {
        self.connect(Some(&self.clients.issue(leaf))).await
    }

    /// What a backend would read from the vault.
    async fn secret(&self) -> String {
        let request = proto::RevealClientSecretRequest { name: CHECKOUT.to_owned(), reason: "a test".to_owned() };
        self.daemon.clients().reveal_client_secret(request).await.expect("revealed").into_inner().client_secret
    }
}

async fn token_by_secret(
    channel: &Channel,
    client: &str,
    id: &str,
    secret: &str,
) -> Result<proto::AccessToken, Status> {
    let credential = STANDARD.encode(format!("{id}:{secret}"));
    let mut request = Request::new(proto::GetTokenRequest { name: client.to_owned(), ..Default::default() });
    let value = MetadataValue::try_from(format!("Basic {credential}")).expect("a header");
    request.metadata_mut().insert("authorization", value);
    Ok(TokenServiceClient::new(channel.clone()).get_token(request).await?.into_inner())
}

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) {
    let status = answer.expect_err("refused");
    assert_eq!((status.code(), details(&status).reason.as_str()), (code, reason), "{status:?}");
}

#[tokio::test]
async fn each_caller_gets_what_is_its_own_and_nothing_else() {
    let stage = Stage::set().await;
    let backend = stage.connect_as(Leaf::client().uri("spiffe://example.org/tenants/acme/checkout")).await;
    let own = token(&backend, CHECKOUT).await.expect("its own token");
    assert_refused(token(&backend, BILLING).await, Code::PermissionDenied, "PERMISSION_DENIED");
    assert_refused(token(&backend, "tenants/nobody/clients/none").await, Code::PermissionDenied, "PERMISSION_DENIED");
    let mut tenants = TenantServiceClient::new(backend.clone());
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    assert_refused(tenants.suspend_tenant(suspend).await, Code::PermissionDenied, "PERMISSION_DENIED");

    let gateway = stage.connect_as(Leaf::client().dns("gateway.internal")).await;
    let Verdict::Verified(verified) = verify(&gateway, &own.access_token).await else { panic!("a good token") };
    assert_eq!(verified.client, CHECKOUT);
    assert_refused(token(&gateway, CHECKOUT).await, Code::PermissionDenied, "PERMISSION_DENIED");

    let nobody = stage.connect(None).await;
    assert_refused(token(&nobody, CHECKOUT).await, Code::Unauthenticated, "CREDENTIALS_MISSING");
    let unknown = stage.connect_as(Leaf::client().dns("laptop.internal")).await;
    assert_refused(token(&unknown, CHECKOUT).await, Code::PermissionDenied, "PERMISSION_DENIED");
    let foreign = stage.connect_as(Leaf::client().uri("spiffe://example.com/operators/alice")).await;
    assert_refused(token(&foreign, CHECKOUT).await, Code::Unauthenticated, "CREDENTIALS_INVALID");

    let events = events(&stage.daemon.channel).await;
    let denied = |principal: &str, reason: &str| {
        let mut denials = events.iter().filter(|event| event.outcome() == AuditOutcome::Denied);
        assert!(
            denials.any(|event| event.principal == principal && event.reason == reason),
            "{principal}: {events:#?}"
        );
    };
    denied("spiffe://example.org/tenants/acme/checkout", "PERMISSION_DENIED");
    denied("dns:laptop.internal", "PERMISSION_DENIED");
    denied("anonymous", "CREDENTIALS_MISSING");
    denied("anonymous", "CREDENTIALS_INVALID");
    let created = events.iter().find(|event| event.method.ends_with("/CreateTenant")).expect("on record");
    assert_eq!(created.principal, OPERATOR);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_clients_own_secret_is_a_credential_until_it_is_compromised() {
    let stage = Stage::set().await;
    let channel = stage.connect(None).await;
    let id = get_client(&stage.daemon.channel, CHECKOUT).await.app_client_id;
    let old = stage.secret().await;
    token_by_secret(&channel, CHECKOUT, &id, &old).await.expect("a token");
    assert_refused(token_by_secret(&channel, BILLING, &id, &old).await, Code::PermissionDenied, "PERMISSION_DENIED");
    let wrong = token_by_secret(&channel, CHECKOUT, &id, "0123456789abcdef0123456789abcdef").await;
    assert_refused(wrong, Code::Unauthenticated, "CREDENTIALS_INVALID");

    // With a certificate beside it, nobody knows which counts, and neither does.
    let backend = stage.connect_as(Leaf::client().uri("spiffe://example.org/tenants/acme/checkout")).await;
    let both = token_by_secret(&backend, CHECKOUT, &id, &old).await;
    assert_refused(both, Code::Unauthenticated, "CREDENTIALS_AMBIGUOUS");

    stage.clock.advance(Duration::from_secs(60));
    let rotation = rotate_at_once(&stage.daemon.channel, CHECKOUT).await;
    eventually("the rotation is over", async || {
        get_rotation(&stage.daemon.channel, &rotation.name).await.state() == proto::RotationState::Succeeded
    })
    .await;
    let new = stage.secret().await;
    assert_ne!(old, new);
    assert_refused(token_by_secret(&channel, CHECKOUT, &id, &old).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    token_by_secret(&channel, CHECKOUT, &id, &new).await.expect("a token");
    let events = events(&stage.daemon.channel).await;
    let principal = format!("client:{CHECKOUT}");
    assert!(events.iter().any(|event| event.principal == principal && event.reason == "PERMISSION_DENIED"));
    assert!(!format!("{events:?}").contains(&old) && !format!("{events:?}").contains(&new));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_certificate_that_expires_ends_what_its_connection_may() {
    let stage = Stage::set().await;
    let leaf = Leaf::client().uri("spiffe://example.org/tenants/acme/checkout");
    let backend = stage.connect_as(leaf.valid(start_time() - HOUR, start_time() + HOUR)).await;
    token(&backend, CHECKOUT).await.expect("a token");
    stage.clock.advance(2 * HOUR);
    assert_refused(token(&backend, CHECKOUT).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    let mut clients = ClientServiceClient::new(backend);
    let request = proto::GetClientRequest { name: CHECKOUT.to_owned() };
    assert_refused(clients.get_client(request).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    stage.daemon.stop().await;
}

/// Tenants of both kinds: a caller's tenant is in its name, whatever pool that is in.
#[tokio::test]
async fn a_tenant_with_a_pool_of_its_own_has_callers_too() {
    let stage = Stage::set().await;
    crate::harness::create_tenant(&stage.daemon.channel, "initech", Isolation::UserPool).await;
    let client = stage.daemon.create_client("initech", "reports").await;
    let backend = stage.connect_as(Leaf::client().uri("spiffe://example.org/tenants/initech/reports")).await;
    token(&backend, &client.name).await.expect("its own token");
    assert_refused(token(&backend, CHECKOUT).await, Code::PermissionDenied, "PERMISSION_DENIED");
    stage.daemon.stop().await;
}

/// A policy that changes is felt on connections that stand: by a stream, by calls, and by nobody else.
#[tokio::test]
async fn a_policy_that_changes_counts_on_connections_that_stand() {
    let (_folder, path) = folder();
    let (policies, file) = (path.join("policies"), path.join("audit.jsonl"));
    std::fs::create_dir(&policies).expect("a folder");
    std::fs::write(policies.join("none.cedar"), "").expect("written");
    let stage = Stage::set_with(|config| {
        config.permission.policies = Some(policies.clone());
        config.permission.reload_interval = Duration::from_millis(100);
        config.audit.file = Some(file.clone());
    })
    .await;
    let checkout = "spiffe://example.org/tenants/acme/checkout";
    let backend = stage.connect_as(Leaf::client().uri(checkout)).await;
    let other = stage.connect_as(Leaf::client().uri("spiffe://example.org/tenants/globex/billing")).await;
    let request = proto::WatchTokenRequest { name: CHECKOUT.to_owned(), ..Default::default() };
    let watching = TokenServiceClient::new(backend.clone()).watch_token(request).await.expect("a stream");
    let mut watching = watching.into_inner();
    watching.message().await.expect("no error").expect("a token");
    token(&backend, CHECKOUT).await.expect("a token");
    token(&other, BILLING).await.expect("a token");

    let stolen = format!("@id(\"stolen\")\nforbid (principal == Keyward::Caller::\"{checkout}\", action, resource);\n");
    std::fs::write(policies.join("stolen.cedar"), stolen).expect("written");
    let end = tokio::time::timeout(Duration::from_secs(60), watching.message()).await.expect("the stream ends");
    assert_refused(end, Code::PermissionDenied, "PERMISSION_DENIED");
    assert_refused(token(&backend, CHECKOUT).await, Code::PermissionDenied, "PERMISSION_DENIED");
    token(&other, BILLING).await.expect("nobody else minds");

    std::fs::remove_file(policies.join("stolen.cedar")).expect("removed");
    eventually("it may again, on the same connection", async || token(&backend, CHECKOUT).await.is_ok()).await;

    let lines = audit_lines(&file);
    let given = handed_out(&lines);
    let to = |name: &str| given.iter().filter(|line| line["principal"] == name).count();
    assert_eq!((to(checkout), to("spiffe://example.org/tenants/globex/billing")), (3, 2), "{given:#?}");
    stage.daemon.stop().await;
}
