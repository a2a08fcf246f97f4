//! What is stored, across releases: data of the release before is served and finished, brokers of two releases work on one
//! table, and a form that is newer than a broker knows is told, not guessed at.

mod before;
mod feed;
mod fields;
mod fleet;
mod items;
mod next;
mod recording;
mod refused;

use std::path::Path;
use std::time::Duration;

use keyward::proto;
use keyward::proto::verify_token_response::Verdict;
use keyward::runtime::clock::ManualClock;
use rusqlite::Connection;

use crate::harness::{Daemon, token};
use crate::permission::until;

/// Makes the file of a dump that [`recording`] wrote.
fn restore(dump: &str, file: &Path) -> Connection {
    let connection = Connection::open(file).expect("made");
    connection.execute_batch(dump).expect("restored");
    connection
}

/// Each of these brokers hands out tokens of the client, and all of them call these good. Time goes on as it does, so that
/// they hear of changes.
async fn is_served(clock: &ManualClock, by: &[&Daemon], client: &str) {
    for one in by {
        for other in by {
            until(async || {
                clock.advance(Duration::from_millis(25));
                let Ok(token) = token(&one.channel, client).await else { return false };
                let request = proto::VerifyTokenRequest { token: token.access_token, ..Default::default() };
                let answer = other.verification().verify_token(request).await;
                answer.is_ok_and(|answer| matches!(answer.into_inner().verdict, Some(Verdict::Verified(_))))
            })
            .await;
        }
    }
}
