//! The names by which a person who wants to sign in is told to be of a tenant, and the claims to them.
//!
//! A name belongs to one tenant, and counts once a TXT record below it has shown that whoever has the name wants that. The
//! rule is one: a claim counts from the look that finds its record on, and until a look finds none whose record was found
//! last longer than [`ClaimTerms::keep_for`] ago. It makes no difference whether that look was told that there is none, or
//! nothing: names that do not resolve for a while stay proven, and those that never resolve again do not.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::id::TenantId;

/// A name that a tenant claims. Whether the claim is proven is told by the claim itself, which is kept by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignInDomain {
    /// In lower case, internationalised names in their ASCII form.
    pub domain: String,
    pub kind: SignInDomainKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SignInDomainKind {
    /// What follows the `@` of email addresses.
    Email,
    /// A host at which the tenant's people reach the platform.
    Host,
}

/// Names that one tenant may claim.
pub const MAX_SIGN_IN_DOMAINS: usize = 20;
/// Of a name that can be claimed: the record below it has 9 characters more, and a name of DNS 253 (RFC 1035, section
/// 2.3.4).
const MAX_CLAIMED: usize = 253 - TXT_LABEL.len();
/// The label of TXT records that prove claims (RFC 8552: an underscore keeps it apart from hosts).
const TXT_LABEL: &str = "_keyward.";

impl SignInDomain {
    /// A claim to `name`, which is in its ASCII form. Fails with INVALID_ARGUMENT naming `field` where nobody could have it
    /// alone: a single label such as `com`, or an address. Which other names are public suffixes is not known here; that the
    /// record below one is somebody's to make is what DNS has to show.
    pub fn claimable(field: &str, name: &str, kind: SignInDomainKind) -> Result<Self> {
        let (_, last) = name.rsplit_once('.').unwrap_or(("", name));
        let rule = match name {
            _ if name.len() > MAX_CLAIMED => "must be at most 244 characters",
            _ if !name.contains('.') => "must have at least two labels, as example.com has",
            // An address of IPv4 would be one that ends so (URL standard, "ends in a number").
            _ if last.bytes().all(|byte| byte.is_ascii_digit()) => "must be a name, and not an address",
            _ => return Ok(SignInDomain { domain: name.to_owned(), kind }),
        };
        Err(Error::invalid(field, rule))
    }

    /// The name of the TXT record that proves a claim to it.
    pub fn txt_record_name(&self) -> String {
        format!("{TXT_LABEL}{}", self.domain)
    }
}

impl SignInDomainKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            SignInDomainKind::Email => "email",
            SignInDomainKind::Host => "host",
        }
    }
}

/// That a tenant claims a name. There is one for each name and kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub name: SignInDomain,
    pub tenant: TenantId,
    /// Drawn for this claim alone, so that a record for another claim proves nothing here. It is no secret: DNS shows it.
    pub proof: String,
    /// Whether the name counts.
    pub verified: bool,
    /// When the record was found last.
    pub verify_time: Option<Timestamp>,
    /// When it is looked for next.
    pub look_time: Timestamp,
    pub create_time: Timestamp,
}

/// How often records are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimTerms {
    /// The longest time from one look to the next.
    pub look_interval: Duration,
    /// How long a record that was found may be looked for in vain before the claim does not count any more.
    pub keep_for: Duration,
}

/// The shortest time from one look to the next, and from a claim to the first: nobody has made the record before.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// How long somebody who has taken a look may be at it, and so how long nobody else does it; longer than a question of DNS may
/// take.
const LOOK: Duration = Duration::from_secs(60);

impl Claim {
    /// A new claim, which does not count yet. `drawn` is random.
    pub fn new(name: SignInDomain, tenant: TenantId, drawn: &str, now: Timestamp) -> Self {
        Claim {
            name,
            tenant,
            proof: drawn.to_owned(),
            verified: false,
            verify_time: None,
            look_time: now + FIRST_LOOK,
            create_time: now,
        }
    }

    /// What the TXT record must hold.
    pub fn txt_record_value(&self) -> String {
        format!("keyward={}", self.proof)
    }

    /// The claim while somebody looks for its record. Whoever dies over it has others look when they may think so.
    #[must_use]
    pub fn taken(&self, now: Timestamp) -> Claim {
        Claim { look_time: now + LOOK, ..self.clone() }
    }

    /// The claim after a look. One in vain is followed by the next after as long as it has been in vain for, from a minute to
    /// [`ClaimTerms::look_interval`].
    #[must_use]
    pub fn looked(&self, is_found: bool, now: Timestamp, terms: &ClaimTerms) -> Claim {
        if is_found {
            let look_time = now + terms.look_interval;
            return Claim { verified: true, verify_time: Some(now), look_time, ..self.clone() };
        }
        let in_vain = Duration::try_from(now.duration_since(self.verify_time.unwrap_or(self.create_time)));
        let in_vain = in_vain.unwrap_or_default();
        let wait = in_vain.min(terms.look_interval).max(FIRST_LOOK);
        Claim { verified: self.verified && in_vain < terms.keep_for, look_time: now + wait, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const TERMS: ClaimTerms =
        ClaimTerms { look_interval: Duration::from_secs(6 * 3_600), keep_for: Duration::from_secs(86_400) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn claim() -> Claim {
        let name = SignInDomain { domain: "example.com".to_owned(), kind: SignInDomainKind::Email };
        Claim::new(name, TenantId::parse("tenant", "acme").expect("valid"), "0a1b", at(0))
    }

    #[test]
    fn a_claim_counts_from_the_look_that_finds_its_record_on() {
        let claim = claim();
        assert!(!claim.verified && claim.look_time == at(60));
        assert!(!claim.looked(false, at(60), &TERMS).verified);
        let found = claim.looked(true, at(60), &TERMS);
        assert!(found.verified && found.verify_time == Some(at(60)) && found.look_time == at(60 + 6 * 3_600));
        assert_eq!((found.txt_record_value(), found.proof), ("keyward=0a1b".to_owned(), claim.proof));
    }

    #[test]
    fn a_record_that_is_looked_for_in_vain_counts_on_for_its_time_and_not_longer() {
        let found = claim().looked(true, at(0), &TERMS);
        let day = 86_400;
        let just_before = found.looked(false, at(day - 1), &TERMS);
        assert!(just_before.verified && just_before.verify_time == Some(at(0)));
        assert!(just_before.looked(true, at(day), &TERMS).verified);
        let over = just_before.looked(false, at(day), &TERMS);
        assert!(!over.verified && over.verify_time == Some(at(0)), "when it was found last is still told");
        assert!(!over.looked(false, at(1), &TERMS).verified, "a look in vain proves nothing");
        assert!(over.looked(true, at(day + 1), &TERMS).verified);
        let later = found.looked(true, at(day), &TERMS);
        assert!(later.looked(false, at(2 * day - 1), &TERMS).verified, "it counts from when it was found last");
        assert!(!later.looked(false, at(2 * day), &TERMS).verified);
    }

    #[test]
    fn looks_in_vain_become_seldom_and_never_more_so_than_looks_that_find() {
        let wait = |since: i64| claim().looked(false, at(since), &TERMS).look_time.duration_since(at(since)).as_secs();
        assert_eq!([0, 59, 61, 600, 21_600, 900_000].map(wait), [60, 60, 61, 600, 21_600, 21_600]);
        // A clock that was set back.
        assert_eq!(wait(-5), 60);
        assert!(TERMS.look_interval > HOUR);
    }

    #[test]
    fn a_look_that_is_taken_is_anybodys_again_after_a_minute_and_changes_nothing_else() {
        let found = claim().looked(true, at(0), &TERMS);
        let taken = found.taken(at(30_000));
        assert_eq!(taken, Claim { look_time: at(30_060), ..found.clone() });
        assert_eq!(taken.looked(true, at(30_001), &TERMS), found.looked(true, at(30_001), &TERMS));
    }

    #[test]
    fn a_name_that_nobody_can_have_alone_is_not_claimed() {
        let claimable = |name: &str| SignInDomain::claimable("domain", name, SignInDomainKind::Host);
        for good in
            ["example.com", "xn--bcher-kva.example", "a.b.c.d", "1.example", &format!("{}.com", "a".repeat(240))]
        {
            assert!(claimable(good).is_ok(), "{good}");
        }
        for bad in ["com", "", "localhost", "192.0.2.1", "example.1", &format!("{}.com", "a".repeat(241))] {
            assert!(claimable(bad).is_err(), "{bad}");
        }
        let longest = claimable(&format!("{}.com", "a".repeat(240))).expect("valid");
        assert_eq!(longest.txt_record_name().len(), 253);
    }
}
