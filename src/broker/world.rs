//! What every part of the broker works with: the ports, the records, the clock, the settings.

pub(super) mod following;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::api::Page;
use super::background::Background;
use super::basis::Basis;
use super::counting::{CountedEndpoint, Counting};
use super::ports::{
    ChangeFeed, Clock, DomainProofs, KeySource, Members, Registry, ShareInForce, TokenEndpoint, TokenShelf, UserPools,
    Vault,
};
use super::records::shelves::{REQUEST_MEMORY, SeenRequest, request_key, tenant_prefix};
use super::records::{Change, IssuerPool, Records, Versioned, settle};
use super::revocations::revoked_tokens::RevokedTokens;
use super::settings::Settings;
use super::tokens::token_keys::TokenKeys;
use crate::domain::audit::{Call, Event};
use crate::domain::client::{Client, Marked};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{BrokerId, Issuer, PoolId, RequestId};
use crate::domain::journal::{Journal, Task};
use crate::domain::pool::{MadePool, Pool};
use crate::domain::revocation::TokenId;
use crate::domain::secret::ClientSecret;
use following::Following;
use targets::Targets;

/// The backends that a broker is built on.
#[derive(Clone)]
pub struct Ports {
    pub user_pools: Arc<dyn UserPools>,
    pub token_endpoint: Arc<dyn TokenEndpoint>,
    pub key_source: Arc<dyn KeySource>,
    pub vault: Arc<dyn Vault>,
    pub registry: Arc<dyn Registry>,
    pub domain_proofs: Arc<dyn DomainProofs>,
    /// Where other brokers use the registry too.
    pub shared: Option<Shared>,
    pub clock: Arc<dyn Clock>,
}

/// What brokers share beside the records of one registry.
#[derive(Clone)]
pub struct Shared {
    pub feed: Arc<dyn ChangeFeed>,
    pub members: Arc<dyn Members>,
    /// What the backend keeps to.
    pub share: Arc<ShareInForce>,
    /// Where they share tokens too.
    pub tokens: Option<SharedTokens>,
}

/// Where tokens are shared, and the key without which they are neither put there nor read.
#[derive(Clone)]
pub struct SharedTokens {
    pub shelf: Arc<dyn TokenShelf>,
    pub keys: Arc<TokenKeys>,
}

pub struct World {
    pub user_pools: Arc<dyn UserPools>,
    pub token_endpoint: Arc<dyn TokenEndpoint>,
    pub key_source: Arc<dyn KeySource>,
    pub vault: Arc<dyn Vault>,
    pub domain_proofs: Arc<dyn DomainProofs>,
    pub records: Records,
    pub shared: Option<Shared>,
    /// Where others change the registry too.
    pub following: Option<(Following, u64)>,
    pub revoked_tokens: RevokedTokens,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub counting: Arc<Counting>,
    pub targets: Targets,
    /// This process, among the brokers that share the registry.
    pub broker: BrokerId,
}

impl World {
    pub async fn open(ports: Ports, settings: Settings) -> Result<Self> {
        let following = match &ports.shared {
            Some(shared) => {
                Some(Following::begin(shared.feed.clone(), settings.feed.clone(), ports.clock.now()).await?)
            }
            None => None,
        };
        let counting = Arc::new(Counting::new(&settings));
        Ok(World {
            following,
            shared: ports.shared,
            records: Records::open(ports.registry, settings.verification.max_cached).await?,
            revoked_tokens: RevokedTokens::default(),
            user_pools: ports.user_pools,
            token_endpoint: Arc::new(CountedEndpoint { inner: ports.token_endpoint, counting: counting.clone() }),
            counting,
            key_source: ports.key_source,
            vault: ports.vault,
            domain_proofs: ports.domain_proofs,
            clock: ports.clock,
            settings,
            targets: Targets::default(),
            broker: BrokerId::parse("broker", &hex::encode(entropy::<16>()?.as_slice()))?,
        })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Fails with UNAVAILABLE where it may have been missed that a token was revoked, or a secret rotated out.
    pub fn may_say_verified(&self) -> Result<()> {
        self.following.as_ref().map_or(Ok(()), |(following, _)| following.may_say_verified(self.now()))
    }

    /// The same for handing out a token that is held, which may go on for longer.
    pub fn may_hand_out(&self) -> Result<()> {
        self.following.as_ref().map_or(Ok(()), |(following, _)| following.may_hand_out(self.now()))
    }

    /// The pool whose issuer this is; `None` where it is none of ours.
    pub async fn pool_of(&self, issuer: &Issuer, basis: &mut Basis) -> Result<Option<MadePool>> {
        let Some(known) = self.records.view_for::<IssuerPool>(issuer.as_str(), basis).await? else { return Ok(None) };
        self.records.note::<Pool>(known.pool.as_str(), basis);
        self.made(&known.pool).await
    }

    /// What was made of a pool, from memory where it is known there. A pool that is made stays so; that it is not may have
    /// changed at another broker, and is read.
    pub async fn made(&self, id: &PoolId) -> Result<Option<MadePool>> {
        let seen = self.records.view::<Pool>(id.as_str()).await?;
        if let Some(made) = seen.and_then(|pool| pool.made.clone()) {
            return Ok(Some(made));
        }
        let pool: Option<Versioned<Pool>> = self.records.get(id.as_str()).await?;
        Ok(pool.and_then(|pool| pool.value.made))
    }

    /// Adds to a change that a task is written down, to be carried out from then on. Where it is under way already, whoever is at
    /// work on it keeps its lease, and what they do by what was before does not strike it out.
    pub async fn with_journal(&self, change: Change, task: Task, cause: &Call) -> Result<Change> {
        let under_way: Option<Versioned<Journal>> = self.records.get(&task.to_string()).await?;
        let journal = Journal::new(task, cause, self.now()).in_place_of(under_way.as_deref());
        Ok(change.put(&journal, under_way.map(|journal| journal.version)))
    }

    /// Up to when this broker has heard of every change that was answered.
    pub fn fresh_time(&self) -> Timestamp {
        let now = self.now();
        self.following.as_ref().map_or(now, |(following, _)| following.heard_time().min(now))
    }

    /// Whether the registry must be asked about this token. What it has of others is read by `background` where nobody has.
    pub fn may_be_revoked(self: &Arc<Self>, token: &TokenId, background: &Background) -> bool {
        if self.revoked_tokens.must_be_read() {
            let world = self.clone();
            background.spawn(async move { world.revoked_tokens.read(&world.records, world.now()).await });
        }
        self.revoked_tokens.may_have(token)
    }

    /// Whether an answer may be given again.
    pub fn stands(&self, basis: &Basis, now: Timestamp) -> bool {
        let is_current = self.following.as_ref().is_none_or(|(following, _)| following.is_current(now));
        is_current && now < basis.end() && self.records.stands(basis)
    }

    /// The client that an app client's name says it is of, whatever else it says.
    pub async fn marked(&self, marked: &Marked) -> Result<Option<Versioned<Client>>> {
        let prefix = format!("{}{}", tenant_prefix(&marked.tenant), marked.client);
        let mut page = Page { after: None, size: 100 };
        loop {
            // The name may have had no room for the whole id of the client, so that there are several to look at.
            let listing = self.records.list::<Client>(&prefix, &page).await?;
            if let Some(client) = listing.items.into_iter().find(|client| client.uid == marked.uid) {
                return Ok(Some(client));
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Appends an event that comes with no change. What it is about may go on only if this succeeds.
    pub async fn put_on_record(&self, event: Event) -> Result<()> {
        self.records.commit(Change::because(event)).await.map_err(|error| {
            let message = "the audit log cannot be written, so nothing that must be audited is done";
            let wait = Duration::from_secs(1);
            Error::unavailable(Reason::AuditUnavailable, message, wait).caused_by(error)
        })
    }

    /// Whether a mutation was asked for before: by the same caller, under the same request id, within 24 hours.
    pub async fn asked(&self, call: &Call) -> Result<Asked> {
        self.asked_part(call, None).await
    }

    /// The same for one of many things that a call asks for, each of which is done once.
    pub async fn asked_part(&self, call: &Call, part: Option<&Part>) -> Result<Asked> {
        let Some(request) = &call.request else {
            return Ok(Asked::Afresh(Receipt(None)));
        };
        let (now, principal) = (self.now(), call.principal.to_string());
        let id = part.map_or_else(|| request.id.to_string(), |part| part_id(&request.id, &part.key));
        let seen: Option<Versioned<SeenRequest>> = self.records.get(&request_key(&principal, &id)).await?;
        let known = seen.as_ref().filter(|seen| seen.expire_time > now);
        if let Some(known) = known {
            if known.fingerprint == request.fingerprint {
                return Ok(Asked::Again { resource: known.resource.clone(), expire_time: known.expire_time });
            }
            let rule = "was used within 24 hours for another request";
            return Err(Error::invalid_because(Reason::RequestIdReused, "request_id", rule));
        }
        let record = SeenRequest {
            principal,
            request_id: id,
            fingerprint: request.fingerprint.clone(),
            resource: String::new(),
            expire_time: part.map_or(now + REQUEST_MEMORY, |part| part.expire_time),
        };
        Ok(Asked::Afresh(Receipt(Some((record, seen.map(|seen| seen.version))))))
    }

    /// Carries a mutation out, again when somebody else was faster. An attempt may also fail on what the same request,
    /// sent twice at one time, has just done: then it is made once more, and finds that it was done.
    pub async fn settle<T, F>(&self, call: &Call, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.settle_part(call, None, attempt).await
    }

    /// The same for one of many things that a call asks for.
    pub async fn settle_part<T, F>(&self, call: &Call, part: Option<&Part>, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let result = settle(&attempt).await;
        let failed = result.is_err() && call.request.is_some();
        match failed && matches!(self.asked_part(call, part).await, Ok(Asked::Again { .. })) {
            true => settle(attempt).await,
            false => result,
        }
    }

    /// Adds to `change`, which takes back what a request has done, that it is as if it had never been made.
    pub async fn unfile(&self, call: &Call, change: Change) -> Result<Change> {
        let Some(request) = &call.request else { return Ok(change) };
        let key = request_key(&call.principal.to_string(), &request.id.to_string());
        let seen: Option<Versioned<SeenRequest>> = self.records.get(&key).await?;
        Ok(seen.iter().fold(change, |change, seen| change.delete(seen)))
    }

    /// Remembers a request that found nothing to do, so that a late retry of it does nothing either.
    pub async fn nothing_done(&self, receipt: Receipt, resource: impl std::fmt::Display) -> Result<()> {
        match receipt.0 {
            Some(_) => self.records.commit(receipt.file(Change::housekeeping(), resource)).await,
            None => Ok(()),
        }
    }
}

pub enum Asked {
    Afresh(Receipt),
    /// It was done; this is the resource it was done to.
    Again {
        resource: String,
        /// Until when that is known.
        expire_time: Timestamp,
    },
}

/// One of many things that a call asks for: what it is of, and until when it is known that it was done.
#[derive(Clone, Debug)]
pub struct Part {
    pub key: String,
    pub expire_time: Timestamp,
}

/// What stands for a part in place of the request's id, which has no slash: no other request is known under it.
pub fn part_id(request: &RequestId, key: &str) -> String {
    format!("{request}/{key}")
}

/// To be filed with the change that a request makes, so that both are there or neither.
pub struct Receipt(Option<(SeenRequest, Option<u64>)>);

impl Receipt {
    /// Until when it will be known; `None` where the caller gave no id.
    pub fn expire_time(&self) -> Option<Timestamp> {
        self.0.as_ref().map(|(record, _)| record.expire_time)
    }

    pub fn file(self, change: Change, resource: impl std::fmt::Display) -> Change {
        match self.0 {
            Some((mut record, seen)) => {
                record.resource = resource.to_string();
                change.put(&record, seen)
            }
            None => change,
        }
    }
}

/// Random bytes from the operating system's generator.
pub fn entropy<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| Error::internal("drawing random bytes", "the operating system gave none"))?;
    Ok(bytes)
}

/// A unique id: 16 hexadecimal characters.
pub fn unique_id() -> Result<String> {
    Ok(hex::encode(entropy::<8>()?.as_slice()))
}

/// An id that sorts by time, to the millisecond: `<prefix>20260131t235959123-0a1b2c3d`.
pub fn timed_id(prefix: &str, now: Timestamp) -> Result<String> {
    Ok(format!("{prefix}{}-{}", now.strftime("%Y%m%dt%H%M%S%3f"), hex::encode(entropy::<4>()?.as_slice())))
}

pub fn new_secret() -> Result<ClientSecret> {
    Ok(ClientSecret::from_entropy(&entropy()?))
}

/// Fails unless the version is the one that the caller saw, where the caller says.
pub fn check_version(seen: Option<u64>, version: u64, resource: impl std::fmt::Display) -> Result<()> {
    match seen {
        Some(seen) if seen != version => Err(Error::etag_mismatch(resource)),
        _ => Ok(()),
    }
}
