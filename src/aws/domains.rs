//! Domains of user pools: a prefix below one of Cognito's names, and one of the tenant's own.
//!
//! A pool has at most one of each, and both serve the same endpoints. So a pool of Keyward's keeps its prefix, from which
//! tokens come, also beside a domain of the tenant's own: what comes and goes with that one never takes the token endpoint
//! away. Only from one prefix to another there is no such way: Cognito renames none. Then the old one goes when the new one
//! is known to be free; if it is not free after all, the old one comes back, or the one that the broker would choose, which
//! has the pool's id in it. Until a new prefix is served takes up to a minute.
//!
//! A domain of the tenant's own is served by CloudFront. It is `CREATING` at first and may end as `FAILED`; when it is
//! deleted it stays for a while. Whether `DescribeUserPool` tells of it meanwhile is not documented, so it is asked for by its
//! name, and what is refused because of it is taken for a matter of time.
//!
//! Sources: `CreateUserPoolDomain`, `UpdateUserPoolDomain` and `DescribeUserPoolDomain` of Cognito's API; its guide, "Configuring
//! a user pool domain" and "Using your own domain for managed login".

use std::fmt;

use aws_sdk_cognitoidentityprovider::types::{
    CustomDomainConfigType, DomainDescriptionType, DomainStatusType, UserPoolType,
};

use super::cognito::{Cognito, asking};
use super::faults::{Asking, if_there};
use super::names::{Domain, Domains, Need};
use super::pool_settings::{custom_of, prefix_of};
use super::regions::Region;
use crate::broker::ports::{DomainProgress, DomainSet, Fault, PortError, PortResult};
use crate::domain::id::{PoolId, UserPoolId};
use crate::domain::pool::MadePool;
use crate::domain::tenant::HostedDomain;

/// How Cognito, or CloudFront behind it, says that a domain is in use. There is no error of its own for that.
const TAKEN: &str = "already associated";
/// How it says that a pool cannot be deleted because of its domain.
pub(super) const HAS_DOMAIN: &str = "domain configured";

/// The domain of the tenant's own that a pool has, as far as it is known.
#[derive(Default)]
struct Custom {
    name: String,
    is_served: bool,
    cname_target: String,
}

impl Cognito {
    /// The prefix that the pool is to have: the tenant's choice, else whatever it has beside a domain of the tenant's own, else
    /// the broker's choice where tokens come from a domain.
    pub(super) fn wanted_prefix(
        &self,
        asking: Asking,
        id: &PoolId,
        wanted: Option<&HostedDomain>,
        has: Option<&str>,
    ) -> PortResult<Option<String>> {
        let own = || self.names.domain_prefix(id).map_err(|rule| asking.error(Fault::Refused, rule));
        match (wanted, has) {
            (Some(HostedDomain::Prefix(prefix)), _) => Ok(Some(prefix.clone())),
            (Some(HostedDomain::Custom { .. }), Some(has)) => Ok(Some(has.to_owned())),
            (Some(HostedDomain::Custom { .. }) | None, _) => {
                if self.need() == Need::Domain {
                    own().map(Some)
                } else {
                    Ok(None)
                }
            }
        }
    }

    pub(super) async fn step_to_domain(
        &self,
        id: &PoolId,
        pool: &MadePool,
        wanted: Option<&HostedDomain>,
    ) -> PortResult<DomainSet> {
        let asking = asking("set a user pool's domain");
        let region = self.regions.get(asking, &pool.region)?;
        let seen = self.see(asking, region, &pool.user_pool).await?;
        let place = Place { cognito: self, asking, region, user_pool: &pool.user_pool };
        let wanted_prefix = self.wanted_prefix(asking, id, wanted, prefix_of(&seen))?;
        let own = self.names.domain_prefix(id).ok().filter(|_| self.need() == Need::Domain);
        let (prefix, refusal) = place.bring_prefix(prefix_of(&seen), wanted_prefix, own).await?;
        let (custom, progress) = match refusal {
            Some(error) => (place.custom(custom_of(&seen)).await?, Err(error)),
            None => place.bring_custom(custom_of(&seen), wanted).await,
        };
        let tokens = prefix.as_deref().map_or(Domain::Absent, Domain::Prefix);
        let served = custom.as_ref().filter(|custom| custom.is_served);
        let sign_in = served.map_or(tokens, |custom| Domain::Custom(&custom.name));
        let domains = Domains {
            sign_in,
            tokens: if prefix.is_some() { tokens } else { sign_in },
            cname_target: custom.as_ref().map_or("", |custom| &custom.cname_target),
        };
        let made = match self.made(asking, region, pool.user_pool.clone(), &seen, domains) {
            // Between two prefixes: for now people sign in nowhere, and no tokens are fetched.
            Err(_) if sign_in == Domain::Absent => {
                let [domain, cname_target, token_endpoint] = Default::default();
                MadePool { domain, cname_target, token_endpoint, ..pool.clone() }
            }
            made => made?,
        };
        Ok(DomainSet { made, progress })
    }

    /// The domain of a pool as a tenant says it.
    pub(super) async fn domain_seen(
        &self,
        asking: Asking,
        region: &Region,
        pool: &UserPoolType,
    ) -> PortResult<Option<HostedDomain>> {
        if let Some(domain) = custom_of(pool) {
            let seen = self.see_domain(asking, region, domain).await?;
            // One that is not described, or is going, is none.
            let seen = seen.filter(|seen| !matches!(seen.status(), Some(DomainStatusType::Deleting)));
            if let Some(seen) = seen.filter(|seen| seen.user_pool_id() == pool.id()) {
                let certificate_arn = seen.custom_domain_config().map(|config| config.certificate_arn().to_owned());
                let certificate_arn = certificate_arn.unwrap_or_default();
                return Ok(Some(HostedDomain::Custom { domain: domain.to_owned(), certificate_arn }));
            }
        }
        // The broker's choice is what the pool is called.
        Ok(match prefix_of(pool) {
            Some(prefix) if pool.name() == Some(prefix) => None,
            Some(prefix) => Some(HostedDomain::Prefix(prefix.to_owned())),
            None if self.need() == Need::Domain => Some(HostedDomain::Prefix(String::new())),
            None => None,
        })
    }

    /// `None` for one that nobody has, as far as this account can tell.
    pub(super) async fn see_domain(
        &self,
        asking: Asking,
        region: &Region,
        domain: &str,
    ) -> PortResult<Option<DomainDescriptionType>> {
        let request = region.cognito.describe_user_pool_domain().domain(domain);
        let seen = if_there(self.calls.make(asking, &region.name, None, request.send()).await)?;
        let seen = seen.and_then(|seen| seen.domain_description);
        Ok(seen.filter(|seen| seen.user_pool_id().is_some_and(|pool| !pool.is_empty())))
    }

    /// Whether that is a domain and still the pool's.
    pub(super) async fn is_domain_of(
        &self,
        asking: Asking,
        region: &Region,
        domain: Option<&str>,
        user_pool: &UserPoolId,
    ) -> PortResult<bool> {
        let Some(domain) = domain else { return Ok(false) };
        let seen = self.see_domain(asking, region, domain).await?;
        Ok(seen.is_some_and(|seen| seen.user_pool_id() == Some(user_pool.as_str())))
    }

    /// Gives a pool that has none its prefix.
    pub(super) async fn make_prefix(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: &UserPoolId,
        prefix: &str,
    ) -> PortResult<()> {
        Place { cognito: self, asking, region, user_pool }.create(prefix, None).await.map(drop)
    }

    /// Deletes a domain of the pool, or sees that it is going already.
    pub(super) async fn remove_domain(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: &UserPoolId,
        domain: &str,
    ) -> PortResult<()> {
        Place { cognito: self, asking, region, user_pool }.remove(domain).await
    }
}

/// A pool whose domains are changed.
#[derive(Clone, Copy)]
struct Place<'a> {
    cognito: &'a Cognito,
    asking: Asking,
    region: &'a Region,
    user_pool: &'a UserPoolId,
}

impl Place<'_> {
    /// The prefix that the pool has then, as far as that is known; and why it is not the one that was wanted. `own` is what it may
    /// have in its place. Whatever keeps the pool from a prefix once the old one is gone is told so and not by an error: a prefix
    /// that was given up is anybody's, so nobody may be sent there.
    async fn bring_prefix(
        self,
        has: Option<&str>,
        wanted: Option<String>,
        own: Option<String>,
    ) -> PortResult<(Option<String>, Option<PortError>)> {
        let Some(wanted) = wanted else {
            let Some(has) = has else { return Ok((None, None)) };
            return Ok((None, self.give_up(has).await?));
        };
        if has == Some(wanted.as_str()) {
            return Ok((Some(wanted), None));
        }
        if let Some(has) = has {
            // It goes only for one that nobody is known to have.
            self.check_free(&wanted).await?;
            if let Some(error) = self.give_up(has).await? {
                return Ok((None, Some(error)));
            }
        }
        let refusal = match self.create(&wanted, None).await {
            Ok(_) => return Ok((Some(wanted), None)),
            Err(error) if is_final(&error) => error,
            // Where it is made all the same, that is seen the next time.
            Err(error) => return Ok((None, Some(error))),
        };
        for instead in has.map(str::to_owned).into_iter().chain(own).filter(|instead| *instead != wanted) {
            match self.create(&instead, None).await {
                Ok(_) => return Ok((Some(instead), Some(refusal))),
                Err(error) if is_final(&error) => {}
                Err(error) => return Ok((None, Some(error))),
            }
        }
        Ok((None, Some(refusal)))
    }

    /// Takes the pool's prefix from it. An error that is told says that it may be gone; one that this ends in, that it is
    /// there still.
    async fn give_up(self, has: &str) -> PortResult<Option<PortError>> {
        let error = match self.remove(has).await {
            Err(error) if error.is(Fault::Unavailable) => error,
            outcome => return outcome.map(|()| None),
        };
        match self.seen(has).await {
            Ok(Some(seen)) if !matches!(seen.status(), Some(DomainStatusType::Deleting)) => Err(error),
            // Nobody's, another's by now, or nobody can tell.
            Ok(_) | Err(_) => Ok(Some(error)),
        }
    }

    /// The domain of the tenant's own that the pool has then, and how far it came. The pool's prefix may be another by now, so
    /// that no error keeps that from being told.
    async fn bring_custom(
        self,
        has: Option<&str>,
        wanted: Option<&HostedDomain>,
    ) -> (Option<Custom>, PortResult<DomainProgress>) {
        match self.try_custom(has, wanted).await {
            Ok((custom, progress)) => (custom, Ok(progress)),
            Err(error) => (self.custom(has).await.unwrap_or_default(), Err(error)),
        }
    }

    async fn try_custom(
        self,
        has: Option<&str>,
        wanted: Option<&HostedDomain>,
    ) -> PortResult<(Option<Custom>, DomainProgress)> {
        let Some(HostedDomain::Custom { domain, certificate_arn }) = wanted else {
            if let Some(has) = has {
                self.remove(has).await?;
            }
            return Ok((None, DomainProgress::InForce));
        };
        if let Some(other) = has.filter(|has| has != domain) {
            self.remove(other).await?;
            return Ok((None, DomainProgress::OnItsWay));
        }
        let Some(seen) = self.seen(domain).await? else {
            let cname_target = self.create(domain, Some(certificate_arn)).await?;
            let custom = Custom { name: domain.clone(), is_served: false, cname_target };
            return Ok((Some(custom), DomainProgress::OnItsWay));
        };
        match seen.status() {
            Some(DomainStatusType::Active) if !has_certificate(&seen, certificate_arn) => {
                self.renew(&seen, domain, certificate_arn).await?;
                Ok((Some(Custom::of(domain, &seen)), DomainProgress::OnItsWay))
            }
            Some(DomainStatusType::Active) => Ok((Some(Custom::of(domain, &seen)), DomainProgress::InForce)),
            // It is made anew the next time.
            Some(DomainStatusType::Failed) => {
                self.remove(domain).await?;
                Err(self.refused(format_args!("Cognito could not make the domain {domain}: its status is FAILED")))
            }
            _ => Ok((Some(Custom::of(domain, &seen)), DomainProgress::OnItsWay)),
        }
    }

    /// As it is, where it is the pool's.
    async fn custom(self, domain: Option<&str>) -> PortResult<Option<Custom>> {
        let Some(domain) = domain else { return Ok(None) };
        Ok(self.seen(domain).await?.map(|seen| Custom::of(domain, &seen)))
    }

    /// `None` where it is nobody's; one that is another's fails.
    async fn seen(self, domain: &str) -> PortResult<Option<DomainDescriptionType>> {
        let seen = self.cognito.see_domain(self.asking, self.region, domain).await?;
        match seen {
            Some(seen) if seen.user_pool_id() != Some(self.user_pool.as_str()) => Err(self.taken(domain)),
            seen => Ok(seen),
        }
    }

    async fn check_free(self, prefix: &str) -> PortResult<()> {
        self.seen(prefix).await.map(drop)
    }

    /// What the record of a domain of the tenant's own must point to; nothing of a prefix. One that the pool has already is as
    /// good as made.
    async fn create(self, domain: &str, certificate_arn: Option<&str>) -> PortResult<String> {
        let config = certificate_arn.map(|arn| self.certificate(arn)).transpose()?;
        let request =
            self.region.cognito.create_user_pool_domain().domain(domain).user_pool_id(self.user_pool.as_str());
        let request = request.set_custom_domain_config(config);
        let calls = &self.cognito.calls;
        match calls.make(self.asking, &self.region.name, Some(self.user_pool), request.send()).await {
            Ok(made) => Ok(made.cloud_front_domain().unwrap_or_default().to_owned()),
            Err(error) if error.is(Fault::Refused) || error.is(Fault::Conflict) => match self.seen(domain).await? {
                Some(seen) => Ok(seen.cloud_front_distribution().unwrap_or_default().to_owned()),
                None if error.detail.contains(TAKEN) => Err(PortError { fault: Fault::Taken, ..error }),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Gives it another certificate, and leaves the rest of it.
    async fn renew(self, seen: &DomainDescriptionType, domain: &str, certificate_arn: &str) -> PortResult<()> {
        let security = seen.custom_domain_config().and_then(CustomDomainConfigType::security_policy).cloned();
        let mut config = self.certificate(certificate_arn)?;
        config.security_policy = security;
        let request =
            self.region.cognito.update_user_pool_domain().domain(domain).user_pool_id(self.user_pool.as_str());
        let request = request
            .custom_domain_config(config)
            .set_managed_login_version(seen.managed_login_version())
            .set_routing(seen.routing().cloned());
        let calls = &self.cognito.calls;
        calls.make(self.asking, &self.region.name, Some(self.user_pool), request.send()).await.map(drop)
    }

    async fn remove(self, domain: &str) -> PortResult<()> {
        let request =
            self.region.cognito.delete_user_pool_domain().domain(domain).user_pool_id(self.user_pool.as_str());
        let calls = &self.cognito.calls;
        let outcome = if_there(calls.make(self.asking, &self.region.name, Some(self.user_pool), request.send()).await);
        let error = match outcome {
            Err(error) if error.is(Fault::Refused) || error.is(Fault::Conflict) => error,
            outcome => return outcome.map(drop),
        };
        let seen = self.cognito.see_domain(self.asking, self.region, domain).await?;
        let Some(seen) = seen.filter(|seen| seen.user_pool_id() == Some(self.user_pool.as_str())) else {
            return Ok(());
        };
        match seen.status() {
            Some(DomainStatusType::Deleting) => Ok(()),
            Some(DomainStatusType::Creating | DomainStatusType::Updating) => {
                let detail =
                    format_args!("Cognito is still at work on the domain {domain}, and does not delete it now");
                Err(self.asking.error(Fault::Unavailable, detail))
            }
            _ => Err(error),
        }
    }

    fn certificate(self, arn: &str) -> PortResult<CustomDomainConfigType> {
        CustomDomainConfigType::builder().certificate_arn(arn).build().map_err(|error| self.refused(error))
    }

    fn taken(self, domain: &str) -> PortError {
        self.asking.error(Fault::Taken, format_args!("{domain} is the domain of another pool"))
    }

    fn refused(self, detail: impl fmt::Display) -> PortError {
        self.asking.error(Fault::Refused, detail)
    }
}

impl Custom {
    fn of(name: &str, seen: &DomainDescriptionType) -> Self {
        Custom {
            name: name.to_owned(),
            // While its certificate is changed, the old one is.
            is_served: matches!(seen.status(), Some(DomainStatusType::Active | DomainStatusType::Updating)),
            cname_target: seen.cloud_front_distribution().unwrap_or_default().to_owned(),
        }
    }
}

fn has_certificate(seen: &DomainDescriptionType, arn: &str) -> bool {
    seen.custom_domain_config().is_some_and(|config| config.certificate_arn() == arn)
}

/// Whether asking again for the same would end in the same.
fn is_final(error: &PortError) -> bool {
    matches!(error.fault, Fault::Taken | Fault::Refused | Fault::LimitExceeded)
}
