//! Public keys of issuers, parsed once, kept by issuer and `kid`.
//!
//! An unknown `kid` asks the issuer again, but not more often than a floor between fetches allows, so that made-up
//! `kid`s cost an issuer nothing. A failed fetch leaves the keys as they are. Nobody can tell then whether a `kid` that is
//! not among them was published meanwhile: whoever asks for it is not told that it is unknown, but to ask again, and the
//! next fetch comes as soon as they do. A successful one replaces the keys: a key that the issuer has withdrawn verifies
//! nothing any more.
//!
//! A key is for RS256 and nothing else, whatever a token says of itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::background::Background;
use super::basis::Basis;
use super::flights::Flights;
use super::ports::PublicKey;
use super::world::World;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::Issuer;
use crate::domain::pool::MadePool;

/// Issuers whose keys are held in memory. A pool per tenant means an issuer per tenant.
const MAX_ISSUERS: u64 = 20_000;
/// Keys of one issuer at the most; Cognito has two and, while it rotates them, a few more.
const MAX_KEYS: usize = 16;
/// RSA moduli shorter than this are refused, in bytes (2,048 bits; RFC 7518, section 3.3).
const MIN_MODULUS_BYTES: usize = 256;
/// From a failed fetch to the next for a `kid` that is not known, and what callers are told to wait.
const RETRY: Duration = Duration::from_secs(1);

pub struct Keys {
    world: Arc<World>,
    known: moka::sync::Cache<Issuer, Arc<IssuerKeys>>,
    fetches: Flights<Issuer, Arc<IssuerKeys>>,
}

pub struct IssuerKeys {
    keys: Arc<HashMap<String, Key>>,
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

    /// When they were read last, of at most `most` issuers.
    pub fn read_times(&self, most: usize) -> Vec<Timestamp> {
        self.known.iter().take(most).filter_map(|(_, keys)| keys.fetched_time).collect()
    }

    fn fetch(
        self: &Arc<Self>,
        pool: &MadePool,
        known: Option<Arc<IssuerKeys>>,
    ) -> super::flights::Flight<Arc<IssuerKeys>> {
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
            this.known.insert(pool.issuer.clone(), keys.clone());
            this.world.records.keys_changed(&pool.issuer);
            Ok(keys)
        })
    }
}

impl IssuerKeys {
    pub fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
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

/// A public key of an issuer, for RS256.
pub struct Key(ParsedPublicKey);

impl Key {
    /// Whether `signature`, as its bytes, is one of this key over `signed` (RFC 7518, section 3.3).
    pub fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        self.0.verify_sig(signed.as_bytes(), signature).is_ok()
    }
}

fn parse(key: &PublicKey) -> Option<(String, Key)> {
    let modulus = URL_SAFE_NO_PAD.decode(&key.modulus).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(&key.exponent).ok()?;
    if modulus.len() < MIN_MODULUS_BYTES {
        tracing::warn!(kid = %key.kid, "a published key is too short and is not used");
        return None;
    }
    let components = RsaPublicKeyComponents { n: modulus, e: exponent };
    let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
    Some((key.kid.clone(), Key(parsed)))
}
