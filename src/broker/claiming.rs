//! Names by which people who sign in are told to be of a tenant: who claims which, and whether that is proven.
//!
//! A claim is made and given back in the change that changes the tenant's list, so a name is never two tenants', and never
//! kept by one that is gone. Whether it counts is found out by looking for its TXT record: when its time comes, and when
//! somebody changes or reconciles the tenant. It must never let a name count that was not found, or take what DNS says for
//! more than that: what was found is judged by [`Claim::looked`] alone. It fails by leaving a claim as it is and looking
//! again: DNS that is away for a while costs nobody their sign-in.
//!
//! Of brokers that share a registry one does each look that is due: it takes the look first, by putting off the next one in the
//! claim ([`Claim::taken`]), which only one of them can. If that one dies over it, the look is due again after a minute. Two that
//! look at one time, as when a tenant is changed meanwhile, do no harm: the second to write finds the claim changed, and leaves it.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::records::shelves::claim_key;
use super::records::{Change, Versioned};
use super::world::{World, entropy, unique_id};
use crate::domain::audit::{Call, Principal};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::TenantId;
use crate::domain::sign_in::{Claim, SignInDomain};
use crate::domain::tenant::Tenant;

/// Claims that are read of the registry when their time has come.
const BATCH: usize = 64;
/// Records that are looked for at one time.
const AT_A_TIME: usize = 8;

pub struct Claiming {
    world: Arc<World>,
}

impl Claiming {
    pub fn new(world: Arc<World>) -> Self {
        Claiming { world }
    }

    /// Adds to `change`, which makes the tenant's list `wanted`, the claims that this needs. Fails with DOMAIN_CLAIMED where a
    /// name is another tenant's.
    pub async fn exchange(
        &self,
        mut change: Change,
        tenant: &TenantId,
        had: &[SignInDomain],
        wanted: &[SignInDomain],
    ) -> Result<Change> {
        for name in had.iter().filter(|name| !wanted.contains(name)) {
            let claim = self.stored(name).await?.filter(|claim| claim.tenant == *tenant);
            change = claim.iter().fold(change, |change, claim| change.delete(claim));
        }
        for name in wanted {
            let known = self.stored(name).await?;
            change = match known {
                Some(claim) if claim.tenant == *tenant && had.contains(name) => change,
                Some(claim) if claim.tenant != *tenant && self.is_listed(&claim).await? => {
                    let message = format!("the {} domain {} is another tenant's", name.kind.as_str(), name.domain);
                    return Err(Error::new(Reason::DomainClaimed, message).about(tenant.name()));
                }
                // One that nobody lists was left behind, and is written anew: whoever would delete it finds it changed.
                known => {
                    let proof = hex::encode(entropy::<16>()?.as_slice());
                    let claim = Claim::new(name.clone(), tenant.clone(), &proof, self.world.now());
                    change.put(&claim, known.map(|claim| claim.version))
                }
            };
        }
        Ok(change)
    }

    /// The claims of a tenant, from memory where possible.
    pub async fn of(&self, tenant: &Tenant) -> Result<Vec<Claim>> {
        let read = |name: &SignInDomain| {
            let key = claim_key(name);
            async move { self.world.records.view::<Claim>(&key).await }
        };
        // Collected first: a closure over borrowed names cannot be a stream's.
        let reads: Vec<_> = tenant.sign_in_domains.iter().map(read).collect();
        let claims: Vec<_> = stream::iter(reads).buffered(AT_A_TIME).try_collect().await?;
        let own = claims.into_iter().flatten().filter(|claim| claim.tenant == tenant.id);
        Ok(own.map(|claim| claim.value.clone()).collect())
    }

    /// Looks for the records of names that are claimed, now.
    pub async fn look(&self, names: impl Iterator<Item = &SignInDomain>, cause: &Call) -> Result<()> {
        let names: Vec<_> = names.map(|name| self.look_for(name, cause)).collect();
        stream::iter(names).buffer_unordered(AT_A_TIME).try_collect().await
    }

    async fn look_for(&self, name: &SignInDomain, cause: &Call) -> Result<()> {
        match self.stored(name).await? {
            Some(claim) => self.look_at(&claim, cause).await,
            None => Ok(()),
        }
    }

    /// Looks for records when their time comes, until stopped.
    pub async fn work(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = self.world.now();
            let poll = self.world.settings.journal.poll_interval;
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look_at_due(now) => looked,
            };
            let next = match looked {
                // A new claim is looked for after a minute, which is not earlier than this finds it.
                Ok(next) => next.map_or(now + poll, |next| next.min(now + poll)),
                Err(error) => {
                    tracing::warn!(%error, cause = error.internal_detail(), "claims of names cannot be looked at");
                    now + poll.min(Duration::from_secs(10))
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.world.clock.sleep_until(next) => {}
            }
        }
    }

    async fn look_at_due(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let due = self.world.records.due::<Claim>(now, BATCH).await?;
        let cause = Call {
            principal: Principal::Keyward,
            method: "keyward.schedule/look".into(),
            call_id: unique_id()?.into(),
            request: None,
        };
        let looks: Vec<_> = due.records.into_iter().map(|claim| self.look_in_turn(claim, &cause)).collect();
        stream::iter(looks).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
        Ok(due.next)
    }

    /// Looks for one record unless another broker does so.
    async fn look_in_turn(&self, claim: Versioned<Claim>, cause: &Call) -> Result<()> {
        if self.world.shared.is_none() {
            return self.look_at(&claim, cause).await;
        }
        let taken = claim.taken(self.world.now());
        match self.world.records.commit(Change::housekeeping().update(claim.version, &taken)).await {
            Ok(()) => self.look_at(&Versioned { value: taken, version: claim.version + 1 }, cause).await,
            Err(error) if error.reason() == Reason::ConcurrentChange => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Looks for one record, and writes down what came of it.
    async fn look_at(&self, claim: &Versioned<Claim>, cause: &Call) -> Result<()> {
        let change = if self.is_listed(claim).await? {
            let (name, value) = (claim.name.txt_record_name(), claim.txt_record_value());
            let found = self.world.domain_proofs.has_txt(&name, &value).await;
            if let Err(error) = &found {
                tracing::info!(tenant = %claim.tenant, name, %error, "nobody can tell whether a TXT record is there");
            }
            let now = self.world.now();
            let next = claim.looked(found.unwrap_or(false), now, &self.world.settings.sign_in.claims);
            let change = match (claim.verified, next.verified) {
                (before, after) if before == after => Change::housekeeping(),
                (_, is_verified) => {
                    let said = if is_verified { "is verified" } else { "is not verified any more" };
                    let detail = format!("the {} domain {} {said}", claim.name.kind.as_str(), claim.name.domain);
                    let event = cause.doing("keyward.sign_in/verify").event(now, claim.tenant.name());
                    Change::because(event.detail(detail))
                }
            };
            change.update(claim.version, &next)
        } else {
            Change::housekeeping().delete(claim)
        };
        match self.world.records.commit(change).await {
            Err(error) if error.reason() != Reason::ConcurrentChange => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the tenant lists the name, which it does since the change that made the claim. A broker of an earlier release
    /// offboards tenants without giving their names back. To be asked after the claim was read.
    async fn is_listed(&self, claim: &Claim) -> Result<bool> {
        match self.world.records.get::<Tenant>(claim.tenant.as_str()).await {
            Ok(tenant) => Ok(tenant.is_some_and(|tenant| tenant.sign_in_domains.contains(&claim.name))),
            // It is stored in a form that says more than this broker reads, and so there.
            Err(error) if error.reason() == Reason::RecordFormNewer => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn stored(&self, name: &SignInDomain) -> Result<Option<Versioned<Claim>>> {
        self.world.records.get(&claim_key(name)).await
    }
}
