//! What somebody needs to verify tokens by themselves: all of it, and then each change.
//!
//! Whoever watches has a place in the log of changes (`trust_log.rs`) and nothing else that grows: a page of the registry or
//! of the log at a time, made when it is asked for. So a watcher that reads slowly costs nobody anything, and a million clients
//! are a million times a page of them. A watcher must never:
//!
//! - **miss something silently.** Its place in the log is taken before the first page is read, and what changes while pages
//!   are read is sent between them. So whatever a page had, something later comes after it. Where the log has lost its
//!   place, or this broker has missed changes of others, it begins with everything again, which it says; where that happens
//!   again and again its stream ends.
//! - **be told that all is fresh when it may not be.** The instant that is told was looked at before the end of the log was,
//!   and that end was reached. Where other brokers use the registry it is when the last read of the feed began; a broker that
//!   hears nothing for too long to say "verified" ends the streams.
//! - **be told what was.** What is sent of a change is looked up when it is sent.

mod finding;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::api::{Page, TrustMessage, TrustQuery};
use super::basis::Basis;
use super::records::IssuerPool;
use super::verifier::keys::Keys;
use super::world::World;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::Issuer;
use watching::Watching;

/// Issuers whose keys are read at a time, for all watchers together.
const READS_AT_ONCE: usize = 8;
/// Issuers of a page, while their keys are kept.
const PAGE: usize = 200;
/// How long those are to wait for whom there is no place.
const RETRY: Duration = Duration::from_secs(1);

pub struct Trust {
    world: Arc<World>,
    keys: Arc<Keys>,
    places: Arc<Semaphore>,
    /// Somebody watches.
    arrival: Notify,
}

impl Trust {
    pub fn new(world: Arc<World>, keys: Arc<Keys>) -> Self {
        let places = Arc::new(Semaphore::new(world.settings.verification.max_watchers));
        Trust { world, keys, places, arrival: Notify::new() }
    }

    /// Fails with OVERLOADED while there are as many watchers as there may be.
    pub fn watch(self: &Arc<Self>, query: TrustQuery) -> Result<BoxStream<'static, Result<TrustMessage>>> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            Error::new(Reason::Overloaded, "as many watch already as this broker takes").retry_after(RETRY)
        })?;
        self.arrival.notify_one();
        let start = Watching::new(self.clone(), query, place);
        let messages = stream::unfold(Some(start), |watching| async {
            let mut watching = watching?;
            match watching.next().await {
                Ok(message) => Some((Ok(message), Some(watching))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(messages.boxed())
    }

    /// Keeps the keys of all issuers current while somebody watches, until stopped: those who ask for a verdict have them
    /// read anew, and those who watch ask for none. It is the one thing here that goes over all pools of the platform, some 200
    /// at a time; without watchers it does not.
    pub async fn keep_keys(&self, stop: CancellationToken) {
        let settings = &self.world.settings.verification;
        let interval = settings.key_refetch_floor.min(settings.key_max_age / 4);
        while !stop.is_cancelled() {
            if self.places.available_permits() == settings.max_watchers {
                stop.run_until_cancelled(self.arrival.notified()).await;
                continue;
            }
            if let Some(Err(error)) = stop.run_until_cancelled(self.read_keys()).await {
                tracing::warn!(%error, "the issuers whose keys are to be read cannot be looked up");
            }
            let next = self.world.now() + interval;
            stop.run_until_cancelled(self.world.clock.sleep_until(next)).await;
        }
    }

    async fn read_keys(&self) -> Result<()> {
        let mut page = Page { after: None, size: PAGE };
        loop {
            let listing = self.world.records.list::<IssuerPool>("", &page).await?;
            let issuers: Vec<_> = listing.items.into_iter().map(|known| known.value.issuer).collect();
            let reads = stream::iter(issuers).map(|issuer| self.read_keys_of(issuer));
            let mut reads = reads.buffer_unordered(READS_AT_ONCE);
            while let Some(read) = reads.next().await {
                read?;
            }
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn read_keys_of(&self, issuer: Issuer) -> Result<()> {
        match self.world.pool_of(&issuer, &mut Basis::default()).await? {
            Some(pool) => self.keys.all_of(&pool).await.map(drop),
            None => Ok(()),
        }
    }
}
