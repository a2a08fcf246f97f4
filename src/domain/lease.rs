//! Leases: of several brokers on one registry, one at a time is at work on a journal.
//!
//! A lease is a part of the journal's record. It is taken, renewed and given up by conditional writes on that record, so
//! of two brokers that take it at one time one is refused by the registry. It must never be believed beyond its time:
//!
//! - **Whoever holds it** stops [`LeaseTerms::clock_difference`] before it expires, by their own clock.
//! - **Everybody else** leaves it alone until it has been expired for as long, by theirs.
//!
//! So there is never a moment at which two may act, as long as no two clocks are further apart than that; and between the
//! last step that one begins and the first of the next there is at least that time, for a call that is late. A call that
//! is later still is not stopped by any lease, since Cognito knows of none. It is harmless by the rules of
//! [`rotation`](super::rotation): a lease saves work and quarrels, the record's version saves secrets.
//!
//! Clocks that are further apart cost no more than that: two brokers may be at work on one journal, and one of them is
//! refused when it writes.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::BrokerId;

/// How long leases are, and how far they are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// From taking or renewing it to its end. More than twice `clock_difference`, or nobody could act under it.
    pub duration: Duration,
    /// The most that two brokers' clocks may differ by.
    pub clock_difference: Duration,
}

impl Default for LeaseTerms {
    /// 30 s: several times as long as a step takes, and what a crash delays others by is not much more than a person waits.
    /// 5 s: more than NTP leaves on machines that have it at all, and what a token's times are believed to as well.
    fn default() -> Self {
        LeaseTerms { duration: Duration::from_secs(30), clock_difference: Duration::from_secs(5) }
    }
}

/// That one broker, and nobody else, is at work until some time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    pub holder: BrokerId,
    /// By the holder's clock. Long over where the lease was given up.
    pub expire_time: Timestamp,
    /// One more with every taking, by the same broker too: two runs never have the same.
    pub fence: u64,
}

impl LeaseTerms {
    /// The lease that `me` may take now, by my clock: the journal is nobody's, or mine, or its holder has let it lapse.
    /// `None` while it is somebody else's.
    pub fn take(&self, before: Option<&Lease>, me: &BrokerId, now: Timestamp) -> Option<Lease> {
        let is_free = before.is_none_or(|before| before.holder == *me || now >= self.lapse_time(before));
        let fence = before.map_or(0, |before| before.fence).saturating_add(1);
        is_free.then(|| Lease { holder: me.clone(), expire_time: later(now, self.duration), fence })
    }

    /// From when on others may take it, by their clocks.
    pub fn lapse_time(&self, lease: &Lease) -> Timestamp {
        later(lease.expire_time, self.clock_difference)
    }

    /// Whether its holder may begin something, by the holder's clock.
    pub fn may_act(&self, lease: &Lease, now: Timestamp) -> bool {
        later(now, self.clock_difference) < lease.expire_time
    }

    /// Whether a third of it is over, by the holder's clock: with the two thirds that are left a renewal can fail and be
    /// made again.
    pub fn is_renewal_due(&self, lease: &Lease, now: Timestamp) -> bool {
        later(now, self.duration - self.duration / 3) >= lease.expire_time
    }

    /// From when on a renewal is due, by the holder's clock.
    pub fn renewal_time(&self, lease: &Lease) -> Timestamp {
        lease.expire_time.saturating_sub(self.duration - self.duration / 3).unwrap_or(Timestamp::MIN)
    }

    /// The same lease for longer. Only its holder may ask, while it [may act](LeaseTerms::may_act): after that it has to
    /// be taken again.
    pub fn renew(&self, lease: &Lease, now: Timestamp) -> Lease {
        Lease { expire_time: later(now, self.duration).max(lease.expire_time), ..lease.clone() }
    }
}

impl Lease {
    /// Whether both are of one taking, renewed or not.
    pub fn is_same(&self, other: &Lease) -> bool {
        self.holder == other.holder && self.fence == other.fence
    }

    /// Whether nobody has taken one of this before.
    pub fn is_first(&self) -> bool {
        self.fence == 1
    }

    /// Whether its holder has left it, and not lost it.
    pub fn is_given_up(&self) -> bool {
        self.expire_time == Timestamp::UNIX_EPOCH
    }

    /// With its renewal's end, where `renewed` is of the same taking and the lease was not given up since.
    #[must_use]
    pub fn extended_by(&self, renewed: Option<&Lease>) -> Lease {
        let renewed = renewed.filter(|renewed| renewed.is_same(self) && !self.is_given_up());
        let expire_time = renewed.map_or(self.expire_time, |renewed| renewed.expire_time.max(self.expire_time));
        Lease { expire_time, ..self.clone() }
    }

    /// As its holder leaves it: anybody may take it at once. Its number stays, for the next to count on from.
    #[must_use]
    pub fn given_up(&self) -> Lease {
        Lease { expire_time: Timestamp::UNIX_EPOCH, ..self.clone() }
    }
}

/// At the end of all times there is nothing later.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: LeaseTerms =
        LeaseTerms { duration: Duration::from_secs(30), clock_difference: Duration::from_secs(5) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("in range")
    }

    fn broker(number: u8) -> BrokerId {
        BrokerId::parse("broker", &format!("{number:032x}")).expect("valid")
    }

    fn taken() -> Lease {
        TERMS.take(None, &broker(1), at(0)).expect("it was nobody's")
    }

    #[test]
    fn what_is_nobodys_or_ones_own_can_be_taken_and_every_taking_has_a_number_of_its_own() {
        let first = taken();
        assert_eq!(first, Lease { holder: broker(1), expire_time: at(30), fence: 1 });
        let again = TERMS.take(Some(&first), &broker(1), at(1)).expect("it is its own");
        assert_eq!((again.fence, again.is_same(&first)), (2, false));
        let next = TERMS.take(Some(&again.given_up()), &broker(2), at(1)).expect("it was given up");
        assert_eq!((next.fence, next.expire_time), (3, at(31)));
    }

    #[test]
    fn others_wait_until_it_has_lapsed_by_a_clock_that_is_ahead_and_the_holder_stops_by_one_that_is_behind() {
        let lease = taken();
        for now in [0, 29, 30, 34] {
            assert_eq!(TERMS.take(Some(&lease), &broker(2), at(now)), None, "{now}");
        }
        assert!(TERMS.take(Some(&lease), &broker(2), at(35)).is_some());
        assert!(TERMS.may_act(&lease, at(24)));
        assert!(!TERMS.may_act(&lease, at(25)));
        assert!(!TERMS.may_act(&lease.given_up(), at(0)));
    }

    #[test]
    fn at_no_moment_may_two_act_whatever_their_clocks_say() {
        let lease = taken();
        for moment in -5..60 {
            for (mine, yours) in (-5..=5).flat_map(|mine| [(mine, 0), (0, mine), (mine, mine)]) {
                let holder_acts = TERMS.may_act(&lease, at(moment + mine));
                let other_takes = TERMS.take(Some(&lease), &broker(2), at(moment + yours)).is_some();
                assert!(!(holder_acts && other_takes), "at {moment} with {mine} and {yours}");
            }
        }
    }

    #[test]
    fn it_is_renewed_after_a_third_keeps_its_number_and_never_gets_shorter() {
        let lease = taken();
        assert!(!TERMS.is_renewal_due(&lease, at(9)));
        assert!(TERMS.is_renewal_due(&lease, at(10)));
        assert_eq!(TERMS.renewal_time(&lease), at(10));
        let renewed = TERMS.renew(&lease, at(10));
        assert_eq!(renewed.expire_time, at(40));
        assert!(renewed.is_same(&lease));
        // A clock that was set back takes nothing of it.
        assert_eq!(TERMS.renew(&renewed, at(2)), renewed);
    }

    #[test]
    fn a_renewal_counts_for_the_taking_that_it_is_of_and_not_after_it_was_given_up() {
        let lease = taken();
        let renewed = TERMS.renew(&lease, at(10));
        assert_eq!(lease.extended_by(Some(&renewed)), renewed);
        assert_eq!(renewed.extended_by(Some(&lease)), renewed, "the later end counts");
        assert_eq!(lease.extended_by(None), lease);
        let next = TERMS.take(Some(&lease), &broker(1), at(20)).expect("its own");
        assert_eq!(next.extended_by(Some(&renewed)), next, "another taking");
        let others = TERMS.take(None, &broker(2), at(0)).expect("nobody's");
        assert_eq!(others.extended_by(Some(&renewed)), others, "somebody else's");
        assert_eq!(lease.given_up().extended_by(Some(&renewed)), lease.given_up());
    }

    #[test]
    fn the_terms_leave_time_to_act_after_a_renewal_is_due() {
        let terms = LeaseTerms::default();
        let lease = terms.take(None, &broker(1), at(0)).expect("it was nobody's");
        assert!(terms.is_renewal_due(&lease, at(10)) && terms.may_act(&lease, at(10)));
    }
}
