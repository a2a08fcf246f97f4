//! What counts as a difference, and what is only under way.

use jiff::Timestamp;

use super::*;
use crate::domain::client::{ClientState, DEFAULT_TOKEN_VALIDITY, RotationPolicy};
use crate::domain::credential::{AppClient, Candidate, HeldSecret};
use crate::domain::id::{AppClientId, ClientName, PoolId, RotationId, SecretName, VersionId};
use crate::domain::tenant::{FeaturePlan, IssuerType, Mfa, MfaFactor};

fn secret(second: u32) -> SecretId {
    SecretId::parse("secret", &format!("app--{second}")).expect("valid")
}

fn version(name: &str) -> VersionId {
    VersionId::parse("version", name).expect("valid")
}

fn client() -> Client {
    Client {
        name: ClientName::parse("name", "tenants/acme/clients/orders").expect("valid"),
        uid: "0123456789abcdef".to_owned(),
        display_name: String::new(),
        state: ClientState::Active,
        labels: Default::default(),
        scopes: ScopeSet::parse("scopes", &["orders/read"]).expect("valid"),
        scopes_version: 0,
        access_token_validity: DEFAULT_TOKEN_VALIDITY,
        rotation: RotationPolicy::default(),
        pool: PoolId::parse("pool", "shared-1").expect("valid"),
        secret_name: SecretName::parse("name", "keyward/tenants/acme/clients/orders").expect("valid"),
        secret_readers: Vec::new(),
        app_client: Some(AppClientId::parse("id", "app").expect("valid")),
        replaced: Vec::new(),
        token_epoch: 0,
        imported: false,
        applied: true,
        interactive: None,
        revoked_before: None,
        rotate_time: None,
        next_rotate_time: None,
        create_time: Timestamp::UNIX_EPOCH,
        update_time: Timestamp::UNIX_EPOCH,
    }
}

fn credential() -> Credential {
    let client = client();
    let app_client = client.app_client.map(|id| AppClient { pool: client.pool, id });
    Credential::new(client.name, HeldSecret { app_client, secret: secret(1), version: version("v1") })
}

fn candidate(secret: Option<SecretId>) -> Candidate {
    Candidate {
        rotation: RotationId::parse("rotation", "r20260101t000000-0a1b").expect("valid"),
        version: version("v2"),
        secret,
        proved: false,
        overlap: Duration::ZERO,
        give_up_time: None,
        replacement: None,
    }
}

fn as_registered() -> Seen {
    let client = client();
    Seen {
        app_client: Some(SeenAppClient {
            scopes: client.scopes,
            access_token_validity: client.access_token_validity,
            is_machine: true,
        }),
        secrets: vec![secret(1)],
        labels: Some(Labels { current: Some(version("v1")), pending: None, previous: None }),
        authenticates: Some(true),
    }
}

/// `is_applying` stands for a rotation under way too.
fn differences(credential: &Credential, is_applying: bool, seen: &Seen) -> Vec<(DriftKind, String, &'static str)> {
    let client = client();
    let registered = Registered { client: &client, credential, is_applying, is_rotating: is_applying };
    let drifts = compare(&registered, seen);
    assert!(drifts.iter().all(|drift| drift.resource == client.name.to_string() && !drift.mended));
    drifts.into_iter().map(|drift| (drift.kind, drift.external_id, drift.field)).collect()
}

#[test]
fn what_is_as_registered_does_not_differ() {
    assert_eq!(differences(&credential(), false, &as_registered()), []);
}

#[test]
fn each_difference_is_told() {
    let seen = Seen {
        app_client: Some(SeenAppClient {
            scopes: ScopeSet::default(),
            access_token_validity: Duration::from_secs(300),
            is_machine: false,
        }),
        secrets: vec![secret(1), secret(2)],
        labels: Some(Labels { current: Some(version("foreign")), pending: None, previous: None }),
        authenticates: Some(false),
    };
    let vault = "keyward/tenants/acme/clients/orders".to_owned();
    let expected = [
        (DriftKind::ChangedSetting, "app".to_owned(), "kind"),
        (DriftKind::ChangedSetting, "app".to_owned(), "scopes"),
        (DriftKind::ChangedSetting, "app".to_owned(), "access_token_validity"),
        (DriftKind::ChangedSetting, vault.clone(), "secret_name"),
        (DriftKind::ForeignSecret, "app--2".to_owned(), ""),
        (DriftKind::DeadSecret, vault, ""),
    ];
    assert_eq!(differences(&credential(), false, &seen), expected);
}

#[test]
fn what_is_gone_is_missing_and_nothing_more_is_said_of_it() {
    let seen = Seen { app_client: None, secrets: Vec::new(), labels: None, authenticates: None };
    let expected = [
        (DriftKind::Missing, "app".to_owned(), ""),
        (DriftKind::Missing, "keyward/tenants/acme/clients/orders".to_owned(), ""),
    ];
    assert_eq!(differences(&credential(), false, &seen), expected);
}

#[test]
fn what_is_under_way_does_not_differ() {
    let mut seen = as_registered();
    seen.app_client = seen.app_client.map(|app_client| SeenAppClient { scopes: ScopeSet::default(), ..app_client });
    assert_eq!(differences(&credential(), true, &seen), [], "settings that are still to be applied");

    let two = Seen { secrets: vec![secret(1), secret(2)], ..as_registered() };
    let adding = Credential { candidate: Some(candidate(None)), ..credential() };
    assert_eq!(differences(&adding, false, &two), [], "a secret that the rotation may have added");
    let added = Credential { candidate: Some(candidate(Some(secret(2)))), ..credential() };
    assert_eq!(differences(&added, false, &two), [], "the candidate's secret");

    let current = Some(version("v2"));
    let moved = Seen { labels: Some(Labels { current, pending: None, previous: None }), ..two };
    assert_eq!(differences(&added, false, &moved), [], "a promotion that is not written down yet");
}

#[test]
fn a_condemned_secret_is_foreign_once_no_rotation_is_there_to_remove_it() {
    let condemned = std::collections::BTreeMap::from([(secret(2), Timestamp::UNIX_EPOCH)]);
    let credential = Credential { condemned, ..credential() };
    let seen = Seen { secrets: vec![secret(1), secret(2)], ..as_registered() };
    assert_eq!(differences(&credential, true, &seen), []);
    assert_eq!(differences(&credential, false, &seen), [(DriftKind::ForeignSecret, "app--2".to_owned(), "")]);
}

#[test]
fn a_secret_beside_a_known_candidate_is_foreign() {
    let seen = Seen { secrets: vec![secret(2), secret(3)], ..as_registered() };
    let added = Credential { candidate: Some(candidate(Some(secret(2)))), ..credential() };
    let expected = [(DriftKind::ForeignSecret, "app--3".to_owned(), "")];
    assert_eq!(differences(&added, false, &seen), expected);
}

#[test]
fn settings_of_a_pool_are_compared_but_for_its_region_and_the_tags_of_others() {
    let mut wanted = UserPoolSettings::default();
    wanted.tags.insert("team".to_owned(), "orders".to_owned());
    let mut seen = UserPoolSettings { region: "eu-central-1".to_owned(), ..wanted.clone() };
    seen.tags.insert("added".to_owned(), "by hand".to_owned());
    assert_eq!(compare_settings(&wanted, &seen), []);
    seen.tags.remove("team");
    seen.deletion_protection = true;
    let fields: Vec<_> = compare_settings(&wanted, &seen).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["user_pool.deletion_protection", "user_pool.tags"]);
}

#[test]
fn every_setting_of_a_pool_is_compared_by_what_it_means() {
    let custom = |domain: &str, certificate_arn: &str| {
        Some(HostedDomain::Custom { domain: domain.to_owned(), certificate_arn: certificate_arn.to_owned() })
    };
    let wanted = UserPoolSettings {
        mfa: Mfa::On,
        mfa_factors: [MfaFactor::Totp].into(),
        domain: custom("login.example.com", "one"),
        ..Default::default()
    };
    let passwords = |edit: fn(&mut PasswordPolicy)| {
        let mut seen = wanted.clone();
        edit(&mut seen.password_policy);
        seen
    };
    let seen = |edit: fn(&mut UserPoolSettings)| {
        let mut seen = wanted.clone();
        edit(&mut seen);
        seen
    };
    for (seen, field) in [
        (passwords(|policy| policy.temporary_validity_days = Some(7)), None),
        (passwords(|policy| policy.temporary_validity_days = Some(8)), Some("user_pool.password_policy")),
        (passwords(|policy| policy.history_size = 1), Some("user_pool.password_policy")),
        (seen(|seen| seen.mfa_factors.clear()), None),
        (seen(|seen| seen.mfa_factors = [MfaFactor::Sms].into()), Some("user_pool.mfa_factors")),
        (seen(|seen| seen.mfa = Mfa::Optional), Some("user_pool.mfa_mode")),
        (seen(|seen| seen.mfa = Mfa::Off), Some("user_pool.mfa_mode")),
        (seen(|seen| seen.feature_plan = FeaturePlan::Plus), Some("user_pool.feature_plan")),
        (seen(|seen| seen.issuer_type = IssuerType::Updated), Some("user_pool.issuer_type")),
        (seen(|seen| seen.domain = None), Some("user_pool.domain")),
        (seen(|seen| seen.domain = Some(HostedDomain::Prefix("x".into()))), Some("user_pool.domain")),
        (
            UserPoolSettings { domain: custom("login.example.com", "two"), ..wanted.clone() },
            Some("user_pool.domain.custom.certificate_arn"),
        ),
        (UserPoolSettings { domain: custom("other.example.com", "one"), ..wanted.clone() }, Some("user_pool.domain")),
    ] {
        let fields: Vec<_> = compare_settings(&wanted, &seen).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, field.into_iter().collect::<Vec<_>>(), "{seen:?}");
    }
}

#[test]
fn an_id_that_stands_for_a_secret_is_no_difference_whether_it_is_registered_or_seen() {
    let unlisted = SecretId::unlisted(&AppClientId::parse("id", "app").expect("valid")).expect("valid");
    let mut registered = credential();
    let seen = Seen { secrets: vec![unlisted.clone()], ..as_registered() };
    assert_eq!(differences(&registered, false, &seen), []);
    registered.current.secret = unlisted;
    assert_eq!(differences(&registered, false, &as_registered()), []);
    let seen = Seen { secrets: vec![secret(1), secret(2)], ..as_registered() };
    let foreign = (DriftKind::ForeignSecret, "app--2".to_owned(), "");
    assert_eq!(differences(&registered, false, &seen), [foreign], "what came after it is not the broker's");
}
