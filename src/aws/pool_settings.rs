//! A pool's settings as Cognito says them, in both directions.
//!
//! `UpdateUserPool` resets what it is not given, so an update takes the pool as it was seen, with our fields changed.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_cognitoidentityprovider::config::http::HttpRequest;
use aws_sdk_cognitoidentityprovider::operation::create_user_pool::builders::CreateUserPoolFluentBuilder;
use aws_sdk_cognitoidentityprovider::operation::get_user_pool_mfa_config::GetUserPoolMfaConfigOutput;
use aws_sdk_cognitoidentityprovider::operation::update_user_pool::builders::UpdateUserPoolFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    AdminCreateUserConfigType, DeletionProtectionType, EmailConfigurationType, IssuerConfigurationType,
    IssuerType as CognitoIssuerType, PasswordPolicyType, UserPoolPolicyType, UserPoolTierType, UserPoolType,
};

use serde_json::Value;

use super::second_factors::{factors_of, mfa_of};
use crate::domain::id::PoolId;
use crate::domain::tenant::{FeaturePlan, HostedDomain, IssuerType, PasswordPolicy, UserPoolSettings};

/// The tag that says that a pool is ours, and which.
pub(super) const POOL_TAG: &str = "keyward:pool";

const UNUSED_DAYS: &str = "UnusedAccountValidityDays";

/// A new pool. The second factor comes after it: here Cognito takes one only together with text messages.
pub(super) fn creation(
    request: CreateUserPoolFluentBuilder,
    name: &str,
    id: &PoolId,
    settings: &UserPoolSettings,
    email: Option<EmailConfigurationType>,
) -> CreateUserPoolFluentBuilder {
    // Nobody signs up here by himself.
    let admin_only = AdminCreateUserConfigType::builder().allow_admin_create_user_only(true).build();
    let issuer = IssuerConfigurationType::builder().r#type(issuer_type(settings.issuer_type)).build();
    request
        .pool_name(name)
        .policies(policies(&settings.password_policy, None))
        .deletion_protection(protection(settings.deletion_protection))
        .admin_create_user_config(admin_only)
        .set_email_configuration(email)
        .user_pool_tier(tier(settings.feature_plan))
        .issuer_configuration(issuer)
        .set_user_pool_tags(Some(tags(settings, [(POOL_TAG.to_owned(), id.to_string())])))
}

/// The pool as it was seen, with our settings. The second factor stays as it is: it has an operation of its own. Where
/// codes come by email, `email` is whence; else that stays as it was seen, too.
pub(super) fn update_of(
    request: UpdateUserPoolFluentBuilder,
    seen: UserPoolType,
    settings: &UserPoolSettings,
    email: Option<EmailConfigurationType>,
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
        .set_email_configuration(email.or(seen.email_configuration))
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

/// The settings of a pool as it was seen. `region` and `domain` are given as a tenant gives them. Factors are read where
/// the pool wants any.
pub(super) fn settings_of(
    region: &str,
    seen: &UserPoolType,
    mfa: Option<&GetUserPoolMfaConfigOutput>,
    domain: Option<HostedDomain>,
) -> UserPoolSettings {
    let default = PasswordPolicy::default();
    let password_policy =
        seen.policies().and_then(|policies| policies.password_policy()).map_or(default.clone(), |policy| {
            PasswordPolicy {
                minimum_length: policy.minimum_length().and_then(|length| u32::try_from(length).ok()).unwrap_or(8),
                require_lowercase: policy.require_lowercase(),
                require_uppercase: policy.require_uppercase(),
                require_numbers: policy.require_numbers(),
                require_symbols: policy.require_symbols(),
                // Said by nobody and said to be Cognito's default are the same.
                temporary_validity_days: u32::try_from(policy.temporary_password_validity_days())
                    .ok()
                    .filter(|days| *days != 0 && *days != default.temporary_days()),
                history_size: policy.password_history_size().and_then(|size| u32::try_from(size).ok()).unwrap_or(0),
            }
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
        mfa_factors: mfa.map(factors_of).unwrap_or_default(),
        domain,
    }
}

pub(super) fn prefix_of(pool: &UserPoolType) -> Option<&str> {
    pool.domain().filter(|prefix| !prefix.is_empty())
}

pub(super) fn custom_of(pool: &UserPoolType) -> Option<&str> {
    pool.custom_domain().filter(|domain| !domain.is_empty())
}

pub(super) fn issuer_type_of(seen: &UserPoolType) -> IssuerType {
    match seen.issuer_configuration().and_then(IssuerConfigurationType::r#type) {
        Some(CognitoIssuerType::Updated) => IssuerType::Updated,
        _ => IssuerType::Original,
    }
}

/// With the sign-in policy that there was. A history is not spoken of where none is wanted, since the plan Lite has none.
fn policies(policy: &PasswordPolicy, had: Option<&UserPoolPolicyType>) -> UserPoolPolicyType {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let passwords = PasswordPolicyType::builder()
        .minimum_length(number(policy.minimum_length))
        .require_lowercase(policy.require_lowercase)
        .require_uppercase(policy.require_uppercase)
        .require_numbers(policy.require_numbers)
        .require_symbols(policy.require_symbols)
        .set_password_history_size(Some(number(policy.history_size)).filter(|size| *size > 0))
        .temporary_password_validity_days(number(policy.temporary_days()));
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
