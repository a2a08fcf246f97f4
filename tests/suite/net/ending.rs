//! The end of connections, when the broker drains.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward::runtime::clock::SystemClock;
use keyward::runtime::shutdown::Drained;
use tokio::net::TcpStream;

use crate::harness::Daemon;
use crate::harness::http2::{Raw, get_token};

#[tokio::test]
async fn a_peer_that_is_frozen_between_its_calls_does_not_hold_the_drain() {
    let daemon = Daemon::start().await;
    let frozen = {
        let stream = TcpStream::connect(daemon.address()).await.expect("connected");
        let mut raw = Raw::over(stream).await;
        // It has been here, and from now on reads nothing and answers nothing.
        raw.answer(get_token(), b"\0\0\0\0\0").await.expect("an answer");
        raw.freeze()
    };
    let begun = Instant::now();
    daemon.stop().await;
    // Not the drain deadline, which is 20 seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(frozen);
}

#[tokio::test]
async fn connections_with_calls_under_way_at_the_deadline_are_counted() {
    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| {
        config.shutdown.drain_deadline = Duration::from_millis(300);
    });
    let daemon = daemon.await;
    let mut held = Vec::new();
    for calls in [1, 2, 0] {
        let stream = TcpStream::connect(daemon.address()).await.expect("connected");
        let mut raw = Raw::over(stream).await;
        raw.answer(get_token(), b"\0\0\0\0\0").await.expect("an answer");
        for _ in 0..calls {
            held.push(Box::new(raw.begin(get_token()).await) as Box<dyn Any>);
        }
        raw.ping().await;
        held.push(Box::new(raw.freeze()));
    }
    assert_eq!(daemon.drain().await, Drained::Late(2), "two connections, one of them with two calls");
    drop(held);
}
