//! The rules that make a token believable, apart from its signature and from who owns its app client.
//!
//! A token is read in two stages. [`Unverified::read`] takes it apart without believing a word: first whether it is a
//! JWT at all, then the algorithm, pinned to RS256, then the rest of the header. Only `kid` and `iss` are used, to find a
//! key of ours. Once that key has verified the signature, [`Claims::check`] holds the claims against the clock. Nothing
//! here ever follows `jku`, `x5u`, `jwk`, `x5c` or `crit` (RFC 7515, section 4.1; RFC 8725, section 3.10).

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::id::{AppClientId, Issuer};
use super::interactive::ClientKind;
use super::jws::Jws;
pub use super::jws::MAX_TOKEN_BYTES;
use super::person::{self, Accepted, Person, TokenUse};
use super::revocation::TokenId;
use super::scope::ScopeSet;

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
    WrongClientKind,
    Revoked,
    InsufficientScope,
}

impl Rule {
    /// All of them, each at the place that it has as a number.
    pub const ALL: [Rule; 18] = [
        Rule::Malformed,
        Rule::UnsupportedAlgorithm,
        Rule::UnsupportedHeader,
        Rule::UnknownIssuer,
        Rule::UnknownKey,
        Rule::BadSignature,
        Rule::WrongTokenUse,
        Rule::Expired,
        Rule::NotYetValid,
        Rule::IssuedInFuture,
        Rule::UnknownClient,
        Rule::ClientDeleted,
        Rule::TenantSuspended,
        Rule::TenantDeleted,
        Rule::WrongTenant,
        Rule::WrongClientKind,
        Rule::Revoked,
        Rule::InsufficientScope,
    ];

    /// As the contract names it, `BAD_SIGNATURE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Malformed => "MALFORMED",
            Rule::UnsupportedAlgorithm => "UNSUPPORTED_ALGORITHM",
            Rule::UnsupportedHeader => "UNSUPPORTED_HEADER",
            Rule::UnknownIssuer => "UNKNOWN_ISSUER",
            Rule::UnknownKey => "UNKNOWN_KEY",
            Rule::BadSignature => "BAD_SIGNATURE",
            Rule::WrongTokenUse => "WRONG_TOKEN_USE",
            Rule::Expired => "EXPIRED",
            Rule::NotYetValid => "NOT_YET_VALID",
            Rule::IssuedInFuture => "ISSUED_IN_FUTURE",
            Rule::UnknownClient => "UNKNOWN_CLIENT",
            Rule::ClientDeleted => "CLIENT_DELETED",
            Rule::TenantSuspended => "TENANT_SUSPENDED",
            Rule::TenantDeleted => "TENANT_DELETED",
            Rule::WrongTenant => "WRONG_TENANT",
            Rule::WrongClientKind => "WRONG_CLIENT_KIND",
            Rule::Revoked => "REVOKED",
            Rule::InsufficientScope => "INSUFFICIENT_SCOPE",
        }
    }
}

impl Rejection {
    pub fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Rejection { rule, detail: detail.into() }
    }
}

/// A token taken apart; nothing of it is believed yet.
pub struct Unverified<'a> {
    pub kid: Option<String>,
    /// Header and payload as they were signed.
    pub signed: &'a str,
    pub signature: Vec<u8>,
    whole: &'a str,
    claims: Claims,
}

impl<'a> Unverified<'a> {
    pub fn read(token: &'a str) -> Result<Self, Rejection> {
        let Jws { alg, kid, typ, chooses, payload, signed, signature_bytes, .. } =
            Jws::read(token).map_err(malformed)?;
        let claims: RawClaims<'_> = serde_json::from_slice(&payload).map_err(|_| malformed(CLAIM))?;
        let token_use = TokenUse::read(&claims.token_use);
        let app_client = match token_use {
            TokenUse::Id => person::audience(&payload),
            TokenUse::Access | TokenUse::Other => claims.client_id,
        };
        let app_client = app_client.ok_or_else(|| malformed(CLAIM))?;
        let is_persons = token_use == TokenUse::Id || claims.username.is_some();
        let person = is_persons.then(|| Person::read(&payload, token_use)).transpose().map_err(malformed)?;

        if alg != "RS256" {
            let detail = format!("alg is {:.16}; only RS256 is accepted", alg.escape_default());
            return Err(Rejection::new(Rule::UnsupportedAlgorithm, detail));
        }
        if chooses || typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            let detail = "the header says crit, jku, jwk, x5u, x5c or a typ other than JWT";
            return Err(Rejection::new(Rule::UnsupportedHeader, detail));
        }
        let issuer = Issuer::parse("iss", &claims.iss).map_err(|_| super::trust::unknown_issuer())?;
        let claims = Claims {
            issuer,
            app_client,
            token_id: claims.jti,
            token_use,
            scopes: match token_use {
                // What a trigger may have written there grants nothing.
                TokenUse::Id => ScopeSet::default(),
                TokenUse::Access | TokenUse::Other => ScopeSet::from_claim(&claims.scope),
            },
            person: person.map(Box::new),
            issue_time: claims.iat.0,
            not_before: claims.nbf.map(|time| time.0),
            expire_time: claims.exp.0,
        };
        Ok(Unverified { kid, signed, signature: signature_bytes, whole: token, claims })
    }

    /// The token as it came.
    pub fn whole(&self) -> &'a str {
        self.whole
    }

    /// Whose key may verify it. It is not true before one has.
    pub fn issuer(&self) -> &Issuer {
        &self.claims.issuer
    }

    pub fn app_client(&self) -> &AppClientId {
        &self.claims.app_client
    }

    /// The claims. To be called once the signature has been verified, and not before.
    pub fn into_claims(self) -> Claims {
        self.claims
    }
}

fn malformed(what: &str) -> Rejection {
    Rejection::new(Rule::Malformed, format!("the token is not a JWT: {what}"))
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

const CLAIM: &str = "a claim is missing or of the wrong type";

/// The claims of a token of Cognito, as far as a rule needs them. Others are read leniently: not at all. An access token need not
/// have an `aud`, and may have any; what is a person's is read in `person.rs`.
#[derive(Deserialize)]
struct RawClaims<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    /// Not in an ID token.
    client_id: Option<AppClientId>,
    jti: Option<TokenId>,
    #[serde(borrow)]
    token_use: Cow<'a, str>,
    /// Whether it is there.
    username: Option<IgnoredAny>,
    #[serde(borrow, default)]
    scope: Cow<'a, str>,
    iat: Seconds,
    nbf: Option<Seconds>,
    exp: Seconds,
}

/// RFC 7519 calls it a NumericDate.
#[derive(Deserialize)]
#[serde(try_from = "i64")]
struct Seconds(Timestamp);

impl TryFrom<i64> for Seconds {
    type Error = jiff::Error;

    fn try_from(second: i64) -> Result<Self, jiff::Error> {
        Timestamp::from_second(second).map(Seconds)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub issuer: Issuer,
    /// The `client_id` of an access token, the `aud` of an ID token.
    pub app_client: AppClientId,
    /// Its `jti`, where it has one: RFC 7519 does not demand it.
    pub token_id: Option<TokenId>,
    pub token_use: TokenUse,
    /// None in an ID token.
    pub scopes: ScopeSet,
    /// Who signed in; `None` in a machine's token.
    pub person: Option<Box<Person>>,
    pub issue_time: Timestamp,
    pub not_before: Option<Timestamp>,
    pub expire_time: Timestamp,
}

impl Claims {
    /// Holds the claims against our own clock; `leeway` allows for another's being a little off.
    pub fn check(&self, now: Timestamp, leeway: Duration, accepted: Accepted) -> Result<(), Rejection> {
        let wanted = accepted.token_use();
        if self.token_use != wanted {
            return Err(Rejection::new(Rule::WrongTokenUse, format!("token_use is not {}", wanted.as_str())));
        }
        if now >= self.acceptable_until(leeway) {
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

    /// Whose token it is by what it says: a machine's, or a person's.
    pub fn kind(&self) -> ClientKind {
        if self.person.is_some() { ClientKind::Interactive } else { ClientKind::Machine }
    }

    /// Who it speaks for: a person's id in the pool, or the app client itself.
    pub fn subject(&self) -> &str {
        self.person.as_ref().map_or(self.app_client.as_str(), |person| &person.subject)
    }

    /// Takes what is the same from those, so that it is in memory once.
    pub fn share(&mut self, issuer: &Issuer, app_client: &AppClientId, scopes: &ScopeSet) {
        if self.issuer == *issuer && self.app_client == *app_client {
            self.issuer.clone_from(issuer);
            self.app_client.clone_from(app_client);
        }
        self.scopes = scopes.share(&self.scopes);
    }

    /// When [`check`](Self::check) begins to find it expired.
    pub fn acceptable_until(&self, leeway: Duration) -> Timestamp {
        self.expire_time.saturating_add(leeway).unwrap_or(Timestamp::MAX)
    }
}
