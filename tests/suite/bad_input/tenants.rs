//! What `CreateTenant`, `UpdateTenant` and their neighbours do not take.

use keyward::proto::hosted_domain::Form;
use keyward::proto::{self, Isolation};

use super::{Case, assert_all_refused, bad_ids, bad_labels, bad_words, daemon, longest_words};
use crate::harness::{Mutation, mask, new_tenant};

const FIELDS: [&str; 2] = ["tenant.user_pool.domain.custom.domain", "tenant.user_pool.domain.custom.certificate_arn"];

fn create(edit: impl FnOnce(&mut proto::Tenant)) -> Mutation {
    let mut request = new_tenant("fresh", Isolation::AppClient);
    edit(request.tenant.as_mut().expect("set"));
    Mutation::CreateTenant(request)
}

fn create_with_pool(edit: impl FnOnce(&mut proto::UserPoolSettings)) -> Mutation {
    let mut settings = proto::UserPoolSettings::default();
    edit(&mut settings);
    create(|tenant| {
        tenant.isolation = Isolation::UserPool.into();
        tenant.user_pool = Some(settings);
    })
}

fn update(paths: &[&str], edit: impl FnOnce(&mut proto::Tenant)) -> Mutation {
    let mut tenant = proto::Tenant { name: "tenants/acme".to_owned(), ..Default::default() };
    edit(&mut tenant);
    let update_mask = mask(paths);
    Mutation::UpdateTenant(proto::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() })
}

fn tags(pairs: &[(&str, &str)]) -> std::collections::HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_tenant_that_breaks_a_rule_is_not_created() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    for tenant_id in bad_ids() {
        let request = proto::CreateTenantRequest { tenant_id, ..new_tenant("", Isolation::AppClient) };
        cases.push((Mutation::CreateTenant(request), "tenant_id"));
    }
    let nothing = proto::CreateTenantRequest { tenant: None, ..new_tenant("fresh", Isolation::AppClient) };
    cases.push((Mutation::CreateTenant(nothing), "tenant"));
    for isolation in [0, 3, -1, i32::MAX] {
        cases.push((create(|tenant| tenant.isolation = isolation), "tenant.isolation"));
    }
    for words in bad_words(128) {
        cases.push((create(|tenant| tenant.display_name = words), "tenant.display_name"));
    }
    for labels in bad_labels() {
        cases.push((create(|tenant| tenant.labels = labels.into_iter().collect()), "tenant.labels"));
    }
    cases.push((create(|tenant| tenant.user_pool = Some(Default::default())), "tenant.user_pool"));
    let provider = |tenant: &mut proto::Tenant| tenant.identity_providers = vec![Default::default()];
    cases.push((create(provider), "tenant.identity_providers[0].provider_id"));
    cases.push((create(|tenant| tenant.sign_in_domains = vec![Default::default()]), "tenant.sign_in_domains[0].kind"));
    let cases = cases.into_iter().map(|(mutation, field)| Case::of(&daemon, mutation, field)).collect();
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn settings_of_a_pool_that_break_a_rule_are_refused() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    for region in ["eu central", "eu/central", "ü", &"x".repeat(33)] {
        cases.push((create_with_pool(|pool| pool.region = region.to_owned()), "tenant.user_pool.region"));
    }
    for value in [4, -1, i32::MIN] {
        cases.push((create_with_pool(|pool| pool.mfa_mode = value), "tenant.user_pool.mfa_mode"));
        cases.push((create_with_pool(|pool| pool.feature_plan = value), "tenant.user_pool.feature_plan"));
        cases.push((create_with_pool(|pool| pool.issuer_type = value), "tenant.user_pool.issuer_type"));
    }
    for minimum_length in [5, 100, -1, i32::MIN, i32::MAX] {
        let policy = Some(proto::PasswordPolicy { minimum_length, ..Default::default() });
        let field = "tenant.user_pool.password_policy.minimum_length";
        cases.push((create_with_pool(|pool| pool.password_policy = policy), field));
    }
    let many: Vec<_> = (0..41).map(|n| format!("key-{n}")).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "")).collect();
    let long = ("k".repeat(129), "v".repeat(257));
    let bad_tags = [
        &many[..],
        &[("", "x")],
        &[(&long.0, "x")],
        &[("key", &long.1)],
        &[("aws:key", "x")],
        &[("keyward:key", "x")],
        &[("a\nb", "x")],
        &[("key", "a\u{0}b")],
    ];
    for pairs in bad_tags {
        cases.push((create_with_pool(|pool| pool.tags = tags(pairs).into_iter().collect()), "tenant.user_pool.tags"));
    }
    // Factors are for those who use a second one.
    cases.push((create_with_pool(|pool| pool.mfa_factors = vec![1]), "tenant.user_pool.mfa_factors"));
    for factors in [vec![0], vec![4], vec![-1], vec![1, 1], vec![1; 10_000]] {
        let edit = |pool: &mut proto::UserPoolSettings| (pool.mfa_mode, pool.mfa_factors) = (2, factors);
        cases.push((create_with_pool(edit), "tenant.user_pool.mfa_factors"));
    }
    for history_size in [25, -1, i32::MAX, i32::MIN] {
        let policy = Some(proto::PasswordPolicy { history_size, ..Default::default() });
        let field = "tenant.user_pool.password_policy.history_size";
        cases.push((create_with_pool(|pool| pool.password_policy = policy), field));
    }
    for (seconds, nanos) in [(0, 0), (-86_400, 0), (86_400, 1), (90_000, 0), (366 * 86_400, 0), (i64::MAX, 0)] {
        let temporary_password_validity = Some(prost_types::Duration { seconds, nanos });
        let policy = Some(proto::PasswordPolicy { temporary_password_validity, ..Default::default() });
        let field = "tenant.user_pool.password_policy.temporary_password_validity";
        cases.push((create_with_pool(|pool| pool.password_policy = policy), field));
    }
    cases.push((create_with_pool(|pool| pool.domain = Some(Default::default())), "tenant.user_pool.domain"));
    for prefix in ["", "-a", "a-", "A", "a.b", "\u{e4}", "my-aws-pool", &"x".repeat(64)] {
        let form = Some(Form::Prefix(prefix.to_owned()));
        let edit = |pool: &mut proto::UserPoolSettings| pool.domain = Some(proto::HostedDomain { form });
        cases.push((create_with_pool(edit), "tenant.user_pool.domain.prefix"));
    }
    let arn = "arn:aws:acm:us-east-1:123456789012:certificate/0aa0";
    for (domain, certificate_arn, field) in [
        ("", arn, "domain"),
        ("example.com", arn, "domain"),
        ("https://login.example.com", arn, "domain"),
        (&format!("{}.example.com", "x".repeat(60)), arn, "domain"),
        ("login.example.com", "", "certificate_arn"),
        ("login.example.com", "arn:aws:acm:eu-central-1:123456789012:certificate/0aa0", "certificate_arn"),
    ] {
        let custom = proto::CustomHostedDomain {
            domain: domain.to_owned(),
            certificate_arn: certificate_arn.to_owned(),
            ..Default::default()
        };
        let edit = |pool: &mut proto::UserPoolSettings| {
            pool.domain = Some(proto::HostedDomain { form: Some(Form::Custom(custom)) });
        };
        let field = if field == "domain" { FIELDS[0] } else { FIELDS[1] };
        cases.push((create_with_pool(edit), field));
    }
    let cases = cases.into_iter().map(|(mutation, field)| Case::of(&daemon, mutation, field)).collect();
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn an_update_or_suspension_that_breaks_a_rule_changes_nothing() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    cases.push((Mutation::UpdateTenant(Default::default()), "tenant"));
    let fixed =
        ["name", "uid", "isolation", "state", "state_reason", "pool", "issuer", "create_time", "update_time", "etag"];
    let unknown =
        ["", "colour", "Display_name", "displayName", "display_name.", "labels.a", "user_pool.colour", "tenant.labels"];
    for path in fixed.into_iter().chain(unknown) {
        cases.push((update(&[path], |_| {}), "update_mask"));
        cases.push((update(&["display_name", path], |_| {}), "update_mask"));
    }
    cases.push((update(&["*", "labels"], |_| {}), "update_mask"));
    for words in bad_words(128) {
        cases.push((update(&["display_name"], |tenant| tenant.display_name = words.clone()), "tenant.display_name"));
        cases.push((update(&[], |tenant| tenant.display_name = words), "tenant.display_name"));
    }
    for labels in bad_labels() {
        cases.push((update(&["labels"], |tenant| tenant.labels = labels.into_iter().collect()), "tenant.labels"));
    }
    cases.push((update(&[], |tenant| tenant.isolation = 7), "tenant.isolation"));
    cases.push((update(&[], |tenant| tenant.isolation = Isolation::UserPool.into()), "tenant.isolation"));
    for reason in bad_words(512) {
        let name = "tenants/acme".to_owned();
        let request = proto::SuspendTenantRequest { name, reason, ..Default::default() };
        cases.push((Mutation::SuspendTenant(request), "reason"));
    }
    let cases = cases.into_iter().map(|(mutation, field)| Case::of(&daemon, mutation, field)).collect();
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_just_within_the_limits_passes() {
    let daemon = daemon().await;
    let labels = |count: usize| -> std::collections::HashMap<String, String> {
        (0..count).map(|n| (format!("{n:063}"), longest_words(255))).collect()
    };
    let wide: Vec<_> = (0..40).map(|n| format!("{n:03}{}", longest_words(125))).collect();
    let value = longest_words(256);
    let wide: Vec<_> = wide.iter().map(|key| (key.as_str(), value.as_str())).collect();
    let policy = |minimum_length| Some(proto::PasswordPolicy { minimum_length, ..Default::default() });
    let good = [
        create(|tenant| tenant.display_name = longest_words(128)),
        create(|tenant| tenant.labels = labels(32).into_iter().collect()),
        create_with_pool(|pool| pool.password_policy = policy(6)),
        create_with_pool(|pool| pool.password_policy = policy(99)),
        create_with_pool(|pool| pool.tags = tags(&wide).into_iter().collect()),
        update(&["display_name"], |tenant| tenant.display_name = longest_words(128)),
    ];
    for mutation in good {
        let what = format!("{mutation:?}");
        mutation.dry_run().expect("it has one").send(&daemon.channel).await.expect(&what);
    }
    for tenant_id in ["abc".to_owned(), format!("a{}9", "-".repeat(61))] {
        let request = proto::CreateTenantRequest { tenant_id, ..new_tenant("", Isolation::AppClient) };
        Mutation::CreateTenant(request).send(&daemon.channel).await.expect("created");
    }
    let name = "tenants/acme".to_owned();
    let request = proto::SuspendTenantRequest { name, reason: longest_words(512), ..Default::default() };
    let suspended = daemon.tenants().suspend_tenant(request).await.expect("suspended").into_inner();
    assert_eq!(suspended.state_reason, longest_words(512));
    daemon.stop().await;
}
