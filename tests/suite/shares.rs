//! Several brokers on one account: each keeps to its share of the quotas, and together they use nearly all of them.
//!
//! The fake enforces the quotas by the clock, which moves when nothing is under way; the memberships are in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::broker::Ports;
use keyward::broker::ports::{Clock as _, Fault, Wanted};
use keyward::domain::scope::ScopeSet;
use keyward::domain::share::Share;
use keyward::domain::tenant::Isolation;
use keyward::domain::token::AccessToken;
use tokio::task::{AbortHandle, JoinSet};

use crate::fake::{Call, Outcome};
use crate::harness::backend::Backend;
use crate::harness::brokers::{Working, client_name};
use crate::harness::idling::{Idling, idling};
use crate::harness::members::Members;

const NAME: &str = "tenants/acme/clients/checkout";
/// Calls that each broker has under way or waiting, of each kind: more than a second's worth of a share.
const AT_A_TIME: usize = 100;
/// Tokens and operations on one pool that AWS allows in a second.
const TOKENS: f64 = 150.0;
const OF_ONE_POOL: f64 = 5.0;

/// A broker, the ports that it works with, and the memberships as it sees them.
struct One {
    broker: Working,
    ports: Ports,
    members: Arc<Members>,
}

impl One {
    async fn start(stage: &Idling, members: &Members) -> One {
        let members = members.another();
        let patient = |settings: &mut keyward::broker::settings::Settings| {
            // Real time, which a slow machine may need more of.
            settings.tokens.fetch_timeout = Duration::from_secs(600);
            settings.shared_pools_with_room = 12;
        };
        let (broker, ports) = stage.sharing(members.clone(), patient).await;
        One { broker, ports, members }
    }

    /// Returns once its share is one of so many.
    async fn wait_for_share_among(&self, count: u32) {
        let is_so = |share: &Share| matches!(share, Share::Part { among, .. } if *among == count);
        let share = self.ports.shared.as_ref().expect("it shares").share.clone();
        share.watch().wait_for(is_so).await.expect("its sender lives");
    }

    /// Fetches tokens and lists secrets as fast as it may, until aborted.
    async fn rush(&self) -> Vec<AbortHandle> {
        let backend = Backend(self.ports.clone());
        let seen = backend.must_see(NAME).await;
        let document = self.ports.vault.read(&seen.client.secret_name, Wanted::Current).await.expect("read");
        let secret = Arc::new(document.expect("it has one").client_secret);
        let (pool, app_client) = (seen.pool.clone(), seen.client.app_client.clone().expect("made"));
        let spawn = |is_fetch: bool| {
            let (ports, pool, app_client, secret) =
                (self.ports.clone(), pool.clone(), app_client.clone(), secret.clone());
            let rushing = async move {
                loop {
                    let outcome = match is_fetch {
                        true => {
                            let scopes = ScopeSet::default();
                            ports.token_endpoint.fetch(&pool, &app_client, &secret, &scopes).await.map(drop)
                        }
                        false => ports.user_pools.list_secrets(&pool, &app_client).await.map(drop),
                    };
                    // By the broker itself: it may have no share, or wait too long.
                    assert!(outcome.as_ref().err().is_none_or(|error| error.is(Fault::Throttled)), "{outcome:?}");
                }
            };
            tokio::spawn(rushing).abort_handle()
        };
        (0..AT_A_TIME).map(|_| spawn(true)).chain((0..10).map(|_| spawn(false))).collect()
    }
}

async fn started(stage: &Idling, count: u32) -> (Members, Vec<One>) {
    let members = Members::default();
    // One makes everything while it is alone.
    let first = One::start(stage, &members).await;
    first.broker.put_orders_api().await;
    first.broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    first.broker.create_client(NAME).await.expect("a client");
    let mut brokers = vec![first];
    for _ in 1..count {
        brokers.push(One::start(stage, &members).await);
    }
    (members, brokers)
}

/// Calls that were answered in these seconds, of tokens and of one operation on a pool, each by second.
fn rates(stage: &Idling, from: f64, to: f64) -> (f64, f64) {
    let start = crate::harness::start_time();
    let count = |action: &str| {
        let is_one = |call: &&Call| {
            let second = call.time.duration_since(start).as_secs_f64();
            call.action == action && call.outcome == Outcome::Done && (from..to).contains(&second)
        };
        f64::from(u32::try_from(stage.fake.calls().iter().filter(is_one).count()).expect("few"))
    };
    let (tokens, lists) = (count("oauth2:Token"), count("cognito-idp:ListUserPoolClientSecrets"));
    (tokens / (to - from), lists / (to - from))
}

async fn pass(stage: &Idling, seconds: u64) {
    let time = stage.clock.now() + Duration::from_secs(seconds);
    stage.clock.sleep_until(time).await;
}

#[test]
fn three_brokers_use_the_quotas_up_and_aws_throttles_none_though_one_joins_and_one_crashes() {
    idling(|stage| async move {
        let (members, mut brokers) = started(&stage, 3).await;
        for broker in &brokers {
            broker.wait_for_share_among(3).await;
        }
        let mut rushing = Vec::new();
        for broker in &brokers {
            rushing.push(broker.rush().await);
        }
        pass(&stage, 2).await;
        let start = stage.seconds();
        pass(&stage, 10).await;
        let (tokens, lists) = rates(&stage, start, start + 10.0);
        println!("three: {tokens} tokens a second, {lists} operations on one pool");
        assert!(tokens >= 0.9 * TOKENS && lists >= 0.9 * OF_ONE_POOL, "{tokens} and {lists}");

        // One joins, and another crashes before it counts the new one.
        let joining = One::start(&stage, &members).await;
        let crashed = brokers.remove(1);
        rushing.remove(1).iter().for_each(AbortHandle::abort);
        crashed.broker.kill();
        brokers.push(joining);
        brokers[2].wait_for_share_among(4).await;
        rushing.push(brokers[2].rush().await);
        for broker in &brokers {
            broker.wait_for_share_among(3).await;
        }
        // Another is cut off, and makes no calls when the others have divided what it had.
        brokers[0].members.cut_off();
        for broker in &brokers[1..] {
            broker.wait_for_share_among(2).await;
        }
        pass(&stage, 2).await;
        let start = stage.seconds();
        pass(&stage, 5).await;
        let (tokens, lists) = rates(&stage, start, start + 5.0);
        println!("two, and one that is cut off: {tokens} tokens a second, {lists} operations on one pool");
        assert!(tokens >= 0.9 * TOKENS && lists >= 0.75 * OF_ONE_POOL, "{tokens} and {lists}");
        assert_eq!(stage.fake.throttled(), 0);

        rushing.iter().flatten().for_each(AbortHandle::abort);
        let before = members.count();
        for one in brokers.drain(1..) {
            one.broker.stop().await;
        }
        assert_eq!(members.count(), before - 2, "they take themselves out");
        assert_eq!(stage.fake.throttled(), 0);
    });
}

#[test]
fn a_tenant_that_asks_every_broker_for_all_it_can_leaves_another_its_part_of_the_one_that_it_asks() {
    idling(|stage| async move {
        let (_members, brokers) = started(&stage, 1).await;
        let first = &brokers[0].broker;
        for (tenant, clients) in [("greedy", 120), ("modest", 60)] {
            first.create_tenant(tenant, Isolation::AppClient).await.expect("a tenant");
            for n in 0..clients {
                first.create_client(&format!("tenants/{tenant}/clients/client-{n}")).await.expect("a client");
            }
        }
        let members = brokers[0].members.clone();
        let mut brokers = brokers;
        for _ in 0..2 {
            brokers.push(One::start(&stage, &members).await);
        }
        for broker in &brokers {
            broker.wait_for_share_among(3).await;
        }

        let mut waiting = JoinSet::new();
        let done: Arc<[AtomicUsize; 4]> = Arc::default();
        let mut ask = |which: usize, tenant: &str, clients: usize, count: usize| {
            for n in 0..clients {
                for scopes in [&["orders/read"][..], &["orders/write"], &["orders/read", "orders/write"]] {
                    let tokens = brokers[which].broker.tokens.clone();
                    let name = client_name(&format!("tenants/{tenant}/clients/client-{n}"));
                    let scopes = ScopeSet::parse("scopes", scopes).expect("scopes");
                    let done = done.clone();
                    waiting.spawn(async move {
                        let token: Arc<AccessToken> =
                            tokens.get(&name, &scopes, Duration::ZERO).await.expect("a token");
                        done[count].fetch_add(1, Ordering::SeqCst);
                        token
                    });
                }
            }
        };
        for which in 0..3 {
            ask(which, "greedy", 120, which);
        }
        ask(0, "modest", 60, 3);
        let counts = || done.each_ref().map(|count| count.load(Ordering::SeqCst));
        // Until those have gone that were under way when the modest one came.
        pass(&stage, 2).await;
        let before = counts();
        pass(&stage, 4).await;
        let after = counts();
        let rates: Vec<_> = after.iter().zip(before).map(|(after, before)| (after - before) as f64 / 4.0).collect();
        println!("tokens a second, of the greedy tenant by broker, and of the modest one: {rates:?}");
        assert!(after[..3].iter().all(|count| *count < 360), "nobody was greedy: {after:?}");
        assert!(rates.iter().sum::<f64>() >= 0.9 * TOKENS, "{rates:?}");
        // Half of a third.
        assert!(rates[3] >= 0.9 * TOKENS / 6.0, "{rates:?}");
        assert_eq!(stage.fake.throttled(), 0);

        while let Some(ended) = waiting.join_next().await {
            ended.expect("a token");
        }
        assert_eq!(stage.fake.throttled(), 0);
        for one in brokers {
            one.broker.stop().await;
        }
    });
}
