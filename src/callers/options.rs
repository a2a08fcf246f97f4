//! What callers are told apart by, as plain data.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::grant::Grants;
use crate::domain::spiffe::TrustDomain;

/// Everything that the configuration says of callers. Its `Default` lets nobody in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trust domains whose X.509-SVIDs and JWT-SVIDs are believed.
    pub spiffe: Vec<SpiffeOptions>,
    pub issuers: Vec<IssuerOptions>,
    pub aws: Option<AwsOptions>,
    /// Whether the user of the process at the other end of a Unix socket is a caller.
    pub unix: bool,
    pub grants: Grants,
    pub rates: Rates,
    /// How far an issuer's clock may be off.
    pub leeway: Duration,
    /// The shortest time between two readings of the same keys.
    pub key_refetch_floor: Duration,
    /// When keys are read anew.
    pub key_max_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            spiffe: Vec::new(),
            issuers: Vec::new(),
            aws: None,
            unix: false,
            grants: Grants::default(),
            rates: Rates::default(),
            leeway: Duration::from_secs(5),
            key_refetch_floor: Duration::from_secs(30),
            key_max_age: Duration::from_secs(300),
        }
    }
}

#[derive(Clone, Debug)]
pub struct SpiffeOptions {
    pub trust_domain: TrustDomain,
    /// Whether its X.509-SVIDs must be by an authority of its own: one that connections have by the trust domain's name.
    /// Otherwise they must be by an authority of no domain.
    pub has_own_authorities: bool,
    /// Absent: no JWT-SVIDs of this domain.
    pub jwt: Option<JwtOptions>,
}

/// An issuer of JWTs, by its `iss`.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    pub issuer: String,
    pub jwt: JwtOptions,
}

#[derive(Clone, Debug)]
pub struct JwtOptions {
    /// What `aud` must have.
    pub audience: String,
    pub keys: KeysAt,
    /// CA certificates in PEM for the URLs of the keys, in place of the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// Holds a token that is shown where the keys are, read anew each time.
    pub token_file: Option<PathBuf>,
}

/// Where public keys (RFC 7517) are.
#[derive(Clone, Debug)]
pub enum KeysAt {
    File(PathBuf),
    Url(String),
    /// Below this issuer, by OpenID Connect Discovery 1.0, section 4.
    Discovery(String),
}

#[derive(Clone, Debug)]
pub struct AwsOptions {
    /// The value that the signed header `x-keyward-broker` must have.
    pub broker_id: String,
    /// Accounts whose identities are believed.
    pub accounts: Vec<String>,
    /// Regions whose STS may be asked.
    pub regions: Vec<String>,
    /// In place of `https://sts.<region>.amazonaws.com`; empty for that.
    pub endpoint: String,
}

/// How often, a second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Calls of one caller.
    pub calls_per_second: u32,
    /// How many of them may come at once.
    pub calls_burst: u32,
    /// Failed proofs from one source address; ten seconds' worth of them may come at once.
    pub failures_per_second: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { calls_per_second: 1_000, calls_burst: 2_000, failures_per_second: 5 }
    }
}
