//! What brokers on one table share beside its records, and whether they can read what is written there.

use std::sync::Arc;

use jiff::Timestamp;

use super::{StartError, unreadable};
use crate::aws::DynamoDb;
use crate::broker::ports::Members;
use crate::broker::{SharedTokens, TokenKey};
use crate::config::Config;
use crate::domain::form::{self, Form};
use crate::sealing::MasterKey;

/// Where tokens are shared, if there is a key for that; the log says which.
pub(super) fn tokens(config: &Config, shelf: Arc<DynamoDb>) -> Result<Option<SharedTokens>, StartError> {
    let Some(key) = token_key(config)? else {
        tracing::info!("registry.token_key_file is not set: tokens are not shared, each broker fetches its own");
        return Ok(None);
    };
    tracing::info!(key_id = key.id(), "tokens are shared with the other brokers of the table");
    Ok(Some(SharedTokens { shelf, key: Arc::new(key) }))
}

/// Fails where a broker of the table lives that could not read what this one writes: a release was skipped.
pub(super) async fn leave_nobody_behind(members: &dyn Members, now: Timestamp) -> Result<(), StartError> {
    let members = members.members().await.map_err(|error| unreadable(error.into()))?;
    match form::left_behind(&members, Form::WRITTEN, now) {
        Some(member) => Err(StartError::LeftBehind { broker: member.broker.clone(), reads: member.reads }),
        None => Ok(()),
    }
}

/// The key of shared tokens, where the configuration names one.
pub(super) fn token_key(config: &Config) -> Result<Option<TokenKey>, StartError> {
    let (Some(file), Some(table)) = (&config.registry.token_key_file, &config.registry.table) else {
        return Ok(None);
    };
    let master = MasterKey::from_file(file).map_err(StartError::TokenKey)?;
    TokenKey::derive(&master, table).map(Some).map_err(unreadable)
}
