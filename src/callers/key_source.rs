//! Where an issuer's public keys are read from: a file, a URL, or wherever the issuer's own discovery document says.
//!
//! HTTPS with bounded answers and without redirects; plain HTTP to loopback alone. What is said in a log names places,
//! never what was read there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, Url};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::options::{JwtOptions, KeysAt};
use crate::runtime::http::{self, BodyError};

/// Key sets are below 16 KiB, discovery documents too; SPIFFE bundles also hold certificates.
const MAX_BYTES: u64 = 256 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct KeySource {
    at: KeysAt,
    http: Client,
    token_file: Option<PathBuf>,
}

/// Why callers cannot be told apart as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the CA file {file}: {detail}")]
    Authorities { file: PathBuf, detail: String },
    #[error("an HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

impl KeySource {
    pub fn new(options: &JwtOptions) -> Result<Self, OpenError> {
        let mut client = http::client(CONNECT_TIMEOUT, CALL_TIMEOUT);
        if let Some(file) = &options.ca_file {
            client = client.tls_certs_only(authorities(file)?);
        }
        Ok(KeySource { at: options.keys.clone(), http: client.build()?, token_file: options.token_file.clone() })
    }

    /// The key set as it is published, a JSON object. Fails with what went wrong, in words for the log.
    pub async fn read(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        match &self.at {
            KeysAt::File(path) => file(path).await,
            KeysAt::Url(url) => self.get(url).await,
            KeysAt::Discovery(issuer) => {
                let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let document: Discovered = serde_json::from_slice(&self.get(&url).await?)
                    .map_err(|_| format!("{url} is not a discovery document"))?;
                // Section 4.3: otherwise one issuer could speak for another.
                if document.issuer != *issuer {
                    return Err(format!("{url} is another issuer's"));
                }
                self.get(&document.jwks_uri).await
            }
        }
    }

    async fn get(&self, url: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let url = Url::parse(url).ok().filter(is_safe).ok_or("a URL is neither https nor on loopback")?;
        let mut request = self.http.get(url.clone()).header("accept", "application/json");
        if let Some(path) = &self.token_file {
            let token = file(path).await?;
            let token = std::str::from_utf8(&token).map_err(|_| format!("{} holds no token", path.display()))?;
            request = request.bearer_auth(token.trim());
        }
        let response = request.send().await.map_err(|error| http::words(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("{url} answered HTTP {}", response.status().as_u16()));
        }
        let limit = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
        http::body(response, limit).await.map_err(|error| match error {
            BodyError::TooLarge => format!("{url} answered with more than {limit} bytes"),
            BodyError::Broken(error) => http::words(&error),
        })
    }
}

/// OpenID Connect Discovery 1.0, section 3, as far as it is needed.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// HTTPS, or HTTP to this machine.
fn is_safe(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let is_loopback = address.map_or(host == "localhost", |address| address.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, OpenError> {
    let failed = |detail: String| OpenError::Authorities { file: file.to_owned(), detail };
    let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| failed(http::words(&error)))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

async fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(format!("{} has more than {MAX_BYTES} bytes", path.display())),
        false => Ok(bytes),
    }
}
