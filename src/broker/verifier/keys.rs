//! Public keys of issuers, parsed once, kept by issuer and `kid`.
//!
//! An unknown `kid` asks the issuer again, but not more often than a floor between fetches allows, so that made-up
//! `kid`s cost an issuer nothing. A failed fetch leaves the keys as they are. Nobody can tell then whether a `kid` that is
//! not among them was published meanwhile: whoever asks for it is not told that it is unknown, but to ask again, and the
//! next fetch comes as soon as they do. A successful one replaces the keys: a key that the issuer has withdrawn verifies
//! nothing any more.
//!
//! A key is for RS256 and nothing else, whatever a token says of itself.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::broker::api::PublishedKeys;
use crate::broker::background::Background;
use crate::broker::basis::Basis;
use crate::broker::flights::Flights;
use crate::broker::ports::PublicKey;
use crate::broker::world::World;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::Issuer;
use crate::domain::pool::MadePool;
use crate::domain::trust::{KeySet, TrustedKeys};
use crate::domain::verifying_key::{MAX_KEYS, VerifyingKey};

/// Issuers whose keys are held in memory. A pool per tenant means an issuer per tenant.
const MAX_ISSUERS: u64 = 20_000;
/// From a failed fetch to the next for a `kid` that is not known, and what callers are told to wait.
const RETRY: Duration = Duration::from_secs(1);

pub struct Keys {
    world: Arc<World>,
    known: moka::sync::Cache<Issuer, Arc<IssuerKeys>>,
    fetches: Flights<Issuer, Arc<IssuerKeys>>,
}

pub struct IssuerKeys {
    keys: KeySet,
    /// When they were fetched, or last tried to be.
    tried_time: Timestamp,
    fetched_time: Option<Timestamp>,
    /// Whether the last fetch did, so that there may be others by now.
    has_failed: bool,
}

impl Keys {
    pub fn new(world: Arc<World>, background: Background) -> Self {
        Keys { world, known: moka::sync::Cache::new(MAX_ISSUERS), fetches: Flights::new(background) }
    }

    /// The issuer's keys with `kid` among them, if the issuer publishes it.
    ///
    /// Fails with UNAVAILABLE when `kid` is not among them and they could not be read when that was tried last, or never:
    /// nobody can tell then.
    pub async fn of(self: &Arc<Self>, pool: &MadePool, kid: &str, basis: &mut Basis) -> Result<Arc<IssuerKeys>> {
        self.world.records.note_keys(&pool.issuer, basis);
        let (now, settings) = (self.world.now(), &self.world.settings.verification);
        let known = self.known.get(&pool.issuer);
        if let Some(known) = &known {
            let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let floor = settings.key_refetch_floor;
            let may_ask = |floor: Duration| age(known.tried_time) >= floor;
            // Then somebody has to look again.
            let is_old = known.fetched_time.map_or(now, |time| time + settings.key_max_age);
            basis.until(is_old.max(known.tried_time + floor));
            if known.keys.contains_key(kid) {
                if may_ask(floor) && known.fetched_time.is_some_and(|time| age(time) >= settings.key_max_age) {
                    drop(self.fetch(pool, Some(known.clone())));
                }
                return Ok(known.clone());
            }
            if !may_ask(if known.has_failed { RETRY } else { floor }) {
                return known.or_unavailable(kid);
            }
        }
        self.fetch(pool, known).await?.or_unavailable(kid)
    }

    /// The issuer's keys, read anew where they are older than they may be, or could not be read last. For whoever passes them on
    /// without a token to verify.
    ///
    /// Fails only where the reading itself is broken; keys that cannot be read are told by [`TrustedKeys::are_read`].
    pub async fn all_of(self: &Arc<Self>, pool: &MadePool) -> Result<Arc<IssuerKeys>> {
        let (now, max_age) = (self.world.now(), self.world.settings.verification.key_max_age);
        let known = self.known.get(&pool.issuer);
        if let Some(known) = &known {
            let age = Duration::try_from(now.duration_since(known.tried_time)).unwrap_or_default();
            if age < if known.has_failed { RETRY } else { max_age } {
                return Ok(known.clone());
            }
        }
        self.fetch(pool, known).await
    }

    /// The issuer's keys as they were read last; none, and not read, where that was never done.
    pub fn known(&self, issuer: &Issuer) -> TrustedKeys {
        let none = || TrustedKeys { keys: KeySet::default(), are_read: false };
        self.known.get(issuer).map_or_else(none, |known| known.trusted())
    }

    /// All keys that the issuer publishes, for passing them on, and how long that is so as far as anybody may believe. From
    /// half of `key_max_age` on they are fetched anew meanwhile, so that an issuer that cannot be read is noticed late.
    ///
    /// Fails with UNAVAILABLE where none were read for `key_max_age`: whoever passes on older ones could bring back one that
    /// was withdrawn.
    pub async fn published(self: &Arc<Self>, pool: &MadePool) -> Result<PublishedKeys> {
        let (now, settings) = (self.world.now(), &self.world.settings.verification);
        let since = |time: Timestamp| Duration::try_from(now.duration_since(time)).unwrap_or_default();
        let left = |keys: &IssuerKeys| {
            let age = since(keys.fetched_time?);
            settings.key_max_age.checked_sub(age).filter(|left| !left.is_zero())
        };
        let mut known = self.known.get(&pool.issuer);
        let floor = |keys: &IssuerKeys| if keys.has_failed { RETRY } else { settings.key_refetch_floor };
        let may_ask = known.as_ref().is_none_or(|keys| since(keys.tried_time) >= floor(keys));
        let remaining = known.as_deref().and_then(left);
        if may_ask && remaining.is_none_or(|left| left < settings.key_max_age / 2) {
            let fetch = self.fetch(pool, known.clone());
            if remaining.is_none() {
                known = Some(fetch.await?);
            }
        }
        let Some((keys, left)) = known.and_then(|keys| left(&keys).map(|left| (keys, left))) else {
            return Err(Error::unavailable(Reason::KeysUnavailable, "the issuer's keys cannot be read", RETRY));
        };
        let mut keys: Vec<PublicKey> = keys.keys.iter().map(|(kid, key)| published(kid, key)).collect();
        keys.sort_by(|one, other| one.kid.cmp(&other.kid));
        Ok(PublishedKeys { keys, good_for: left })
    }

    /// When they were read last, of at most `most` issuers.
    pub fn read_times(&self, most: usize) -> Vec<Timestamp> {
        self.known.iter().take(most).filter_map(|(_, keys)| keys.fetched_time).collect()
    }

    fn fetch(
        self: &Arc<Self>,
        pool: &MadePool,
        known: Option<Arc<IssuerKeys>>,
    ) -> crate::broker::flights::Flight<Arc<IssuerKeys>> {
        let (this, pool) = (self.clone(), pool.clone());
        self.fetches.join(pool.issuer.clone(), move || async move {
            let tried_time = this.world.now();
            let keys = match this.world.key_source.keys(&pool).await {
                Ok(published) => {
                    let keys = published.iter().take(MAX_KEYS).filter_map(parse).collect();
                    IssuerKeys { keys: Arc::new(keys), tried_time, fetched_time: Some(tried_time), has_failed: false }
                }
                Err(error) => {
                    tracing::warn!(issuer = %pool.issuer, %error, "an issuer's keys cannot be read");
                    let (keys, fetched_time) =
                        known.map(|known| (known.keys.clone(), known.fetched_time)).unwrap_or_default();
                    IssuerKeys { keys, tried_time, fetched_time, has_failed: true }
                }
            };
            let keys = Arc::new(keys);
            let before = this.known.get(&pool.issuer);
            this.known.insert(pool.issuer.clone(), keys.clone());
            this.world.records.keys_changed(&pool.issuer);
            if before.is_none_or(|before| before.has_failed != keys.has_failed || before.keys != keys.keys) {
                this.world.records.trust_log.note_keys(&pool.issuer);
            }
            Ok(keys)
        })
    }
}

impl IssuerKeys {
    pub fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// All of them, for those who verify by themselves.
    pub fn trusted(&self) -> TrustedKeys {
        TrustedKeys { keys: self.keys.clone(), are_read: !self.has_failed }
    }

    /// These keys, unless nobody can tell whether `kid` is one of the issuer's.
    fn or_unavailable(self: &Arc<Self>, kid: &str) -> Result<Arc<IssuerKeys>> {
        if self.has_failed && !self.keys.contains_key(kid) {
            let message = "the issuer's keys cannot be read";
            return Err(Error::unavailable(Reason::KeysUnavailable, message, RETRY));
        }
        Ok(self.clone())
    }
}

fn published(kid: &str, key: &VerifyingKey) -> PublicKey {
    let encoded = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
    PublicKey { kid: kid.to_owned(), modulus: encoded(key.modulus()), exponent: encoded(key.exponent()) }
}

fn parse(key: &PublicKey) -> Option<(String, VerifyingKey)> {
    let modulus = URL_SAFE_NO_PAD.decode(&key.modulus).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(&key.exponent).ok()?;
    match VerifyingKey::parse(modulus, exponent) {
        Ok(parsed) => Some((key.kid.clone(), parsed)),
        Err(problem) => {
            tracing::warn!(kid = %key.kid, problem, "a published key is not used");
            None
        }
    }
}
