//! The real SDK, pointed at a server on loopback.

use std::fmt::Debug;

use aws_sdk_cognitoidentityprovider as cognito;
use aws_sdk_cognitoidentityprovider::config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_cognitoidentityprovider::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager as secretsmanager;

pub struct Sdk {
    pub cognito: cognito::Client,
    pub secrets: secretsmanager::Client,
}

impl Sdk {
    /// Without retries, so that one call is one call.
    pub fn new(endpoint: &str, region: &str, key_id: &str, key: &str) -> Self {
        let credentials = Credentials::new(key_id, key, None, None, "test");
        let region = Region::new(region.to_owned());
        let cognito = cognito::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region.clone())
            .endpoint_url(endpoint)
            .credentials_provider(credentials.clone())
            .retry_config(RetryConfig::disabled())
            .build();
        let secrets = secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(region)
            .endpoint_url(endpoint)
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .build();
        Sdk { cognito: cognito::Client::from_conf(cognito), secrets: secretsmanager::Client::from_conf(secrets) }
    }
}

/// The name of the exception that the service answered with, `-` when nothing could be read.
/// Fails the test when all went well.
pub fn refusal<T: Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("a refusal").code().unwrap_or("-").to_owned()
}
