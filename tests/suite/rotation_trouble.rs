//! Rotations that do not go smoothly: secrets that work late or never, secrets of strangers, restarts in between.

use std::sync::Arc;
use std::time::Duration;

use keyward::domain::secret::ClientSecret;
use keyward::proto;
use keyward::proto::RotationState::{Failed, Overlap, Running, Succeeded};
use keyward::proto::RotationStepKind::{Abandon, Promote, Prove, Register, RemoveStray, Retire, Stage};
use keyward::runtime::clock::ManualClock;

use crate::harness::backend::Backend;
use crate::harness::propagation::Propagation;
use crate::harness::rotations::{Follower, eventually, get_client, get_rotation, rotate, steps, try_rotate};
use crate::harness::{Daemon, start_time};

const DAY: Duration = Duration::from_secs(86_400);
const PROMOTED: &str = "keyward.rotation/promote";
const RETIRED: &str = "keyward.rotation/retire";

#[tokio::test]
async fn a_secret_that_works_late_is_proved_by_a_later_attempt_and_nothing_is_switched_before() {
    let Ready { daemon, backend, clock, propagation, client } = ready().await;
    let before = backend.must_see(&client).await;
    propagation.stop();
    let rotation = rotate(&daemon.channel, &client).await;
    assert_eq!(rotation.state(), Running);
    assert_eq!(steps(&rotation.steps), [Stage, Register]);
    assert_eq!(steps(&rotation.planned_steps), [Prove, Promote, Retire]);
    assert_eq!(rotation.last_error_reason, "UPSTREAM_UNAVAILABLE");
    assert_ne!(rotation.last_error_detail, "");
    let first_retry = 1;
    let next = rotation.next_attempt_time.expect("it is tried again");
    assert_eq!(next.seconds, start_time().as_second() + first_retry);

    // The waits double: 1 s, 2 s, 4 s.
    let mut elapsed = 0;
    for wait in [1, 2, 4] {
        clock.advance(Duration::from_secs(wait));
        elapsed += wait;
        let due = start_time().as_second() + i64::try_from(elapsed + 2 * wait).expect("small");
        eventually("the next attempt is put off", || async {
            let rotation = get_rotation(&daemon.channel, &rotation.name).await;
            assert_eq!((rotation.state(), rotation.promote_time), (Running, None));
            rotation.next_attempt_time.is_some_and(|next| next.seconds == due)
        })
        .await;
        let seen = backend.must_see(&client).await;
        assert_eq!(seen.labels.current.as_ref(), Some(&before.credential.current.version));
        assert_eq!(seen.secrets.len(), 2);
        backend.check_current_works(&client).await;
    }

    propagation.resume();
    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(Duration::from_secs(8));
    events.until(PROMOTED).await;
    let rotation = get_rotation(&daemon.channel, &rotation.name).await;
    assert_eq!(rotation.state(), Overlap);
    assert_eq!(steps(&rotation.steps), [Stage, Register, Prove, Promote]);
    assert_eq!((rotation.last_error_reason.as_str(), rotation.last_error_detail.as_str()), ("", ""));
    backend.check_current_works(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_never_works_is_given_up_and_the_old_one_stays() {
    let Ready { daemon, backend, clock, propagation, client } = ready().await;
    let before = backend.must_see(&client).await;
    propagation.stop();
    let rotation = rotate(&daemon.channel, &client).await;
    assert_eq!(rotation.state(), Running);

    let prove_timeout = Duration::from_secs(15 * 60);
    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(prove_timeout);
    let given_up = events.until("keyward.rotation/abandon").await;
    assert_eq!(given_up.outcome(), proto::AuditOutcome::Failed);
    let rotation = get_rotation(&daemon.channel, &rotation.name).await;
    assert_eq!((rotation.state(), rotation.last_error_reason.as_str()), (Failed, "SECRET_NOT_PROVED"));
    assert_eq!(steps(&rotation.steps), [Stage, Register, Abandon]);
    assert_eq!((rotation.promote_time, rotation.retire_time, rotation.next_attempt_time), (None, None, None));
    assert!(rotation.end_time.is_some());
    let after = backend.must_see(&client).await;
    assert_eq!(after.credential.current, before.credential.current);
    backend.check_settled(&client).await;
    let next = get_client(&daemon.channel, &client).await.next_rotate_time.expect("it is tried again some day");
    assert!(next.seconds > start_time().as_second());

    // The way is free for another.
    propagation.resume();
    assert_eq!(rotate(&daemon.channel, &client).await.state(), Overlap);
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_somebody_else_added_is_removed_before_our_own_is_added() {
    let Ready { daemon, backend, clock, client, .. } = ready().await;
    let seen = backend.must_see(&client).await;
    let app_client = seen.client.app_client.clone().expect("made");
    let foreign = ClientSecret::parse("secret", &"f".repeat(43)).expect("a secret");
    let id = backend.0.user_pools.add_secret(&seen.pool, &app_client, &foreign).await.expect("added");
    assert!(backend.takes(&seen, &foreign).await);

    let plan = proto::RotateClientSecretRequest { name: client.clone(), validate_only: true, ..Default::default() };
    let plan = try_rotate(&daemon.channel, plan).await.expect("a plan");
    assert_eq!(steps(&plan.planned_steps), [RemoveStray, Stage, Register, Prove, Promote, Retire]);

    let rotation = rotate(&daemon.channel, &client).await;
    assert_eq!(rotation.state(), Overlap);
    assert_eq!(steps(&rotation.steps), [RemoveStray, Stage, Register, Prove, Promote]);
    assert!(!backend.must_see(&client).await.secrets.contains(&id));
    assert!(!backend.takes(&seen, &foreign).await);

    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(DAY);
    events.until(RETIRED).await;
    backend.check_settled(&client).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_restart_before_the_promotion_and_one_in_the_overlap_change_nothing_about_the_end() {
    let Ready { daemon, backend, clock, propagation, client } = ready().await;
    propagation.stop();
    let rotation = rotate(&daemon.channel, &client).await;
    assert_eq!(rotation.state(), Running);
    // After the restart nothing holds the secret back; the attempt is a second away.
    let daemon = daemon.restart().await;
    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(Duration::from_secs(1));
    events.until(PROMOTED).await;
    assert_eq!(get_rotation(&daemon.channel, &rotation.name).await.state(), Overlap);
    drop(events);

    let daemon = daemon.restart().await;
    backend.check_current_works(&client).await;
    let mut events = Follower::of(&daemon.channel, &client).await;
    clock.advance(DAY);
    events.until(RETIRED).await;
    let rotation = get_rotation(&daemon.channel, &rotation.name).await;
    assert_eq!(rotation.state(), Succeeded);
    assert_eq!(steps(&rotation.steps), [Stage, Register, Prove, Promote, Retire]);
    backend.check_settled(&client).await;
    drop(events);
    daemon.stop().await;
}

struct Ready {
    daemon: Daemon,
    backend: Backend,
    clock: Arc<ManualClock>,
    propagation: Arc<Propagation>,
    client: String,
}

async fn ready() -> Ready {
    let clock = Arc::new(ManualClock::new(start_time()));
    let propagation = Arc::new(Propagation::default());
    let (daemon, backend) = Backend::behind(clock.clone(), |_| {}, |ports| propagation.through(ports)).await;
    daemon.put_orders_api().await;
    daemon.create_tenant("acme").await;
    let client = daemon.create_client("acme", "checkout").await.name;
    Ready { daemon, backend, clock, propagation, client }
}
