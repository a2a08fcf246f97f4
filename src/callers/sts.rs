//! Asking STS whose a presigned request is.
//!
//! One request, written anew from what [`Presigned`] read, to a host that the configuration allows. Only an answer that is
//! JSON of exactly the one shape counts, and only an identity of a trusted account. The URL, which is a credential while
//! it lasts, is in no error and no log.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HOST};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::options::AwsOptions;
use super::presigned::{BROKER_HEADER, Presigned};
use super::refusals::invalid;
use crate::domain::caller::Principal;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::partition::Partition;
use crate::runtime::http::{self, BodyError};

/// STS's answers are below 1 KiB.
const MAX_BODY: usize = 16 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests to STS under way. More than that at one time are not callers but a flood.
const MAX_CONCURRENT: usize = 32;
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Sts {
    options: AwsOptions,
    http: Client,
    places: Semaphore,
}

impl Sts {
    pub fn new(options: AwsOptions) -> Result<Self, reqwest::Error> {
        // The configuration allows plain HTTP for an endpoint on loopback alone.
        let client = http::client(CONNECT_TIMEOUT, CALL_TIMEOUT).https_only(!options.endpoint.starts_with("http://"));
        Ok(Sts { http: client.build()?, options, places: Semaphore::new(MAX_CONCURRENT) })
    }

    /// Whether STS of this Region may be asked.
    pub fn knows(&self, region: &str) -> bool {
        self.options.regions.iter().any(|known| known == region)
    }

    /// Whose identity has signed this.
    ///
    /// Fails with CREDENTIALS_INVALID where STS refuses it, or the account is not trusted; UNAVAILABLE where STS cannot tell;
    /// OVERLOADED where too many are being asked about.
    pub async fn identity(&self, presigned: &Presigned) -> Result<Principal> {
        let Ok(_place) = self.places.try_acquire() else {
            let message = "too many AWS identities are being looked up";
            return Err(Error::new(Reason::Overloaded, message).retry_after(RETRY_AFTER));
        };
        let host = presigned.host();
        let base = match self.options.endpoint.as_str() {
            "" => format!("https://{host}"),
            endpoint => endpoint.to_owned(),
        };
        let mut request = self
            .http
            .get(format!("{base}/?{}", presigned.query()))
            .header(ACCEPT, "application/json")
            .header(BROKER_HEADER, &self.options.broker_id);
        if !self.options.endpoint.is_empty() {
            request = request.header(HOST, host);
        }
        let response = request.send().await.map_err(|error| cannot_tell(&http::words(&error.without_url())))?;
        self.read(presigned, response).await
    }

    async fn read(&self, presigned: &Presigned, response: Response) -> Result<Principal> {
        let status = response.status();
        let is_json = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json);
        let body = http::body(response, MAX_BODY).await.map_err(|error| match error {
            BodyError::TooLarge => cannot_tell("an answer that is too long"),
            BodyError::Broken(error) => cannot_tell(&http::words(&error.without_url())),
        })?;
        match status {
            StatusCode::OK if is_json => {}
            StatusCode::OK => return Err(cannot_tell("an answer that is not JSON")),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !is_throttling(&body) => {
                return Err(invalid("STS does not accept the signature"));
            }
            status => return Err(cannot_tell(&format!("HTTP {}", status.as_u16()))),
        }
        let identity = Identity::read(&body).ok_or_else(|| cannot_tell("an answer of another shape"))?;
        if !self.options.accounts.contains(&identity.account) {
            return Err(invalid("the AWS account is not one that is trusted"));
        }
        let partition = Partition::of(presigned.region()).map_or("", |partition| partition.arn);
        let arn = identity.principal(partition).ok_or_else(|| cannot_tell("an identity of another form"))?;
        Ok(Principal::Aws(arn.into()))
    }
}

fn cannot_tell(detail: &str) -> Error {
    tracing::warn!(detail, "STS cannot tell whose a request is");
    Error::unavailable(Reason::UpstreamUnavailable, "AWS STS cannot be asked who calls", RETRY_AFTER)
}

/// `application/json` and `application/x-amz-json-…`, with or without parameters.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind == "application/x-amz-json-1.0" || kind == "application/x-amz-json-1.1"
}

/// AWS says some of its refusals of a moment with 400.
fn is_throttling(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        error: Code,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Code {
        code: String,
    }
    let code = serde_json::from_slice::<Answer>(body).map(|answer| answer.error.code).unwrap_or_default();
    ["Throttling", "ThrottlingException", "RequestLimitExceeded"].contains(&code.as_str())
}

/// What `GetCallerIdentity` answers.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    account: String,
    arn: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(rename = "GetCallerIdentityResponse")]
    response: AnswerBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    #[serde(rename = "GetCallerIdentityResult")]
    result: AnswerResult,
    #[serde(rename = "ResponseMetadata")]
    _metadata: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct AnswerResult {
    account: String,
    arn: String,
    #[serde(rename = "UserId")]
    _user_id: String,
}

impl Identity {
    fn read(body: &[u8]) -> Option<Self> {
        let result = serde_json::from_slice::<Answer>(body).ok()?.response.result;
        Some(Identity { account: result.account, arn: result.arn })
    }

    /// The ARN that stands for the identity; of an assumed role, the role's, without the session's name, which its
    /// caller chose. STS does not tell a role's path, so neither does this.
    fn principal(&self, partition: &str) -> Option<String> {
        let parts: Vec<&str> = self.arn.splitn(6, ':').collect();
        let ["arn", of, service, "", account, resource] = parts[..] else { return None };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = self.arn.len() <= 2_048 && self.arn.bytes().all(|byte| byte.is_ascii_graphic());
        if of != partition || account != self.account || !is_account || !is_plain {
            return None;
        }
        let segments: Vec<&str> = resource.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        match (service, segments.as_slice()) {
            ("sts", ["assumed-role", role, _session]) => Some(format!("arn:{of}:iam::{account}:role/{role}")),
            ("sts", ["federated-user", _]) | ("iam", ["user", _, ..] | ["root"]) => Some(self.arn.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(account: &str, arn: &str) -> String {
        format!(
            r#"{{"GetCallerIdentityResponse":{{"GetCallerIdentityResult":{{"Account":"{account}","Arn":"{arn}",
            "UserId":"AROAEXAMPLE:eve"}},"ResponseMetadata":{{"RequestId":"01234567-89ab-cdef-0123-456789abcdef"}}}}}}"#
        )
    }

    #[test]
    fn an_answer_has_one_shape() {
        let good = answer("123456789012", "arn:aws:iam::123456789012:user/eve");
        let identity = Identity::read(good.as_bytes()).expect("an identity");
        assert_eq!(
            (identity.account.as_str(), identity.arn.as_str()),
            ("123456789012", "arn:aws:iam::123456789012:user/eve")
        );
        for bad in [
            String::new(),
            "{}".to_owned(),
            "<GetCallerIdentityResponse/>".to_owned(),
            good.replace("GetCallerIdentityResponse", "AssumeRoleResponse"),
            good.replace("\"Account\"", "\"account\""),
            good.replace("\"Account\":", "\"Account\":\"999999999999\",\"Account\":"),
            good.replace("\"Account\":\"123456789012\",", ""),
            good.replace("\"Account\":\"123456789012\"", "\"Account\":123456789012"),
            format!("{good}{good}"),
            format!("[{good}]"),
            good.replacen('{', "{\"Other\":1,", 1),
        ] {
            assert_eq!(Identity::read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_assumed_role_is_the_role() {
        let principal = |arn: &str| {
            let identity = Identity { account: "123456789012".to_owned(), arn: arn.to_owned() };
            identity.principal("aws")
        };
        let role = "arn:aws:sts::123456789012:assumed-role/orders/i-0123456789abcdef0";
        assert_eq!(principal(role).as_deref(), Some("arn:aws:iam::123456789012:role/orders"));
        for itself in [
            "arn:aws:iam::123456789012:user/eve",
            "arn:aws:iam::123456789012:user/division/eve",
            "arn:aws:iam::123456789012:root",
            "arn:aws:sts::123456789012:federated-user/eve",
        ] {
            assert_eq!(principal(itself).as_deref(), Some(itself));
        }
        for none in [
            "",
            "arn:aws:sts::123456789012:assumed-role/orders",
            "arn:aws:sts::123456789012:assumed-role/orders/",
            "arn:aws:sts::123456789012:assumed-role//eve",
            "arn:aws:sts::123456789012:assumed-role/a/b/c",
            "arn:aws:iam::123456789012:assumed-role/orders/eve",
            "arn:aws:iam::999999999999:user/eve",
            "arn:aws-cn:iam::123456789012:user/eve",
            "arn:aws:iam:eu-central-1:123456789012:user/eve",
            "arn:aws:iam::123456789012:group/eve",
            "arn:aws:iam::123456789012:user/",
            "arn:aws:iam::123456789012:user/e ve",
            "arn:aws:s3::123456789012:user/eve",
        ] {
            assert_eq!(principal(none), None, "{none}");
        }
    }
}
