//! Refusals: what is put on record of them, what is logged, and when to ask again.

use std::time::Duration;

use super::Gate;
use crate::domain::audit::Call;
use crate::domain::error::{Error, Kind, Reason, Result};

/// In bytes, and more than any name has: that of a resource server has an identifier of 256. A token of Cognito's is two or
/// three times as long.
const LONGEST_NAME: usize = 320;

/// How long to wait where an error helps by waiting but says nothing of its own.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long to wait before asking again; `None` when waiting does not help.
pub fn retry_delay(error: &Error) -> Option<Duration> {
    let helps = error.kind() == Kind::Unavailable
        || matches!(error.reason(), Reason::Throttled | Reason::RateLimited | Reason::Overloaded);
    error.retry_delay().or(helps.then_some(RETRY_DELAY))
}

/// Writes down what the caller is not told. Called once for each error that is answered.
pub fn log_cause(error: &Error, call_id: &str) {
    let cause = error.internal_detail();
    match (error.kind(), cause) {
        (Kind::Internal, cause) => {
            let cause = cause.unwrap_or_else(|| error.to_string());
            tracing::error!(call_id, cause, "the broker failed");
        }
        (_, Some(cause)) => tracing::warn!(call_id, reason = error.reason().as_str(), cause, "{error}"),
        (_, None) => {}
    }
}

/// What was asked for, if it may be a resource's name: whoever is denied has not had it looked at, and chooses what would
/// stand in the log for good, which may be long, or a token that was put into the wrong field.
fn name_or_nothing(resource: &str) -> &str {
    let may_be = resource.len() <= LONGEST_NAME && resource.bytes().all(|byte| byte.is_ascii_graphic());
    if may_be { resource } else { "" }
}

impl Gate {
    /// The error that is to be answered, once the audit log has it where it is a denial. A denial that cannot be written
    /// down is not answered: the caller then learns of that instead.
    pub async fn on_record(&self, call: &Call, resource: &str, error: Error) -> Error {
        let error = match error.reason().is_denial() {
            true => self.denied(call, name_or_nothing(resource), &error).await.err().unwrap_or(error),
            false => error,
        };
        log_cause(&error, &call.call_id);
        error
    }

    /// Writes a denial down, also when the caller hangs up to avoid it.
    async fn denied(&self, call: &Call, resource: &str, error: &Error) -> Result<()> {
        let (audit, call, resource, error) =
            (self.broker.audit.clone(), call.clone(), resource.to_owned(), error.clone());
        self.finish(async move { audit.denied(&call, &resource, &error).await }).await
    }
}
