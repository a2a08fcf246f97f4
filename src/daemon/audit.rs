//! The audit file of a daemon, and its audit log seen from outside.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{StartError, aws_options};
use crate::audit_file::{self, AuditFile};
use crate::aws::Aws;
use crate::broker::Broker;
use crate::broker::background::Background;
use crate::broker::ports::Clock;
use crate::config::Config;
use crate::domain::chain::Noted;
use crate::embedded::CheckedLog;

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

/// Walks along the audit log in the table that the configuration names; `None` where it names none, and the log is in the
/// data folder. Changes nothing, and works while brokers run.
pub async fn check_shared_log(
    config: &Config,
    noted: Option<Noted>,
    clock: Arc<dyn Clock>,
) -> Result<Option<CheckedLog>, StartError> {
    let Some(table) = &config.registry.table else { return Ok(None) };
    let aws = Aws::connect(aws_options(&config.aws), clock).await?;
    let checked = aws.open_registry(table).await?.check_audit_log(noted).await;
    let (outcome, last_event) = checked.map_err(|error| StartError::Registry { detail: error.to_string() })?;
    Ok(Some(CheckedLog { outcome, last_event }))
}
