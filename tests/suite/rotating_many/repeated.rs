//! The same call again: at the same broker, at the next one, and at another one at the same time.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt as _;
use keyward::broker::api::{FleetProgress, FleetRequest, FleetTally, RotationRequest};
use keyward::broker::ports::Shelf;
use keyward::broker::settings::Settings;
use keyward::domain::audit::{Call, IdempotentRequest};
use keyward::domain::id::RequestId;
use keyward::domain::lease::LeaseTerms;
use keyward::domain::rotation::Rotation;
use keyward::domain::tenant::Isolation;
use keyward::proto;
use keyward::proto::RotationState::Succeeded;

use super::{CHECKOUT, HOUR, clients, counts, of, proto_time, ready, ready_through, rotate_many, rotation, told};
use crate::harness::brokers::{Bench, Working, call};
use crate::harness::rotations::{eventually, get_rotation, list_rotations, rotate};
use crate::harness::{Gate, start_time};

const ALL: [&str; 3] = ["tenants/acme/clients/billing", CHECKOUT, "tenants/acme/clients/mailer"];

#[tokio::test]
async fn the_same_request_again_rotates_nobody_twice_and_takes_up_those_who_were_skipped() {
    let (daemon, _, clock) = ready().await;
    let running = rotate(&daemon.channel, CHECKOUT).await;
    clock.advance(HOUR);
    let request = proto::RotateClientSecretsRequest {
        rotated_before: Some(proto_time(start_time() + HOUR)),
        request_id: "leaver-1".to_owned(),
        ..of("tenants/acme")
    };
    let (first, last) = rotate_many(&daemon.channel, request.clone()).await;
    assert_eq!(counts(&last), [3, 2, 0, 1]);
    // Of those who were rotated nobody would match any more.
    clock.advance(2 * HOUR);
    let (again, last) = rotate_many(&daemon.channel, request.clone()).await;
    assert_eq!((clients(&again), counts(&last)), (ALL.to_vec(), [3, 2, 0, 1]));
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((&first.rotation, &first.error_reason), (&again.rotation, &again.error_reason));
    }

    clock.set(start_time() + 24 * HOUR);
    eventually("its overlap is over", || async {
        get_rotation(&daemon.channel, &running.name).await.state() == Succeeded
    })
    .await;
    assert_eq!(counts(&rotate_many(&daemon.channel, request.clone()).await.1), [3, 3, 0, 0]);
    for client in ALL {
        assert_eq!(list_rotations(&daemon.channel, client).await.len(), 1 + usize::from(client == CHECKOUT));
    }

    // A day after it was given the id is forgotten, for all of them.
    clock.set(start_time() + 26 * HOUR);
    let other = proto::RotateClientSecretsRequest { immediate: true, rotated_before: None, ..request };
    assert_eq!(counts(&rotate_many(&daemon.channel, other).await.1), [3, 3, 0, 0]);
    daemon.stop().await;
}

#[tokio::test]
async fn an_immediate_one_that_comes_again_supersedes_nothing_of_its_own() {
    let (daemon, _, clock) = ready().await;
    let request =
        proto::RotateClientSecretsRequest { immediate: true, request_id: "leak-1".to_owned(), ..of("tenants/-") };
    let (first, _) = rotate_many(&daemon.channel, request.clone()).await;
    clock.advance(HOUR);
    // Whoever came meanwhile is meant too.
    daemon.create_client("acme", "newcomer").await;
    let dry_run = proto::RotateClientSecretsRequest { validate_only: true, ..request.clone() };
    let (foretold, last) = rotate_many(&daemon.channel, dry_run).await;
    assert_eq!(counts(&last), [5, 4, 0, 0]);
    let is_new = |message: &&proto::RotateClientSecretsResponse| message.client.ends_with("/newcomer");
    let (new, known): (Vec<_>, Vec<_>) = foretold.iter().partition(is_new);
    assert_eq!(rotation(new[0]).name, "");
    let names = |messages: &[&proto::RotateClientSecretsResponse]| {
        messages.iter().map(|message| rotation(message).name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&known), names(&first.iter().collect::<Vec<_>>()));

    let (again, last) = rotate_many(&daemon.channel, request).await;
    assert_eq!(counts(&last), [5, 5, 0, 0]);
    for message in &again {
        assert_eq!(list_rotations(&daemon.channel, &message.client).await.len(), 1, "{}", message.client);
    }
    daemon.stop().await;
}

/// The broker dies at more and more points of the call, and the next one is asked the same.
#[tokio::test]
async fn a_call_that_a_death_broke_off_is_taken_up_by_the_next_broker() {
    let gate = Gate::new();
    let (mut daemon, backend, clock) = ready_through(|ports| gate.through(ports)).await;
    let mut deaths = 0;
    // Steps of seven, so that it dies in each kind of call, before its effect and after.
    for round in 0.. {
        let request = proto::RotateClientSecretsRequest {
            immediate: true,
            request_id: format!("leak-{round}"),
            ..of("tenants/acme")
        };
        gate.die_after(1 + 7 * round);
        let (_, ended) = told(&daemon.channel, request.clone()).await;
        let has_died = ended.is_err();
        assert!(gate.is_dead() || !has_died, "{ended:?}");
        deaths += usize::from(has_died);
        gate.revive();
        daemon = daemon.restart_through(|ports| gate.through(ports)).await;

        let (told, last) = rotate_many(&daemon.channel, request).await;
        assert_eq!(clients(&told), ALL);
        assert_eq!((last.matched_count, last.skipped_count), (3, 0), "{told:?}");
        eventually("nothing is left to do", || async {
            // What has failed waits for the clock.
            clock.advance(Duration::from_millis(100));
            backend.journals().await.is_empty()
        })
        .await;
        for client in ALL {
            backend.check_settled(client).await;
            // One for each round so far, as far as they are kept.
            assert_eq!(list_rotations(&daemon.channel, client).await.len(), (round + 1).min(20), "{client}");
        }
        if !has_died {
            break;
        }
    }
    assert!(deaths >= 5, "it died {deaths} times");
    daemon.stop().await;
}

/// Each client is rotated once, whoever does it, and both tell how it ended.
#[tokio::test]
async fn two_brokers_that_are_sent_one_call_at_one_time_rotate_each_client_once() {
    const CLIENTS: usize = 24;
    let bench = Bench::new().await;
    let broker = Working::open(bench.ports()).await.expect("a broker");
    for n in 0..CLIENTS {
        let tenant = format!("tenant-{}", n % 3);
        if n < 3 {
            broker.create_tenant(&tenant, Isolation::UserPool).await.expect("a tenant");
        }
        broker.create_client(&format!("tenants/{tenant}/clients/client-{n}")).await.expect("a client");
    }
    broker.stop().await;
    let id = RequestId::parse("request_id", "leak-1").expect("an id");
    let asked = Call { request: Some(IdempotentRequest { id, fingerprint: "the same".to_owned() }), ..call() };
    let rotation = RotationRequest { immediate: true, ..Default::default() };
    let request = FleetRequest { rotation, ..Default::default() };
    let lease = |settings: &mut Settings| settings.journal.lease = Some(LeaseTerms::default());
    let mut brokers = Vec::new();
    for _ in 0..2 {
        let broker = Working::open_with(bench.ports(), lease).await.expect("a broker");
        broker.work();
        brokers.push(broker);
    }
    let calls = brokers
        .iter()
        .map(|broker| broker.fleet.rotate(asked.clone(), request.clone(), false).try_collect::<Vec<FleetProgress>>());
    // Each looks again, a second later, at what the other holds. While anything is at work time stands still, or whoever looks
    // would have given up before it is done.
    let is_at_work =
        async || {
            let now = keyward::broker::ports::Clock::now(&*bench.clock);
            bench.backend.journals().await.iter().any(|journal| {
                journal.due_time <= now || journal.lease.as_ref().is_none_or(|lease| !lease.is_given_up())
            })
        };
    let mut looks = crate::harness::pauses(Duration::from_millis(200));
    let mut told = pin!(futures::future::join_all(calls));
    let told = loop {
        tokio::select! {
            told = &mut told => break told,
            _ = looks.tick() => if !is_at_work().await {
                bench.clock.advance(Duration::from_secs(1));
            },
        }
    };
    for told in told {
        let told = told.expect("it goes to its end");
        let all = FleetTally { matched: CLIENTS as u64, promoted: CLIENTS as u64, ..Default::default() };
        assert_eq!((told.len(), told[CLIENTS].tally), (CLIENTS + 1, all));
    }
    let rotations: Vec<Rotation> = bench.backend.records(Shelf::Rotation).await;
    assert_eq!(rotations.len(), CLIENTS);
    bench.settle().await;
    for broker in brokers {
        broker.stop().await;
    }
    bench.check(&["tenants/tenant-0/clients/client-0"]).await;
}
