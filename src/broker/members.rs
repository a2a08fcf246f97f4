//! Membership: which brokers share the account's quotas, and what this one may use of them.
//!
//! Every two seconds a broker writes that it lives and reads who else does; the rules of what follows from that are
//! [`share`](crate::domain::share)'s. The outcome is in a [`ShareInForce`], which whoever makes the calls looks at before
//! each. Must never let a call that hangs decide how old a share may become: that is in the share itself. Fails towards
//! nothing: a broker that cannot reach the others' memberships uses what it had until its own is over, and then nothing.
//!
//! It goes on while the daemon drains, since what is under way then makes calls too, and ends after that: the share
//! first, then the record, so that the others need not wait until it has lapsed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ports::Clock;
use super::ports::faults::PortResult;
use crate::domain::id::BrokerId;
use crate::domain::share::{Member, Membership, Share, ShareTerms};

/// The longest that one round may take: as many as three may hang before a share is over.
const LONGEST_ROUND: Duration = Duration::from_secs(4);

/// Records of the brokers that live, where all that share a registry can read them. No part of its records: nothing is
/// audited, and the change feed has none of it.
#[async_trait]
pub trait Members: Send + Sync {
    /// Writes a broker's record in the place of its last. [`Fault::Conflict`](super::ports::Fault::Conflict) where one that
    /// expires later is there, or as late.
    async fn beat(&self, member: &Member) -> PortResult<()>;

    /// All records whose time was not over by more than an hour; older ones may be gone. As they are when it is asked or
    /// later, never as they were before.
    async fn members(&self) -> PortResult<Vec<Member>>;

    /// Takes a broker's record away. Taking away one that is gone succeeds.
    async fn leave(&self, broker: &BrokerId) -> PortResult<()>;
}

/// The share that holds now, for whoever keeps to it. One writes it, many read it.
#[derive(Debug)]
pub struct ShareInForce(watch::Sender<Share>);

impl ShareInForce {
    pub fn new(share: Share) -> Self {
        ShareInForce(watch::Sender::new(share))
    }

    pub fn set(&self, share: Share) {
        self.0.send_if_modified(|held| std::mem::replace(held, share) != share);
    }

    pub fn get(&self) -> Share {
        *self.0.borrow()
    }

    /// The share, and something to wait for another one with.
    pub fn watch(&self) -> watch::Receiver<Share> {
        self.0.subscribe()
    }
}

/// Goes round until stopped, and then leaves.
pub struct Rounds {
    pub members: Arc<dyn Members>,
    pub share: Arc<ShareInForce>,
    pub clock: Arc<dyn Clock>,
    pub terms: ShareTerms,
    pub broker: BrokerId,
}

impl Rounds {
    /// `gone` is to be cancelled when nothing of the broker is under way any more.
    pub async fn keep(self, gone: CancellationToken) {
        let mut membership = Membership::new(self.terms, self.broker.clone());
        self.share.set(Share::Nothing);
        let mut is_failing = false;
        while !gone.is_cancelled() {
            let begin = self.clock.now();
            let round = tokio::select! {
                biased;
                () = gone.cancelled() => break,
                round = self.round(&mut membership) => round.map_err(|error| error.to_string()),
                () = self.clock.sleep_until(later(begin, LONGEST_ROUND)) => Err("no answer in time".to_owned()),
            };
            self.share.set(membership.share());
            match &round {
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "the other brokers are out of sight: the share of the quotas ends soon");
                }
                Ok(()) if is_failing => tracing::info!("the other brokers are in sight again"),
                _ => {}
            }
            is_failing = round.is_err();
            tokio::select! {
                () = gone.cancelled() => {}
                () = self.clock.sleep_until(later(begin, self.terms.round)) => {}
            }
        }
        membership.leave();
        self.share.set(Share::Nothing);
        let leaving = self.members.leave(&self.broker);
        let deadline = later(self.clock.now(), LONGEST_ROUND);
        tokio::select! {
            left = leaving => if let Err(error) = left {
                tracing::warn!(%error, "the others divide this broker's share when its membership has lapsed");
            },
            () = self.clock.sleep_until(deadline) => {}
        }
    }

    async fn round(&self, membership: &mut Membership) -> PortResult<()> {
        if let Some(record) = membership.record(self.clock.now()) {
            self.members.beat(&record).await?;
            membership.written(&record, self.clock.now());
            // It may have begun anew: nothing holds until the others are read.
            self.share.set(membership.share());
        }
        let began = self.clock.now();
        let members = self.members.members().await?;
        membership.read(began, &members);
        Ok(())
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
