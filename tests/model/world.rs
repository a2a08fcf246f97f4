//! The world of one client: its app client's secrets at Cognito, its labels in the vault, its records in the registry.
//!
//! Each does what the real one promises and nothing more: Cognito holds two secrets, refuses a third and the deletion of
//! the last, and names them by the second; the vault moves `AWSCURRENT` only from where it is said to be; the registry
//! writes what still has the version that the writer saw. Versions of a record that is made again begin anew.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::domain::id::{AppClientId, BrokerId, ClientName, PoolId, RotationId, SecretId, VersionId};
use keyward::domain::lease::{Lease, LeaseTerms};
use keyward::domain::rotation::{AppClient, Candidate, Credential, HeldSecret, Labels, MAX_SECRETS, Observed, Step};

/// Time goes on in steps of this, which is also the difference of two clocks.
pub const TICK: Duration = Duration::from_secs(5);

/// As short as leases can be and have all their phases: two ticks in which the holder acts, the second one after renewing;
/// one that is left for a slow clock; and, by [`LeaseTerms::lapse_time`], one for a fast one.
pub const TERMS: LeaseTerms = LeaseTerms { duration: Duration::from_secs(15), clock_difference: TICK };

/// One tick by the fastest clock is left of it where the slowest has begun it.
const OVERLAP: Duration = Duration::from_secs(10);

pub fn at(tick: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + tick * TICK.as_secs().cast_signed()).expect("in range")
}

/// The first version and the one that the rotation makes. What they hold is told apart by the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Old,
    New,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub now: i64,
    /// At Cognito, the oldest first.
    pub secrets: Vec<(SecretId, Value)>,
    /// Whether the vault has the new version.
    pub staged: bool,
    pub labels: Labels,
    pub credential: Stored,
    /// The credential before its last change, while reads may be stale.
    pub before: Option<Stored>,
    pub journal: Option<StoredJournal>,
    /// The lease as it was renewed last under a step: a record beside the journal.
    pub renewal: Option<Lease>,
    /// How often the journal was made.
    pub lives: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    pub value: Arc<Credential>,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredJournal {
    pub version: u64,
    pub due_time: Timestamp,
    pub lease: Option<Lease>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Added(SecretId),
    Proved(bool),
    /// Somebody else was faster.
    Refused,
}

impl World {
    /// With a rotation begun.
    pub fn new() -> Self {
        let own = AppClient {
            pool: PoolId::parse("pool", "shared-1").expect("valid"),
            id: AppClientId::parse("app_client", "client").expect("valid"),
        };
        let secret = secret_id(-1);
        let current = HeldSecret { app_client: Some(own), secret: secret.clone(), version: version(Value::Old) };
        let name = ClientName::parse("name", "tenants/acme/clients/orders").expect("valid");
        let mut credential = Credential::new(name, current);
        credential.candidate = Some(Candidate {
            rotation: RotationId::parse("rotation", "r-1").expect("valid"),
            version: version(Value::New),
            secret: None,
            proved: false,
            overlap: OVERLAP,
            give_up_time: None,
            replacement: None,
        });
        World {
            now: 0,
            secrets: vec![(secret, Value::Old)],
            staged: false,
            labels: Labels { current: Some(version(Value::Old)), pending: None, previous: None },
            credential: Stored { value: Arc::new(credential), version: 1 },
            before: None,
            journal: Some(StoredJournal { version: 1, due_time: at(0), lease: None }),
            renewal: None,
            lives: 1,
        }
    }

    pub fn observe(&self) -> Observed {
        Observed { secrets: self.secrets.iter().map(|(id, _)| id.clone()).collect(), labels: self.labels.clone() }
    }

    /// Whether a token is given for what a version holds.
    pub fn authenticates(&self, version: &VersionId) -> bool {
        self.secrets.iter().any(|(_, value)| *value == value_of(version))
    }

    /// What a step does to Cognito and the vault.
    pub fn take_effect(&mut self, step: &Step) -> Answer {
        match step {
            Step::Stage(version) => {
                self.staged = true;
                self.labels.pending = Some(version.clone());
            }
            Step::Register(_) if self.secrets.len() >= MAX_SECRETS => return Answer::Refused,
            Step::Register(version) => {
                let taken = |id: &SecretId| self.secrets.iter().any(|(other, _)| other == id);
                let id = (self.now..).map(secret_id).find(|id| !taken(id)).expect("endless");
                self.secrets.push((id.clone(), value_of(version)));
                return Answer::Added(id);
            }
            Step::Prove(version) => return Answer::Proved(self.staged && self.authenticates(version)),
            Step::Promote { from, to } => {
                if self.labels.current.as_ref() == Some(from) {
                    self.labels.current = Some(to.clone());
                    self.labels.previous = Some(from.clone());
                } else if self.labels.current.as_ref() != Some(to) {
                    return Answer::Refused;
                }
            }
            Step::Remove(secret) if self.secrets.len() > 1 => self.secrets.retain(|(id, _)| id != secret),
            Step::ClearPending(version) if self.labels.pending.as_ref() == Some(version) => self.labels.pending = None,
            Step::ClearPrevious(version) if self.labels.previous.as_ref() == Some(version) => {
                self.labels.previous = None;
            }
            _ => {}
        }
        Answer::Done
    }

    /// A conditional write of the credential. Returns whether it was made.
    pub fn put(&mut self, seen_version: u64, credential: Credential, keep_before: bool) -> bool {
        if self.credential.version != seen_version {
            return false;
        }
        let next = Stored { value: Arc::new(credential), version: seen_version + 1 };
        let before = std::mem::replace(&mut self.credential, next);
        self.before = keep_before.then_some(before);
        true
    }

    /// A write of the journal by somebody who has just read it.
    pub fn put_lease(&mut self, lease: Lease, due_time: Timestamp) {
        let version = self.journal.as_ref().map_or(0, |journal| journal.version) + 1;
        self.journal = Some(StoredJournal { version, due_time, lease: Some(lease) });
    }

    pub fn leases_mut(&mut self) -> impl Iterator<Item = &mut Lease> {
        self.journal.as_mut().and_then(|journal| journal.lease.as_mut()).into_iter().chain(self.renewal.as_mut())
    }

    /// The journal is written anew: there is something to look at.
    pub fn begin_again(&mut self, now: Timestamp) {
        self.lives += 1;
        self.journal = Some(StoredJournal { version: 1, due_time: now, lease: None });
    }

    /// Whether the rotation is over and nothing of it is left.
    pub fn is_clean(&self) -> bool {
        let credential = &self.credential.value;
        let is_current = |secrets: &[(SecretId, Value)]| match secrets {
            [(id, _)] => *id == credential.current.secret,
            _ => false,
        };
        credential.candidate.is_none()
            && credential.previous.is_none()
            && is_current(&self.secrets)
            && self.labels.current.as_ref() == Some(&credential.current.version)
            && self.labels.pending.is_none()
            && self.labels.previous.is_none()
    }
}

pub fn secret_id(tick: i64) -> SecretId {
    SecretId::parse("secret", &format!("client--{}", at(tick).as_second())).expect("valid")
}

pub fn version(value: Value) -> VersionId {
    let name = match value {
        Value::Old => "v0",
        Value::New => "v1",
    };
    VersionId::parse("version", name).expect("valid")
}

pub fn value_of(version: &VersionId) -> Value {
    match version.as_str() {
        "v0" => Value::Old,
        _ => Value::New,
    }
}

pub fn broker_id(number: usize) -> BrokerId {
    BrokerId::parse("broker", &format!("{number:032x}")).expect("valid")
}
