//! Shares: the part of the account's quotas that one of several brokers may use, so that all together stay within them.
//!
//! AWS counts calls by account, and so the brokers that share a registry divide each quota among those of them that are
//! live. A broker keeps a record where all can read it, its membership, and goes round: it writes the record anew, then
//! reads everybody's. What it may use follows from what it read, by these rules:
//!
//! - **Everybody counts everybody** whose membership has not lapsed: it does so [`ShareTerms::clock_difference`] after its
//!   expiry, by the clock of whoever counts. Who has gone is counted for one round more, since AWS counts over a second.
//! - **A broker that joins uses nothing** until each of the others has read the members after it was among them. They say so
//!   in their records (`read_time`), and are believed when that is later than its own joining by more than the difference
//!   of clocks. One that does not say so is waited for until its membership has lapsed.
//! - **A share ends** `clock_difference` before the membership that was written last expires, by its holder's clock. So a
//!   broker that cannot write or cannot read keeps the share it had, never a larger one, and after that has none: others
//!   will divide it. Once it can again, it joins anew.
//! - **A broker that leaves** uses nothing first, and takes its record away after that.
//!
//! So of two brokers that use something at one time each counts the other, and the sum of their parts is at most the whole.
//! Between the last call under a share and the first of who takes it there is the difference of clocks besides, for a call
//! that is late.
//! That hangs on one thing: that no clock of them, read later than another, is behind it by more than `clock_difference`.
//!
//! A quota of at least as many calls a second as there are brokers is divided into whole calls, so that in no second,
//! wherever it begins, there are more than it allows. A smaller one is divided by time: each broker makes one call in
//! some seconds. The mean holds then, but when all of them begin at one moment, as many calls fall into one second.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::form::Form;
use super::id::BrokerId;

/// How long memberships are, and how far clocks are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareTerms {
    /// From one round to the next. At least the second over which AWS counts.
    pub round: Duration,
    /// From writing a membership to its expiry. More than twice `clock_difference` and several rounds.
    pub membership: Duration,
    /// The most that a clock may be behind another that was read before it.
    pub clock_difference: Duration,
}

impl Default for ShareTerms {
    /// 2 s: one that joins waits for two rounds of the others. 20 s and 5 s: a table that is away for 15 s costs nobody
    /// their share, and what a broker had that has crashed is divided among the others within 27 s. The difference of
    /// clocks is that of [`LeaseTerms`](super::lease::LeaseTerms).
    fn default() -> Self {
        ShareTerms {
            round: Duration::from_secs(2),
            membership: Duration::from_secs(20),
            clock_difference: Duration::from_secs(5),
        }
    }
}

/// What a broker lets the others know of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub broker: BrokerId,
    /// By its own clock. Later with every writing.
    pub expire_time: Timestamp,
    /// When it began to read the members that its share is made from, by its own clock; `None` when it has not yet.
    pub read_time: Option<Timestamp>,
    /// The newest form of records that it reads.
    pub reads: Form,
}

/// The part of each quota that a broker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// There is no other broker.
    Whole,
    Nothing,
    /// One of `among` parts, the one at `place`, counted from 0; until `end_time` by the broker's clock.
    Part {
        place: u32,
        among: u32,
        end_time: Timestamp,
    },
}

/// At the most so many calls in so many seconds, evenly spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub calls: u32,
    pub seconds: u32,
}

impl Share {
    /// What there is of a quota of so many calls a second. `None` when there is nothing now.
    pub fn rate(self, a_second: u32, now: Timestamp) -> Option<Rate> {
        match self {
            Share::Whole => Some(Rate { calls: a_second.max(1), seconds: 1 }),
            Share::Nothing => None,
            Share::Part { end_time, .. } if now >= end_time => None,
            // Those in the first places have one call more each, as far as there are any over.
            Share::Part { place, among, .. } if among <= a_second && place < among => {
                Some(Rate { calls: (a_second - place).div_ceil(among), seconds: 1 })
            }
            Share::Part { among, .. } => Some(Rate { calls: a_second.max(1), seconds: among.max(1) }),
        }
    }
}

/// One broker's membership, and what it knows of the others.
#[derive(Debug)]
pub struct Membership {
    terms: ShareTerms,
    me: BrokerId,
    /// The latest expiry that was ever written or tried.
    tried: Timestamp,
    /// That of the last writing that was answered; `None` before the first, and after leaving.
    expire_time: Option<Timestamp>,
    /// When the writing was answered that this membership began with: it is one for as long as it has not run out.
    join_time: Timestamp,
    read_time: Option<Timestamp>,
    /// Who was counted at the last reading, myself included.
    counted: BTreeSet<BrokerId>,
    place: u32,
    among: u32,
    /// Whether all the others count me.
    is_known: bool,
    /// Whether nobody was read since the record was written.
    is_unread: bool,
}

impl Membership {
    pub fn new(terms: ShareTerms, me: BrokerId) -> Self {
        Membership {
            terms,
            me,
            tried: Timestamp::MIN,
            expire_time: None,
            join_time: Timestamp::MIN,
            read_time: None,
            counted: BTreeSet::new(),
            place: 0,
            among: 1,
            is_known: false,
            is_unread: false,
        }
    }

    /// The record to write. It must be refused where one that expires later is there already: a writing that was given
    /// up may come through late. `None` while what was written last was not followed by a reading: who cannot read must not
    /// stay a member, or nobody could join.
    pub fn record(&mut self, now: Timestamp) -> Option<Member> {
        if self.is_unread {
            return None;
        }
        let next = self.tried.saturating_add(Duration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        self.tried = later(now, self.terms.membership).max(next);
        let (broker, read_time) = (self.me.clone(), self.read_time);
        Some(Member { broker, expire_time: self.tried, read_time, reads: Form::READ })
    }

    /// The record was written; `now` is read after that. If the membership had run out by then, others may have stopped
    /// counting me before it came, and it begins anew.
    pub fn written(&mut self, record: &Member, now: Timestamp) {
        if self.end_time().is_none_or(|end| now >= end) {
            (self.join_time, self.is_known) = (now, false);
        }
        (self.expire_time, self.is_unread) = (Some(record.expire_time), true);
    }

    /// The members were read, all of them and as they were after `began`, a time that was read before it was asked.
    pub fn read(&mut self, began: Timestamp, members: &[Member]) {
        let difference = self.terms.clock_difference;
        let others = || members.iter().filter(|member| member.broker != self.me);
        let live = || others().filter(|member| began < later(member.expire_time, difference));
        let known_from = later(self.join_time, difference);
        let is_known = live().all(|member| member.read_time.is_some_and(|time| time > known_from));
        let mut counted: BTreeSet<_> = live().map(|member| member.broker.clone()).collect();
        counted.insert(self.me.clone());
        let place = |counted: &BTreeSet<BrokerId>| counted.iter().position(|broker| *broker == self.me).unwrap_or(0);
        let still = counted.union(&self.counted).cloned().collect::<BTreeSet<_>>();
        (self.place, self.among) = (in_u32(place(&still)), in_u32(still.len()).max(1));
        self.counted = counted;
        (self.read_time, self.is_unread) = (Some(began), false);
        self.is_known = self.is_known || (is_known && self.expire_time.is_some());
    }

    /// What may be used from now on, until the next call of any other method.
    pub fn share(&self) -> Share {
        match self.end_time() {
            Some(end_time) if self.is_known => Share::Part { place: self.place, among: self.among, end_time },
            _ => Share::Nothing,
        }
    }

    /// From now on nothing is used. Only after that the record may be taken away.
    pub fn leave(&mut self) {
        (self.expire_time, self.is_known) = (None, false);
    }

    fn end_time(&self) -> Option<Timestamp> {
        let difference = self.terms.clock_difference;
        self.expire_time.map(|time| time.saturating_sub(difference).unwrap_or(Timestamp::MIN))
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn in_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "tests/share.rs"]
mod tests;
