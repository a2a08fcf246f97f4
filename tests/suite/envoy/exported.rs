//! A real Envoy with what `ExportAuthorizer` gives, and nothing else that would refuse anybody.

use std::process::Command;

use keyward::broker::ports::Clock as _;
use keyward::proto::{self, AuthorizerFormat, ExportAuthorizerRequest, RouteScopes};
use keyward::runtime::clock::SystemClock;
use serde_json::{Value, json};

use super::proxy::ask;
use crate::harness::on_aws::AwsStage;
use crate::harness::{create_client, create_tenant, folder};
use crate::peers::{self, Peer};

const CLIENT: &str = "tenants/acme/clients/checkout";

/// A broker over AWS with a client of each of two tenants, and a token of an hour that has expired by more than Envoy's own
/// minute. It is at today's time, by which Envoy goes.
async fn stage() -> (AwsStage, String) {
    let stage = AwsStage::set().await;
    stage.clock.set(SystemClock.now() - jiff::SignedDuration::from_secs(3_600 + 90));
    for tenant in ["acme", "globex"] {
        create_tenant(&stage.daemon.channel, tenant, proto::Isolation::AppClient).await;
        create_client(&stage.daemon.channel, tenant, "checkout").await;
    }
    let expired = narrow(&stage).await;
    stage.clock.set(SystemClock.now());
    (stage, expired)
}

async fn exported(stage: &AwsStage, name: &str, routes: &[(&str, &[&str])]) -> Value {
    let route = |(route, scopes): &(&str, &[&str])| RouteScopes {
        route: (*route).to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    let request = ExportAuthorizerRequest {
        name: name.to_owned(),
        format: AuthorizerFormat::Envoy.into(),
        routes: routes.iter().map(route).collect(),
    };
    let answer = stage.daemon.tenants().export_authorizer(request).await.expect("exported").into_inner();
    assert_eq!(answer.media_type, "application/json");
    serde_json::from_str(&answer.content).expect("JSON")
}

/// A configuration with it, of a listener that answers what it lets through.
fn configuration(exported: &Value, port: u16) -> Value {
    let mut manager = exported["http_connection_manager"].clone();
    manager["@type"] =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager".into();
    manager["stat_prefix"] = "in".into();
    manager["route_config"] = json!({ "virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }],
    }] });
    let filters = manager["http_filters"].as_array_mut().expect("filters");
    let health = json!({ "name": "health", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": false,
        "headers": [{ "name": ":path", "string_match": { "exact": "/healthz" } }],
    } });
    filters.insert(0, health);
    filters.push(json!({ "name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    } }));
    let listener = json!({
        "name": "in",
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    });
    json!({ "static_resources": { "listeners": [listener], "clusters": exported["clusters"] } })
}

/// With the keys at the fake in place of AWS.
fn with_keys_at(mut exported: Value, fake: &str) -> Value {
    let port: u16 = fake.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    for cluster in exported["clusters"].as_array_mut().expect("clusters") {
        let members = cluster.as_object_mut().expect("a cluster");
        let tls = members.remove("transport_socket").expect("keys come by TLS");
        assert_eq!(tls["typed_config"]["sni"], "cognito-idp.eu-central-1.amazonaws.com");
        // Whoever else could give it keys could sign tokens.
        assert_eq!(tls["typed_config"]["auto_sni_san_validation"], true);
        let trusted = &tls["typed_config"]["common_tls_context"]["validation_context"]["trusted_ca"]["filename"];
        assert_eq!(trusted, "/etc/ssl/certs/ca-certificates.crt");
        let address = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
        assert_eq!(address["socket_address"]["port_value"], 443);
        *address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    }
    exported
}

async fn envoy(exported: &Value) -> Peer {
    let (_files, empty) = folder();
    Peer::envoy(&empty, |port| configuration(exported, port).to_string()).await
}

async fn status(envoy: &Peer, path: &str, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let headers = if token.is_empty() { &[][..] } else { &headers };
    ask(envoy, &format!("GET {path}"), headers).await.status
}

async fn narrow(stage: &AwsStage) -> String {
    let request = proto::GetTokenRequest {
        name: CLIENT.to_owned(),
        scopes: vec!["orders/read".to_owned()],
        ..Default::default()
    };
    stage.daemon.tokens().get_token(request).await.expect("a token").into_inner().access_token
}

#[tokio::test]
async fn whoever_is_named_goes_on_and_nobody_else() {
    let (stage, expired) = stage().await;
    let exported = with_keys_at(exported(&stage, "tenants/acme", &[]).await, &stage.fake.endpoint());
    let envoy = envoy(&exported).await;
    let own = stage.daemon.token(CLIENT).await.access_token;
    let foreign = stage.daemon.token("tenants/globex/clients/checkout").await.access_token;
    let get = proto::GetClientRequest { name: CLIENT.to_owned() };
    let client = stage.daemon.clients().get_client(get).await.expect("the client").into_inner();
    let signed_in = stage.fake.sign_in(&client.app_client_id, "ada", &[]);
    let mut forged = own.clone();
    forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
    for (what, path, token, expected) in [
        ("its own", "/orders", own.as_str(), 200),
        ("its own, elsewhere", "/", &own, 200),
        ("none", "/orders", "", 401),
        ("of another tenant in the same pool", "/orders", &foreign, 403),
        ("an ID token", "/orders", &signed_in.id_token, 403),
        ("forged", "/orders", &forged, 401),
        ("expired", "/orders", &expired, 401),
        ("in the URL", &format!("/orders?access_token={own}"), "", 401),
    ] {
        assert_eq!(status(&envoy, path, token).await, expected, "{what}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn every_scope_of_the_longest_route_is_needed_and_no_other_path_is_open() {
    let (stage, _) = stage().await;
    let routes: &[(&str, &[&str])] = &[
        ("/orders", &["orders/read"]),
        ("/orders/new", &["orders/read", "orders/write"]),
        ("/orders/new/look", &["orders/read"]),
    ];
    let exported = with_keys_at(exported(&stage, "tenants/-", routes).await, &stage.fake.endpoint());
    let envoy = envoy(&exported).await;
    let all = stage.daemon.token("tenants/globex/clients/checkout").await.access_token;
    let narrow = narrow(&stage).await;
    for (path, with_all, with_one) in [
        ("/orders", 200, 200),
        ("/orders?x=/orders/new", 200, 200),
        ("/orders/7", 200, 200),
        ("/orders/newer", 200, 200),
        ("/orders/new", 200, 403),
        ("/orders/new/7", 200, 403),
        ("/orders//new", 200, 403),
        ("/orders/x/../new", 200, 403),
        ("/orders/%6eew", 200, 403),
        ("/orders/new/look", 200, 200),
        ("/orders/new/lookout", 200, 403),
        ("/orders%2Fnew", 400, 400),
        ("/", 403, 403),
        ("/ordersnew", 403, 403),
        ("/ORDERS", 403, 403),
    ] {
        let statuses = [status(&envoy, path, &all).await, status(&envoy, path, &narrow).await];
        assert_eq!(statuses, [with_all, with_one], "{path}");
    }
    assert_eq!(status(&envoy, "/orders", "").await, 401);
    stage.strike().await;
}

#[tokio::test]
async fn envoy_accepts_it_as_it_is_given_with_several_issuers_too() {
    let (stage, _) = stage().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    create_client(&stage.daemon.channel, "umbrella", "checkout").await;
    let (_files, path) = folder();
    for (name, routes) in [
        ("tenants/acme", &[][..]),
        ("tenants/-", &[]),
        ("tenants/-", &[("/", &["orders/read"][..]), ("/orders", &["orders/read", "orders/write"])]),
    ] {
        let exported = exported(&stage, name, routes).await;
        let providers = &exported["http_connection_manager"]["http_filters"][0]["typed_config"]["providers"];
        let expected = if name == "tenants/-" { 2 } else { 1 };
        assert_eq!(providers.as_object().map(serde_json::Map::len), Some(expected));
        assert_eq!(exported["clusters"].as_array().map(Vec::len), Some(1), "one host has the keys of both");
        let file = path.join("envoy.yaml");
        std::fs::write(&file, configuration(&exported, 10_000).to_string()).expect("written");
        let validate = move || {
            let mut command = Command::new(peers::envoy());
            command.args(["--mode", "validate", "--log-level", "warning", "-c"]).arg(file);
            command.output().expect("Envoy runs")
        };
        let output = tokio::task::spawn_blocking(validate).await.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("deprecated"), "{name}: {said}");
    }
    stage.strike().await;
}
