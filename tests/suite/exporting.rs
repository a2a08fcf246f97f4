//! `ExportAuthorizer`: whom it names, what it refuses, and that each program's own schema has room for what it writes. What Envoy
//! makes of it is in `envoy/exported.rs`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use keyward::broker::ports::{Action, ChangeSet, Shelf, Write};
use keyward::domain::client::{Client, ClientState, Owner};
use keyward::domain::form::Form;
use keyward::domain::id::{AppClientId, ClientName};
use keyward::domain::scope::{Identifier, ResourceServer};
use keyward::proto::{self, AuthorizerFormat, ExportAuthorizerRequest, ExportAuthorizerResponse, RouteScopes};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fake::Model;
use crate::harness::ports::Stage;
use crate::harness::rotations::{eventually, get_client, list_rotations};
use crate::harness::{SCOPES, create_interactive, create_tenant, details, start_time};
use crate::peers::node_packages;

const FORMATS: [AuthorizerFormat; 3] = [AuthorizerFormat::ApiGateway, AuthorizerFormat::Envoy, AuthorizerFormat::Istio];

fn request(name: &str, format: AuthorizerFormat, routes: &[(&str, &[&str])]) -> ExportAuthorizerRequest {
    let route = |(route, scopes): &(&str, &[&str])| RouteScopes {
        route: (*route).to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    ExportAuthorizerRequest { name: name.to_owned(), format: format.into(), routes: routes.iter().map(route).collect() }
}

async fn export(stage: &Stage, request: ExportAuthorizerRequest) -> Result<ExportAuthorizerResponse, Status> {
    Ok(stage.daemon.tenants().export_authorizer(request).await?.into_inner())
}

async fn document(stage: &Stage, request: ExportAuthorizerRequest) -> Value {
    let answer = export(stage, request).await.expect("exported");
    assert_eq!(answer.media_type, "application/json");
    for named in answer.issuers.iter().chain(&answer.audiences) {
        assert!(answer.content.contains(&**named), "{named} is not in it");
    }
    serde_json::from_str(&answer.content).expect("JSON")
}

async fn audiences(stage: &Stage, name: &str) -> Vec<String> {
    export(stage, request(name, AuthorizerFormat::Envoy, &[])).await.expect("exported").audiences
}

fn sorted<const N: usize>(ids: [&str; N]) -> Vec<String> {
    let mut ids = ids.map(str::to_owned).to_vec();
    ids.sort();
    ids
}

#[tokio::test]
async fn only_those_are_named_whose_tokens_would_verify() {
    let stage = Stage::set().await;
    let daemon = &stage.daemon;
    daemon.create_tenant("globex").await;
    let other = daemon.create_client("globex", "orders").await;
    create_interactive(&daemon.channel, "acme", "portal").await;
    add(&stage, 0..1, ClientState::Creating).await;
    add(&stage, 1..2, ClientState::Deleting).await;
    let first = stage.client.app_client_id.as_str();
    assert_eq!(audiences(&stage, "tenants/acme").await, [first]);
    assert_eq!(audiences(&stage, "tenants/-").await, sorted([first, &other.app_client_id]));

    // One that was replaced is named still; one that is compromised is not, nor the one before it.
    let second = replace(&stage, false).await.app_client_id;
    assert_eq!(audiences(&stage, "tenants/acme").await, sorted([first, &second]));
    let third = replace(&stage, true).await.app_client_id;
    assert_eq!(audiences(&stage, "tenants/acme").await, [third.as_str()]);

    let suspend = proto::SuspendTenantRequest { name: "tenants/globex".to_owned(), ..Default::default() };
    daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    assert_eq!(audiences(&stage, "tenants/-").await, [third.as_str()]);
    let refused = export(&stage, request("tenants/globex", AuthorizerFormat::Envoy, &[])).await.expect_err("suspended");
    assert_eq!(details(&refused).reason, "TENANT_SUSPENDED");
    stage.daemon.stop().await;
}

/// The client once it has another app client.
async fn replace(stage: &Stage, immediate: bool) -> proto::Client {
    let name = stage.client.name.clone();
    let request = proto::ReplaceClientRequest { name: name.clone(), immediate, ..Default::default() };
    stage.daemon.clients().replace_client(request).await.expect("replaced");
    get_client(&stage.daemon.channel, &name).await
}

#[tokio::test]
async fn one_that_was_replaced_is_named_until_its_last_token_has_expired() {
    let stage = Stage::set().await;
    let first = stage.client.app_client_id.as_str();
    let replaced = replace(&stage, false).await;
    let second = replaced.app_client_id.as_str();
    stage.at_second(second_of(replaced.replaced_app_clients[0].retire_time));
    let name = &stage.client.name;
    eventually("it is deleted", async || {
        let rotations = list_rotations(&stage.daemon.channel, name).await;
        rotations.iter().all(|rotation| rotation.state() == proto::RotationState::Succeeded)
    })
    .await;
    let client = get_client(&stage.daemon.channel, name).await;
    let end = second_of(client.replaced_app_clients[0].forget_time);
    stage.at_second(end - 1);
    assert_eq!(audiences(&stage, "tenants/acme").await, sorted([first, second]));
    stage.at_second(end);
    assert_eq!(audiences(&stage, "tenants/acme").await, [second]);
    stage.daemon.stop().await;
}

/// From the start.
fn second_of(time: Option<prost_types::Timestamp>) -> i64 {
    time.expect("set").seconds - start_time().as_second()
}

#[tokio::test]
async fn what_cannot_be_exported_says_why() {
    let stage = Stage::set().await;
    stage.daemon.create_tenant("empty").await;
    let read: &[&str] = &["orders/read"];
    let many: Vec<String> = (0..101).map(|number| format!("/{number}")).collect();
    let many: Vec<(&str, &[&str])> = many.iter().map(|route| (route.as_str(), read)).collect();
    use AuthorizerFormat::{ApiGateway, Envoy, Istio, Unspecified};
    for (request, code, reason, field) in [
        (request("tenants/acme", Unspecified, &[]), Code::InvalidArgument, "FIELD_INVALID", "format"),
        (request("acme", Envoy, &[]), Code::InvalidArgument, "FIELD_INVALID", "name"),
        (request("", Envoy, &[]), Code::InvalidArgument, "FIELD_INVALID", "name"),
        (request("tenants/acme", Envoy, &many), Code::InvalidArgument, "FIELD_INVALID", "routes"),
        (
            request("tenants/acme", Envoy, &[("/", read), ("/", read)]),
            Code::InvalidArgument,
            "FIELD_INVALID",
            "routes[1].route",
        ),
        (request("tenants/acme", Istio, &[("GET /", read)]), Code::InvalidArgument, "FIELD_INVALID", "routes[0].route"),
        (
            request("tenants/acme", ApiGateway, &[("/", read)]),
            Code::InvalidArgument,
            "FIELD_INVALID",
            "routes[0].route",
        ),
        (request("tenants/acme", Istio, &[("/", &[])]), Code::InvalidArgument, "FIELD_INVALID", "routes[0].scopes"),
        (
            request("tenants/acme", Istio, &[("/", &["read"])]),
            Code::InvalidArgument,
            "FIELD_INVALID",
            "routes[0].scopes[0]",
        ),
        (
            request("tenants/acme", Istio, &[("/", read), ("/x", &["orders/read", "orders/none"])]),
            Code::InvalidArgument,
            "SCOPE_UNKNOWN",
            "routes[1].scopes",
        ),
        (request("tenants/nobody", Envoy, &[]), Code::NotFound, "RESOURCE_NOT_FOUND", ""),
        (request("tenants/empty", Envoy, &[]), Code::FailedPrecondition, "CLIENT_NOT_READY", ""),
    ] {
        let what = format!("{request:?}");
        let refused = details(&export(&stage, request).await.expect_err(&what));
        assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{what}");
        assert_eq!(refused.fields.first().map_or("", String::as_str), field, "{what}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_format_that_cannot_hold_it_all_holds_none_of_it() {
    let stage = Stage::set().await;
    let counts = |status: &Status| {
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo");
        let count = |name: &str| info.metadata.get(name).cloned().unwrap_or_default();
        (status.code(), info.reason.clone(), count("issuers"), count("audiences"))
    };
    let too_large = |issuers: &str, audiences: &str| {
        (Code::FailedPrecondition, "EXPORT_TOO_LARGE".to_owned(), issuers.to_owned(), audiences.to_owned())
    };
    let of = |format| request("tenants/acme", format, &[]);
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    stage.daemon.create_client("umbrella", "billing").await;
    let refused =
        export(&stage, request("tenants/-", AuthorizerFormat::ApiGateway, &[])).await.expect_err("two issuers");
    assert_eq!(counts(&refused), too_large("1", "50"));
    assert_eq!(export(&stage, request("tenants/-", AuthorizerFormat::Istio, &[])).await.expect("two").issuers.len(), 2);

    add(&stage, 0..49, ClientState::Active).await;
    assert_eq!(export(&stage, of(AuthorizerFormat::ApiGateway)).await.expect("50").audiences.len(), 50);
    add(&stage, 49..50, ClientState::Active).await;
    let refused = export(&stage, of(AuthorizerFormat::ApiGateway)).await.expect_err("51");
    assert_eq!(counts(&refused), too_large("1", "50"));
    assert_eq!(export(&stage, of(AuthorizerFormat::Envoy)).await.expect("51").audiences.len(), 51);

    add(&stage, 50..999, ClientState::Active).await;
    for format in [AuthorizerFormat::Envoy, AuthorizerFormat::Istio] {
        assert_eq!(export(&stage, of(format)).await.expect("1,000").audiences.len(), 1_000);
        let refused = export(&stage, request("tenants/-", format, &[])).await.expect_err("1,001");
        assert_eq!(counts(&refused), too_large("100", "1000"));
    }
    // Of which each route repeats all.
    let routes: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
    let routes: Vec<(&str, &[&str])> = routes.iter().map(|route| (route.as_str(), &["orders/read"][..])).collect();
    let refused =
        export(&stage, request("tenants/acme", AuthorizerFormat::Istio, &routes)).await.expect_err("too long");
    assert_eq!(details(&refused).reason, "EXPORT_TOO_LARGE");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn of_more_clients_than_one_call_looks_at_it_names_none() {
    let stage = Stage::set().await;
    add(&stage, 0..10_200, ClientState::Creating).await;
    let refused = export(&stage, request("tenants/-", AuthorizerFormat::Envoy, &[])).await.expect_err("too many");
    assert_eq!(details(&refused).reason, "EXPORT_TOO_LARGE");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_app_client_that_nobody_is_known_to_own_is_not_named() {
    let stage = Stage::set().await;
    add(&stage, 0..1, ClientState::Active).await;
    let key = format!("made00000 {}", stage.pool().await.issuer);
    let registry = &stage.backend.registry;
    let owner = registry.get(Shelf::Owner, &key).await.expect("read").expect("its owner");
    let delete = Write { shelf: Shelf::Owner, key, expected: Some(owner.version), action: Action::Delete };
    registry.commit(ChangeSet { writes: vec![delete], events: Vec::new() }).await.expect("deleted");
    assert_eq!(audiences(&stage, "tenants/acme").await, [stage.client.app_client_id.as_str()]);
    stage.daemon.stop().await;
}

/// So many resource servers that they are read page by page.
#[tokio::test]
async fn a_scope_is_found_in_a_large_catalogue() {
    let stage = Stage::set().await;
    let registry = &stage.backend.registry;
    let stored = registry.get(Shelf::ResourceServer, "orders").await.expect("read").expect("the orders API");
    let orders: ResourceServer = serde_json::from_slice(&stored.body).expect("a resource server");
    let numbers: Vec<usize> = (0..200).collect();
    for some in numbers.chunks(90) {
        let write = |number: &usize| {
            // Before that of the orders.
            let identifier = Identifier::parse("identifier", &format!("a-{number}")).expect("an identifier");
            let server = ResourceServer { identifier: identifier.clone(), ..orders.clone() };
            let body = serde_json::to_vec(&server).expect("JSON");
            let action = Action::Put { body, form: Form::FIRST, due_time: None };
            Write { shelf: Shelf::ResourceServer, key: identifier.to_string(), expected: None, action }
        };
        let changes = ChangeSet { writes: some.iter().map(write).collect(), events: Vec::new() };
        registry.commit(changes).await.expect("kept");
    }
    let routes: &[(&str, &[&str])] = &[("/", &["orders/read"]), ("/a", &["a-199/read"])];
    export(&stage, request("tenants/acme", AuthorizerFormat::Envoy, routes)).await.expect("exported");
    stage.daemon.stop().await;
}

/// More clients beside `checkout`, as if they had been made in its pool.
async fn add(stage: &Stage, numbers: std::ops::Range<usize>, state: ClientState) {
    let registry = &stage.backend.registry;
    let stored = registry.get(Shelf::Client, "acme/checkout").await.expect("read").expect("the client");
    let checkout: Client = serde_json::from_slice(&stored.body).expect("a client");
    let pool = stage.pool().await;
    let write = |shelf, key, body| {
        let action = Action::Put { body, form: Form::FIRST, due_time: None };
        Write { shelf, key, expected: None, action }
    };
    let mut writes = Vec::new();
    for number in numbers {
        let mut client = checkout.clone();
        client.name = ClientName::parse("name", &format!("tenants/acme/clients/made-{number}")).expect("a name");
        client.state = state;
        let app_client = AppClientId::parse("app_client", &format!("made{number:05}")).expect("an id");
        client.app_client = Some(app_client.clone());
        let owner = Owner::new(&pool.issuer, &app_client, &client);
        let owner_key = format!("{app_client} {}", pool.issuer);
        writes.push(write(Shelf::Client, format!("acme/made-{number}"), serde_json::to_vec(&client).expect("JSON")));
        writes.push(write(Shelf::Owner, owner_key, serde_json::to_vec(&owner).expect("JSON")));
    }
    while !writes.is_empty() {
        let rest = writes.split_off(writes.len().min(90));
        let changes = ChangeSet { writes: std::mem::replace(&mut writes, rest), events: Vec::new() };
        registry.commit(changes).await.expect("kept");
    }
}

#[tokio::test]
async fn requests_to_api_gateway_are_of_its_own_model() {
    let stage = Stage::set().await;
    let model = Model::read("apigatewayv2");
    let with = |input: &Value, more: &[&str]| {
        let mut input = input.clone();
        more.iter().for_each(|name| input[*name] = "a1b2c3".into());
        input
    };
    let routes: &[(&str, &[&str])] = &[("GET /orders/{id}", &["orders/read"]), ("$default", &SCOPES)];
    for routes in [routes, &[]] {
        let document = document(&stage, request("tenants/acme", AuthorizerFormat::ApiGateway, routes)).await;
        let authorizer = &document["CreateAuthorizer"];
        assert_eq!(model.check_input("CreateAuthorizer", &with(authorizer, &["ApiId"])), Ok(()));
        assert!(model.check_input("CreateAuthorizer", &with(authorizer, &["ApiId", "Issuer"])).is_err());
        let expected = json!({ "Issuer": stage.client.issuer, "Audience": [stage.client.app_client_id] });
        assert_eq!((&authorizer["JwtConfiguration"], &authorizer["Name"]), (&expected, &json!("keyward-acme")));
        let made = document["CreateRoute"].as_array().expect("routes");
        for route in made {
            assert_eq!(model.check_input("CreateRoute", &with(route, &["ApiId", "AuthorizerId"])), Ok(()));
            assert_eq!(route["AuthorizationType"], "JWT");
        }
        let keys: Vec<_> = made.iter().map(|route| (&route["RouteKey"], &route["AuthorizationScopes"])).collect();
        match routes {
            [] => assert_eq!(keys, [(&json!("$default"), &Value::Null)]),
            _ => assert_eq!(
                keys,
                [(&json!("GET /orders/{id}"), &json!(["orders/read"])), (&json!("$default"), &json!(SCOPES))]
            ),
        }
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn objects_for_istio_are_of_its_own_schemas() {
    let stage = Stage::set().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let own = stage.daemon.create_client("umbrella", "billing").await;
    let script = tokio::task::spawn_blocking(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/exporting/istio/validate.mjs");
        let (package, lock) =
            (include_str!("exporting/istio/package.json"), include_str!("exporting/istio/package-lock.json"));
        node_packages("istio", package, lock, &script)
    });
    let script = script.await.expect("it is there");
    let validate = |document: &Value| {
        let mut command = Command::new("node");
        command.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut node = command.spawn().expect("Node runs");
        node.stdin.take().expect("a pipe").write_all(document.to_string().as_bytes()).expect("written");
        let output = node.wait_with_output().expect("it ends");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let routes: &[(&str, &[&str])] = &[("/", &["orders/read"]), ("/orders", &SCOPES)];
    for routes in [routes, &[]] {
        let document = document(&stage, request("tenants/-", AuthorizerFormat::Istio, routes)).await;
        assert_eq!(validate(&document), (true, "RequestAuthentication AuthorizationPolicy".to_owned()));
        let mut broken = document.clone();
        broken["items"][1]["spec"]["rules"][0]["when"][0]["values"] = json!("one");
        assert!(!validate(&broken).0);
    }

    // The schemas let through what they do not know, so one is compared as a whole.
    let one = document(&stage, request("tenants/umbrella", AuthorizerFormat::Istio, routes)).await;
    let when = |scopes: &[&str]| {
        let mut when = vec![
            json!({ "key": "request.auth.claims[client_id]", "values": [own.app_client_id] }),
            json!({ "key": "request.auth.claims[token_use]", "values": ["access"] }),
        ];
        when.extend(scopes.iter().map(|scope| json!({ "key": "request.auth.claims[scope]", "values": [scope] })));
        when
    };
    let from = json!([{ "source": { "requestPrincipals": [format!("{}/*", own.issuer)] } }]);
    let orders = ["/orders", "/orders/*"];
    let metadata = json!({ "name": "keyward-umbrella" });
    let expected = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": metadata,
            "spec": { "jwtRules": [{
                "issuer": own.issuer,
                "jwksUri": format!("{}/.well-known/jwks.json", own.issuer),
                "fromHeaders": [{ "name": "Authorization", "prefix": "Bearer " }],
                "forwardOriginalToken": true,
            }] },
        },
        {
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata,
            "spec": { "action": "ALLOW", "rules": [
                {
                    "from": from,
                    "to": [{ "operation": { "paths": ["/*"], "notPaths": orders } }],
                    "when": when(&["orders/read"]),
                },
                { "from": from, "to": [{ "operation": { "paths": orders } }], "when": when(&SCOPES) },
            ] },
        },
    ] });
    assert_eq!(one, expected);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn whatever_a_program_is_told_it_is_told_as_text() {
    let stage = Stage::set().await;
    // What a scope may hold and what many a format would read as something else.
    let odd = "https://api.example.com/'a',{b}:[c]#&*!|>%@`/0123e45";
    let (identifier, scope_name) = odd.rsplit_once('/').expect("a scope");
    let server = proto::ResourceServer {
        identifier: identifier.to_owned(),
        display_name: "Odd".to_owned(),
        scopes: vec![proto::ResourceServerScope { scope_name: scope_name.to_owned(), description: "odd".to_owned() }],
        ..Default::default()
    };
    let put = proto::PutResourceServerRequest { resource_server: Some(server), ..Default::default() };
    stage.daemon.catalog().put_resource_server(put).await.expect("kept");
    for format in FORMATS {
        let route = if format == AuthorizerFormat::ApiGateway { "GET /" } else { "/" };
        let document = document(&stage, request("tenants/acme", format, &[(route, &[odd])])).await;
        let mut found = 0;
        walk(&document, &mut |text| found += usize::from(text == odd));
        assert_eq!(found, 1, "{format:?}");
    }
    stage.daemon.stop().await;
}

fn walk(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| walk(item, look)),
        Value::Object(members) => members.values().for_each(|member| walk(member, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
