//! How much of each Region's quotas is used: a record for each Region, changed in the change that begins or forgets a pool.
//!
//! So a full Region is known before anything is begun there, by reading one record, and of two who want the last place one
//! wins, since both write it. It must never refuse what there is room for because a count is wrong for long: a registry
//! from before counts were kept has none, and older brokers beside this one do not change them. So:
//!
//! - **A count begins** with the first change that needs it. A page of pools is read then, and if that is all of them the
//!   count is whole. If there are more, it is counted in the background ([`Pools::begin_counts`]), and refuses nobody until
//!   then.
//! - **A reconciliation of all tenants that mends** counts anew ([`Pools::recount`]).
//! - **Pools of others** in the account are in no record. What Cognito says of another pool is the last word, and is
//!   remembered for [`REFUSED_FOR`](crate::domain::quota::REFUSED_FOR), or until a pool of the Region is made or forgotten.

use std::collections::BTreeMap;

use super::Pools;
use crate::broker::api::Page;
use crate::broker::records::shelves::region_use_key;
use crate::broker::records::{Change, Versioned, settle};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::pool::Pool;
use crate::domain::quota::{Held, Quota, QuotaUsage, RegionUse};
use crate::domain::tenant::{HostedDomain, Tenant, UserPoolSettings};

/// Pools that are read to begin a count within a call: as many as `ListPools` answers with.
const FIRST_LOOK: usize = 1_000;
/// Pools of a page where all are counted.
const PAGE: usize = 200;
/// How often a count is made again because pools were begun or forgotten meanwhile.
const ATTEMPTS: usize = 8;

/// A Region's use as it is to be, to be written with what changes it.
#[must_use]
pub struct Counted {
    next: RegionUse,
    /// The version of the record as it was seen; `None` where there was none.
    seen: Option<u64>,
}

impl Counted {
    pub fn keep(&self, change: Change) -> Change {
        change.put(&self.next, self.seen)
    }
}

/// What a pool with these settings takes.
fn held(settings: &UserPoolSettings) -> Held {
    Held { user_pools: 1, custom_domains: u32::from(is_custom(settings)) }
}

fn is_custom(settings: &UserPoolSettings) -> bool {
    matches!(settings.domain, Some(HostedDomain::Custom { .. }))
}

/// What was counted in a Region; `None` where nothing was counted to its end.
fn held_in(counts: &Option<BTreeMap<String, Held>>, region: &str) -> Option<Held> {
    counts.as_ref().map(|counts| counts.get(region).copied().unwrap_or_default())
}

impl Pools {
    /// A place for a pool with these settings. Fails with `QUOTA_EXCEEDED` where its Region is full. The caller holds its
    /// turn until it is written down.
    pub(super) async fn room_for(&self, settings: &UserPoolSettings) -> Result<Counted> {
        let (used, seen) = self.region_use(self.named(&settings.region)).await?;
        let next = used.with(held(settings), &self.world.settings.ceilings, self.world.now())?;
        Ok(Counted { next, seen })
    }

    /// Counts a pool that is there at the backend already, full Region or not.
    pub(in crate::broker) async fn taken_over(&self, region: &str) -> Result<Counted> {
        let (used, seen) = self.region_use(self.named(region)).await?;
        Ok(Counted { next: RegionUse { user_pools: used.user_pools.saturating_add(1), ..used }, seen })
    }

    /// Gives back what a pool with these settings has taken, in the change that forgets it. Of one that a tenant has moved
    /// away from nobody has the settings any more. The caller holds its turn.
    pub(super) async fn given_back(&self, pool: &Pool, settings: Option<&UserPoolSettings>) -> Result<Counted> {
        let has_domain = match settings {
            Some(settings) => is_custom(settings),
            None => self.has_custom_domain(pool).await?,
        };
        let (used, seen) = self.region_use(self.named(pool.region())).await?;
        let held = Held { user_pools: 1, custom_domains: u32::from(has_domain) };
        Ok(Counted { next: used.without(held), seen })
    }

    /// What changes where a pool that stays gets other settings; `None` where nothing does. Fails as
    /// [`room_for`](Pools::room_for) does. The caller holds its turn.
    pub(in crate::broker) async fn resettled(
        &self,
        old: &UserPoolSettings,
        new: &UserPoolSettings,
    ) -> Result<Option<Counted>> {
        let domain = Held { user_pools: 0, custom_domains: 1 };
        if is_custom(old) == is_custom(new) {
            return Ok(None);
        }
        let (used, seen) = self.region_use(self.named(&old.region)).await?;
        let next = match is_custom(new) {
            true => used.with(domain, &self.world.settings.ceilings, self.world.now())?,
            false => used.without(domain),
        };
        Ok(Some(Counted { next, seen }))
    }

    /// What Cognito's refusal of a pool means, remembered for others: its Region is full.
    pub(super) async fn note_refusal(&self, settings: &UserPoolSettings) -> Error {
        let region = self.named(&settings.region);
        let noted = settle(|| async {
            let _turn = self.place_in_turn().await;
            let (used, seen) = self.region_use(region).await?;
            let next = RegionUse { refused_time: Some(self.world.now()), ..used };
            self.world.records.commit(Counted { next, seen }.keep(Change::housekeeping())).await
        });
        if let Err(error) = noted.await {
            tracing::warn!(region, %error, "that the Region is full is not remembered");
        }
        match self
            .region_use(region)
            .await
            .map(|(used, _)| used.usages(&self.world.settings.ceilings, self.world.now()))
        {
            Ok(usages) if !usages.is_empty() => Quota::UserPools.exceeded(region, usages[0].limit),
            _ => Quota::UserPools.exceeded(region, self.world.settings.ceilings.user_pools_per_region),
        }
    }

    /// That Cognito has taken a pool; `None` where nothing else was remembered. The caller holds its turn.
    pub(super) async fn taken(&self, settings: &UserPoolSettings) -> Result<Option<Counted>> {
        let used: Option<Versioned<RegionUse>> =
            self.world.records.get(&region_use_key(self.named(&settings.region))).await?;
        let refused = used.filter(|used| used.refused_time.is_some());
        Ok(refused
            .map(|used| Counted { seen: Some(used.version), next: RegionUse { refused_time: None, ..used.value } }))
    }

    /// Whether Cognito has refused another pool in the broker's own Region a short while ago.
    pub(super) async fn is_own_region_refused(&self) -> Result<bool> {
        let used: Option<Versioned<RegionUse>> = self.world.records.get(&region_use_key(self.named(""))).await?;
        Ok(used.is_some_and(|used| used.is_refused(self.world.now())))
    }

    /// The quotas of every Region that is configured, as far as they are counted: one read for each, and a page of pools where one
    /// is not counted yet.
    pub async fn usages(&self) -> Result<Vec<QuotaUsage>> {
        let (mut usages, mut looked) = (Vec::new(), None);
        for region in &self.world.settings.regions {
            let known: Option<Versioned<RegionUse>> = self.world.records.get(&region_use_key(region)).await?;
            let used = match known {
                Some(known) => known.value,
                None => {
                    if looked.is_none() {
                        looked = Some(self.first_look().await?);
                    }
                    RegionUse::beginning(region, looked.as_ref().and_then(|counts| held_in(counts, region)))
                }
            };
            usages.extend(used.usages(&self.world.settings.ceilings, self.world.now()));
        }
        Ok(usages)
    }

    /// A Region's name; the broker's own where none is given.
    fn named<'a>(&'a self, region: &'a str) -> &'a str {
        let own = self.world.settings.regions.first().map_or("", String::as_str);
        if region.is_empty() { own } else { region }
    }

    /// What is known of a Region, and the version of the record; the beginning of a count where there is none.
    async fn region_use(&self, region: &str) -> Result<(RegionUse, Option<u64>)> {
        let known: Option<Versioned<RegionUse>> = self.world.records.get(&region_use_key(region)).await?;
        if let Some(known) = known {
            return Ok((known.value, Some(known.version)));
        }
        let counts = self.first_look().await?;
        Ok((RegionUse::beginning(region, held_in(&counts, region)), None))
    }

    /// What there is in each Region, if a page has all of it.
    async fn first_look(&self) -> Result<Option<BTreeMap<String, Held>>> {
        let page = self.world.records.list::<Pool>("", &Page { after: None, size: FIRST_LOOK }).await?;
        match page.next {
            None => self.count(&page.items).await.map(Some),
            Some(_) => Ok(None),
        }
    }

    async fn count(&self, pools: &[Versioned<Pool>]) -> Result<BTreeMap<String, Held>> {
        let mut counts: BTreeMap<String, Held> = BTreeMap::new();
        for pool in pools {
            let has_domain = self.has_custom_domain(pool).await?;
            let count = counts.entry(self.named(pool.region()).to_owned()).or_default();
            count.user_pools += 1;
            count.custom_domains += u32::from(has_domain);
        }
        Ok(counts)
    }

    /// The prefix of a domain of Cognito's has no dot; one of the tenant's own has. While that is on its way it takes its
    /// place already, and has a name of CloudFront's.
    async fn has_custom_domain(&self, pool: &Pool) -> Result<bool> {
        match (&pool.made, &pool.tenant) {
            (Some(made), Some(_)) => Ok(made.domain.contains('.') || !made.cname_target.is_empty()),
            (None, Some(tenant)) => {
                let tenant: Option<Versioned<Tenant>> = self.world.records.get(tenant.as_str()).await?;
                Ok(tenant.and_then(|tenant| tenant.value.user_pool).is_some_and(|settings| is_custom(&settings)))
            }
            _ => Ok(false),
        }
    }

    /// For registries from before counts were kept: counts what a call would take too long for. Once in a registry's life
    /// this reads all pools; otherwise it reads a record for each Region.
    pub async fn begin_counts(&self) -> Result<()> {
        let (mut is_there, mut is_whole) = (true, true);
        for region in &self.world.settings.regions {
            let known: Option<Versioned<RegionUse>> = self.world.records.get(&region_use_key(region)).await?;
            is_there &= known.is_some();
            is_whole &= known.is_none_or(|known| known.is_whole);
        }
        // What fits into a page is counted by whoever needs it first.
        if !is_whole || (!is_there && self.first_look().await?.is_none()) {
            return self.recount().await;
        }
        Ok(())
    }

    /// Counts all pools anew, in the Regions that are configured. Other brokers go on meanwhile, and if one has begun or
    /// forgotten a pool it is done again; this one's own wait from the second time on.
    pub async fn recount(&self) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let _turn = if attempt > 0 { Some(self.place_in_turn().await) } else { None };
            match self.try_recount().await {
                Err(error) if error.reason() == Reason::ConcurrentChange => {}
                outcome => return outcome,
            }
        }
        tracing::warn!("user pools come and go too fast to be counted");
        Ok(())
    }

    async fn try_recount(&self) -> Result<()> {
        let mut seen = Vec::new();
        for region in &self.world.settings.regions {
            let known: Option<Versioned<RegionUse>> = self.world.records.get(&region_use_key(region)).await?;
            seen.push((region, known));
        }
        let (mut counts, mut page) = (BTreeMap::<String, Held>::new(), Page { after: None, size: PAGE });
        loop {
            let listing = self.world.records.list::<Pool>("", &page).await?;
            for (region, more) in self.count(&listing.items).await? {
                let count = counts.entry(region).or_default();
                count.user_pools += more.user_pools;
                count.custom_domains += more.custom_domains;
            }
            let Some(next) = listing.next else { break };
            page.after = Some(next);
        }
        for (region, known) in seen {
            let held = counts.remove(region).unwrap_or_default();
            let refused_time = known.as_ref().and_then(|known| known.refused_time);
            let next = RegionUse { refused_time, ..RegionUse::beginning(region, Some(held)) };
            if known.as_ref().is_none_or(|known| known.value != next) {
                let counted = Counted { next, seen: known.map(|known| known.version) };
                self.world.records.commit(counted.keep(Change::housekeeping())).await?;
            }
        }
        Ok(())
    }
}
