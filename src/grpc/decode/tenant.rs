//! Tenants.

use std::collections::BTreeSet;

use crate::broker::api::{NewTenant, TenantPatch, TenantView};
use crate::domain::error::{Error, Result};
use crate::domain::id::TenantId;
use crate::domain::tenant::{
    FeaturePlan, Isolation, IssuerType, Labels, Mfa, PasswordPolicy, Tenant, TenantState, UserPoolSettings,
    check_labels,
};
use crate::grpc::encode;
use crate::proto;

use super::mask::{Fields, Mask};
use super::provider::providers;
use super::{enumeration, etag, not_offered, required, words};

/// Cognito allows 50 tags; the rest is the broker's own.
const MAX_TAGS: usize = 40;
pub const MAX_DISPLAY_NAME: usize = 128;

const FIELDS: Fields = Fields {
    mutable: &[
        "display_name",
        "labels",
        "user_pool",
        "user_pool.password_policy",
        "user_pool.password_policy.minimum_length",
        "user_pool.password_policy.require_lowercase",
        "user_pool.password_policy.require_uppercase",
        "user_pool.password_policy.require_digits",
        "user_pool.password_policy.require_symbols",
        "user_pool.mfa_mode",
        "user_pool.deletion_protection",
        "user_pool.feature_plan",
        "user_pool.tags",
        "identity_providers",
    ],
    fixed: &[
        "name",
        "uid",
        "isolation",
        "state",
        "state_reason",
        "user_pool.region",
        "user_pool.issuer_type",
        "pool",
        "issuer",
        "create_time",
        "update_time",
        "etag",
        "move",
    ],
};

/// A tenant to create. Output-only fields are ignored.
pub fn new(request: proto::CreateTenantRequest) -> Result<NewTenant> {
    let id = TenantId::parse("tenant_id", &request.tenant_id)?;
    let tenant = required("tenant", request.tenant)?;
    offered(&tenant)?;
    let isolation = match enumeration("tenant.isolation", tenant.isolation)? {
        proto::Isolation::AppClient => Isolation::AppClient,
        proto::Isolation::UserPool => Isolation::UserPool,
        proto::Isolation::Unspecified => return Err(Error::invalid("tenant.isolation", "is required")),
    };
    let user_pool = match (isolation, tenant.user_pool) {
        (Isolation::UserPool, given) => Some(settings(given.unwrap_or_default())?),
        (Isolation::AppClient, None) => None,
        (Isolation::AppClient, Some(_)) => return Err(no_own_pool()),
    };
    words("tenant.display_name", &tenant.display_name, MAX_DISPLAY_NAME)?;
    let labels = labels(tenant.labels, "tenant")?;
    let identity_providers = providers(tenant.identity_providers)?;
    Ok(NewTenant { id, display_name: tenant.display_name, isolation, labels, user_pool, identity_providers })
}

/// The state to filter a list by.
pub fn state(number: i32) -> Result<Option<TenantState>> {
    Ok(match enumeration("state", number)? {
        proto::TenantState::Unspecified => None,
        proto::TenantState::Creating => Some(TenantState::Creating),
        proto::TenantState::Active => Some(TenantState::Active),
        proto::TenantState::Suspended => Some(TenantState::Suspended),
        proto::TenantState::Deleting => Some(TenantState::Deleting),
    })
}

/// An `UpdateTenant`, which may depend on what the tenant is now.
#[derive(Debug)]
pub struct Update {
    pub id: TenantId,
    /// The version that the caller's etag stands for.
    pub version: Option<u64>,
    mask: Mask,
    given: proto::Tenant,
}

impl Update {
    pub fn read(request: proto::UpdateTenantRequest) -> Result<Self> {
        let given = required("tenant", request.tenant)?;
        let id = TenantId::from_name("tenant.name", &given.name)?;
        offered(&given)?;
        let populated = [
            ("display_name", !given.display_name.is_empty()),
            ("labels", !given.labels.is_empty()),
            ("user_pool", given.user_pool.is_some()),
            ("isolation", given.isolation != 0),
            ("identity_providers", !given.identity_providers.is_empty()),
        ];
        let mask = Mask::read(request.update_mask, &FIELDS, populated)?;
        enumeration::<proto::Isolation>("tenant.isolation", given.isolation)?;
        let version = etag(id.name(), &given.etag)?;
        let update = Update { id, version, mask, given };
        // What is wrong by itself is wrong whatever the tenant is now.
        update.plain()?;
        if let Some(given) = update.given.user_pool.clone().filter(|_| update.mask.touches("user_pool")) {
            settings(given)?;
        }
        Ok(update)
    }

    /// Whether [`Update::against`] must know the tenant as it is.
    pub fn needs_current(&self) -> bool {
        self.mask.touches("user_pool") || self.mask.touches("isolation")
    }

    /// The patch, given the tenant as it is where that is needed.
    pub fn against(&self, current: Option<&TenantView>) -> Result<TenantPatch> {
        let mut patch = self.plain()?;
        let Some(current) = current.map(|view| &view.tenant) else { return Ok(patch) };
        if self.mask.covers("isolation") && self.given.isolation != i32::from(encode::isolation(current.isolation)) {
            return Err(Error::invalid("tenant.isolation", "is changed by MoveTenant alone"));
        }
        patch.user_pool = self.user_pool(current)?;
        Ok(patch)
    }

    fn plain(&self) -> Result<TenantPatch> {
        let mut patch = TenantPatch::default();
        if self.mask.covers("display_name") {
            words("tenant.display_name", &self.given.display_name, MAX_DISPLAY_NAME)?;
            patch.display_name = Some(self.given.display_name.clone());
        }
        if self.mask.covers("labels") {
            patch.labels = Some(labels(self.given.labels.clone(), "tenant")?);
        }
        if self.mask.covers("identity_providers") {
            patch.identity_providers = Some(providers(self.given.identity_providers.clone())?);
        }
        Ok(patch)
    }

    fn user_pool(&self, current: &Tenant) -> Result<Option<UserPoolSettings>> {
        if !self.mask.touches("user_pool") {
            return Ok(None);
        }
        let Some(now) = &current.user_pool else {
            // A `*` that says nothing of a pool asks for nothing.
            return if self.given.user_pool.is_none() && self.mask.is_star() { Ok(None) } else { Err(no_own_pool()) };
        };
        let mut given = self.given.user_pool.clone().unwrap_or_default();
        if !self.mask.covers("user_pool.password_policy") {
            // Parts of it are named, if anything: then what is absent is empty, and not the default of the whole.
            given.password_policy = Some(given.password_policy.unwrap_or_default());
        }
        if self.mask.covers("user_pool") {
            if !given.region.is_empty() && given.region != now.region {
                return Err(Error::invalid("tenant.user_pool.region", "cannot be changed"));
            }
            if given.issuer_type != 0 && given.issuer_type != i32::from(encode::issuer_type(now.issuer_type)) {
                return Err(Error::invalid("tenant.user_pool.issuer_type", "cannot be changed"));
            }
        }
        let wanted = settings(given)?;
        let mut next = now.clone();
        let covers = |path: &str| self.mask.covers(&format!("user_pool.{path}"));
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
        if covers("mfa_mode") {
            next.mfa = wanted.mfa;
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
        Ok(Some(next))
    }
}

fn no_own_pool() -> Error {
    Error::invalid("tenant.user_pool", "is only for a tenant with ISOLATION_USER_POOL")
}

pub fn labels(labels: Labels, message: &str) -> Result<Labels> {
    check_labels(&labels).map_err(|error| error.within(message))?;
    Ok(labels)
}

fn offered(tenant: &proto::Tenant) -> Result<()> {
    not_offered("tenant.sign_in_domains", !tenant.sign_in_domains.is_empty())
}

/// Settings of a pool, each field with its default where it is empty.
fn settings(given: proto::UserPoolSettings) -> Result<UserPoolSettings> {
    not_offered("tenant.user_pool.mfa_factors", !given.mfa_factors.is_empty())?;
    not_offered("tenant.user_pool.domain", given.domain.is_some())?;
    let settings = UserPoolSettings {
        password_policy: given.password_policy.map(password_policy).transpose()?.unwrap_or_default(),
        mfa: match enumeration("tenant.user_pool.mfa_mode", given.mfa_mode)? {
            proto::MfaMode::Unspecified | proto::MfaMode::Off => Mfa::Off,
            proto::MfaMode::Optional => Mfa::Optional,
            proto::MfaMode::Required => Mfa::On,
        },
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
        mfa_factors: BTreeSet::new(),
        domain: None,
    };
    if settings.tags.len() > MAX_TAGS {
        return Err(Error::invalid("tenant.user_pool.tags", format!("at most {MAX_TAGS} tags")));
    }
    if settings.tags.keys().any(|key| key.starts_with("keyward:")) {
        return Err(Error::invalid("tenant.user_pool.tags", "keys that begin with keyward: are the broker's own"));
    }
    settings.check().map_err(|error| error.within("tenant.user_pool"))?;
    Ok(settings)
}

fn password_policy(given: proto::PasswordPolicy) -> Result<PasswordPolicy> {
    const PATH: &str = "tenant.user_pool.password_policy";
    not_offered(&format!("{PATH}.temporary_password_validity"), given.temporary_password_validity.is_some())?;
    not_offered(&format!("{PATH}.history_size"), given.history_size != 0)?;
    let minimum_length = match given.minimum_length {
        0 => PasswordPolicy::default().minimum_length,
        length => u32::try_from(length).unwrap_or(0),
    };
    Ok(PasswordPolicy {
        minimum_length,
        require_lowercase: given.require_lowercase,
        require_uppercase: given.require_uppercase,
        require_numbers: given.require_digits,
        require_symbols: given.require_symbols,
        temporary_validity_days: None,
        history_size: 0,
    })
}
