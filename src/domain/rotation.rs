//! Rotation of an app client's secret: what is known, what is seen, and so what is left to do.
//!
//! [`plan`] is a pure function. The rotator observes, plans, applies the first step, and looks again; a crash at any
//! point costs nothing but another look. Three rules make that safe:
//!
//! - **Stored before registered.** A value is in the vault before Cognito hears of it, so it cannot be lost.
//! - **Proved before promoted.** `AWSCURRENT` moves only to a secret that has fetched a token.
//! - **Condemned before removed.** A secret is deleted at Cognito only after its id was written down as condemned, in
//!   the record whose version every other write of a rotation checks. Two rotators may race: one of them can no
//!   longer record the secret as its candidate, so nobody promotes what somebody else is about to delete. An id once
//!   condemned is never trusted again, because Cognito's ids have a resolution of one second and may come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::Call;
use super::id::{ClientName, RotationId, RotationName, SecretId, VersionId};

/// At most this many secrets at Cognito (`AddUserPoolClientSecret`).
pub const MAX_SECRETS: usize = 2;

/// How long a condemned id is remembered after it is gone from Cognito. A deletion that was under way when its broker
/// stopped has long failed by then.
pub const CONDEMNED_MEMORY: Duration = Duration::from_secs(15 * 60);

/// What Keyward knows of a client's secrets: the one record that every write of a rotation checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub client: ClientName,
    /// The secret that is served, and the version that holds it as `AWSCURRENT`.
    pub current: HeldSecret,
    /// The secret on its way in.
    pub candidate: Option<Candidate>,
    /// The secret on its way out.
    pub previous: Option<PreviousSecret>,
    /// Ids never to be trusted again, and since when.
    pub condemned: BTreeMap<SecretId, Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSecret {
    pub secret: SecretId,
    pub version: VersionId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub rotation: RotationId,
    pub version: VersionId,
    /// Cognito's id of it, once registered.
    pub secret: Option<SecretId>,
    /// Whether it has fetched a token.
    pub proved: bool,
    /// How long the secret that it replaces stays.
    pub overlap: Duration,
    /// When to give it up; set when it was first refused a token.
    pub give_up_time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub rotation: RotationId,
    pub held: HeldSecret,
    /// When the overlap is over.
    pub retire_time: Timestamp,
}

/// What Cognito and Secrets Manager say now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The app client's secrets at Cognito, by id.
    pub secrets: Vec<SecretId>,
    pub labels: Labels,
}

/// Which version each staging label is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub current: Option<VersionId>,
    pub pending: Option<VersionId>,
    pub previous: Option<VersionId>,
}

/// One step. Each is idempotent, and each may be the last before a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write down that this secret is never to be trusted.
    Condemn(SecretId),
    /// Delete a condemned secret at Cognito.
    Remove(SecretId),
    /// Generate a value and write it to the vault as `AWSPENDING`.
    Stage(VersionId),
    /// `AddUserPoolClientSecret` with the staged value.
    Register(VersionId),
    /// Fetch a token with it.
    Prove(VersionId),
    /// Move `AWSCURRENT` by compare-and-swap; `AWSPREVIOUS` follows.
    Promote { from: VersionId, to: VersionId },
    /// Take `AWSPENDING` off: left behind, it would block the next rotation that Secrets Manager manages.
    ClearPending(VersionId),
    /// Take `AWSPREVIOUS` off.
    ClearPrevious(VersionId),
    /// The overlap: nothing to do until then.
    Wait(Timestamp),
    /// Give the candidate up.
    Abandon(Abandoned),
    /// The previous secret is gone everywhere: the rotation that replaced it is over.
    Finish(RotationId),
}

/// Why a candidate was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abandoned {
    /// Refused a token for as long as a new secret may take to be known everywhere.
    NotProved,
    /// `AWSCURRENT` was moved by somebody else.
    CurrentMovedElsewhere,
}

impl Abandoned {
    pub fn reason(self) -> &'static str {
        match self {
            Abandoned::NotProved => "SECRET_NOT_PROVED",
            Abandoned::CurrentMovedElsewhere => "CURRENT_MOVED_ELSEWHERE",
        }
    }
}

impl Candidate {
    /// Whether it was refused a token for too long.
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        !self.proved && self.give_up_time.is_some_and(|give_up| now >= give_up)
    }
}

impl Credential {
    /// Whether a secret at Cognito is one of ours to keep.
    pub fn keeps(&self, secret: &SecretId) -> bool {
        let candidate = self.candidate.as_ref().and_then(|candidate| candidate.secret.as_ref());
        let previous = self.previous.as_ref().map(|previous| &previous.held.secret);
        !self.condemned.contains_key(secret)
            && (self.current.secret == *secret || candidate == Some(secret) || previous == Some(secret))
    }

    /// Whether it is or was the current secret: what a rotation retires.
    pub fn has_served(&self, secret: &SecretId) -> bool {
        let previous = self.previous.as_ref().map(|previous| &previous.held.secret);
        self.current.secret == *secret || previous == Some(secret)
    }
}

/// Whether a rotation can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It has, in place of a candidate where there was one.
    Begun { superseded: Option<Candidate> },
    /// Not before this one is over.
    Running(RotationId),
    /// Not before the proved candidate is current: whoever is at work on it may be moving `AWSCURRENT` to it at this
    /// moment, and to supersede it then would have its secret removed as a stray while it is served.
    PromoteFirst { from: VersionId, to: VersionId },
}

impl Credential {
    /// Takes a new candidate in. A compromise supersedes whatever is under way, and ends an overlap.
    pub fn start(&mut self, candidate: Candidate, is_compromise: bool, now: Timestamp, labels: &Labels) -> Start {
        if !is_compromise {
            let running = self.candidate.as_ref().map(|candidate| &candidate.rotation);
            let overlapping = self.previous.as_ref().map(|previous| &previous.rotation);
            if let Some(rotation) = running.or(overlapping) {
                return Start::Running(rotation.clone());
            }
        }
        let (from, current) = (&self.current.version, labels.current.as_ref());
        if let Some(proved) = self.candidate.as_ref().filter(|candidate| candidate.proved)
            && (current == Some(from) || current == Some(&proved.version))
        {
            return Start::PromoteFirst { from: from.clone(), to: proved.version.clone() };
        }
        if let Some(previous) = self.previous.as_mut() {
            previous.retire_time = now;
        }
        Start::Begun { superseded: self.candidate.replace(candidate) }
    }

    /// Drops condemned ids that can no longer come back: gone from Cognito, and long enough ago.
    pub fn forget_condemned(&mut self, now: Timestamp, observed: &Observed) {
        let memory = jiff::SignedDuration::try_from(CONDEMNED_MEMORY).unwrap_or_default();
        self.condemned
            .retain(|secret, since| observed.secrets.contains(secret) || now.duration_since(*since) <= memory);
    }
}

/// Everything that is left to do, in order; nothing when all is as it should be.
///
/// The first step holds for what was observed. Those after it are a forecast that assumes each one before it
/// succeeds, for people who want to know what a rotation will do.
pub fn plan(now: Timestamp, credential: &Credential, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut gone = BTreeSet::new();
    let remove = |secret: &SecretId, steps: &mut Vec<Step>, gone: &mut BTreeSet<SecretId>| {
        if observed.secrets.contains(secret) && gone.insert(secret.clone()) {
            if !credential.condemned.contains_key(secret) {
                steps.push(Step::Condemn(secret.clone()));
            }
            steps.push(Step::Remove(secret.clone()));
        }
    };

    // A stray holds one of two slots.
    for secret in observed.secrets.iter().filter(|secret| !credential.keeps(secret)) {
        remove(secret, &mut steps, &mut gone);
    }

    let previous_is_due = credential.previous.as_ref().filter(|previous| now >= previous.retire_time);
    if let Some(previous) = previous_is_due {
        remove(&previous.held.secret, &mut steps, &mut gone);
        if observed.labels.previous.as_ref() == Some(&previous.held.version) {
            steps.push(Step::ClearPrevious(previous.held.version.clone()));
        }
        steps.push(Step::Finish(previous.rotation.clone()));
    }

    let waiting = credential.previous.as_ref().filter(|_| previous_is_due.is_none());
    match &credential.candidate {
        // Both slots are taken until the overlap is over.
        Some(candidate) if waiting.is_none() => {
            bring_in(now, credential, candidate, observed, &mut steps, |secret, steps| {
                remove(secret, steps, &mut gone);
            });
        }
        Some(_) => {}
        None => {
            if let Some(pending) = &observed.labels.pending {
                steps.push(Step::ClearPending(pending.clone()));
            }
        }
    }
    if let Some(previous) = waiting {
        steps.push(Step::Wait(previous.retire_time));
    }
    steps
}

/// The candidate's way from the vault to `AWSCURRENT`, or out.
fn bring_in(
    now: Timestamp,
    credential: &Credential,
    candidate: &Candidate,
    observed: &Observed,
    steps: &mut Vec<Step>,
    mut remove: impl FnMut(&SecretId, &mut Vec<Step>),
) {
    let (from, to) = (&credential.current.version, &candidate.version);
    let promoted = observed.labels.current.as_ref() == Some(to);
    let registered = candidate
        .secret
        .as_ref()
        .filter(|secret| observed.secrets.contains(secret) && !credential.condemned.contains_key(secret));

    let given_up = if promoted {
        None
    } else if observed.labels.current.as_ref() != Some(from) {
        Some(Abandoned::CurrentMovedElsewhere)
    } else if candidate.is_given_up(now) {
        Some(Abandoned::NotProved)
    } else {
        None
    };
    if let Some(why) = given_up {
        if let Some(secret) = registered {
            remove(secret, steps);
        }
        if observed.labels.pending.as_ref() == Some(to) {
            steps.push(Step::ClearPending(to.clone()));
        }
        steps.push(Step::Abandon(why));
        return;
    }

    if !promoted && observed.labels.pending.as_ref() != Some(to) {
        steps.push(Step::Stage(to.clone()));
    }
    if registered.is_none() {
        steps.push(Step::Register(to.clone()));
    }
    if registered.is_none() || !candidate.proved {
        steps.push(Step::Prove(to.clone()));
    }
    steps.push(Step::Promote { from: from.clone(), to: to.clone() });
    steps.push(Step::ClearPending(to.clone()));
    // The forecast of what follows the promotion.
    let retire_time = now + candidate.overlap;
    if retire_time > now {
        steps.push(Step::Wait(retire_time));
    }
    if observed.secrets.contains(&credential.current.secret) {
        steps.push(Step::Condemn(credential.current.secret.clone()));
        steps.push(Step::Remove(credential.current.secret.clone()));
    }
    steps.push(Step::ClearPrevious(from.clone()));
    steps.push(Step::Finish(candidate.rotation.clone()));
}

/// Why a rotation was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    Requested,
    Scheduled,
    /// The old secret is in wrong hands: no overlap.
    Compromise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RotationState {
    /// The new secret is not current yet.
    Running,
    /// Both secrets work.
    Overlap,
    Succeeded,
    /// The candidate was given up; the old secret is still current.
    Failed,
}

/// A step that was done, for those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Milestone {
    Staged,
    Registered,
    Proved,
    Promoted,
    Retired,
    StrayRemoved,
    Abandoned,
}

/// The history of one rotation. The plan does not read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub name: RotationName,
    pub state: RotationState,
    pub trigger: Trigger,
    pub reason: String,
    pub overlap: Duration,
    pub milestones: Vec<(Milestone, Timestamp)>,
    pub cause: Call,
    pub create_time: Timestamp,
    pub promote_time: Option<Timestamp>,
    pub retire_time: Option<Timestamp>,
    pub end_time: Option<Timestamp>,
    /// Attempts that failed.
    pub failures: u32,
    pub next_attempt_time: Option<Timestamp>,
    pub last_error_reason: String,
    pub last_error: String,
}

impl Rotation {
    /// Milestones kept at the most: strays are removed one by one, and a history has an end.
    const MAX_MILESTONES: usize = 32;

    pub fn reached(&mut self, milestone: Milestone, now: Timestamp) {
        if self.milestones.len() < Self::MAX_MILESTONES {
            self.milestones.push((milestone, now));
        }
    }

    /// What is still to be done, by what was; with its time where that is not as soon as possible.
    pub fn left(&self, now: Timestamp) -> Vec<(Milestone, Option<Timestamp>)> {
        const WAY_IN: [Milestone; 4] =
            [Milestone::Staged, Milestone::Registered, Milestone::Proved, Milestone::Promoted];
        match self.state {
            RotationState::Running => {
                let is_reached = |step: &Milestone| self.milestones.iter().any(|(reached, _)| reached == step);
                let done = WAY_IN.iter().rposition(is_reached).map_or(0, |last| last + 1);
                let retire_time = (!self.overlap.is_zero()).then(|| now + self.overlap);
                let ahead = WAY_IN[done..].iter().map(|step| (*step, None));
                ahead.chain([(Milestone::Retired, retire_time)]).collect()
            }
            RotationState::Overlap => vec![(Milestone::Retired, self.retire_time)],
            RotationState::Succeeded | RotationState::Failed => Vec::new(),
        }
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
