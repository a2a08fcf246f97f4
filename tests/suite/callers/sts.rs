//! AWS's own side of `GetCallerIdentity`: an STS that checks presigned requests as Signature Version 4 has them, and
//! clients that sign with AWS's own code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_sdk_secretsmanager::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

use super::AUDIENCE;
use crate::fake::http::{Answer, Asked, Reply, Server, Service};

pub const REGION: &str = "eu-central-1";
pub const ACCOUNT: &str = "123456789012";
const SECRET: &str = "of/the/tests/of/the/tests/of/the/tests+";

/// What STS knows of a key: whose it is.
pub struct Sts {
    /// ARN and security token, by key id.
    identities: Mutex<BTreeMap<String, (String, Option<String>)>>,
    pub asked: AtomicUsize,
    /// In place of the answer to a good request.
    pub instead: Mutex<Option<Reply>>,
    /// The headers of the last request.
    pub headers: Mutex<Vec<(String, String)>>,
}

impl Sts {
    pub async fn start() -> (Arc<Self>, Server) {
        let sts = Arc::new(Sts {
            identities: Mutex::default(),
            asked: AtomicUsize::new(0),
            instead: Mutex::new(None),
            headers: Mutex::default(),
        });
        let server = Server::start(sts.clone()).await;
        (sts, server)
    }

    pub fn know(&self, signer: &Signer, arn: &str) {
        let known = (arn.to_owned(), signer.security_token.clone());
        self.identities.lock().expect("unharmed").insert(signer.key_id.clone(), known);
    }

    pub fn count(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The ARN of whoever has signed this. Everything that is signed is taken from the request as it came.
    fn check(&self, asked: &Asked) -> Result<String, &'static str> {
        if asked.method != "GET" || asked.path != "/" || !asked.body.is_empty() {
            return Err("another request");
        }
        let mut parameters = Vec::new();
        for pair in asked.query.split('&') {
            parameters.push(pair.split_once('=').ok_or("a parameter without a value")?);
        }
        let value = |name: &str| {
            let found = parameters.iter().find(|(known, _)| *known == name).ok_or("a parameter is missing")?;
            Ok::<String, &str>(found.1.replace("%2F", "/").replace("%3B", ";").replace("%2B", "+").replace("%3D", "="))
        };
        if value("Action")? != "GetCallerIdentity" || value("Version")? != "2011-06-15" {
            return Err("another operation");
        }
        let credential = value("X-Amz-Credential")?;
        let [key_id, date, region, "sts", "aws4_request"] = credential.split('/').collect::<Vec<_>>()[..] else {
            return Err("another scope");
        };
        let (arn, token) = self.identities.lock().expect("unharmed").get(key_id).cloned().ok_or("an unknown key")?;
        if value("X-Amz-Security-Token").ok() != token {
            return Err("another security token");
        }
        let mut canonical: Vec<_> = parameters.iter().filter(|(name, _)| *name != "X-Amz-Signature").collect();
        canonical.sort();
        let query: Vec<String> = canonical.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let signed = value("X-Amz-SignedHeaders")?;
        let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", asked.header(name).trim())).collect();
        let empty = hex::encode(digest(&SHA256, b""));
        let request = format!("GET\n/\n{}\n{headers}\n{signed}\n{empty}", query.join("&"));
        let scope = format!("{date}/{region}/sts/aws4_request");
        let hash = hex::encode(digest(&SHA256, request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", value("X-Amz-Date")?);
        let steps = [date, region, "sts", "aws4_request", &text];
        let expected = steps.iter().fold(format!("AWS4{SECRET}").into_bytes(), |key, step| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec()
        });
        (hex::encode(expected) == value("X-Amz-Signature")?).then_some(arn).ok_or("SignatureDoesNotMatch")
    }
}

#[async_trait]
impl Service for Sts {
    async fn answer(&self, asked: Asked) -> Reply {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let headers = asked.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        *self.headers.lock().expect("unharmed") = headers.collect();
        match self.check(&asked) {
            Ok(arn) => self.instead.lock().expect("unharmed").take().unwrap_or_else(|| identity(&arn)),
            Err(_) => json_answer(403, &json!({ "Error": { "Code": "SignatureDoesNotMatch", "Type": "Sender" } })),
        }
    }
}

/// What STS says to whoever accepts JSON.
pub fn identity(arn: &str) -> Reply {
    let account = arn.split(':').nth(4).unwrap_or_default();
    json_answer(
        200,
        &json!({ "GetCallerIdentityResponse": {
            "GetCallerIdentityResult": { "Account": account, "Arn": arn, "UserId": "AROATESTTESTTESTTEST1:eve" },
            "ResponseMetadata": { "RequestId": "01234567-89ab-cdef-0123-456789abcdef" },
        } }),
    )
}

pub fn json_answer(status: u16, body: &serde_json::Value) -> Reply {
    let headers = vec![("content-type", "application/json".to_owned())];
    Reply::Whole(Answer { status, headers, body: body.to_string().into_bytes() })
}

/// A client of AWS that signs with AWS's own code.
pub struct Signer {
    pub key_id: String,
    pub security_token: Option<String>,
}

impl Signer {
    pub fn new(key_id: &str) -> Self {
        Signer { key_id: key_id.to_owned(), security_token: None }
    }

    pub fn temporary(key_id: &str) -> Self {
        Signer { key_id: key_id.to_owned(), security_token: Some("IQoJb3JpZ2luX2VjE/of+the+tests==".to_owned()) }
    }

    /// A request for this broker, good from `now` for a minute.
    pub fn url(&self, now: Timestamp) -> String {
        self.url_for(&format!("https://sts.{REGION}.amazonaws.com/"), REGION, &[("x-keyward-broker", AUDIENCE)], now)
    }

    pub fn url_for(&self, base: &str, region: &str, headers: &[(&str, &str)], now: Timestamp) -> String {
        let url = format!("{base}?Action=GetCallerIdentity&Version=2011-06-15");
        let credentials = Credentials::new(&self.key_id, SECRET, self.security_token.clone(), None, "tests").into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
        let since = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).expect("after 1970");
        let params = SigningParams::builder()
            .identity(&credentials)
            .region(region)
            .name("sts")
            .time(SystemTime::UNIX_EPOCH + since)
            .settings(settings)
            .build()
            .expect("parameters");
        let request =
            SignableRequest::new("GET", &url, headers.iter().copied(), SignableBody::empty()).expect("a request");
        let (instructions, _) = sign(request, &params.into()).expect("signed").into_parts();
        let parameters = instructions.params().iter().map(|(name, value)| format!("&{name}={}", escaped(value)));
        format!("{url}{}", parameters.collect::<String>())
    }
}

fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub fn credential(url: &str) -> String {
    format!("keyward-aws-v1.{}", URL_SAFE_NO_PAD.encode(url))
}
