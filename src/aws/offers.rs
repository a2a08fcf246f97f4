//! What a pool can be given here, told before anything is begun: the Regions and the ways to send codes that the broker is
//! configured for, and domains that are known to be another's.

use super::cognito::{Cognito, asking};
use crate::broker::ports::{Fault, PortResult, Unmet};
use crate::domain::pool::MadePool;
use crate::domain::tenant::UserPoolSettings;

impl Cognito {
    /// What is not configured for the broker is not offered.
    pub(super) async fn check(
        &self,
        settings: &UserPoolSettings,
        pool: Option<&MadePool>,
    ) -> PortResult<Option<Unmet>> {
        let asking = asking("check a user pool's settings");
        let Ok(region) = self.regions.get(asking, &settings.region) else {
            let rule = "is not a Region that this broker is configured for".to_owned();
            return Ok(Some(Unmet { field: "region", rule }));
        };
        if let Some(rule) = settings.factors().into_iter().find_map(|factor| self.messages.lacks(factor)) {
            return Ok(Some(Unmet { field: "mfa_factors", rule: rule.to_owned() }));
        }
        let Some(domain) = &settings.domain else { return Ok(None) };
        let own = pool.map(|pool| pool.user_pool.as_str());
        // It is a courtesy: whoever cannot look now finds out when the domain is made.
        match self.see_domain(asking, region, domain.name()).await {
            Ok(Some(seen)) if seen.user_pool_id() != own => {
                Err(asking.error(Fault::Taken, format_args!("{} is the domain of another pool", domain.name())))
            }
            _ => Ok(None),
        }
    }
}
