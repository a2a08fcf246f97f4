//! Callers who go on while a tenant moves there and back: no call fails, and every token is good to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keyward::broker::ports::Clock as _;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verify_token_response::Verdict;
use keyward::proto::{self, Isolation, TenantMoveState};
use keyward::runtime::clock::ManualClock;
use tonic::transport::Channel;

use super::{BILLING, DAY, ORDERS, furnished, move_over, start, state_of, tenant};
use crate::harness::rotations::eventually;
use crate::harness::{SCOPES, verify};

/// Tokens live for an hour, so that each is seen in every part of its life.
const STEP: Duration = Duration::from_secs(20 * 60);
/// Tokens that one caller holds and shows, the newest.
const HELD: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_and_every_token_is_good_to_its_end_while_a_tenant_moves_there_and_back() {
    let (daemon, clock) = furnished(Isolation::AppClient).await;
    let load = Load::begin(&daemon.channel, &clock);
    // Without an overlap the tokens of the old app clients outlive these, and their pool outlives the tokens.
    for (target, overlap) in [(Isolation::UserPool, DAY), (Isolation::AppClient, Duration::ZERO)] {
        load.rounds(2).await;
        start(&daemon, move_over("acme", target, overlap)).await.expect("started");
        let mut steps = 0;
        while state_of(&tenant(&daemon, "acme").await) != TenantMoveState::Succeeded {
            load.rounds(1).await;
            clock.advance(STEP);
            steps += 1;
            assert!(steps < 400, "{:?}", tenant(&daemon, "acme").await);
        }
        assert!(steps >= 72, "a day of overlap, or until the last token has expired: {steps}");
        assert_eq!(tenant(&daemon, "acme").await.isolation(), target);
    }
    load.rounds(2).await;
    load.end().await;
    daemon.stop().await;
}

struct Load {
    over: Arc<AtomicBool>,
    rounds: Arc<Vec<AtomicUsize>>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(channel: &Channel, clock: &Arc<ManualClock>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let asked = [(BILLING, &SCOPES[..]), (ORDERS, &SCOPES[..]), (ORDERS, &SCOPES[..1])];
        let rounds: Arc<Vec<_>> = Arc::new(asked.iter().map(|_| AtomicUsize::new(0)).collect());
        let callers = asked.into_iter().enumerate().map(|(i, (name, scopes))| {
            let (over, rounds, channel, clock) = (over.clone(), rounds.clone(), channel.clone(), clock.clone());
            tokio::spawn(async move {
                let mut held = VecDeque::new();
                while !over.load(Ordering::SeqCst) {
                    round(&channel, &clock, name, scopes, &mut held).await;
                    rounds[i].fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        Load { callers: callers.collect(), over, rounds }
    }

    /// Returns when each caller has made so many more rounds from beginning to end.
    async fn rounds(&self, more: usize) {
        let before: Vec<_> = self.rounds.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        eventually("the callers go on", async || {
            let now = self.rounds.iter().map(|count| count.load(Ordering::SeqCst));
            now.zip(&before).all(|(now, before)| now > before + more)
                || self.callers.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    }

    async fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.expect("no call fails");
        }
    }
}

/// Gets a token, and shows it and those from before.
async fn round(
    channel: &Channel,
    clock: &ManualClock,
    name: &str,
    scopes: &[&str],
    held: &mut VecDeque<(String, i64)>,
) {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let request = proto::GetTokenRequest { name: name.to_owned(), scopes, ..Default::default() };
    let token = TokenServiceClient::new(channel.clone()).get_token(request).await.expect("a token").into_inner();
    let expire_time = token.expire_time.expect("set").seconds;
    if held.back().is_none_or(|(newest, _)| *newest != token.access_token) {
        held.push_back((token.access_token, expire_time));
    }
    while held.len() > HELD {
        held.pop_front();
    }
    for (token, expire_time) in held.iter() {
        let verdict = verify(channel, token).await;
        // Time may have gone on meanwhile.
        let is_good = clock.now().as_second() < *expire_time;
        match verdict {
            Verdict::Verified(verified) => assert_eq!(verified.client, name),
            Verdict::Rejected(rejected) => assert!(!is_good, "{rejected:?}"),
        }
    }
}
