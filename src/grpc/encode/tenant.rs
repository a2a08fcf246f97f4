//! Tenants.

use super::provider::provider;
use super::{count, display_name, etag, issuer, timestamp};
use crate::broker::api::TenantView;
use crate::domain::tenant::{FeaturePlan, Isolation, IssuerType, Mfa, TenantState, UserPoolSettings};
use crate::proto;

pub fn tenant(view: TenantView) -> proto::Tenant {
    let TenantView { tenant, version, issuer: pool_issuer } = view;
    let message = proto::Tenant {
        name: tenant.id.name(),
        uid: tenant.uid,
        display_name: display_name(tenant.display_name, &tenant.id),
        isolation: isolation(tenant.isolation).into(),
        state: tenant_state(tenant.state).into(),
        state_reason: tenant.state_reason,
        labels: tenant.labels,
        user_pool: tenant.user_pool.map(user_pool),
        pool: tenant.pool.name(),
        issuer: issuer(pool_issuer),
        create_time: Some(timestamp(tenant.create_time)),
        update_time: Some(timestamp(tenant.update_time)),
        etag: etag(version),
        identity_providers: tenant.identity_providers.into_iter().map(provider).collect(),
        sign_in_domains: Vec::new(),
        r#move: None,
    };
    if version == 0 { planned(message) } else { message }
}

/// What `validate_only` answers of a tenant that is not there: without what only its creation fills.
fn planned(tenant: proto::Tenant) -> proto::Tenant {
    proto::Tenant { uid: String::new(), pool: String::new(), create_time: None, update_time: None, ..tenant }
}

pub fn isolation(isolation: Isolation) -> proto::Isolation {
    match isolation {
        Isolation::AppClient => proto::Isolation::AppClient,
        Isolation::UserPool => proto::Isolation::UserPool,
    }
}

pub fn tenant_state(state: TenantState) -> proto::TenantState {
    match state {
        TenantState::Creating => proto::TenantState::Creating,
        TenantState::Active => proto::TenantState::Active,
        TenantState::Suspended => proto::TenantState::Suspended,
        TenantState::Deleting => proto::TenantState::Deleting,
    }
}

fn user_pool(settings: UserPoolSettings) -> proto::UserPoolSettings {
    let password = settings.password_policy;
    let mfa_mode = match settings.mfa {
        Mfa::Off => proto::MfaMode::Off,
        Mfa::Optional => proto::MfaMode::Optional,
        Mfa::On => proto::MfaMode::Required,
    };
    let feature_plan = match settings.feature_plan {
        FeaturePlan::Lite => proto::FeaturePlan::Lite,
        FeaturePlan::Essentials => proto::FeaturePlan::Essentials,
        FeaturePlan::Plus => proto::FeaturePlan::Plus,
    };
    proto::UserPoolSettings {
        region: settings.region,
        password_policy: Some(proto::PasswordPolicy {
            minimum_length: count(password.minimum_length),
            require_lowercase: password.require_lowercase,
            require_uppercase: password.require_uppercase,
            require_digits: password.require_numbers,
            require_symbols: password.require_symbols,
            temporary_password_validity: None,
            history_size: 0,
        }),
        mfa_mode: mfa_mode.into(),
        mfa_factors: Vec::new(),
        deletion_protection: settings.deletion_protection,
        feature_plan: feature_plan.into(),
        issuer_type: issuer_type(settings.issuer_type).into(),
        domain: None,
        tags: settings.tags,
    }
}

pub fn issuer_type(issuer_type: IssuerType) -> proto::IssuerType {
    match issuer_type {
        IssuerType::Original => proto::IssuerType::Original,
        IssuerType::Updated => proto::IssuerType::Updated,
    }
}
