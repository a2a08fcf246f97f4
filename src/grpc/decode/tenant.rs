//! Tenants.

use crate::broker::api::{NewMove, NewTenant, TenantPatch, TenantView};
use crate::domain::error::{Error, Result};
use crate::domain::id::TenantId;
use crate::domain::moving::{DEFAULT_OVERLAP, MAX_OVERLAP};
use crate::domain::tenant::{Isolation, Labels, Tenant, TenantState, UserPoolSettings, check_labels};
use crate::grpc::encode;
use crate::proto;

use super::mask::{Fields, Mask};
use super::provider::providers;
use super::{duration, enumeration, etag, not_offered, required, sign_in, user_pool, words};

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
        "user_pool.password_policy.temporary_password_validity",
        "user_pool.password_policy.history_size",
        "user_pool.mfa_mode",
        "user_pool.mfa_factors",
        "user_pool.deletion_protection",
        "user_pool.feature_plan",
        "user_pool.domain",
        "user_pool.domain.prefix",
        "user_pool.domain.custom",
        "user_pool.domain.custom.domain",
        "user_pool.domain.custom.certificate_arn",
        "user_pool.tags",
        "sign_in_domains",
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
        "user_pool.domain.custom.cname_target",
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
    let isolation = match enumeration("tenant.isolation", tenant.isolation)? {
        proto::Isolation::AppClient => Isolation::AppClient,
        proto::Isolation::UserPool => Isolation::UserPool,
        proto::Isolation::Unspecified => return Err(Error::invalid("tenant.isolation", "is required")),
    };
    let user_pool = match (isolation, tenant.user_pool) {
        (Isolation::UserPool, given) => Some(user_pool::whole(given.unwrap_or_default())?),
        (Isolation::AppClient, None) => None,
        (Isolation::AppClient, Some(_)) => return Err(no_own_pool()),
    };
    words("tenant.display_name", &tenant.display_name, MAX_DISPLAY_NAME)?;
    let labels = labels(tenant.labels, "tenant")?;
    let sign_in_domains = sign_in::domains(tenant.sign_in_domains)?;
    let identity_providers = providers(tenant.identity_providers)?;
    let display_name = tenant.display_name;
    Ok(NewTenant { id, display_name, isolation, labels, user_pool, sign_in_domains, identity_providers })
}

/// A tenant, where it is to go, and the version that the caller's etag stands for.
pub fn new_move(request: proto::MoveTenantRequest) -> Result<(TenantId, NewMove, Option<u64>)> {
    let id = TenantId::from_name("name", &request.name)?;
    let target = match enumeration("target", request.target)? {
        proto::Isolation::AppClient => Isolation::AppClient,
        proto::Isolation::UserPool => Isolation::UserPool,
        proto::Isolation::Unspecified => return Err(Error::invalid("target", "is required")),
    };
    // A domain belongs to one pool, and who has it is settled where a tenant is created or updated.
    not_offered("user_pool.domain", request.user_pool.as_ref().is_some_and(|settings| settings.domain.is_some()))?;
    let user_pool = match (target, request.user_pool) {
        (Isolation::UserPool, given) => {
            given.map(user_pool::settings).transpose().map_err(|error| error.without("tenant"))?
        }
        (Isolation::AppClient, None) => None,
        (Isolation::AppClient, Some(_)) => {
            return Err(Error::invalid("user_pool", "is only for a move to ISOLATION_USER_POOL"));
        }
    };
    let overlap = duration("overlap", request.overlap.as_ref())?.unwrap_or(DEFAULT_OVERLAP);
    if overlap > MAX_OVERLAP {
        return Err(Error::invalid("overlap", "must be at most 30 days"));
    }
    let version = etag(id.name(), &request.etag)?;
    Ok((id, NewMove { target, user_pool, overlap }, version))
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
        let populated = [
            ("display_name", !given.display_name.is_empty()),
            ("labels", !given.labels.is_empty()),
            ("user_pool", given.user_pool.is_some()),
            ("isolation", given.isolation != 0),
            ("sign_in_domains", !given.sign_in_domains.is_empty()),
            ("identity_providers", !given.identity_providers.is_empty()),
        ];
        let mask = Mask::read(request.update_mask, &FIELDS, populated)?;
        enumeration::<proto::Isolation>("tenant.isolation", given.isolation)?;
        let version = etag(id.name(), &given.etag)?;
        let update = Update { id, version, mask, given };
        // What is wrong by itself is wrong whatever the tenant is now.
        update.plain()?;
        if let Some(mut given) = update.given.user_pool.clone().filter(|_| update.mask.touches("user_pool")) {
            if !update.mask.covers("user_pool.domain.custom") && update.mask.touches("user_pool.domain.custom") {
                // A part of it, which says nothing by itself.
                given.domain = None;
            }
            user_pool::settings(given)?;
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
        if self.mask.covers("sign_in_domains") {
            patch.sign_in_domains = Some(sign_in::domains(self.given.sign_in_domains.clone())?);
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
        let given = self.given.user_pool.clone().unwrap_or_default();
        user_pool::changed(&self.mask, given, now).map(Some)
    }
}

fn no_own_pool() -> Error {
    Error::invalid("tenant.user_pool", "is only for a tenant with ISOLATION_USER_POOL")
}

pub fn labels(labels: Labels, message: &str) -> Result<Labels> {
    check_labels("labels", &labels).map_err(|error| error.within(message))?;
    Ok(labels)
}
