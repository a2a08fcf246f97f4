//! What is logged, and how calls are found in it.

use keyward::proto;
use keyward::proto::tenant_service_client::TenantServiceClient;
use serde_json::Value;
use tonic::Request;

use super::{ended, serve};
use crate::harness::{Binary, folder};

#[tokio::test]
async fn json_lines_carry_the_id_of_the_call() {
    let (_folder, path) = folder();
    let broker = serve(&path, "[log]\nformat = \"json\"");
    let (given, made) = (ask(&broker, Some("order-4711.a_B")).await, ask(&broker, None).await);
    assert_eq!(given, "order-4711.a_B");
    assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");

    let log = log_of(broker).await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for id in [given, made] {
        let line = lines.iter().find(|line| line["span"]["call_id"] == *id && line["message"] == "answered");
        let line = line.unwrap_or_else(|| panic!("{id} is not in\n{log}"));
        assert_eq!(line["span"]["method"], "keyward.v1.TenantService/GetTenant");
        assert_eq!((&line["code"], &line["reason"]), (&"NOT_FOUND".into(), &"RESOURCE_NOT_FOUND".into()));
    }
}

#[tokio::test]
async fn text_lines_carry_the_id_of_the_call() {
    let (_folder, path) = folder();
    let broker = serve(&path, "[log]\nformat = \"text\"");
    let id = ask(&broker, Some("order-4711")).await;
    let log = log_of(broker).await;
    let line = log.lines().find(|line| line.contains("call_id=\"order-4711\"") && line.contains("answered"));
    assert!(line.is_some_and(|line| line.contains("NOT_FOUND") && line.contains(" INFO ")), "{id} is not in\n{log}");
}

#[tokio::test]
async fn the_filter_says_what_is_logged() {
    let (_folder, path) = folder();
    let broker = serve(&path, "[log]\nfilter = \"info,keyward::grpc=warn\"");
    ask(&broker, Some("order-4711")).await;
    let log = log_of(broker).await;
    assert!(log.contains("listening on") && !log.contains("order-4711"), "{log}");
}

/// Asks for a tenant that does not exist; the id of the call, as the answer carries it.
async fn ask(broker: &Binary, id: Option<&str>) -> String {
    let mut request = Request::new(proto::GetTenantRequest { name: "tenants/nobody".to_owned() });
    if let Some(id) = id {
        request.metadata_mut().insert("x-request-id", id.parse().expect("metadata"));
    }
    let status = TenantServiceClient::new(broker.channel().await).get_tenant(request).await.expect_err("nobody");
    status.metadata().get("x-request-id").expect("the id").to_str().expect("text").to_owned()
}

/// Everything that it has logged, to its end.
async fn log_of(broker: Binary) -> String {
    broker.signal("TERM");
    let (status, log) = ended(broker).await;
    assert!(status.success(), "{log}");
    log
}
