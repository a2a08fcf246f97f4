//! What brokers on one table share beside its records, and whether they can read what is written there.

use std::sync::Arc;

use jiff::Timestamp;

use super::{StartError, unreadable};
use crate::aws::{Aws, DynamoDb};
use crate::broker::ports::{Clock, DataKeys, Members};
use crate::broker::{SharedTokens, TokenKey, TokenKeys};
use crate::config::Config;
use crate::domain::form::{self, Form};
use crate::sealing::MasterKey;

/// Where tokens are shared, if there is a key for that; the log says which. A key file that is none fails the start, since
/// whoever starts the broker has to mend it. KMS does not: what it refuses or is too busy for may be so at any start of a
/// platform that runs well, and a broker without the key serves all the same.
pub(super) async fn tokens(
    config: &Config,
    aws: &Aws,
    shelf: Arc<DynamoDb>,
    clock: &dyn Clock,
) -> Result<Option<SharedTokens>, StartError> {
    if let Some((master, table)) = key_file(config)? {
        let keys = TokenKeys::given(&master, table).map_err(unreadable)?;
        let key_id = keys.current().map(|key| key.id().to_owned());
        tracing::info!(key_id, "tokens are shared with the other brokers of the table");
        return Ok(Some(SharedTokens { shelf, keys: Arc::new(keys) }));
    }
    if let Some((source, table)) = data_keys(config, aws) {
        let keys = TokenKeys::found(source, table);
        // In a box, since it holds calls of the SDK.
        Box::pin(keys.begin(clock)).await;
        return Ok(Some(SharedTokens { shelf, keys: Arc::new(keys) }));
    }
    tracing::info!(
        "neither registry.token_key_file nor registry.token_key_kms is set: tokens are not shared, each broker fetches its own"
    );
    Ok(None)
}

/// Fails where a broker of the table lives that could not read what this one writes: a release was skipped.
pub(super) async fn leave_nobody_behind(members: &dyn Members, now: Timestamp) -> Result<(), StartError> {
    let members = members.members().await.map_err(|error| unreadable(error.into()))?;
    match form::left_behind(&members, Form::WRITTEN, now) {
        Some(member) => Err(StartError::LeftBehind { broker: member.broker.clone(), reads: member.reads }),
        None => Ok(()),
    }
}

/// The key of shared tokens, where the configuration names a file for it.
pub(super) fn token_key(config: &Config) -> Result<Option<TokenKey>, StartError> {
    let Some((master, table)) = key_file(config)? else { return Ok(None) };
    TokenKey::derive(&master, table).map(Some).map_err(unreadable)
}

fn key_file(config: &Config) -> Result<Option<(MasterKey, &str)>, StartError> {
    let (Some(file), Some(table)) = (&config.registry.token_key_file, &config.registry.table) else {
        return Ok(None);
    };
    Ok(Some((MasterKey::from_file(file).map_err(StartError::TokenKey)?, table)))
}

/// Where the key of shared tokens is to be found, where KMS keeps it; and the table.
pub(super) fn data_keys<'a>(config: &'a Config, aws: &Aws) -> Option<(Arc<dyn DataKeys>, &'a str)> {
    let (kms_key, table) = (config.registry.token_key_kms.as_ref()?, config.registry.table.as_ref()?);
    Some((aws.data_keys(table, kms_key), table))
}
