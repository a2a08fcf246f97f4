//! One fetch for all brokers: a token that one of them has fetched is taken from the shelf by the others.
//!
//! | what is on the shelf | what a broker does that needs a token |
//! | --- | --- |
//! | a token that its own rules call fresh | takes it |
//! | none, and nobody is fetching | takes the lease, fetches, puts the token there |
//! | none, and another one has the lease | looks again until the token is there, or the lease was given up or has lapsed and is its own |
//!
//! So of those who wait for a fetch that fails one fetches next, and not all of them. The shelf saves fetches and must never
//! cost a token: when it fails or does not answer in [`PATIENCE`], or the registry
//! does not say whether its token was revoked, and when the wait was [`limit`](Turns::limit) long, the
//! broker fetches by itself, without a lease. Two brokers that fetch at one time do no harm. What could not be put there is put there when the shelf answers
//! again. One that does not answer again and again is left alone for a while: see [`shelf_rest`](super::shelf_rest). The same
//! holds while there is no key (see [`token_keys`](super::token_keys)).
//!
//! A token of the shelf is believed as far as it opens, by the key, for this client, stamp, app client and scopes; and it
//! is used only if it is not revoked now. One that ages is used where the fetch of its successor fails: a broker that has
//! just started is then no worse off than one that has held it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Tokens;
use super::held::Stamp;
use super::token_key::{Purpose, TokenKey};
use crate::broker::ports::{Fault, Peer, PortError, PortResult, SeenItem, ShelfItem, TokenPlace};
use crate::broker::world::SharedTokens;
use crate::domain::client::Client;
use crate::domain::error::Result;
use crate::domain::lease::{Lease, LeaseTerms};
use crate::domain::revocation::RevokedToken;
use crate::domain::scope::ScopeSet;
use crate::domain::token::{AccessToken, Freshness};

/// How long one call of the shelf may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a lease lasts longer than a fetch: for the second of a revocation that it waits out, and for putting the token there.
const MARGIN: Duration = Duration::from_secs(2);
/// How long is waited beyond a lease that has lapsed, for the fetch of whoever took it over.
const OVERTIME: Duration = Duration::from_secs(4);
/// Between two looks: from the first to the last, doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(400);
/// What is there of nobody's but a lease goes so long after it.
const LEASE_KEPT: Duration = Duration::from_secs(3_600);
/// So often a write is made again because somebody else was faster.
const ATTEMPTS: usize = 4;
/// So many tokens wait for the shelf to answer again.
const MAX_UNSHARED: usize = 1_000;

/// A token that is wanted.
struct Wanted<'a> {
    client: &'a Client,
    scopes: &'a ScopeSet,
    min_remaining: Duration,
    purpose: Arc<Purpose>,
}

/// What comes of a fetch.
pub(super) struct Fetched {
    pub result: Result<Arc<AccessToken>>,
    /// Where the fetch has failed: a token of another broker that ages and is good.
    pub spare: Option<Arc<AccessToken>>,
}

/// What comes of looking at the shelf.
enum Turn {
    Found(Arc<AccessToken>),
    /// It is this broker's turn to fetch.
    Fetch(Option<Taken>),
}

/// A lease that this broker has, and the item that it is in.
struct Taken {
    lease: Lease,
    seen: SeenItem,
}

/// Tokens that were fetched while the shelf did not answer.
#[derive(Default)]
pub(super) struct Unshared(Mutex<HashMap<TokenPlace, Waiting>>);

type Waiting = (Arc<Purpose>, Arc<AccessToken>);

/// How leases on fetches are, by how long a fetch may take.
struct Turns(LeaseTerms);

impl Turns {
    fn of(fetch_timeout: Duration) -> Self {
        Turns(LeaseTerms { duration: fetch_timeout + MARGIN, ..LeaseTerms::default() })
    }

    /// The longest that a broker waits for another's fetch.
    fn limit(&self) -> Duration {
        self.0.duration + OVERTIME
    }
}

impl Tokens {
    /// The one fetch of all brokers, where they share tokens, or what came of it at another.
    pub(super) async fn fetch_for_all(
        self: &Arc<Self>,
        client: &Client,
        stamp: &Stamp,
        scopes: &ScopeSet,
        min_remaining: Duration,
    ) -> Fetched {
        let Some(shared) = self.world.shared.as_ref().and_then(|shared| shared.tokens.clone()) else {
            return Fetched { result: self.fetch_once(client, scopes, stamp.not_before).await, spare: None };
        };
        let purpose = Arc::new(Purpose::new(client, stamp, scopes));
        let wanted = Wanted { client, scopes, min_remaining, purpose: purpose.clone() };
        let mut spare = None;
        let taken = match self.turn(&shared, &wanted, &mut spare).await {
            Turn::Found(token) => {
                self.world.counting.shared.add(1);
                return Fetched { result: Ok(token), spare: None };
            }
            Turn::Fetch(taken) => taken,
        };
        let result = self.fetch_once(client, scopes, stamp.not_before).await;
        // Whoever waits here need not wait for that.
        let (this, token) = (self.clone(), result.as_ref().ok().cloned());
        self.background.spawn(async move {
            match (token, taken) {
                (Some(token), taken) => this.share(&shared, purpose, token, taken).await,
                (None, Some(taken)) => this.give_up(&shared, &purpose, taken).await,
                (None, None) => {}
            }
        });
        let spare = match spare.filter(|_| result.is_err()) {
            Some(token) if matches!(self.is_good(&token, min_remaining).await, Ok(true)) => Some(token),
            Some(_) | None => None,
        };
        Fetched { result, spare }
    }

    /// Looks until there is a token, or it is this broker's turn. `spare` gets what is there and ages.
    async fn turn(
        self: &Arc<Self>,
        shared: &SharedTokens,
        wanted: &Wanted<'_>,
        spare: &mut Option<Arc<AccessToken>>,
    ) -> Turn {
        let turns = Turns::of(self.world.settings.tokens.fetch_timeout);
        let deadline = self.world.now() + turns.limit();
        let mut awaited: Option<(Lease, Timestamp)> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(key) = shared.keys.current() else { return Turn::Fetch(None) };
            let seen = match self.in_time(shared.shelf.look(&wanted.purpose.place)).await {
                Ok(seen) => seen,
                Err(error) => return self.without_shelf(wanted.client, &error),
            };
            self.share_late(shared);
            *spare = opened(&key, wanted, seen.as_ref(), spare.take());
            if let Some(token) = spare
                && token.freshness(self.world.now(), &wanted.client.uid) == Freshness::Fresh
            {
                match self.is_good(token, wanted.min_remaining).await {
                    Ok(true) => return Turn::Found(token.clone()),
                    Ok(false) => {}
                    Err(error) => return self.without_shelf(wanted.client, &error),
                }
            }
            let now = self.world.now();
            let lease = seen.as_ref().and_then(|seen| seen.item.lease.clone());
            let under_way = lease.clone().filter(|lease| !lease.is_given_up());
            if now >= deadline {
                let client = &wanted.client.name;
                tracing::info!(%client, "a token is fetched without a lease, since the fetches of others take too long");
                return Turn::Fetch(None);
            }
            awaited = under_way.map(|lease| match awaited.take() {
                Some((known, since)) if known.is_same(&lease) => (lease, since),
                _ => (lease, now),
            });
            // Whoever has watched a lease for as long as it lasts need not ask by whose clock it has lapsed.
            let end = awaited.as_ref().map(|(lease, since)| turns.0.lapse_time(lease).min(*since + turns.0.duration));
            let is_over = end.is_some_and(|end| now >= end);
            let before = lease.as_ref().map(|lease| if is_over { lease.given_up() } else { lease.clone() });
            if let Some(own) = turns.0.take(before.as_ref(), &self.world.broker, now) {
                match self.take(shared, wanted, seen, own, &turns).await {
                    Ok(taken) => {
                        if let Some(lapsed) = lease.filter(|lease| !lease.is_given_up()) {
                            let Lease { holder, expire_time, .. } = lapsed;
                            let client = &wanted.client.name;
                            tracing::info!(%client, %holder, %expire_time, "a lease on a fetch that was not given up is taken over");
                        }
                        return Turn::Fetch(Some(taken));
                    }
                    Err(error) if error.is(Fault::Conflict) => {}
                    Err(error) => return self.without_shelf(wanted.client, &error),
                }
            }
            let next = [Some(now + pause), end.filter(|end| now < *end), Some(deadline)].into_iter().flatten().min();
            self.world.clock.sleep_until(next.unwrap_or(deadline)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Whether a token of the shelf may be served: it lasts long enough and is not revoked. Fails where that cannot be told.
    async fn is_good(&self, token: &AccessToken, min_remaining: Duration) -> PortResult<bool> {
        let now = self.world.now();
        if now >= token.expire_time || token.remaining(now) < min_remaining {
            return Ok(false);
        }
        let Some(token_id) = &token.token_id else { return Ok(true) };
        // Asked of the registry itself: what this broker remembers may be of before another one revoked it.
        let revoked = self.world.records.get::<RevokedToken>(token_id.as_str());
        let untold = |detail| PortError::new(Peer::Registry, Fault::Unavailable, "ask whether it was revoked", detail);
        match self.within_patience(revoked).await {
            Some(Ok(revoked)) => Ok(revoked.is_none()),
            Some(Err(error)) => Err(untold(error.to_string())),
            None => Err(untold(format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn take(
        &self,
        shared: &SharedTokens,
        wanted: &Wanted<'_>,
        seen: Option<SeenItem>,
        lease: Lease,
        turns: &Turns,
    ) -> PortResult<Taken> {
        let lapsed = turns.0.lapse_time(&lease) + LEASE_KEPT;
        let (version, before) = seen.map_or((None, None), |seen| (Some(seen.version), Some(seen.item)));
        let keep_until = before.as_ref().map_or(lapsed, |before| before.keep_until.max(lapsed));
        let sealed = before.and_then(|before| before.sealed);
        let item = ShelfItem { sealed, lease: Some(lease.clone()), keep_until };
        self.in_time(shared.shelf.put(&wanted.purpose.place, version, &item)).await?;
        Ok(Taken { lease, seen: SeenItem { item, version: version.unwrap_or(0) + 1 } })
    }

    /// Puts a token onto the shelf, or remembers that it is to be put there.
    async fn share(&self, shared: &SharedTokens, purpose: Arc<Purpose>, token: Arc<AccessToken>, taken: Option<Taken>) {
        if let Err(error) = self.try_share(shared, &purpose, &token, taken).await {
            tracing::debug!(client = %purpose.place.client, %error, "a token could not be shared yet");
            self.unshared.add(purpose, token);
        }
    }

    async fn try_share(
        &self,
        shared: &SharedTokens,
        purpose: &Purpose,
        token: &AccessToken,
        mut taken: Option<Taken>,
    ) -> PortResult<()> {
        let failed = |fault, detail| PortError::new(Peer::Registry, fault, "share a token", detail);
        let broken = |_| failed(Fault::Broken, "it cannot be sealed");
        let key = shared.keys.current().ok_or_else(|| failed(Fault::Unavailable, "there is no key yet"))?;
        for _ in 0..ATTEMPTS {
            let (version, lease) = match taken.take() {
                Some(taken) => (Some(taken.seen.version), Some(taken.lease.given_up())),
                None => {
                    let seen = self.in_time(shared.shelf.look(&purpose.place)).await?;
                    let there = seen.as_ref().and_then(|seen| key.open(purpose, seen.item.sealed.as_ref()?));
                    if there.is_some_and(|there| there.expire_time >= token.expire_time) {
                        return Ok(());
                    }
                    // Somebody else's is theirs.
                    seen.map_or((None, None), |seen| (Some(seen.version), seen.item.lease))
                }
            };
            let sealed = Some(key.seal(purpose, token).map_err(broken)?);
            let item = ShelfItem { sealed, lease, keep_until: token.expire_time };
            match self.in_time(shared.shelf.put(&purpose.place, version, &item)).await {
                Err(error) if error.is(Fault::Conflict) => {}
                put => return put,
            }
        }
        // Whoever was faster each time has put one there.
        Ok(())
    }

    /// So that nobody waits for a fetch that has failed. If this does not come through, the lease lapses.
    async fn give_up(&self, shared: &SharedTokens, purpose: &Purpose, taken: Taken) {
        let item = ShelfItem { lease: Some(taken.lease.given_up()), ..taken.seen.item };
        let _ = self.in_time(shared.shelf.put(&purpose.place, Some(taken.seen.version), &item)).await;
    }

    /// The shelf answers: what was fetched without it goes there now.
    fn share_late(self: &Arc<Self>, shared: &SharedTokens) {
        for (purpose, token) in self.unshared.take(self.world.now()) {
            let (this, shared) = (self.clone(), shared.clone());
            self.background.spawn(async move { this.share(&shared, purpose, token, None).await });
        }
    }

    /// Asks the shelf, unless it rests.
    async fn in_time<T>(&self, call: impl Future<Output = PortResult<T>>) -> PortResult<T> {
        let failed = |detail| PortError::new(Peer::Registry, Fault::Unavailable, "ask for a shared token", detail);
        if !self.shelf_rest.is_over(self.world.now()) {
            return Err(failed("it did not answer before".to_owned()));
        }
        let no_answer = || Err(failed(format!("no answer within {PATIENCE:?}")));
        let answer = self.within_patience(call).await.unwrap_or_else(no_answer);
        let has_answered = answer.as_ref().err().is_none_or(|error| error.is(Fault::Conflict));
        if self.shelf_rest.note(has_answered, self.world.now()) {
            tracing::warn!("shared tokens are not to be had again and again: all but a few go without asking for them");
        }
        answer
    }

    fn without_shelf(&self, client: &Client, error: &PortError) -> Turn {
        let message = "a token is fetched without asking the other brokers";
        match self.shelf_rest.is_resting() {
            // That was said once.
            true => tracing::debug!(client = %client.name, %error, "{message}"),
            false => tracing::warn!(client = %client.name, %error, "{message}"),
        }
        Turn::Fetch(None)
    }

    /// What comes within [`PATIENCE`], by the broker's clock.
    async fn within_patience<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let deadline = self.world.now() + PATIENCE;
        tokio::select! {
            biased;
            answer = call => Some(answer),
            () = self.world.clock.sleep_until(deadline) => None,
        }
    }
}

/// The token that is there, if it opens and has all scopes. `known` is the one of the last look, which is most often the
/// same.
fn opened(
    key: &TokenKey,
    wanted: &Wanted<'_>,
    seen: Option<&SeenItem>,
    known: Option<Arc<AccessToken>>,
) -> Option<Arc<AccessToken>> {
    let sealed = seen?.item.sealed.as_ref().filter(|sealed| sealed.key_id == key.id())?;
    let Some(mut token) = key.open(&wanted.purpose, sealed) else {
        tracing::warn!(client = %wanted.client.name, "a shared token does not open and is not used");
        return None;
    };
    if wanted.scopes.first_missing_in(&token.scopes).is_some() {
        return None;
    }
    if token.scopes == *wanted.scopes {
        token.scopes = wanted.scopes.clone();
    }
    Some(known.filter(|known| known.expose() == token.expose()).unwrap_or_else(|| Arc::new(token)))
}

impl Unshared {
    fn add(&self, purpose: Arc<Purpose>, token: Arc<AccessToken>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What finds no room is shared the next time that it is fetched.
        if waiting.len() < MAX_UNSHARED {
            waiting.insert(purpose.place.clone(), (purpose, token));
        }
    }

    /// All of them that have not expired.
    fn take(&self, now: Timestamp) -> Vec<Waiting> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut *waiting);
        waiting.into_values().filter(|(_, token)| now < token.expire_time).collect()
    }
}
