//! Rotates the secrets of many clients by one call: all of a tenant's, or everybody's, or those that a filter leaves.
//!
//! Each client's rotation is one like any other, started by the [`Rotator`] and carried on by its own journal. So whatever
//! happens to the call or to its broker, what was begun is finished, and nothing else has to be. Here is only who comes
//! next ([`lanes`]), and what became of whom. It must never:
//! - **stop for one client**: what cannot be begun is passed over with its reason. Only a registry that is away ends the
//!   call, since nobody's rotation could be written down then;
//! - **begin a rotation when its caller has left**: what an operator breaks off goes no further. What was begun is
//!   finished all the same, and the same `request_id` takes up the rest;
//! - **rotate a client twice under one `request_id`**: each rotation is committed with a receipt of its client's, beside
//!   that of the whole call, whichever brokers the call is sent to;
//! - **hold the fleet in memory**: clients are read by pages, and only a window of them is known;
//! - **let one pool wait for another, or crowd a pool**: see [`walk`] and [`lanes`].

mod lanes;
mod pages;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::api::{FleetOutcome, FleetProgress, FleetRequest, RotationView};
use super::background::Background;
use super::journals::Journals;
use super::records::Change;
use super::records::shelves::client_key;
use super::rotations::Rotations;
use super::rotations::rotator::Rotator;
use super::world::{Asked, Part, World};
use crate::domain::audit::Call;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::{ClientName, RotationName};
use crate::domain::journal::Task;
use crate::domain::pool::Pool;
use crate::domain::rotation::{RotationState, Trigger};
use crate::domain::tenant::Tenant;
use lanes::Candidate;
use walk::{AT_A_TIME, Walk};

/// How often a client's rotation is tried to be begun before it is passed over, where it may help to wait.
const TRIES: u32 = 3;
/// How often a rotation is looked at that another broker has taken up, and the time between two looks.
const LOOKS: u32 = 30;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

pub struct Fleet {
    world: Arc<World>,
    rotator: Arc<Rotator>,
    rotations: Arc<Rotations>,
    journals: Arc<Journals>,
    background: Background,
    /// Clients that are seen to at one time, whoever called.
    slots: Arc<Semaphore>,
}

/// One call.
struct Asking {
    call: Call,
    request: FleetRequest,
    validate_only: bool,
    /// Until when it is known what was begun under its `request_id`; `None` without one.
    known_until: Option<Timestamp>,
    /// Something may have been begun under its `request_id` before.
    is_again: bool,
    /// Its caller reads no further.
    left: CancellationToken,
}

/// How one attempt at a client ended.
enum Attempt {
    Settled(FleetOutcome),
    /// Nothing was begun; it may help to wait.
    NotBegun(Error),
    /// Another broker has taken it up.
    Elsewhere(RotationView),
}

impl Fleet {
    pub fn new(
        world: Arc<World>,
        rotator: Arc<Rotator>,
        rotations: Arc<Rotations>,
        journals: Arc<Journals>,
        background: Background,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(AT_A_TIME));
        Fleet { world, rotator, rotations, journals, background, slots }
    }

    /// Tells what becomes of each client that matches, as it becomes of it, and at last how many there were. Dropping the
    /// stream begins nothing more.
    pub fn rotate(
        self: &Arc<Self>,
        call: Call,
        request: FleetRequest,
        validate_only: bool,
    ) -> BoxStream<'static, Result<FleetProgress>> {
        let fleet = self.clone();
        let begun = async move {
            // What is stored is to be known in memory too, also where the caller leaves meanwhile.
            let asking = fleet.apart(fleet.clone().begin(call, request, validate_only)).await?;
            Ok::<_, Error>(Walk::new(fleet, asking).told())
        };
        stream::once(begun).try_flatten().boxed()
    }

    /// Writes down that the call was made.
    async fn begin(self: Arc<Self>, call: Call, request: FleetRequest, validate_only: bool) -> Result<Asking> {
        let begun = self.world.settle(&call, || self.try_begin(&call, &request, validate_only)).await;
        let (is_again, known_until) = begun?;
        Ok(Asking { call, request, validate_only, known_until, is_again, left: CancellationToken::new() })
    }

    async fn try_begin(
        &self,
        call: &Call,
        request: &FleetRequest,
        validate_only: bool,
    ) -> Result<(bool, Option<Timestamp>)> {
        let asked = self.world.asked(call).await?;
        let records = &self.world.records;
        if let Some(tenant) = &request.tenant
            && records.view::<Tenant>(tenant.as_str()).await?.is_none()
        {
            return Err(Error::not_found(tenant.name()));
        }
        if let Some(pool) = &request.pool
            && records.view::<Pool>(pool.as_str()).await?.is_none()
        {
            return Err(Error::not_found(pool.name()));
        }
        match asked {
            Asked::Again { expire_time, .. } => Ok((true, Some(expire_time))),
            Asked::Afresh(receipt) => {
                let known_until = receipt.expire_time();
                if !validate_only {
                    let parent = request.parent();
                    let event = call.event(self.world.now(), &parent).detail(&request.rotation.reason);
                    records.commit(receipt.file(Change::because(event), &parent)).await?;
                }
                Ok((false, known_until))
            }
        }
    }

    /// Puts the end on record.
    async fn end(self: Arc<Self>, asking: Arc<Asking>, summary: String) -> Result<()> {
        if asking.validate_only {
            return Ok(());
        }
        let call = asking.call.doing("keyward.fleet/done");
        let event = call.event(self.world.now(), asking.request.parent()).detail(summary);
        self.world.records.commit(Change::because(event)).await
    }

    /// Sees to one client, once there is a place for it. What has begun goes on to its end without the caller; between two
    /// attempts nothing does.
    async fn see_to(self: Arc<Self>, asking: Arc<Asking>, candidate: Candidate) -> Result<FleetOutcome> {
        let Candidate { name, mut begun, .. } = candidate;
        let (mut tries, mut looks) = (1, 1);
        loop {
            let attempt = Box::pin(self.clone().attempt(asking.clone(), name.clone(), begun.clone()));
            let (slots, left) = (self.slots.clone(), asking.left.clone());
            let ended = self.apart(async move {
                // Waited for here: whoever reads no further would keep a place that became free for them.
                let slot = left.run_until_cancelled(slots.acquire_owned()).await;
                let _slot = slot.ok_or_else(|| Error::internal("waiting for a place", "the caller has left"))?;
                attempt.await
            });
            let wait = match ended.await? {
                Attempt::Settled(outcome) => return Ok(outcome),
                Attempt::NotBegun(error) if tries < TRIES => {
                    tries += 1;
                    error.retry_delay().unwrap_or(BETWEEN_LOOKS)
                }
                Attempt::NotBegun(error) => return Ok(passed_over(&name, &error)),
                Attempt::Elsewhere(view) if looks < LOOKS => {
                    looks += 1;
                    begun = Some(view.rotation.name);
                    BETWEEN_LOOKS
                }
                Attempt::Elsewhere(view) => {
                    return Ok(FleetOutcome::Behind(view, Reason::RotationRunning.to_string()));
                }
            };
            self.world.clock.sleep_until(self.world.now() + wait).await;
        }
    }

    async fn attempt(
        self: Arc<Self>,
        asking: Arc<Asking>,
        name: ClientName,
        begun: Option<RotationName>,
    ) -> Result<Attempt> {
        let rotation = match begun {
            Some(begun) => {
                let seen = match self.rotations.get(&begun).await {
                    Ok(seen) => seen,
                    Err(error) => return not_begun(&name, error),
                };
                if asking.validate_only || seen.rotation.state != RotationState::Running {
                    return Ok(Attempt::Settled(outcome(seen, None)));
                }
                begun
            }
            None => match self.start(&asking, &name).await {
                Ok(view) if asking.validate_only => return Ok(Attempt::Settled(FleetOutcome::Planned(view))),
                Ok(view) => view.rotation.name,
                Err(error) => return not_begun(&name, error),
            },
        };
        let ran = self.journals.run(Task::RotateSecret(name.clone())).await;
        let view = match self.rotations.get(&rotation).await {
            Ok(view) => view,
            Err(error) => return not_begun(&name, error),
        };
        Ok(match (view.rotation.state, &ran) {
            // A run that has come to nothing, and well, is one that another broker holds.
            (RotationState::Running, Ok(())) if view.rotation.last_error_reason.is_empty() => Attempt::Elsewhere(view),
            _ => Attempt::Settled(outcome(view, ran.err())),
        })
    }

    async fn start(&self, asking: &Asking, name: &ClientName) -> Result<RotationView> {
        let Asking { call, request, validate_only, known_until, .. } = asking;
        let trigger = if request.rotation.immediate { Trigger::Compromise } else { Trigger::Requested };
        let part = known_until.map(|expire_time| Part { key: client_key(name), expire_time });
        self.rotator.start_part(call, part.as_ref(), name, &request.rotation, trigger, *validate_only).await
    }

    /// As a task of its own, which goes on when nobody waits for it any more.
    async fn apart<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.background.finish("rotating many clients", work).await
    }
}

/// Of a rotation that was begun. `failed` is how its run ended.
fn outcome(view: RotationView, failed: Option<Error>) -> FleetOutcome {
    let rotation = &view.rotation;
    if rotation.promote_time.is_some() {
        return FleetOutcome::Promoted(view);
    }
    let reason = match (rotation.last_error_reason.as_str(), failed) {
        ("", Some(error)) => error.reason().to_string(),
        ("", None) => Reason::RotationRunning.to_string(),
        (reason, _) => reason.to_owned(),
    };
    FleetOutcome::Behind(view, reason)
}

fn not_begun(name: &ClientName, error: Error) -> Result<Attempt> {
    match error.reason() {
        // Nothing can be written down for anybody.
        Reason::RegistryUnavailable => Err(error),
        _ if error.kind().retryable() => Ok(Attempt::NotBegun(error)),
        _ => Ok(Attempt::Settled(passed_over(name, &error))),
    }
}

fn passed_over(name: &ClientName, error: &Error) -> FleetOutcome {
    let reason = error.reason();
    tracing::debug!(client = %name, %error, cause = error.internal_detail(), "a client is passed over");
    FleetOutcome::PassedOver(reason)
}
