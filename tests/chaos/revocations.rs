//! How long it takes from the answer of `RevokeTokens` at one broker to the refusal of `VerifyToken` at each other one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verification_service_client::VerificationServiceClient;
use keyward::proto::verify_token_response::Verdict;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::fleet;
use crate::harness::details;
use crate::holder::Holder;
use crate::world::{BROKERS, World};
use crate::{TURNS, number, percentile};

const REVOCATIONS: usize = 10_000;
const FEW_REVOCATIONS: usize = 500;
const PER_SECOND: u32 = 50;
/// Revocations that are under way at one time, at most: a slow machine gets no more of them than it carries.
const AT_A_TIME: usize = 50;
/// How often a verifier asks again, which is what a measurement may be wrong by, upwards.
const ASKING: Duration = Duration::from_millis(20);
/// Of the 99th percentile.
const LIMIT: Duration = Duration::from_secs(1);
/// When the machine leaves the emulator waiting for so long, what is measured meanwhile says nothing of brokers.
const STARVED: Duration = Duration::from_millis(400);
/// When a verifier gives up: it counts as refused then.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_few_revocations_are_felt_at_every_broker_within_a_second() {
    let _among_others = TURNS.read().await;
    measure(FEW_REVOCATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo test --test chaos -- --ignored"]
async fn ten_thousand_revocations_are_felt_at_every_broker_within_a_second() {
    let _alone = TURNS.write().await;
    measure(number("KEYWARD_CHAOS_REVOCATIONS", REVOCATIONS)).await;
}

async fn measure(count: usize) {
    let world = World::start("").await;
    let names = fleet::onboard(&world, 10).await;
    let mut holders = Vec::new();
    for name in &names {
        holders.push(Holder::of(&world.fake, name).await);
    }
    let pulse = CancellationToken::new();
    let begun = Instant::now();
    let (felt, ()) = tokio::join!(
        async {
            let _over = pulse.clone().drop_guard();
            revoke_all(&world, &holders, count).await
        },
        world.feel_pulse(STARVED, pulse.clone())
    );
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    let is_measured = |felt: &&Felt| world.sites[0].troubles(felt.answered, felt.end, Duration::ZERO).is_empty();
    let mut took: Vec<_> = felt.iter().filter(is_measured).map(|felt| felt.end - felt.answered).collect();
    assert!(took.len() > felt.len() / 2, "the machine has too much else to do: {} of {}", took.len(), felt.len());
    let [half, most, all] = [50, 99, 100].map(|percent| percentile(&mut took, percent));
    println!(
        "{count} revocations, {per_second:.1} a second, {} refusals elsewhere, {} of them while the machine had no time: p50 \
         {half:.0?}, p99 {most:.0?}, max {all:.0?}",
        felt.len(),
        felt.len() - took.len(),
    );
    assert!(most < LIMIT, "the 99th percentile is {most:?}");
    assert_eq!(world.end(), Vec::<String>::new());
}

/// When a revocation was answered, and when another broker then refused the token.
#[derive(Clone, Copy)]
struct Felt {
    answered: Instant,
    end: Instant,
}

async fn revoke_all(world: &World, holders: &[Holder], count: usize) -> Vec<Felt> {
    let channels: Vec<Channel> = world.sites.iter().map(|site| site.channel()).collect();
    let (mut pace, places) = (tokio::time::interval(Duration::from_secs(1) / PER_SECOND), Semaphore::new(AT_A_TIME));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (places, mut revoking) = (Arc::new(places), JoinSet::new());
    for revocation in 0..count {
        pace.tick().await;
        let place = places.clone().acquire_owned().await.expect("never closed");
        let token = holders[revocation % holders.len()].fetch().await.expect("a token");
        let mut channels = channels.clone();
        channels.rotate_left(revocation % BROKERS);
        revoking.spawn(async move {
            let felt = revoke(token, channels).await;
            drop(place);
            felt
        });
    }
    revoking.join_all().await.concat()
}

/// Revokes the token at the first; how that was felt at each other, where it was good until then.
async fn revoke(token: String, channels: Vec<Channel>) -> Vec<Felt> {
    for channel in &channels {
        assert!(!is_refused(channel, &token).await, "it is good at first");
    }
    let (mut clients, mut asking) = (ClientServiceClient::new(channels[0].clone()), tokio::time::interval(ASKING));
    loop {
        asking.tick().await;
        let request = proto::RevokeTokensRequest { target: Some(Target::Token(token.clone())), ..Default::default() };
        match clients.revoke_tokens(request).await {
            Ok(_) => break,
            Err(status) => helps_to_ask_again(&status),
        }
    }
    let answered = Instant::now();
    assert!(is_refused(&channels[0], &token).await, "whoever is told of it finds it so");
    let others = channels[1..].iter().map(async |channel| {
        let mut asking = tokio::time::interval(ASKING);
        while !is_refused(channel, &token).await && answered.elapsed() < PATIENCE {
            asking.tick().await;
        }
        Felt { answered, end: Instant::now() }
    });
    futures::future::join_all(others).await
}

async fn is_refused(channel: &Channel, token: &str) -> bool {
    let (mut verifier, mut asking) = (VerificationServiceClient::new(channel.clone()), tokio::time::interval(ASKING));
    let answer = loop {
        asking.tick().await;
        let request = proto::VerifyTokenRequest { token: token.to_owned(), ..Default::default() };
        match verifier.verify_token(request).await {
            Ok(answer) => break answer.into_inner(),
            Err(status) => helps_to_ask_again(&status),
        }
    };
    match answer.verdict.expect("a verdict") {
        Verdict::Rejected(rejected) => {
            assert_eq!(rejected.reason(), proto::RejectionReason::Revoked);
            true
        }
        Verdict::Verified(_) => false,
    }
}

/// As a broker may say on a machine that has much else to do.
fn helps_to_ask_again(status: &Status) {
    assert!(details(status).retry, "{status:?}");
}
