//! The key under which brokers share tokens, as it is now: given at the start, or a data key that all of them find.
//!
//! A data key is looked for at the start and then every minute, so that one that was renewed or taken away is followed
//! without a restart:
//!
//! | what is kept | what a broker does |
//! | --- | --- |
//! | nothing | has one made; of several brokers that do, one is first, and the others find its |
//! | what it holds already | nothing: nobody is asked to open it |
//! | another | opens it and holds it from then on |
//! | one that will never open | has another made in its place |
//! | one older than [`RENEW_AFTER`] | has another made in its place; where that fails the old one is good for longer |
//!
//! Sharing saves fetches and must never cost a token or a start. While there is no key a broker fetches for itself, tries
//! again after 1, 2, 4, … 60 s, and says so in the log; what it has fetched it shares when the key is there. Who holds a key
//! keeps it whatever becomes of what is kept: it takes another only once that was opened.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::token_key::TokenKey;
use crate::broker::ports::{Clock, DataKeys, Fault, KeptKey, Peer, PortError, PortResult};
use crate::sealing::MasterKey;

/// Well before 2^32 tokens are sealed under one key at the 150 a second that Cognito gives to an account.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often a data key is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After the first look that has failed, while there is no key; then doubled.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long a start waits for the key.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// So often a look begins anew because somebody else was faster.
const ATTEMPTS: usize = 4;
/// Of looks that fail in a row the first is complained of, and every so many.
const COMPLAIN_EVERY: u32 = 60;

/// The key of shared tokens, where it comes from, and whether it is there yet.
pub struct TokenKeys {
    table: String,
    source: Option<Arc<dyn DataKeys>>,
    held: RwLock<Option<Held>>,
}

struct Held {
    key: Arc<TokenKey>,
    /// What it was opened from.
    kept: Option<KeptKey>,
}

impl TokenKeys {
    /// The same for good.
    pub fn given(master: &MasterKey, table: &str) -> crate::domain::error::Result<Self> {
        let key = Arc::new(TokenKey::derive(master, table)?);
        Ok(TokenKeys { table: table.to_owned(), source: None, held: RwLock::new(Some(Held { key, kept: None })) })
    }

    /// One that is found, not there yet. See [`begin`](Self::begin).
    pub fn found(source: Arc<dyn DataKeys>, table: &str) -> Self {
        TokenKeys { table: table.to_owned(), source: Some(source), held: RwLock::default() }
    }

    /// The key in force; `None` while there is none.
    pub fn current(&self) -> Option<Arc<TokenKey>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|held| held.key.clone())
    }

    /// The first look. Returns after five seconds at the latest, with or without a key.
    pub async fn begin(&self, clock: &dyn Clock) {
        let deadline = clock.now() + START_PATIENCE;
        let outcome = tokio::select! {
            biased;
            outcome = self.look(clock.now()) => outcome.map_err(|error| error.to_string()),
            () = clock.sleep_until(deadline) => Err(format!("no answer within {START_PATIENCE:?}")),
        };
        if let Err(error) = outcome {
            self.complain(&error);
        }
    }

    /// Looks again and again until stopped. Returns at once where the key was given.
    pub async fn follow(&self, clock: &dyn Clock, stop: CancellationToken) {
        let mut failures: u32 = 0;
        while self.source.is_some() {
            let pause = match self.current() {
                Some(_) => LOOK_EVERY,
                None => FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LOOK_EVERY),
            };
            let look = async {
                clock.sleep_until(clock.now() + pause).await;
                self.look(clock.now()).await
            };
            match stop.run_until_cancelled(look).await {
                None => return,
                Some(Ok(())) => failures = 0,
                Some(Err(error)) => {
                    if failures.is_multiple_of(COMPLAIN_EVERY) {
                        self.complain(&error.to_string());
                    }
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn complain(&self, error: &str) {
        match self.current() {
            Some(_) => {
                tracing::warn!(error, "the key of shared tokens cannot be followed: the one that is held is used on")
            }
            None => tracing::warn!(
                error,
                "there is no key of shared tokens: this broker fetches its own until there is one"
            ),
        }
    }

    /// Takes the data key that is kept, and sees to it that one is. Repeating it changes nothing.
    async fn look(&self, now: Timestamp) -> PortResult<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let (mut renewal, mut has_made) = (None, false);
        for _ in 0..ATTEMPTS {
            let kept = source.kept().await?;
            if let Some(kept) = &kept {
                let is_old = now.duration_since(kept.make_time) > RENEW_AFTER;
                if is_old && renewal.is_none() {
                    renewal = Some(match source.make(Some(kept), now).await {
                        // Whoever was faster has renewed it.
                        Err(error) if error.is(Fault::Conflict) => Ok(()),
                        outcome => outcome,
                    });
                    continue;
                }
                if self.holds(kept) {
                    return renewal.unwrap_or(Ok(()));
                }
                if let Some(bytes) = source.open(kept).await? {
                    self.hold(kept.clone(), &MasterKey::from_bytes(bytes))?;
                    return renewal.unwrap_or(Ok(()));
                }
                if has_made {
                    return Err(failed(Fault::Broken, "what was made does not open"));
                }
                let made_by = kept.wrapping_key.as_str();
                tracing::warn!(made_by, "the data key in the table does not open: another is made in its place");
            }
            match source.make(kept.as_ref(), now).await {
                Ok(()) => has_made = true,
                Err(error) if error.is(Fault::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(failed(Fault::Conflict, "somebody else was faster each time"))
    }

    fn holds(&self, kept: &KeptKey) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|held| held.kept.as_ref() == Some(kept))
    }

    fn hold(&self, kept: KeptKey, master: &MasterKey) -> PortResult<()> {
        let derived = TokenKey::derive(master, &self.table);
        let key = derived.map_err(|_| failed(Fault::Broken, "the token key cannot be derived"))?;
        let (key_id, kms_key) = (key.id(), kept.wrapping_key.as_str());
        tracing::info!(key_id, kms_key, "tokens are shared with the other brokers of the table");
        let held = Held { key: Arc::new(key), kept: Some(kept) };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(())
    }
}

fn failed(fault: Fault, detail: &str) -> PortError {
    PortError::new(Peer::Registry, fault, "look for the key of shared tokens", detail)
}
