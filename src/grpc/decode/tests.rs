//! Each bad input names its field; each good one is what was meant.

use prost_types::FieldMask;

use super::*;
use crate::broker::api::{NewClient, TenantView};
use crate::domain::error::Reason;
use crate::domain::id::{PoolId, TenantId};
use crate::domain::tenant::{
    HostedDomain, Isolation, Mfa, MfaFactor, PasswordPolicy, Tenant, TenantState, UserPoolSettings,
};
use crate::proto;

fn span(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

fn instant(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos })
}

fn field<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.fields().first().map(|violation| violation.field.clone()).unwrap_or_default(),
    }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

#[test]
fn a_duration_is_whole_and_has_no_sign() {
    assert_eq!(duration("d", None).expect("absent"), None);
    assert_eq!(duration("d", span(1, 500).as_ref()).expect("valid"), Some(Duration::new(1, 500)));
    let bad = [(-1, 0), (0, -1), (1, -1), (i64::MIN, i32::MIN), (0, NANOS), (0, i32::MAX), (i64::MAX, 0)];
    for (seconds, nanos) in bad {
        assert_eq!(field(duration("d", span(seconds, nanos).as_ref())), "d", "{seconds} {nanos}");
    }
}

#[test]
fn a_timestamp_is_of_our_era() {
    assert_eq!(timestamp("t", instant(0, 1).as_ref()).expect("valid").map(|t| t.as_nanosecond()), Some(1));
    let before = timestamp("t", instant(-1, 999_999_999).as_ref()).expect("valid");
    assert_eq!(before.map(|t| t.as_nanosecond()), Some(-1));
    assert_eq!(before.map(crate::grpc::encode::timestamp), instant(-1, 999_999_999));
    for (seconds, nanos) in [(0, -1), (0, NANOS), (i64::MAX, 0), (i64::MIN, 0), (MIN_TIMESTAMP_SECONDS - 1, 0)] {
        assert_eq!(field(timestamp("t", instant(seconds, nanos).as_ref())), "t", "{seconds} {nanos}");
    }
}

#[test]
fn an_etag_is_one_of_ours_or_a_mismatch() {
    assert_eq!(etag("tenants/acme", "").expect("absent"), None);
    for version in [1, 42, u64::MAX] {
        assert_eq!(etag("tenants/acme", &crate::grpc::encode::etag(version)).expect("ours"), Some(version));
    }
    for bad in [
        "1",
        "v",
        "v01",
        "v0",
        "v-1",
        "v+1",
        "w1",
        "v1 ",
        "*",
        &format!("v{}", "9".repeat(64)),
        "v99999999999999999999",
    ] {
        assert_eq!(etag("tenants/acme", bad).expect_err(bad).reason(), Reason::EtagMismatch);
    }
}

fn tenant_request(
    edit: impl FnOnce(&mut proto::CreateTenantRequest, &mut proto::Tenant),
) -> proto::CreateTenantRequest {
    let mut tenant = proto::Tenant { isolation: proto::Isolation::UserPool.into(), ..Default::default() };
    let mut request = proto::CreateTenantRequest { tenant_id: "acme".into(), ..Default::default() };
    edit(&mut request, &mut tenant);
    request.tenant = Some(tenant);
    request
}

fn pool_request(edit: impl FnOnce(&mut proto::UserPoolSettings)) -> proto::CreateTenantRequest {
    let mut settings = proto::UserPoolSettings::default();
    edit(&mut settings);
    tenant_request(|_, tenant| tenant.user_pool = Some(settings))
}

const CERTIFICATE: &str = "arn:aws:acm:us-east-1:123456789012:certificate/0aa0";

fn prefix(prefix: &str) -> Option<proto::HostedDomain> {
    Some(proto::HostedDomain { form: Some(proto::hosted_domain::Form::Prefix(prefix.to_owned())) })
}

fn custom(domain: &str, certificate_arn: &str) -> Option<proto::HostedDomain> {
    let (domain, certificate_arn) = (domain.to_owned(), certificate_arn.to_owned());
    // What only the broker says is not looked at.
    let custom = proto::CustomHostedDomain { domain, certificate_arn, cname_target: "elsewhere".to_owned() };
    Some(proto::HostedDomain { form: Some(proto::hosted_domain::Form::Custom(custom)) })
}

fn mfa_request(factors: &[i32]) -> proto::CreateTenantRequest {
    pool_request(|pool| (pool.mfa_mode, pool.mfa_factors) = (3, factors.to_vec()))
}

fn lite_request(edit: impl FnOnce(&mut proto::UserPoolSettings)) -> proto::CreateTenantRequest {
    pool_request(|pool| {
        pool.feature_plan = proto::FeaturePlan::Lite.into();
        edit(pool);
    })
}

fn password_request(edit: impl FnOnce(&mut proto::PasswordPolicy)) -> proto::CreateTenantRequest {
    let mut policy = proto::PasswordPolicy::default();
    edit(&mut policy);
    pool_request(|pool| pool.password_policy = Some(policy))
}

#[test]
fn a_bad_tenant_names_its_field() {
    let cases = [
        ("tenant_id", tenant_request(|r, _| r.tenant_id = "Acme".into())),
        ("tenant.isolation", tenant_request(|_, t| t.isolation = 0)),
        ("tenant.isolation", tenant_request(|_, t| t.isolation = 99)),
        ("tenant.display_name", tenant_request(|_, t| t.display_name = "x".repeat(129))),
        ("tenant.display_name", tenant_request(|_, t| t.display_name = "a\nb".into())),
        ("tenant.labels", tenant_request(|_, t| t.labels = [("Ä".to_owned(), String::new())].into())),
        ("tenant.labels[tier]", tenant_request(|_, t| t.labels = [("tier".to_owned(), "x".repeat(256))].into())),
        (
            "tenant.labels",
            tenant_request(|_, t| t.labels = (0..33).map(|i| (format!("k{i}"), String::new())).collect()),
        ),
        (
            "tenant.identity_providers[0].provider_id",
            tenant_request(|_, t| t.identity_providers = vec![Default::default()]),
        ),
        ("tenant.sign_in_domains[0].kind", tenant_request(|_, t| t.sign_in_domains = vec![Default::default()])),
        (
            "tenant.user_pool",
            tenant_request(|_, t| {
                t.isolation = proto::Isolation::AppClient.into();
                t.user_pool = Some(Default::default());
            }),
        ),
        ("tenant.user_pool.region", pool_request(|p| p.region = "eu central".into())),
        ("tenant.user_pool.mfa_mode", pool_request(|p| p.mfa_mode = -1)),
        ("tenant.user_pool.mfa_factors", pool_request(|p| p.mfa_factors = vec![1])),
        ("tenant.user_pool.feature_plan", pool_request(|p| p.feature_plan = 4)),
        ("tenant.user_pool.issuer_type", pool_request(|p| p.issuer_type = 3)),
        ("tenant.user_pool.domain", pool_request(|p| p.domain = Some(Default::default()))),
        ("tenant.user_pool.tags", pool_request(|p| p.tags = [("keyward:x".to_owned(), String::new())].into())),
        (
            "tenant.user_pool.tags",
            pool_request(|p| p.tags = (0..41).map(|i| (format!("k{i}"), String::new())).collect()),
        ),
        ("tenant.user_pool.password_policy.minimum_length", password_request(|p| p.minimum_length = 5)),
        ("tenant.user_pool.password_policy.minimum_length", password_request(|p| p.minimum_length = -8)),
        ("tenant.user_pool.password_policy.history_size", password_request(|p| p.history_size = 25)),
        ("tenant.user_pool.password_policy.history_size", password_request(|p| p.history_size = -1)),
        (
            "tenant.user_pool.password_policy.temporary_password_validity",
            password_request(|p| p.temporary_password_validity = span(86_399, 0)),
        ),
        (
            "tenant.user_pool.password_policy.temporary_password_validity",
            password_request(|p| p.temporary_password_validity = span(86_400, 1)),
        ),
        (
            "tenant.user_pool.password_policy.temporary_password_validity",
            password_request(|p| p.temporary_password_validity = span(0, 0)),
        ),
        (
            "tenant.user_pool.password_policy.temporary_password_validity",
            password_request(|p| p.temporary_password_validity = span(366 * 86_400, 0)),
        ),
        ("tenant.user_pool.mfa_factors", mfa_request(&[0])),
        ("tenant.user_pool.mfa_factors", mfa_request(&[4])),
        ("tenant.user_pool.mfa_factors", mfa_request(&[1, 1])),
        ("tenant.user_pool.mfa_factors", lite_request(|p| (p.mfa_mode, p.mfa_factors) = (2, vec![3]))),
        (
            "tenant.user_pool.password_policy.history_size",
            lite_request(|p| {
                p.password_policy = Some(proto::PasswordPolicy { history_size: 1, ..Default::default() });
            }),
        ),
        ("tenant.user_pool.domain.prefix", pool_request(|p| p.domain = prefix("my-cognito"))),
        ("tenant.user_pool.domain.custom.domain", pool_request(|p| p.domain = custom("example.com", CERTIFICATE))),
        (
            "tenant.user_pool.domain.custom.certificate_arn",
            pool_request(|p| p.domain = custom("login.example.com", "")),
        ),
        (
            "tenant.user_pool.domain.custom.certificate_arn",
            pool_request(|p| {
                (p.region, p.domain) = ("cn-north-1".into(), custom("login.example.com", CERTIFICATE));
            }),
        ),
    ];
    for (expected, request) in cases {
        assert_eq!(field(tenant::new(request)), expected);
    }
    assert_eq!(
        field(tenant::new(proto::CreateTenantRequest { tenant_id: "acme".into(), ..Default::default() })),
        "tenant"
    );
}

#[test]
fn what_a_tenant_leaves_open_has_its_default() {
    let new = tenant::new(tenant_request(|_, tenant| {
        tenant.uid = "ignored".into();
        tenant.state = proto::TenantState::Suspended.into();
    }));
    let new = new.expect("valid");
    assert_eq!(new.isolation, Isolation::UserPool);
    assert_eq!(new.user_pool, Some(UserPoolSettings::default()));
    // What is not said of passwords is not left out of what they must have.
    let policy = tenant::new(password_request(|p| p.minimum_length = 14)).expect("valid");
    let policy = policy.user_pool.expect("own pool").password_policy;
    assert_eq!(policy, PasswordPolicy { minimum_length: 14, ..PasswordPolicy::default() });
    let policy = tenant::new(password_request(|p| p.require_symbols = Some(false))).expect("valid");
    let policy = policy.user_pool.expect("own pool").password_policy;
    assert_eq!(policy, PasswordPolicy { require_symbols: false, ..PasswordPolicy::default() });
}

fn current(user_pool: Option<UserPoolSettings>) -> TenantView {
    let id = TenantId::parse("id", "acme").expect("valid");
    TenantView {
        tenant: Tenant {
            isolation: if user_pool.is_some() { Isolation::UserPool } else { Isolation::AppClient },
            id,
            uid: "u".into(),
            display_name: String::new(),
            state: TenantState::Active,
            state_reason: String::new(),
            labels: Default::default(),
            user_pool,
            pool: PoolId::parse("pool", "tenant-acme").expect("valid"),
            revoked_before: None,
            identity_providers: Vec::new(),
            sign_in_domains: Vec::new(),
            moved: None,
            create_time: Timestamp::UNIX_EPOCH,
            update_time: Timestamp::UNIX_EPOCH,
        },
        version: 7,
        issuer: None,
        cname_target: String::new(),
        claims: Vec::new(),
    }
}

fn update(paths: &[&str], edit: impl FnOnce(&mut proto::Tenant)) -> Result<tenant::Update> {
    let mut tenant = proto::Tenant { name: "tenants/acme".into(), ..Default::default() };
    edit(&mut tenant);
    let update_mask = if paths.is_empty() { None } else { mask(paths) };
    tenant::Update::read(proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() })
}

#[test]
fn only_the_masked_part_of_a_pool_changes() {
    let own =
        UserPoolSettings { deletion_protection: true, mfa: Mfa::On, region: "eu-west-1".into(), ..Default::default() };
    let change = update(&["user_pool.deletion_protection"], |t| t.display_name = "not meant".into()).expect("valid");
    assert!(change.needs_current());
    let patch = change.against(Some(&current(Some(own.clone())))).expect("valid");
    assert_eq!(patch.display_name, None);
    assert_eq!(patch.user_pool, Some(UserPoolSettings { deletion_protection: false, ..own.clone() }));

    let strict = PasswordPolicy { minimum_length: 20, ..PasswordPolicy::default() };
    let before = UserPoolSettings { password_policy: strict, ..own.clone() };
    for (given, expected) in [(Some(false), false), (Some(true), true), (None, true)] {
        let password_policy = Some(proto::PasswordPolicy { require_symbols: given, ..Default::default() });
        let user_pool = Some(proto::UserPoolSettings { password_policy, ..Default::default() });
        let change = update(&["user_pool.password_policy.require_symbols"], |tenant| tenant.user_pool = user_pool);
        let patch = change.expect("valid").against(Some(&current(Some(before.clone())))).expect("valid");
        let policy = patch.user_pool.expect("own").password_policy;
        assert_eq!((policy.minimum_length, policy.require_symbols), (20, expected));
    }

    let whole = update(&["*"], |_| {}).expect("valid").against(Some(&current(Some(own)))).expect("valid");
    assert_eq!(whole.display_name.as_deref(), Some(""));
    let reset = UserPoolSettings { region: "eu-west-1".into(), ..Default::default() };
    assert_eq!(whole.user_pool, Some(reset));
}

fn own_domain(domain: &str, certificate_arn: &str) -> Option<HostedDomain> {
    Some(HostedDomain::Custom { domain: domain.into(), certificate_arn: certificate_arn.into() })
}

#[test]
fn a_mask_changes_the_domain_as_a_whole_or_one_form_or_a_part_of_it() {
    let two = format!("{CERTIFICATE}2");
    let (none, chosen) = (None, Some(HostedDomain::Prefix("acme".into())));
    let mine = own_domain("login.example.com", CERTIFICATE);
    for (path, given, now, then) in [
        ("user_pool.domain", prefix("acme"), &none, Ok(chosen.clone())),
        ("user_pool.domain", None, &mine, Ok(None)),
        ("user_pool.domain.prefix", prefix("acme"), &mine, Ok(chosen.clone())),
        ("user_pool.domain.prefix", None, &chosen, Ok(None)),
        ("user_pool.domain.prefix", None, &mine, Ok(mine.clone())),
        ("user_pool.domain.custom", custom("login.example.com", CERTIFICATE), &chosen, Ok(mine.clone())),
        ("user_pool.domain.custom", None, &mine, Ok(None)),
        ("user_pool.domain.custom", prefix("acme"), &chosen, Ok(chosen.clone())),
        ("user_pool.domain.custom.certificate_arn", custom("", &two), &mine, Ok(own_domain("login.example.com", &two))),
        ("user_pool.domain.custom.domain", custom("a.b.c", ""), &mine, Ok(own_domain("a.b.c", CERTIFICATE))),
        ("user_pool.domain.custom.domain", custom("a.b.c", ""), &chosen, Err("tenant.user_pool.domain.custom")),
        ("user_pool.domain.custom.domain", custom("c", ""), &mine, Err("tenant.user_pool.domain.custom.domain")),
        ("user_pool.mfa_mode", prefix("acme"), &mine, Ok(mine.clone())),
    ] {
        let own = UserPoolSettings { domain: now.clone(), ..Default::default() };
        let change = update(&[path], |tenant| {
            tenant.user_pool = Some(proto::UserPoolSettings { domain: given, ..Default::default() });
        });
        let patch = change.and_then(|change| change.against(Some(&current(Some(own)))));
        match then {
            Ok(domain) => assert_eq!(patch.expect(path).user_pool.expect("own").domain, domain, "{path}"),
            Err(at) => assert_eq!(field(patch), at, "{path}"),
        }
    }
}

#[test]
fn what_must_hold_between_fields_is_asked_of_what_comes_of_a_change() {
    let own = UserPoolSettings { mfa: Mfa::On, mfa_factors: [MfaFactor::Sms].into(), ..Default::default() };
    let against = |paths: &[&str], edit: fn(&mut proto::UserPoolSettings)| {
        let change = update(paths, |tenant| edit(tenant.user_pool.get_or_insert_default()));
        change.and_then(|change| change.against(Some(&current(Some(own.clone())))))
    };
    // It says nothing of the mode, which stays.
    let factors = against(&["user_pool.mfa_factors"], |pool| pool.mfa_factors = vec![3]).expect("valid");
    assert_eq!(factors.user_pool.expect("own").mfa_factors, [MfaFactor::Email].into());
    assert_eq!(field(against(&["user_pool.mfa_mode"], |_| {})), "tenant.user_pool.mfa_factors");
    against(&["user_pool.mfa_mode", "user_pool.mfa_factors"], |_| {}).expect("both");
    against(&["user_pool.feature_plan"], |pool| pool.feature_plan = 1).expect("text messages are in Lite");
}

#[test]
fn what_was_read_can_be_written_back() {
    let own = UserPoolSettings {
        region: "eu-west-1".into(),
        mfa: Mfa::Optional,
        mfa_factors: [MfaFactor::Totp, MfaFactor::Email].into(),
        domain: own_domain("login.example.com", CERTIFICATE),
        password_policy: PasswordPolicy {
            temporary_validity_days: Some(30),
            history_size: 24,
            ..PasswordPolicy::default()
        },
        ..Default::default()
    };
    for view in [current(Some(own)), current(None)] {
        let change = update(&[], |tenant| *tenant = crate::grpc::encode::tenant(view.clone())).expect("valid");
        assert_eq!(change.version, Some(7));
        let patch = change.against(Some(&view)).expect("valid");
        assert_eq!(patch.user_pool, view.tenant.user_pool);
    }
}

#[test]
fn a_bad_update_of_a_tenant_names_its_field() {
    assert_eq!(field(update(&["uid"], |_| {})), "update_mask");
    assert_eq!(field(update(&["user_pool.region"], |_| {})), "update_mask");
    assert_eq!(field(update(&["user_pool.domain.custom.cname_target"], |_| {})), "update_mask");
    assert_eq!(field(update(&[], |t| t.name = "acme".into())), "tenant.name");
    assert_eq!(field(update(&[], |t| t.labels = [(String::new(), String::new())].into())), "tenant.labels");
    assert_eq!(field(update(&[], |t| t.isolation = 9)), "tenant.isolation");
    let garbage = update(&[], |t| t.etag = "garbage".into()).expect_err("garbage");
    assert_eq!(garbage.reason(), Reason::EtagMismatch);

    let moved = update(&[], |t| t.isolation = proto::Isolation::UserPool.into()).expect("valid by itself");
    assert_eq!(field(moved.against(Some(&current(None)))), "tenant.isolation");
    let pool = update(&["user_pool"], |_| {}).expect("valid by itself");
    assert_eq!(field(pool.against(Some(&current(None)))), "tenant.user_pool");
    let region = update(&[], |t| {
        t.user_pool = Some(proto::UserPoolSettings { region: "us-east-1".into(), ..Default::default() });
    });
    let region = region.expect("valid by itself");
    assert_eq!(field(region.against(Some(&current(Some(UserPoolSettings::default()))))), "tenant.user_pool.region");
}

fn new_client(edit: impl FnOnce(&mut proto::CreateClientRequest, &mut proto::Client)) -> Result<NewClient> {
    let mut client = proto::Client { scopes: vec!["orders/read".into()], ..Default::default() };
    let mut request =
        proto::CreateClientRequest { parent: "tenants/acme".into(), client_id: "backend".into(), ..Default::default() };
    edit(&mut request, &mut client);
    request.client = Some(client);
    client::new(request)
}

fn policy(
    period: Option<prost_types::Duration>,
    overlap: Option<prost_types::Duration>,
) -> Option<proto::RotationPolicy> {
    Some(proto::RotationPolicy { period, overlap, disabled: false })
}

#[test]
fn a_bad_client_names_its_field() {
    let cases = [
        ("parent", new_client(|r, _| r.parent = "tenants/".into())),
        ("parent", new_client(|r, _| r.parent = "tenants/-".into())),
        ("client_id", new_client(|r, _| r.client_id = "a/b".into())),
        ("client.scopes", new_client(|_, c| c.scopes.clear())),
        ("client.scopes[1]", new_client(|_, c| c.scopes.push("plain".into()))),
        ("client.scopes", new_client(|_, c| c.scopes = vec!["a/b".into(); 51])),
        ("client.interactive", new_client(|_, c| c.kind = proto::ClientKind::Interactive.into())),
        ("client.kind", new_client(|_, c| c.kind = 7)),
        ("client.interactive", new_client(|_, c| c.interactive = Some(Default::default()))),
        ("client.access_token_validity", new_client(|_, c| c.access_token_validity = span(299, 0))),
        ("client.access_token_validity", new_client(|_, c| c.access_token_validity = span(3600, 1))),
        ("client.access_token_validity", new_client(|_, c| c.access_token_validity = span(-3600, 0))),
        ("client.rotation_policy.period", new_client(|_, c| c.rotation_policy = policy(span(0, 0), None))),
        ("client.rotation_policy.period", new_client(|_, c| c.rotation_policy = policy(span(i64::MAX, 0), None))),
        ("client.rotation_policy.overlap", new_client(|_, c| c.rotation_policy = policy(None, span(0, -1)))),
        ("client.rotation_policy.overlap", new_client(|_, c| c.rotation_policy = policy(span(7200, 0), span(3601, 0)))),
        ("client.secret_readers[0]", new_client(|_, c| c.secret_readers = vec!["orders".into()])),
        ("client.secret_readers[0]", new_client(|_, c| c.secret_readers = vec!["arn:aws:s3:::bucket".into()])),
        ("client.labels", new_client(|_, c| c.labels = [("A".to_owned(), String::new())].into())),
    ];
    for (expected, result) in cases {
        assert_eq!(field(result), expected);
    }
    let reader = "arn:aws:iam::123456789012:role/orders".to_owned();
    assert_eq!(field(new_client(|_, c| c.secret_readers = vec![reader])), "accepted");
}

#[test]
fn an_overlap_that_is_not_given_fits_the_period() {
    let rotation = |period| new_client(|_, c| c.rotation_policy = policy(period, None)).expect("valid").rotation;
    assert_eq!(rotation(span(7200, 0)).expect("given").overlap, Duration::from_secs(3600));
    assert_eq!(rotation(None).expect("given").overlap, Duration::from_secs(86_400));
}

#[test]
fn an_update_of_a_client_is_what_its_mask_says() {
    let read = |paths: &[&str], client: proto::Client| {
        client::Update::read(proto::UpdateClientRequest {
            client: Some(proto::Client { name: "tenants/acme/clients/backend".into(), ..client }),
            update_mask: mask(paths),
            ..Default::default()
        })
    };
    let client = proto::Client { scopes: vec!["orders/read".into()], uid: "ignored".into(), ..Default::default() };
    let patch = read(&[], client.clone()).expect("valid").against(None).expect("valid");
    assert!(patch.scopes.is_some() && patch.labels.is_none() && patch.rotation.is_none());
    let everything = read(&["*"], client.clone()).expect("valid");
    assert!(everything.needs_current(), "what everything is hangs on the kind");
    let patch = everything.against(None).expect("valid");
    assert_eq!(patch.access_token_validity, Some(Duration::from_secs(3600)));
    assert_eq!(patch.secret_readers, Some(Vec::new()));
    assert_eq!((patch.rotation, patch.interactive), (None, None));
    assert!(read(&["rotation_policy.disabled"], client.clone()).expect("valid").needs_current());

    assert_eq!(field(read(&["*"], proto::Client::default())), "client.scopes");
    assert_eq!(field(read(&["kind"], client.clone())), "update_mask");
    assert_eq!(field(read(&["interactive"], client)), "client.interactive");
    let zero = proto::Client { rotation_policy: policy(span(0, 0), None), ..Default::default() };
    assert_eq!(field(read(&[], zero)), "client.rotation_policy.period");
}

#[test]
fn a_bad_rotation_names_its_field() {
    let request = |overlap, immediate| proto::RotateClientSecretRequest { overlap, immediate, ..Default::default() };
    assert_eq!(field(client::rotation(&request(span(-1, 0), false))), "overlap");
    assert_eq!(field(client::rotation(&request(span(i64::MAX, 0), false))), "overlap");
    assert_eq!(field(client::rotation(&request(span(400_000_000, 0), false))), "overlap");
    assert_eq!(field(client::rotation(&request(span(60, 0), true))), "overlap");
    assert_eq!(field(client::rotation(&request(None, true))), "accepted");
    let long = proto::RotateClientSecretRequest { reason: "x".repeat(513), ..Default::default() };
    assert_eq!(field(client::rotation(&long)), "reason");
    assert_eq!(field(client::reveal_reason(" ")), "reason");
}

#[test]
fn a_bad_revocation_names_its_field() {
    use proto::revoke_tokens_request::Target;
    let revoke = |target, issued_before| {
        client::revocation(proto::RevokeTokensRequest { target, issued_before, ..Default::default() })
    };
    assert_eq!(field(revoke(None, None)), "target");
    assert_eq!(field(revoke(Some(Target::TokenId(String::new())), None)), "token_id");
    assert_eq!(field(revoke(Some(Target::Token(String::new())), None)), "token");
    assert_eq!(field(revoke(Some(Target::Token("x".repeat(16_385))), None)), "token");
    assert_eq!(field(revoke(Some(Target::TokenId("jti".into())), instant(0, 0))), "issued_before");
    assert_eq!(field(revoke(Some(Target::Client("tenants/acme".into())), None)), "client");
    assert_eq!(field(revoke(Some(Target::Tenant("acme".into())), None)), "tenant");
    assert_eq!(field(revoke(Some(Target::Tenant("tenants/acme".into())), instant(0, -1))), "issued_before");
    assert_eq!(field(revoke(Some(Target::Tenant("tenants/acme".into())), instant(0, 0))), "accepted");
}

#[test]
fn a_bad_question_names_its_field() {
    let ask = |edit: fn(&mut proto::VerifyTokenRequest)| {
        let mut request = proto::VerifyTokenRequest { token: "not even a JWT".into(), ..Default::default() };
        edit(&mut request);
        field(token::question(request))
    };
    assert_eq!(ask(|_| {}), "accepted");
    assert_eq!(ask(|r| r.token.clear()), "token");
    assert_eq!(ask(|r| r.required_scopes = vec!["x".into()]), "required_scopes[0]");
    assert_eq!(ask(|r| r.tenant = "acme".into()), "tenant");
    assert_eq!(ask(|r| r.token_use = 5), "token_use");
    assert_eq!(ask(|r| r.token_use = proto::TokenUse::Id.into()), "accepted");
    assert_eq!(ask(|r| r.token_use = proto::TokenUse::Access.into()), "accepted");
    let name = "tenants/acme/clients/backend";
    assert_eq!(field(token::Wanted::read(name, &["x".into()], None)), "scopes[0]");
    assert_eq!(field(token::Wanted::read(name, &[], span(43_201, 0).as_ref())), "min_remaining");
    assert_eq!(field(token::Wanted::read(name, &[], span(-1, 0).as_ref())), "min_remaining");
    assert_eq!(field(token::Wanted::read("tenants/acme", &[], None)), "name");
}

#[test]
fn a_bad_resource_server_names_its_field() {
    let put = |edit: fn(&mut proto::ResourceServer)| {
        let scope = proto::ResourceServerScope { scope_name: "read".into(), description: String::new() };
        let mut server = proto::ResourceServer {
            identifier: "https://api.example.com".into(),
            scopes: vec![scope],
            ..Default::default()
        };
        edit(&mut server);
        catalog::new(Some(server))
    };
    let (server, version) = put(|s| s.etag = "v3".into()).expect("valid");
    assert_eq!(server.display_name, "https---api.example.com");
    assert_eq!((server.scopes[0].description.as_str(), version), ("read", Some(3)));
    assert_eq!(field(put(|s| s.identifier.clear())), "resource_server.identifier");
    assert_eq!(field(put(|s| s.display_name = "a/b".into())), "resource_server.display_name");
    assert_eq!(field(put(|s| s.scopes.clear())), "resource_server.scopes");
    assert_eq!(field(put(|s| s.scopes.push(s.scopes[0].clone()))), "resource_server.scopes[1].scope_name");
    assert_eq!(field(put(|s| s.scopes[0].scope_name = "a/b".into())), "resource_server.scopes[0].scope_name");
    assert_eq!(field(put(|s| s.scopes[0].description = "x".repeat(257))), "resource_server.scopes[0].description");
    assert_eq!(field(catalog::new(None)), "resource_server");
}

#[test]
fn a_bad_filter_names_its_field() {
    let events = |edit: fn(&mut proto::AuditEventFilter)| {
        let mut filter = proto::AuditEventFilter::default();
        edit(&mut filter);
        Some(filter)
    };
    assert_eq!(field(audit::filter(None)), "accepted");
    assert_eq!(field(audit::filter(events(|f| f.resource_prefix = "x".repeat(1025)))), "filter.resource_prefix");
    assert_eq!(field(audit::filter(events(|f| f.outcome = 4))), "filter.outcome");
    assert_eq!(field(audit::filter(events(|f| f.start_time = instant(i64::MAX, 0)))), "filter.start_time");
    assert_eq!(field(audit::endless_filter(events(|f| f.end_time = instant(0, 0)))), "filter.end_time");
    let pools = |kind, region: &str| {
        field(catalog::pool_filter(&proto::ListPoolsRequest { kind, region: region.into(), ..Default::default() }))
    };
    assert_eq!(pools(3, ""), "kind");
    assert_eq!(pools(1, "eu/central"), "region");
    assert_eq!(field(tenant::state(5)), "state");
}
