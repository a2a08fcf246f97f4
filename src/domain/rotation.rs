//! Rotation of a client's secret: what is known, what is seen, and so what is left to do.
//!
//! A rotation adds a second secret to the app client, or replaces the app client by a new one. Either way the vault's
//! document has id and secret together, so that `AWSCURRENT` moving is the one moment at which anything changes.
//!
//! [`plan`] is a pure function. The rotator observes, plans, applies the first step, and looks again; a crash at any
//! point costs nothing but another look. Three rules make that safe:
//!
//! - **Stored before registered.** A value is in the vault before Cognito hears of it, so it cannot be lost. Where the
//!   backend chooses the value, it is in the vault before its app client is recorded, and one that is not is condemned.
//! - **Proved before promoted.** `AWSCURRENT` moves only to a secret that has fetched a token.
//! - **Condemned before removed.** A secret is deleted at Cognito only after its id was written down as condemned, in
//!   the record whose version every other write of a rotation checks. Two rotators may race: one of them can no
//!   longer record the secret as its candidate, so nobody promotes what somebody else is about to delete. An id once
//!   condemned is never trusted again, because Cognito's ids have a resolution of one second and may come back. For
//!   app clients the same: one that will not become current leaves the candidate's place before it is deleted.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::Call;
pub use super::credential::{
    AppClient, Attempt, CONDEMNED_MEMORY, Candidate, Credential, HeldSecret, Labels, Observed, PreviousSecret,
    Replacement, Start,
};
use super::id::{AppClientId, RotationId, RotationName, SecretId, VersionId};

/// At most this many secrets at Cognito (`AddUserPoolClientSecret`).
pub const MAX_SECRETS: usize = 2;

/// One step. Each is idempotent, and each may be the last before a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Write down that this secret is never to be trusted.
    Condemn(SecretId),
    /// Delete a condemned secret at Cognito.
    Remove(SecretId),
    /// Generate a value and write it to the vault as `AWSPENDING`.
    Stage(VersionId),
    /// `AddUserPoolClientSecret` with the staged value, or `CreateUserPoolClient`.
    Register(VersionId),
    /// Write the whole document of a new app client, its id included, as `AWSPENDING`.
    Complete(VersionId),
    /// Fetch a token with it.
    Prove(VersionId),
    /// Move `AWSCURRENT` by compare-and-swap; `AWSPREVIOUS` follows.
    Promote { from: VersionId, to: VersionId },
    /// Take `AWSPENDING` off: left behind, it would block the next rotation that Secrets Manager manages.
    ClearPending(VersionId),
    /// Take `AWSPREVIOUS` off.
    ClearPrevious(VersionId),
    /// Delete an app client that was replaced, or that is condemned.
    RemoveAppClient(AppClient),
    /// Look for what a creation made that was given up; by now it is there or never will be.
    Search(Attempt),
    /// The overlap: nothing to do until then.
    Wait(Timestamp),
    /// Give the candidate up.
    Abandon(Abandoned),
    /// The previous secret is gone everywhere: the rotation that replaced it is over.
    Finish(RotationId),
}

/// Why a candidate was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    for app_client in &credential.condemned_app_clients {
        steps.push(Step::RemoveAppClient(app_client.clone()));
    }
    let (settled, unsettled): (Vec<_>, Vec<_>) = credential.lost.iter().partition(|lost| now >= lost.settled_time());
    steps.extend(settled.into_iter().map(|lost| Step::Search(lost.clone())));

    // A stray holds one of two slots. The last secret cannot be deleted: it goes once the candidate is there.
    let is_last = observed.secrets.len() == 1;
    // What stands for a secret that is not listed may stand for the current one.
    let is_stray = |secret: &&SecretId| !is_last && !secret.is_unlisted() && !credential.keeps(secret);
    for secret in observed.secrets.iter().filter(is_stray) {
        remove(secret, &mut steps, &mut gone);
    }

    let previous_is_due = credential.previous.as_ref().filter(|previous| now >= previous.retire_time);
    if let Some(previous) = previous_is_due {
        if previous.held.app_client == credential.current.app_client {
            remove(&previous.held.secret, &mut steps, &mut gone);
        }
        steps.extend(credential.replaced().cloned().map(Step::RemoveAppClient));
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
    let until = waiting.map(|previous| previous.retire_time);
    let until = until.into_iter().chain(unsettled.into_iter().map(Attempt::settled_time)).min();
    steps.extend(until.map(Step::Wait));
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
    let pending = observed.labels.pending.as_ref();
    let promoted = observed.labels.current.as_ref() == Some(to);
    let given_up = if promoted {
        None
    } else if observed.labels.current.as_ref() != Some(from) {
        Some(Abandoned::CurrentMovedElsewhere)
    } else if candidate.is_given_up(now) {
        Some(Abandoned::NotProved)
    } else {
        None
    };
    let registered = candidate
        .secret
        .as_ref()
        .filter(|secret| observed.secrets.contains(secret) && !credential.condemned.contains_key(secret));
    if let Some(why) = given_up {
        if let Some(secret) = registered {
            remove(secret, steps);
        }
        let draft = candidate.replacement.as_ref().map(|replacement| &replacement.draft);
        if let Some(pending) = pending.filter(|pending| *pending == to || Some(*pending) == draft) {
            steps.push(Step::ClearPending(pending.clone()));
        }
        steps.push(Step::Abandon(why));
        steps.extend(candidate.new_app_client().cloned().map(Step::RemoveAppClient));
        return;
    }

    let is_registered = match &candidate.replacement {
        None => {
            if !promoted && pending != Some(to) {
                steps.push(Step::Stage(to.clone()));
            }
            if registered.is_none() {
                steps.push(Step::Register(to.clone()));
            }
            registered.is_some()
        }
        Some(replacement) if replacement.app_client.is_none() => {
            if pending != Some(&replacement.draft) {
                steps.push(Step::Stage(replacement.draft.clone()));
            }
            steps.push(Step::Register(replacement.draft.clone()));
            steps.push(Step::Complete(to.clone()));
            false
        }
        Some(_) => {
            if !promoted && pending != Some(to) {
                steps.push(Step::Complete(to.clone()));
            }
            true
        }
    };
    if !is_registered || !candidate.proved {
        steps.push(Step::Prove(to.clone()));
    }
    steps.push(Step::Promote { from: from.clone(), to: to.clone() });
    steps.push(Step::ClearPending(to.clone()));
    // The forecast of what follows the promotion.
    let retire_time = now + candidate.overlap;
    if retire_time > now {
        steps.push(Step::Wait(retire_time));
    }
    if candidate.replacement.is_some() {
        steps.extend(credential.current.app_client.clone().map(Step::RemoveAppClient));
    } else if observed.secrets.contains(&credential.current.secret) {
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

/// How the secret is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// A second secret of the same app client.
    #[default]
    SecondSecret,
    /// A new app client in place of the old.
    ReplaceAppClient,
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
    #[serde(default)]
    pub method: Method,
    /// Whose secret becomes current; `None` until that is known.
    #[serde(default)]
    pub app_client: Option<AppClientId>,
    /// Only of a replacement.
    #[serde(default)]
    pub replaced: Option<AppClientId>,
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
#[path = "tests/rotation.rs"]
mod tests;
