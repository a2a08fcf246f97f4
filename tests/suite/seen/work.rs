//! What is to be done next, what was done, and how old keys are.

use std::time::Duration;

use super::told;
use crate::harness::ports::Stage;
use crate::harness::rotations::{eventually, rotate_at_once};
use crate::harness::{Daemon, Metrics, metrics};

const DAY: f64 = 86_400.0;

async fn seen(daemon: &Daemon) -> Metrics {
    metrics(daemon.status_address().expect("it tells its status")).await
}

fn next(metrics: &Metrics, quantile: &str) -> f64 {
    metrics.value(&format!("keyward_next_rotation_seconds{{quantile=\"{quantile}\"}}")).expect("a rotation is due")
}

/// A rotation is early by a tenth of its period at the most, so each is due in 81 to 90 days.
#[tokio::test]
async fn the_next_rotations_are_told_and_looked_at_once_in_half_a_minute() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let first = seen(daemon).await;
    let [least, most] = [next(&first, "0"), next(&first, "1")];
    assert!(least == most && (81.0 * DAY..=90.0 * DAY).contains(&least), "{least} to {most}");
    assert_eq!(first.value("keyward_work_overdue_seconds"), Some(0.0));

    for client in ["one", "two", "three"] {
        daemon.create_client("acme", client).await;
    }
    let again = seen(daemon).await;
    assert_eq!([next(&again, "0"), next(&again, "1")], [least, most], "it was looked at a moment ago");
    stage.clock.advance(Duration::from_secs(31));
    let later = seen(daemon).await;
    let quantiles = ["0", "0.5", "0.9", "1"].map(|quantile| next(&later, quantile));
    assert!(quantiles.is_sorted() && quantiles[0] < quantiles[3], "{quantiles:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn runs_of_journals_are_counted_by_what_they_did() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let done = "keyward_journal_runs_total{task=\"rotate-secret\",outcome=\"done\"}";
    assert_eq!(seen(daemon).await.value(done), Some(0.0));
    rotate_at_once(&daemon.channel, &stage.client.name).await;
    eventually("the rotation's run is counted", async || seen(daemon).await.value(done) >= Some(1.0)).await;
    let issued = "keyward_journal_runs_total{task=\"issue-client\",outcome=\"done\"}";
    assert_eq!(seen(daemon).await.value(issued), Some(1.0));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn keys_age_until_they_are_read_again() {
    let stage = Stage::set_with(told).await;
    let daemon = &stage.daemon;
    let age = "keyward_signing_key_age_seconds{quantile=\"1\"}";
    assert_eq!(seen(daemon).await.value(age), None, "nobody needed any");
    let token = daemon.token(&stage.client.name).await.access_token;
    daemon.verify(&token).await;
    assert_eq!(seen(daemon).await.value(age), Some(0.0));
    stage.clock.advance(Duration::from_secs(600));
    assert_eq!(seen(daemon).await.value(age), Some(600.0));
    stage.daemon.stop().await;
}
