//! A fleet of clients is onboarded and rotated as fast as AWS's quotas allow, and not faster.

mod onboarding;
mod rotating;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward::domain::client::ClientState;
use keyward::domain::tenant::Isolation;
use tokio::task::JoinSet;

use crate::fake::{Call, least_time};
use crate::harness::brokers::Working;
use crate::harness::idling::{Idling, idling};

/// The size that the limits below are meant for is 10,000, which takes some minutes: `KEYWARD_FLEET=10000`.
const CLIENTS: usize = 1_200;
const POOLS: usize = 12;
const CLIENTS_PER_TENANT: usize = 10;
/// Calls that the operator has under way.
const AT_A_TIME: usize = 48;

/// What issuing a client takes of AWS.
const CALLS: [(&str, usize); 9] = [
    ("cognito-idp:CreateUserPoolClient", 1),
    ("cognito-idp:ListUserPoolClientSecrets", 1),
    ("oauth2:Token", 1),
    ("secretsmanager:CreateSecret", 1),
    ("secretsmanager:DescribeSecret", 3),
    ("secretsmanager:GetResourcePolicy", 1),
    ("secretsmanager:GetSecretValue", 3),
    ("secretsmanager:PutSecretValue", 1),
    ("secretsmanager:UpdateSecretVersionStage", 1),
];

#[test]
fn a_fleet_over_twelve_pools_is_onboarded_as_fast_as_the_quotas_allow() {
    let clients = std::env::var("KEYWARD_FLEET").ok().map_or(CLIENTS, |text| text.parse().expect("a number"));
    idling(move |stage| onboard(stage, clients));
}

async fn onboard(stage: Idling, clients: usize) {
    // Real time, which a slow machine may need more of.
    let patient = |options: &mut keyward::aws::Options| options.call_timeout = Duration::from_secs(60);
    let broker = stage.broker(patient, |settings| settings.shared_pools_with_room = POOLS).await;
    broker.put_orders_api().await;
    let tenants = clients.div_ceil(CLIENTS_PER_TENANT);
    let broker = Arc::new(broker);
    each(&broker, tenants, |broker, n| async move {
        broker.create_tenant(&tenant(n), Isolation::AppClient).await.expect("a tenant");
    })
    .await;

    let before = stage.fake.calls().len();
    let start = stage.seconds();
    each(&broker, clients, move |broker, n| async move {
        let name = format!("tenants/{}/clients/client-{n}", tenant(n % tenants));
        let view = broker.create_client(&name).await.expect("a client");
        assert_eq!(view.client.state, ClientState::Active, "{}", view.state_reason);
    })
    .await;
    let took = stage.seconds() - start;
    let calls = stage.fake.calls().split_off(before);
    Arc::into_inner(broker).expect("nobody else has it").stop().await;

    let (bound, by) = least_time(&calls);
    let bound = bound.as_secs_f64();
    let throttled = stage.fake.throttled();
    println!(
        "{clients} clients over {POOLS} pools: {took:.1} s by the clock, of which the quota of {by} needs {bound:.1}; \
         {} calls, {throttled} throttled",
        calls.len(),
    );
    assert_eq!(throttled, 0);
    check_calls(&calls, clients);
    check_pools(&stage, clients);
    assert!(took <= 1.1 * bound, "{took} s, and the quotas allow {bound}");
    // A bucket is full at first, with a second's worth.
    assert!(took >= bound - 1.0, "{took} s, and the quotas forbid less than {bound}: is the clock right?");
}

/// Does the work for each number below `count`, some at a time.
async fn each<W, F>(broker: &Arc<Working>, count: usize, work: W)
where
    W: Fn(Arc<Working>, usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut operators = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (broker, work, next) = (broker.clone(), work.clone(), next.clone());
        operators.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                if n >= count {
                    return;
                }
                work(broker.clone(), n).await;
            }
        });
    }
    while let Some(ended) = operators.join_next().await {
        ended.expect("done");
    }
}

fn tenant(n: usize) -> String {
    format!("tenant-{n:04}")
}

/// What each client costs, and nothing beyond it.
fn check_calls(calls: &[Call], clients: usize) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(&call.action).or_default() += 1;
    }
    for (action, each) in CALLS {
        assert_eq!(counts.remove(action), Some(each * clients), "{action}");
    }
    assert_eq!(counts, BTreeMap::new());
}

/// Each pool has its share, none is left out, and nothing is there twice.
fn check_pools(stage: &Idling, clients: usize) {
    let inventory = stage.fake.inventory();
    assert_eq!((inventory.app_clients.len(), inventory.secrets.len()), (clients, clients));
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for client in inventory.app_clients {
        *shares.entry(client.user_pool).or_default() += 1;
    }
    assert_eq!((inventory.user_pools.len(), shares.len()), (POOLS, POOLS));
    let most = shares.values().max().expect("there are some");
    assert!(most - shares.values().min().expect("there are some") <= CLIENTS_PER_TENANT, "{shares:?}");
}
