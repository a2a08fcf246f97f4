//! Those who watch one broker to verify by themselves hear of what another one changes, or that nobody can tell.

use keyward::proto::TenantState;

use super::*;
use crate::harness::ports::in_time;
use crate::trust::mirror::Mirror;

/// Lets time go on until `done`; how the stream has ended, if it has.
async fn until_told(pair: &Pair, mirror: &mut Mirror, done: impl Fn(&Mirror) -> bool) -> Option<tonic::Status> {
    in_time(async {
        loop {
            match mirror.take_soon().await {
                Some(Ok(())) => {}
                Some(Err(status)) => return Some(status),
                None if done(mirror) => return None,
                None => pair.clock.advance(INTERVAL),
            }
        }
    })
    .await
}

fn state(mirror: &Mirror) -> TenantState {
    mirror.tenants["tenants/acme"].state()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_one_broker_hears_of_anothers_changes_or_begins_anew_where_it_missed_some() {
    let pair = Pair::start().await;
    let mut mirror = Mirror::whole(&pair.other).await;
    assert_eq!(state(&mirror), TenantState::Active);
    suspend(&pair.one).await;
    let is_suspended = |mirror: &Mirror| state(mirror) == TenantState::Suspended;
    assert!(until_told(&pair, &mut mirror, is_suspended).await.is_none());
    assert_eq!(mirror.resets, 1);

    pair.line.cut(true);
    let resume = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    pair.one.tenants().resume_tenant(resume).await.expect("resumed");
    // As DynamoDB does when their time is over.
    let last = pair.line.feed.last_change().await.expect("read");
    for number in 1..=last {
        let line = pair.between.sdk().delete_item().table_name(TABLE);
        let line = line.key("pk", AttributeValue::S("change".to_owned()));
        line.key("sk", AttributeValue::S(format!("{number:020}"))).send().await.expect("deleted");
    }
    pair.line.cut(false);
    let is_whole_again = |mirror: &Mirror| mirror.resets == 2 && mirror.synced.is_some();
    assert!(until_told(&pair, &mut mirror, is_whole_again).await.is_none());
    assert_eq!(state(&mirror), TenantState::Active);
    drop(mirror);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hears_nothing_calls_nothing_fresh_and_ends_the_streams_after_the_time_it_states() {
    let pair = Pair::start().await;
    let mut mirror = Mirror::whole(&pair.other).await;
    pair.until_heard(&pair.line).await;
    pair.line.cut(true);
    let cut_time = pair.clock.now();
    let status = until_told(&pair, &mut mirror, |_| false).await.expect("it ends");
    let details = details(&status);
    assert_eq!((details.code, details.reason.as_str()), (Code::Unavailable, "REGISTRY_UNAVAILABLE"));
    let passed = pair.clock.now().duration_since(cut_time).as_secs_f64();
    // It may say verified for 5 s, and looks at the next heartbeat.
    assert!((4.0..=8.0).contains(&passed), "after {passed} s");
    let fresh = mirror.synced.expect("all was told").fresh_time.expect("set");
    assert!(fresh.seconds <= cut_time.as_second(), "fresh when nothing was heard");
    pair.stop().await;
}
