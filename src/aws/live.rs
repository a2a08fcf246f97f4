//! Whether AWS would let a broker work: what it needs is tried, one operation after the other, and nothing is changed.
//!
//! Reads are made as they are. A write is made on a pool, an app client or a secret whose random name nothing bears, so
//! that it must fail: IAM is asked before the thing is looked for, and so "not allowed" differs from "not found". Only
//! these two are taken for an answer to the question. What would have its effect if it were allowed is not tried.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cognitoidentityprovider::config::ProvideCredentials;
use aws_sdk_cognitoidentityprovider::config::http::HttpResponse;
use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};

use super::calls::Calls;
use super::faults::{cleaned, fault_of, words};
use super::governor::Governor;
use super::operations::{Listed, OPERATIONS, Operation};
use super::probes::Prober;
use super::regions::Regions;
use super::{ConnectError, Options};
use crate::broker::ports::{Clock, Fault, ShareInForce};
use crate::domain::share::Share;

/// How long a call may wait for its turn under the quotas.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of trying one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    /// What was tried, and where.
    pub subject: String,
    /// What is wrong and what mends it, or why it was not tried. May be empty.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    Missing,
    NotTried,
}

impl Finding {
    pub fn fine(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Fine, subject: subject.into(), detail: detail.into() }
    }

    pub fn missing(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Finding { verdict: Verdict::Missing, subject: subject.into(), detail: detail.into() }
    }

    pub fn not_tried(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Finding { verdict: Verdict::NotTried, subject: subject.into(), detail: detail.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Missing => "missing",
            Verdict::NotTried => "not tried",
        };
        write!(f, "{verdict:<9}  {}", self.subject)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// What the options do not say and is to be tried too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What the names of secrets begin with.
    pub secret_prefix: String,
    /// Ids of user pools that must be there.
    pub adopted_pools: Vec<String>,
    /// The table of the registry, where that is in DynamoDB.
    pub table: Option<String>,
    /// The KMS key of the tokens that brokers share in it.
    pub token_key_kms: Option<String>,
}

/// Tries everything, Region by Region.
pub async fn try_out(options: Options, wanted: Wanted, clock: Arc<dyn Clock>) -> Result<Vec<Finding>, ConnectError> {
    super::http::client(&options, &options.endpoints.token)?;
    let regions = Regions::connect(&options).await;
    // However short `quota_wait` is: nobody else waits here.
    let governor = Governor::new(&options.quotas, PATIENCE, clock.clone(), Arc::new(ShareInForce::new(Share::Whole)));
    let calls = Calls::new(governor, clock, options.call_timeout);
    let mut findings = Vec::new();
    if !has_credentials(&regions, &mut findings).await {
        findings.push(Finding::not_tried("everything else", "there are no credentials to try it with"));
        return Ok(findings);
    }
    for region in regions.all() {
        let mut prober = Prober::new(&calls, region, &options, &wanted);
        Box::pin(prober.cognito()).await;
        Box::pin(prober.secrets_manager()).await;
        findings.append(&mut prober.findings);
    }
    if let (Some(table), Some(own)) = (&wanted.table, regions.all().find(|region| regions.is_own(&region.name))) {
        let mut prober = Prober::new(&calls, own, &options, &wanted);
        Box::pin(prober.registry(table)).await;
        if let Some(kms_key) = &wanted.token_key_kms {
            Box::pin(prober.data_keys(table, kms_key)).await;
        }
        findings.append(&mut prober.findings);
    }
    for pool in &wanted.adopted_pools {
        let region = pool.split_once('_').map_or("", |(region, _)| region);
        match regions.all().find(|known| known.name == region) {
            Some(known) => {
                let mut prober = Prober::new(&calls, known, &options, &wanted);
                prober.adopted_pool(pool).await;
                findings.append(&mut prober.findings);
            }
            None => findings.push(Finding::missing(
                format!("the adopted pool {pool}"),
                format!("its Region is not configured; add {region} to aws.regions"),
            )),
        }
    }
    findings.push(Finding::not_tried(
        "token endpoints and key sets",
        "each pool has its own, which are tried when its first app client is proven",
    ));
    if !options.kms_key.is_empty() {
        let subject = format!("kms:GenerateDataKey and kms:Decrypt of secrets on {}", options.kms_key);
        findings.push(Finding::not_tried(subject, "Secrets Manager asks for them, and only where a secret is written"));
    }
    Ok(findings)
}

async fn has_credentials(regions: &Regions, findings: &mut Vec<Finding>) -> bool {
    let subject = "credentials";
    let outcome = match regions.credentials() {
        // Boxed, since the chain's future is large.
        Some(provider) => Box::pin(provider.provide_credentials()).await.map(|_| ()),
        None => Ok(()),
    };
    match outcome {
        Ok(()) => findings.push(Finding::fine(subject, "")),
        Err(error) => {
            let why = with_causes(&error);
            let mend = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine or the \
                        service account a role";
            findings.push(Finding::missing(subject, format!("{why}; {mend}")));
            return false;
        }
    }
    true
}

/// What the outcome of a call on something that is not there says.
pub(super) fn judge<T, E>(region: &str, outcome: &Result<T, SdkError<E, HttpResponse>>) -> Judged
where
    E: Listed + ProvideErrorMetadata + Error + 'static,
{
    let operation = E::OPERATION;
    let subject = subject(&operation, region);
    let error = match outcome {
        Ok(_) => return Judged::answered(Finding::fine(subject, "")),
        Err(SdkError::ServiceError(error)) => error,
        Err(SdkError::ConstructionFailure(_)) => {
            return Judged::answered(Finding::not_tried(subject, "the request cannot be made"));
        }
        Err(error) => return Judged::Unreachable(why_unreachable(error)),
    };
    let code = error.err().code().unwrap_or_default();
    let status = error.raw().status().as_u16();
    let said = words(&operation, code, status, error.err().message().unwrap_or_default());
    let action = operation.actions.first().copied().unwrap_or(operation.name);
    Judged::answered(match (code, fault_of(&operation, code, status)) {
        // Of KMS, which is asked about the key that is configured: whether the role may use one shows on that one.
        ("NotFoundException", _) => Finding::not_tried(subject, "there is no such key to try it on"),
        (_, Fault::NotFound | Fault::InvalidClient) => Finding::fine(subject, ""),
        // Its conditions did not hold, so it was let in to look.
        ("TransactionCanceledException" | "ConditionalCheckFailedException", _) => Finding::fine(subject, ""),
        ("AccessDeniedException" | "AccessDenied" | "NotAuthorizedException" | "ForbiddenException", _) => {
            Finding::missing(subject, format!("{said}; the role's policy must allow {action}"))
        }
        (code, _) if is_about_credentials(code) => {
            let mend = "these credentials are not accepted there: look at them, the clock, and whether the account \
                        has the Region";
            Finding::missing(subject, format!("{said}; {mend}"))
        }
        (_, Fault::Unsupported) => Finding::missing(subject, format!("{said}; the endpoint does not know it")),
        (_, Fault::Unavailable) => Finding::missing(subject, format!("{said}; the service is not well, try again")),
        // Whether IAM was asked before this was found cannot be told.
        _ => Finding::not_tried(subject, format!("the answer does not tell: {said}")),
    })
}

pub(super) enum Judged {
    Answered(Finding),
    /// With the reason.
    Unreachable(String),
}

impl Judged {
    fn answered(finding: Finding) -> Self {
        Judged::Answered(finding)
    }
}

/// What needs the operations of a service, in words.
pub(super) fn subject(operation: &Operation, region: &str) -> String {
    let name = operation.actions.first().copied().unwrap_or(operation.name);
    format!("{name} in {region}")
}

/// Operations whose first action is of this service.
pub(super) fn operations_of(service: &str) -> impl Iterator<Item = &'static Operation> {
    let is_its = move |operation: &&Operation| {
        operation.actions.first().is_some_and(|action| action.split_once(':').is_some_and(|(of, _)| of == service))
    };
    OPERATIONS.iter().filter(is_its)
}

fn is_about_credentials(code: &str) -> bool {
    [
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "ExpiredTokenException",
        "ExpiredToken",
        "RequestExpired",
        "OptInRequired",
    ]
    .contains(&code)
}

fn why_unreachable<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    match error {
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::ResponseError(answer) => {
            format!("an answer that cannot be read (HTTP {})", answer.raw().status().as_u16())
        }
        SdkError::DispatchFailure(failure) => {
            failure.as_connector_error().map_or_else(|| "the request was not sent".to_owned(), |it| with_causes(it))
        }
        _ => "an error of a new kind".to_owned(),
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    cleaned(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}
