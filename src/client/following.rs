//! The task behind a verifier: takes in what the broker sends, and comes back when a stream has ended.
//!
//! What is sent after a `reset` is put together aside, and takes the place of what was there when it is whole. Until then the
//! old counts on, as long as it is fresh. What is not understood ends the stream, and nothing counts any more: it may be a
//! revocation.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::connection::{CALL, Lost};
use super::trusted::Trusted;
use super::verifier::{Fresh, Shared};
use super::wire::{self, Strange};
use crate::proto::verification_service_client::VerificationServiceClient;
use crate::proto::watch_trust_response::Event;
use crate::proto::{TrustChanges, TrustReset, TrustSynced, WatchTrustRequest, WatchTrustResponse};

/// How often revocations are looked through for those of tokens that have expired.
const SWEEP: Duration = Duration::from_secs(60);

/// A broker that is silent for less is not given up.
const SHORTEST: Duration = Duration::from_secs(1);

/// Where a stream is.
struct Place {
    /// Everything, while it is not whole.
    aside: Option<(Trusted, Duration)>,
    /// Whether what the verifier has was whole once, so that changes can be made to it.
    is_whole: bool,
    /// Where to come back to.
    resume_token: String,
    /// How long the broker may be silent.
    patience: Duration,
    swept: Instant,
}

pub(super) async fn follow(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    let mut place = Place::default();
    loop {
        let lost = listen(&shared, &mut place, &mut backoff).await;
        place.aside = None;
        tracing::info!(why = lost.why, "the stream of what verification needs has ended; it is opened again");
        shared.change(|view| view.why = lost.why);
        backoff.wait().await;
    }
}

/// Until the stream ends.
async fn listen(shared: &Shared, place: &mut Place, backoff: &mut Backoff) -> Lost {
    let tenants = shared.options.tenants.iter().map(|tenant| tenant.name()).collect();
    let request = WatchTrustRequest { resume_token: place.resume_token.clone(), tenants };
    let request = match shared.connection.request(request) {
        Ok(request) => request,
        Err(lost) => return lost,
    };
    let mut client = VerificationServiceClient::new(shared.connection.channel.clone());
    let mut stream = match timeout(CALL, client.watch_trust(request)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return status.into(),
        Err(_) => return Lost::here("the broker does not answer"),
    };
    loop {
        match timeout(place.patience, stream.message()).await {
            Ok(Ok(Some(message))) => match place.take(shared, message) {
                Ok(true) => backoff.reset(),
                Ok(false) => {}
                Err(Strange(what)) => {
                    *place = Place::default();
                    shared.change(|view| view.fresh = None);
                    return Lost::here(format!("the broker has sent {what}"));
                }
            },
            Ok(Ok(None)) => return Lost::here("the stream has ended"),
            Ok(Err(status)) => return status.into(),
            Err(_) => return Lost::here("the broker is silent"),
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        let (resume_token, swept) = (String::new(), Instant::now());
        Place { aside: None, is_whole: false, resume_token, patience: CALL, swept }
    }
}

impl Place {
    /// Whether all that there is was taken in with it.
    fn take(&mut self, shared: &Shared, message: WatchTrustResponse) -> Result<bool, Strange> {
        let is_synced = match message.event.ok_or(Strange("a message of a kind that is not known here"))? {
            Event::Reset(reset) => {
                self.reset(&reset)?;
                false
            }
            Event::Changes(changes) => {
                self.change(shared, changes)?;
                false
            }
            Event::Synced(synced) => {
                self.synced(shared, &synced)?;
                true
            }
        };
        if self.aside.is_none() {
            self.resume_token = message.resume_token;
        }
        Ok(is_synced)
    }

    fn reset(&mut self, reset: &TrustReset) -> Result<(), Strange> {
        let leeway = wire::duration(reset.leeway).ok_or(Strange("no leeway"))?;
        self.patience = CALL;
        self.aside = Some((Trusted::default(), leeway));
        Ok(())
    }

    fn change(&mut self, shared: &Shared, changes: TrustChanges) -> Result<(), Strange> {
        // All of them, or none: nobody is to see half of what was sent as one.
        let changes = changes.changes.into_iter().map(wire::change).collect::<Result<Vec<_>, _>>()?;
        let apply = |trusted: &mut Trusted| {
            changes.into_iter().for_each(|change| trusted.apply(change));
            trusted.entries()
        };
        let mut entries = 0;
        match &mut self.aside {
            Some((trusted, _)) => entries = apply(trusted),
            None if self.is_whole => shared.change(|view| entries = apply(&mut view.trusted)),
            None => return Err(Strange("changes without a beginning")),
        }
        match entries <= shared.options.max_entries {
            true => Ok(()),
            false => Err(Strange("more than this verifier may hold")),
        }
    }

    fn synced(&mut self, shared: &Shared, synced: &TrustSynced) -> Result<(), Strange> {
        let instant = |time: Option<prost_types::Timestamp>| wire::timestamp(time).ok_or(Strange("no instant"));
        let (until, broker_time) = (instant(synced.fresh_until)?, instant(synced.broker_time)?);
        // What has passed since the broker said it counts as not passed; the clock here is for that.
        let left = Duration::try_from(until.duration_since(broker_time)).unwrap_or_default();
        // Another word comes five times in it. So a connection that is dead is given up before nobody can tell any more.
        self.patience = (left / 2).max(SHORTEST);
        let fresh = Fresh { until, deadline: Instant::now() + left };
        let aside = self.aside.take();
        if aside.is_none() && !self.is_whole {
            return Err(Strange("an end without a beginning"));
        }
        self.is_whole = true;
        let expired = (self.swept.elapsed() >= SWEEP).then(|| self.sweep_by(shared));
        shared.change(|view| {
            if let Some((trusted, leeway)) = aside {
                (view.trusted, view.leeway) = (trusted, leeway);
            }
            if let Some(now) = expired {
                view.trusted.forget_expired(now);
            }
            view.fresh = Some(fresh);
            view.why = "it has been silent for too long, or the clock here is ahead of its".to_owned();
        });
        Ok(())
    }

    fn sweep_by(&mut self, shared: &Shared) -> Timestamp {
        self.swept = Instant::now();
        (shared.options.now)()
    }
}
