//! The audit file of a daemon.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::audit_file::{self, AuditFile};
use crate::broker::Broker;
use crate::broker::background::Background;
use crate::broker::ports::Clock;
use crate::config::Config;

/// Opens the audit file, where there is to be one, and starts what writes it.
pub(super) async fn open_file(
    config: &Config,
    broker: &Broker,
    clock: Arc<dyn Clock>,
    background: &Background,
    stopping: &CancellationToken,
) -> Result<Option<Arc<AuditFile>>, StartError> {
    let Some(path) = config.audit.file.clone() else { return Ok(None) };
    let (wanted, required) = (path.clone(), config.audit.required);
    let opened = tokio::task::spawn_blocking(move || audit_file::open(&wanted, required, clock)).await;
    let opened = opened.unwrap_or_else(|_| Err(std::io::Error::other("opening it was cut short")));
    let (file, writing) = opened.map_err(|source| StartError::AuditFile { file: path, source })?;
    let file = Arc::new(file);
    background.spawn(writing.run());
    background.spawn(file.clone().follow(broker.audit.clone(), stopping.clone()));
    Ok(Some(file))
}
