//! Settings of a tenant's own pool.

use std::collections::BTreeSet;

use crate::domain::error::{Error, Result};
use crate::domain::tenant::{FeaturePlan, HostedDomain, IssuerType, Mfa, MfaFactor, PasswordPolicy, UserPoolSettings};
use crate::grpc::encode;
use crate::proto;
use crate::proto::hosted_domain::Form;

use super::mask::Mask;
use super::{duration, enumeration};

/// What is said here, from the tenant on.
const PATH: &str = "tenant.user_pool";
/// Cognito allows 50 tags; the rest is the broker's own.
const MAX_TAGS: usize = 40;
/// In seconds.
const DAY: u64 = 86_400;

/// Settings of a pool that is to be made, each field with its default where it is empty.
pub fn whole(given: proto::UserPoolSettings) -> Result<UserPoolSettings> {
    let settings = settings(given)?;
    settings.check_together().map_err(|error| error.within(PATH))?;
    Ok(settings)
}

/// The settings as they are now, with what the mask names taken from `given`.
pub fn changed(mask: &Mask, mut given: proto::UserPoolSettings, now: &UserPoolSettings) -> Result<UserPoolSettings> {
    let covers = |path: &str| mask.covers(&format!("user_pool.{path}"));
    if !covers("password_policy") {
        // Parts of it are named, if anything: then what is absent is empty, and not the default of the whole.
        given.password_policy = Some(given.password_policy.unwrap_or_default());
    }
    if mask.covers("user_pool") {
        if !given.region.is_empty() && given.region != now.region {
            return Err(Error::invalid("tenant.user_pool.region", "cannot be changed"));
        }
        if given.issuer_type != 0 && given.issuer_type != i32::from(encode::issuer_type(now.issuer_type)) {
            return Err(Error::invalid("tenant.user_pool.issuer_type", "cannot be changed"));
        }
    }
    if mask.touches("user_pool.domain.custom") && !covers("domain.custom") {
        given.domain = Some(with_parts(mask, given.domain, now.domain.as_ref())?);
    }
    let wanted = settings(given)?;
    let mut next = now.clone();
    let (password, wanted_password) = (&mut next.password_policy, wanted.password_policy);
    if covers("password_policy.minimum_length") {
        password.minimum_length = wanted_password.minimum_length;
    }
    if covers("password_policy.require_lowercase") {
        password.require_lowercase = wanted_password.require_lowercase;
    }
    if covers("password_policy.require_uppercase") {
        password.require_uppercase = wanted_password.require_uppercase;
    }
    if covers("password_policy.require_digits") {
        password.require_numbers = wanted_password.require_numbers;
    }
    if covers("password_policy.require_symbols") {
        password.require_symbols = wanted_password.require_symbols;
    }
    if covers("password_policy.temporary_password_validity") {
        password.temporary_validity_days = wanted_password.temporary_validity_days;
    }
    if covers("password_policy.history_size") {
        password.history_size = wanted_password.history_size;
    }
    if covers("mfa_mode") {
        next.mfa = wanted.mfa;
    }
    if covers("mfa_factors") {
        next.mfa_factors = wanted.mfa_factors;
    }
    if covers("deletion_protection") {
        next.deletion_protection = wanted.deletion_protection;
    }
    if covers("feature_plan") {
        next.feature_plan = wanted.feature_plan;
    }
    if covers("tags") {
        next.tags = wanted.tags;
    }
    next.domain = domain_after(mask, next.domain, wanted.domain);
    next.check_together().map_err(|error| error.within(PATH))?;
    Ok(next)
}

/// A mask that names one of the two forms sets it, or takes it away where it is the form there is.
fn domain_after(mask: &Mask, now: Option<HostedDomain>, wanted: Option<HostedDomain>) -> Option<HostedDomain> {
    if mask.covers("user_pool.domain") {
        return wanted;
    }
    let is_prefix = |domain: &HostedDomain| matches!(domain, HostedDomain::Prefix(_));
    let is_named = |domain: &HostedDomain| match is_prefix(domain) {
        true => mask.covers("user_pool.domain.prefix"),
        false => mask.touches("user_pool.domain.custom"),
    };
    wanted.filter(is_named).or_else(|| now.filter(|now| !is_named(now)))
}

/// The custom domain that the tenant has, with the parts of it that the mask names.
fn with_parts(
    mask: &Mask,
    given: Option<proto::HostedDomain>,
    now: Option<&HostedDomain>,
) -> Result<proto::HostedDomain> {
    let Some(HostedDomain::Custom { domain, certificate_arn }) = now else {
        let rule = "has no parts to change: the tenant has no domain of its own";
        return Err(Error::invalid("tenant.user_pool.domain.custom", rule));
    };
    let given = match given.and_then(|domain| domain.form) {
        Some(Form::Custom(custom)) => custom,
        _ => proto::CustomHostedDomain::default(),
    };
    let part = |path: &str, given: String, now: &String| if mask.covers(path) { given } else { now.clone() };
    let custom = proto::CustomHostedDomain {
        domain: part("user_pool.domain.custom.domain", given.domain, domain),
        certificate_arn: part("user_pool.domain.custom.certificate_arn", given.certificate_arn, certificate_arn),
        cname_target: String::new(),
    };
    Ok(proto::HostedDomain { form: Some(Form::Custom(custom)) })
}

/// Each field checked by itself, with its default where it is empty.
pub fn settings(given: proto::UserPoolSettings) -> Result<UserPoolSettings> {
    let settings = UserPoolSettings {
        password_policy: given.password_policy.map(password_policy).transpose()?.unwrap_or_default(),
        mfa: match enumeration("tenant.user_pool.mfa_mode", given.mfa_mode)? {
            proto::MfaMode::Unspecified | proto::MfaMode::Off => Mfa::Off,
            proto::MfaMode::Optional => Mfa::Optional,
            proto::MfaMode::Required => Mfa::On,
        },
        mfa_factors: factors(&given.mfa_factors)?,
        deletion_protection: given.deletion_protection,
        feature_plan: match enumeration("tenant.user_pool.feature_plan", given.feature_plan)? {
            proto::FeaturePlan::Unspecified => FeaturePlan::default(),
            proto::FeaturePlan::Lite => FeaturePlan::Lite,
            proto::FeaturePlan::Essentials => FeaturePlan::Essentials,
            proto::FeaturePlan::Plus => FeaturePlan::Plus,
        },
        issuer_type: match enumeration("tenant.user_pool.issuer_type", given.issuer_type)? {
            proto::IssuerType::Unspecified => IssuerType::default(),
            proto::IssuerType::Original => IssuerType::Original,
            proto::IssuerType::Updated => IssuerType::Updated,
        },
        region: given.region,
        tags: given.tags,
        domain: given.domain.map(hosted_domain).transpose()?,
    };
    if settings.tags.len() > MAX_TAGS {
        return Err(Error::invalid("tenant.user_pool.tags", format!("at most {MAX_TAGS} tags")));
    }
    if settings.tags.keys().any(|key| key.starts_with("keyward:")) {
        return Err(Error::invalid("tenant.user_pool.tags", "keys that begin with keyward: are the broker's own"));
    }
    settings.check_fields().map_err(|error| error.within(PATH))?;
    Ok(settings)
}

fn factors(given: &[i32]) -> Result<BTreeSet<MfaFactor>> {
    const FIELD: &str = "tenant.user_pool.mfa_factors";
    let factor = |number: &i32| match enumeration(FIELD, *number)? {
        proto::MfaFactor::Totp => Ok(MfaFactor::Totp),
        proto::MfaFactor::Sms => Ok(MfaFactor::Sms),
        proto::MfaFactor::Email => Ok(MfaFactor::Email),
        proto::MfaFactor::Unspecified => Err(Error::invalid(FIELD, "must each be a factor")),
    };
    let factors = given.iter().map(factor).collect::<Result<BTreeSet<_>>>()?;
    if factors.len() < given.len() {
        return Err(Error::invalid(FIELD, "must each be there once"));
    }
    Ok(factors)
}

fn hosted_domain(given: proto::HostedDomain) -> Result<HostedDomain> {
    match given.form {
        Some(Form::Prefix(prefix)) => Ok(HostedDomain::Prefix(prefix)),
        Some(Form::Custom(custom)) => {
            Ok(HostedDomain::Custom { domain: custom.domain, certificate_arn: custom.certificate_arn })
        }
        None => Err(Error::invalid("tenant.user_pool.domain", "must be a prefix or a custom domain")),
    }
}

fn password_policy(given: proto::PasswordPolicy) -> Result<PasswordPolicy> {
    const VALIDITY: &str = "tenant.user_pool.password_policy.temporary_password_validity";
    let default = PasswordPolicy::default();
    let minimum_length = match given.minimum_length {
        0 => default.minimum_length,
        length => u32::try_from(length).unwrap_or(0),
    };
    let temporary_validity_days = match duration(VALIDITY, given.temporary_password_validity.as_ref())? {
        None => None,
        Some(validity) if validity.subsec_nanos() == 0 && validity.as_secs().is_multiple_of(DAY) => {
            Some(u32::try_from(validity.as_secs() / DAY).unwrap_or(u32::MAX))
        }
        Some(_) => return Err(Error::invalid(VALIDITY, "must be 1 to 365 whole days")),
    };
    Ok(PasswordPolicy {
        minimum_length,
        require_lowercase: given.require_lowercase.unwrap_or(default.require_lowercase),
        require_uppercase: given.require_uppercase.unwrap_or(default.require_uppercase),
        require_numbers: given.require_digits.unwrap_or(default.require_numbers),
        require_symbols: given.require_symbols.unwrap_or(default.require_symbols),
        temporary_validity_days,
        // A negative number is out of range, too.
        history_size: u32::try_from(given.history_size).unwrap_or(u32::MAX),
    })
}
