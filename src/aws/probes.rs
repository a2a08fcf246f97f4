//! The calls that [`live`](super::live) tries, each made so that it can change nothing.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use aws_sdk_cognitoidentityprovider::config::http::HttpResponse;
use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cognitoidentityprovider::types::{IdentityProviderTypeType, UserPoolMfaType};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;

use super::calls::Calls;
use super::data_keys;
use super::dynamodb::probing as dynamodb;
use super::live::{Finding, Judged, Wanted, judge, operations_of, subject};
use super::operations::{Listed, OPERATIONS};
use super::pool_settings::POOL_TAG;
use super::regions::Region;
use super::staging::CURRENT;
use super::{Options, TokenSource};

const COGNITO: &str = "cognito-idp";
const SECRETS_MANAGER: &str = "secretsmanager";
const DYNAMODB: &str = "dynamodb";
const KMS: &str = "kms";
/// One that would let nobody in.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
    "Action": "secretsmanager:GetSecretValue", "Resource": "*"}]}"#;

type Outcome<T, E> = Result<T, SdkError<E, HttpResponse>>;

/// A call of the SDK that is about to be made.
trait Sending<T, E>: Future<Output = Outcome<T, E>> + Send {}

impl<T, E, F: Future<Output = Outcome<T, E>> + Send> Sending<T, E> for F {}

pub(super) struct Prober<'a> {
    calls: &'a Calls,
    region: &'a Region,
    options: &'a Options,
    /// What nothing is called: [`nothing`].
    nothing: String,
    /// A name below the prefix of secrets that no secret has.
    secret: String,
    pub findings: Vec<Finding>,
}

impl<'a> Prober<'a> {
    pub fn new(calls: &'a Calls, region: &'a Region, options: &'a Options, wanted: &Wanted) -> Self {
        let nothing = nothing();
        let secret = format!("{}/check/{nothing}", wanted.secret_prefix);
        Prober { calls, region, options, nothing, secret, findings: Vec::new() }
    }

    pub async fn cognito(&mut self) {
        let cognito = &self.region.cognito;
        let setting = "aws.endpoints.cognito";
        if !self.reach(COGNITO, setting, Box::pin(cognito.list_user_pools().max_results(1).send())).await {
            return;
        }
        self.get_client_token().await;
        // As long as Cognito's own, so that nobody refuses it for its form.
        let pool = format!("{}_{}", self.region.name, &self.nothing[..9]);
        let (pool, name) = (pool.as_str(), self.nothing.clone());
        if !self.is_nowhere(cognito.describe_user_pool().user_pool_id(pool).send()).await {
            return self.leave_out(COGNITO);
        }
        self.attempt(cognito.get_user_pool_mfa_config().user_pool_id(pool).send()).await;
        self.attempt(cognito.list_resource_servers().user_pool_id(pool).max_results(1).send()).await;
        self.attempt(cognito.list_identity_providers().user_pool_id(pool).max_results(1).send()).await;
        self.attempt(cognito.describe_identity_provider().user_pool_id(pool).provider_name(&name).send()).await;
        self.attempt(cognito.list_user_pool_clients().user_pool_id(pool).max_results(1).send()).await;
        self.attempt(cognito.describe_user_pool_client().user_pool_id(pool).client_id(&name).send()).await;
        self.attempt(cognito.list_user_pool_client_secrets().user_pool_id(pool).client_id(&name).send()).await;

        let update = cognito.update_user_pool().user_pool_id(pool).user_pool_tags(POOL_TAG, "check");
        self.attempt(update.send()).await;
        let mfa = cognito.set_user_pool_mfa_config().user_pool_id(pool).mfa_configuration(UserPoolMfaType::Off);
        self.attempt(mfa.send()).await;
        let domain = format!("{}-{name}", self.options.name_prefix);
        self.attempt(cognito.create_user_pool_domain().user_pool_id(pool).domain(&domain).send()).await;
        self.attempt(cognito.describe_user_pool_domain().domain(&domain).send()).await;
        self.attempt(cognito.update_user_pool_domain().user_pool_id(pool).domain(&domain).send()).await;
        self.attempt(cognito.delete_user_pool_domain().user_pool_id(pool).domain(&domain).send()).await;

        let create = cognito.create_resource_server().user_pool_id(pool).identifier(&name).name(&name);
        self.attempt(create.send()).await;
        let update = cognito.update_resource_server().user_pool_id(pool).identifier(&name).name(&name);
        self.attempt(update.send()).await;
        self.attempt(cognito.delete_resource_server().user_pool_id(pool).identifier(&name).send()).await;

        let create = cognito.create_identity_provider().user_pool_id(pool).provider_name(&name);
        let create = create.provider_type(IdentityProviderTypeType::Saml);
        self.attempt(create.provider_details("MetadataURL", "https://idp.example.com/metadata").send()).await;
        self.attempt(cognito.update_identity_provider().user_pool_id(pool).provider_name(&name).send()).await;
        self.attempt(cognito.delete_identity_provider().user_pool_id(pool).provider_name(&name).send()).await;

        self.attempt(cognito.create_user_pool_client().user_pool_id(pool).client_name(&name).send()).await;
        self.attempt(cognito.update_user_pool_client().user_pool_id(pool).client_id(&name).send()).await;
        self.attempt(cognito.delete_user_pool_client().user_pool_id(pool).client_id(&name).send()).await;
        self.attempt(cognito.add_user_pool_client_secret().user_pool_id(pool).client_id(&name).send()).await;
        let delete = cognito.delete_user_pool_client_secret().user_pool_id(pool).client_id(&name);
        self.attempt(delete.client_secret_id(format!("{name}--1700000000")).send()).await;
        self.leave_out(COGNITO);
    }

    pub async fn secrets_manager(&mut self) {
        let secrets = &self.region.secrets;
        let setting = "aws.endpoints.secrets_manager";
        if !self.reach(SECRETS_MANAGER, setting, Box::pin(secrets.list_secrets().max_results(1).send())).await {
            return;
        }
        let (secret, version) = (self.secret.clone(), self.nothing.clone());
        if !self.is_nowhere(secrets.describe_secret().secret_id(&secret).send()).await {
            return self.leave_out(SECRETS_MANAGER);
        }
        self.attempt(secrets.get_secret_value().secret_id(&secret).send()).await;
        self.attempt(secrets.get_resource_policy().secret_id(&secret).send()).await;

        let put = secrets.put_secret_value().secret_id(&secret).client_request_token(&version).secret_string("{}");
        self.attempt(put.send()).await;
        let stage = secrets.update_secret_version_stage().secret_id(&secret).version_stage(CURRENT);
        self.attempt(stage.move_to_version_id(&version).send()).await;
        self.attempt(secrets.delete_secret().secret_id(&secret).recovery_window_in_days(30).send()).await;
        self.attempt(secrets.restore_secret().secret_id(&secret).send()).await;
        self.attempt(secrets.put_resource_policy().secret_id(&secret).resource_policy(POLICY).send()).await;
        self.attempt(secrets.delete_resource_policy().secret_id(&secret).send()).await;
        self.leave_out(SECRETS_MANAGER);
    }

    pub async fn adopted_pool(&mut self, pool: &str) {
        let subject = format!("the adopted pool {pool}");
        let request = self.region.cognito.describe_user_pool().user_pool_id(pool);
        let outcome = match self.in_turn(Box::pin(request.send())).await {
            Ok(outcome) => outcome,
            Err(why) => return self.findings.push(Finding::not_tried(subject, why)),
        };
        let finding = match (judge(&self.region.name, &outcome), outcome) {
            (_, Ok(_)) => Finding::fine(subject, ""),
            (_, Err(error)) if error.code() == Some("ResourceNotFoundException") => {
                Finding::missing(subject, "there is no such pool in this account; see aws.adopted_pools")
            }
            (Judged::Answered(finding), _) => Finding { subject, ..finding },
            (Judged::Unreachable(why), _) => Finding::not_tried(subject, why),
        };
        self.findings.push(finding);
    }

    pub async fn registry(&mut self, table: &str) {
        let client = &self.region.dynamodb;
        let describe = || Box::pin(client.describe_table().table_name(table).send());
        if !self.reach(DYNAMODB, "aws.endpoints.dynamodb", describe()).await {
            return;
        }
        let called = format!("the table {table}");
        self.findings.push(match self.in_turn(describe()).await {
            Ok(outcome) => dynamodb::finding(called, outcome),
            Err(why) => Finding::not_tried(called, why),
        });
        let get = client.get_item().table_name(table).set_key(Some(dynamodb::nothing(&self.nothing)));
        self.attempt(get.send()).await;
        let query = client.query().table_name(table).index_name(dynamodb::DUE_INDEX).limit(1);
        let query = query.key_condition_expression("due_shelf = :shelf");
        self.attempt(query.expression_attribute_values(":shelf", dynamodb::text(&self.nothing)).send()).await;
        let put = client.put_item().table_name(table).set_item(Some(dynamodb::nothing(&self.nothing)));
        self.attempt(put.condition_expression(dynamodb::is_there()).send()).await;
        // Every part of it fails, since what it is about is not there; whether each is allowed is asked first.
        let parts = dynamodb::impossible(table, &self.nothing);
        let subject = subject(&TransactWriteItemsError::OPERATION, &self.region.name);
        self.attempt(client.transact_write_items().set_transact_items(Some(parts)).send()).await;
        let finding = self.findings.iter().rfind(|finding| finding.subject == subject).cloned();
        let subject = format!("dynamodb:DeleteItem in {}", self.region.name);
        self.findings.extend(finding.map(|finding| Finding { subject, ..finding }));
    }

    /// A data key is made that nobody keeps, and opened.
    pub async fn data_keys(&mut self, table: &str, kms_key: &str) {
        let kms = &self.region.kms;
        let make = || Box::pin(data_keys::make(kms, kms_key, table).send());
        if !self.reach(KMS, "aws.endpoints.kms", make()).await {
            return;
        }
        let subject = format!("the KMS key {kms_key}");
        let wrapped = match self.in_turn(make()).await {
            Ok(Ok(made)) => {
                self.findings.push(Finding::fine(subject, ""));
                made.ciphertext_blob
            }
            Ok(Err(error)) => {
                let mend = "see registry.token_key_kms, aws.region and deploy/cloudformation.yaml";
                let why = error.code().unwrap_or("it cannot be used");
                self.findings.push(Finding::missing(subject, format!("{why}; {mend}")));
                None
            }
            Err(why) => return self.findings.push(Finding::not_tried(subject, why)),
        };
        if let Some(wrapped) = wrapped {
            self.attempt(data_keys::open(kms, kms_key, table, wrapped.as_ref()).send()).await;
        }
        self.leave_out(KMS);
    }

    async fn get_client_token(&mut self) {
        if self.options.token_source != TokenSource::GetClientToken {
            let subject = format!("GetClientToken in {}", self.region.name);
            return self.findings.push(Finding::not_tried(subject, "aws.token_source is \"token_endpoint\""));
        }
        let request = self.region.cognito.get_client_token().client_id(&self.nothing).secret(&self.nothing);
        self.attempt(request.scopes(format!("{}/read", self.nothing)).send()).await;
    }

    /// The first call of a service: whether anybody answers, and what.
    async fn reach<T, E>(&mut self, service: &str, setting: &str, send: Pin<Box<impl Sending<T, E>>>) -> bool
    where
        E: Listed + ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let subject = format!("the endpoint of {service} in {}", self.region.name);
        let outcome = match self.in_turn(send).await {
            Ok(outcome) => outcome,
            Err(why) => {
                self.findings.push(Finding::not_tried(subject, why));
                return false;
            }
        };
        match judge(&self.region.name, &outcome) {
            Judged::Answered(finding) => {
                self.findings.extend([Finding::fine(subject, ""), finding]);
                true
            }
            Judged::Unreachable(why) => {
                let mend = format!("see {setting}, aws.region, aws.regions, and whether the network lets it through");
                self.findings.push(Finding::missing(subject, format!("{why}; {mend}")));
                let rest = format!("every operation of {service} in {}", self.region.name);
                self.findings.push(Finding::not_tried(rest, "the endpoint was not reached"));
                false
            }
        }
    }

    /// The look at what must not be there; whether it may be written to.
    fn is_nowhere<T, E>(&mut self, send: impl Sending<T, E>) -> impl Future<Output = bool>
    where
        E: Listed + ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let attempt = self.attempt(send);
        // Where looking is forbidden, the random name is enough.
        async { matches!(attempt.await, Some(Err(_))) }
    }

    /// Tries one operation; its outcome, if the call was made.
    fn attempt<T, E>(&mut self, send: impl Sending<T, E>) -> impl Future<Output = Option<Outcome<T, E>>>
    where
        E: Listed + ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        // Such a future is some kilobytes.
        self.attempt_boxed(Box::pin(send))
    }

    async fn attempt_boxed<T, E>(&mut self, send: Pin<Box<impl Sending<T, E>>>) -> Option<Outcome<T, E>>
    where
        E: Listed + ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let outcome = match self.in_turn(send).await {
            Ok(outcome) => outcome,
            Err(why) => {
                self.findings.push(Finding::not_tried(subject(&E::OPERATION, &self.region.name), why));
                return None;
            }
        };
        self.findings.push(match judge(&self.region.name, &outcome) {
            Judged::Answered(finding) => finding,
            Judged::Unreachable(why) => Finding::missing(subject(&E::OPERATION, &self.region.name), why),
        });
        Some(outcome)
    }

    async fn in_turn<T, E: Listed>(&self, send: Pin<Box<impl Sending<T, E>>>) -> Result<Outcome<T, E>, String> {
        self.calls.outcome(&self.region.name, None, send).await.map_err(|error| error.to_string())
    }

    /// Says of every operation and action of the service that was not tried why it was not.
    fn leave_out(&mut self, service: &str) {
        let region = self.region.name.clone();
        let is_known = |findings: &[Finding], subject: &str| findings.iter().any(|known| known.subject == subject);
        for operation in operations_of(service) {
            let subject = subject(operation, &region);
            if !is_known(&self.findings, &subject) {
                let why = match operation.name {
                    "CreateUserPool" | "CreateSecret" => "a call that is allowed would have its effect",
                    "Decrypt" => "no data key was made that it could be tried on",
                    "DeleteUserPool" => "it need be allowed only on pools with the tag keyward:pool, so not on nothing",
                    _ => "whether what it would be tried on is there could not be told",
                };
                self.findings.push(Finding::not_tried(subject, why));
            }
        }
        let is_of = |action: &&&str| action.split_once(':').is_some_and(|(of, _)| of == service);
        for action in OPERATIONS.iter().flat_map(|operation| operation.actions).filter(is_of) {
            let subject = format!("{action} in {region}");
            if !is_known(&self.findings, &subject) {
                let why = "it is asked for only together with a tag on something that is there";
                self.findings.push(Finding::not_tried(subject, why));
            }
        }
    }
}

/// 32 random consonants: with vowels they would now and then spell `aws`, `amazon` or `cognito`, and
/// `CreateUserPoolDomain` refuses a domain with one of these for that alone.
///
/// Source: <https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-assign-domain-prefix.html>
fn nothing() -> String {
    const LETTERS: &[u8; 16] = b"bcdfghjklmnpqrst";
    let mut bytes = [0_u8; 32];
    // Where the system gives no random bytes nothing else would work either; the name is still nobody's.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 16)])).collect()
}

#[cfg(test)]
mod tests {
    use super::nothing;

    #[test]
    fn nothing_is_called_what_cognito_refuses_for_its_name() {
        // Of names of any letters, some seventeen of ten thousand would have one of these.
        for _ in 0..10_000 {
            let name = nothing();
            assert_eq!(name.len(), 32);
            for reserved in ["aws", "amazon", "cognito"] {
                assert!(!name.contains(reserved), "{name}");
            }
        }
    }
}
