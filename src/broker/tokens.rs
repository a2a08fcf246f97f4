//! Access tokens: fetched once, served to everybody, always fresh.
//!
//! For each client a bounded number of scope sets is held, for each of them one token and at most one fetch.
//!
//! | the token held is | what the caller gets | what else happens |
//! | --- | --- | --- |
//! | fresh | it | nothing |
//! | ageing (past 70 to 75 % of its life, by hash) | it | one fetch in the background |
//! | expired, revoked, missing, or lasts too short | the result of one fetch, shared by all who wait | |
//!
//! A failed fetch never evicts a token that is still valid, and is not repeated before a short wait. Whether the client
//! may have a token at all is asked before a token is given, and asked again after a wait for one. What is held belongs
//! to a [`Stamp`]: other scopes, or tokens that were revoked, make another stamp and an empty shelf. An app client that is
//! replaced does not: its tokens stay good, and what is fetched next is the new one's.
//!
//! Where brokers share their tokens, a fetch looks first at what the others have: [`sharing`](sharing).

mod fair_places;
mod held;
mod leaving;
mod sharing;
mod shelf_rest;
pub(super) mod token_key;
pub(super) mod token_keys;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::background::Background;
use super::basis::Basis;
use super::flights::{Flight, Flights};
use super::ports::{Fault, PortError, SecretDocument, Wanted};
use super::records::shelves::client_key;
use super::records::{IssuerPool, Versioned};
use super::world::World;
use crate::domain::client::Client;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{AppClientId, ClientName};
use crate::domain::pool::MadePool;
use crate::domain::revocation::RevokedToken;
use crate::domain::scope::ScopeSet;
use crate::domain::tenant::Tenant;
use crate::domain::token::{AccessToken, Freshness};
use fair_places::FairPlaces;
use held::{Held, Stamp};
use sharing::Unshared;
use shelf_rest::ShelfRest;

pub struct Tokens {
    pub(super) world: Arc<World>,
    held: moka::sync::Cache<ClientName, Arc<Held>>,
    fetching: FairPlaces,
    unshared: Unshared,
    shelf_rest: ShelfRest,
    background: Background,
}

/// How often a caller's wait for a fetch may be overtaken by a change of what it may have.
const MAX_OVERTAKEN: usize = 4;

/// Who may have a token now, and for which scopes.
struct Admission {
    client: Arc<Versioned<Client>>,
    pub scopes: ScopeSet,
    stamp: Stamp,
}

impl Tokens {
    pub fn new(world: Arc<World>, background: Background) -> Self {
        let settings = &world.settings.tokens;
        Tokens {
            held: moka::sync::Cache::new(settings.max_cached),
            fetching: FairPlaces::new(settings.max_concurrent_fetches),
            unshared: Unshared::default(),
            shelf_rest: ShelfRest::default(),
            world,
            background,
        }
    }

    /// A token for these scopes (all of the client's, if there are none) that lasts `min_remaining` or longer.
    ///
    /// Fails with INVALID_ARGUMENT for a scope that the client does not have, or a `min_remaining` of more than half of
    /// its tokens' validity; FAILED_PRECONDITION while tenant or client are not active; RESOURCE_EXHAUSTED for one scope
    /// set too many; UNAVAILABLE when no token is held and none can be fetched.
    pub async fn get(
        self: &Arc<Self>,
        name: &ClientName,
        scopes: &ScopeSet,
        min_remaining: Duration,
    ) -> Result<Arc<AccessToken>> {
        self.get_waiting(name, scopes, min_remaining, &mut Basis::default(), &mut false).await
    }

    /// Like [`get`](Self::get), for an answer that is handed out, and may be given again: it is counted, and `basis` gets
    /// what it stands on.
    pub async fn get_for(
        self: &Arc<Self>,
        name: &ClientName,
        scopes: &ScopeSet,
        min_remaining: Duration,
        basis: &mut Basis,
    ) -> Result<Arc<AccessToken>> {
        let mut waited = false;
        let token = self.get_waiting(name, scopes, min_remaining, basis, &mut waited).await?;
        match waited {
            false => self.world.counting.hit(),
            true => self.world.counting.misses.add(1),
        }
        Ok(token)
    }

    /// `waited` says afterwards whether a fetch was waited for.
    async fn get_waiting(
        self: &Arc<Self>,
        name: &ClientName,
        scopes: &ScopeSet,
        min_remaining: Duration,
        basis: &mut Basis,
        waited: &mut bool,
    ) -> Result<Arc<AccessToken>> {
        for _ in 0..=MAX_OVERTAKEN {
            if let Some(token) = self.try_get(name, scopes, min_remaining, basis, waited).await? {
                return Ok(token);
            }
        }
        let message = format!("changes of {name} keep overtaking its token");
        Err(Error::unavailable(Reason::UpstreamUnavailable, message, Duration::from_secs(1)))
    }

    /// `None` when a change came while we waited, and the answer would be that to another question.
    async fn try_get(
        self: &Arc<Self>,
        name: &ClientName,
        scopes: &ScopeSet,
        min_remaining: Duration,
        basis: &mut Basis,
        waited: &mut bool,
    ) -> Result<Option<Arc<AccessToken>>> {
        let admission = self.admit(name, scopes, basis).await?;
        if min_remaining > admission.client.access_token_validity / 2 {
            let rule = "must be at most half of the client's access token validity";
            return Err(Error::invalid("min_remaining", rule));
        }
        let held = self.held(&admission);
        let now = self.world.now();
        if let Some(token) = self.serve(&held, &admission, now, min_remaining, basis).await? {
            return Ok(Some(token));
        }
        *waited = true;
        let fetched = self.fetch(&held, &admission, min_remaining)?.await;
        // A suspension or a deletion may have come while we waited; other scopes or a revocation may have, too.
        basis.never_again();
        if self.admit(name, scopes, basis).await?.stamp != admission.stamp {
            return Ok(None);
        }
        let token = fetched?;
        Ok((token.remaining(self.world.now()) >= min_remaining).then_some(token))
    }

    /// The token held, if it may be served; sees to its successor when it ages.
    async fn serve(
        self: &Arc<Self>,
        held: &Arc<Held>,
        admission: &Admission,
        now: Timestamp,
        min_remaining: Duration,
        basis: &mut Basis,
    ) -> Result<Option<Arc<AccessToken>>> {
        let slot = held.slot(&admission.scopes);
        let Some(token) = slot.token.filter(|token| token.remaining(now) >= min_remaining) else {
            return Ok(None);
        };
        if let Some(token_id) = &token.token_id {
            self.world.records.note::<RevokedToken>(token_id.as_str(), basis);
        }
        let revocations = self.world.records.revocation_count();
        if slot.checked_at != revocations {
            if self.is_revoked(&token).await? {
                held.drop_token(&admission.scopes, &token);
                return Ok(None);
            }
            held.checked(&admission.scopes, &token, revocations);
        }
        match token.freshness(now, &admission.client.uid) {
            Freshness::Fresh => {
                basis.until(Tokens::renewal_time(admission, &token, min_remaining));
                Ok(Some(token))
            }
            Freshness::Ageing => {
                basis.never_again();
                // Refused while the last failure is too recent; the token is good either way.
                let _ = self.fetch(held, admission, Duration::ZERO);
                Ok(Some(token))
            }
            Freshness::Expired => Ok(None),
        }
    }

    /// Joins or starts the one fetch for these scopes, for whoever found no fresh token that lasts `min_remaining`.
    fn fetch(
        self: &Arc<Self>,
        held: &Arc<Held>,
        admission: &Admission,
        min_remaining: Duration,
    ) -> Result<Flight<Arc<AccessToken>>> {
        let now = self.world.now();
        let scopes = admission.client.scopes.share(&admission.scopes);
        if !held.flights.is_under_way(&scopes) {
            if let Some((until, error)) = held.slot(&scopes).failure.filter(|(until, _)| now < *until) {
                let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                return Err(error.retry_after(wait));
            }
            held.make_room(&scopes, now, self.world.settings.tokens.max_scope_sets_per_client)?;
        }
        let (this, shelf, client) = (self.clone(), held.clone(), admission.client.clone());
        let stamp = admission.stamp.clone();
        Ok(held.flights.join(scopes.clone(), move || async move {
            // Another flight may have landed since it was looked what is held.
            let now = this.world.now();
            let is_fresh = |token: &Arc<AccessToken>| token.freshness(now, &client.uid) == Freshness::Fresh;
            let landed = shelf.slot(&scopes).token.filter(is_fresh);
            if let Some(token) = landed.filter(|token| token.remaining(now) >= min_remaining) {
                return Ok(token);
            }
            let fetched = this.fetch_for_all(&client, &stamp, &scopes, min_remaining).await;
            let retry_time = this.world.now() + this.world.settings.tokens.retry_after_failure;
            let held_until = shelf.slot(&scopes).token.map(|token| token.expire_time);
            let Some(spare) = fetched.spare.filter(|spare| Some(spare.expire_time) > held_until) else {
                shelf.keep(&scopes, &fetched.result, retry_time);
                if let Ok(token) = &fetched.result
                    && token.remaining(this.world.now()) < min_remaining
                {
                    // Cognito has another validity than the client's record, and the next would be no better.
                    shelf.keep(&scopes, &Err(too_short(&client.name)), retry_time);
                }
                return fetched.result;
            };
            // A failure leaves it as it is.
            shelf.keep(&scopes, &Ok(spare.clone()), retry_time);
            shelf.keep(&scopes, &fetched.result, retry_time);
            Ok(spare)
        }))
    }

    /// Fetches, whatever other brokers do. No longer than `fetch_timeout`, and a second after a revocation.
    async fn fetch_once(
        &self,
        client: &Client,
        scopes: &ScopeSet,
        not_before: Option<Timestamp>,
    ) -> Result<Arc<AccessToken>> {
        let limit = self.world.settings.tokens.fetch_timeout;
        // A token's `iat` counts whole seconds: one fetched in the second of a revocation could not be told from one
        // that is revoked. So wait for the next second.
        if let Some(not_before) = not_before {
            self.world.clock.sleep_until(not_before).await;
        }
        let fetch = async {
            let _place = self.fetching.take(&client.name.tenant).await?;
            self.ask_endpoint(client, scopes).await
        };
        let mut token = tokio::time::timeout(limit, fetch).await.unwrap_or_else(|_| {
            let message = "the token endpoint did not answer in time";
            Err(Error::unavailable(Reason::UpstreamUnavailable, message, Duration::from_secs(1)))
        })?;
        if let Some(scope) = scopes.first_missing_in(&token.scopes) {
            let message = format!("the token endpoint did not grant {scope}");
            return Err(Error::new(Reason::ScopeNotGranted, message).about(&client.name));
        }
        if not_before.is_some_and(|not_before| token.issue_time < not_before) {
            let message = "the token endpoint's clock is behind the last revocation";
            return Err(Error::unavailable(Reason::UpstreamUnavailable, message, Duration::from_secs(1)));
        }
        if token.scopes == *scopes {
            token.scopes = scopes.clone();
        }
        self.world.counting.fetched_for(&client.name.tenant);
        Ok(Arc::new(token))
    }

    /// Fetches with the current secret; if that is refused, looks once whether it was rotated meanwhile.
    async fn ask_endpoint(&self, client: &Client, scopes: &ScopeSet) -> Result<AccessToken> {
        let mut tried = None;
        loop {
            let read = self.world.vault.read(&client.secret_name, Wanted::Current).await?;
            let document = read.ok_or_else(|| Error::internal("reading a current secret", "the vault has none"))?;
            if tried.as_ref() == Some(&document) {
                let message = format!("the token endpoint refuses the secret of {}", client.name);
                return Err(Error::new(Reason::SecretRejected, message).about(&client.name));
            }
            let (pool, app_client) = self.whereabouts(client, &document).await?;
            match self.world.token_endpoint.fetch(&pool, &app_client, &document.client_secret, scopes).await {
                Err(error) if error.is(Fault::InvalidClient) && tried.is_none() => tried = Some(document),
                Err(error) if error.is(Fault::Refused) => return Err(refused(client, error)),
                fetched => return Ok(fetched?),
            }
        }
    }

    /// What the document says, since it changes as one; the client's record follows a moment later.
    async fn whereabouts(&self, client: &Client, document: &SecretDocument) -> Result<(MadePool, AppClientId)> {
        let issuer = self.world.records.view::<IssuerPool>(&document.issuer).await?;
        let pool = issuer.map_or_else(|| client.pool.clone(), |issuer| issuer.pool.clone());
        let app_client = document.client_id.clone().or_else(|| client.app_client.clone());
        match (self.world.made(&pool).await?, app_client) {
            (Some(pool), Some(app_client)) => Ok((pool, app_client)),
            _ => Err(Error::internal("looking up an active client's pool", "it has none")),
        }
    }

    async fn is_revoked(&self, token: &AccessToken) -> Result<bool> {
        match &token.token_id {
            Some(token_id) if self.world.may_be_revoked(token_id, &self.background) => {
                Ok(self.world.records.view::<RevokedToken>(token_id.as_str()).await?.is_some())
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Whether the client may have a token with these scopes now.
    async fn admit(&self, name: &ClientName, scopes: &ScopeSet, basis: &mut Basis) -> Result<Admission> {
        self.world.may_hand_out()?;
        let tenant = self.world.records.view_for::<Tenant>(name.tenant.as_str(), basis).await?;
        let client = self.world.records.view_for::<Client>(&client_key(name), basis).await?;
        let (Some(tenant), Some(client)) = (tenant, client) else {
            return Err(Error::not_found(name));
        };
        client.check_machine()?;
        tenant.check_active()?;
        client.check_active()?;
        let scopes = if scopes.is_empty() { client.scopes.clone() } else { scopes.clone() };
        if let Some(scope) = scopes.iter().find(|scope| !client.scopes.contains(scope)) {
            let rule = format!("{scope} is not a scope of {name}");
            return Err(Error::invalid_because(Reason::ScopeNotAllowed, "scopes", rule));
        }
        let not_before = tenant.revoked_before.max(client.revoked_before).map(next_second);
        let stamp = Stamp {
            client_uid: client.uid.clone(),
            epoch: client.token_epoch,
            scopes_version: client.scopes_version,
            not_before,
        };
        Ok(Admission { stamp, client, scopes })
    }

    /// The client's shelf, a new one if what the old one holds may not be served any more.
    fn held(&self, admission: &Admission) -> Arc<Held> {
        let name = &admission.client.name;
        let make = || {
            let flights = Flights::new(self.background.clone());
            Arc::new(Held::new(admission.stamp.clone(), flights))
        };
        // Found without the entry's lock in the common case.
        match self.held.get(name) {
            Some(held) if held.stamp == admission.stamp => held,
            _ => {
                let outdated = |held: &Arc<Held>| held.stamp != admission.stamp;
                self.held.entry_by_ref(name).or_insert_with_if(make, outdated).into_value()
            }
        }
    }

    /// When the successor of a token should be there.
    fn renewal_time(admission: &Admission, token: &AccessToken, min_remaining: Duration) -> Timestamp {
        let ages = token.ages_at(&admission.client.uid);
        token.expire_time.checked_sub(min_remaining).map_or(ages, |latest| ages.min(latest))
    }
}

fn too_short(client: &ClientName) -> Error {
    let message = format!("a new token of {client} is valid for less than min_remaining");
    Error::unavailable(Reason::UpstreamUnavailable, message, Duration::from_secs(1))
}

/// The token endpoint knows the client and grants nothing of what was asked for.
fn refused(client: &Client, error: PortError) -> Error {
    if !client.applied {
        let message = format!("the scopes of {} are not in force yet", client.name);
        return Error::unavailable(Reason::UpstreamUnavailable, message, Duration::from_secs(1)).caused_by(error);
    }
    let message = "the token endpoint grants none of the scopes that were asked for";
    Error::new(Reason::ScopeNotGranted, message).about(&client.name).caused_by(error)
}

/// The next whole second, or this moment if it is one.
fn next_second(time: Timestamp) -> Timestamp {
    match time.subsec_nanosecond() {
        0 => time,
        _ => Timestamp::from_second(time.as_second() + 1).unwrap_or(time),
    }
}
