//! The crate's `client` module against the real daemon: verdicts, freshness, recovery, tokens, layers.

mod features;
mod fresh;
mod layers;
mod tokens;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use keyward::broker::ports::Clock as _;
use keyward::client::{Connection, Demand, Identity, NotVerified, Now, Rule, Verifier, VerifierOptions};
use keyward::runtime::clock::ManualClock;
use tonic::transport::Channel;

use crate::harness::ports::{Stage, in_time};

/// The clock of a test, as the client wants it.
fn clock(clock: &Arc<ManualClock>) -> Now {
    let clock = clock.clone();
    Arc::new(move || clock.now())
}

/// A stage on which an hour may pass before what was told counts no more: its clock stands, and the time here does not.
async fn patient_stage() -> Stage {
    Stage::set_with(|config| config.verification.max_staleness = Duration::from_secs(3_600)).await
}

/// A verifier that was told everything.
async fn verifier(channel: &Channel, now: Now) -> Verifier {
    let options = VerifierOptions { now, ..Default::default() };
    let verifier = Verifier::start(Connection::new(channel.clone()), options);
    in_time(verifier.ready()).await;
    verifier
}

async fn verify(verifier: &Verifier, token: &str) -> Result<Identity, NotVerified> {
    verifier.verify(token, &Demand::default()).await
}

/// The rule that the token fails, `None` where it is good; fails the test where nobody can tell.
async fn rule(verifier: &Verifier, token: &str) -> Option<Rule> {
    match verify(verifier, token).await {
        Ok(_) => None,
        Err(NotVerified::Rejected(rejection)) => Some(rejection.rule),
        Err(NotVerified::CannotTell(why)) => panic!("{why:?}"),
    }
}

/// Returns once `holds`.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    in_time(async {
        let mut looks = crate::harness::pauses(Duration::from_millis(2));
        while !holds().await {
            looks.tick().await;
        }
    })
    .await;
}
