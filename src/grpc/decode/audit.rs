//! Which audit events are wanted.

use crate::broker::api::EventFilter;
use crate::domain::audit::Outcome;
use crate::domain::error::{Error, Result};
use crate::proto;

use super::{enumeration, timestamp, words};

const MAX_RESOURCE_PREFIX: usize = 1024;
const MAX_TEXT: usize = 256;

/// The filter of a list; without one, everything.
pub fn filter(given: Option<proto::AuditEventFilter>) -> Result<EventFilter> {
    let given = given.unwrap_or_default();
    words("filter.resource_prefix", &given.resource_prefix, MAX_RESOURCE_PREFIX)?;
    words("filter.principal", &given.principal, MAX_TEXT)?;
    words("filter.method", &given.method, MAX_TEXT)?;
    let outcome = match enumeration("filter.outcome", given.outcome)? {
        proto::AuditOutcome::Unspecified => None,
        proto::AuditOutcome::Succeeded => Some(Outcome::Succeeded),
        proto::AuditOutcome::Denied => Some(Outcome::Denied),
        proto::AuditOutcome::Failed => Some(Outcome::Failed),
    };
    Ok(EventFilter {
        start_time: timestamp("filter.start_time", given.start_time.as_ref())?,
        end_time: timestamp("filter.end_time", given.end_time.as_ref())?,
        resource_prefix: given.resource_prefix,
        principal: given.principal,
        method: given.method,
        outcome,
    })
}

/// The filter of a stream, which has no end.
pub fn endless_filter(given: Option<proto::AuditEventFilter>) -> Result<EventFilter> {
    let filter = filter(given)?;
    match filter.end_time {
        Some(_) => Err(Error::invalid("filter.end_time", "is not for a stream of events")),
        None => Ok(filter),
    }
}
