//! `grpc.health.v1.Health`.

use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::SERVICES;
use crate::harness::{Daemon, details};

#[tokio::test]
async fn the_daemon_and_each_service_are_serving() {
    let daemon = Daemon::start().await;
    for service in SERVICES.into_iter().chain([""]) {
        assert_eq!(check(&daemon.channel, service).await, Ok(ServingStatus::Serving), "{service:?}");
    }
    assert_eq!(check(&daemon.channel, "keyward.v1.Nothing").await, Err(Code::NotFound));
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_is_asked_to_end_says_so_before_it_ends_the_stream() {
    let daemon = Daemon::start().await;
    let request = HealthCheckRequest::default();
    let mut stream = HealthClient::new(daemon.channel.clone()).watch(request).await.expect("watched").into_inner();
    assert_eq!(stream.message().await.expect("sent").expect("a status").status(), ServingStatus::Serving);
    let watcher = tokio::spawn(async move {
        let last = stream.message().await.expect("sent").expect("a status").status();
        (last, stream.message().await.expect_err("the stream is ended"))
    });
    // It fails the test if the watchers keep the daemon from ending.
    daemon.stop().await;
    let (last, end) = watcher.await.expect("seen");
    assert_eq!(last, ServingStatus::NotServing);
    assert_eq!((end.code(), details(&end).reason.as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
}

async fn check(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}
