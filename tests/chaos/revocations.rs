//! How long it takes from the answer of `RevokeTokens` at one broker to the refusal of `VerifyToken` at each other one.

use std::time::{Duration, Instant};

use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::fleet;
use crate::harness::verify;
use crate::holder::Holder;
use crate::world::{BROKERS, World};
use crate::{number, percentile, turn};

/// What the emulator carries in half a minute. The full number is 10,000: `KEYWARD_CHAOS_REVOCATIONS=10000`.
const REVOCATIONS: usize = 400;
const PER_SECOND: u32 = 14;
/// How often a verifier asks again, which is what a measurement may be wrong by, upwards.
const ASKING: Duration = Duration::from_millis(10);
/// Of the 99th percentile.
const LIMIT: Duration = Duration::from_secs(1);
/// When a verifier gives up: it counts as refused then.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes of a machine that does nothing else: cargo test --test chaos -- --ignored"]
async fn a_revocation_is_felt_at_every_broker_within_a_second() {
    let _turn = turn().await;
    let count = number("KEYWARD_CHAOS_REVOCATIONS", REVOCATIONS);
    let world = World::start("").await;
    let names = fleet::onboard(&world, 10).await;
    let mut holders = Vec::new();
    for name in &names {
        holders.push(Holder::of(&world.fake, name).await);
    }
    let channels: Vec<Channel> = world.sites.iter().map(|site| site.channel()).collect();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    let (begun, mut revoking) = (Instant::now(), JoinSet::new());
    for revocation in 0..count {
        pace.tick().await;
        let token = holders[revocation % holders.len()].fetch().await.expect("a token");
        let mut channels = channels.clone();
        channels.rotate_left(revocation % BROKERS);
        revoking.spawn(revoke(token, channels));
    }
    let mut took = revoking.join_all().await.concat();
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    let [half, most, all] = [50, 99, 100].map(|percent| percentile(&mut took, percent));
    println!(
        "{count} revocations, {per_second:.1} a second, {} refusals elsewhere: p50 {half:.0?}, p99 {most:.0?}, max {all:.0?}",
        took.len()
    );
    assert!(most < LIMIT, "the 99th percentile is {most:?}");
    assert_eq!(world.end(), Vec::<String>::new());
}

/// Revokes the token at the first; how long it then took at each other, where it was good until then.
async fn revoke(token: String, channels: Vec<Channel>) -> Vec<Duration> {
    for channel in &channels {
        let verdict = verify(channel, &token).await;
        assert!(matches!(verdict, Verdict::Verified(_)), "{verdict:?}");
    }
    let request = proto::RevokeTokensRequest { target: Some(Target::Token(token.clone())), ..Default::default() };
    ClientServiceClient::new(channels[0].clone()).revoke_tokens(request).await.expect("revoked");
    let answered = Instant::now();
    assert!(is_refused(&channels[0], &token).await, "whoever is told of it finds it so");
    let others = channels[1..].iter().map(async |channel| {
        let mut asking = tokio::time::interval(ASKING);
        while !is_refused(channel, &token).await && answered.elapsed() < PATIENCE {
            asking.tick().await;
        }
        answered.elapsed()
    });
    futures::future::join_all(others).await
}

async fn is_refused(channel: &Channel, token: &str) -> bool {
    match verify(channel, token).await {
        Verdict::Rejected(rejected) => {
            assert_eq!(rejected.reason(), proto::RejectionReason::Revoked);
            true
        }
        Verdict::Verified(_) => false,
    }
}
