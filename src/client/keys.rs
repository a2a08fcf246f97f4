//! A key that is not known yet: whom to ask, and how often.
//!
//! An issuer may sign with a key that the broker has not read, since the broker reads keys when a token asks for them. So a
//! token with a `kid` that is not known here is shown to the broker, which then looks, and sends the key to everybody who
//! watches. Made-up `kid`s cost the broker one call a second from each verifier for each issuer, and one at a time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::verifier::Shared;
use crate::domain::claims::Unverified;
use crate::domain::id::Issuer;
use crate::domain::trust::KeySet;
use crate::proto::verification_service_client::VerificationServiceClient;
use crate::proto::verify_token_response::Verdict;
use crate::proto::{RejectionReason, VerifyTokenRequest};

/// From one question about an issuer to the next.
const FLOOR: Duration = Duration::from_secs(1);
/// How long each of three steps may take: a turn to ask, the answer, the key on the stream.
const LIMIT: Duration = Duration::from_millis(1_500);

/// Whom nobody has asked about lately.
#[derive(Default)]
pub(super) struct Keys {
    /// When each issuer was asked about last, and whether the broker could tell. There are no more of them than the broker has
    /// named.
    asked: Mutex<HashMap<Issuer, (Instant, bool)>>,
}

/// One key of a set.
pub(super) struct Key {
    keys: KeySet,
    kid: String,
}

impl Key {
    pub fn new(keys: KeySet, kid: &str) -> Self {
        Key { keys, kid: kid.to_owned() }
    }

    /// Whether it has signed the token.
    pub fn verifies(&self, token: &Unverified<'_>) -> bool {
        self.keys.get(&self.kid).is_some_and(|key| key.verifies(token.signed, &token.signature))
    }
}

impl Keys {
    /// Has the broker look for the token's key. Whoever asks meanwhile waits for that. Afterwards the key is among those that
    /// were sent, or the issuer has none of this `kid`; fails where nobody can tell.
    pub async fn look_for(&self, shared: &Shared, token: &Unverified<'_>) -> Result<(), ()> {
        let (issuer, kid) = (token.issuer().clone(), token.kid.clone().unwrap_or_default());
        let is_known = || {
            let view = shared.read();
            let keys = view.trusted.keys(&issuer);
            keys.map(|keys| (keys.keys.contains_key(&kid), keys.are_read))
        };
        let mut asked = timeout(LIMIT, self.asked.lock()).await.map_err(drop)?;
        match is_known() {
            // Another's question has brought it, or the issuer is gone.
            Some((true, _)) | None => return Ok(()),
            Some((false, are_read)) => match asked.get(&issuer) {
                Some((time, could_tell)) if time.elapsed() < FLOOR => {
                    return if *could_tell && are_read { Ok(()) } else { Err(()) };
                }
                _ => {}
            },
        }
        let told = Keys::ask(shared, token, &issuer, &kid).await;
        asked.insert(issuer, (Instant::now(), told.is_ok()));
        told
    }

    async fn ask(shared: &Shared, token: &Unverified<'_>, issuer: &Issuer, kid: &str) -> Result<(), ()> {
        let request = VerifyTokenRequest { token: token.whole().to_owned(), ..Default::default() };
        let request = shared.connection.request(request).map_err(drop)?;
        let mut broker = VerificationServiceClient::new(shared.connection.channel.clone());
        let answer = timeout(LIMIT, broker.verify_token(request)).await.map_err(drop)?.map_err(drop)?;
        match answer.into_inner().verdict {
            Some(Verdict::Rejected(rejected)) if rejected.reason() == RejectionReason::UnknownKey => Ok(()),
            // It knows the key, and so will we; what else it says is said here by the same rules.
            Some(_) => {
                let is_there = |view: &super::verifier::View| {
                    view.trusted.keys(issuer).is_none_or(|keys| keys.keys.contains_key(kid))
                };
                shared.wait_for(LIMIT, is_there).await
            }
            None => Err(()),
        }
    }
}
