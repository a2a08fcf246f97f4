//! Audit events.

use super::timestamp;
use crate::domain::audit::{NumberedEvent, Outcome};
use crate::proto;

pub fn audit_event(numbered: NumberedEvent) -> proto::AuditEvent {
    let NumberedEvent { sequence, previous_digest, event } = numbered;
    let outcome = match event.outcome {
        Outcome::Succeeded => proto::AuditOutcome::Succeeded,
        Outcome::Denied => proto::AuditOutcome::Denied,
        Outcome::Failed => proto::AuditOutcome::Failed,
    };
    proto::AuditEvent {
        name: format!("auditEvents/{sequence}"),
        sequence,
        create_time: Some(timestamp(event.time)),
        principal: event.principal,
        method: event.method,
        resource: event.resource,
        outcome: outcome.into(),
        reason: event.reason,
        detail: event.detail,
        request_id: event.request_id,
        call_id: event.call_id,
        previous_digest: previous_digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default(),
    }
}
