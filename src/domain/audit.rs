//! What was done, by whom, on what, how it ended. Never a secret, never a token.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::caller::Principal;
use super::id::RequestId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    /// Refused: by permission, or by the state of the thing.
    Denied,
    Failed,
}

/// One call of one caller: where an event's who and why come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub principal: Principal,
    /// `keyward.v1.TenantService/CreateTenant`, or `keyward.rotation/promote` for what the broker does by itself.
    pub method: Arc<str>,
    /// Ties events, log lines and the caller's own trace together (`x-request-id`).
    pub call_id: Arc<str>,
    pub request: Option<IdempotentRequest>,
}

/// A caller's promise that a repeated mutation is the same one (AIP-155).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotentRequest {
    pub id: RequestId,
    /// A digest of the request without its id.
    pub fingerprint: String,
}

impl Call {
    /// The same cause, another method: what the broker does to carry the call out.
    #[must_use]
    pub fn doing(&self, method: &'static str) -> Call {
        Call { method: Arc::from(method), request: None, ..self.clone() }
    }

    pub fn event(&self, now: Timestamp, resource: impl fmt::Display) -> Event {
        Event {
            time: now,
            principal: self.principal.to_string(),
            method: self.method.to_string(),
            resource: resource.to_string(),
            outcome: Outcome::Succeeded,
            reason: String::new(),
            detail: String::new(),
            request_id: self.request.as_ref().map(|request| request.id.to_string()).unwrap_or_default(),
            call_id: self.call_id.to_string(),
        }
    }
}

/// An event as it is appended. The registry numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub time: Timestamp,
    pub principal: String,
    pub method: String,
    pub resource: String,
    pub outcome: Outcome,
    /// UPPER_SNAKE where the outcome is not success.
    pub reason: String,
    pub detail: String,
    pub request_id: String,
    pub call_id: String,
}

impl Event {
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    #[must_use]
    pub fn ended(mut self, outcome: Outcome, reason: impl Into<String>) -> Self {
        self.outcome = outcome;
        self.reason = reason.into();
        self
    }
}

/// An event with its place in the order of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// From 1, without gaps.
    pub sequence: u64,
    pub event: Event,
}
