//! What is refused, and what changes nothing.

use std::time::Duration;

use keyward::broker::ports::{Action, ChangeSet, Shelf, Write};
use keyward::domain::client::Client;
use keyward::domain::form::Form;
use keyward::domain::id::{ClientName, PoolId};
use keyward::domain::interactive::InteractiveSettings;
use keyward::domain::provider::{IdentityProvider, ProviderId, ProviderProtocol, SamlMetadata, SamlProvider};
use keyward::domain::tenant::Tenant;
use keyward::proto::{self, Isolation, TenantMoveState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Code;

use super::{
    BILLING, DAY, ORDERS, furnish, furnished, move_of, move_over, move_request, start, tenant, until, until_over,
};
use crate::harness::backend::{Backend, key};
use crate::harness::{
    Daemon, Outage, State, assert_invalid, create_tenant, details, get_tenant, new_tenant_with_pool, refusal,
    start_time,
};

#[tokio::test]
async fn a_move_that_is_malformed_or_leads_nowhere_is_refused_by_its_field() {
    let (daemon, _) = furnished(Isolation::AppClient).await;
    let own = move_request("acme", Isolation::UserPool);
    let with_pool = |settings| proto::MoveTenantRequest { user_pool: Some(settings), ..own.clone() };
    let negative =
        proto::MoveTenantRequest { overlap: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..own.clone() };
    let short = proto::UserPoolSettings {
        password_policy: Some(proto::PasswordPolicy { minimum_length: 5, ..Default::default() }),
        ..Default::default()
    };
    let elsewhere = proto::UserPoolSettings { region: "us-east-1".to_owned(), ..Default::default() };
    let domain = proto::HostedDomain { form: Some(proto::hosted_domain::Form::Prefix("acme".to_owned())) };
    let shared = proto::MoveTenantRequest {
        user_pool: Some(proto::UserPoolSettings::default()),
        ..move_request("acme", Isolation::AppClient)
    };
    for (request, field) in [
        (proto::MoveTenantRequest { name: "acme".to_owned(), ..own.clone() }, "name"),
        (move_request("acme", Isolation::Unspecified), "target"),
        (proto::MoveTenantRequest { target: 9, ..own.clone() }, "target"),
        (move_request("acme", Isolation::AppClient), "target"),
        (shared, "user_pool"),
        (with_pool(short), "user_pool.password_policy.minimum_length"),
        (with_pool(elsewhere), "user_pool.region"),
        (with_pool(proto::UserPoolSettings { domain: Some(domain), ..Default::default() }), "user_pool.domain"),
        (move_over("acme", Isolation::UserPool, 30 * DAY + Duration::from_secs(1)), "overlap"),
        (negative, "overlap"),
    ] {
        assert_invalid(start(&daemon, request).await, "FIELD_INVALID", field);
    }
    let nobody = start(&daemon, move_request("nobody", Isolation::UserPool)).await;
    assert_eq!(refusal(nobody), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
    // What is not refused: the longest overlap.
    let longest = move_over("acme", Isolation::UserPool, 30 * DAY);
    start(&daemon, proto::MoveTenantRequest { validate_only: true, ..longest }).await.expect("valid");
    daemon.stop().await;
}

#[tokio::test]
async fn a_pool_in_another_region_cannot_be_left_either() {
    let (daemon, _) = Daemon::start_at_rest().await;
    daemon.create_tenant("other").await;
    let elsewhere = proto::UserPoolSettings { region: "us-east-1".to_owned(), ..Default::default() };
    daemon.tenants().create_tenant(new_tenant_with_pool("acme", elsewhere)).await.expect("created");
    assert_invalid(start(&daemon, move_request("acme", Isolation::AppClient)).await, "FIELD_INVALID", "target");
    daemon.stop().await;
}

/// Of a client in an adopted pool, which may be anywhere.
#[tokio::test]
async fn a_client_whose_pool_is_in_another_region_keeps_its_tenant_at_home() {
    let clock = std::sync::Arc::new(keyward::runtime::clock::ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock, |_| {}, |ports| ports).await;
    furnish(&daemon, Isolation::AppClient).await;
    let elsewhere = proto::UserPoolSettings { region: "us-east-1".to_owned(), ..Default::default() };
    let other = daemon.tenants().create_tenant(new_tenant_with_pool("other", elsewhere)).await.expect("created");
    let other = other.into_inner().pool;
    let far = PoolId::parse("pool", other.trim_start_matches("pools/")).expect("an id");
    rewrite(&backend, Shelf::Client, &key(ORDERS), |client: &mut Client| client.pool = far).await;
    let refused = start(&daemon, move_request("acme", Isolation::UserPool)).await;
    assert_invalid(refused, "FIELD_INVALID", "user_pool.region");
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_that_is_coming_or_going_is_not_moved() {
    let outage = Outage::default();
    let clock = std::sync::Arc::new(keyward::runtime::clock::ManualClock::new(start_time()));
    let daemon = Daemon::start_through(clock, |_| {}, |ports| outage.of_user_pools(ports)).await;
    furnish(&daemon, Isolation::UserPool).await;
    outage.begin();
    create_tenant(&daemon.channel, "coming", Isolation::UserPool).await;
    let request = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    daemon.tenants().delete_tenant(request).await.expect("deleting");
    for (id, reason) in [("coming", "TENANT_NOT_READY"), ("acme", "TENANT_DELETING")] {
        let refused = start(&daemon, move_request(id, Isolation::AppClient)).await;
        assert_eq!(refusal(refused), (Code::FailedPrecondition, reason.into()));
    }
    outage.end();
    daemon.stop().await;
}

#[tokio::test]
async fn a_second_move_waits_until_the_first_is_over() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    start(&daemon, move_request("acme", Isolation::UserPool)).await.expect("started");
    for _ in 0..2 {
        for target in [Isolation::AppClient, Isolation::UserPool] {
            let refused = start(&daemon, move_request("acme", target)).await;
            assert_eq!(refusal(refused), (Code::FailedPrecondition, "MOVE_RUNNING".into()));
        }
        until(&daemon, "acme", TenantMoveState::Overlap).await;
    }
    clock.advance(DAY);
    until_over(&daemon, &clock, "acme").await;
    start(&daemon, move_request("acme", Isolation::AppClient)).await.expect("started");
    daemon.stop().await;
}

#[tokio::test]
async fn a_pool_that_is_protected_against_deletion_is_not_left() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let settings = proto::UserPoolSettings { deletion_protection: true, ..Default::default() };
    daemon.tenants().create_tenant(new_tenant_with_pool("acme", settings)).await.expect("created");
    let refused = start(&daemon, move_request("acme", Isolation::AppClient)).await;
    assert_eq!(refusal(refused), (Code::FailedPrecondition, "DELETION_PROTECTED".into()));
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_for_whom_there_is_no_room_in_the_new_place_stays_at_home() {
    for (pools, app_clients, quota) in [(1, 1_000, "pools"), (10, 1, "app clients")] {
        let (daemon, _) = Daemon::start_at_rest_with(|config| {
            config.quotas.user_pools_per_region = pools;
            // The one counts where it is more than the other.
            config.quotas.app_clients_per_user_pool = app_clients;
            config.pools.app_clients_per_shared_pool = app_clients;
        })
        .await;
        furnish(&daemon, Isolation::AppClient).await;
        let before = State::of(&daemon.channel).await;
        for validate_only in [true, false] {
            let request = move_request("acme", Isolation::UserPool);
            let refused = start(&daemon, proto::MoveTenantRequest { validate_only, ..request }).await;
            let told = details(&refused.expect_err("no room"));
            assert_eq!((told.code, told.reason.as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"), "{quota}");
        }
        assert_eq!(State::of(&daemon.channel).await.pools, before.pools, "nothing was begun");
        assert_eq!(tenant(&daemon, "acme").await, before.tenants[0]);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn people_and_their_identity_providers_cannot_be_moved() {
    let clock = std::sync::Arc::new(keyward::runtime::clock::ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock, |_| {}, |ports| ports).await;
    furnish(&daemon, Isolation::AppClient).await;
    let request = move_request("acme", Isolation::UserPool);
    rewrite(&backend, Shelf::Client, &key(ORDERS), |client: &mut Client| {
        client.interactive = Some(interactive());
    })
    .await;
    let refused = refusal(start(&daemon, request.clone()).await);
    assert_eq!(refused, (Code::FailedPrecondition, "CLIENT_KIND_MISMATCH".into()));
    rewrite(&backend, Shelf::Client, &key(ORDERS), |client: &mut Client| client.interactive = None).await;
    rewrite(&backend, Shelf::Tenant, "acme", |tenant: &mut Tenant| tenant.identity_providers = vec![provider()]).await;
    let refused = refusal(start(&daemon, request).await);
    assert_eq!(refused, (Code::FailedPrecondition, "PROVIDER_IN_USE".into()));
    daemon.stop().await;
}

/// So many that they are read page by page.
#[tokio::test]
async fn people_are_found_among_a_tenants_many_clients() {
    let clock = std::sync::Arc::new(keyward::runtime::clock::ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock, |_| {}, |ports| ports).await;
    furnish(&daemon, Isolation::AppClient).await;
    let billing: Client = backend.record(Shelf::Client, &key(BILLING)).await.expect("there");
    let numbers: Vec<usize> = (0..200).collect();
    for some in numbers.chunks(80) {
        let write = |number: &usize| {
            let name = format!("tenants/acme/clients/made-{number}");
            let client = Client { name: ClientName::parse("name", &name).expect("a name"), ..billing.clone() };
            let body = serde_json::to_vec(&client).expect("JSON");
            let action = Action::Put { body, form: Form::WRITTEN, due_time: None };
            Write { shelf: Shelf::Client, key: key(&name), expected: None, action }
        };
        let changes = ChangeSet { writes: some.iter().map(write).collect(), events: Vec::new() };
        backend.0.registry.commit(changes).await.expect("written");
    }
    let request = proto::MoveTenantRequest { validate_only: true, ..move_request("acme", Isolation::UserPool) };
    let foretold = start(&daemon, request.clone()).await.expect("valid");
    assert_eq!(move_of(&foretold).client_count, 202);
    // The last by its name.
    rewrite(&backend, Shelf::Client, &key(ORDERS), |client: &mut Client| {
        client.interactive = Some(interactive());
    })
    .await;
    assert_eq!(refusal(start(&daemon, request).await).1, "CLIENT_KIND_MISMATCH");
    daemon.stop().await;
}

#[tokio::test]
async fn an_etag_that_is_not_the_tenants_stops_a_move() {
    let (daemon, _) = furnished(Isolation::AppClient).await;
    let etag = tenant(&daemon, "acme").await.etag;
    let request =
        |etag: &str| proto::MoveTenantRequest { etag: etag.to_owned(), ..move_request("acme", Isolation::UserPool) };
    for stale in ["v999", "x"] {
        let refused = refusal(start(&daemon, request(stale)).await);
        assert_eq!(refused, (Code::Aborted, "ETAG_MISMATCH".into()));
    }
    assert_ne!(start(&daemon, request(&etag)).await.expect("started").etag, etag);
    daemon.stop().await;
}

#[tokio::test]
async fn a_dry_run_of_a_move_tells_of_it_and_changes_nothing() {
    let (daemon, _) = furnished(Isolation::AppClient).await;
    let before = State::of(&daemon.channel).await;
    let request = proto::MoveTenantRequest {
        validate_only: true,
        request_id: "once".to_owned(),
        ..move_request("acme", Isolation::UserPool)
    };
    let foretold = start(&daemon, request.clone()).await.expect("valid");
    assert_eq!((move_of(&foretold).target(), move_of(&foretold).client_count), (Isolation::UserPool, 2));
    assert_eq!(State::of(&daemon.channel).await, before);
    let done = start(&daemon, proto::MoveTenantRequest { validate_only: false, ..request }).await.expect("started");
    assert_eq!(move_of(&done).target(), Isolation::UserPool);
    daemon.stop().await;
}

#[tokio::test]
async fn a_move_that_is_asked_for_again_is_made_once() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    let request = proto::MoveTenantRequest {
        request_id: "once".to_owned(),
        ..move_over("acme", Isolation::UserPool, Duration::ZERO)
    };
    let first = start(&daemon, request.clone()).await.expect("started");
    let again = start(&daemon, request.clone()).await.expect("the same");
    assert_eq!(move_of(&again).create_time, move_of(&first).create_time);
    let over = until_over(&daemon, &clock, "acme").await;
    // It is answered with the tenant as it is, and begins nothing.
    assert_eq!(start(&daemon, request.clone()).await.expect("the same"), over);
    let other = proto::MoveTenantRequest { target: Isolation::AppClient.into(), ..request };
    assert_invalid(start(&daemon, other).await, "REQUEST_ID_REUSED", "request_id");
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there"), over);
    daemon.stop().await;
}

/// Changes a record past the daemon, into the newest form.
async fn rewrite<T: DeserializeOwned + Serialize>(
    backend: &Backend,
    shelf: Shelf,
    key: &str,
    edit: impl FnOnce(&mut T),
) {
    let stored = backend.0.registry.get(shelf, key).await.expect("read").expect("there");
    let mut record: T = serde_json::from_slice(&stored.body).expect("a record of that kind");
    edit(&mut record);
    let body = serde_json::to_vec(&record).expect("written");
    let action = Action::Put { body, form: Form::WRITTEN, due_time: stored.due_time };
    let write = Write { shelf, key: key.to_owned(), expected: Some(stored.version), action };
    backend.0.registry.commit(ChangeSet { writes: vec![write], events: Vec::new() }).await.expect("committed");
}

fn interactive() -> InteractiveSettings {
    InteractiveSettings {
        callback_urls: vec!["https://acme.example/callback".to_owned()],
        sign_out_urls: Vec::new(),
        standard_scopes: Default::default(),
        identity_providers: Default::default(),
        allow_native_accounts: true,
        id_token_validity: Duration::from_secs(3_600),
        refresh_token_validity: DAY,
        default_sign_in: false,
    }
}

fn provider() -> IdentityProvider {
    let metadata = SamlMetadata::Url("https://idp.acme.example/metadata".to_owned());
    let saml = SamlProvider { metadata, sign_out: false, encrypted_responses: false };
    IdentityProvider {
        id: ProviderId::parse("provider", "staff").expect("an id"),
        name: "staff".to_owned(),
        protocol: ProviderProtocol::Saml(saml),
        attribute_mapping: Default::default(),
    }
}
