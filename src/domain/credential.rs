//! What Keyward knows of a client's secrets and app clients: the one record that every write of a rotation checks.
//!
//! Whatever a rotation has made or may have made at Cognito is in here until it is known to be gone, so that a crash
//! leaves nothing behind. Each app client in here holds a place in its pool, and so does the candidate's creation; the
//! place is given back in the change that takes it out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{AppClientId, ClientName, PoolId, RotationId, SecretId, VersionId};

/// How long a condemned id is remembered after it is gone from Cognito, and a creation that may still happen. What was
/// under way when its broker stopped has long failed by then.
pub const CONDEMNED_MEMORY: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// App clients that were to replace the current one and never will.
    #[serde(default)]
    pub condemned_app_clients: BTreeSet<AppClient>,
    /// Creations that were given up and may have happened, or happen yet.
    #[serde(default)]
    pub lost: Vec<Attempt>,
}

/// An app client and the pool that it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppClient {
    pub pool: PoolId,
    pub id: AppClientId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeldSecret {
    /// Whose secret it is. `None` only in a record from before app clients could be replaced, until
    /// [`Credential::complete`].
    #[serde(default)]
    pub app_client: Option<AppClient>,
    pub secret: SecretId,
    pub version: VersionId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    pub rotation: RotationId,
    /// The version that becomes current.
    pub version: VersionId,
    /// Cognito's id of it, once registered.
    pub secret: Option<SecretId>,
    /// Whether it has fetched a token.
    pub proved: bool,
    /// How long the secret that it replaces stays.
    pub overlap: Duration,
    /// When to give it up; set when it was first refused a token.
    pub give_up_time: Option<Timestamp>,
    /// The new app client that comes with it; `None` for a second secret of the current one.
    #[serde(default)]
    pub replacement: Option<Replacement>,
}

/// An app client that is to take the place of the current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Replacement {
    /// The version that keeps the secret before there is an app client id to go with it.
    pub draft: VersionId,
    /// Whether the tokens of the app client that it replaces are revoked when it becomes current.
    pub revokes: bool,
    /// The creation that may have happened: creating cannot be repeated, so this is written down first.
    pub attempt: Option<Attempt>,
    pub attempts: u32,
    /// Once it is known.
    pub app_client: Option<AppClient>,
}

/// A creation of an app client under a name that no other creation has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    pub marker: String,
    pub pool: PoolId,
    pub time: Timestamp,
    /// Whether a place is kept for what it made. Of a candidate's attempts only the last has one.
    pub placed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub rotation: RotationId,
    pub held: HeldSecret,
    /// When the overlap is over.
    pub retire_time: Timestamp,
    /// Whether its app client is deleted, where that was replaced.
    #[serde(default)]
    pub removed: bool,
}

impl Replacement {
    pub fn new(draft: VersionId, revokes: bool) -> Self {
        Replacement { draft, revokes, attempt: None, attempts: 0, app_client: None }
    }
}

impl Candidate {
    /// Whether it was refused a token for too long.
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        !self.proved && self.give_up_time.is_some_and(|give_up| now >= give_up)
    }

    /// The app client that it comes with, once that is known.
    pub fn new_app_client(&self) -> Option<&AppClient> {
        self.replacement.as_ref().and_then(|replacement| replacement.app_client.as_ref())
    }

    /// Goes on as a replacement, since the backend has no second secrets. What was staged is the draft now.
    pub fn replace_instead(&mut self, whole: VersionId) {
        let draft = std::mem::replace(&mut self.version, whole);
        self.replacement = Some(Replacement::new(draft, false));
        // That of the old app client, if it was registered while there were second secrets, goes with it.
        self.secret = None;
        self.proved = false;
    }
}

impl Attempt {
    /// From then on it has happened or never will.
    pub fn settled_time(&self) -> Timestamp {
        self.time + CONDEMNED_MEMORY
    }
}

/// What Cognito and Secrets Manager say now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The secrets of the current app client at Cognito, by id, the oldest first; [`SecretId::unlisted`] where Cognito lists
    /// none.
    pub secrets: Vec<SecretId>,
    pub labels: Labels,
}

/// Which version each staging label is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    pub current: Option<VersionId>,
    pub pending: Option<VersionId>,
    pub previous: Option<VersionId>,
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
    /// The first of a client.
    pub fn new(client: ClientName, current: HeldSecret) -> Self {
        Credential {
            client,
            current,
            candidate: None,
            previous: None,
            condemned: BTreeMap::new(),
            condemned_app_clients: BTreeSet::new(),
            lost: Vec::new(),
        }
    }

    /// Says whose the secrets are in a record that does not: `own` is the client's only app client then.
    pub fn complete(&mut self, own: &AppClient) {
        let previous = self.previous.iter_mut().map(|previous| &mut previous.held);
        for held in previous.chain([&mut self.current]) {
            held.app_client.get_or_insert_with(|| own.clone());
        }
    }

    /// Learns the id of the current secret where it was written down while the backend listed none. It was the only one
    /// then, so it is the oldest of those that are listed now.
    pub fn recognise(&mut self, listed: &[SecretId]) {
        let candidate = self.candidate.as_ref().and_then(|candidate| candidate.secret.as_ref());
        let is_ours = |id: &&SecretId| {
            !id.is_unlisted() && !self.condemned.contains_key(*id) && candidate.is_none_or(|candidate| candidate != *id)
        };
        if self.current.secret.is_unlisted()
            && let Some(oldest) = listed.first().filter(is_ours)
        {
            self.current.secret = oldest.clone();
        }
    }

    /// Whether a secret of the current app client is one of ours to keep.
    pub fn keeps(&self, secret: &SecretId) -> bool {
        let candidate = self.candidate.as_ref().and_then(|candidate| candidate.secret.as_ref());
        let previous = self.previous.as_ref().map(|previous| &previous.held.secret);
        !self.condemned.contains_key(secret)
            && (self.current.secret == *secret || candidate == Some(secret) || previous == Some(secret))
    }

    /// Whether it is or was the current secret of the current app client: what a rotation retires.
    pub fn has_served(&self, secret: &SecretId) -> bool {
        let previous = self.previous.as_ref().map(|previous| &previous.held.secret);
        self.current.secret == *secret || previous == Some(secret)
    }

    /// Never to be trusted again. A candidate that is condemned is registered again under another id, and proved again.
    pub fn condemn(&mut self, secret: &SecretId, now: Timestamp) {
        self.condemned.insert(secret.clone(), now);
        let candidate = self.candidate.as_mut().filter(|candidate| candidate.replacement.is_none());
        if let Some(candidate) = candidate.filter(|candidate| candidate.secret.as_ref() == Some(secret)) {
            candidate.secret = None;
            candidate.proved = false;
        }
    }

    /// The app client that was replaced and still works.
    pub fn replaced(&self) -> Option<&AppClient> {
        let previous = self.previous.as_ref().filter(|previous| !previous.removed)?;
        previous.held.app_client.as_ref().filter(|old| self.current.app_client.as_ref() != Some(old))
    }

    /// Every app client that is there.
    pub fn app_clients(&self) -> impl Iterator<Item = &AppClient> {
        let candidate = self.candidate.as_ref().and_then(Candidate::new_app_client);
        let ours = [self.current.app_client.as_ref(), candidate, self.replaced()];
        ours.into_iter().flatten().chain(&self.condemned_app_clients)
    }

    /// Every creation of which nobody knows whether it happened.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let replacement = self.candidate.as_ref().and_then(|candidate| candidate.replacement.as_ref());
        replacement.and_then(|replacement| replacement.attempt.as_ref()).into_iter().chain(&self.lost)
    }

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
        let superseded = self.give_up();
        self.candidate = Some(candidate);
        Start::Begun { superseded }
    }

    /// Takes the candidate out. What it has made, or may have made, at Cognito is condemned in the same breath.
    pub fn give_up(&mut self) -> Option<Candidate> {
        let candidate = self.candidate.take()?;
        if let Some(replacement) = &candidate.replacement {
            self.condemned_app_clients.extend(replacement.app_client.clone());
            self.lost.extend(replacement.attempt.clone());
        }
        Some(candidate)
    }

    /// A creation of the candidate's app client begins; the one before it, if there was one, was not found.
    pub fn attempt(&mut self, attempt: Attempt) {
        if let Some(replacement) = self.candidate.as_mut().and_then(|candidate| candidate.replacement.as_mut()) {
            let before = replacement.attempt.replace(attempt);
            self.lost.extend(before.map(|before| Attempt { placed: false, ..before }));
            replacement.attempts = replacement.attempts.saturating_add(1);
        }
    }

    /// The creation was refused: it has not happened, and gives its place back.
    pub fn refused(&mut self) {
        if let Some(replacement) = self.candidate.as_mut().and_then(|candidate| candidate.replacement.as_mut()) {
            replacement.attempt = None;
        }
    }

    /// The creation made this app client, whose secret nobody knows: it will never become current. It takes over the
    /// creation's place. What else the creation may yet make is looked for later, as with one that was not found.
    pub fn condemn_created(&mut self, id: AppClientId) {
        let replacement = self.candidate.as_mut().and_then(|candidate| candidate.replacement.as_mut());
        if let Some(attempt) = replacement.and_then(|replacement| replacement.attempt.take()) {
            self.condemned_app_clients.insert(AppClient { pool: attempt.pool.clone(), id });
            self.lost.push(Attempt { placed: false, ..attempt });
        }
    }

    /// The candidate's app client is there, with this secret. Where the backend chose that, `assigned` is the version
    /// that holds it, and so becomes current. `None` where no creation was begun.
    pub fn registered(&mut self, id: AppClientId, secret: SecretId, assigned: Option<VersionId>) -> Option<AppClient> {
        let candidate = self.candidate.as_mut()?;
        let replacement = candidate.replacement.as_mut()?;
        let app_client = AppClient { pool: replacement.attempt.take()?.pool, id };
        replacement.app_client = Some(app_client.clone());
        candidate.secret = Some(secret);
        candidate.proved = false;
        if let Some(assigned) = assigned {
            candidate.version = assigned;
        }
        Some(app_client)
    }

    /// The candidate becomes current, and what was current previous. Answers with the candidate as it was; `None` where
    /// there is none that could.
    pub fn promote(&mut self, now: Timestamp) -> Option<Candidate> {
        let candidate = self.candidate.as_ref()?.clone();
        let app_client = match &candidate.replacement {
            Some(replacement) => Some(replacement.app_client.clone()?),
            None => self.current.app_client.clone(),
        };
        if candidate.replacement.is_some() {
            // They are ids of the app client that goes.
            self.condemned.clear();
        }
        let promoted = HeldSecret { app_client, secret: candidate.secret.clone()?, version: candidate.version.clone() };
        let held = std::mem::replace(&mut self.current, promoted);
        let (rotation, retire_time) = (candidate.rotation.clone(), now + candidate.overlap);
        self.previous = Some(PreviousSecret { rotation, held, retire_time, removed: false });
        self.candidate = None;
        Some(candidate)
    }

    /// The app client is deleted at Cognito.
    pub fn removed(&mut self, app_client: &AppClient) {
        self.condemned_app_clients.remove(app_client);
        if self.replaced() == Some(app_client)
            && let Some(previous) = self.previous.as_mut()
        {
            previous.removed = true;
        }
    }

    /// It was looked for what a lost creation made, once that was settled.
    pub fn searched(&mut self, attempt: &Attempt, found: Option<AppClientId>) {
        self.lost.retain(|lost| lost != attempt);
        self.condemned_app_clients.extend(found.map(|id| AppClient { pool: attempt.pool.clone(), id }));
    }

    /// Drops condemned ids that can no longer come back: gone from Cognito, and long enough ago.
    pub fn forget_condemned(&mut self, now: Timestamp, observed: &Observed) {
        let memory = jiff::SignedDuration::try_from(CONDEMNED_MEMORY).unwrap_or_default();
        self.condemned
            .retain(|secret, since| observed.secrets.contains(secret) || now.duration_since(*since) <= memory);
    }
}
