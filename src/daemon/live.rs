//! What a daemon of this configuration would meet: tried, without starting one and without changing anything.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use super::backend::master_key;
use super::{StartError, aws_options, sharing};
use crate::aws;
pub use crate::aws::{Finding, Verdict};
use crate::broker::TokenKey;
use crate::broker::ports::{Clock, DataKeys};
use crate::config::{Backend, Config};
use crate::sealing::MasterKey;

/// Tries what the configured backend needs, one finding for each thing. Fails only if it could not begin.
pub async fn try_out(config: &Config, clock: Arc<dyn Clock>) -> Result<Vec<Finding>, StartError> {
    let mut findings = vec![data_folder(&config.data_dir)];
    match config.backend {
        Backend::Embedded => {
            findings.push(match master_key(config) {
                Ok(_) => Finding::fine("the master key", ""),
                Err(error) => {
                    let mend = "see embedded.master_key_file; a key is base64 of 32 bytes";
                    Finding::missing("the master key", format!("{error}; {mend}"))
                }
            });
            findings.push(Finding::not_tried(
                "anything else",
                "the embedded backend calls nobody; whether the master key opens the data is for the start to tell",
            ));
        }
        Backend::Aws => {
            let wanted = aws::Wanted {
                secret_prefix: config.secrets.prefix.clone(),
                adopted_pools: config.aws.adopted_pools.clone(),
                table: config.registry.table.clone(),
                token_key_kms: config.registry.token_key_kms.clone(),
            };
            findings.extend(match sharing::token_key(config) {
                Ok(key) => key.map(|key| Finding::fine("the key of shared tokens", format!("its id is {}", key.id()))),
                Err(error) => Some(Finding::missing("the key of shared tokens", error.to_string())),
            });
            findings.extend(aws::try_out(aws_options(&config.aws), wanted, clock.clone()).await?);
            let aws = aws::Aws::connect(aws_options(&config.aws), clock).await?;
            if let Some((keys, table)) = sharing::data_keys(config, &aws) {
                findings.push(data_key(&*keys, table).await);
            }
        }
    }
    Ok(findings)
}

/// The data key that is kept in the table, if there is one.
async fn data_key(keys: &dyn DataKeys, table: &str) -> Finding {
    const SUBJECT: &str = "the key of shared tokens";
    let opened = match keys.kept().await {
        Ok(Some(kept)) => keys.open(&kept).await,
        Ok(None) => return Finding::fine(SUBJECT, "there is none yet; the first broker has one made"),
        Err(error) => return Finding::not_tried(SUBJECT, error.to_string()),
    };
    let derived = opened.map(|key| key.map(|key| TokenKey::derive(&MasterKey::from_bytes(key), table)));
    match derived {
        Ok(Some(Ok(key))) => Finding::fine(SUBJECT, format!("its id is {}", key.id())),
        Ok(Some(Err(error))) => Finding::missing(SUBJECT, error.to_string()),
        Ok(None) => Finding::fine(SUBJECT, "what is in the table does not open; the next broker has another made"),
        Err(error) => Finding::missing(SUBJECT, error.to_string()),
    }
}

/// Looks only: nothing is made, so that whoever runs the check leaves no file that the daemon's user cannot open.
fn data_folder(folder: &Path) -> Finding {
    let subject = format!("the data folder {}", folder.display());
    let wrong = |what: &str, error: &std::io::Error| Finding::missing(&subject, format!("{what}{error}; see data_dir"));
    match folder.metadata() {
        Ok(metadata) if !metadata.is_dir() => return Finding::missing(subject, "it is no folder; see data_dir"),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::fine(subject, "not there yet; the start makes it");
        }
        Err(error) => return wrong("", &error),
    }
    for name in ["keyward.db", "keyward.lock"] {
        match File::options().write(true).open(folder.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return wrong(&format!("{name}: "), &error),
            Ok(file) if name == "keyward.lock" => {
                if let Err(TryLockError::WouldBlock) = file.try_lock() {
                    return Finding::fine(subject, "a broker works on it");
                }
            }
            Ok(_) => {}
        }
    }
    Finding::fine(subject, "")
}
