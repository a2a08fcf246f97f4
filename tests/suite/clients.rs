//! Clients: what is set and what is shown, changes, deletion, and the states that forbid things.

mod races;
mod secrets;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyward::proto::{self, ClientState, Isolation, RejectionReason, TenantState};
use keyward::runtime::clock::SystemClock;
use tonic::Code;

use crate::harness::{
    Daemon, INNER_DETAIL, Outage, SCOPES, State, assert_invalid, claims, create_tenant, event_after, last_event, mask,
    new_client, new_resource_server, pools, refusal, rejection, span, start_time,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A daemon with the orders API and the tenant `acme` in a shared pool.
pub async fn daemon() -> Daemon {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon
}

fn named(name: &str) -> proto::Client {
    proto::Client { name: name.to_owned(), ..Default::default() }
}

fn update(client: proto::Client, paths: &[&str]) -> proto::UpdateClientRequest {
    proto::UpdateClientRequest { client: Some(client), update_mask: mask(paths), ..Default::default() }
}

fn delete(name: &str) -> proto::DeleteClientRequest {
    proto::DeleteClientRequest { name: name.to_owned(), ..Default::default() }
}

fn policy(period: Duration, overlap: Duration) -> proto::RotationPolicy {
    proto::RotationPolicy { period: span(period), overlap: span(overlap), disabled: false }
}

/// What the catalogue calls the scopes of a resource server with this many.
fn scope_names(identifier: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{identifier}/s{n:02}")).collect()
}

async fn put_wide_api(daemon: &Daemon, identifier: &str, count: usize) {
    let scopes: Vec<_> = (0..count).map(|n| format!("s{n:02}")).collect();
    let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
    daemon.catalog().put_resource_server(new_resource_server(identifier, &scopes)).await.expect("put");
}

#[tokio::test]
async fn a_client_with_nothing_set_has_every_default() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    let tenant = daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    assert_eq!(client.name, "tenants/acme/clients/orders");
    assert_eq!((client.display_name.as_str(), client.state_reason.as_str()), ("orders", ""));
    assert_eq!((client.state(), client.kind()), (ClientState::Active, proto::ClientKind::Machine));
    assert_eq!(client.scopes, SCOPES);
    assert_eq!(client.access_token_validity, span(HOUR));
    assert_eq!(client.rotation_policy, Some(policy(90 * DAY, DAY)));
    assert_eq!((&client.pool, &client.issuer), (&tenant.pool, &tenant.issuer));
    let pool = &pools(&daemon.channel).await[0];
    assert_eq!((&client.issuer, &client.token_endpoint), (&pool.issuer, &pool.token_endpoint));
    assert_eq!(client.secret_name, "keyward/tenants/acme/clients/orders");
    assert!(!client.uid.is_empty() && !client.app_client_id.is_empty() && !client.etag.is_empty());
    assert!(client.labels.is_empty() && client.secret_readers.is_empty() && client.warnings.is_empty());
    assert!(client.replaced_app_clients.is_empty() && client.interactive.is_none());

    let now = prost_types::Timestamp { seconds: start_time().as_second(), nanos: 0 };
    assert_eq!((client.create_time, client.rotate_time), (Some(now), Some(now)));
    let next = client.next_rotate_time.expect("scheduled").seconds - now.seconds;
    // Early by the jitter at the most, which is 10 % of the period.
    assert!((81 * 86_400..=90 * 86_400).contains(&next), "{next}");
    let request = proto::GetClientRequest { name: client.name.clone() };
    assert_eq!(daemon.clients().get_client(request).await.expect("there").into_inner(), client);
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_keeps_everything_that_is_set() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    let wanted = proto::Client {
        display_name: "Bestellungen äöü".to_owned(),
        kind: proto::ClientKind::Machine.into(),
        scopes: vec!["orders/write".to_owned(), "orders/write".to_owned(), "orders/read".to_owned()],
        access_token_validity: span(Duration::from_secs(300)),
        rotation_policy: Some(policy(2 * HOUR, Duration::from_secs(1_800))),
        secret_readers: vec!["arn:aws:iam::123456789012:role/orders".to_owned()],
        labels: [("team/name".to_owned(), "payments".to_owned())].into_iter().collect(),
        // Ignored, as what is output only is.
        uid: "mine".to_owned(),
        app_client_id: "mine".to_owned(),
        secret_name: "mine".to_owned(),
        ..Default::default()
    };
    let request = proto::CreateClientRequest { client: Some(wanted.clone()), ..new_client("globex", "orders") };
    let client = daemon.clients().create_client(request).await.expect("created").into_inner();
    assert_eq!(client.scopes, SCOPES, "in ascending order, none twice");
    assert_eq!(
        (&client.display_name, &client.access_token_validity, &client.rotation_policy),
        (&wanted.display_name, &wanted.access_token_validity, &wanted.rotation_policy)
    );
    assert_eq!((&client.secret_readers, &client.labels), (&wanted.secret_readers, &wanted.labels));
    assert!(![&client.uid, &client.app_client_id, &client.secret_name].contains(&&"mine".to_owned()));
    let next = client.next_rotate_time.expect("scheduled").seconds - client.rotate_time.expect("current").seconds;
    assert!((6_480..=7_200).contains(&next), "{next}");

    let disabled = proto::RotationPolicy { disabled: true, ..Default::default() };
    let wanted = proto::Client { rotation_policy: Some(disabled), ..new_client("", "").client.expect("set") };
    let request = proto::CreateClientRequest { client: Some(wanted), ..new_client("globex", "still") };
    let still = daemon.clients().create_client(request).await.expect("created").into_inner();
    assert_eq!(still.next_rotate_time, None);
    daemon.stop().await;
}

#[tokio::test]
async fn a_short_period_has_half_of_it_as_its_default_overlap() {
    let daemon = daemon().await;
    let short = proto::RotationPolicy { period: span(2 * HOUR), ..Default::default() };
    let wanted = proto::Client { rotation_policy: Some(short), ..new_client("", "").client.expect("set") };
    let request = proto::CreateClientRequest { client: Some(wanted), ..new_client("acme", "orders") };
    let client = daemon.clients().create_client(request).await.expect("created").into_inner();
    assert_eq!(client.rotation_policy, Some(policy(2 * HOUR, HOUR)));
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_has_exactly_cognitos_claims() {
    let daemon = daemon().await;
    let client = daemon.create_client("acme", "orders").await;
    let claims = claims(&daemon.token(&client.name).await.access_token);
    let names: BTreeSet<_> = claims.keys().map(String::as_str).collect();
    let cognitos = ["sub", "client_id", "token_use", "scope", "iss", "exp", "iat", "auth_time", "jti", "version"];
    assert_eq!(names, BTreeSet::from(cognitos));
    for id in ["sub", "client_id"] {
        assert_eq!(claims[id], client.app_client_id.as_str());
    }
    assert_eq!((&claims["iss"], &claims["token_use"]), (&client.issuer.as_str().into(), &"access".into()));
    assert_eq!(claims["scope"], SCOPES.join(" "));
    let seconds = |name: &str| claims[name].as_i64().expect("a number");
    assert_eq!(seconds("exp") - seconds("iat"), 3_600);
    assert_eq!(seconds("auth_time"), seconds("iat"));
    daemon.stop().await;
}

#[tokio::test]
async fn new_scopes_and_a_new_validity_are_in_the_next_token() {
    let daemon = daemon().await;
    let client = daemon.create_client("acme", "orders").await;
    let before = daemon.token(&client.name).await.access_token;
    let wanted = proto::Client {
        scopes: vec!["orders/read".to_owned()],
        access_token_validity: span(Duration::from_secs(600)),
        ..named(&client.name)
    };
    let request = proto::UpdateClientRequest { client: Some(wanted), ..Default::default() };
    let updated = daemon.clients().update_client(request).await.expect("updated").into_inner();
    assert_eq!(updated.scopes, ["orders/read"]);
    assert_ne!(updated.etag, client.etag);
    assert_eq!((&updated.app_client_id, &updated.uid), (&client.app_client_id, &client.uid));

    let after = daemon.token(&client.name).await;
    assert_ne!(after.access_token, before);
    assert_eq!(after.scopes, ["orders/read"]);
    let claims = claims(&after.access_token);
    assert_eq!(claims["scope"], "orders/read");
    assert_eq!(claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat"), 600);
    let gone = proto::GetTokenRequest {
        name: client.name.clone(),
        scopes: vec!["orders/write".to_owned()],
        ..Default::default()
    };
    assert_invalid(daemon.tokens().get_token(gone).await, "SCOPE_NOT_ALLOWED", "scopes");
    // What is out keeps its scopes.
    assert!(matches!(daemon.verify(&before).await, proto::verify_token_response::Verdict::Verified(_)));
    daemon.stop().await;
}

#[tokio::test]
async fn a_part_of_the_rotation_policy_is_changed_by_its_path() {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let with = |given: proto::RotationPolicy| proto::Client { rotation_policy: Some(given), ..named(&client.name) };

    let longer = update(with(policy(180 * DAY, HOUR)), &["rotation_policy.period"]);
    let updated = daemon.clients().update_client(longer).await.expect("updated").into_inner();
    assert_eq!(updated.rotation_policy, Some(policy(180 * DAY, DAY)));
    let next = updated.next_rotate_time.expect("scheduled").seconds - client.rotate_time.expect("current").seconds;
    assert!((162 * 86_400..=180 * 86_400).contains(&next), "{next}");

    let too_short = update(with(policy(HOUR, HOUR)), &["rotation_policy.period"]);
    let field = "client.rotation_policy.overlap";
    assert_invalid(daemon.clients().update_client(too_short).await, "FIELD_INVALID", field);

    let off = proto::RotationPolicy { disabled: true, ..Default::default() };
    let updated = daemon.clients().update_client(update(with(off), &["rotation_policy.disabled"])).await;
    let updated = updated.expect("updated").into_inner();
    let expected = proto::RotationPolicy { disabled: true, ..policy(180 * DAY, DAY) };
    assert_eq!((updated.rotation_policy, updated.next_rotate_time), (Some(expected), None));

    let whole = update(named(&client.name), &["rotation_policy"]);
    let updated = daemon.clients().update_client(whole).await.expect("updated").into_inner();
    assert_eq!((updated.rotation_policy, updated.next_rotate_time), (client.rotation_policy, client.next_rotate_time));
    daemon.stop().await;
}

#[tokio::test]
async fn a_star_resets_what_is_empty_but_a_machine_client_keeps_a_scope() {
    let daemon = daemon().await;
    let wanted = proto::Client {
        display_name: "Orders".to_owned(),
        labels: [("a".to_owned(), "b".to_owned())].into_iter().collect(),
        access_token_validity: span(2 * HOUR),
        ..new_client("", "").client.expect("set")
    };
    let request = proto::CreateClientRequest { client: Some(wanted), ..new_client("acme", "orders") };
    let client = daemon.clients().create_client(request).await.expect("created").into_inner();
    let nothing = update(named(&client.name), &["*"]);
    assert_invalid(daemon.clients().update_client(nothing).await, "FIELD_INVALID", "client.scopes");

    let scopes = proto::Client { scopes: vec!["orders/read".to_owned()], ..named(&client.name) };
    let reset = daemon.clients().update_client(update(scopes, &["*"])).await.expect("updated").into_inner();
    assert_eq!((reset.display_name.as_str(), reset.labels.len()), ("orders", 0));
    assert_eq!((reset.access_token_validity, reset.scopes), (span(HOUR), vec!["orders/read".to_owned()]));
    daemon.stop().await;
}

#[tokio::test]
async fn one_call_changes_fifty_scopes_at_the_most() {
    let daemon = daemon().await;
    put_wide_api(&daemon, "wide", 52).await;
    let scopes = scope_names("wide", 52);
    let wanted = proto::Client { scopes: scopes[..26].to_vec(), ..Default::default() };
    let request = proto::CreateClientRequest { client: Some(wanted), ..new_client("acme", "orders") };
    let client = daemon.clients().create_client(request).await.expect("created").into_inner();
    let to = |scopes: &[String]| update(proto::Client { scopes: scopes.to_vec(), ..named(&client.name) }, &["scopes"]);

    // 26 go and 26 come.
    let before = State::of(&daemon.channel).await;
    assert_invalid(daemon.clients().update_client(to(&scopes[26..])).await, "FIELD_INVALID", "client.scopes");
    assert_eq!(State::of(&daemon.channel).await, before);
    // One stays, 25 go, 25 come.
    let updated = daemon.clients().update_client(to(&scopes[25..51])).await.expect("updated").into_inner();
    assert_eq!(updated.scopes, scopes[25..51]);
    assert_eq!(daemon.token(&client.name).await.scopes, scopes[25..51]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_client_is_refused_at_once_and_its_id_is_free() {
    let daemon = daemon().await;
    let old = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&old.name).await.access_token;
    let stale = proto::DeleteClientRequest { etag: "v999".to_owned(), ..delete(&old.name) };
    assert_eq!(refusal(daemon.clients().delete_client(stale).await), (Code::Aborted, "ETAG_MISMATCH".into()));
    let exact = proto::DeleteClientRequest { etag: old.etag.clone(), ..delete(&old.name) };
    daemon.clients().delete_client(exact).await.expect("deleted");
    assert_eq!(rejection(daemon.verify(&token).await), RejectionReason::ClientDeleted);
    let missing = (Code::NotFound, "RESOURCE_NOT_FOUND".to_owned());
    let name = proto::GetTokenRequest { name: old.name.clone(), ..Default::default() };
    assert_eq!(refusal(daemon.tokens().get_token(name).await), missing);
    assert_eq!(refusal(daemon.clients().delete_client(delete(&old.name)).await), missing);

    let new = daemon.create_client("acme", "orders").await;
    assert!(new.uid != old.uid && new.app_client_id != old.app_client_id, "{new:?}");
    daemon.token(&new.name).await;
    assert_eq!(rejection(daemon.verify(&token).await), RejectionReason::ClientDeleted);
    daemon.stop().await;
}

#[tokio::test]
async fn the_state_of_its_tenant_decides_whether_a_client_can_be_created() {
    let outage = Outage::default();
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| outage.of_user_pools(ports)).await;
    daemon.put_orders_api().await;
    let create = |tenant: &str| {
        let (mut clients, request) = (daemon.clients(), new_client(tenant, "orders"));
        async move { refusal(clients.create_client(request).await) }
    };
    assert_eq!(create("nobody").await, (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
    outage.begin();
    let tenant = create_tenant(&daemon.channel, "slow", Isolation::UserPool).await;
    assert_eq!(tenant.state(), TenantState::Creating);
    assert_eq!(create("slow").await, (Code::FailedPrecondition, "TENANT_NOT_READY".into()));
    let seen = last_event(&daemon.channel).await;
    outage.end();
    event_after(&daemon.channel, seen, "keyward.onboarding/activate", "tenants/slow").await;

    let request = proto::SuspendTenantRequest { name: tenant.name.clone(), ..Default::default() };
    daemon.tenants().suspend_tenant(request).await.expect("suspended");
    assert_eq!(create("slow").await, (Code::FailedPrecondition, "TENANT_SUSPENDED".into()));
    outage.begin();
    let request = proto::DeleteTenantRequest { name: tenant.name, ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("decided");
    assert_eq!(create("slow").await, (Code::FailedPrecondition, "TENANT_DELETING".into()));
    daemon.stop().await;
}

#[tokio::test]
async fn a_client_whose_backend_fails_is_creating_and_becomes_active_by_itself() {
    let outage = Outage::default();
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| outage.of_user_pools(ports)).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    outage.begin();
    let client = daemon.create_client("acme", "orders").await;
    assert_eq!((client.state(), client.app_client_id.as_str()), (ClientState::Creating, ""));
    assert!(!client.state_reason.is_empty() && !client.state_reason.contains(INNER_DETAIL), "{client:?}");
    let not_ready = (Code::FailedPrecondition, "CLIENT_NOT_READY".to_owned());
    let request = proto::GetTokenRequest { name: client.name.clone(), ..Default::default() };
    assert_eq!(refusal(daemon.tokens().get_token(request).await), not_ready);
    let request = proto::RotateClientSecretRequest { name: client.name.clone(), ..Default::default() };
    assert_eq!(refusal(daemon.clients().rotate_client_secret(request).await), not_ready);
    let request = update(proto::Client { display_name: "x".to_owned(), ..named(&client.name) }, &["display_name"]);
    assert_eq!(refusal(daemon.clients().update_client(request).await), not_ready);

    let seen = last_event(&daemon.channel).await;
    outage.end();
    event_after(&daemon.channel, seen, "keyward.issue/activate", &client.name).await;
    daemon.token(&client.name).await;

    outage.begin();
    daemon.clients().delete_client(delete(&client.name)).await.expect("decided");
    let request = proto::GetClientRequest { name: client.name.clone() };
    let deleting = daemon.clients().get_client(request).await.expect("not gone yet").into_inner();
    assert_eq!(deleting.state(), ClientState::Deleting);
    assert!(!deleting.state_reason.is_empty() && !deleting.state_reason.contains(INNER_DETAIL), "{deleting:?}");
    let request = proto::RotateClientSecretRequest { name: client.name.clone(), ..Default::default() };
    assert_eq!(refusal(daemon.clients().rotate_client_secret(request).await).1, "CLIENT_DELETING");
    outage.end();
    event_after(&daemon.channel, seen, "keyward.client/retire", &client.name).await;
    daemon.stop().await;
}
