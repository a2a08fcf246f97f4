//! One tenant's caller against everything of another: every method of the contract, denied, in the same bytes whether or
//! not what it names exists.

use std::collections::{BTreeMap, BTreeSet};

use keyward::proto::AuditOutcome;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage as _, Value};
use tonic::{Code, Status};

use crate::harness::acting::of_tenant;
use crate::harness::{Daemon, State, ask_with_bytes, details, events, methods};

/// What a request names its resource by.
enum Names {
    /// These fields, by path, are the tenant's name, such as `tenants/globex`.
    Tenant(&'static [&'static str]),
    /// This field is the tenant's bare id.
    TenantId(&'static str),
    /// This field is the client's name.
    Client(&'static str),
    /// This field is the name of one of the client's rotations.
    Rotation(&'static str),
    /// `parent` is the tenant's name and `client_id` the client's bare id.
    Parent,
    /// One of these fields, a tenant's or a client's name.
    Either { tenant: &'static str, client: &'static str },
    /// Nothing: it is about what belongs to no tenant, or to all of them.
    Nothing,
}

/// A method that is not here fails the test: whoever adds one says what it is about.
fn names(method: &str) -> Names {
    match method {
        "GetToken" | "WatchToken" => Names::Client("name"),
        "GetClient" | "DeleteClient" | "RotateClientSecret" | "ReplaceClient" | "RevealClientSecret" => {
            Names::Client("name")
        }
        "UpdateClient" => Names::Client("client.name"),
        "ListRotations" => Names::Client("parent"),
        "GetRotation" => Names::Rotation("name"),
        "CreateClient" | "ImportClient" => Names::Parent,
        "RevokeTokens" => Names::Either { tenant: "tenant", client: "client" },
        "GetTenant" | "DeleteTenant" | "SuspendTenant" | "ResumeTenant" | "MoveTenant" | "ReconcileTenant"
        | "ExportAuthorizer" => Names::Tenant(&["name"]),
        "UpdateTenant" => Names::Tenant(&["tenant.name"]),
        "CreateTenant" => Names::TenantId("tenant_id"),
        "ListClients" | "RotateClientSecrets" => Names::Tenant(&["parent"]),
        "VerifyToken" => Names::Tenant(&["tenant"]),
        "VerifyTokens" => Names::Tenant(&["request.tenant"]),
        "ListTenants"
        | "MatchTenant"
        | "WatchTrust"
        | "PutResourceServer"
        | "ListResourceServers"
        | "DeleteResourceServer"
        | "ListPools"
        | "ListAuditEvents"
        | "TailAuditEvents" => Names::Nothing,
        other => panic!("{other} is new: say here what its request names, and in the policies who may call it"),
    }
}

/// Requests to one method, about what is there, what is not there, and what nobody could have named so.
fn requests(method: &MethodDescriptor) -> Vec<DynamicMessage> {
    let filled = |fields: &[(&str, String)]| {
        let mut message = DynamicMessage::new(method.input());
        for (path, text) in fields {
            set(&mut message, path, text);
        }
        message
    };
    let tenants = ["tenants/globex", "tenants/nobody", "tenants/-", "tenants/Globex", "globex", ""];
    let clients = ["orders", "billing", "-", ""];
    let of_each = |below: &str| {
        tenants
            .iter()
            .flat_map(|tenant| clients.map(|client| format!("{tenant}/clients/{client}{below}")))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<DynamicMessage> = match names(method.name()) {
        Names::Tenant(paths) => tenants
            .iter()
            .map(|name| filled(&paths.iter().map(|path| (*path, (*name).to_owned())).collect::<Vec<_>>()))
            .collect(),
        Names::TenantId(path) => {
            ["globex", "nobody", "-", "Globex", ""].iter().map(|id| filled(&[(path, (*id).to_owned())])).collect()
        }
        Names::Client(path) => of_each("").into_iter().map(|name| filled(&[(path, name)])).collect(),
        Names::Rotation(path) => {
            of_each("/rotations/r20260101").into_iter().map(|name| filled(&[(path, name)])).collect()
        }
        Names::Parent => tenants
            .iter()
            .flat_map(|tenant| {
                clients.map(|client| filled(&[("parent", (*tenant).to_owned()), ("client_id", client.to_owned())]))
            })
            .collect(),
        Names::Either { tenant, client } => {
            let by_tenant = tenants.iter().map(|name| filled(&[(tenant, (*name).to_owned())]));
            by_tenant.chain(of_each("").into_iter().map(|name| filled(&[(client, name)]))).collect()
        }
        Names::Nothing => vec![filled(&[])],
    };
    // Whatever else is wrong with a request is not looked at either.
    let wrong = all
        .first()
        .cloned()
        .into_iter()
        .filter(|message| message.descriptor().get_field_by_name("request_id").is_some());
    let wrong: Vec<_> = wrong
        .map(|mut message| {
            set(&mut message, "request_id", "not an id!");
            message
        })
        .collect();
    all.extend(wrong);
    all
}

/// Sets a field of text, through the messages that it is in.
fn set(message: &mut DynamicMessage, path: &str, text: &str) {
    match path.split_once('.') {
        None => message.set_field_by_name(path, Value::String(text.to_owned())),
        Some((outer, rest)) => {
            let field = message.descriptor().get_field_by_name(outer).unwrap_or_else(|| panic!("no field {outer}"));
            let Some(Value::Message(inner)) = Some(message.get_field_mut(&field)) else {
                panic!("{outer} is no message")
            };
            set(inner, rest, text);
        }
    }
}

/// Everything that a caller is told, but for the time.
fn told(status: &Status) -> (Code, String, Vec<u8>, BTreeMap<String, String>) {
    let metadata = status.metadata().clone().into_headers();
    let metadata = metadata.iter().filter(|(name, _)| *name != "date");
    let metadata = metadata.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    (status.code(), status.message().to_owned(), status.details().to_vec(), metadata)
}

#[tokio::test]
async fn a_tenants_caller_gets_the_same_denial_for_whatever_is_not_its_own() {
    let (daemon, _clock) = Daemon::start_at_rest_with(|config| config.audit.denials_per_minute = 10_000).await;
    daemon.put_orders_api().await;
    for tenant in ["acme", "globex"] {
        daemon.create_tenant(tenant).await;
        daemon.create_client(tenant, "orders").await;
    }
    let before = State::of(&daemon.channel).await;

    let caller = of_tenant("acme", None);
    let principal = caller.principal.to_string();
    let daemon = daemon.restart_as(caller).await;
    // It is a caller that may do something.
    daemon.token("tenants/acme/clients/orders").await;
    let mut denied = 0;
    for method in methods() {
        let mut answers = BTreeSet::new();
        for request in requests(&method) {
            let bytes = request.encode_to_vec();
            let answer = ask_with_bytes(&daemon.channel, &method, "the-same-call", bytes).await;
            let status = answer.err().unwrap_or_else(|| panic!("{} answers {request:?}", method.name()));
            let seen = details(&status);
            assert_eq!((seen.code, seen.reason.as_str()), (Code::PermissionDenied, "PERMISSION_DENIED"), "{request:?}");
            answers.insert(format!("{:?}", told(&status)));
            denied += 1;
        }
        assert_eq!(answers.len(), 1, "{} is told apart: {answers:#?}", method.name());
    }
    assert!(denied > 250, "only {denied} calls were made");

    // Nothing was changed, and every denial is on record with what it was about.
    let daemon = daemon.restart().await;
    let after = State::of(&daemon.channel).await;
    let events: Vec<_> =
        events(&daemon.channel).await.into_iter().filter(|event| event.sequence > before.last_event).collect();
    assert_eq!(State { last_event: before.last_event, ..after }, before);
    let denials: Vec<_> = events.iter().filter(|event| event.outcome() == AuditOutcome::Denied).collect();
    assert_eq!(denials.len(), denied);
    let of_its_own = |event: &&&keyward::proto::AuditEvent| {
        event.principal == principal && event.reason == "PERMISSION_DENIED" && event.call_id == "the-same-call"
    };
    assert_eq!(denials.iter().filter(of_its_own).count(), denied);
    let about = |method: &str, resource: &str| {
        denials.iter().any(|event| event.method.ends_with(method) && event.resource == resource)
    };
    assert!(about("TokenService/GetToken", "tenants/globex/clients/orders"));
    assert!(about("TokenService/GetToken", "tenants/nobody/clients/billing"));
    daemon.stop().await;
}
