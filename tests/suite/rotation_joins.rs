//! A rotation that is asked for while a run of the one before it is about to end.

use std::sync::Arc;
use std::time::Duration;

use keyward::broker::api::RotationRequest;
use keyward::broker::ports::Shelf;
use keyward::domain::rotation::{Rotation, RotationState};
use keyward::domain::tenant::Isolation;

use crate::harness::brokers::{Bench, Working, call, client_name};
use crate::harness::propagation::Propagation;
use crate::harness::rotations::eventually;
use crate::harness::stops::At;
use crate::harness::tolls::tolled;
use crate::harness::watch::Watch;

const CLIENT: &str = "tenants/acme/clients/checkout";

#[tokio::test]
async fn the_failure_of_a_run_that_began_before_it_is_not_its_own() {
    let (bench, watch, propagation) =
        (Bench::new().await, Arc::new(Watch::default()), Arc::new(Propagation::default()));
    let broker = Working::open(propagation.through(tolled(bench.ports(), watch.clone()))).await.expect("a broker");
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    broker.create_client(CLIENT).await.expect("a client");
    propagation.stop();
    let (caller, name) = (call(), client_name(CLIENT));
    let rotate = |immediate| {
        let request = RotationRequest { immediate, ..Default::default() };
        broker.rotations.rotate(&caller, &name, request, false)
    };
    let first = rotate(false).await.expect("answered").rotation;
    assert_eq!((first.state, first.failures), (RotationState::Running, 1));

    // Its second try has failed as well. That is on record, and when it is to be tried again is not yet.
    watch.stop.at(At::After("commit"));
    broker.work();
    bench.clock.advance(Duration::from_secs(1));
    watch.stop.reached().await;
    propagation.resume();
    let meanwhile = async {
        // The compromise is on record, and waits for the run that is under way.
        let is_on_record = async || bench.backend.records::<Rotation>(Shelf::Rotation).await.len() == 2;
        eventually("it is on record", is_on_record).await;
        watch.stop.go();
    };
    let (compromised, ()) = tokio::join!(rotate(true), meanwhile);
    assert_eq!(compromised.expect("answered").rotation.state, RotationState::Succeeded);
    broker.stop().await;
}
