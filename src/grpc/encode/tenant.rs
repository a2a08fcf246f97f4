//! Tenants.

use super::provider::provider;
use super::{count, display_name, etag, issuer, sign_in, timestamp};
use crate::broker::api::TenantView;
use crate::domain::moving::{MoveState, TenantMove};
use crate::domain::tenant::{
    FeaturePlan, HostedDomain, Isolation, IssuerType, Mfa, MfaFactor, TenantState, UserPoolSettings,
};
use crate::proto;
use crate::proto::hosted_domain::Form;

/// In seconds.
const DAY: i64 = 86_400;

pub fn tenant(view: TenantView) -> proto::Tenant {
    let TenantView { tenant, version, issuer: pool_issuer, cname_target, claims } = view;
    let message = proto::Tenant {
        name: tenant.id.name(),
        uid: tenant.uid,
        display_name: display_name(tenant.display_name, &tenant.id),
        isolation: isolation(tenant.isolation).into(),
        state: tenant_state(tenant.state).into(),
        state_reason: tenant.state_reason,
        labels: tenant.labels,
        user_pool: tenant.user_pool.map(|settings| user_pool(settings, cname_target)),
        pool: tenant.pool.name(),
        issuer: issuer(pool_issuer),
        create_time: Some(timestamp(tenant.create_time)),
        update_time: Some(timestamp(tenant.update_time)),
        etag: etag(version),
        identity_providers: tenant.identity_providers.into_iter().map(provider).collect(),
        sign_in_domains: tenant.sign_in_domains.into_iter().map(|name| sign_in::domain(name, &claims)).collect(),
        r#move: tenant.moved.map(tenant_move),
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

fn tenant_move(moved: TenantMove) -> proto::TenantMove {
    let state = match moved.state {
        MoveState::Running => proto::TenantMoveState::Running,
        MoveState::Overlap => proto::TenantMoveState::Overlap,
        MoveState::Succeeded => proto::TenantMoveState::Succeeded,
    };
    proto::TenantMove {
        state: state.into(),
        target: isolation(moved.target).into(),
        client_count: count(moved.client_count),
        moved_client_count: count(moved.moved_client_count),
        create_time: Some(timestamp(moved.create_time)),
        retire_time: moved.retire_time.map(timestamp),
        end_time: moved.end_time.map(timestamp),
        last_error_reason: moved.last_error_reason,
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

fn user_pool(settings: UserPoolSettings, cname_target: String) -> proto::UserPoolSettings {
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
            require_lowercase: Some(password.require_lowercase),
            require_uppercase: Some(password.require_uppercase),
            require_digits: Some(password.require_numbers),
            require_symbols: Some(password.require_symbols),
            temporary_password_validity: password
                .temporary_validity_days
                .map(|days| prost_types::Duration { seconds: i64::from(days) * DAY, nanos: 0 }),
            history_size: count(password.history_size),
        }),
        mfa_mode: mfa_mode.into(),
        mfa_factors: settings.mfa_factors.into_iter().map(|factor| mfa_factor(factor).into()).collect(),
        deletion_protection: settings.deletion_protection,
        feature_plan: feature_plan.into(),
        issuer_type: issuer_type(settings.issuer_type).into(),
        domain: settings.domain.map(|domain| hosted_domain(domain, cname_target)),
        tags: settings.tags,
    }
}

fn mfa_factor(factor: MfaFactor) -> proto::MfaFactor {
    match factor {
        MfaFactor::Totp => proto::MfaFactor::Totp,
        MfaFactor::Sms => proto::MfaFactor::Sms,
        MfaFactor::Email => proto::MfaFactor::Email,
    }
}

fn hosted_domain(domain: HostedDomain, cname_target: String) -> proto::HostedDomain {
    let form = match domain {
        HostedDomain::Prefix(prefix) => Form::Prefix(prefix),
        HostedDomain::Custom { domain, certificate_arn } => {
            Form::Custom(proto::CustomHostedDomain { domain, certificate_arn, cname_target })
        }
    };
    proto::HostedDomain { form: Some(form) }
}

pub fn issuer_type(issuer_type: IssuerType) -> proto::IssuerType {
    match issuer_type {
        IssuerType::Original => proto::IssuerType::Original,
        IssuerType::Updated => proto::IssuerType::Updated,
    }
}
