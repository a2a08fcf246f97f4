//! An access token and how fresh it is.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::claims;
use super::revocation::TokenId;
use super::scope::ScopeSet;

/// An access token as the token endpoint gave it. `Debug` is censored; the text is wiped when dropped.
#[derive(Clone)]
pub struct AccessToken {
    text: Zeroizing<String>,
    pub issue_time: Timestamp,
    pub expire_time: Timestamp,
    /// What was granted, not what was asked for.
    pub scopes: ScopeSet,
    /// Its `jti`; `None` for a token that is not a JWT.
    pub token_id: Option<TokenId>,
}

impl AccessToken {
    pub fn new(text: String, issue_time: Timestamp, expire_time: Timestamp, scopes: ScopeSet) -> Self {
        let token_id = claims::token_id_of(&text);
        AccessToken { text: Zeroizing::new(text), issue_time, expire_time, scopes, token_id }
    }

    /// The token itself. Every use is a place where it leaves the broker.
    pub fn expose(&self) -> &str {
        &self.text
    }

    pub fn remaining(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.expire_time.duration_since(now)).unwrap_or(Duration::ZERO)
    }

    /// When a successor should be fetched: at 75 % of the token's life, earlier by up to 5 % of it. `salt` spreads
    /// the tokens of a fleet that was started at once, and gives the same answer every time it is asked.
    pub fn ages_at(&self, salt: &impl Hash) -> Timestamp {
        let life = self.expire_time.duration_since(self.issue_time);
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        let share = 0.75 - 0.05 * (hasher.finish() as f64 / u64::MAX as f64);
        self.issue_time + jiff::SignedDuration::from_secs_f64(life.as_secs_f64() * share)
    }

    pub fn freshness(&self, now: Timestamp, salt: &impl Hash) -> Freshness {
        if now >= self.expire_time {
            Freshness::Expired
        } else if now >= self.ages_at(salt) {
            Freshness::Ageing
        } else {
            Freshness::Fresh
        }
    }
}

/// What may be done with a cached token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it, and fetch its successor in the background.
    Ageing,
    /// Do not serve it.
    Expired,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("text", &"censored")
            .field("expire_time", &self.expire_time)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_token_ages_between_70_and_75_percent_of_its_life() {
        let token = AccessToken::new("t".into(), at(0), at(1000), ScopeSet::default());
        let ages: Vec<i64> = (0..500).map(|salt| token.ages_at(&salt).as_second()).collect();
        assert!(ages.iter().all(|age| (700..=750).contains(age)), "{ages:?}");
        assert!(ages.iter().max() > ages.iter().min(), "not spread at all");
    }

    #[test]
    fn freshness_ends_at_expiry() {
        let token = AccessToken::new("t".into(), at(0), at(1000), ScopeSet::default());
        assert_eq!(token.freshness(at(0), &0), Freshness::Fresh);
        assert_eq!(token.freshness(at(751), &0), Freshness::Ageing);
        assert_eq!(token.freshness(at(999), &0), Freshness::Ageing);
        assert_eq!(token.freshness(at(1000), &0), Freshness::Expired);
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = AccessToken::new("eyJhbGciOi".into(), at(0), at(1), ScopeSet::default());
        assert!(!format!("{token:?}").contains("eyJ"));
    }
}
