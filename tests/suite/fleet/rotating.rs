//! A leak: the secrets of a thousand clients are rotated by one call, as fast as AWS's quotas allow.
//!
//! What binds is what a pool allows of one operation, 5 a second, and each rotation lists the app client's secrets before
//! each of its steps. Clients come by their names, and those of one tenant are in one pool: with 84 of each tenant, whoever
//! went by names alone would use one pool at a time.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use keyward::broker::api::{FleetProgress, FleetRequest, FleetTally};
use keyward::domain::tenant::Isolation;

use super::{POOLS, each, tenant};
use crate::fake::least_time;
use crate::harness::brokers::call;
use crate::harness::idling::{Idling, idling};

const OF_A_TENANT: usize = 84;
const CLIENTS: usize = POOLS * OF_A_TENANT;

#[test]
fn a_thousand_secrets_over_twelve_pools_are_rotated_as_fast_as_the_quotas_allow() {
    idling(rotate);
}

async fn rotate(stage: Idling) {
    // Real time, which a slow machine may need more of.
    let patient = |options: &mut keyward::aws::Options| options.call_timeout = Duration::from_secs(60);
    let broker = stage.broker(patient, |settings| settings.shared_pools_with_room = POOLS).await;
    broker.put_orders_api().await;
    for n in 0..POOLS {
        broker.create_tenant(&tenant(n), Isolation::AppClient).await.expect("a tenant");
    }
    let broker = Arc::new(broker);
    each(&broker, CLIENTS, |broker, n| async move {
        let name = format!("tenants/{}/clients/client-{n}", tenant(n % POOLS));
        broker.create_client(&name).await.expect("a client");
    })
    .await;

    let before = stage.fake.calls().len();
    let start = stage.seconds();
    let told = broker.fleet.rotate(call(), FleetRequest::default(), false).try_collect::<Vec<FleetProgress>>().await;
    let took = stage.seconds() - start;
    let calls = stage.fake.calls().split_off(before);
    Arc::into_inner(broker).expect("nobody else has it").stop().await;

    let told = told.expect("it goes to its end");
    let all = FleetTally { matched: CLIENTS as u64, promoted: CLIENTS as u64, ..Default::default() };
    assert_eq!((told.len(), told[CLIENTS].tally), (CLIENTS + 1, all));
    let (bound, by) = least_time(&calls);
    let (bound, throttled) = (bound.as_secs_f64(), stage.fake.throttled());
    println!(
        "{CLIENTS} secrets over {POOLS} pools: {took:.1} s by the clock, of which the quota of {by} needs {bound:.1}; \
         {} calls, {throttled} throttled",
        calls.len(),
    );
    assert_eq!(throttled, 0);
    assert!(took <= 1.1 * bound, "{took} s, and the quotas allow {bound}");
    assert!(took >= bound - 1.0, "{took} s, and the quotas forbid less than {bound}: is the clock right?");
}
