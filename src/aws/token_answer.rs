//! An access token out of an answer (RFC 6749, section 5.1): when it was issued, when it expires, what it grants.
//!
//! Cognito's tokens say all three by themselves, and its clock is the one that they are verified by; the answer and our
//! clock stand in for a token that is not a JWT. Nothing is verified here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::domain::scope::ScopeSet;
use crate::domain::token::AccessToken;

#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(deserialize_with = "wiped")]
    pub access_token: Zeroizing<String>,
    pub token_type: Option<String>,
    pub expires_in: Option<i64>,
    /// Absent where it is what was asked for.
    pub scope: Option<String>,
}

#[derive(Default, Deserialize)]
struct Claims {
    iat: Option<i64>,
    exp: Option<i64>,
    scope: Option<String>,
}

/// The error is a rule that the answer breaks.
pub(super) fn token_of(answer: Answer, wanted: &ScopeSet, now: Timestamp) -> Result<AccessToken, &'static str> {
    if answer.access_token.is_empty() {
        return Err("the answer's token is empty");
    }
    if answer.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("Bearer")) {
        return Err("the answer's token is not of type Bearer");
    }
    let claims = claims_of(&answer.access_token);
    let granted = match (answer.scope, &claims) {
        (Some(scope), _) => ScopeSet::from_claim(&scope),
        // Cognito leaves a scope out of the token without a word, so a token without any has none.
        (None, Some(claims)) => ScopeSet::from_claim(claims.scope.as_deref().unwrap_or_default()),
        (None, None) => wanted.clone(),
    };
    let claims = claims.unwrap_or_default();
    let at = |second: i64| Timestamp::from_second(second).ok();
    let issue_time = claims.iat.and_then(at).unwrap_or(now);
    let lasting = |seconds| issue_time.checked_add(SignedDuration::from_secs(seconds)).ok();
    let expire_time = claims.exp.and_then(at).or_else(|| answer.expires_in.and_then(lasting));
    let expire_time = expire_time.ok_or("neither the token nor the answer says when it expires")?;
    let mut text = answer.access_token;
    Ok(AccessToken::new(std::mem::take(&mut *text), issue_time, expire_time, granted))
}

/// `None` for what is not a JWT.
fn claims_of(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}
