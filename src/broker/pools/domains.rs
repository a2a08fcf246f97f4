//! The domain of a tenant's own pool: hosted sign-in, and where its tokens come from.
//!
//! A domain of the tenant's own takes minutes until it is served, and can be refused for what is outside of Keyward: its
//! name above must resolve, its certificate must be valid for it, a Region takes four. So the backend is asked for one step
//! at a time ([`UserPools::set_domain`](crate::broker::ports::UserPools::set_domain)), and what is in force after each is written
//! down before anything else is done or told: the pool's record must never name a token endpoint that is gone. A step that
//! is refused leaves in force what there was.

use std::time::Duration;

use super::Pools;
use crate::broker::ports::{DomainProgress, Fault, PortError};
use crate::broker::records::{Change, settle};
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::PoolId;
use crate::domain::pool::{MadePool, Pool};
use crate::domain::quota::{Ceilings, Quota};
use crate::domain::tenant::{HostedDomain, UserPoolSettings};

/// How long to wait before a domain on its way is looked at again. Cognito speaks of five minutes until one is online.
pub(in crate::broker) const NEXT_LOOK: Duration = Duration::from_secs(60);

impl Pools {
    /// Fails where the backend does not offer such settings or has the domain for another pool already. Nothing is begun
    /// by asking.
    pub async fn check_settings(&self, settings: &UserPoolSettings, pool: Option<&MadePool>) -> Result<()> {
        match self.world.user_pools.check_settings(settings, pool).await {
            Ok(Some(unmet)) => Err(Error::invalid(format!("tenant.user_pool.{}", unmet.field), unmet.rule)),
            Err(error) if error.is(Fault::Taken) => {
                Err(domain_error(settings.domain.as_ref(), &settings.region, error))
            }
            // A backend that cannot tell now says it when it makes the pool.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Takes the domain of a pool that is made a step on, and writes down what is in force then.
    pub async fn apply_domain(
        &self,
        id: &PoolId,
        wanted: Option<&HostedDomain>,
        cause: &Call,
    ) -> Result<DomainProgress> {
        let pool = self.pool(id).await?;
        let made = pool.value.made.ok_or_else(|| Error::not_found(id.name()))?;
        let set = self.world.user_pools.set_domain(id, &made, wanted).await;
        let set = set.map_err(|error| domain_error(wanted, &made.region, error))?;
        settle(|| async {
            let _turn = self.place_in_turn().await;
            let pool = self.pool(id).await?;
            if pool.made.as_ref() == Some(&set.made) {
                return Ok(());
            }
            let record = Pool { made: Some(set.made.clone()), ..pool.value.clone() };
            let event = cause.doing("keyward.pool/domain").event(self.world.now(), id.name());
            let change = Change::because(event.detail(&set.made.domain));
            self.world.records.commit(change.update(pool.version, &record)).await
        })
        .await?;
        set.progress.map_err(|error| domain_error(wanted, &made.region, error))
    }
}

/// What a caller learns of a domain that cannot be had.
fn domain_error(wanted: Option<&HostedDomain>, region: &str, error: PortError) -> Error {
    let name = wanted.map(HostedDomain::name).unwrap_or_default();
    let is_custom = matches!(wanted, Some(HostedDomain::Custom { .. }));
    match error.fault {
        Fault::Taken => {
            let message = format!("the domain {name} is another's");
            Error::new(Reason::DomainClaimed, message).with("domain", name).caused_by(error)
        }
        Fault::LimitExceeded if is_custom => {
            // The registry counts its own; what others have in the account is found out here.
            Quota::CustomDomains.exceeded(region, Ceilings::default().custom_domains_per_region).caused_by(error)
        }
        Fault::Refused if is_custom => {
            let message = format!(
                "the backend refuses the custom domain {name}: the name above it must resolve to an address, and its \
                 certificate must be there and valid for it; the broker's log has its words"
            );
            Error::new(Reason::BackendRefused, message).with("domain", name).caused_by(error)
        }
        _ => error.into(),
    }
}
