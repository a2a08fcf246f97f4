//! Keeps what a broker holds in memory true while others change the same registry.
//!
//! A broker reads the change feed a few times a second and forgets what the changes touched, as it does with its own. So a
//! revocation or a suspension that another broker has answered is felt here within one interval and one read.
//!
//! A broker that cannot read the feed does not know what it does not know. It goes on for a stated time, counted by its own
//! clock from when the last read that succeeded began: so long it says "verified" of what it holds in memory and knows
//! clients by their secrets, and for another, longer one it hands out the tokens that it holds. After that it answers UNAVAILABLE and says why. It never
//! counts a read before all of it was taken to heart, and where lines of the feed are gone it forgets everything. A clock
//! that was set back, or a process that was stopped, makes it wait for the next read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::World;
use crate::broker::ports::{ChangeFeed, Followed, LoggedChange, PortResult, Shelf};
use crate::broker::records::Records;
use crate::broker::revocations::revoked_tokens::{RevokedTokens, longest_life};
use crate::broker::settings::FeedSettings;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::revocation::TokenId;

/// Changes that are read in one go.
const AT_ONCE: usize = 500;

/// How late a broker is to hear of what others change, and how late it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// Since the last read began that succeeded.
    pub silence: Duration,
    /// The longest silence after which it says that a token is good.
    pub verdicts_for: Duration,
    /// The longest after which it hands out a token that it holds.
    pub tokens_for: Duration,
}

/// Where a broker is in the feed.
pub struct Following {
    feed: Arc<dyn ChangeFeed>,
    settings: FeedSettings,
    /// When the last read began that succeeded, in milliseconds since the epoch.
    heard: AtomicI64,
}

impl Following {
    /// To be called before anything of the registry is held in memory: what is changed from now on will be heard of. Also
    /// says after which change to go on.
    pub async fn begin(feed: Arc<dyn ChangeFeed>, settings: FeedSettings, now: Timestamp) -> Result<(Self, u64)> {
        let last = feed.last_change().await?;
        Ok((Following { feed, settings, heard: AtomicI64::new(now.as_millisecond()) }, last))
    }

    /// Fails with UNAVAILABLE where a token that is revoked by now could be called good.
    pub fn may_say_verified(&self, now: Timestamp) -> Result<()> {
        self.check(now, self.settings.verdicts_for)
    }

    /// Fails with UNAVAILABLE where a token has been held for too long without hearing whether it may be.
    pub fn may_hand_out(&self, now: Timestamp) -> Result<()> {
        self.check(now, self.settings.tokens_for)
    }

    /// Whether a verdict of before may be given again.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.silence(now) <= self.settings.verdicts_for
    }

    /// How this broker hears of what others change.
    pub fn hearing(&self, now: Timestamp) -> Hearing {
        let FeedSettings { verdicts_for, tokens_for, .. } = self.settings;
        Hearing { silence: self.silence(now), verdicts_for, tokens_for }
    }

    /// When the last read began that succeeded. What it told has been taken to heart for whoever sees this.
    pub fn heard_time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.heard.load(Ordering::Acquire)).unwrap_or(Timestamp::MIN)
    }

    /// For how long nothing was heard. A clock that was set back says nothing about that: it counts as silence.
    fn silence(&self, now: Timestamp) -> Duration {
        let heard = self.heard.load(Ordering::Relaxed);
        Duration::from_millis(now.as_millisecond().abs_diff(heard))
    }

    fn check(&self, now: Timestamp, limit: Duration) -> Result<()> {
        let silence = self.silence(now);
        if silence <= limit {
            return Ok(());
        }
        let message = format!(
            "this broker has not heard of changes to the registry for {} s, and so cannot tell what was revoked",
            silence.as_secs()
        );
        Err(Error::unavailable(Reason::RegistryUnavailable, message, self.settings.interval))
    }

    /// Reads on and on, from after the change `last`, until stopped.
    pub async fn follow(&self, world: &World, mut last: u64, stop: CancellationToken) {
        let mut is_silent = false;
        while !stop.is_cancelled() {
            let begun = world.now();
            match self.read(&world.records, &world.revoked_tokens, last, begun).await {
                Ok(read) => {
                    last = read;
                    self.heard.store(begun.as_millisecond(), Ordering::Release);
                    if std::mem::take(&mut is_silent) {
                        tracing::info!(change = last, "changes to the registry are heard of again");
                    }
                }
                Err(error) if !is_silent => {
                    is_silent = true;
                    let (verdicts, tokens) = (self.settings.verdicts_for, self.settings.tokens_for);
                    tracing::error!(%error, ?verdicts, ?tokens, "changes to the registry cannot be read; what is held is given for so long");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = world.clock.sleep_until(begun + self.settings.interval) => {}
            }
        }
    }

    /// Reads all that there is and takes it to heart; the number of the last change.
    async fn read(&self, records: &Records, revoked: &RevokedTokens, mut last: u64, now: Timestamp) -> PortResult<u64> {
        loop {
            match self.feed.follow(last, AT_ONCE).await? {
                Followed::Changes(changes) => {
                    for change in &changes {
                        learn(change, records, revoked, now);
                    }
                    last = changes.last().map_or(last, |change| change.number);
                    if changes.len() < AT_ONCE {
                        return Ok(last);
                    }
                }
                Followed::Lost { last } => {
                    tracing::warn!(
                        change = last,
                        "some changes to the registry were missed: all that is held is forgotten"
                    );
                    revoked.forget_all();
                    records.forget_all();
                    return Ok(last);
                }
            }
        }
    }
}

fn learn(change: &LoggedChange, records: &Records, revoked: &RevokedTokens, now: Timestamp) {
    // Noted before it counts as changed: see `revoked_tokens`.
    let expire_time = longest_life(now);
    for (_, key) in change.touched.iter().filter(|(shelf, _)| *shelf == Shelf::RevokedToken) {
        if let Ok(token) = TokenId::parse("jti", key) {
            revoked.note(&token, expire_time, now);
        }
    }
    records.learn(&change.touched, change.last_event);
}
