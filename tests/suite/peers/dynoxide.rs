//! dynoxide: DynamoDB over SQLite in memory, in one program that is not Python. It carries several times what the others do,
//! so `tests/chaos` is over it.
//!
//! It is built as a program of its own: two packages of one build cannot link SQLite, and it is not of the version that
//! Keyward has.
//!
//! As it was seen to behave (`registry/contract.rs`, `registry/answers.rs`, `registry/sharing/contract.rs`):
//! - right: all that the registry asks of it: conditions, transactions and their reasons with the item as it is, a repeated
//!   `ClientRequestToken`, pages, keys, consistent reads. An index is never behind, as AWS's is.
//! - not minded: signatures, and how much a table can take.

use std::process::Command;

use super::process::Peer;
use crate::harness::dynoxide;

impl Peer {
    pub async fn dynoxide() -> Peer {
        let program = tokio::task::spawn_blocking(dynoxide).await.expect("it is there");
        Peer::start("/", |_, port| {
            let mut command = Command::new(&program);
            command.args(["serve", "--host", "127.0.0.1", "--log", "quiet", "--port", &port.to_string()]);
            command
        })
        .await
    }
}
