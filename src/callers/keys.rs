//! The public keys of one issuer of callers' tokens, parsed once, kept by `kid`, read anew behind the callers' backs.
//!
//! The rules are those of `broker::verifier::keys`: an unknown `kid` has the keys read again, but no sooner than a floor allows; a
//! failed reading leaves the keys as they are, and nobody can tell then of a `kid` that is not among them: it is soon
//! repeated; a successful one replaces them, and a key that is gone verifies nothing any more. What differs is that a key
//! says itself which algorithm it is for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::key_source::KeySource;
use crate::broker::background::Background;
use crate::broker::flights::{Flight, Flights};
use crate::broker::ports::Clock;
use crate::domain::error::{Error, Reason, Result};

/// Keys of one issuer at the most. Those who rotate daily have a handful.
const MAX_KEYS: usize = 64;
/// RSA moduli shorter than this are refused, in bytes (2,048 bits; RFC 7518, section 3.3).
const MIN_MODULUS_BYTES: usize = 256;
/// Longer ones cost more than any caller is worth (8,192 bits).
const MAX_MODULUS_BYTES: usize = 1_024;
/// From a failed reading to the next for a `kid` that is not known, and what callers are told to wait.
const RETRY: Duration = Duration::from_secs(1);

/// One public key, for one algorithm.
pub(super) struct Key {
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
    /// RFC 7638: another key under the same `kid` has another.
    thumbprint: String,
}

/// When keys are read.
#[derive(Clone, Copy)]
pub(super) struct Ages {
    pub refetch_floor: Duration,
    pub max_age: Duration,
}

pub(super) struct KeySet {
    /// Whose, for the log.
    owner: String,
    /// What `use` may say, where it says anything.
    used_for: &'static [&'static str],
    source: KeySource,
    ages: Ages,
    clock: Arc<dyn Clock>,
    known: RwLock<Option<Arc<Known>>>,
    readings: Flights<(), Arc<Known>>,
}

struct Known {
    keys: HashMap<String, Arc<Key>>,
    /// When they were read, or last tried to be.
    tried_time: Timestamp,
    read_time: Option<Timestamp>,
    /// Whether the last reading did, so that there may be others by now.
    has_failed: bool,
}

impl KeySet {
    pub fn new(
        owner: &str,
        used_for: &'static [&'static str],
        source: KeySource,
        ages: Ages,
        clock: Arc<dyn Clock>,
        background: Background,
    ) -> Self {
        let readings = Flights::new(background);
        KeySet { owner: owner.to_owned(), used_for, source, ages, clock, known: RwLock::new(None), readings }
    }

    /// The key of this `kid`, if the issuer publishes it.
    ///
    /// Fails with UNAVAILABLE (KEYS_UNAVAILABLE) when it is not known and the keys could not be read when that was tried
    /// last, or never: nobody can tell then.
    pub async fn key(self: &Arc<Self>, kid: &str) -> Result<Option<Arc<Key>>> {
        let known = self.known();
        if let Some(known) = &known {
            if let Some(key) = known.keys.get(kid) {
                self.refresh(known);
                return Ok(Some(key.clone()));
            }
            let floor = self.ages.refetch_floor;
            if !self.may_read(known, if known.has_failed { RETRY } else { floor }) {
                return known.find(kid);
            }
        }
        self.read(known).await?.find(kid)
    }

    /// Whether the issuer still publishes this very key. Waits for nothing.
    pub fn publishes(self: &Arc<Self>, kid: &str, key: &Key) -> bool {
        let Some(known) = self.known() else { return false };
        self.refresh(&known);
        known.keys.get(kid).is_some_and(|published| published.thumbprint == key.thumbprint)
    }

    fn known(&self) -> Option<Arc<Known>> {
        // What is under the lock is one pointer.
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn age(&self, since: Timestamp) -> Duration {
        Duration::try_from(self.clock.now().duration_since(since)).unwrap_or_default()
    }

    fn may_read(&self, known: &Known, floor: Duration) -> bool {
        self.age(known.tried_time) >= floor
    }

    /// Has keys that are too old read anew, without waiting for it.
    fn refresh(self: &Arc<Self>, known: &Arc<Known>) {
        let is_old = known.read_time.is_some_and(|time| self.age(time) >= self.ages.max_age);
        if is_old && self.may_read(known, self.ages.refetch_floor) {
            drop(self.read(Some(known.clone())));
        }
    }

    fn read(self: &Arc<Self>, before: Option<Arc<Known>>) -> Flight<Arc<Known>> {
        let this = self.clone();
        self.readings.join((), move || async move {
            let tried_time = this.clock.now();
            let read = this.source.read().await;
            let keys = read.and_then(|set| parse(&set, this.used_for).ok_or("not a key set".to_owned()));
            let known = Arc::new(match keys {
                Ok(keys) => Known { keys, tried_time, read_time: Some(tried_time), has_failed: false },
                Err(detail) => {
                    tracing::warn!(issuer = %this.owner, detail, "the keys of an issuer of callers cannot be read");
                    let (keys, read_time) =
                        before.map(|known| (known.keys.clone(), known.read_time)).unwrap_or_default();
                    Known { keys, tried_time, read_time, has_failed: true }
                }
            });
            *this.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
            Ok(known)
        })
    }
}

impl Known {
    /// The key of this `kid`, unless nobody can tell whether there is one.
    fn find(&self, kid: &str) -> Result<Option<Arc<Key>>> {
        let key = self.keys.get(kid).cloned();
        if key.is_none() && self.has_failed {
            let message = "the keys of the caller's issuer cannot be read";
            return Err(Error::unavailable(Reason::KeysUnavailable, message, RETRY));
        }
        Ok(key)
    }
}

/// The keys that can be used, by `kid`. Others are nobody's fault and are left out, and so is a `kid` that two have.
fn parse(set: &[u8], used_for: &[&str]) -> Option<HashMap<String, Arc<Key>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(set).ok()?;
    let mut keys = HashMap::new();
    let mut twice = Vec::new();
    for jwk in set.keys.into_iter().take(MAX_KEYS) {
        let Some((kid, key)) = serde_json::from_value::<Jwk>(jwk).ok().and_then(|jwk| usable(&jwk, used_for)) else {
            continue;
        };
        if keys.insert(kid.clone(), Arc::new(key)).is_some() {
            twice.push(kid);
        }
    }
    keys.retain(|kid, _| !twice.contains(kid));
    Some(keys)
}

fn usable(jwk: &Jwk, used_for: &[&str]) -> Option<(String, Key)> {
    let kid = jwk.common.key_id.clone().filter(|kid| (1..=256).contains(&kid.len()))?;
    let is_for_this = match &jwk.common.public_key_use {
        None => true,
        Some(PublicKeyUse::Signature) => used_for.contains(&"sig"),
        Some(PublicKeyUse::Other(used)) => used_for.contains(&used.as_str()),
        Some(PublicKeyUse::Encryption) => false,
    };
    let verifies = jwk.common.key_operations.as_ref().is_none_or(|allowed| allowed.contains(&KeyOperations::Verify));
    let length = |text: &str| URL_SAFE_NO_PAD.decode(text).map_or(0, |bytes| bytes.len());
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let fits = (MIN_MODULUS_BYTES..=MAX_MODULUS_BYTES).contains(&length(&rsa.n));
            fits.then_some((Algorithm::RS256, KeyAlgorithm::RS256))?
        }
        AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
            let fits = length(&point.x) == 32 && length(&point.y) == 32;
            fits.then_some((Algorithm::ES256, KeyAlgorithm::ES256))?
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (length(&pair.x) == 32).then_some((Algorithm::EdDSA, KeyAlgorithm::EdDSA))?
        }
        _ => return None,
    };
    if !is_for_this || !verifies || jwk.common.key_algorithm.is_some_and(|said| said != named) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
    Some((kid, Key { algorithm, decoding, thumbprint }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_used_each_for_its_own_algorithm() {
        let coordinate = URL_SAFE_NO_PAD.encode([7; 32]);
        let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xc7; bytes]);
        let set = json!({ "keys": [
            { "kid": "rsa", "kty": "RSA", "n": modulus(256), "e": "AQAB", "use": "sig", "alg": "RS256" },
            { "kid": "ec", "kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate },
            { "kid": "ed", "kty": "OKP", "crv": "Ed25519", "x": coordinate, "key_ops": ["verify"] },
            { "kid": "short", "kty": "RSA", "n": modulus(128), "e": "AQAB" },
            { "kid": "huge", "kty": "RSA", "n": modulus(2048), "e": "AQAB" },
            { "kid": "other-alg", "kty": "RSA", "n": modulus(256), "e": "AQAB", "alg": "RS512" },
            { "kid": "enc", "kty": "RSA", "n": modulus(256), "e": "AQAB", "use": "enc" },
            { "kid": "svid", "kty": "RSA", "n": modulus(256), "e": "AQAB", "use": "jwt-svid" },
            { "kid": "x509", "kty": "RSA", "n": modulus(256), "e": "AQAB", "use": "x509-svid" },
            { "kid": "ops", "kty": "RSA", "n": modulus(256), "e": "AQAB", "key_ops": ["encrypt"] },
            { "kid": "curve", "kty": "EC", "crv": "P-384", "x": coordinate, "y": coordinate },
            { "kid": "x25519", "kty": "OKP", "crv": "X25519", "x": coordinate },
            { "kid": "shared", "kty": "oct", "k": coordinate },
            { "kty": "RSA", "n": modulus(256), "e": "AQAB" },
            { "kid": "twice", "kty": "OKP", "crv": "Ed25519", "x": coordinate },
            { "kid": "twice", "kty": "RSA", "n": modulus(256), "e": "AQAB" },
            7,
        ] });
        let found = |used_for: &[&str]| {
            let keys = parse(set.to_string().as_bytes(), used_for).expect("a key set");
            let mut found: Vec<_> = keys.iter().map(|(kid, key)| (kid.clone(), key.algorithm)).collect();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found
        };
        let is = |kid: &str, algorithm| (kid.to_owned(), algorithm);
        let common = [is("ec", Algorithm::ES256), is("ed", Algorithm::EdDSA), is("rsa", Algorithm::RS256)];
        assert_eq!(found(&["sig"]), common);
        let with_svid = [common.as_slice(), &[is("svid", Algorithm::RS256)]].concat();
        assert_eq!(found(&["sig", "jwt-svid"]), with_svid);
        assert!(parse(b"[]", &[]).is_none() && parse(b"{}", &[]).is_none());
    }
}
