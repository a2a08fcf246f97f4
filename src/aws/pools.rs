//! User pools.
//!
//! `CreateUserPool` is not idempotent and names need not be unique, so a pool is looked for by its name before it is
//! made. Its domain has a file of its own.

use std::collections::HashMap;

use aws_sdk_cognitoidentityprovider::types::{DeletionProtectionType, UserPoolType};

use super::cognito::{Cognito, PAGE, asking};
use super::domains::HAS_DOMAIN;
use super::faults::{Asking, if_there};
use super::names::{Domain, Domains, Need};
use super::pool_settings::{creation, custom_of, issuer_type_of, prefix_of, settings_of, update_of, without_zero_days};
use super::regions::Region;
use super::second_factors::mfa_of;
use crate::broker::ports::{Fault, FoundPool, PortPage, PortResult};
use crate::domain::id::{PoolId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::tenant::{FeaturePlan, Mfa, UserPoolSettings};

impl Cognito {
    pub(super) async fn ensure(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.bring_about(id, settings, false).await
    }

    pub(super) async fn make(&self, id: &PoolId, settings: &UserPoolSettings) -> PortResult<MadePool> {
        self.bring_about(id, settings, true).await
    }

    /// One that `is_new` is not looked for: that takes a call for every 60 pools of the Region.
    async fn bring_about(&self, id: &PoolId, settings: &UserPoolSettings, is_new: bool) -> PortResult<MadePool> {
        let asking = asking("make a user pool");
        let region = self.regions.get(asking, &settings.region)?;
        let prefix = self.wanted_prefix(asking, id, settings.domain.as_ref(), None)?;
        let found = if is_new { None } else { self.find(asking, region, id).await? };
        let is_made_here = found.is_none();
        let user_pool = match found {
            // It may be of settings that were meant before, and have all of them or a part.
            Some(found) => {
                self.bring_up(asking, region, &found, settings).await?;
                found
            }
            None => {
                let email = self.email(region, None, settings);
                let name = self.names.pool_name(id);
                let request = creation(region.cognito.create_user_pool(), &name, id, settings, email);
                let request = request.customize().mutate_request(without_zero_days);
                let made = self.calls.make(asking, &region.name, None, request.send()).await?;
                let new = user_pool_id(asking, made.user_pool().and_then(UserPoolType::id))?;
                // A new one has none.
                self.put_factors(asking, region, &new, Mfa::Off, None, settings).await?;
                new
            }
        };
        let mut pool = self.see(asking, region, &user_pool).await?;
        if let Some(prefix) = prefix.filter(|_| prefix_of(&pool).is_none()) {
            let given = self.make_prefix(asking, region, &user_pool, &prefix).await;
            if given.as_ref().is_err_and(|error| is_made_here && error.is(Fault::Taken)) {
                self.give_way(asking, region, id, &user_pool).await?;
            }
            given?;
            pool.domain = Some(prefix);
        }
        // One of the tenant's own comes later, and says when it is there.
        pool.custom_domain = None;
        self.made(asking, region, user_pool, &pool, Domains::of(domain_of(&pool)))
    }

    /// Deletes a pool whose prefix is another's, where that is one of the same name: two brokers have looked for the pool at
    /// one time and found none, and nobody would find this one again.
    async fn give_way(&self, asking: Asking, region: &Region, id: &PoolId, user_pool: &UserPoolId) -> PortResult<()> {
        if self.find(asking, region, id).await?.is_none_or(|known| known == *user_pool) {
            return Ok(());
        }
        let request = region.cognito.delete_user_pool().user_pool_id(user_pool.as_str());
        if_there(self.calls.make(asking, &region.name, Some(user_pool), request.send()).await)?;
        Err(asking.error(Fault::Conflict, "it was made by somebody else at the same time"))
    }

    pub(super) async fn describe(&self, user_pool: &UserPoolId, region: &str) -> PortResult<Option<MadePool>> {
        let asking = asking("describe a user pool");
        let region = self.regions.get(asking, region)?;
        match if_there(self.see(asking, region, user_pool).await)? {
            Some(pool) => {
                let domains = Domains::of(domain_of(&pool));
                self.made(asking, region, user_pool.clone(), &pool, domains).map(Some)
            }
            None => Ok(None),
        }
    }

    pub(super) async fn look_for(&self, id: &PoolId, region: &str) -> PortResult<Option<FoundPool>> {
        let asking = asking("look for a user pool");
        let region = self.regions.get(asking, region)?;
        let Some(user_pool) = self.find(asking, region, id).await? else { return Ok(None) };
        let Some(pool) = if_there(self.see(asking, region, &user_pool).await)? else { return Ok(None) };
        // One that is half made has no domain to get tokens from.
        let domains = Domains::of(domain_of(&pool));
        let made = self.names.made_pool(&region.name, user_pool, issuer_type_of(&pool), domains, Need::NoDomain);
        Ok(Some(FoundPool {
            made: made.map_err(|why| asking.error(Fault::Refused, why))?,
            users: u64::try_from(pool.estimated_number_of_users()).unwrap_or_default(),
            is_protected: is_protected(&pool),
        }))
    }

    pub(super) async fn settings(&self, pool: &MadePool) -> PortResult<Option<UserPoolSettings>> {
        let asking = asking("read a user pool's settings");
        let region = self.regions.get(asking, &pool.region)?;
        let Some(seen) = if_there(self.see(asking, region, &pool.user_pool).await)? else { return Ok(None) };
        let factors = match mfa_of(&seen) {
            Mfa::Off => None,
            Mfa::Optional | Mfa::On => if_there(self.factors(asking, region, &pool.user_pool).await)?,
        };
        let domain = self.domain_seen(asking, region, &seen).await?;
        // As a tenant says it: nothing for the broker's own.
        let name = if self.regions.is_own(&region.name) { "" } else { &region.name };
        Ok(Some(settings_of(name, &seen, factors.as_ref(), domain)))
    }

    pub(super) async fn list(&self, after: Option<&str>) -> PortResult<PortPage<PoolId>> {
        let asking = asking("list user pools");
        let (region, token) = self.regions.resume(asking, after)?;
        let request = region.cognito.list_user_pools().max_results(PAGE).set_next_token(token.map(str::to_owned));
        let page = self.calls.make(asking, &region.name, None, request.send()).await?;
        let names = page.user_pools().iter().filter_map(|pool| pool.name());
        let items = names.filter_map(|name| self.names.pool_id(name)).collect();
        Ok(PortPage { items, next: self.regions.after(region, page.next_token()) })
    }

    pub(super) async fn update(&self, pool: &MadePool, settings: &UserPoolSettings) -> PortResult<()> {
        let asking = asking("update a user pool");
        let region = self.regions.get(asking, &pool.region)?;
        if self.regions.get(asking, &settings.region)?.name != region.name {
            let detail = format!("{} is in Region {} and stays there", pool.user_pool, region.name);
            return Err(asking.error(Fault::Refused, detail));
        }
        self.bring_up(asking, region, &pool.user_pool, settings).await
    }

    /// All of the settings but the domain.
    async fn bring_up(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: &UserPoolId,
        settings: &UserPoolSettings,
    ) -> PortResult<()> {
        let mut seen = self.see(asking, region, user_pool).await?;
        if issuer_type_of(&seen) != settings.issuer_type {
            let detail = format!("the issuer of {user_pool} does not change: its tokens would not verify");
            return Err(asking.error(Fault::Refused, detail));
        }
        let (had, had_sms) = (mfa_of(&seen), seen.sms_configuration.clone());
        let put_factors = || self.put_factors(asking, region, user_pool, had, had_sms.as_ref(), settings);
        // The plan Lite is not taken while a factor is in force that it does not have; others need what comes here first.
        let factors_first = settings.feature_plan == FeaturePlan::Lite && had != Mfa::Off;
        if factors_first {
            put_factors().await?;
            seen = self.see(asking, region, user_pool).await?;
        }
        let email = self.email(region, seen.email_configuration.as_ref(), settings);
        let request = update_of(region.cognito.update_user_pool(), seen, settings, email);
        let request = request.customize().mutate_request(without_zero_days);
        self.calls.make(asking, &region.name, Some(user_pool), request.send()).await?;
        if factors_first {
            return Ok(());
        }
        put_factors().await
    }

    pub(super) async fn delete(&self, id: &PoolId, region: &str, known: Option<&MadePool>) -> PortResult<()> {
        let asking = asking("delete a user pool");
        let region = self.regions.get(asking, known.map_or(region, |pool| &pool.region))?;
        let user_pool = match known {
            Some(pool) => Some(pool.user_pool.clone()),
            None => self.find(asking, region, id).await?,
        };
        let Some(user_pool) = user_pool else { return Ok(()) };
        let Some(pool) = if_there(self.see(asking, region, &user_pool).await)? else { return Ok(()) };
        // Said before the domain goes, which a protected pool is to keep.
        if is_protected(&pool) {
            return Err(asking.error(Fault::Refused, format_args!("deletion protection of {user_pool} is on")));
        }
        // A pool may have both.
        let custom = custom_of(&pool);
        for domain in [custom, prefix_of(&pool)].into_iter().flatten() {
            self.remove_domain(asking, region, &user_pool, domain).await?;
        }
        let request = region.cognito.delete_user_pool().user_pool_id(user_pool.as_str());
        match if_there(self.calls.make(asking, &region.name, Some(&user_pool), request.send()).await) {
            // One of the tenant's own takes its time to go, and one that is gone may be remembered for a while.
            Err(error)
                if error.is(Fault::Refused)
                    && (error.detail.contains(HAS_DOMAIN)
                        || self.is_domain_of(asking, region, custom, &user_pool).await?) =>
            {
                Err(asking.error(Fault::Unavailable, format_args!("a domain of {user_pool} is on its way out")))
            }
            outcome => outcome.map(drop),
        }
    }

    /// The pool that has this name; of several the oldest, which is the one that others have found, too.
    async fn find(&self, asking: Asking, region: &Region, id: &PoolId) -> PortResult<Option<UserPoolId>> {
        let seen = region.census.take(self.walk(asking, region)).await?;
        Ok(seen.get(&self.names.pool_name(id)).cloned())
    }

    /// All pools of the Region that have a name of Keyward's.
    async fn walk(&self, asking: Asking, region: &Region) -> PortResult<HashMap<String, UserPoolId>> {
        let (mut oldest, mut token) = (HashMap::<String, (i128, UserPoolId)>::new(), None);
        loop {
            let request = region.cognito.list_user_pools().max_results(PAGE).set_next_token(token);
            let page = self.calls.make(asking, &region.name, None, request.send()).await?;
            for pool in page.user_pools() {
                let Some(name) = pool.name().filter(|name| self.names.pool_id(name).is_some()) else { continue };
                let date = pool.creation_date().map_or(i128::MIN, |date| date.as_nanos());
                if oldest.get(name).is_none_or(|(older, _)| date < *older) {
                    oldest.insert(name.to_owned(), (date, user_pool_id(asking, pool.id())?));
                }
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(oldest.into_iter().map(|(name, (_, id))| (name, id)).collect());
            }
        }
    }

    pub(super) async fn see(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: &UserPoolId,
    ) -> PortResult<UserPoolType> {
        let request = region.cognito.describe_user_pool().user_pool_id(user_pool.as_str());
        let answer = self.calls.make(asking, &region.name, Some(user_pool), request.send()).await?;
        answer.user_pool.ok_or_else(|| asking.error(Fault::Unavailable, "DescribeUserPool answered without a pool"))
    }

    pub(super) fn made(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: UserPoolId,
        pool: &UserPoolType,
        domains: Domains<'_>,
    ) -> PortResult<MadePool> {
        self.names
            .made_pool(&region.name, user_pool, issuer_type_of(pool), domains, self.need())
            .map_err(|why| asking.error(Fault::Refused, why))
    }
}

fn is_protected(pool: &UserPoolType) -> bool {
    pool.deletion_protection() == Some(&DeletionProtectionType::Active)
}

/// Of a pool that is not Keyward's own: a custom domain is there because somebody wants it used.
fn domain_of(pool: &UserPoolType) -> Domain<'_> {
    match (custom_of(pool), prefix_of(pool)) {
        (Some(host), _) => Domain::Custom(host),
        (None, Some(prefix)) => Domain::Prefix(prefix),
        (None, None) => Domain::Absent,
    }
}

fn user_pool_id(asking: Asking, id: Option<&str>) -> PortResult<UserPoolId> {
    UserPoolId::parse("user_pool", id.unwrap_or_default())
        .map_err(|error| asking.error(Fault::Unavailable, format_args!("a user pool's id {}", error.message())))
}
