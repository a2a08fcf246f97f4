//! Rotations that nobody asked for: by policy, over a simulated year.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyward::proto::{self, RotationTrigger};
use keyward::runtime::clock::ManualClock;

use crate::harness::backend::Backend;
use crate::harness::rotations::{Follower, get_client, list_rotations, rotate};
use crate::harness::{Daemon, SCOPES, start_time};

const DAY: Duration = Duration::from_secs(86_400);
const PROMOTED: &str = "keyward.rotation/promote";
const RETIRED: &str = "keyward.rotation/retire";

#[tokio::test]
async fn through_a_year_every_secret_is_rotated_in_its_window_and_every_day_there_is_a_token() {
    let (daemon, backend, clock) = at_rest().await;
    let (period, overlap) = (30 * DAY, 2 * DAY);
    // What is to come, in order.
    let mut agenda = BTreeSet::new();
    let mut followers = BTreeMap::new();
    for id in ["billing", "checkout", "mailer"] {
        let client = client_with(&daemon, id, policy(period, Some(overlap), false)).await;
        agenda.insert((next_rotation(&client), PROMOTED, client.name.clone()));
        followers.insert(client.name.clone(), Follower::of(&daemon.channel, &client.name).await);
    }
    let firsts: BTreeSet<_> = agenda.iter().map(|(time, ..)| *time).collect();
    assert_eq!(firsts.len(), 3, "what was issued together is not rotated together");

    let mut rotated: BTreeMap<String, Vec<Timestamp>> =
        followers.keys().map(|name| (name.clone(), vec![start_time()])).collect();
    for day in 1..=365 {
        let tomorrow = start_time() + day * DAY;
        while let Some((time, method, name)) = agenda.first().filter(|(time, ..)| *time <= tomorrow).cloned() {
            agenda.pop_first();
            clock.set(time);
            followers.get_mut(&name).expect("followed").until(method).await;
            if method == RETIRED {
                backend.check_settled(&name).await;
                continue;
            }
            let client = get_client(&daemon.channel, &name).await;
            assert_eq!(client.rotate_time.map(time_of), Some(time), "neither early nor late");
            rotated.get_mut(&name).expect("known").push(time);
            agenda.insert((time + overlap, RETIRED, name.clone()));
            agenda.insert((next_rotation(&client), PROMOTED, name));
        }
        clock.set(tomorrow);
        for name in followers.keys() {
            daemon.token(name).await;
            backend.check_current_works(name).await;
        }
    }

    for (name, times) in &rotated {
        // Early by at most `rotation.jitter`, a tenth of the period; never late.
        for pair in times.windows(2) {
            assert!((pair[0] + period - period / 10..=pair[0] + period).contains(&pair[1]), "{name}: {times:?}");
        }
        assert!(*times.last().expect("rotated") + period > start_time() + 365 * DAY, "{name} went without: {times:?}");
        let listed = list_rotations(&daemon.channel, name).await;
        assert_eq!(listed.len(), times.len() - 1, "no rotation but these");
        assert!(listed.iter().all(|rotation| rotation.trigger() == RotationTrigger::Scheduled));
    }
    drop(followers);
    daemon.stop().await;
}

#[tokio::test]
async fn a_disabled_policy_rotates_nothing_but_on_request() {
    let (daemon, backend, clock) = at_rest().await;
    let still = client_with(&daemon, "still", policy(30 * DAY, None, true)).await;
    assert_eq!(still.next_rotate_time, None);
    let beside = client_with(&daemon, "beside", policy(300 * DAY, None, false)).await.name;
    let secret = backend.must_see(&still.name).await.credential.current;

    // What the schedule does for another shows that it had its turn.
    let mut events = Follower::of(&daemon.channel, &beside).await;
    clock.advance(365 * DAY);
    events.until(PROMOTED).await;
    assert_eq!(backend.must_see(&still.name).await.credential.current, secret);
    assert_eq!(list_rotations(&daemon.channel, &still.name).await, []);

    rotate(&daemon.channel, &still.name).await;
    assert_ne!(backend.must_see(&still.name).await.credential.current, secret);
    assert_eq!(get_client(&daemon.channel, &still.name).await.next_rotate_time, None);
    drop(events);
    daemon.stop().await;
}

#[tokio::test]
async fn a_changed_period_moves_the_next_rotation() {
    let (daemon, _, clock) = at_rest().await;
    let client = client_with(&daemon, "checkout", policy(30 * DAY, None, false)).await;
    let name = client.name.clone();
    check_window(&client, start_time(), 30 * DAY);

    clock.advance(10 * DAY);
    check_window(&set_policy(&daemon, &name, policy(60 * DAY, None, false)).await, start_time(), 60 * DAY);
    assert_eq!(set_policy(&daemon, &name, policy(60 * DAY, None, true)).await.next_rotate_time, None);
    let client = set_policy(&daemon, &name, policy(20 * DAY, None, false)).await;
    check_window(&client, start_time(), 20 * DAY);

    let mut events = Follower::of(&daemon.channel, &name).await;
    let due = next_rotation(&client);
    clock.set(due);
    events.until(PROMOTED).await;
    let client = get_client(&daemon.channel, &name).await;
    assert_eq!(client.rotate_time.map(time_of), Some(due));
    check_window(&client, due, 20 * DAY);
    drop(events);
    daemon.stop().await;
}

#[tokio::test]
async fn a_period_that_is_over_already_rotates_at_once() {
    let (daemon, _, clock) = at_rest().await;
    let name = client_with(&daemon, "checkout", policy(365 * DAY, None, false)).await.name;
    clock.advance(100 * DAY);
    let mut events = Follower::of(&daemon.channel, &name).await;
    set_policy(&daemon, &name, policy(30 * DAY, None, false)).await;
    events.until(PROMOTED).await;
    let client = get_client(&daemon.channel, &name).await;
    assert_eq!(client.rotate_time.map(time_of), Some(start_time() + 100 * DAY));
    check_window(&client, start_time() + 100 * DAY, 30 * DAY);
    drop(events);
    daemon.stop().await;
}

async fn at_rest() -> (Daemon, Backend, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(start_time()));
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| ports).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    (daemon, backend, clock)
}

async fn client_with(daemon: &Daemon, id: &str, policy: proto::RotationPolicy) -> proto::Client {
    let scopes = SCOPES.map(str::to_owned).to_vec();
    let client = proto::Client { scopes, rotation_policy: Some(policy), ..Default::default() };
    let request = proto::CreateClientRequest {
        parent: "tenants/acme".to_owned(),
        client_id: id.to_owned(),
        client: Some(client),
        ..Default::default()
    };
    daemon.clients().create_client(request).await.expect("the client is created").into_inner()
}

async fn set_policy(daemon: &Daemon, name: &str, policy: proto::RotationPolicy) -> proto::Client {
    let client = proto::Client { name: name.to_owned(), rotation_policy: Some(policy), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["rotation_policy".to_owned()] });
    let request = proto::UpdateClientRequest { client: Some(client), update_mask, ..Default::default() };
    daemon.clients().update_client(request).await.expect("updated").into_inner()
}

fn policy(period: Duration, overlap: Option<Duration>, disabled: bool) -> proto::RotationPolicy {
    let proto = |duration: Duration| prost_types::Duration::try_from(duration).expect("in range");
    proto::RotationPolicy { period: Some(proto(period)), overlap: overlap.map(proto), disabled }
}

fn next_rotation(client: &proto::Client) -> Timestamp {
    time_of(client.next_rotate_time.expect("it is scheduled"))
}

/// The next rotation comes a period after the last one, early by at most a tenth of it, which is `rotation.jitter`.
fn check_window(client: &proto::Client, last: Timestamp, period: Duration) {
    let next = next_rotation(client);
    assert!((last + period - period / 10..=last + period).contains(&next), "{next} after {last}");
}

fn time_of(time: prost_types::Timestamp) -> Timestamp {
    Timestamp::new(time.seconds, time.nanos).expect("in range")
}
