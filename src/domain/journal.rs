//! Work that must be finished whatever happens: written down before its first step, struck out after its last.
//!
//! Each task is a series of idempotent steps that look at what is there before they act, so running a task again
//! from its beginning is always right, and is all that recovery does.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::audit::Call;
use super::form::Form;
use super::id::{ClientName, TenantId};
use super::lease::Lease;

/// How far a task came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The journal was struck out together with the last change.
    Done,
    /// There is more to do; look again.
    More,
    /// Nothing to do until then.
    Wait(Timestamp),
}

/// What there is to be finished, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Task {
    /// Make a tenant's pool ready and the tenant active.
    OnboardTenant(TenantId),
    /// Bring a dedicated pool's settings up to the tenant's.
    ApplyUserPool(TenantId),
    /// Delete a tenant's clients, its pool where it has one, and the tenant.
    OffboardTenant(TenantId),
    /// Make the app client and its first secret.
    IssueClient(ClientName),
    /// Bring the app client's scopes and validity up to the client's.
    ApplyClient(ClientName),
    /// Delete the app client, schedule its secret for deletion, forget the client.
    RetireClient(ClientName),
    /// Carry a rotation through.
    RotateSecret(ClientName),
    /// Bring every pool's resource servers up to the catalogue.
    ApplyCatalog,
    /// Bring a tenant's identity providers in its pool up to the tenant's.
    ApplyProviders(TenantId),
    /// Move a tenant from one isolation to the other.
    MoveTenant(TenantId),
}

impl fmt::Display for Task {
    /// Also the journal's key: one task of a kind for one target at a time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::OnboardTenant(tenant) => write!(f, "onboard/{}", tenant.name()),
            Task::ApplyUserPool(tenant) => write!(f, "apply-user-pool/{}", tenant.name()),
            Task::OffboardTenant(tenant) => write!(f, "offboard/{}", tenant.name()),
            Task::IssueClient(client) => write!(f, "issue/{client}"),
            Task::ApplyClient(client) => write!(f, "apply/{client}"),
            Task::RetireClient(client) => write!(f, "retire/{client}"),
            Task::RotateSecret(client) => write!(f, "rotate/{client}"),
            Task::ApplyCatalog => f.write_str("apply-catalog"),
            Task::ApplyProviders(tenant) => write!(f, "apply-providers/{}", tenant.name()),
            Task::MoveTenant(tenant) => write!(f, "move/{}", tenant.name()),
        }
    }
}

impl Task {
    /// What the task changes. Tasks of one target never run side by side.
    pub fn target(&self) -> String {
        match self {
            Task::OnboardTenant(tenant)
            | Task::ApplyUserPool(tenant)
            | Task::OffboardTenant(tenant)
            | Task::ApplyProviders(tenant)
            | Task::MoveTenant(tenant) => tenant.name(),
            Task::IssueClient(client)
            | Task::ApplyClient(client)
            | Task::RetireClient(client)
            | Task::RotateSecret(client) => client.to_string(),
            Task::ApplyCatalog => "catalog".to_owned(),
        }
    }

    /// Whether it is written down anew by whoever has lost it to another broker in the middle of a step, and finds it struck
    /// out: a call of that step may have been done last. What it brings up to a record could then stay as it was before,
    /// and what a rotation left would be seen by the next one only. The others make, or take away, what a reconciliation
    /// finds.
    pub fn is_made_good(&self) -> bool {
        match self {
            Task::OnboardTenant(_)
            | Task::ApplyUserPool(_)
            | Task::ApplyClient(_)
            | Task::ApplyCatalog
            | Task::ApplyProviders(_)
            | Task::RotateSecret(_) => true,
            Task::OffboardTenant(_) | Task::IssueClient(_) | Task::RetireClient(_) | Task::MoveTenant(_) => false,
        }
    }

    /// The least form in which it can be stored.
    pub fn form(&self) -> Form {
        match self {
            Task::OnboardTenant(_)
            | Task::ApplyUserPool(_)
            | Task::OffboardTenant(_)
            | Task::IssueClient(_)
            | Task::ApplyClient(_)
            | Task::RetireClient(_)
            | Task::RotateSecret(_)
            | Task::ApplyCatalog => Form::FIRST,
            Task::ApplyProviders(_) | Task::MoveTenant(_) => Form::SECOND,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    pub task: Task,
    /// Who asked for it: the events of its steps name them.
    pub cause: Call,
    /// Set before a step that cannot simply be repeated; whoever finds it set looks for what that step may have left.
    pub attempted: bool,
    /// When it is to be taken up next.
    pub due_time: Timestamp,
    /// How often it has failed in a row.
    pub failures: u32,
    pub last_error: String,
    /// Who is or was at work on it. `None` until somebody was, and where the registry has one broker only.
    #[serde(default)]
    pub lease: Option<Lease>,
}

/// That a journal's lease lasts longer than the journal says. Its holder writes that beside the journal while a step is
/// under way, since the step writes the journal itself, on the version that it began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    pub task: Task,
    /// As it is renewed. Counts while the journal has one of the same taking.
    pub lease: Lease,
    /// From when on it says nothing to anybody any more.
    pub due_time: Timestamp,
}

impl Journal {
    pub fn new(task: Task, cause: &Call, now: Timestamp) -> Self {
        Journal {
            task,
            cause: cause.clone(),
            attempted: false,
            due_time: now,
            failures: 0,
            last_error: String::new(),
            lease: None,
        }
    }

    /// The task was asked for again while it was under way. Whoever is at work on it still is.
    #[must_use]
    pub fn in_place_of(self, under_way: Option<&Journal>) -> Self {
        Journal { lease: under_way.and_then(|journal| journal.lease.clone()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_there_were_leases_is_nobodys() {
        let old = r#"{
            "task": {"RotateSecret": {"tenant": "acme", "client": "orders"}},
            "cause": {"principal": "Keyward", "method": "keyward.schedule/rotate", "call_id": "1", "request": null},
            "attempted": false, "due_time": "2026-01-01T00:00:00Z", "failures": 2, "last_error": "late"
        }"#;
        let journal: Journal = serde_json::from_str(old).expect("it can be read");
        assert_eq!((journal.failures, journal.lease), (2, None));
    }
}
