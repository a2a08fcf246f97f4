use std::collections::{BTreeMap, HashMap};

use aws_sdk_cognitoidentityprovider::config::http::HttpRequest;
use aws_sdk_cognitoidentityprovider::operation::get_user_pool_mfa_config as cognito_output;
use aws_sdk_cognitoidentityprovider::types as cognito;
use serde_json::{Value, json};

use super::{absent_members, cognito_client};
use crate::aws::Messages;
use crate::aws::pool_settings::{creation, settings_of, update_of, without_zero_days};
use crate::aws::second_factors::{factors_of, mfa_change};
use crate::domain::id::PoolId;
use crate::domain::tenant::{FeaturePlan, IssuerType, Mfa, MfaFactor, PasswordPolicy, UserPoolSettings};

fn settings() -> UserPoolSettings {
    UserPoolSettings {
        region: "eu-west-1".into(),
        password_policy: PasswordPolicy {
            minimum_length: 12,
            require_lowercase: true,
            require_uppercase: false,
            require_numbers: true,
            require_symbols: false,
            temporary_validity_days: Some(30),
            history_size: 5,
        },
        mfa: Mfa::Optional,
        deletion_protection: true,
        feature_plan: FeaturePlan::Plus,
        issuer_type: IssuerType::Updated,
        tags: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        ..Default::default()
    }
}

/// A pool in which everything that an update takes is set, as Cognito gives it back.
fn whole() -> cognito::UserPoolType {
    let passwords = cognito::PasswordPolicyType::builder()
        .minimum_length(8)
        .require_symbols(true)
        .password_history_size(3)
        .temporary_password_validity_days(9);
    let sign_in = cognito::SignInPolicyType::builder().allowed_first_auth_factors(cognito::AuthFactorType::Password);
    let policies = cognito::UserPoolPolicyType::builder();
    let admin = cognito::AdminCreateUserConfigType::builder().allow_admin_create_user_only(true);
    let add_ons = cognito::UserPoolAddOnsType::builder().advanced_security_mode("AUDIT".into()).build();
    let key = cognito::KeyConfigurationType::builder().build();
    let acr = cognito::AcrLevelConfigType::builder().acr_value("urn:level:1").build().expect("a level");
    let issuer = cognito::IssuerConfigurationType::builder().r#type(cognito::IssuerType::Updated).build();
    cognito::UserPoolType::builder()
        .id("eu-west-1_AbCdEf123")
        .name("keyward-tenant-01")
        .policies(policies.password_policy(passwords.build()).sign_in_policy(sign_in.build()).build())
        .deletion_protection(cognito::DeletionProtectionType::Inactive)
        .lambda_config(cognito::LambdaConfigType::builder().pre_sign_up("arn:of:a:function").build())
        .auto_verified_attributes(cognito::VerifiedAttributeType::Email)
        .sms_verification_message("{####}")
        .email_verification_message("{####}")
        .email_verification_subject("hello")
        .verification_message_template(cognito::VerificationMessageTemplateType::builder().build())
        .sms_authentication_message("{####}")
        .user_attribute_update_settings(cognito::UserAttributeUpdateSettingsType::builder().build())
        .mfa_configuration(cognito::UserPoolMfaType::On)
        .device_configuration(cognito::DeviceConfigurationType::builder().build())
        .email_configuration(cognito::EmailConfigurationType::builder().build())
        .sms_configuration(cognito::SmsConfigurationType::builder().sns_caller_arn("arn").build())
        .user_pool_tags("keyward:pool", "tenant-01")
        .user_pool_tags("aws:cloudformation:stack-name", "stack")
        .user_pool_tags("team", "red")
        .user_pool_tags("old", "tag")
        .admin_create_user_config(admin.unused_account_validity_days(7).build())
        .user_pool_add_ons(add_ons.expect("add-ons"))
        .account_recovery_setting(cognito::AccountRecoverySettingType::builder().build())
        .user_pool_tier(cognito::UserPoolTierType::Essentials)
        .key_configuration(key)
        .issuer_configuration(issuer)
        .acr_configuration("Level1", acr)
        .build()
}

#[test]
fn a_new_pool_has_all_that_the_settings_say_but_the_second_factor() {
    let id = PoolId::parse("pool", "tenant-01").expect("an id");
    let request = creation(cognito_client().create_user_pool(), "keyward-tenant-01", &id, &settings(), None);
    let input = request.as_input().clone().build().expect("a request");
    assert_eq!(input.pool_name(), Some("keyward-tenant-01"));
    assert_eq!(input.deletion_protection(), Some(&cognito::DeletionProtectionType::Active));
    assert_eq!(input.user_pool_tier(), Some(&cognito::UserPoolTierType::Plus));
    let issuer = input.issuer_configuration().and_then(|issuer| issuer.r#type());
    assert_eq!(issuer, Some(&cognito::IssuerType::Updated));
    assert!(input.admin_create_user_config().expect("a config").allow_admin_create_user_only());
    let tags = [("keyward:pool", "tenant-01"), ("team", "blue")].map(|(key, value)| (key.into(), value.into()));
    assert_eq!(input.user_pool_tags(), Some(&HashMap::from(tags)));
    let policy = input.policies().and_then(|policies| policies.password_policy()).expect("a policy");
    assert_eq!((policy.minimum_length(), policy.require_lowercase(), policy.require_numbers()), (Some(12), true, true));
    assert_eq!((policy.temporary_password_validity_days(), policy.password_history_size()), (30, Some(5)));
    assert!(!policy.require_uppercase() && !policy.require_symbols());
    assert_eq!(input.mfa_configuration(), None);
}

#[test]
fn an_update_gives_every_member_that_update_user_pool_takes() {
    let request = update_of(cognito_client().update_user_pool(), whole(), &settings(), None);
    let printed = format!("{:#?}", request.as_input().clone().build().expect("a request"));
    assert!(printed.contains("pool_name"), "{printed}");
    assert_eq!(absent_members(&printed), Vec::<String>::new());
}

#[test]
fn an_update_changes_our_settings_and_keeps_the_others() {
    let request = update_of(cognito_client().update_user_pool(), whole(), &settings(), None);
    let input = request.as_input().clone().build().expect("a request");
    assert_eq!(input.deletion_protection(), Some(&cognito::DeletionProtectionType::Active));
    assert_eq!(input.user_pool_tier(), Some(&cognito::UserPoolTierType::Plus));
    let policies = input.policies().expect("policies");
    let passwords = policies.password_policy().expect("a policy");
    assert_eq!((passwords.minimum_length(), passwords.require_symbols()), (Some(12), false));
    assert_eq!((passwords.password_history_size(), passwords.temporary_password_validity_days()), (Some(5), 30));
    assert!(policies.sign_in_policy().is_some());
    assert_eq!(input.lambda_config().and_then(|lambda| lambda.pre_sign_up()), Some("arn:of:a:function"));
    // The second factor has an operation of its own; here it stays as it was.
    assert_eq!(input.mfa_configuration(), Some(&cognito::UserPoolMfaType::On));
    // Cognito takes only one of the two that it gives.
    assert_eq!(input.admin_create_user_config().expect("a config").unused_account_validity_days(), 0);
}

#[test]
fn an_update_replaces_the_tenants_tags_and_keeps_the_mark() {
    let request = update_of(cognito_client().update_user_pool(), whole(), &settings(), None);
    let input = request.as_input().clone().build().expect("a request");
    let tags = [("keyward:pool", "tenant-01"), ("team", "blue")].map(|(key, value)| (key.into(), value.into()));
    assert_eq!(input.user_pool_tags(), Some(&HashMap::from(tags)));
}

#[test]
fn the_plan_lite_takes_no_names_of_authentication_levels() {
    let lite = UserPoolSettings { feature_plan: FeaturePlan::Lite, ..Default::default() };
    let request = update_of(cognito_client().update_user_pool(), whole(), &lite, None);
    assert_eq!(request.as_input().get_acr_configuration(), &None);
    let policies = request.as_input().get_policies().as_ref().and_then(|policies| policies.password_policy());
    let passwords = policies.expect("a policy");
    // Nor a history of passwords; temporary ones live as long as Cognito's do.
    assert_eq!((passwords.password_history_size(), passwords.temporary_password_validity_days()), (None, 7));
}

#[test]
fn settings_are_read_as_they_were_written() {
    let mut pool = whole();
    let input = update_of(cognito_client().update_user_pool(), pool.clone(), &settings(), None);
    let input = input.as_input().clone().build().expect("a request");
    pool.policies = input.policies;
    pool.deletion_protection = input.deletion_protection;
    pool.user_pool_tier = input.user_pool_tier;
    pool.user_pool_tags = input.user_pool_tags;
    pool.mfa_configuration = Some(cognito::UserPoolMfaType::Optional);
    assert_eq!(settings_of("eu-west-1", &pool, None, None), settings());
}

#[test]
fn a_pool_that_says_nothing_has_cognitos_defaults() {
    let silent = cognito::UserPoolType::builder().build();
    assert_eq!(settings_of("", &silent, None, None), UserPoolSettings::default());
}

#[test]
fn the_factors_that_are_wanted_are_given_and_no_others() {
    type Config = cognito_output::GetUserPoolMfaConfigOutput;
    let messages = Messages {
        sms_role: "arn:aws:iam::123456789012:role/sms".to_owned(),
        sms_external_id: "keyward".to_owned(),
        ..Messages::default()
    };
    let words = cognito::SmsMfaConfigType::builder().sms_authentication_message("yours: {####}").build();
    let passkeys = cognito::WebAuthnConfigurationType::builder().relying_party_id("login.example.com").build();
    let seen = Config::builder().sms_mfa_configuration(words).web_authn_configuration(passkeys).build();
    let change = |mfa, factors: &[MfaFactor]| {
        let settings = UserPoolSettings { mfa, mfa_factors: factors.iter().copied().collect(), ..Default::default() };
        let request = mfa_change(cognito_client().set_user_pool_mfa_config(), &seen, None, &settings, &messages);
        request.user_pool_id("x").as_input().clone().build().expect("a request")
    };
    for (mfa, mode) in [
        (Mfa::Off, cognito::UserPoolMfaType::Off),
        (Mfa::Optional, cognito::UserPoolMfaType::Optional),
        (Mfa::On, cognito::UserPoolMfaType::On),
    ] {
        let input = change(mfa, &[]);
        assert_eq!(input.mfa_configuration(), Some(&mode));
        // A time-based code alone, where nothing is said.
        let has_token = input.software_token_mfa_configuration().is_some_and(|token| token.enabled());
        assert_eq!(has_token, mfa != Mfa::Off);
        assert!(input.sms_mfa_configuration().is_none() && input.email_mfa_configuration().is_none());
        assert!(input.web_authn_configuration().is_some(), "passkeys stay as they are");
    }
    let input = change(Mfa::On, &[MfaFactor::Sms, MfaFactor::Email]);
    assert!(input.software_token_mfa_configuration().is_none() && input.email_mfa_configuration().is_some());
    let sms = input.sms_mfa_configuration().expect("text messages");
    assert_eq!(sms.sms_authentication_message(), Some("yours: {####}"), "words stay as they are");
    let sending = sms.sms_configuration().expect("how they are sent");
    assert_eq!((sending.sns_caller_arn(), sending.external_id()), (messages.sms_role.as_str(), Some("keyward")));
}

#[test]
fn factors_are_read_as_a_tenant_says_them() {
    type Config = cognito_output::GetUserPoolMfaConfigOutput;
    let totp = cognito::SoftwareTokenMfaConfigType::builder().enabled(true).build();
    let on = Config::builder().mfa_configuration(cognito::UserPoolMfaType::On);
    let with_totp = on.software_token_mfa_configuration(totp);
    assert_eq!(factors_of(&with_totp.clone().build()), [].into());
    let email = cognito::EmailMfaConfigType::builder().build();
    let both = with_totp.email_mfa_configuration(email).build();
    assert_eq!(factors_of(&both), [MfaFactor::Totp, MfaFactor::Email].into());
    let mut off = both;
    off.mfa_configuration = Some(cognito::UserPoolMfaType::Off);
    assert_eq!(factors_of(&off), [].into());
}

#[test]
fn zero_days_leave_the_request_and_other_days_stay() {
    let sent = |days: i32| {
        let config = json!({ "AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": days });
        let body = json!({ "PoolName": "keyward-tenant-01", "AdminCreateUserConfig": config }).to_string();
        let mut request = HttpRequest::new(body.into());
        without_zero_days(&mut request);
        let body = request.body().bytes().expect("a body").to_vec();
        let length = request.headers().get("content-length").map(str::to_owned);
        (serde_json::from_slice::<Value>(&body).expect("JSON"), length, body.len())
    };
    let (body, length, size) = sent(0);
    let expected = json!({ "AllowAdminCreateUserOnly": true });
    assert_eq!(body, json!({ "PoolName": "keyward-tenant-01", "AdminCreateUserConfig": expected }));
    assert_eq!(length, Some(size.to_string()));
    let (body, length, _) = sent(7);
    assert_eq!((body["AdminCreateUserConfig"]["UnusedAccountValidityDays"].as_i64(), length), (Some(7), None));
}
