//! Bad input names its field and changes nothing.

mod bytes;
mod clients;
mod reads;
mod tenants;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;
use tonic::{Code, Status};

use crate::harness::{Daemon, Mutation, State, details};
use crate::requests::world;

/// A call that is at fault, and the field that it is at fault for.
pub struct Case {
    what: String,
    field: String,
    call: BoxFuture<'static, Result<(), Status>>,
}

impl Case {
    pub fn new(
        what: impl std::fmt::Debug,
        field: &str,
        call: impl Future<Output = Result<(), Status>> + Send + 'static,
    ) -> Self {
        let what: String = format!("{what:?}").chars().take(300).collect();
        Case { what, field: field.to_owned(), call: call.boxed() }
    }

    pub fn of(daemon: &Daemon, mutation: Mutation, field: &str) -> Self {
        let (channel, what) = (daemon.channel.clone(), format!("{mutation:?}"));
        Case::new(what, field, async move { mutation.send(&channel).await.map(drop) })
    }
}

/// Each is INVALID_ARGUMENT for its field, and nothing was changed by all of them.
pub async fn assert_all_refused(daemon: &Daemon, cases: Vec<Case>) {
    let before = State::of(&daemon.channel).await;
    for Case { what, field, call } in cases {
        let Err(status) = call.await else { panic!("{field} passes: {what}") };
        let told = details(&status);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{field}: {what}");
        // An entry of a list or a map is named by its index or key.
        let names =
            |named: &String| named.strip_prefix(&field).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
        assert!(told.fields.len() == 1 && told.fields.iter().all(names), "{field}, but {:?}: {what}", told.fields);
    }
    assert_eq!(State::of(&daemon.channel).await, before);
}

/// What is no id of a tenant or client.
pub fn bad_ids() -> Vec<String> {
    let bad = [
        "",
        "a",
        "ab",
        "Acme",
        "ACME",
        "1acme",
        "-acme",
        "acme-",
        "ac_me",
        "ac.me",
        "ac me",
        " acme",
        "acme ",
        "ac/me",
        "/",
        "äcme",
        "acmé",
        "ac\nme",
        "acme\n",
        "ac\u{0}me",
        "acme\u{7f}",
        "аcme",
        "ac%2Fme",
        "-",
        "*",
        "..",
    ];
    let mut bad: Vec<_> = bad.map(str::to_owned).into();
    bad.push("a".repeat(64));
    bad.push("a".repeat(10_000));
    bad
}

/// What is no name of a tenant.
pub fn bad_tenant_names() -> Vec<String> {
    let mut bad: Vec<_> = bad_ids().into_iter().map(|id| format!("tenants/{id}")).collect();
    bad.extend(
        ["", "acme", "/tenants/acme", "tenants/acme/", "Tenants/acme", "tenants", "tenants//acme"].map(str::to_owned),
    );
    bad.push("tenants/acme/clients/orders".to_owned());
    bad
}

/// What is no name of a client.
pub fn bad_client_names() -> Vec<String> {
    let mut bad: Vec<_> = bad_ids().into_iter().map(|id| format!("tenants/acme/clients/{id}")).collect();
    bad.extend(bad_ids().into_iter().map(|id| format!("tenants/{id}/clients/orders")));
    bad.extend(
        ["", "orders", "tenants/acme", "tenants/acme/clients", "tenants/acme/clients/orders/"].map(str::to_owned),
    );
    bad.push("tenants/acme/clients/orders/rotations/r1".to_owned());
    bad
}

/// What is no `google.protobuf.Duration` of this contract: negative, of two signs, with too many nanoseconds, too long.
pub fn bad_durations() -> Vec<prost_types::Duration> {
    let (most, least) = (i64::MAX, i64::MIN);
    let bad = [
        (-1, 0),
        (0, -1),
        (-1, -1),
        (1, -1),
        (600, -1),
        (-1, 1),
        (0, 1_000_000_000),
        (600, i32::MAX),
        (600, i32::MIN),
        (315_576_000_001, 0),
        (most, 0),
        (most, 999_999_999),
        (least, 0),
        (least, i32::MIN),
    ];
    bad.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos }).into()
}

/// What is no `google.protobuf.Timestamp`: before the year 1, after 9999, with nanoseconds that are none.
pub fn bad_timestamps() -> Vec<prost_types::Timestamp> {
    let bad = [
        (-62_135_596_801, 0),
        (253_402_300_800, 0),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (0, -1),
        (0, 1_000_000_000),
        (0, i32::MAX),
        (0, i32::MIN),
    ];
    bad.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }).into()
}

/// What is no text for people of at most this many characters.
pub fn bad_words(most: usize) -> Vec<String> {
    vec![
        "x".repeat(most + 1),
        "ä".repeat(most + 1),
        "a\nb".to_owned(),
        "a\u{0}".to_owned(),
        "\u{7f}".to_owned(),
        "\u{85}".to_owned(),
    ]
}

/// The longest text of this many characters, of more bytes than that.
pub fn longest_words(most: usize) -> String {
    "ä".repeat(most)
}

/// Labels of which one breaks a rule.
pub fn bad_labels() -> Vec<std::collections::HashMap<String, String>> {
    let one = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into_iter().collect();
    vec![
        (0..33).map(|n| (format!("key-{n}"), String::new())).collect(),
        one("", "x"),
        one(&"k".repeat(64), "x"),
        one("Key", "x"),
        one("k y", "x"),
        one("schlüssel", "x"),
        one("key", &"v".repeat(256)),
        one("key", "a\nb"),
    ]
}

pub async fn daemon() -> Daemon {
    let (daemon, _clock) = Daemon::start_at_rest().await;
    world(&daemon).await;
    daemon
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_by_every_mutation() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    for name in bad_tenant_names() {
        let tenant = proto::Tenant { name: name.clone(), display_name: "x".to_owned(), ..Default::default() };
        let update = proto::UpdateTenantRequest { tenant: Some(tenant), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::UpdateTenant(update), "tenant.name"));
        let delete = proto::DeleteTenantRequest { name: name.clone(), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::DeleteTenant(delete), "name"));
        let suspend = proto::SuspendTenantRequest { name: name.clone(), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::SuspendTenant(suspend), "name"));
        let resume = proto::ResumeTenantRequest { name: name.clone(), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::ResumeTenant(resume), "name"));
        let create = proto::CreateClientRequest { parent: name.clone(), ..crate::harness::new_client("", "fresh") };
        cases.push(Case::of(&daemon, Mutation::CreateClient(create), "parent"));
        let revoke = proto::RevokeTokensRequest { target: Some(Target::Tenant(name)), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::RevokeTokens(revoke), "tenant"));
    }
    for name in bad_client_names() {
        let client = proto::Client { name: name.clone(), display_name: "x".to_owned(), ..Default::default() };
        let update = proto::UpdateClientRequest { client: Some(client), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::UpdateClient(update), "client.name"));
        let delete = proto::DeleteClientRequest { name: name.clone(), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::DeleteClient(delete), "name"));
        let rotate = proto::RotateClientSecretRequest { name: name.clone(), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::RotateClientSecret(rotate), "name"));
        let revoke = proto::RevokeTokensRequest { target: Some(Target::Client(name.clone())), ..Default::default() };
        cases.push(Case::of(&daemon, Mutation::RevokeTokens(revoke), "client"));
        let reveal = proto::RevealClientSecretRequest { name, reason: "because".to_owned() };
        let mut clients = daemon.clients();
        let call = async move { clients.reveal_client_secret(reveal).await.map(drop) };
        cases.push(Case::new("RevealClientSecret", "name", call));
    }
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_request_id_that_is_none_is_refused_by_every_mutation() {
    let daemon = daemon().await;
    let mut cases = Vec::new();
    for (mutation, _) in crate::requests::mutations() {
        for id in ["a b", " ", "ä", "a/b", "a\n", "{}", &"x".repeat(65), &"x".repeat(10_000)] {
            cases.push(Case::of(&daemon, mutation.clone().with_request_id(id), "request_id"));
        }
    }
    assert_all_refused(&daemon, cases).await;
    daemon.stop().await;
}
