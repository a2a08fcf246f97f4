//! What the configuration says of AWS, as the AWS backend wants it.

use crate::aws;
use crate::config;

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
        messages: aws::Messages {
            sms_role: config.sms_role.clone(),
            sms_external_id: config.sms_external_id.clone(),
            email_identity: config.email_identity.clone(),
        },
        connect_timeout: config.connect_timeout,
        call_timeout: config.call_timeout,
        quota_wait: config.quota_wait,
        endpoints: aws::Endpoints {
            cognito: endpoints.cognito.clone(),
            secrets_manager: endpoints.secrets_manager.clone(),
            dynamodb: endpoints.dynamodb.clone(),
            kms: endpoints.kms.clone(),
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
