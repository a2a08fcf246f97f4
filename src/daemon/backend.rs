//! What the daemon is built on: user pools, token endpoint, keys, vault and registry, as the configuration names them.

use std::sync::Arc;

use super::{StartError, sharing};
use crate::aws::{self, Aws};
use crate::broker::ports::{Clock, Registry};
use crate::broker::{Ports, Shared};
use crate::config::{self, Backend, Config, MasterKeySource};
use crate::embedded::{self, Embedded, MasterKey, Options};

pub(super) async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Ports, StartError> {
    match config.backend {
        Backend::Embedded => {
            let key = master_key(config)?;
            let options = Options {
                issuer_base: config.embedded.issuer_base.clone(),
                region: config.embedded.region.clone(),
                latency: config.embedded.latency,
            };
            let file = config.data_dir.join("keyward.db");
            let embedded = Embedded::open(&file, &key, options, clock.clone()).await?;
            Ok(Ports {
                user_pools: embedded.user_pools(),
                token_endpoint: embedded.token_endpoint(),
                key_source: embedded.key_source(),
                vault: embedded.vault(),
                registry: embedded.registry(),
                shared: None,
                clock,
            })
        }
        Backend::Aws => {
            let aws = Aws::connect(aws_options(&config.aws), clock.clone()).await?;
            let (registry, shared): (Arc<dyn Registry>, _) = match &config.registry.table {
                Some(table) => {
                    let table = Arc::new(aws.open_registry(table).await?);
                    let tokens = sharing::tokens(config, table.clone())?;
                    (table.clone(), Some(Shared { feed: table, tokens }))
                }
                None => (embedded::open_registry(&config.data_dir.join("keyward.db")).await?, None),
            };
            Ok(Ports {
                user_pools: aws.user_pools(),
                token_endpoint: aws.token_endpoint(),
                key_source: aws.key_source(),
                vault: aws.vault(),
                registry,
                shared,
                clock,
            })
        }
    }
}

pub(super) fn master_key(config: &Config) -> Result<MasterKey, StartError> {
    Ok(match config.embedded.master_key_source()? {
        MasterKeySource::File(path) => MasterKey::from_file(&path)?,
        MasterKeySource::Variable(name) => {
            let text = zeroize::Zeroizing::new(std::env::var(name).unwrap_or_default());
            MasterKey::from_base64(&text)?
        }
    })
}

pub(super) fn aws_options(config: &config::Aws) -> aws::Options {
    let (endpoints, quotas) = (&config.endpoints, &config.quotas);
    aws::Options {
        region: config.region.clone(),
        regions: config.regions.clone(),
        name_prefix: config.name_prefix.clone(),
        token_source: match config.token_source {
            config::TokenSource::TokenEndpoint => aws::TokenSource::TokenEndpoint,
            config::TokenSource::GetClientToken => aws::TokenSource::GetClientToken,
        },
        kms_key: config.kms_key.clone(),
        connect_timeout: config.connect_timeout,
        call_timeout: config.call_timeout,
        quota_wait: config.quota_wait,
        endpoints: aws::Endpoints {
            cognito: endpoints.cognito.clone(),
            secrets_manager: endpoints.secrets_manager.clone(),
            dynamodb: endpoints.dynamodb.clone(),
            token: endpoints.token.clone(),
            jwks: endpoints.jwks.clone(),
        },
        quotas: aws::Quotas {
            client_authentication: quotas.client_authentication,
            app_client_reads: quotas.app_client_reads,
            app_client_updates: quotas.app_client_updates,
            user_pool_reads: quotas.user_pool_reads,
            user_pool_updates: quotas.user_pool_updates,
            resource_server_reads: quotas.resource_server_reads,
            resource_server_updates: quotas.resource_server_updates,
            per_operation_and_pool: quotas.per_operation_and_pool,
            secret_reads: quotas.secret_reads,
            secret_writes: quotas.secret_writes,
        },
        credentials: aws::Credentials::Chain,
    }
}
