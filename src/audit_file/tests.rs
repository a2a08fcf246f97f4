//! The queue and the one task that writes: many at once, too many, and a disk that comes and goes.

use std::os::unix::fs::symlink;

use jiff::Timestamp;

use super::*;
use crate::domain::audit::{Event, Outcome};

struct Noon;

#[async_trait::async_trait]
impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_268_800).expect("in range")
    }

    async fn sleep_until(&self, _: Timestamp) {}
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(Noon)
}

fn handed_out(detail: usize) -> HandedOut {
    let event = Event {
        time: Noon.now(),
        principal: "operator:test".to_owned(),
        method: "test".to_owned(),
        resource: "tenants/acme/clients/orders".to_owned(),
        outcome: Outcome::Succeeded,
        reason: String::new(),
        detail: detail.to_string(),
        request_id: String::new(),
        call_id: String::new(),
    };
    HandedOut { event, scopes: Vec::new(), expire_time: None }
}

fn lines(path: &Path) -> u64 {
    check_file(path, None).expect("read").expect("whole").count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_at_once_share_writes_and_each_has_its_line_when_it_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("audit.jsonl");
    let (file, writing) = open(&path, true, clock()).expect("opened");
    let (file, writing) = (Arc::new(file), tokio::spawn(writing.run()));
    let calls: Vec<_> = (0..5_000)
        .map(|i| {
            let (file, path) = (file.clone(), path.clone());
            tokio::spawn(async move {
                file.hand_out(handed_out(i)).await.expect("recorded");
                if i % 500 == 0 {
                    let text = std::fs::read_to_string(&path).expect("read");
                    assert!(text.contains(&format!("\"detail\":\"{i}\"")), "{i} was told before it was written");
                }
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic");
    }
    drop(file);
    writing.await.expect("it ends with the last handle");
    assert_eq!(lines(&path), 5_001);
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_lost_writer_refuses() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("audit.jsonl");
    let (file, writing) = open(&path, true, clock()).expect("opened");
    let mut waiting = Vec::new();
    for i in 0..QUEUE {
        // Polled once, so that it is in the queue.
        let mut call = Box::pin(file.hand_out(handed_out(i)));
        assert!(futures::poll!(&mut call).is_pending());
        waiting.push(call);
    }
    let error = file.hand_out(handed_out(0)).await.expect_err("full");
    assert_eq!(error.reason(), Reason::Overloaded);
    drop(writing);
    for call in waiting {
        assert_eq!(call.await.expect_err("lost").reason(), Reason::AuditUnavailable);
    }
    assert_eq!(file.hand_out(handed_out(0)).await.expect_err("lost").reason(), Reason::AuditUnavailable);
}

#[tokio::test]
async fn while_the_disk_is_full_callers_are_refused_where_it_is_required_and_not_where_it_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    for required in [true, false] {
        let (path, good) = (folder.path().join(format!("{required}")), folder.path().join(format!("{required}.jsonl")));
        symlink("/dev/full", &path).expect("linked");
        let (file, writing) = open(&path, required, clock()).expect("opened");
        let writing = tokio::spawn(writing.run());
        for i in 0..3 {
            match file.hand_out(handed_out(i)).await {
                Ok(()) => assert!(!required),
                Err(error) => assert!(required && error.reason() == Reason::AuditUnavailable, "{error}"),
            }
        }
        std::fs::remove_file(&path).expect("removed");
        symlink(&good, &path).expect("linked");
        file.hand_out(handed_out(3)).await.expect("it recovers by itself");
        drop(file);
        writing.await.expect("no panic");
        assert!(lines(&good) >= 2);
    }
}
