//! What every call passes, by whichever protocol it came: whether its caller may, the record of a refusal, the record of a
//! token or a secret before it leaves.
//!
//! It knows no protocol but for the two headers that all of them have in common. It must never permit what the policies do
//! not, nor let an answer out before what must be on record is. It fails as the broker does: whoever asks is told that
//! nobody can tell, and never that all is well.

mod handing_out;
mod headers;
mod permitting;
mod refusing;

use std::sync::Arc;

use tracing::{Instrument as _, Span};

use crate::audit_file::AuditFile;
use crate::broker::Broker;
use crate::broker::background::Background;
use crate::callers::Callers;
use crate::domain::error::Result;
use crate::permission::Permissions;

pub use handing_out::Wanted;
pub use headers::{CALL_ID_HEADER, authorization, call_id, call_id_value};
pub use permitting::{check_proof, source};
pub use refusing::{log_cause, retry_delay};

/// What all calls go through, and what is behind it.
#[derive(Clone)]
pub struct Gate {
    pub broker: Arc<Broker>,
    /// Where changes go on whose callers may have given up. To be waited for once the servers have stopped.
    pub background: Background,
    pub callers: Arc<Callers>,
    pub permissions: Arc<Permissions>,
    /// Has a line of every token and secret that leaves; `None` where that is not wanted.
    pub audit_file: Option<Arc<AuditFile>>,
}

impl Gate {
    /// Carries a task through to its end, whatever becomes of whoever waits for it.
    pub async fn finish<A: Send + 'static>(&self, task: impl Future<Output = Result<A>> + Send + 'static) -> Result<A> {
        self.background.finish("carrying out a call", task.instrument(Span::current())).await
    }
}
