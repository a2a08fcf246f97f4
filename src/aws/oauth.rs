//! Tokens by the client-credentials grant (RFC 6749, section 4.4): from a pool's token endpoint, or by `GetClientToken`.
//!
//! The secret goes into one header or one member of a request, and the token out of one answer; neither goes anywhere
//! else. How Cognito's token endpoint answers when throttled is not documented: a 429, and a 400 that speaks of rate,
//! are both taken for that.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::TokenSource;
use super::calls::Calls;
use super::faults::Asking;
use super::http;
use super::names::Names;
use super::regions::Regions;
use super::token_answer::{Answer, token_of};
use crate::broker::ports::{Clock, Fault, Peer, PortError, PortResult, TokenEndpoint};
use crate::domain::id::AppClientId;
use crate::domain::pool::MadePool;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::ClientSecret;
use crate::domain::token::AccessToken;

/// Cognito's tokens are about 1,000 bytes; a Lambda may add claims.
const MAX_BODY: usize = 64 * 1024;
const ASKING: Asking = Asking { peer: Peer::TokenEndpoint, doing: "fetch a token" };

pub(super) struct OAuth {
    pub source: TokenSource,
    pub http: reqwest::Client,
    pub names: Arc<Names>,
    pub regions: Arc<Regions>,
    pub calls: Arc<Calls>,
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl TokenEndpoint for OAuth {
    async fn fetch(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<AccessToken> {
        let answer = match self.source {
            TokenSource::TokenEndpoint => {
                let send = self.post(pool, client, secret, scopes);
                self.calls.fetch(ASKING, &pool.region, &pool.user_pool, send).await?
            }
            TokenSource::GetClientToken => self.get_client_token(pool, client, secret, scopes).await?,
        };
        token_of(answer, scopes, self.clock.now()).map_err(|why| ASKING.error(Fault::Unavailable, why))
    }
}

impl OAuth {
    async fn post(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<Answer> {
        let endpoint = self.names.token_endpoint(pool);
        if endpoint.is_empty() {
            // Between two prefixes it will have one again.
            return Err(
                ASKING.error(Fault::Unavailable, "the user pool has no domain now, so it has no token endpoint")
            );
        }
        let form = format!("grant_type=client_credentials&scope={}", *form_encoded(&scopes.to_string()));
        let request = self
            .http
            .post(&*endpoint)
            .header(AUTHORIZATION, basic(client, secret)?)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form);
        let response = request.send().await.map_err(|error| http::no_answer(ASKING, &error))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let body = http::body(ASKING, response, MAX_BODY).await?;
        // Serde's own words could repeat a part of the token.
        serde_json::from_slice(&body)
            .map_err(|_| ASKING.error(Fault::Unavailable, "the token endpoint's answer is not a token"))
    }

    async fn get_client_token(
        &self,
        pool: &MadePool,
        client: &AppClientId,
        secret: &ClientSecret,
        scopes: &ScopeSet,
    ) -> PortResult<Answer> {
        let region = self.regions.get(ASKING, &pool.region)?;
        let request = region.cognito.get_client_token().client_id(client.as_str()).secret(secret.expose());
        let request = request.set_scopes(Some(scopes.iter().map(ToString::to_string).collect()));
        let answer = self.calls.make(ASKING, &region.name, Some(&pool.user_pool), request.send()).await?;
        let no_token = || ASKING.error(Fault::Unavailable, "GetClientToken answered without a token");
        let mut result = answer.client_authentication_result.ok_or_else(no_token)?;
        let access_token = Zeroizing::new(result.access_token.take().ok_or_else(no_token)?);
        let expires_in = Some(i64::from(result.expires_in)).filter(|seconds| *seconds > 0);
        Ok(Answer { access_token, token_type: result.token_type, expires_in, scope: None })
    }
}

/// `client_secret_basic`: both parts form-encoded, then joined (RFC 6749, section 2.3.1).
pub(super) fn basic(client: &AppClientId, secret: &ClientSecret) -> PortResult<HeaderValue> {
    let pair = Zeroizing::new(format!("{}:{}", *form_encoded(client.as_str()), *form_encoded(secret.expose())));
    let header = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(pair.as_bytes()))));
    let mut header = HeaderValue::from_str(&header)
        .map_err(|_| ASKING.error(Fault::Refused, "an app client's id that makes no header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// `application/x-www-form-urlencoded`, in a buffer that did not grow.
pub(super) fn form_encoded(text: &str) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => {
                let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
                encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    encoded
}

async fn refusal(response: Response) -> PortError {
    let status = response.status();
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(super::faults::cleaned);
    match http::body(ASKING, response, MAX_BODY).await {
        Ok(body) => {
            let (fault, words) = judge(status, &body);
            let wait = wait.filter(|_| fault == Fault::Throttled || fault == Fault::Unavailable);
            let wait = wait.map(|wait| format!("; retry after {wait}")).unwrap_or_default();
            ASKING.error(fault, format_args!("the token endpoint answered {words}{wait}"))
        }
        Err(error) => error,
    }
}

/// What an answer other than a token means. Of the body only the error's code is repeated.
pub(super) fn judge(status: StatusCode, body: &[u8]) -> (Fault, String) {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let code = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.error).unwrap_or_default();
    let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
    let fault = match (status.as_u16(), code.as_str()) {
        (400 | 401, "invalid_client") => Fault::InvalidClient,
        (
            400 | 401,
            "invalid_request" | "invalid_grant" | "unauthorized_client" | "unsupported_grant_type" | "invalid_scope",
        ) => Fault::Refused,
        (400, _) if speaks_of_rate(body) => Fault::Throttled,
        _ => http::fault_of(status),
    };
    let separator = if code.is_empty() { "" } else { " " };
    (fault, format!("HTTP {}{separator}{code}", status.as_u16()))
}

fn speaks_of_rate(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    [
        "rate exceeded",
        "rate limit",
        "rate_limit",
        "too many",
        "too_many",
        "toomany",
        "throttl",
        "slow_down",
        "slow down",
    ]
    .iter()
    .any(|words| text.contains(words))
}
