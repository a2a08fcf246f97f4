//! Every operation of AWS that is called, and what an IAM policy must allow for it.
//!
//! [`Calls`](super::calls::Calls) makes a call only if the type of its error is [`Listed`] here, and each operation of
//! the SDK has an error type of its own. So what is not in this table cannot be called, and none can pass for another.

use aws_sdk_cognitoidentityprovider::operation as cognito;
use aws_sdk_dynamodb::operation as dynamodb;
use aws_sdk_kms::operation as kms;
use aws_sdk_secretsmanager::operation as secrets;

use super::governor::Category;

/// An operation of Cognito, Secrets Manager, DynamoDB or KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// As the API calls it, `CreateUserPool`.
    pub name: &'static str,
    /// The IAM actions that it needs, its own and those that its arguments bring with them. Empty where IAM is not asked.
    pub actions: &'static [&'static str],
    /// What Keyward does with it.
    pub why: &'static str,
    pub(super) category: Category,
    /// Whether a request holds a secret, so that an error which repeats a part of the request must be censored.
    pub(super) holds_secret: bool,
}

/// The error of an operation of the SDK, by which the operation is known.
pub(super) trait Listed {
    const OPERATION: Operation;
}

const PLAIN: bool = false;
const SECRET: bool = true;

macro_rules! operations {
    ($($name:literal $error:ty, $category:ident, $holds:ident, $actions:expr, $why:literal;)*) => {
        /// All of them. With a KMS key of one's own for secrets come `kms:Decrypt` and `kms:GenerateDataKey` on that key, through
        /// Secrets Manager.
        pub const OPERATIONS: &[Operation] = &[$(<$error>::OPERATION),*];

        $(impl Listed for $error {
            const OPERATION: Operation = Operation {
                name: $name,
                actions: &$actions,
                why: $why,
                category: Category::$category,
                holds_secret: $holds,
            };
        })*
    };
}

operations! {
    "ListUserPools" cognito::list_user_pools::ListUserPoolsError, UserPoolReads, PLAIN,
        ["cognito-idp:ListUserPools"], "finds a pool by its name before it is made, after a crash, and for reconciling";
    "DescribeUserPool" cognito::describe_user_pool::DescribeUserPoolError, UserPoolReads, PLAIN,
        ["cognito-idp:DescribeUserPool"], "reads a pool's domain, issuer type and settings";
    "CreateUserPool" cognito::create_user_pool::CreateUserPoolError, UserPoolUpdates, PLAIN,
        ["cognito-idp:CreateUserPool", "cognito-idp:TagResource"], "makes shared and dedicated pools, tagged";
    "UpdateUserPool" cognito::update_user_pool::UpdateUserPoolError, UserPoolUpdates, PLAIN,
        ["cognito-idp:UpdateUserPool", "cognito-idp:TagResource", "cognito-idp:UntagResource"],
        "brings a dedicated pool's settings and tags up to the tenant's";
    "SetUserPoolMfaConfig" cognito::set_user_pool_mfa_config::SetUserPoolMfaConfigError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:SetUserPoolMfaConfig"], "turns the second factor of a dedicated pool on or off";
    "GetUserPoolMfaConfig" cognito::get_user_pool_mfa_config::GetUserPoolMfaConfigError, ResourceServerReads, PLAIN,
        ["cognito-idp:GetUserPoolMfaConfig"], "sees which second factors a pool takes";
    "DeleteUserPool" cognito::delete_user_pool::DeleteUserPoolError, UserPoolUpdates, PLAIN,
        ["cognito-idp:DeleteUserPool"], "offboards a tenant with a pool of its own";
    "CreateUserPoolDomain" cognito::create_user_pool_domain::CreateUserPoolDomainError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:CreateUserPoolDomain"], "gives a pool its token endpoint and its hosted sign-in";
    "DescribeUserPoolDomain" cognito::describe_user_pool_domain::DescribeUserPoolDomainError, ResourceServerReads, PLAIN,
        ["cognito-idp:DescribeUserPoolDomain"], "sees whose a domain is, and how far one of a tenant's own is";
    "UpdateUserPoolDomain" cognito::update_user_pool_domain::UpdateUserPoolDomainError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:UpdateUserPoolDomain"], "gives a domain of a tenant's own another certificate";
    "DeleteUserPoolDomain" cognito::delete_user_pool_domain::DeleteUserPoolDomainError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:DeleteUserPoolDomain"], "takes a domain away that has another in its place; and Cognito deletes no pool that has one";
    "ListResourceServers" cognito::list_resource_servers::ListResourceServersError, ResourceServerReads, PLAIN,
        ["cognito-idp:ListResourceServers"], "finds resource servers that left the catalogue";
    "CreateResourceServer" cognito::create_resource_server::CreateResourceServerError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:CreateResourceServer"], "applies the catalogue";
    "UpdateResourceServer" cognito::update_resource_server::UpdateResourceServerError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:UpdateResourceServer"], "applies the catalogue";
    "DeleteResourceServer" cognito::delete_resource_server::DeleteResourceServerError, ResourceServerUpdates, PLAIN,
        ["cognito-idp:DeleteResourceServer"], "applies the catalogue";
    "ListUserPoolClients" cognito::list_user_pool_clients::ListUserPoolClientsError, AppClientReads, PLAIN,
        ["cognito-idp:ListUserPoolClients"], "finds what a crash left behind, and for reconciling";
    "DescribeUserPoolClient" cognito::describe_user_pool_client::DescribeUserPoolClientError, AppClientReads, PLAIN,
        ["cognito-idp:DescribeUserPoolClient"], "reads an app client before it is changed or taken over";
    "CreateUserPoolClient" cognito::create_user_pool_client::CreateUserPoolClientError, AppClientUpdates, SECRET,
        ["cognito-idp:CreateUserPoolClient"], "issues a client";
    "UpdateUserPoolClient" cognito::update_user_pool_client::UpdateUserPoolClientError, AppClientUpdates, PLAIN,
        ["cognito-idp:UpdateUserPoolClient"], "changes a client's scopes and token validity";
    "DeleteUserPoolClient" cognito::delete_user_pool_client::DeleteUserPoolClientError, AppClientUpdates, PLAIN,
        ["cognito-idp:DeleteUserPoolClient"], "retires a client";
    "AddUserPoolClientSecret" cognito::add_user_pool_client_secret::AddUserPoolClientSecretError, ClientSecrets, SECRET,
        ["cognito-idp:AddUserPoolClientSecret"], "registers the new secret of a rotation";
    "ListUserPoolClientSecrets" cognito::list_user_pool_client_secrets::ListUserPoolClientSecretsError,
        ClientSecrets, PLAIN,
        ["cognito-idp:ListUserPoolClientSecrets"], "sees which secrets an app client has, and strangers among them";
    "DeleteUserPoolClientSecret" cognito::delete_user_pool_client_secret::DeleteUserPoolClientSecretError,
        ClientSecrets, PLAIN,
        ["cognito-idp:DeleteUserPoolClientSecret"], "retires the old secret of a rotation";
    "ListIdentityProviders" cognito::list_identity_providers::ListIdentityProvidersError, ResourceServerReads, PLAIN,
        ["cognito-idp:ListIdentityProviders"], "finds a tenant's identity providers in its pool, and how many there are";
    "DescribeIdentityProvider" cognito::describe_identity_provider::DescribeIdentityProviderError,
        ResourceServerReads, PLAIN,
        ["cognito-idp:DescribeIdentityProvider"], "compares an identity provider with the tenant's record";
    "CreateIdentityProvider" cognito::create_identity_provider::CreateIdentityProviderError,
        ResourceServerUpdates, SECRET,
        ["cognito-idp:CreateIdentityProvider"], "makes a tenant's identity provider in its pool";
    "UpdateIdentityProvider" cognito::update_identity_provider::UpdateIdentityProviderError,
        ResourceServerUpdates, SECRET,
        ["cognito-idp:UpdateIdentityProvider"], "brings an identity provider up to the tenant's";
    "DeleteIdentityProvider" cognito::delete_identity_provider::DeleteIdentityProviderError,
        ResourceServerUpdates, PLAIN,
        ["cognito-idp:DeleteIdentityProvider"], "takes away an identity provider that a tenant has given up";
    "GetClientToken" cognito::get_client_token::GetClientTokenError, ClientAuthentication, SECRET,
        [], "fetches tokens where token_source says so; authenticated by the app client's secret, not by IAM";
    "DescribeSecret" secrets::describe_secret::DescribeSecretError, SecretReads, PLAIN,
        ["secretsmanager:DescribeSecret"], "sees where the staging labels are";
    "GetSecretValue" secrets::get_secret_value::GetSecretValueError, SecretReads, PLAIN,
        ["secretsmanager:GetSecretValue"], "reads a client's secret; and one that is to be taken over";
    "ListSecrets" secrets::list_secrets::ListSecretsError, SecretReads, PLAIN,
        ["secretsmanager:ListSecrets"], "finds orphans when reconciling";
    "GetResourcePolicy" secrets::get_resource_policy::GetResourcePolicyError, SecretReads, PLAIN,
        ["secretsmanager:GetResourcePolicy"], "sees who may read a secret";
    "CreateSecret" secrets::create_secret::CreateSecretError, SecretWrites, SECRET,
        ["secretsmanager:CreateSecret", "secretsmanager:TagResource"], "stores a client's first secret, tagged";
    "PutSecretValue" secrets::put_secret_value::PutSecretValueError, SecretWrites, SECRET,
        ["secretsmanager:PutSecretValue"], "stores a client's whole document, and the new secret of a rotation";
    "UpdateSecretVersionStage" secrets::update_secret_version_stage::UpdateSecretVersionStageError, SecretWrites, PLAIN,
        ["secretsmanager:UpdateSecretVersionStage"], "moves the staging labels";
    "DeleteSecret" secrets::delete_secret::DeleteSecretError, SecretWrites, PLAIN,
        ["secretsmanager:DeleteSecret"], "schedules a retired client's secret for deletion";
    "RestoreSecret" secrets::restore_secret::RestoreSecretError, SecretWrites, PLAIN,
        ["secretsmanager:RestoreSecret"], "a client or an identity provider is made again under the name of one that was deleted";
    "PutResourcePolicy" secrets::put_resource_policy::PutResourcePolicyError, SecretWrites, PLAIN,
        ["secretsmanager:PutResourcePolicy"], "lets a tenant's own principals read its secret";
    "DeleteResourcePolicy" secrets::delete_resource_policy::DeleteResourcePolicyError, SecretWrites, PLAIN,
        ["secretsmanager:DeleteResourcePolicy"], "takes that away again";
    "DescribeTable" dynamodb::describe_table::DescribeTableError, Registry, PLAIN,
        ["dynamodb:DescribeTable"], "sees at a start that the table is the one that is needed";
    "GetItem" dynamodb::get_item::GetItemError, Registry, PLAIN,
        ["dynamodb:GetItem"], "reads a record, and the head of the log";
    "Query" dynamodb::query::QueryError, Registry, PLAIN,
        ["dynamodb:Query"], "lists records, what is due, events, and the change feed";
    "PutItem" dynamodb::put_item::PutItemError, Registry, PLAIN,
        ["dynamodb:PutItem"], "shares a sealed token with other brokers, and takes the lease on fetching one";
    "TransactWriteItems" dynamodb::transact_write_items::TransactWriteItemsError, Registry, PLAIN,
        ["dynamodb:ConditionCheckItem", "dynamodb:PutItem", "dynamodb:DeleteItem"],
        "changes records and appends events, all or nothing; IAM knows it by its parts";
    "GenerateDataKeyWithoutPlaintext"
        kms::generate_data_key_without_plaintext::GenerateDataKeyWithoutPlaintextError, DataKeys, PLAIN,
        ["kms:GenerateDataKeyWithoutPlaintext"], "makes the data key under which brokers share tokens";
    "Decrypt" kms::decrypt::DecryptError, DataKeys, PLAIN,
        ["kms:Decrypt"], "opens that data key, at a start and when there is another";
}
