//! `[aws]`: what the AWS backend needs to know, and the limits of each key.

use std::time::Duration;

use serde::Deserialize;

use super::setting::{MILLI, MINUTE, SECOND, Setting, count, is_region, period, text, texts};

/// `[aws]`: Cognito, Secrets Manager, and DynamoDB where the registry is there. Credentials come from the SDK's default chain (environment, profile, web
/// identity, instance metadata) and never from here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aws {
    /// The broker's own Region: shared pools, their secrets, and dedicated pools that name none. Required.
    pub region: String,
    /// Further Regions that dedicated pools may name. At most 40.
    pub regions: Vec<String>,
    /// What pools are called at Cognito, and what the prefixes of their domains begin with; `-` and the pool's id follow.
    pub name_prefix: String,
    /// Where tokens come from.
    pub token_source: TokenSource,
    /// The KMS key of secrets, as an id, ARN or alias; empty for Secrets Manager's own.
    pub kms_key: String,
    /// The ARN of the role by which Cognito sends text messages; empty where tenants' pools cannot have that factor.
    pub sms_role: String,
    /// The external id that the role's trust policy asks for; empty for none.
    pub sms_external_id: String,
    /// The ARN of the identity of SES that codes by email come from, with `{region}` for the pool's; empty where tenants'
    /// pools cannot have that factor.
    pub email_identity: String,
    /// Pools that are there already and are to be used, as `eu-central-1_AbCdEf123`. At most 100.
    pub adopted_pools: Vec<String>,
    /// How long connecting may take: 100 ms to 60 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long one call may take, its answer included: 100 ms to 60 s.
    #[serde(with = "humantime_serde")]
    pub call_timeout: Duration,
    /// How long a call may wait for its turn under the quotas: zero to 60 s.
    #[serde(with = "humantime_serde")]
    pub quota_wait: Duration,
    pub endpoints: AwsEndpoints,
    pub quotas: AwsQuotas,
}

impl Default for Aws {
    fn default() -> Self {
        Aws {
            region: String::new(),
            regions: Vec::new(),
            name_prefix: "keyward".to_owned(),
            token_source: TokenSource::default(),
            kms_key: String::new(),
            sms_role: String::new(),
            sms_external_id: String::new(),
            email_identity: String::new(),
            adopted_pools: Vec::new(),
            connect_timeout: 2 * SECOND,
            call_timeout: 10 * SECOND,
            quota_wait: 5 * SECOND,
            endpoints: AwsEndpoints::default(),
            quotas: AwsQuotas::default(),
        }
    }
}

/// Where tokens come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The pool's `/oauth2/token`, which needs a domain.
    #[default]
    TokenEndpoint,
    /// The API operation `GetClientToken`.
    GetClientToken,
}

/// `[aws.endpoints]`: other places than AWS's own, as for a VPC endpoint or an emulator. Empty for AWS's own. Plain
/// `http` is allowed here and nowhere else. `{region}`, `{user_pool}` and `{domain}` stand for what they say. This process
/// asks there; what it writes down and tells others are AWS's own, where these are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsEndpoints {
    pub cognito: String,
    pub secrets_manager: String,
    pub dynamodb: String,
    pub kms: String,
    /// In place of `https://{domain}.auth.{region}.amazoncognito.com/oauth2/token`.
    pub token: String,
    /// In place of `<issuer>/.well-known/jwks.json`.
    pub jwks: String,
}

/// `[aws.quotas]`: calls a second, of the account in one Region unless said otherwise. The defaults are Cognito's and
/// Secrets Manager's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsQuotas {
    /// Tokens.
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

impl Default for AwsQuotas {
    fn default() -> Self {
        AwsQuotas {
            client_authentication: 150,
            app_client_reads: 15,
            app_client_updates: 15,
            user_pool_reads: 15,
            user_pool_updates: 15,
            resource_server_reads: 20,
            resource_server_updates: 15,
            per_operation_and_pool: 5,
            secret_reads: 10_000,
            secret_writes: 50,
        }
    }
}

/// Every key of the section, in the order in which they are explained.
pub(super) fn settings(aws: &Aws) -> Vec<Setting> {
    let token_source = match aws.token_source {
        TokenSource::TokenEndpoint => "token_endpoint",
        TokenSource::GetClientToken => "get_client_token",
    };
    let Aws { endpoints, quotas, .. } = aws;
    let endpoint = |key, url: &str, about| {
        Setting::new(key, text(url), about).of("an http or https URL of at most 200 characters, or empty", is_endpoint)
    };
    let quota = |key, calls: u32, about| Setting::new(key, count(calls), about).within(1, 1_000_000);
    vec![
        Setting::new("aws.region", text(&aws.region), "The broker's own Region; needed with backend = \"aws\"")
            .of("an AWS Region such as eu-central-1", |region| region.is_empty() || is_region(region)),
        Setting::new("aws.regions", texts(&aws.regions), "Further Regions that tenants' own pools may name").each(
            "an AWS Region such as eu-central-1",
            40,
            is_region,
        ),
        Setting::new("aws.name_prefix", text(&aws.name_prefix), "What pools and their domains are called")
            .of("1 to 20 characters of [a-z0-9-] without aws, amazon and cognito", is_name_prefix),
        Setting::new("aws.token_source", text(token_source), "Where tokens come from")
            .of("\"token_endpoint\" or \"get_client_token\"", |_| true),
        Setting::new("aws.kms_key", text(&aws.kms_key), "The KMS key of secrets; empty for Secrets Manager's own")
            .of("at most 2048 characters without spaces", |key| key.len() <= 2048 && !key.contains(' ')),
        Setting::new(
            "aws.sms_role",
            text(&aws.sms_role),
            "The role by which Cognito sends text messages; empty for none",
        )
        .of("the ARN of an IAM role, or empty", |arn| is_arn(arn, "iam")),
        Setting::new(
            "aws.sms_external_id",
            text(&aws.sms_external_id),
            "The external id of that role, if it asks for one",
        )
        .of("at most 200 characters without spaces", |id| id.len() <= 200 && !id.contains(' ')),
        Setting::new(
            "aws.email_identity",
            text(&aws.email_identity),
            "The SES identity of codes by email; see {region}",
        )
        .of("the ARN of an SES identity, or empty", |arn| is_arn(arn, "ses")),
        Setting::new("aws.adopted_pools", texts(&aws.adopted_pools), "Pools that are there already and are to be used")
            .each("a user pool's id such as eu-central-1_AbCdEf123", 100, is_user_pool),
        Setting::new("aws.connect_timeout", period(aws.connect_timeout), "How long connecting may take")
            .lasting(MILLI * 100, MINUTE),
        Setting::new("aws.call_timeout", period(aws.call_timeout), "How long one call may take")
            .lasting(MILLI * 100, MINUTE),
        Setting::new("aws.quota_wait", period(aws.quota_wait), "How long a call may wait for its turn")
            .lasting(Duration::ZERO, MINUTE),
        endpoint("aws.endpoints.cognito", &endpoints.cognito, "In place of Cognito's own endpoint"),
        endpoint("aws.endpoints.secrets_manager", &endpoints.secrets_manager, "In place of Secrets Manager's own"),
        endpoint("aws.endpoints.dynamodb", &endpoints.dynamodb, "In place of DynamoDB's own"),
        endpoint("aws.endpoints.kms", &endpoints.kms, "In place of KMS's own"),
        endpoint(
            "aws.endpoints.token",
            &endpoints.token,
            "In place of a pool's token endpoint; see {domain}, {region}",
        ),
        endpoint("aws.endpoints.jwks", &endpoints.jwks, "In place of an issuer's key set; see {user_pool}, {region}"),
        quota("aws.quotas.client_authentication", quotas.client_authentication, "Tokens a second"),
        quota("aws.quotas.app_client_reads", quotas.app_client_reads, "App client reads a second"),
        quota("aws.quotas.app_client_updates", quotas.app_client_updates, "App client updates a second"),
        quota("aws.quotas.user_pool_reads", quotas.user_pool_reads, "User pool reads a second"),
        quota("aws.quotas.user_pool_updates", quotas.user_pool_updates, "User pool updates a second"),
        quota("aws.quotas.resource_server_reads", quotas.resource_server_reads, "Resource server reads a second"),
        quota("aws.quotas.resource_server_updates", quotas.resource_server_updates, "Resource server updates a second"),
        quota("aws.quotas.per_operation_and_pool", quotas.per_operation_and_pool, "Calls of one operation on one pool"),
        quota("aws.quotas.secret_reads", quotas.secret_reads, "Secrets Manager reads a second"),
        quota("aws.quotas.secret_writes", quotas.secret_writes, "Secrets Manager writes a second"),
    ]
}

fn is_endpoint(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\#".contains(&byte));
    url.is_empty() || (plain && url.len() <= 200 && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')))
}

fn is_arn(arn: &str, service: &str) -> bool {
    let plain = arn.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    let is_of_service = || arn.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(1)) == Some(service);
    arn.is_empty() || (plain && (20..=2048).contains(&arn.len()) && is_of_service())
}

fn is_name_prefix(prefix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=20).contains(&prefix.len())
        && prefix.bytes().all(allowed)
        && !prefix.starts_with('-')
        && !["aws", "amazon", "cognito"].iter().any(|reserved| prefix.contains(reserved))
}

fn is_user_pool(id: &str) -> bool {
    id.split_once('_').is_some_and(|(region, rest)| {
        is_region(region) && (1..=32).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
