//! Tenants from onboarding to gone: both isolations, their settings, suspension, deletion, and a backend that fails.

mod capacity;
mod placement;
mod races;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use keyward::domain::error::Reason;
use keyward::domain::tenant::{self as domain, UserPoolSettings};
use keyward::proto::{self, Isolation, RejectionReason, TenantState};
use keyward::runtime::clock::SystemClock;
use tonic::Code;

use crate::harness::brokers::{Bench, Working};
use crate::harness::{
    Daemon, INNER_DETAIL, Outage, assert_invalid, create_tenant, event_after, get_tenant, last_event, mask,
    new_tenant_with_pool, pools, refusal, rejection,
};

fn delete(id: &str) -> proto::DeleteTenantRequest {
    proto::DeleteTenantRequest { name: format!("tenants/{id}"), ..Default::default() }
}

fn suspend(id: &str, reason: &str) -> proto::SuspendTenantRequest {
    proto::SuspendTenantRequest { name: format!("tenants/{id}"), reason: reason.to_owned(), ..Default::default() }
}

fn resume(id: &str) -> proto::ResumeTenantRequest {
    proto::ResumeTenantRequest { name: format!("tenants/{id}"), ..Default::default() }
}

fn update(tenant: proto::Tenant, paths: &[&str]) -> proto::UpdateTenantRequest {
    proto::UpdateTenantRequest { tenant: Some(tenant), update_mask: mask(paths), ..Default::default() }
}

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn custom_domain(domain: &str) -> proto::HostedDomain {
    let custom = proto::CustomHostedDomain {
        domain: domain.to_owned(),
        certificate_arn: "arn:aws:acm:us-east-1:123456789012:certificate/0aa0".to_owned(),
        cname_target: String::new(),
    };
    proto::HostedDomain { form: Some(proto::hosted_domain::Form::Custom(custom)) }
}

/// Settings in which nothing is the default.
fn settings() -> proto::UserPoolSettings {
    proto::UserPoolSettings {
        region: "eu-central-1".to_owned(),
        password_policy: Some(proto::PasswordPolicy {
            minimum_length: 20,
            require_lowercase: Some(true),
            require_uppercase: Some(false),
            require_digits: Some(false),
            require_symbols: Some(true),
            temporary_password_validity: Some(prost_types::Duration { seconds: 3 * 86_400, nanos: 0 }),
            history_size: 5,
        }),
        mfa_mode: proto::MfaMode::Optional.into(),
        mfa_factors: vec![proto::MfaFactor::Totp.into(), proto::MfaFactor::Sms.into()],
        deletion_protection: true,
        feature_plan: proto::FeaturePlan::Plus.into(),
        issuer_type: proto::IssuerType::Updated.into(),
        domain: Some(custom_domain("login.globex.example")),
        tags: labels(&[("team", "payments")]).into_iter().collect(),
    }
}

#[tokio::test]
async fn a_tenant_of_either_isolation_lives_from_creation_to_gone() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    for (id, isolation) in [("acme", Isolation::AppClient), ("globex", Isolation::UserPool)] {
        let created = create_tenant(&daemon.channel, id, isolation).await;
        assert_eq!(created.name, format!("tenants/{id}"));
        assert_eq!((created.state(), created.isolation()), (TenantState::Active, isolation));
        assert_eq!((created.display_name.as_str(), created.state_reason.as_str()), (id, ""));
        assert!(!created.uid.is_empty() && !created.etag.is_empty() && !created.issuer.is_empty(), "{created:?}");
        assert_eq!(created.user_pool.is_some(), isolation == Isolation::UserPool);
        assert_eq!(get_tenant(&daemon.channel, id).await.expect("there"), created);

        let client = daemon.create_client(id, "orders").await;
        let token = daemon.token(&client.name).await.access_token;
        daemon.tenants().delete_tenant(delete(id)).await.expect("deleted");
        assert_eq!(refusal(get_tenant(&daemon.channel, id).await), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
        let reason = rejection(daemon.verify(&token).await);
        match isolation {
            Isolation::UserPool => assert_eq!(reason, RejectionReason::UnknownIssuer),
            _ => assert_eq!(reason, RejectionReason::TenantDeleted),
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_user_pool_tenant_has_a_pool_and_an_issuer_of_its_own() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    let shared = daemon.create_tenant("acme").await;
    let globex = create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    let initech = create_tenant(&daemon.channel, "initech", Isolation::UserPool).await;
    let issuers = [&shared.issuer, &globex.issuer, &initech.issuer];
    assert!(issuers[0] != issuers[1] && issuers[1] != issuers[2] && issuers[0] != issuers[2], "{issuers:?}");

    let client = daemon.create_client("globex", "orders").await;
    assert_eq!((&client.pool, &client.issuer), (&globex.pool, &globex.issuer));
    let pools = pools(&daemon.channel).await;
    let own = pools.iter().find(|pool| pool.name == globex.pool).expect("its pool");
    assert_eq!((own.kind(), own.tenant.as_str()), (proto::PoolKind::Dedicated, "tenants/globex"));
    assert_eq!((&own.issuer, own.app_client_count), (&globex.issuer, 1));
    let common = pools.iter().find(|pool| pool.name == shared.pool).expect("the shared pool");
    assert_eq!((common.kind(), common.tenant.as_str()), (proto::PoolKind::Shared, ""));
    daemon.stop().await;
}

#[tokio::test]
async fn settings_of_an_own_pool_are_kept_and_have_defaults() {
    let daemon = Daemon::start().await;
    let request = new_tenant_with_pool("globex", settings());
    let created = daemon.tenants().create_tenant(request).await.expect("created").into_inner();
    assert_eq!(created.user_pool, Some(settings()));

    let plain = create_tenant(&daemon.channel, "initech", Isolation::UserPool).await;
    let user_pool = plain.user_pool.expect("settings");
    let policy = user_pool.password_policy.expect("a policy");
    assert_eq!(policy.minimum_length, 8);
    let needs = [policy.require_lowercase, policy.require_uppercase, policy.require_digits, policy.require_symbols];
    assert_eq!(needs, [Some(true); 4]);
    assert_eq!(user_pool.feature_plan(), proto::FeaturePlan::Essentials);
    assert_eq!((user_pool.mfa_mode(), user_pool.deletion_protection), (proto::MfaMode::Off, false));

    let daemon = daemon.restart().await;
    assert_eq!(get_tenant(&daemon.channel, "globex").await.expect("there"), created);
    daemon.stop().await;
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_nothing_else() {
    let daemon = Daemon::start().await;
    let request = new_tenant_with_pool("globex", settings());
    let mut tenant = daemon.tenants().create_tenant(request).await.expect("created").into_inner();
    tenant.labels = labels(&[("tier", "gold")]).into_iter().collect();
    tenant.display_name = "Globex".to_owned();
    // Without a mask: every field that is populated.
    let given = proto::Tenant {
        name: tenant.name.clone(),
        display_name: tenant.display_name.clone(),
        labels: tenant.labels.clone(),
        ..Default::default()
    };
    let request = proto::UpdateTenantRequest { tenant: Some(given), ..Default::default() };
    let updated = daemon.tenants().update_tenant(request).await.expect("updated").into_inner();
    assert_ne!(updated.etag, tenant.etag);
    let expected = proto::Tenant { etag: updated.etag.clone(), update_time: updated.update_time, ..tenant };
    assert_eq!(updated, expected);

    // One part of the settings.
    let given = proto::Tenant {
        name: updated.name.clone(),
        display_name: "not meant".to_owned(),
        user_pool: Some(proto::UserPoolSettings {
            feature_plan: proto::FeaturePlan::Lite.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    // That plan has no history of passwords.
    let paths = ["user_pool.feature_plan", "user_pool.password_policy.minimum_length"];
    let refused = daemon.tenants().update_tenant(update(given.clone(), &paths)).await;
    assert_invalid(refused, "FIELD_INVALID", "tenant.user_pool.password_policy.history_size");
    let paths = [paths[0], paths[1], "user_pool.password_policy.history_size"];
    let lite = daemon.tenants().update_tenant(update(given, &paths)).await.expect("updated").into_inner();
    let mut wanted = settings();
    wanted.feature_plan = proto::FeaturePlan::Lite.into();
    let passwords = wanted.password_policy.as_mut().expect("set");
    (passwords.minimum_length, passwords.history_size) = (8, 0);
    assert_eq!((lite.user_pool.as_ref(), lite.display_name.as_str()), (Some(&wanted), "Globex"));

    // The settings as a whole, but for what cannot be changed.
    let given = proto::Tenant { name: lite.name.clone(), ..Default::default() };
    let whole = daemon.tenants().update_tenant(update(given.clone(), &["user_pool"])).await.expect("updated");
    let whole = whole.into_inner().user_pool.expect("settings");
    assert_eq!((whole.region.as_str(), whole.issuer_type()), ("eu-central-1", proto::IssuerType::Updated));
    assert_eq!((whole.feature_plan(), whole.deletion_protection), (proto::FeaturePlan::Essentials, false));
    assert_eq!((whole.mfa_mode(), whole.tags), (proto::MfaMode::Off, Default::default()));
    assert_eq!((whole.mfa_factors, whole.domain), (Vec::new(), None));

    // Everything.
    let reset = daemon.tenants().update_tenant(update(given, &["*"])).await.expect("updated").into_inner();
    assert_eq!((reset.display_name.as_str(), reset.labels), ("globex", Default::default()));
    daemon.stop().await;
}

#[tokio::test]
async fn an_update_of_what_cannot_be_changed_is_refused_with_the_field() {
    let daemon = Daemon::start().await;
    daemon.create_tenant("acme").await;
    create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    let named = |id: &str| proto::Tenant { name: format!("tenants/{id}"), ..Default::default() };
    for path in ["uid", "isolation", "state", "pool", "issuer", "create_time", "user_pool.region", "colour", "name"] {
        let answer = daemon.tenants().update_tenant(update(named("globex"), &[path])).await;
        assert_invalid(answer, "FIELD_INVALID", "update_mask");
    }
    let user_pool = Some(proto::UserPoolSettings { region: "us-east-1".to_owned(), ..Default::default() });
    let moved = proto::Tenant { user_pool, ..named("globex") };
    let request = proto::UpdateTenantRequest { tenant: Some(moved), ..Default::default() };
    assert_invalid(daemon.tenants().update_tenant(request).await, "FIELD_INVALID", "tenant.user_pool.region");
    let user_pool = Some(proto::UserPoolSettings::default());
    let request = update(proto::Tenant { user_pool, ..named("acme") }, &["user_pool"]);
    assert_invalid(daemon.tenants().update_tenant(request).await, "FIELD_INVALID", "tenant.user_pool");
    daemon.stop().await;
}

/// Whoever asks has looked at the tenant before, and it may be another by now.
#[tokio::test]
async fn settings_that_the_tenant_cannot_have_are_refused_where_they_are_written_down_too() {
    let bench = Bench::new().await;
    let broker = Working::open(bench.ports()).await.expect("a broker");
    broker.create_tenant("acme", domain::Isolation::AppClient).await.expect("a tenant");
    broker.create_tenant("globex", domain::Isolation::UserPool).await.expect("a tenant");
    let elsewhere = UserPoolSettings { region: "us-east-1".to_owned(), ..Default::default() };
    for (id, settings, field) in
        [("acme", UserPoolSettings::default(), "tenant.user_pool"), ("globex", elsewhere, "tenant.user_pool.region")]
    {
        let refused = broker.change_settings(id, settings).await.expect_err("refused");
        assert_eq!((refused.reason(), refused.fields()[0].field.as_str()), (Reason::FieldInvalid, field));
    }
    broker.stop().await;
}

#[tokio::test]
async fn an_etag_that_is_out_of_date_changes_nothing() {
    let daemon = Daemon::start().await;
    let old = daemon.create_tenant("acme").await;
    let rename = |name: &str, etag: &str| {
        let tenant = proto::Tenant {
            name: "tenants/acme".to_owned(),
            display_name: name.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        };
        update(tenant, &["display_name"])
    };
    let new = daemon.tenants().update_tenant(rename("One", &old.etag)).await.expect("updated").into_inner();
    let answer = daemon.tenants().update_tenant(rename("Two", &old.etag)).await;
    assert_eq!(refusal(answer), (Code::Aborted, "ETAG_MISMATCH".into()));
    let stale = proto::DeleteTenantRequest { etag: old.etag, ..delete("acme") };
    assert_eq!(refusal(daemon.tenants().delete_tenant(stale).await), (Code::Aborted, "ETAG_MISMATCH".into()));
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there"), new);
    daemon
        .tenants()
        .delete_tenant(proto::DeleteTenantRequest { etag: new.etag, ..delete("acme") })
        .await
        .expect("gone");
    daemon.stop().await;
}

#[tokio::test]
async fn a_suspended_tenant_gets_no_token_and_none_of_its_tokens_verify_until_it_is_resumed() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "orders").await;
    let token = daemon.token(&client.name).await.access_token;

    let suspended = daemon.tenants().suspend_tenant(suspend("acme", "unpaid")).await.expect("suspended").into_inner();
    assert_eq!((suspended.state(), suspended.state_reason.as_str()), (TenantState::Suspended, "unpaid"));
    let name = proto::GetTokenRequest { name: client.name.clone(), ..Default::default() };
    let refused = (Code::FailedPrecondition, "TENANT_SUSPENDED".to_owned());
    assert_eq!(refusal(daemon.tokens().get_token(name.clone()).await), refused);
    assert_eq!(rejection(daemon.verify(&token).await), RejectionReason::TenantSuspended);

    let again = daemon.tenants().suspend_tenant(suspend("acme", "still unpaid")).await.expect("again").into_inner();
    assert_eq!(again.state_reason, "still unpaid");
    let daemon = daemon.restart().await;
    assert_eq!(refusal(daemon.tokens().get_token(name).await), refused);

    let resumed = daemon.tenants().resume_tenant(resume("acme")).await.expect("resumed").into_inner();
    assert_eq!((resumed.state(), resumed.state_reason.as_str()), (TenantState::Active, ""));
    assert!(matches!(daemon.verify(&token).await, proto::verify_token_response::Verdict::Verified(_)));
    daemon.token(&client.name).await;
    let unchanged = daemon.tenants().resume_tenant(resume("acme")).await.expect("nothing to do").into_inner();
    assert_eq!(unchanged, resumed);
    daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_tenant_takes_its_clients_and_its_pool_with_it_and_its_id_is_free() {
    let daemon = Daemon::start().await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_client("acme", "orders").await;
    let old = create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    let mut tokens = BTreeMap::new();
    for id in ["orders", "billing"] {
        let client = daemon.create_client("globex", id).await;
        tokens.insert(client.name.clone(), daemon.token(&client.name).await.access_token);
    }
    daemon.tenants().delete_tenant(delete("globex")).await.expect("deleted");
    for (client, token) in &tokens {
        assert_eq!(rejection(daemon.verify(token).await), RejectionReason::UnknownIssuer);
        let request = proto::GetClientRequest { name: client.clone() };
        assert_eq!(refusal(daemon.clients().get_client(request).await).0, Code::NotFound);
    }
    assert!(pools(&daemon.channel).await.iter().all(|pool| pool.name != old.pool));

    let new = create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    assert!(new.uid != old.uid && new.pool != old.pool && new.issuer != old.issuer, "{new:?}");
    for token in tokens.values() {
        assert_eq!(rejection(daemon.verify(token).await), RejectionReason::UnknownIssuer);
    }
    // The neighbour did not notice.
    daemon.token("tenants/acme/clients/orders").await;
    daemon.stop().await;
}

#[tokio::test]
async fn deletion_protection_refuses_until_it_is_turned_off() {
    let daemon = Daemon::start().await;
    let request = new_tenant_with_pool("globex", settings());
    let tenant = daemon.tenants().create_tenant(request).await.expect("created").into_inner();
    let refused = (Code::FailedPrecondition, "DELETION_PROTECTED".to_owned());
    assert_eq!(refusal(daemon.tenants().delete_tenant(delete("globex")).await), refused);
    assert_eq!(get_tenant(&daemon.channel, "globex").await.expect("there"), tenant);

    let given = proto::Tenant { name: tenant.name, ..Default::default() };
    let request = update(given, &["user_pool.deletion_protection"]);
    daemon.tenants().update_tenant(request).await.expect("turned off");
    daemon.tenants().delete_tenant(delete("globex")).await.expect("deleted");
    assert_eq!(refusal(get_tenant(&daemon.channel, "globex").await).0, Code::NotFound);
    daemon.stop().await;
}

#[tokio::test]
async fn an_id_that_is_taken_is_refused() {
    let daemon = Daemon::start().await;
    let tenant = daemon.create_tenant("acme").await;
    let request = crate::harness::new_tenant("acme", Isolation::UserPool);
    let answer = daemon.tenants().create_tenant(request).await;
    assert_eq!(refusal(answer), (Code::AlreadyExists, "RESOURCE_EXISTS".into()));
    assert_eq!(get_tenant(&daemon.channel, "acme").await.expect("there"), tenant);
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenant_whose_backend_fails_is_creating_and_becomes_active_by_itself() {
    let outage = Outage::default();
    outage.begin();
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| outage.of_user_pools(ports)).await;
    for (id, isolation) in [("acme", Isolation::AppClient), ("globex", Isolation::UserPool)] {
        let tenant = create_tenant(&daemon.channel, id, isolation).await;
        assert_eq!((tenant.state(), tenant.issuer.as_str()), (TenantState::Creating, ""));
        assert!(!tenant.state_reason.is_empty() && !tenant.state_reason.contains(INNER_DETAIL), "{tenant:?}");
        let not_ready = (Code::FailedPrecondition, "TENANT_NOT_READY".to_owned());
        let client = crate::harness::new_client(id, "orders");
        assert_eq!(refusal(daemon.clients().create_client(client).await), not_ready);
        assert_eq!(refusal(daemon.tenants().suspend_tenant(suspend(id, "")).await), not_ready);
    }
    let seen = last_event(&daemon.channel).await;
    outage.end();
    for id in ["acme", "globex"] {
        event_after(&daemon.channel, seen, "keyward.onboarding/activate", &format!("tenants/{id}")).await;
        let tenant = get_tenant(&daemon.channel, id).await.expect("there");
        assert_eq!((tenant.state(), tenant.state_reason.as_str()), (TenantState::Active, ""));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_deletion_that_the_backend_holds_up_refuses_tokens_at_once_and_ends_by_itself() {
    let outage = Outage::default();
    let daemon = Daemon::start_through(Arc::new(SystemClock), |_| {}, |ports| outage.of_user_pools(ports)).await;
    daemon.put_orders_api().await;
    create_tenant(&daemon.channel, "globex", Isolation::UserPool).await;
    let client = daemon.create_client("globex", "orders").await;
    let token = daemon.token(&client.name).await.access_token;
    outage.begin();
    daemon.tenants().delete_tenant(delete("globex")).await.expect("decided");
    let tenant = get_tenant(&daemon.channel, "globex").await.expect("not gone yet");
    assert_eq!(tenant.state(), TenantState::Deleting);
    assert!(!tenant.state_reason.is_empty() && !tenant.state_reason.contains(INNER_DETAIL), "{tenant:?}");
    assert_eq!(rejection(daemon.verify(&token).await), RejectionReason::TenantDeleted);
    let taken = crate::harness::new_tenant("globex", Isolation::AppClient);
    assert_eq!(refusal(daemon.tenants().create_tenant(taken).await).1, "RESOURCE_EXISTS");
    daemon.tenants().delete_tenant(delete("globex")).await.expect("decided already");
    let deleting = (Code::FailedPrecondition, "TENANT_DELETING".to_owned());
    assert_eq!(refusal(daemon.tenants().suspend_tenant(suspend("globex", "")).await), deleting);
    assert_eq!(refusal(daemon.tenants().resume_tenant(resume("globex")).await), deleting);

    let seen = last_event(&daemon.channel).await;
    outage.end();
    event_after(&daemon.channel, seen, "keyward.offboarding/finish", "tenants/globex").await;
    assert_eq!(refusal(get_tenant(&daemon.channel, "globex").await).0, Code::NotFound);
    daemon.stop().await;
}
