//! Heartbeats, how many may watch, and how a stream ends.

use keyward::proto::WatchTrustRequest;
use tonic::Code;

use super::mirror::Mirror;
use crate::harness::ports::{AT_REST, Stage, in_time};
use crate::harness::{Daemon, assert_invalid, details, start_time};

#[tokio::test]
async fn a_heartbeat_comes_five_times_in_the_time_after_which_nobody_can_tell() {
    let stage = Stage::set().await;
    let mut mirror = Mirror::whole(&stage.daemon).await;
    let mut last = start_time().as_second();
    for second in 1..=10 {
        // The stream, and who keeps the keys that it tells of.
        in_time(stage.clock.wait_for_sleepers(AT_REST + 2)).await;
        stage.at_second(second);
        if second % 2 == 1 {
            assert!(mirror.is_silent().await, "at second {second}");
            continue;
        }
        mirror.take().await.expect("a heartbeat");
        let synced = mirror.synced.as_ref().expect("a heartbeat");
        let (fresh, now) = (synced.fresh_time.expect("set").seconds, synced.broker_time.expect("set").seconds);
        assert_eq!((fresh, now), (last + 2, last + 2));
        assert_eq!(synced.fresh_until.expect("set").seconds, fresh + 10);
        last = fresh;
    }
    drop(mirror);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn no_more_watch_than_may_and_who_leaves_makes_room() {
    let (daemon, _) = Daemon::start_at_rest_with(|config| config.verification.max_watchers = 2).await;
    let (one, other) = (Mirror::whole(&daemon).await, Mirror::whole(&daemon).await);
    let status = Mirror::asking(&daemon, WatchTrustRequest::default()).await.err().expect("no room");
    let error = details(&status);
    assert_eq!((error.code, error.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    drop(one);
    let third = in_time(async {
        loop {
            if let Ok(mirror) = Mirror::asking(&daemon, WatchTrustRequest::default()).await {
                return mirror;
            }
        }
    })
    .await;
    drop((other, third));
    daemon.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_broker_drains_and_says_so() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let mut mirror = Mirror::whole(&daemon).await;
    let (status, ()) = tokio::join!(mirror.end(), daemon.stop());
    assert_eq!(details(&status).reason, "SHUTTING_DOWN");
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let (daemon, _) = Daemon::start_at_rest().await;
    let many = vec!["tenants/acme".to_owned(); 101];
    for (request, field) in [
        (WatchTrustRequest { resume_token: "x".repeat(257), ..Default::default() }, "resume_token"),
        (WatchTrustRequest { tenants: many, ..Default::default() }, "tenants"),
        (WatchTrustRequest { tenants: vec!["tenants/acme".into(), "Acme".into()], ..Default::default() }, "tenants[1]"),
    ] {
        assert_invalid(Mirror::asking(&daemon, request).await, "FIELD_INVALID", field);
    }
    daemon.stop().await;
}
