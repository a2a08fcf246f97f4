//! What the daemon is built on: user pools, token endpoint, keys, vault and registry, as the configuration names them.

use std::sync::Arc;

use super::{StartError, aws_options, sharing};
use crate::aws::Aws;
use crate::broker::ports::{Clock, Registry};
use crate::broker::{Ports, Shared};
use crate::config::{Backend, Config, MasterKeySource};
use crate::counts::Told;
use crate::dns::{self, Dns};
use crate::embedded::{self, Embedded, MasterKey, Options};

/// A backend, and what is told of it.
pub(super) struct Opened {
    pub ports: Ports,
    pub told: Option<Arc<dyn Told>>,
}

pub(super) async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Opened, StartError> {
    let dns = dns::Options { resolvers: config.sign_in.resolvers(), timeout: config.sign_in.timeout };
    let domain_proofs = Arc::new(Dns::new(dns));
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
            let ports = Ports {
                user_pools: embedded.user_pools(),
                token_endpoint: embedded.token_endpoint(),
                key_source: embedded.key_source(),
                vault: embedded.vault(),
                registry: embedded.registry(),
                domain_proofs,
                shared: None,
                clock,
            };
            Ok(Opened { ports, told: None })
        }
        Backend::Aws => {
            let aws = Aws::connect(aws_options(&config.aws), clock.clone()).await?;
            let (registry, shared): (Arc<dyn Registry>, _) = match &config.registry.table {
                Some(table) => {
                    let table = Arc::new(aws.open_registry(table).await?);
                    sharing::leave_nobody_behind(&*table, clock.now()).await?;
                    let tokens = sharing::tokens(config, &aws, table.clone(), &*clock).await?;
                    let (feed, members, share) = (table.clone(), table.clone(), aws.share_quotas());
                    (table, Some(Shared { feed, members, share, tokens }))
                }
                None => (embedded::open_registry(&config.data_dir.join("keyward.db")).await?, None),
            };
            let ports = Ports {
                user_pools: aws.user_pools(),
                token_endpoint: aws.token_endpoint(),
                key_source: aws.key_source(),
                vault: aws.vault(),
                registry,
                domain_proofs,
                shared,
                clock,
            };
            Ok(Opened { ports, told: Some(aws.told()) })
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
