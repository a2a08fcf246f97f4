//! The operations for second secrets come and go under a client that is there: ids of secrets are real ones, or one of
//! the broker's own making, and whichever was written down, the secret that is served stays.

use std::time::Duration;

use keyward::broker::api::RotationRequest;
use keyward::broker::ports::Shelf;
use keyward::domain::rotation::{Method, Rotation, RotationState};
use keyward::domain::tenant::Isolation;

use crate::fake::{After, Fake, Fault};
use crate::harness::aws_bench::AwsBench;
use crate::harness::brokers::{Working, call, client_name};

const CLIENT: &str = "tenants/acme/clients/checkout";
const OVERLAP: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_client_that_was_made_before_second_secrets_vanished_is_rotated_by_replacement_and_they_may_come_back() {
    let bench = AwsBench::new().await;
    let broker = with_client(&bench).await;
    vanish(&bench.fake);
    assert_eq!(rotate(&bench, &broker).await, Method::ReplaceAppClient);
    // Again, now that it is the id that was made up which is written down.
    assert_eq!(rotate(&bench, &broker).await, Method::ReplaceAppClient);
    come_back(&bench.fake);
    assert_eq!(rotate(&bench, &broker).await, Method::SecondSecret);
    assert_eq!(rotate(&bench, &broker).await, Method::SecondSecret);
    broker.stop().await;
    bench.check(&[CLIENT]).await;
}

#[tokio::test]
async fn a_client_that_was_made_before_there_were_second_secrets_is_given_one_and_keeps_the_one_that_is_served() {
    let bench = AwsBench::new().await;
    vanish(&bench.fake);
    let broker = with_client(&bench).await;
    come_back(&bench.fake);
    assert_eq!(rotate(&bench, &broker).await, Method::SecondSecret);
    vanish(&bench.fake);
    assert_eq!(rotate(&bench, &broker).await, Method::ReplaceAppClient);
    come_back(&bench.fake);
    broker.stop().await;
}

async fn with_client(bench: &AwsBench) -> Working {
    let broker = bench.broker().await;
    broker.create_tenant("acme", Isolation::AppClient).await.expect("a tenant");
    broker.create_client(CLIENT).await.expect("a client");
    bench.settle(|| false).await;
    bench.fake.watch("keyward/tenants/acme/clients/checkout");
    broker
}

/// Rotates with an overlap, looking at the current secret as often as anything changes, and says how it went.
async fn rotate(bench: &AwsBench, broker: &Working) -> Method {
    let request = RotationRequest { immediate: false, overlap: Some(OVERLAP), reason: String::new(), replace: false };
    broker.rotations.rotate(&call(), &client_name(CLIENT), request, false).await.expect("rotated");
    // At once, before anything that is due later: what is served now must work.
    bench.backend.check_current_works(CLIENT).await;
    bench.settle(|| false).await;
    bench.backend.check_current_works(CLIENT).await;
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    let newest = rotations.into_iter().max_by_key(|rotation| rotation.create_time).expect("a rotation");
    assert_eq!(newest.state, RotationState::Succeeded, "{newest:?}");
    let app_clients = bench.fake.inventory().app_clients;
    assert_eq!(app_clients.len(), 1, "{app_clients:?}");
    assert_eq!(app_clients[0].secrets.len(), 1, "{app_clients:?}");
    newest.method
}

fn vanish(fake: &Fake) {
    for operation in ["AddUserPoolClientSecret", "ListUserPoolClientSecrets", "DeleteUserPoolClientSecret"] {
        fake.fail(After::calls(0).of(operation).for_ever(), Fault::Error("UnknownOperationException"));
    }
}

fn come_back(fake: &Fake) {
    fake.heal();
    // The service model has no such error, which is what an older Cognito is about.
    let complaints = fake.take_complaints();
    assert!(complaints.iter().all(|text| text.contains("UnknownOperationException")), "{complaints:?}");
}
