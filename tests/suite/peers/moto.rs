//! moto: of use for Secrets Manager, and for app clients that are made with a secret of one's own.
//!
//! As it was seen to behave (`fake/tests/agreement.rs` holds each of these):
//! - right: `CreateSecret` with its request token; compare-and-swap of labels, with `AWSPREVIOUS` following
//!   `AWSCURRENT`; `AWSPENDING` on one version only; the deletion window; a `ClientSecret` of one's own at creation.
//! - wrong at Secrets Manager: `PutSecretValue` overwrites a version that is there, so its request token protects
//!   nothing; after a label was moved by hand a read by default gives the version that was current before (ask by
//!   label), and the next `PutSecretValue` leaves `AWSCURRENT` on two versions; a name that is scheduled for deletion
//!   is `ResourceExistsException` and not `InvalidRequestException`.
//! - right at DynamoDB: conditions, reasons of a cancelled transaction with the item as it is, pages, indexes.
//! - wrong at DynamoDB: a transaction copies its table and puts the copy back when it fails, so transactions at one time
//!   undo each other; a `ClientRequestToken` is not minded; signatures are not looked at.
//! - right at KMS: data keys, aliases, an encryption context that is another, a changed ciphertext. Wrong: `Decrypt` with
//!   another KMS key is `AccessDeniedException` and no `IncorrectKeyException`; a disabled key is not minded.
//! - wrong at Cognito: no token endpoint (500); no two-secret operations (an answer that cannot be read); a domain can
//!   be made twice; unknown scopes, client credentials without a secret and deletion protection are not minded; an
//!   update keeps what it is not given.

use std::path::PathBuf;
use std::process::Command;

use super::process::Peer;
use super::provision::environment;

const REQUIREMENTS: &str = include_str!("moto.txt");

/// The interpreter that has moto, and with it botocore and joserfc.
pub fn moto_python() -> PathBuf {
    environment("moto", REQUIREMENTS)
}

impl Peer {
    pub async fn moto() -> Peer {
        let python = moto_python();
        Peer::start("/moto-api/data.json", |_, port| {
            let mut command = Command::new(&python);
            command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()]);
            command
        })
        .await
    }
}
