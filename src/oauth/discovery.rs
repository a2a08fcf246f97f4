//! What anybody may know: where the endpoints are (RFC 8414), and the keys of a pool (RFC 7517).
//!
//! There is no `jwks_uri`. Tokens are the pools', each with an issuer and keys of its own, and there may be a pool for each
//! tenant: one set of all keys would grow with the tenants, and whoever looked up a key in it by `kid` alone would take one
//! pool's signature for another's. So keys are passed on for each pool, and the issuer of the metadata, which is this front,
//! is the `iss` of no token.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::answering::Asking;
use super::refusal::Refusal;
use super::{Front, Options};
use crate::domain::error::Error;
use crate::domain::id::PoolId;
use crate::gate::log_cause;

/// How long the metadata may be kept.
const METADATA_AGE: Duration = Duration::from_secs(300);

#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    introspection_endpoint: String,
    grant_types_supported: &'static [&'static str],
    /// RFC 8414 demands it. There is no authorization endpoint, so there is none.
    response_types_supported: &'static [&'static str],
    token_endpoint_auth_methods_supported: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    introspection_endpoint_auth_methods_supported: &'a [&'static str],
}

/// The document, as it is sent.
pub(super) fn metadata(options: &Options) -> Bytes {
    let issuer = options.public_url.as_str();
    let metadata = Metadata {
        issuer,
        token_endpoint: format!("{issuer}/oauth2/token"),
        introspection_endpoint: format!("{issuer}/oauth2/introspect"),
        grant_types_supported: &["client_credentials"],
        response_types_supported: &[],
        token_endpoint_auth_methods_supported: &["client_secret_basic", "client_secret_post"],
        introspection_endpoint_auth_methods_supported: &options.introspection_methods,
    };
    // Texts and lists of them are always written.
    serde_json::to_vec(&metadata).unwrap_or_default().into()
}

#[derive(Serialize)]
struct KeySet<'a> {
    keys: Vec<Key<'a>>,
}

#[derive(Serialize)]
struct Key<'a> {
    alg: &'static str,
    e: &'a str,
    kid: &'a str,
    kty: &'static str,
    n: &'a str,
    #[serde(rename = "use")]
    used_for: &'static str,
}

impl Front {
    pub(super) fn metadata(&self, asking: &Asking) -> Result<Response, Refusal> {
        self.counts.count_stranger(&asking.connection).map_err(|error| Refusal::of(&error))?;
        Ok(kept(METADATA_AGE, self.document.clone()))
    }

    /// Those that the broker verifies with itself, which leaves out what is no RSA key of at least 2,048 bits.
    pub(super) async fn keys(&self, asking: &Asking) -> Result<Response, Refusal> {
        self.counts.count_stranger(&asking.connection).map_err(|error| Refusal::of(&error))?;
        let refused = |error: Error| {
            log_cause(&error, &asking.call_id);
            Refusal::of(&error)
        };
        let path = asking.parts.uri.path();
        let pool = path.strip_prefix("/pools/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let published = match PoolId::parse("pool", pool) {
            Ok(pool) => self.gate.broker.verifier.published_keys(&pool).await.map_err(refused)?,
            Err(_) => None,
        };
        let Some(published) = published else {
            return Err(Refusal::request("there is no such pool").with_status(StatusCode::NOT_FOUND));
        };
        let mut keys = Vec::new();
        for key in &published.keys {
            let (kid, n, e) = (&key.kid, &key.modulus, &key.exponent);
            keys.push(Key { alg: "RS256", e, kid, kty: "RSA", n, used_for: "sig" });
        }
        let keys = KeySet { keys };
        let text = serde_json::to_vec(&keys).map_err(|error| refused(Error::internal("writing keys", error)))?;
        Ok(kept(published.good_for, text.into()))
    }
}

/// What may be kept for so long.
fn kept(age: Duration, text: Bytes) -> Response {
    let headers =
        [(CONTENT_TYPE, "application/json".to_owned()), (CACHE_CONTROL, format!("public, max-age={}", age.as_secs()))];
    (headers, text).into_response()
}
