//! Cognito's quotas of things: what they are called, how much of them is used, and what is said when one is reached.
//!
//! Quotas of calls a second are the AWS backend's own affair and not here.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Error, Reason, Result};

/// How long a Region counts as full after Cognito has refused another user pool there. Pools of others in the account are
/// not known, so its word is the last one; and that they were deleted is not heard of either.
pub const REFUSED_FOR: Duration = Duration::from_secs(300);

/// A quota that is a number of things (Amazon Cognito Developer Guide, "Quotas on resource number and size").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    UserPools,
    AppClients,
    ResourceServers,
    CustomDomains,
}

impl Quota {
    /// As Cognito's quota page names it.
    pub const fn name(self) -> &'static str {
        match self {
            Quota::UserPools => "User pools per Region",
            Quota::AppClients => "App clients per user pool",
            Quota::ResourceServers => "Resource servers per user pool",
            Quota::CustomDomains => "Custom domains per Region",
        }
    }

    /// What somebody is told who would take more than there is. `of`: the Region, the pool or the catalogue that is full.
    pub fn exceeded(self, of: impl std::fmt::Display, limit: u32) -> Error {
        let message = format!("{of} is full: the quota \"{}\" is {limit}", self.name());
        let error = Error::new(Reason::QuotaExceeded, message).with("quota", self.name()).with("limit", limit);
        match self {
            Quota::UserPools | Quota::CustomDomains => error.with("region", of),
            Quota::AppClients => error.about(of),
            Quota::ResourceServers => error,
        }
    }
}

/// How much there may be of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    pub user_pools_per_region: u32,
    pub app_clients_per_user_pool: u32,
    pub resource_servers_per_user_pool: u32,
    pub custom_domains_per_region: u32,
}

impl Default for Ceilings {
    /// Cognito's own, which can be raised to 10,000, 10,000 and 300; the last cannot.
    fn default() -> Self {
        Ceilings {
            user_pools_per_region: 1_000,
            app_clients_per_user_pool: 1_000,
            resource_servers_per_user_pool: 25,
            custom_domains_per_region: 4,
        }
    }
}

/// How much of a quota is used, somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUsage {
    pub quota: Quota,
    pub region: String,
    pub used: u32,
    pub limit: u32,
}

/// Things of a Region that the registry knows of, those that are still to be made included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub user_pools: u32,
    pub custom_domains: u32,
}

/// How much a Region holds: changed together with the pools that it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionUse {
    pub region: String,
    pub user_pools: u32,
    pub custom_domains: u32,
    /// Whether the numbers count everything. Those of a registry from before this was kept do once somebody has looked at
    /// all its pools; until then they count changes and are told to nobody.
    pub is_whole: bool,
    /// When Cognito has last refused another user pool, if it has taken none since.
    pub refused_time: Option<Timestamp>,
}

impl RegionUse {
    /// What a registry begins with that holds this; `None` where that was not counted to its end.
    pub fn beginning(region: &str, counted: Option<Held>) -> Self {
        let held = counted.unwrap_or_default();
        RegionUse {
            region: region.to_owned(),
            user_pools: held.user_pools,
            custom_domains: held.custom_domains,
            is_whole: counted.is_some(),
            refused_time: None,
        }
    }

    /// With so much more in it. Fails where that is beyond what the Region takes, as far as that is known.
    pub fn with(&self, more: Held, ceilings: &Ceilings, now: Timestamp) -> Result<RegionUse> {
        let used = RegionUse {
            user_pools: self.user_pools.saturating_add(more.user_pools),
            custom_domains: self.custom_domains.saturating_add(more.custom_domains),
            ..self.clone()
        };
        if more.user_pools > 0
            && (self.is_refused(now) || used.is_beyond(used.user_pools, ceilings.user_pools_per_region))
        {
            return Err(Quota::UserPools.exceeded(&self.region, self.user_pool_limit(ceilings, now)));
        }
        if more.custom_domains > 0 && used.is_beyond(used.custom_domains, ceilings.custom_domains_per_region) {
            return Err(Quota::CustomDomains.exceeded(&self.region, ceilings.custom_domains_per_region));
        }
        Ok(used)
    }

    fn is_beyond(&self, count: u32, limit: u32) -> bool {
        self.is_whole && count > limit
    }

    /// With so much less in it. One pool less leaves room for another, whatever Cognito has said.
    #[must_use]
    pub fn without(&self, less: Held) -> RegionUse {
        RegionUse {
            user_pools: self.user_pools.saturating_sub(less.user_pools),
            custom_domains: self.custom_domains.saturating_sub(less.custom_domains),
            refused_time: self.refused_time.filter(|_| less.user_pools == 0),
            ..self.clone()
        }
    }

    /// Whether Cognito has refused another pool within [`REFUSED_FOR`].
    pub fn is_refused(&self, now: Timestamp) -> bool {
        let until = |refused: Timestamp| refused.checked_add(REFUSED_FOR).unwrap_or(Timestamp::MAX);
        self.refused_time.is_some_and(|refused| now < until(refused))
    }

    /// As configured; what there is, while Cognito takes no more.
    fn user_pool_limit(&self, ceilings: &Ceilings, now: Timestamp) -> u32 {
        let limit = ceilings.user_pools_per_region;
        if self.is_whole && self.is_refused(now) { limit.min(self.user_pools) } else { limit }
    }

    /// What can be told of it: nothing until everything is counted.
    pub fn usages(&self, ceilings: &Ceilings, now: Timestamp) -> Vec<QuotaUsage> {
        if !self.is_whole {
            return Vec::new();
        }
        let usage = |quota, used, limit| QuotaUsage { quota, region: self.region.clone(), used, limit };
        vec![
            usage(Quota::UserPools, self.user_pools, self.user_pool_limit(ceilings, now)),
            usage(Quota::CustomDomains, self.custom_domains, ceilings.custom_domains_per_region),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: Held = Held { user_pools: 1, custom_domains: 0 };
    const WITH_DOMAIN: Held = Held { user_pools: 1, custom_domains: 1 };

    fn ceilings() -> Ceilings {
        Ceilings { user_pools_per_region: 3, custom_domains_per_region: 1, ..Ceilings::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn metadata(error: &Error) -> Vec<(&'static str, String)> {
        error.metadata().iter().filter(|(key, _)| *key != "region").cloned().collect()
    }

    #[test]
    fn the_last_place_is_given_once_and_the_error_names_the_quota() {
        let mut used = RegionUse::beginning("eu-central-1", Some(Held { user_pools: 1, custom_domains: 0 }));
        used = used.with(WITH_DOMAIN, &ceilings(), at(0)).expect("room");
        let full = used.with(WITH_DOMAIN, &ceilings(), at(0)).expect_err("one custom domain");
        assert_eq!(
            metadata(&full),
            [("quota", "Custom domains per Region".to_owned()), ("limit", "1".to_owned())],
            "{full}"
        );
        used = used.with(POOL, &ceilings(), at(0)).expect("room");
        let full = used.with(POOL, &ceilings(), at(0)).expect_err("three pools");
        assert_eq!(
            metadata(&full),
            [("quota", "User pools per Region".to_owned()), ("limit", "3".to_owned())],
            "{full}"
        );
        used.without(POOL).with(POOL, &ceilings(), at(0)).expect("one place is free again");
    }

    #[test]
    fn what_was_not_counted_refuses_nobody_and_is_not_told() {
        let mut used = RegionUse::beginning("eu-central-1", None);
        for _ in 0..5 {
            used = used.with(WITH_DOMAIN, &ceilings(), at(0)).expect("nobody can tell");
        }
        assert_eq!(used.usages(&ceilings(), at(0)), []);
        assert_eq!(used.user_pools, 5);
        assert_eq!(RegionUse::beginning("x", None).without(POOL).user_pools, 0);
    }

    #[test]
    fn what_cognito_said_counts_for_five_minutes_or_until_a_pool_goes() {
        let counted = Some(Held { user_pools: 2, custom_domains: 0 });
        let used = RegionUse { refused_time: Some(at(0)), ..RegionUse::beginning("eu-central-1", counted) };
        let full = used.with(POOL, &ceilings(), at(299)).expect_err("Cognito said so");
        assert_eq!(metadata(&full)[1].1, "2", "{full}");
        assert_eq!(used.usages(&ceilings(), at(299))[0].limit, 2);
        used.with(POOL, &ceilings(), at(300)).expect("to be tried again");
        assert_eq!(used.usages(&ceilings(), at(300))[0].limit, 3);
        used.without(POOL).with(POOL, &ceilings(), at(1)).expect("one less");
        used.with(Held::default(), &ceilings(), at(1)).expect("nothing is wanted");
    }
}
