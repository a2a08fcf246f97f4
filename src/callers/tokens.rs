//! JWTs of issuers that are trusted, and JWT-SVIDs: whose such a token is, if it is good.
//!
//! `iss` and, for a JWT-SVID, the trust domain of `sub` say which issuer's keys and rules count; both are looked up, and never
//! followed. The algorithm is the key's; the token's `alg` must say the same. Then `aud` must have the audience that is this
//! broker's: without it, whoever is shown such a token could show it here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::keys::{Key, KeySet};
use super::refusals::{ambiguous, invalid};
use crate::domain::caller::Principal;
use crate::domain::error::Result;
use crate::domain::jws::Jws;
use crate::domain::spiffe::{SpiffeId, TrustDomain};

/// The longest `sub`, in bytes. Kubernetes' are below 512.
const MAX_SUBJECT_BYTES: usize = 1_024;

/// What a token's `typ` may say: a JWT, an access token (RFC 9068), or, for a JWT-SVID, that it is signed.
const TYPES: [&str; 4] = ["JWT", "at+jwt", "application/at+jwt", "JOSE"];

/// An issuer's rules.
pub(super) struct Trusted {
    pub audience: String,
    pub keys: Arc<KeySet>,
}

pub(super) struct Tokens {
    /// By `iss`.
    pub issuers: HashMap<String, Trusted>,
    /// JWT-SVIDs, by trust domain.
    pub domains: HashMap<TrustDomain, Trusted>,
    pub leeway: Duration,
}

/// Whose a token is, and what that hangs on.
pub(super) struct Proven {
    pub principal: Principal,
    /// `exp`, with the leeway.
    pub valid_until: Timestamp,
    pub signer: Signer,
}

/// The key that has signed a token. The token is good for as long as its issuer publishes it.
pub(super) struct Signer {
    keys: Arc<KeySet>,
    kid: String,
    key: Arc<Key>,
}

impl Signer {
    pub fn is_published(&self) -> bool {
        self.keys.publishes(&self.kid, &self.key)
    }
}

/// A caller's token taken apart; nothing of it is believed yet.
pub struct Unproven<'a> {
    jws: Jws<'a>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: String,
    aud: Option<Audience>,
    exp: Option<Seconds>,
    nbf: Option<Seconds>,
    iat: Option<Seconds>,
}

/// RFC 7519, section 4.1.3: one, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// RFC 7519 calls it a NumericDate; it may have a fraction, which is dropped.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(Timestamp);

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, &'static str> {
        const RANGE: &str = "not an instant";
        if !(0.0..=1e12).contains(&seconds) {
            return Err(RANGE);
        }
        // Within range; a fraction is what is dropped.
        Timestamp::from_second(seconds as i64).map(Seconds).map_err(|_| RANGE)
    }
}

impl<'a> Unproven<'a> {
    /// Fails with what is wrong with its form, in words that hold nothing of it.
    pub fn read(token: &'a str) -> Result<Self, &'static str> {
        let jws = Jws::read(token)?;
        if jws.chooses {
            return Err("its header says crit, jku, jwk, x5u or x5c");
        }
        if jws.typ.as_deref().is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
            return Err("its typ is another than JWT");
        }
        let claims: Claims =
            serde_json::from_slice(&jws.payload).map_err(|_| "sub is missing, or a claim is of the wrong type")?;
        let fits = (1..=MAX_SUBJECT_BYTES).contains(&claims.sub.len());
        if !fits || !claims.sub.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("sub is not 1 to 1024 printable ASCII characters without spaces");
        }
        Ok(Unproven { jws, claims })
    }
}

impl Tokens {
    /// Whose `token` is.
    ///
    /// Fails with CREDENTIALS_INVALID, CREDENTIALS_AMBIGUOUS where two issuers answer for it, or UNAVAILABLE when an issuer's
    /// keys have never been read.
    pub async fn prove(&self, token: &str, now: Timestamp) -> Result<Proven> {
        let Unproven { jws, claims } =
            Unproven::read(token).map_err(|problem| invalid(format!("the token cannot be accepted: {problem}")))?;
        let (trusted, principal) = self.issuer(&claims)?;
        let algorithm = match jws.alg.as_str() {
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(invalid("the token's alg is not RS256, ES256 or EdDSA")),
        };
        let kid = jws.kid.as_deref().ok_or_else(|| invalid("the token's header names no kid"))?;
        let key = trusted.keys.key(kid).await?;
        let key = key.ok_or_else(|| invalid("the token's issuer publishes no key of its kid"))?;
        if key.algorithm != algorithm {
            return Err(invalid("the token's alg is not that of its key"));
        }
        let verifies = jsonwebtoken::crypto::verify(jws.signature, jws.signed.as_bytes(), &key.decoding, key.algorithm);
        // An error says that the signature has not even the form of one.
        if !verifies.unwrap_or(false) {
            return Err(invalid("the token's signature is not its issuer's"));
        }
        let valid_until = self.check(&claims, trusted, now)?;
        let signer = Signer { keys: trusted.keys.clone(), kid: kid.to_owned(), key };
        Ok(Proven { principal, valid_until, signer })
    }

    /// Who must have signed it, and whose it is then.
    fn issuer(&self, claims: &Claims) -> Result<(&Trusted, Principal)> {
        let by_issuer = claims.iss.as_ref().and_then(|iss| Some((iss, self.issuers.get(iss)?)));
        let workload = SpiffeId::parse(&claims.sub);
        let by_domain = workload.and_then(|id| Some((self.domains.get(id.trust_domain())?, id)));
        match (by_issuer, by_domain) {
            (Some((issuer, trusted)), None) => {
                let (issuer, subject) = (issuer.as_str().into(), claims.sub.as_str().into());
                Ok((trusted, Principal::Subject { issuer, subject }))
            }
            (None, Some((trusted, id))) => Ok((trusted, Principal::Spiffe(id.text().clone()))),
            (Some(_), Some(_)) => Err(ambiguous("the token is both an issuer's and a trust domain's")),
            (None, None) => Err(invalid("the token is of no issuer that is trusted")),
        }
    }

    /// The claims against our own clock.
    fn check(&self, claims: &Claims, trusted: &Trusted, now: Timestamp) -> Result<Timestamp> {
        let is_for_us = match &claims.aud {
            None => return Err(invalid("the token names no audience")),
            Some(Audience::One(audience)) => *audience == trusted.audience,
            Some(Audience::Many(audiences)) => audiences.contains(&trusted.audience),
        };
        if !is_for_us {
            return Err(invalid("the token is for another audience"));
        }
        let Some(Seconds(expire_time)) = claims.exp else {
            return Err(invalid("the token never expires"));
        };
        let valid_until = expire_time.saturating_add(self.leeway).unwrap_or(Timestamp::MAX);
        if now >= valid_until {
            return Err(invalid("the token has expired"));
        }
        let latest = now.saturating_add(self.leeway).unwrap_or(Timestamp::MAX);
        let is_later = |time: &Option<Seconds>| time.as_ref().is_some_and(|Seconds(time)| *time > latest);
        if is_later(&claims.nbf) {
            return Err(invalid("the token is not valid yet"));
        }
        if is_later(&claims.iat) {
            return Err(invalid("the token was issued in the future"));
        }
        Ok(valid_until)
    }
}
