//! Calls that do not go to their end, and clients that do not go the short way.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::Ports;
use keyward::broker::ports::{Clock as _, PortResult};
use keyward::config::Config;
use keyward::proto;
use keyward::proto::RotationState::{Overlap, Running};
use keyward::runtime::clock::ManualClock;
use tokio::sync::watch;
use tonic::Code;

use super::{CHECKOUT, counts, of, ready_through, rotate_many, rotation, told};
use crate::harness::acting::of_tenant;
use crate::harness::backend::Backend;
use crate::harness::propagation::Propagation;
use crate::harness::rotations::{eventually, get_rotation, list_rotations};
use crate::harness::tolls::{Toll, tolled};
use crate::harness::{Daemon, Outage, folder, metrics, refusal, start_time};
use crate::permission::with_policies;

/// Clients of one tenant, more than are under way of one pool at one time.
const CLIENTS: usize = 12;
const OF_ONE_POOL: usize = 4;

/// Holds up whoever adds a secret.
struct Held {
    begun: AtomicUsize,
    is_open: watch::Sender<bool>,
}

impl Held {
    fn shut() -> Arc<Self> {
        Arc::new(Held { begun: AtomicUsize::new(0), is_open: watch::Sender::new(false) })
    }

    async fn until_begun(&self, count: usize) {
        eventually("they are held up", || async { self.begun.load(Ordering::SeqCst) == count }).await;
    }
}

#[async_trait]
impl Toll for Held {
    async fn before(&self, call: &'static str) -> PortResult<()> {
        if call == "add_secret" {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.is_open.subscribe().wait_for(|is_open| *is_open).await.expect("the sender lives");
        }
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> PortResult<()> {
        Ok(())
    }
}

/// A daemon at rest that tells its metrics, with a tenant of so many clients.
async fn crowded(
    held: &Arc<Held>,
    edit: impl FnOnce(&mut Config),
    through: impl FnOnce(Ports) -> Ports,
) -> (Daemon, Vec<String>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(start_time()));
    let edit = |config: &mut Config| {
        config.status.listen = Some("127.0.0.1:0".parse().expect("an address"));
        edit(config);
    };
    let daemon = Daemon::start_through(clock.clone(), edit, |ports| tolled(through(ports), held.clone())).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let mut names = Vec::new();
    for n in 0..CLIENTS {
        names.push(daemon.create_client("acme", &format!("client-{n}")).await.name);
    }
    (daemon, names, clock)
}

/// How many rotations there are.
async fn rotated(daemon: &Daemon, names: &[String]) -> usize {
    let mut count = 0;
    for name in names {
        count += list_rotations(&daemon.channel, name).await.len();
    }
    count
}

fn leaver() -> proto::RotateClientSecretsRequest {
    proto::RotateClientSecretsRequest { request_id: "leaver-1".to_owned(), ..of("tenants/acme") }
}

#[tokio::test]
async fn whoever_leaves_begins_no_more_and_what_was_begun_is_finished() {
    let held = Held::shut();
    let (daemon, names, _) = crowded(&held, |_| {}, |ports| ports).await;
    let stream = daemon.clients().rotate_client_secrets(leaver()).await.expect("a stream").into_inner();
    held.until_begun(OF_ONE_POOL).await;
    drop(stream);
    let address = daemon.status_address().expect("it tells its status");
    let left = "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",\
                rpc_method=\"keyward.v1.ClientService/RotateClientSecrets\",rpc_response_status_code=\"CANCELLED\"}";
    eventually("the broker has noticed", || async { metrics(address).await.value(left) == Some(1.0) }).await;
    held.is_open.send_replace(true);
    // Whatever is under way is finished before a daemon ends.
    let daemon = daemon.restart().await;
    assert_eq!(rotated(&daemon, &names).await, OF_ONE_POOL);
    for name in &names {
        for rotation in list_rotations(&daemon.channel, name).await {
            assert_eq!(rotation.state(), Overlap, "{rotation:?}");
        }
    }

    let (told, last) = rotate_many(&daemon.channel, leaver()).await;
    assert_eq!((told.len(), counts(&last)), (CLIENTS, [12, 12, 0, 0]));
    assert_eq!(rotated(&daemon, &names).await, CLIENTS);
    let metrics = metrics(daemon.status_address().expect("it tells its status")).await;
    assert_eq!(metrics.value("keyward_fleet_clients_total{outcome=\"promoted\"}"), Some(12.0));
    daemon.stop().await;
}

#[tokio::test]
async fn a_broker_that_stops_ends_the_call_and_begins_no_more() {
    let held = Held::shut();
    let (daemon, names, _) = crowded(&held, |_| {}, |ports| ports).await;
    let call = tokio::spawn({
        let channel = daemon.channel.clone();
        async move { told(&channel, leaver()).await }
    });
    held.until_begun(OF_ONE_POOL).await;
    let meanwhile = async {
        let (_, ended) = call.await.expect("no panic");
        assert_eq!(refusal(ended), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
        held.is_open.send_replace(true);
    };
    let (daemon, ()) = tokio::join!(daemon.restart(), meanwhile);
    assert_eq!(rotated(&daemon, &names).await, OF_ONE_POOL);
    assert_eq!(counts(&rotate_many(&daemon.channel, leaver()).await.1), [12, 12, 0, 0]);
    assert_eq!(rotated(&daemon, &names).await, CLIENTS);
    daemon.stop().await;
}

#[tokio::test]
async fn a_permission_that_is_taken_away_ends_the_call() {
    let (_folder, path) = folder();
    let of_method = |method: &str| format!("forbid (principal, action == Keyward::Action::\"{method}\", resource);");
    std::fs::write(path.join("one.cedar"), of_method("ListPools")).expect("written");
    let held = Held::shut();
    let (daemon, names, _) = crowded(&held, with_policies(&path), |ports| ports).await;
    let mut stream = daemon.clients().rotate_client_secrets(leaver()).await.expect("a stream").into_inner();
    held.until_begun(OF_ONE_POOL).await;
    std::fs::write(path.join("two.cedar"), of_method("RotateClientSecrets")).expect("written");
    assert_eq!(refusal(stream.message().await), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
    held.is_open.send_replace(true);
    let daemon = daemon.restart().await;
    assert_eq!(rotated(&daemon, &names).await, OF_ONE_POOL);
    daemon.stop().await;
}

#[tokio::test]
async fn a_tenants_own_callers_may_not_and_an_operator_may() {
    let (daemon, _, _) = ready_through(|ports| ports).await;
    let daemon = daemon.restart_as(of_tenant("acme", None)).await;
    for parent in ["tenants/acme", "tenants/-", "tenants/nobody"] {
        let refused = refusal(told(&daemon.channel, of(parent)).await.1);
        assert_eq!(refused, (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()), "{parent}");
    }
    let daemon = daemon.restart().await;
    assert_eq!(counts(&rotate_many(&daemon.channel, of("tenants/-")).await.1), [4, 4, 0, 0]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_first_attempt_that_fails_is_told_and_tried_again_by_the_broker() {
    let clock = Arc::new(ManualClock::new(start_time()));
    let propagation = Arc::new(Propagation::default());
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| propagation.through(ports)).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    daemon.create_client("acme", "checkout").await;
    propagation.stop();
    let (told, last) = rotate_many(&daemon.channel, leaver()).await;
    assert_eq!(counts(&last), [1, 0, 1, 0]);
    assert_eq!((rotation(&told[0]).state(), told[0].error_reason.as_str()), (Running, "UPSTREAM_UNAVAILABLE"));
    assert!(rotation(&told[0]).next_attempt_time.is_some());

    propagation.resume();
    clock.advance(Duration::from_secs(1));
    let name = rotation(&told[0]).name.clone();
    eventually("it is tried again", || async { get_rotation(&daemon.channel, &name).await.state() == Overlap }).await;
    let (again, last) = rotate_many(&daemon.channel, leaver()).await;
    assert_eq!((counts(&last), &rotation(&again[0]).name), ([1, 1, 0, 0], &name));
    backend.check_current_works(CHECKOUT).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_backend_without_an_answer_is_asked_again_before_a_client_is_skipped() {
    let outage = Outage::default();
    let (daemon, _, clock) = ready_through(|ports| outage.of_user_pools(ports)).await;
    let call = |request: proto::RotateClientSecretsRequest| {
        let channel = daemon.channel.clone();
        tokio::spawn(async move { rotate_many(&channel, request).await })
    };
    // Somebody waits to ask again; nothing else of a daemon at rest is due so soon.
    let asks_again = async || {
        let soon = clock.now() + Duration::from_secs(10);
        eventually("it waits to ask again", || async { clock.next_wake().is_some_and(|wake| wake < soon) }).await;
    };
    outage.begin();
    let told = call(of("tenants/globex"));
    asks_again().await;
    outage.end();
    clock.advance(Duration::from_secs(10));
    let (_, last) = told.await.expect("no panic");
    assert_eq!(counts(&last), [1, 1, 0, 0]);

    outage.begin();
    let told = call(of("tenants/acme"));
    let mut looks = crate::harness::pauses(Duration::from_millis(20));
    let mut told = pin!(told);
    let (told, last) = loop {
        tokio::select! {
            told = &mut told => break told.expect("no panic"),
            _ = looks.tick() => clock.advance(Duration::from_secs(1)),
        }
    };
    assert_eq!(counts(&last), [3, 0, 0, 3]);
    assert!(told.iter().all(|message| message.error_reason == "UPSTREAM_UNAVAILABLE"), "{told:?}");
    outage.end();
    daemon.stop().await;
}

#[tokio::test]
async fn a_registry_that_takes_no_changes_ends_the_call_and_what_was_begun_is_finished() {
    let (held, outage) = (Held::shut(), Outage::default());
    let (daemon, names, clock) = crowded(&held, |_| {}, |ports| outage.of_changes(ports)).await;
    let call = tokio::spawn({
        let channel = daemon.channel.clone();
        async move { told(&channel, leaver()).await }
    });
    held.until_begun(OF_ONE_POOL).await;
    outage.begin();
    held.is_open.send_replace(true);
    let (_, ended) = call.await.expect("no panic");
    let away = (Code::Unavailable, "REGISTRY_UNAVAILABLE".to_owned());
    assert_eq!(refusal(ended), away);
    assert_eq!(refusal(told(&daemon.channel, of("tenants/acme")).await.1), away);
    outage.end();
    // A run that met the outage may be under way still, and is then told as failed.
    eventually("the same call takes up the rest", async || {
        clock.advance(Duration::from_secs(2));
        counts(&rotate_many(&daemon.channel, leaver()).await.1) == [12, 12, 0, 0]
    })
    .await;
    assert_eq!(rotated(&daemon, &names).await, CLIENTS);
    daemon.stop().await;
}
