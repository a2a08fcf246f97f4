//! A load that is not ours. It sees the status of HTTP, and not that of gRPC: what is asked here, our own load asks too.

use std::process::Command;
use std::time::Instant;

use super::load::{Done, Order};

pub fn is_there() -> bool {
    Command::new("h2load").arg("--version").output().is_ok()
}

/// Only for orders of one message, without TLS and as fast as it goes.
pub fn load(order: &Order) -> Done {
    let begun = Instant::now();
    let output = Command::new("h2load")
        .args(["-n", &order.calls.to_string(), "-c", &order.connections.to_string()])
        .args(["-m", &order.streams.to_string(), "-t", "1", "-d"])
        .arg(&order.messages)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .arg(format!("http://{}/{}", order.address, order.method))
        .output()
        .expect("h2load runs");
    let seconds = begun.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = format!("{0} total, {0} started, {0} done, {0} succeeded, 0 failed", order.calls);
    assert!(text.contains(&expected), "calls failed: {text}");
    // It tells means and not quantiles.
    Done { failed: 0, seconds, p50: f64::NAN, p99: f64::NAN }
}
