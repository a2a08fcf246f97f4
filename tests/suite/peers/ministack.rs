//! ministack: Cognito with its token endpoint and key sets, and Secrets Manager, in one program.
//!
//! As it was seen to behave (`fake/tests/agreement.rs` holds each of these):
//! - right: pools, domains and resource servers with their errors, except where said; the token endpoint with Basic,
//!   its refusals of a wrong secret, a scope and a grant; the key set; the issuer as on AWS; compare-and-swap of
//!   labels, with `AWSPREVIOUS` following `AWSCURRENT`; reading, deleting and restoring a secret.
//! - right at DynamoDB: all that the registry asks of it, a repeated `ClientRequestToken` and keys that may not be empty
//!   included; an index is never behind, as AWS's is; signatures are not looked at.
//! - right at KMS: data keys, aliases, a disabled key, an encryption context that is another. Wrong: `Decrypt` with another KMS
//!   key gives other bytes and no `IncorrectKeyException`; a changed ciphertext opens as something else.
//! - wrong at Cognito: no two-secret operations (`InvalidAction`); a `ClientSecret` of one's own is ignored, and
//!   without `GenerateSecret` the app client has none; unknown scopes, client credentials without a secret and deletion
//!   protection are not minded; an update keeps what it is not given; a token has `origin_jti` and no `version`, and
//!   scopes that their resource server no longer defines; a request without a grant is `unsupported_grant_type`.
//! - wrong at Secrets Manager: `CreateSecret` ignores its request token, so its version has another id and a repetition
//!   is `ResourceExistsException`; `PutSecretValue` overwrites a version that is there; two versions can be
//!   `AWSPENDING`; a name that is scheduled for deletion is `ResourceExistsException` and not
//!   `InvalidRequestException`.

use std::process::Command;

use super::process::Peer;
use super::provision::environment;

const REQUIREMENTS: &str = include_str!("ministack.txt");

impl Peer {
    pub async fn ministack() -> Peer {
        let python = environment("ministack", REQUIREMENTS);
        Peer::start("/_ministack/health", |folder, port| {
            let mut command = Command::new(&python);
            command
                .args(["-m", "ministack"])
                .env("BIND_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port.to_string())
                .env("IOT_MTLS_ENABLED", "0")
                .env("STATE_DIR", folder);
            command
        })
        .await
    }
}
