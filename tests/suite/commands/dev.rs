//! `keyward dev`, and the ready file.

use std::path::Path;
use std::time::Duration;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{configure, run, serve};
use crate::harness::{Binary, connect, create_tenant, folder, put_orders_api, token};

#[test]
fn it_refuses_to_listen_for_others_and_makes_nothing() {
    let (_folder, path) = folder();
    let data = path.join("data");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7443"] {
        let ran = run(Binary::command().args(["dev", "--listen", address, "--data"]).arg(&data));
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains("listen") && ran.err.contains("loopback"), "{}", ran.err);
    }
    assert!(!data.exists());
}

#[test]
fn it_says_loudly_who_is_an_operator_and_where_its_data_is() {
    let (_folder, path) = folder();
    let broker = Binary::dev(&path.join("data"));
    let address = broker.address.clone();
    broker.signal("INT");
    let (status, log) = broker.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let data = path.join("data").canonicalize().expect("the folder");
    for said in [
        format!("EVERYONE WHO CAN CONNECT TO {address} IS AN OPERATOR"),
        format!("data        {}\n", data.display()),
        format!("master key  {}\n", data.join("master.key").display()),
    ] {
        assert!(log.contains(&said), "{said:?} is not in\n{log}");
    }
    let key = std::fs::read_to_string(data.join("master.key")).expect("the key");
    assert!(!log.contains(key.trim()));
}

#[tokio::test]
async fn started_again_on_its_folder_everything_is_still_there() {
    let (_folder, path) = folder();
    let data = path.join("data");
    let broker = Binary::dev(&data);
    let channel = broker.channel().await;
    put_orders_api(&channel).await;
    create_tenant(&channel, "acme", keyward::proto::Isolation::AppClient).await;
    let client = crate::harness::create_client(&channel, "acme", "checkout").await;
    broker.kill();

    let broker = Binary::dev(&data);
    token(&broker.channel().await, &client.name).await.expect("a token");
}

#[tokio::test]
async fn the_ready_file_is_there_while_health_says_serving() {
    let (_folder, path) = folder();
    let ready = path.join("ready");
    let config = configure(&path, "");
    let broker = Binary::start(serve(&config).arg("--ready-file").arg(&ready));
    let address = content(&ready).await;
    assert_eq!(address, format!("{}\n", broker.address));
    let channel = connect(address.trim()).await;
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.expect("an answer");
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);
    drop(channel);

    broker.signal("TERM");
    let (status, log) = tokio::task::spawn_blocking(|| broker.wait()).await.expect("waited for");
    assert!(status.success(), "{log}");
    assert!(!ready.exists(), "it is left");
}

#[test]
fn a_ready_file_that_cannot_be_written_is_named() {
    let (_folder, path) = folder();
    let config = configure(&path, "");
    let ran = run(serve(&config).arg("--ready-file").arg(path.join("nowhere/ready")));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("nowhere/ready"), "{}", ran.err);
}

/// Of the file, once it is there. Nothing else tells when that is.
async fn content(file: &Path) -> String {
    let mut looks = crate::harness::pauses(Duration::from_millis(5));
    for _ in 0..2_000 {
        looks.tick().await;
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
    }
    panic!("{} does not appear", file.display())
}
