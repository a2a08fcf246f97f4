//! A pool's settings as Cognito says them, in both directions.
//!
//! `UpdateUserPool` resets what it is not given, so an update takes the pool as it was seen, with our fields changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_cognitoidentityprovider::config::http::HttpRequest;
use aws_sdk_cognitoidentityprovider::operation::create_user_pool::builders::CreateUserPoolFluentBuilder;
use aws_sdk_cognitoidentityprovider::operation::set_user_pool_mfa_config::builders::SetUserPoolMfaConfigFluentBuilder;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool::builders::UpdateUserPoolFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    AdminCreateUserConfigType, DeletionProtectionType, IssuerConfigurationType, IssuerType as CognitoIssuerType,
    PasswordPolicyType, SoftwareTokenMfaConfigType, UserPoolMfaType, UserPoolPolicyType, UserPoolTierType,
    UserPoolType,
};

use serde_json::Value;

use crate::domain::id::{PoolId, UserPoolId};
use crate::domain::tenant::{FeaturePlan, IssuerType, Mfa, PasswordPolicy, UserPoolSettings};

/// The tag that says that a pool is ours, and which.
pub(super) const POOL_TAG: &str = "keyward:pool";

const UNUSED_DAYS: &str = "UnusedAccountValidityDays";

/// A new pool. The second factor comes after it: here Cognito takes one only together with text messages.
pub(super) fn creation(
    request: CreateUserPoolFluentBuilder,
    name: &str,
    id: &PoolId,
    settings: &UserPoolSettings,
) -> CreateUserPoolFluentBuilder {
    // Nobody signs up here by himself.
    let admin_only = AdminCreateUserConfigType::builder().allow_admin_create_user_only(true).build();
    let issuer = IssuerConfigurationType::builder().r#type(issuer_type(settings.issuer_type)).build();
    request
        .pool_name(name)
        .policies(policies(&settings.password_policy, None))
        .deletion_protection(protection(settings.deletion_protection))
        .admin_create_user_config(admin_only)
        .user_pool_tier(tier(settings.feature_plan))
        .issuer_configuration(issuer)
        .set_user_pool_tags(Some(tags(settings, [(POOL_TAG.to_owned(), id.to_string())])))
}

/// Software tokens only: text messages and email need services that a pool of ours does not have.
pub(super) fn mfa_change(
    request: SetUserPoolMfaConfigFluentBuilder,
    user_pool: &UserPoolId,
    mfa: Mfa,
) -> SetUserPoolMfaConfigFluentBuilder {
    let request = request.user_pool_id(user_pool.as_str());
    let software_token = SoftwareTokenMfaConfigType::builder().enabled(true).build();
    match mfa {
        Mfa::Off => request.mfa_configuration(UserPoolMfaType::Off),
        Mfa::Optional => {
            request.mfa_configuration(UserPoolMfaType::Optional).software_token_mfa_configuration(software_token)
        }
        Mfa::On => request.mfa_configuration(UserPoolMfaType::On).software_token_mfa_configuration(software_token),
    }
}

/// The pool as it was seen, with our settings. The second factor stays as it is; [`mfa_change`] is for that.
pub(super) fn update_of(
    request: UpdateUserPoolFluentBuilder,
    seen: UserPoolType,
    settings: &UserPoolSettings,
) -> UpdateUserPoolFluentBuilder {
    let had = seen.policies.as_ref();
    let policies = policies(&settings.password_policy, had);
    let expires = policies.password_policy().is_some_and(|policy| policy.temporary_password_validity_days > 0);
    // Cognito says both and takes one: "use TemporaryPasswordValidityDays instead of UnusedAccountValidityDays".
    let admin_create_user = seen.admin_create_user_config.map(|mut config| {
        if expires {
            config.unused_account_validity_days = 0;
        }
        config
    });
    // Cognito says the names that are in force, default or not, and takes none on the plan Lite.
    let acr = seen.acr_configuration.filter(|_| settings.feature_plan != FeaturePlan::Lite);
    let ours = seen.user_pool_tags.iter().flatten().filter(|(key, _)| *key == POOL_TAG);
    let ours = ours.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>();
    request
        .set_user_pool_id(seen.id)
        .set_pool_name(seen.name)
        .policies(policies)
        .deletion_protection(protection(settings.deletion_protection))
        .set_lambda_config(seen.lambda_config)
        .set_auto_verified_attributes(seen.auto_verified_attributes)
        .set_sms_verification_message(seen.sms_verification_message)
        .set_email_verification_message(seen.email_verification_message)
        .set_email_verification_subject(seen.email_verification_subject)
        .set_verification_message_template(seen.verification_message_template)
        .set_sms_authentication_message(seen.sms_authentication_message)
        .set_user_attribute_update_settings(seen.user_attribute_update_settings)
        .set_mfa_configuration(seen.mfa_configuration)
        .set_device_configuration(seen.device_configuration)
        .set_email_configuration(seen.email_configuration)
        .set_sms_configuration(seen.sms_configuration)
        .set_user_pool_tags(Some(tags(settings, ours)))
        .set_admin_create_user_config(admin_create_user)
        .set_user_pool_add_ons(seen.user_pool_add_ons)
        .set_account_recovery_setting(seen.account_recovery_setting)
        .user_pool_tier(tier(settings.feature_plan))
        .set_key_configuration(seen.key_configuration)
        .set_issuer_configuration(seen.issuer_configuration)
        .set_acr_configuration(acr)
}

/// Takes `UnusedAccountValidityDays` out of a request where it is zero, which the SDK writes when it means nothing.
/// Cognito documents of `TemporaryPasswordValidityDays` alone that it takes zero for nothing.
pub(super) fn without_zero_days(request: &mut HttpRequest) {
    let Some(mut body) = request.body().bytes().and_then(|body| serde_json::from_slice::<Value>(body).ok()) else {
        return;
    };
    let config = body.get_mut("AdminCreateUserConfig").and_then(Value::as_object_mut);
    let Some(config) = config.filter(|config| config.get(UNUSED_DAYS) == Some(&Value::from(0))) else { return };
    config.remove(UNUSED_DAYS);
    let body = body.to_string();
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = body.into();
}

/// The settings of a pool as it was seen. `region` is given as a tenant gives it.
pub(super) fn settings_of(region: &str, seen: &UserPoolType) -> UserPoolSettings {
    let default = PasswordPolicy::default();
    let password_policy =
        seen.policies().and_then(|policies| policies.password_policy()).map_or(default, |policy| PasswordPolicy {
            minimum_length: policy.minimum_length().and_then(|length| u32::try_from(length).ok()).unwrap_or(8),
            require_lowercase: policy.require_lowercase(),
            require_uppercase: policy.require_uppercase(),
            require_numbers: policy.require_numbers(),
            require_symbols: policy.require_symbols(),
            temporary_validity_days: None,
            history_size: 0,
        });
    let is_tenants = |key: &str| !key.starts_with("keyward:") && !key.starts_with("aws:");
    let tags = seen.user_pool_tags().into_iter().flatten().filter(|(key, _)| is_tenants(key));
    UserPoolSettings {
        region: region.to_owned(),
        password_policy,
        mfa: mfa_of(seen),
        deletion_protection: seen.deletion_protection() == Some(&DeletionProtectionType::Active),
        feature_plan: match seen.user_pool_tier() {
            Some(UserPoolTierType::Lite) => FeaturePlan::Lite,
            Some(UserPoolTierType::Plus) => FeaturePlan::Plus,
            _ => FeaturePlan::Essentials,
        },
        issuer_type: issuer_type_of(seen),
        tags: tags.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>(),
        mfa_factors: BTreeSet::new(),
        domain: None,
    }
}

pub(super) fn mfa_of(seen: &UserPoolType) -> Mfa {
    match seen.mfa_configuration() {
        Some(UserPoolMfaType::On) => Mfa::On,
        Some(UserPoolMfaType::Optional) => Mfa::Optional,
        _ => Mfa::Off,
    }
}

pub(super) fn issuer_type_of(seen: &UserPoolType) -> IssuerType {
    match seen.issuer_configuration().and_then(IssuerConfigurationType::r#type) {
        Some(CognitoIssuerType::Updated) => IssuerType::Updated,
        _ => IssuerType::Original,
    }
}

/// With what a password policy has besides our fields, and the sign-in policy.
fn policies(policy: &PasswordPolicy, had: Option<&UserPoolPolicyType>) -> UserPoolPolicyType {
    let had_password = had.and_then(UserPoolPolicyType::password_policy);
    let mut passwords = PasswordPolicyType::builder()
        .minimum_length(i32::try_from(policy.minimum_length).unwrap_or(i32::MAX))
        .require_lowercase(policy.require_lowercase)
        .require_uppercase(policy.require_uppercase)
        .require_numbers(policy.require_numbers)
        .require_symbols(policy.require_symbols)
        .set_password_history_size(had_password.and_then(PasswordPolicyType::password_history_size));
    if let Some(days) = had_password.map(PasswordPolicyType::temporary_password_validity_days).filter(|days| *days > 0)
    {
        passwords = passwords.temporary_password_validity_days(days);
    }
    UserPoolPolicyType::builder()
        .password_policy(passwords.build())
        .set_sign_in_policy(had.and_then(UserPoolPolicyType::sign_in_policy).cloned())
        .build()
}

fn tags(settings: &UserPoolSettings, ours: impl IntoIterator<Item = (String, String)>) -> HashMap<String, String> {
    settings.tags.clone().into_iter().chain(ours).collect()
}

fn protection(is_on: bool) -> DeletionProtectionType {
    if is_on { DeletionProtectionType::Active } else { DeletionProtectionType::Inactive }
}

fn tier(plan: FeaturePlan) -> UserPoolTierType {
    match plan {
        FeaturePlan::Lite => UserPoolTierType::Lite,
        FeaturePlan::Essentials => UserPoolTierType::Essentials,
        FeaturePlan::Plus => UserPoolTierType::Plus,
    }
}

fn issuer_type(kind: IssuerType) -> CognitoIssuerType {
    match kind {
        IssuerType::Original => CognitoIssuerType::Original,
        IssuerType::Updated => CognitoIssuerType::Updated,
    }
}
