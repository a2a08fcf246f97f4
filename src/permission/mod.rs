//! What a caller may do, as Cedar policies say.
//!
//! It must never permit what no policy permits, nor say more to whoever is denied than that they are. Policies that are
//! not valid never come into force: a start fails with them, and a change to them leaves in force what was. A policy that
//! cannot be evaluated denies.

mod decisions;
mod in_force;
mod policies;
mod question;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use in_force::{Determining, Explanation, InForce};
pub use policies::{Origin, PolicyError};

use policies::Document;
use question::Vocabulary;

/// The policies, kept as their files are.
pub struct Permissions {
    origin: Origin,
    vocabulary: Arc<Vocabulary>,
    in_force: watch::Sender<Arc<InForce>>,
    /// Counts how often others came into force.
    version: AtomicU64,
    /// Sent to after it was counted.
    changes: watch::Sender<()>,
    seen: Mutex<Seen>,
}

/// What was last read.
struct Seen {
    /// What is in force.
    taken: Vec<Document>,
    /// What was there instead when it was last looked, and was not taken. It is complained of once.
    refused: Option<Result<Vec<Document>, PolicyError>>,
}

impl Permissions {
    /// Reads and checks everything. Fails with what is wrong with the first policy that is.
    pub fn open(origin: Origin) -> Result<Self, PolicyError> {
        let broken = |fault: Box<dyn std::error::Error + Send + Sync>| PolicyError {
            file: "built-in schema".into(),
            line: None,
            problem: fault.to_string(),
        };
        let vocabulary = Arc::new(Vocabulary::new().map_err(broken)?);
        let taken = origin.read()?;
        let in_force = InForce::new(vocabulary.clone(), &taken)?;
        Ok(Permissions {
            origin,
            vocabulary,
            in_force: watch::Sender::new(Arc::new(in_force)),
            version: AtomicU64::new(0),
            changes: watch::Sender::new(()),
            seen: Mutex::new(Seen { taken, refused: None }),
        })
    }

    /// What is in force now. One call is decided by one set, whatever comes meanwhile.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.borrow().clone()
    }

    /// Another one whenever other policies came into force. Whoever asks before they are decided by can tell afterwards
    /// whether the decision is still that of the policies in force.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Changes whenever other policies came into force.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Looks every `interval` whether the policies were changed, until stopped. It compares what is in the files:
    /// Kubernetes changes a mount by exchanging links, and times of files say nothing there.
    pub async fn follow(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        if self.origin.path.is_none() {
            return;
        }
        let mut looks = tokio::time::interval(interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let this = self.clone();
            // Reading and checking may take a while, which calls are not to wait for.
            if let Err(error) = tokio::task::spawn_blocking(move || this.look()).await {
                tracing::error!(%error, "looking for changed policies failed; those in force stay");
            }
        }
    }

    /// Takes what is in the files if it is good, and complains once if it is not.
    fn look(&self) {
        let found = self.origin.read();
        let mut seen = self.seen();
        if found.as_ref() == Ok(&seen.taken) {
            if seen.refused.take().is_some() {
                tracing::info!("the policies are again as they are in force");
            }
            return;
        }
        if seen.refused.as_ref() == Some(&found) {
            return;
        }
        // A file may be half written, or a folder be on its way from one state to another: what is read twice is whole.
        if self.origin.read() != found {
            return;
        }
        let checked = found.clone().and_then(|documents| {
            let in_force = InForce::new(self.vocabulary.clone(), &documents)?;
            Ok((documents, in_force))
        });
        match checked {
            Ok((documents, in_force)) => {
                tracing::info!(policies = in_force.count(), "changed policies are in force");
                *seen = Seen { taken: documents, refused: None };
                self.in_force.send_replace(Arc::new(in_force));
                self.version.fetch_add(1, Ordering::SeqCst);
                self.changes.send_replace(());
            }
            Err(error) => {
                let file = Path::display(&error.file);
                let (line, problem) = (error.line, &error.problem);
                tracing::error!(%file, line, problem, "the changed policies are refused; those in force stay");
                seen.refused = Some(found);
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // It is replaced as a whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Permissions {
    /// Every action of the schema, with the groups that it is in.
    pub fn actions(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        self.vocabulary.actions().into_iter().map(|(action, groups)| (action.to_owned(), groups)).collect()
    }
}

#[cfg(test)]
mod tests;
