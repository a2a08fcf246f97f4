//! The SDK's clients for each Region that the broker is configured for, over one HTTP client and one provider of credentials.
//! Those for the registry and its key are used in the broker's own Region alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_cognitoidentityprovider as cognito;
use aws_sdk_cognitoidentityprovider::config::SharedCredentialsProvider;
use aws_sdk_dynamodb as dynamodb;
use aws_sdk_kms as kms;
use aws_sdk_secretsmanager as secrets;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::census::Census;
use super::faults::Asking;
use super::{Credentials, Options};
use crate::broker::ports::{Fault, PortResult};

pub(super) struct Region {
    pub name: String,
    pub cognito: cognito::Client,
    pub secrets: secrets::Client,
    pub dynamodb: dynamodb::Client,
    pub kms: kms::Client,
    pub census: Census,
    assigns_secrets: AtomicBool,
}

pub(super) struct Regions {
    own: String,
    credentials: Option<SharedCredentialsProvider>,
    /// The broker's own included.
    all: BTreeMap<String, Region>,
}

impl Regions {
    /// Reads the environment and the profile, and calls nobody: credentials are asked for by the first call.
    pub async fn connect(options: &Options) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let own = aws_config::Region::new(options.region.clone());
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).region(own).http_client(http);
        if let Credentials::Fixed { access_key_id, secret_access_key } = &options.credentials {
            let (id, key) = (access_key_id.clone(), secret_access_key.clone());
            loader = loader.credentials_provider(cognito::config::Credentials::new(id, key, None, None, "fixed"));
        }
        let loading = loader.load();
        // Some 20 kilobytes, which every caller's future would have to hold.
        let base = Box::pin(loading).await;
        let names = std::iter::once(&options.region).chain(&options.regions);
        let all = names.map(|name| (name.clone(), Region::new(&base, options, name))).collect();
        Regions { own: options.region.clone(), credentials: base.credentials_provider(), all }
    }

    /// The broker's own Region, where the registry is.
    pub fn own(&self) -> &Region {
        &self.all[&self.own]
    }

    /// Whom all clients ask for credentials.
    pub fn credentials(&self) -> Option<&SharedCredentialsProvider> {
        self.credentials.as_ref()
    }

    pub fn all(&self) -> impl Iterator<Item = &Region> {
        self.all.values()
    }

    /// The Region of that name, the broker's own for an empty one. One that is not configured is refused.
    pub fn get(&self, asking: Asking, name: &str) -> PortResult<&Region> {
        let name = if name.is_empty() { &self.own } else { name };
        let unknown = || asking.error(Fault::Refused, format_args!("{name} is not among the configured Regions"));
        self.all.get(name).ok_or_else(unknown)
    }

    pub fn is_own(&self, name: &str) -> bool {
        self.own == name
    }

    /// Where a listing over all Regions goes on: in which one, and with which token of its own.
    pub fn resume<'a>(&self, asking: Asking, after: Option<&'a str>) -> PortResult<(&Region, Option<&'a str>)> {
        match after {
            Some(after) => {
                let (name, token) = after.split_once(' ').map_or((after, None), |(name, token)| (name, Some(token)));
                Ok((self.get(asking, name)?, token))
            }
            None => {
                let first = self.all.values().next();
                Ok((first.ok_or_else(|| asking.error(Fault::Refused, "there is no Region"))?, None))
            }
        }
    }

    /// What to resume a listing after, when `region` has given a page and the token of its next one.
    pub fn after(&self, region: &Region, token: Option<&str>) -> Option<String> {
        match token {
            Some(token) => Some(format!("{} {token}", region.name)),
            None => {
                let next = self.all.keys().find(|name| **name > region.name);
                next.cloned()
            }
        }
    }
}

impl Region {
    /// Whether what stands for Cognito here has shown that it does not give app clients the secret that it is told.
    pub fn assigns_secrets(&self) -> bool {
        self.assigns_secrets.load(Ordering::Relaxed)
    }

    pub fn has_assigned_a_secret(&self) {
        if !self.assigns_secrets.swap(true, Ordering::Relaxed) {
            tracing::warn!(region = self.name, "this backend gives app clients secrets of its own choosing, not ours");
        }
    }

    fn new(base: &SdkConfig, options: &Options, name: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(options.connect_timeout)
            .operation_timeout(options.call_timeout)
            .operation_attempt_timeout(options.call_timeout)
            .build();
        let endpoint = |url: &str| Some(url.replace("{region}", name)).filter(|url| !url.is_empty());

        // Answers are small, and `call_timeout` ends one that stalls.
        let stalled = StalledStreamProtectionConfig::disabled();
        // Not for credentials, which the SDK fetches by rules of its own: the journals do not repeat those.
        let retries = RetryConfig::disabled();
        let mut cognito = cognito::config::Builder::from(base)
            .region(cognito::config::Region::new(name.to_owned()))
            .retry_config(retries.clone())
            .stalled_stream_protection(stalled.clone())
            .timeout_config(timeouts.clone());
        let mut secrets = secrets::config::Builder::from(base)
            .region(secrets::config::Region::new(name.to_owned()))
            .retry_config(retries.clone())
            .stalled_stream_protection(stalled.clone())
            .timeout_config(timeouts.clone());
        let mut dynamodb = dynamodb::config::Builder::from(base)
            .region(dynamodb::config::Region::new(name.to_owned()))
            .retry_config(retries.clone())
            .stalled_stream_protection(stalled.clone())
            .timeout_config(timeouts.clone());
        let mut kms = kms::config::Builder::from(base)
            .region(kms::config::Region::new(name.to_owned()))
            .retry_config(retries)
            .stalled_stream_protection(stalled)
            .timeout_config(timeouts);
        if let Some(url) = endpoint(&options.endpoints.cognito) {
            cognito.set_endpoint_url(Some(url));
        } else if name.starts_with("us-gov-") {
            // Cognito has no other endpoints there.
            cognito.set_use_fips(Some(true));
        }
        if let Some(url) = endpoint(&options.endpoints.secrets_manager) {
            secrets.set_endpoint_url(Some(url));
        }
        if let Some(url) = endpoint(&options.endpoints.dynamodb) {
            dynamodb.set_endpoint_url(Some(url));
        }
        if let Some(url) = endpoint(&options.endpoints.kms) {
            kms.set_endpoint_url(Some(url));
        }
        Region {
            name: name.to_owned(),
            cognito: cognito::Client::from_conf(cognito.build()),
            secrets: secrets::Client::from_conf(secrets.build()),
            dynamodb: dynamodb::Client::from_conf(dynamodb.build()),
            kms: kms::Client::from_conf(kms.build()),
            census: Census::default(),
            assigns_secrets: AtomicBool::new(false),
        }
    }
}
