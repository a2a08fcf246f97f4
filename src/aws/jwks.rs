//! An issuer's public keys (RFC 7517), from where it publishes them, or where this process was told that they are.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::calls::logged;
use super::faults::Asking;
use super::http;
use super::names::Names;
use crate::broker::ports::{Fault, KeySource, Peer, PortResult, PublicKey};
use crate::domain::pool::MadePool;

/// Cognito's key sets are below 1 KiB.
const MAX_BODY: usize = 256 * 1024;

pub(super) struct Jwks {
    pub http: reqwest::Client,
    pub names: Arc<Names>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: String,
    n: String,
    e: String,
    r#use: Option<String>,
    alg: Option<String>,
}

#[async_trait]
impl KeySource for Jwks {
    async fn keys(&self, pool: &MadePool) -> PortResult<Vec<PublicKey>> {
        logged("JWKS", &pool.region, self.fetch(pool)).await
    }
}

impl Jwks {
    async fn fetch(&self, pool: &MadePool) -> PortResult<Vec<PublicKey>> {
        let asking = Asking { peer: Peer::KeySource, doing: "fetch an issuer's keys" };
        let uri = self.names.jwks_uri(pool);
        let request = self.http.get(&uri).header("accept", "application/json");
        let response = request.send().await.map_err(|error| http::no_answer(asking, &error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(asking.error(Fault::NotFound, format_args!("{uri} is not there")));
            }
            status => {
                let detail = format!("{uri} answered HTTP {}", status.as_u16());
                return Err(asking.error(http::fault_of(status), detail));
            }
        }
        let body = http::body(asking, response, MAX_BODY).await?;
        parse(&body).ok_or_else(|| asking.error(Fault::Unavailable, "an answer that is not a key set"))
    }
}

/// The RSA keys for RS256 signatures; other keys are nobody's fault and are left out.
pub(super) fn parse(body: &[u8]) -> Option<Vec<PublicKey>> {
    let set: KeySet = serde_json::from_slice(body).ok()?;
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Key>(key).ok());
    let is_ours = |key: &Key| {
        key.kty == "RSA"
            && key.r#use.as_deref().is_none_or(|used| used == "sig")
            && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
    };
    let keys = keys.filter(is_ours).map(|key| PublicKey { kid: key.kid, modulus: key.n, exponent: key.e });
    Some(keys.collect())
}
