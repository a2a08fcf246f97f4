//! The rules that make a token believable, apart from its signature and from who owns its app client.
//!
//! A token is read in two stages. [`Unverified::read`] takes it apart without believing a word: the algorithm is
//! pinned to RS256 before anything else, and only `kid` and `iss` are used, to find a key of ours. Once that key has
//! verified the signature, [`Claims::check`] holds the claims against the clock and the issuer. Nothing here ever
//! follows `jku`, `x5u`, `jwk` or `crit` (RFC 7515, section 4.1; RFC 8725, section 3.10).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

use super::id::{AppClientId, Issuer};
use super::revocation::TokenId;
use super::scope::ScopeSet;

/// The longest token that is looked at, in bytes. Cognito's are about 1,000.
pub const MAX_TOKEN_BYTES: usize = 16_384;

/// Why a token is refused: one reason for each rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub rule: Rule,
    /// A sentence for a person. Holds nothing of the token but its public claims.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    Malformed,
    UnsupportedAlgorithm,
    UnsupportedHeader,
    UnknownIssuer,
    UnknownKey,
    BadSignature,
    WrongTokenUse,
    Expired,
    NotYetValid,
    IssuedInFuture,
    UnknownClient,
    ClientDeleted,
    TenantSuspended,
    TenantDeleted,
    WrongTenant,
    Revoked,
    InsufficientScope,
}

impl Rejection {
    pub fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Rejection { rule, detail: detail.into() }
    }
}

/// A token taken apart; nothing of it is believed yet.
pub struct Unverified<'a> {
    pub kid: String,
    pub issuer: Issuer,
    /// Header and payload as they were signed.
    pub signed: &'a str,
    /// Base64url, without padding.
    pub signature: &'a str,
    payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
    jku: Option<serde::de::IgnoredAny>,
    jwk: Option<serde::de::IgnoredAny>,
    x5u: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IssuerOnly {
    iss: String,
}

impl<'a> Unverified<'a> {
    pub fn read(token: &'a str) -> Result<Self, Rejection> {
        let malformed = |what: &str| Rejection::new(Rule::Malformed, format!("the token is not a JWT: {what}"));
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed("it is longer than 16,384 bytes"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| malformed("it has no dots"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| malformed("it has fewer than three parts"))?;
        if payload.contains('.') {
            return Err(malformed("it has more than three parts"));
        }
        let decode = |part: &str, what: &str| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(&format!("its {what} is not base64url")))
        };
        let header: Header = serde_json::from_slice(&decode(header, "header")?)
            .map_err(|_| malformed("its header is not a JSON object with an alg"))?;
        if header.alg != "RS256" {
            let detail = format!("alg is {:.16}; only RS256 is accepted", header.alg.escape_default());
            return Err(Rejection::new(Rule::UnsupportedAlgorithm, detail));
        }
        let is_jwt = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
        if header.crit.is_some() || header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || !is_jwt {
            let detail = "the header says crit, jku, jwk, x5u or a typ other than JWT";
            return Err(Rejection::new(Rule::UnsupportedHeader, detail));
        }
        let kid = header.kid.filter(|kid| (1..=256).contains(&kid.len()));
        let kid = kid.ok_or_else(|| Rejection::new(Rule::UnknownKey, "the header names no kid"))?;
        decode(signature, "signature")?;
        let payload = decode(payload, "payload")?;
        let claimed: IssuerOnly =
            serde_json::from_slice(&payload).map_err(|_| malformed("its payload is not a JSON object with an iss"))?;
        let issuer = Issuer::parse("iss", &claimed.iss)
            .map_err(|_| Rejection::new(Rule::UnknownIssuer, "iss is not the issuer of a pool of this broker"))?;
        Ok(Unverified { kid, issuer, signed, signature, payload })
    }

    /// The claims. To be called once the signature has been verified, and not before.
    pub fn claims(&self) -> Result<Claims, Rejection> {
        let raw: RawClaims = serde_json::from_slice(&self.payload)
            .map_err(|_| Rejection::new(Rule::Malformed, "a claim is missing or of the wrong type"))?;
        let time = |seconds: i64, claim: &str| {
            Timestamp::from_second(seconds)
                .map_err(|_| Rejection::new(Rule::Malformed, format!("{claim} is out of range")))
        };
        let malformed = |claim: &str| Rejection::new(Rule::Malformed, format!("{claim} is missing or empty"));
        Ok(Claims {
            issuer: self.issuer.clone(),
            app_client: AppClientId::parse("client_id", &raw.client_id).map_err(|_| malformed("client_id"))?,
            token_id: TokenId::parse("jti", &raw.jti).map_err(|_| malformed("jti"))?,
            token_use: raw.token_use,
            scopes: ScopeSet::from_claim(&raw.scope),
            issue_time: time(raw.iat, "iat")?,
            not_before: raw.nbf.map(|nbf| time(nbf, "nbf")).transpose()?,
            expire_time: time(raw.exp, "exp")?,
        })
    }
}

/// The `jti` of a token of our own fetching, for looking up whether it was revoked meanwhile. Nothing is verified.
pub fn token_id_of(token: &str) -> Option<TokenId> {
    #[derive(Deserialize)]
    struct Jti {
        jti: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Jti = serde_json::from_slice(&payload).ok()?;
    TokenId::parse("jti", &claims.jti).ok()
}

/// The claims of a client-credentials token of Cognito, as far as a rule needs them. Others are read leniently: not
/// at all. There is no `aud` in such a token.
#[derive(Deserialize)]
struct RawClaims {
    client_id: String,
    jti: String,
    token_use: String,
    #[serde(default)]
    scope: String,
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub issuer: Issuer,
    pub app_client: AppClientId,
    pub token_id: TokenId,
    pub token_use: String,
    pub scopes: ScopeSet,
    pub issue_time: Timestamp,
    pub not_before: Option<Timestamp>,
    pub expire_time: Timestamp,
}

impl Claims {
    /// Holds the claims against our own clock; `leeway` allows for another's being a little off.
    pub fn check(&self, now: Timestamp, leeway: Duration) -> Result<(), Rejection> {
        if self.token_use != "access" {
            return Err(Rejection::new(Rule::WrongTokenUse, "token_use is not access"));
        }
        if now >= self.expire_time.saturating_add(leeway).unwrap_or(Timestamp::MAX) {
            return Err(Rejection::new(Rule::Expired, format!("expired at {}", self.expire_time)));
        }
        let latest = now.saturating_add(leeway).unwrap_or(Timestamp::MAX);
        if let Some(not_before) = self.not_before.filter(|not_before| *not_before > latest) {
            return Err(Rejection::new(Rule::NotYetValid, format!("not valid before {not_before}")));
        }
        if self.issue_time > latest {
            return Err(Rejection::new(Rule::IssuedInFuture, format!("issued at {}", self.issue_time)));
        }
        Ok(())
    }
}
