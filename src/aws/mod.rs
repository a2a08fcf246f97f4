//! The AWS backend: user pools in Cognito, tokens from the pools' token endpoints, secrets in Secrets Manager, and where
//! that is wanted the registry in DynamoDB and the key of shared tokens under one of KMS.
//!
//! It implements `broker::ports` on the AWS SDK and reqwest, and knows no broker and no configuration file. It never
//! retries by itself, and the SDK's own retries are off: the journals repeat whole tasks, and retries inside would
//! multiply with theirs. The registry's commits apart, which journals cannot repeat for it. Every call first waits for its turn under the account's quotas. No error and no log line holds
//! a secret, a token or an `Authorization` header.

mod app_clients;
mod calls;
mod census;
mod client_secrets;
mod cognito;
mod data_keys;
mod domains;
mod dynamodb;
mod faults;
mod governor;
mod http;
mod interactive;
mod jwks;
mod live;
mod names;
mod oauth;
mod offers;
mod operations;
mod pace;
mod policy;
mod pool_settings;
mod pools;
mod probes;
mod providers;
mod regions;
mod resource_servers;
mod second_factors;
mod secret_names;
mod secrets;
mod staging;
#[cfg(test)]
mod tests;
mod token_answer;
mod usage;
mod vault;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use dynamodb::{DynamoDb, Importing, OpenTableError};
pub use live::{Finding, Verdict, Wanted, try_out};
pub use operations::{OPERATIONS, Operation};

use crate::broker::ports::{Clock, DataKeys, KeySource, ShareInForce, TokenEndpoint, UserPools, Vault};
use crate::counts::Told;
use crate::domain::share::Share;
use calls::Calls;
use cognito::Cognito;
use data_keys::KmsDataKeys;
use dynamodb::RegistryTable;
use governor::Governor;
use jwks::Jwks;
use names::Names;
use oauth::OAuth;
use regions::Regions;
use secrets::SecretsManager;

/// How the AWS backend behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The broker's own Region.
    pub region: String,
    /// Further Regions that dedicated pools may name.
    pub regions: Vec<String>,
    /// What pools and the prefixes of their domains begin with; `-` and the pool's id follow.
    pub name_prefix: String,
    pub token_source: TokenSource,
    /// The KMS key of secrets; empty for Secrets Manager's own.
    pub kms_key: String,
    pub messages: Messages,
    pub connect_timeout: Duration,
    /// How long one call may take, its answer included.
    pub call_timeout: Duration,
    /// How long a call may wait for its turn under the quotas.
    pub quota_wait: Duration,
    pub endpoints: Endpoints,
    pub quotas: Quotas,
    pub credentials: Credentials,
}

/// Whose the calls are. `Debug` is censored.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The SDK's default chain: environment, profile, web identity, instance metadata.
    #[default]
    Chain,
    /// These, as for tests against servers on this machine. Never from configuration.
    Fixed { access_key_id: String, secret_access_key: String },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Chain => "Chain",
            Credentials::Fixed { .. } => "Fixed(censored)",
        })
    }
}

/// How the account sends the codes of a second factor. Empty where it does not, and then pools cannot have that factor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// The ARN of the role by which Cognito sends text messages through SNS (`SmsConfigurationType`).
    pub sms_role: String,
    /// The external id that this role's trust policy asks for, if it does.
    pub sms_external_id: String,
    /// The ARN of the identity of SES that email comes from (`EmailConfigurationType`). `{region}` stands for the pool's.
    pub email_identity: String,
}

/// Where tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The pool's `/oauth2/token`, which needs a domain.
    TokenEndpoint,
    /// The API operation `GetClientToken`.
    GetClientToken,
}

/// Other places than AWS's own; empty for AWS's own. Plain HTTP is allowed for these alone. `{region}`, `{user_pool}` and
/// `{domain}` stand for what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    pub cognito: String,
    pub secrets_manager: String,
    pub dynamodb: String,
    pub kms: String,
    pub token: String,
    pub jwks: String,
}

/// Calls a second, of the account in one Region unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    pub client_authentication: u32,
    pub app_client_reads: u32,
    pub app_client_updates: u32,
    pub user_pool_reads: u32,
    pub user_pool_updates: u32,
    pub resource_server_reads: u32,
    pub resource_server_updates: u32,
    /// Of one operation on one pool.
    pub per_operation_and_pool: u32,
    pub secret_reads: u32,
    pub secret_writes: u32,
}

/// Why the AWS backend cannot be used. Says which setting is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{option}: {rule}")]
    Option { option: &'static str, rule: String },
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// The ports. The registry is opened by itself, where it is wanted here.
#[derive(Clone)]
pub struct Aws {
    regions: Arc<Regions>,
    clock: Arc<dyn Clock>,
    call_timeout: Duration,
    quota_wait: Duration,
    pools: Arc<dyn UserPools>,
    tokens: Arc<dyn TokenEndpoint>,
    keys: Arc<dyn KeySource>,
    vault: Arc<dyn Vault>,
    calls: Arc<Calls>,
    share: Arc<ShareInForce>,
}

impl Aws {
    /// Makes the clients. Nothing is called yet, so this does not tell whether credentials are there.
    pub async fn connect(options: Options, clock: Arc<dyn Clock>) -> Result<Aws, ConnectError> {
        let (tokens_http, keys_http) =
            (http::client(&options, &options.endpoints.token)?, http::client(&options, &options.endpoints.jwks)?);
        let regions = Arc::new(Regions::connect(&options).await);
        let share = Arc::new(ShareInForce::new(Share::Whole));
        let governor = Governor::new(&options.quotas, options.quota_wait, Arc::clone(&clock), Arc::clone(&share));
        let calls = Arc::new(Calls::new(governor, Arc::clone(&clock), options.call_timeout));
        let names = Arc::new(Names::new(&options.name_prefix, &options.endpoints));
        Ok(Aws {
            regions: Arc::clone(&regions),
            clock: Arc::clone(&clock),
            call_timeout: options.call_timeout,
            quota_wait: options.quota_wait,
            pools: Arc::new(Cognito {
                regions: Arc::clone(&regions),
                calls: Arc::clone(&calls),
                names: Arc::clone(&names),
                token_source: options.token_source,
                messages: options.messages,
            }),
            tokens: Arc::new(OAuth {
                source: options.token_source,
                http: tokens_http,
                names: Arc::clone(&names),
                regions: Arc::clone(&regions),
                calls: Arc::clone(&calls),
                clock,
            }),
            keys: Arc::new(Jwks { http: keys_http, names }),
            vault: Arc::new(SecretsManager { regions, calls: Arc::clone(&calls), kms_key: options.kms_key }),
            calls,
            share,
        })
    }

    /// The registry in a table of the broker's own Region, which must be there and as it should be. What writes to it runs
    /// where this is called, until the last copy of the registry is dropped.
    pub async fn open_registry(&self, table: &str) -> Result<DynamoDb, OpenTableError> {
        // In a box: some kilobytes, which a start would carry along.
        Box::pin(DynamoDb::open(self.table(table))).await
    }

    /// Such a table, to bring the records of another registry into.
    pub async fn open_for_import(&self, table: &str) -> Result<Importing, OpenTableError> {
        Box::pin(Importing::open(self.table(table))).await
    }

    /// The data key of tokens that are shared in such a table, encrypted by a KMS key of the broker's own Region.
    pub fn data_keys(&self, table: &str, kms_key: &str) -> Arc<dyn DataKeys> {
        let (kms, calls) = (self.regions.own().kms.clone(), Arc::clone(&self.calls));
        Arc::new(KmsDataKeys { table: self.table(table), kms, calls, kms_key: kms_key.to_owned() })
    }

    fn table(&self, name: &str) -> RegistryTable {
        let own = self.regions.own();
        let (calls, clock) = (Arc::clone(&self.calls), Arc::clone(&self.clock));
        let names = (name.to_owned(), own.name.clone());
        RegistryTable::new(names, own.dynamodb.clone(), (calls, clock), (self.call_timeout, self.quota_wait))
    }

    /// Where others use the account's quotas too: from now on no call has its turn, until whoever keeps the share says how
    /// much of them there is.
    pub fn share_quotas(&self) -> Arc<ShareInForce> {
        self.share.set(Share::Nothing);
        Arc::clone(&self.share)
    }

    /// Calls that the quotas have let through and that are not over, key sets apart, which no quota concerns.
    pub fn calls_under_way(&self) -> usize {
        self.calls.under_way()
    }

    /// What is told of the calls that are made.
    pub fn told(&self) -> Arc<dyn Told> {
        self.calls.clone()
    }

    pub fn user_pools(&self) -> Arc<dyn UserPools> {
        self.pools.clone()
    }

    pub fn token_endpoint(&self) -> Arc<dyn TokenEndpoint> {
        self.tokens.clone()
    }

    pub fn key_source(&self) -> Arc<dyn KeySource> {
        self.keys.clone()
    }

    pub fn vault(&self) -> Arc<dyn Vault> {
        self.vault.clone()
    }
}
