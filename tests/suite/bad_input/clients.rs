//! What `CreateClient`, `UpdateClient`, `RotateClientSecret`, `RevokeTokens` and `PutResourceServer` do not take.

use std::time::Duration;

use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;

use super::{
    Case, assert_all_refused, bad_durations, bad_ids, bad_labels, bad_timestamps, bad_words, daemon, longest_words,
};
use crate::harness::{Daemon, Mutation, assert_invalid, mask, new_client, new_resource_server, span};

/// Makes a client's settings bad, or as large as they may be.
type Edit = Box<dyn Fn(&mut proto::Client)>;

const CLIENT: &str = "tenants/acme/clients/orders";

fn create(edit: impl FnOnce(&mut proto::Client)) -> Mutation {
    let mut request = new_client("acme", "fresh");
    edit(request.client.as_mut().expect("set"));
    Mutation::CreateClient(request)
}

fn update(paths: &[&str], edit: impl FnOnce(&mut proto::Client)) -> Mutation {
    let mut client = proto::Client { name: CLIENT.to_owned(), ..Default::default() };
    edit(&mut client);
    let update_mask = mask(paths);
    Mutation::UpdateClient(proto::UpdateClientRequest { client: Some(client), update_mask, ..Default::default() })
}

fn put(edit: impl FnOnce(&mut proto::ResourceServer)) -> Mutation {
    let mut request = new_resource_server("billing", &["read"]);
    edit(request.resource_server.as_mut().expect("set"));
    Mutation::PutResourceServer(request)
}

fn revoke(target: Option<Target>, issued_before: Option<prost_types::Timestamp>) -> Mutation {
    Mutation::RevokeTokens(proto::RevokeTokensRequest { target, issued_before, ..Default::default() })
}

async fn assert_refused(daemon: &Daemon, cases: Vec<(Mutation, &str)>) {
    let cases = cases.into_iter().map(|(mutation, field)| Case::of(daemon, mutation, field)).collect();
    assert_all_refused(daemon, cases).await;
}

fn bad_readers() -> Vec<Vec<String>> {
    let role = |n: usize| format!("arn:aws:iam::123456789012:role/r{n}");
    let one = |text: &str| vec![role(0), text.to_owned()];
    vec![
        (0..21).map(role).collect(),
        one(""),
        one("role/orders"),
        one("arn:aws:s3:::bucket"),
        one("arn:aws:iam::123456789012:"),
        one("arn:aws:iam::123456789012:role/ö"),
        one("arn:aws:iam::123456789012:role/a b"),
    ]
}

#[tokio::test]
async fn settings_of_a_client_that_break_a_rule_are_refused_in_both_calls() {
    let daemon = daemon().await;
    let mut edits: Vec<(Edit, &str, &str)> = Vec::new();
    for words in bad_words(128) {
        let edit = move |client: &mut proto::Client| client.display_name = words.clone();
        edits.push((Box::new(edit), "display_name", "client.display_name"));
    }
    for labels in bad_labels() {
        let edit = move |client: &mut proto::Client| client.labels = labels.clone().into_iter().collect();
        edits.push((Box::new(edit), "labels", "client.labels"));
    }
    for readers in bad_readers() {
        let edit = move |client: &mut proto::Client| client.secret_readers = readers.clone();
        edits.push((Box::new(edit), "secret_readers", "client.secret_readers"));
    }
    let long = format!("orders/{}", "s".repeat(257));
    let bad_scopes =
        ["", "orders", "orders/", "/read", "orders/re ad", "orders/r\"d", "orders/r\\d", "orders/ä", "o\u{0}/a", &long];
    for scope in bad_scopes {
        let scope = scope.to_owned();
        let edit = move |client: &mut proto::Client| client.scopes = vec!["orders/read".to_owned(), scope.clone()];
        edits.push((Box::new(edit), "scopes", "client.scopes"));
    }
    let edit = |client: &mut proto::Client| client.scopes = (0..51).map(|n| format!("orders/s{n}")).collect();
    edits.push((Box::new(edit), "scopes", "client.scopes"));
    let edit = |client: &mut proto::Client| client.scopes = Vec::new();
    edits.push((Box::new(edit), "scopes", "client.scopes"));
    let out_of_range = [0, 299, 86_401].map(|seconds| prost_types::Duration { seconds, nanos: 0 });
    let half = prost_types::Duration { seconds: 600, nanos: 500_000_000 };
    for validity in bad_durations().into_iter().chain(out_of_range).chain([half]) {
        let edit = move |client: &mut proto::Client| client.access_token_validity = Some(validity);
        edits.push((Box::new(edit), "access_token_validity", "client.access_token_validity"));
    }
    let out_of_range = [0, 3_599, 3_650 * 86_400 + 1].map(|seconds| prost_types::Duration { seconds, nanos: 0 });
    for period in bad_durations().into_iter().chain(out_of_range) {
        let policy = proto::RotationPolicy { period: Some(period), ..Default::default() };
        let edit = move |client: &mut proto::Client| client.rotation_policy = Some(policy);
        edits.push((Box::new(edit), "rotation_policy", "client.rotation_policy.period"));
    }
    let more_than_half = prost_types::Duration { seconds: 3_601, nanos: 0 };
    for overlap in bad_durations().into_iter().chain([more_than_half]) {
        let period = span(Duration::from_secs(7_200));
        let policy = proto::RotationPolicy { period, overlap: Some(overlap), disabled: true };
        let edit = move |client: &mut proto::Client| client.rotation_policy = Some(policy);
        edits.push((Box::new(edit), "rotation_policy", "client.rotation_policy.overlap"));
    }
    let mut cases = Vec::new();
    for (edit, path, field) in edits {
        cases.push((create(&edit), field));
        cases.push((update(&[path], &edit), field));
    }
    assert_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn ids_kinds_and_masks_that_are_none_are_refused() {
    let daemon = daemon().await;
    let mut cases = vec![
        (Mutation::UpdateClient(Default::default()), "client"),
        (Mutation::CreateClient(proto::CreateClientRequest { client: None, ..new_client("acme", "fresh") }), "client"),
        (create(|client| client.kind = proto::ClientKind::Interactive.into()), "client.interactive"),
        (update(&["*", "labels"], |_| {}), "update_mask"),
    ];
    for client_id in bad_ids() {
        let request = proto::CreateClientRequest { client_id, ..new_client("acme", "") };
        cases.push((Mutation::CreateClient(request), "client_id"));
    }
    for kind in [3, -1, i32::MAX] {
        cases.push((create(|client| client.kind = kind), "client.kind"));
    }
    let fixed = ["name", "uid", "kind", "state", "app_client_id", "pool", "issuer", "token_endpoint", "secret_name"];
    let also_fixed = ["rotate_time", "next_rotate_time", "create_time", "update_time", "etag", "state_reason"];
    let unknown =
        ["", "colour", "Scopes", "rotation_policy.colour", "accessTokenValidity", "labels.a", "client.scopes"];
    for path in fixed.into_iter().chain(also_fixed).chain(unknown) {
        cases.push((update(&[path], |_| {}), "update_mask"));
        cases.push((update(&["display_name", path], |_| {}), "update_mask"));
    }
    assert_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_rotation_or_revocation_that_breaks_a_rule_is_not_begun() {
    let daemon = daemon().await;
    let rotate = |edit: &dyn Fn(&mut proto::RotateClientSecretRequest)| {
        let mut request = proto::RotateClientSecretRequest { name: CLIENT.to_owned(), ..Default::default() };
        edit(&mut request);
        Mutation::RotateClientSecret(request)
    };
    let mut cases = Vec::new();
    let more_than_half = prost_types::Duration { seconds: 45 * 86_400 + 1, nanos: 0 };
    for overlap in bad_durations().into_iter().chain([more_than_half]) {
        cases.push((rotate(&|request| request.overlap = Some(overlap)), "overlap"));
    }
    let both = |request: &mut proto::RotateClientSecretRequest| {
        request.immediate = true;
        request.overlap = span(Duration::ZERO);
    };
    cases.push((rotate(&both), "overlap"));
    for reason in bad_words(512) {
        cases.push((rotate(&|request| request.reason.clone_from(&reason)), "reason"));
        let target = Some(Target::TokenId("id".to_owned()));
        let request = proto::RevokeTokensRequest { target, reason, ..Default::default() };
        cases.push((Mutation::RevokeTokens(request), "reason"));
    }
    cases.push((revoke(None, None), "target"));
    for id in ["", "a b", "a\nb", "ä", &"x".repeat(129)] {
        cases.push((revoke(Some(Target::TokenId(id.to_owned())), None), "token_id"));
    }
    for token in [String::new(), "x".repeat(16_385), "x".repeat(10 << 20)] {
        cases.push((revoke(Some(Target::Token(token)), None), "token"));
    }
    let now = daemon.clock.now().as_second();
    let future = prost_types::Timestamp { seconds: now, nanos: 1 };
    for time in bad_timestamps().into_iter().chain([future]) {
        cases.push((revoke(Some(Target::Client(CLIENT.to_owned())), Some(time)), "issued_before"));
        cases.push((revoke(Some(Target::Tenant("tenants/acme".to_owned())), Some(time)), "issued_before"));
    }
    let past = prost_types::Timestamp { seconds: now - 1, nanos: 0 };
    cases.push((revoke(Some(Target::TokenId("id".to_owned())), Some(past)), "issued_before"));
    cases.push((revoke(Some(Target::Token("a.b.c".to_owned())), Some(past)), "issued_before"));
    assert_refused(&daemon, cases).await;

    let token = daemon.token(CLIENT).await.access_token;
    let cut = token.len() - 8;
    let twice = format!("{token}.{token}");
    let not_ours = ["x", "..", "a.b.c", "e30.e30.e30", &token[..cut], &token[1..], &twice, &format!("Bearer {token}")];
    let before = crate::harness::State::of(&daemon.channel).await;
    for text in not_ours {
        let answer = revoke(Some(Target::Token(text.to_owned())), None).send(&daemon.channel).await;
        assert_invalid(answer, "TOKEN_INVALID", "token");
    }
    assert_eq!(crate::harness::State::of(&daemon.channel).await, before);
    daemon.stop().await;
}

#[tokio::test]
async fn a_resource_server_that_breaks_a_rule_is_not_put() {
    let daemon = daemon().await;
    let mut cases = vec![(Mutation::PutResourceServer(Default::default()), "resource_server")];
    for identifier in ["", "a b", "a\"b", "a\\b", "ä", "a\n", "a\u{7f}", &"x".repeat(257)] {
        let field = "resource_server.identifier";
        cases.push((put(|server| server.identifier = identifier.to_owned()), field));
    }
    for name in ["a/b", "a:b", "<b>", "a\nb", &"x".repeat(257)] {
        cases.push((put(|server| server.display_name = name.to_owned()), "resource_server.display_name"));
    }
    let scope = |name: &str, description: &str| proto::ResourceServerScope {
        scope_name: name.to_owned(),
        description: description.to_owned(),
    };
    for name in ["", "a b", "a/b", "a\"b", "a\\b", "ä", "a\n", &"x".repeat(257)] {
        let field = "resource_server.scopes[1].scope_name";
        cases.push((put(|server| server.scopes.push(scope(name, ""))), field));
    }
    cases.push((put(|server| server.scopes.push(scope("read", ""))), "resource_server.scopes[1].scope_name"));
    for description in bad_words(256) {
        let field = "resource_server.scopes[1].description";
        cases.push((put(|server| server.scopes.push(scope("write", &description))), field));
    }
    cases.push((put(|server| server.scopes.clear()), "resource_server.scopes"));
    for name in ["", "orders", "resourceServers", "resourceServers/", "resourceServers/a/b", "resourceServers/a b"] {
        let request = proto::DeleteResourceServerRequest { name: name.to_owned(), ..Default::default() };
        cases.push((Mutation::DeleteResourceServer(request), "name"));
    }
    assert_refused(&daemon, cases).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_just_within_the_limits_passes() {
    let daemon = daemon().await;
    let scopes: Vec<_> = (0..50).map(|n| format!("s{n}{}", "x".repeat(250))).collect();
    let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
    let identifier = "i".repeat(256);
    let mut wide = new_resource_server(&identifier, &scopes);
    wide.resource_server.as_mut().expect("set").scopes[0].description = longest_words(256);
    Mutation::PutResourceServer(wide).send(&daemon.channel).await.expect("put");
    let seconds = |seconds| span(Duration::from_secs(seconds));
    let policy =
        |period, overlap| proto::RotationPolicy { period: seconds(period), overlap: seconds(overlap), disabled: false };
    let role = |n: usize| format!("arn:aws:iam::123456789012:role/r{n}");
    let good = [
        create(|client| client.display_name = longest_words(128)),
        create(|client| client.scopes = scopes.iter().map(|scope| format!("{identifier}/{scope}")).collect()),
        create(|client| client.access_token_validity = seconds(300)),
        create(|client| client.access_token_validity = seconds(86_400)),
        create(|client| client.rotation_policy = Some(policy(3_600, 1_800))),
        create(|client| client.rotation_policy = Some(policy(3_650 * 86_400, 0))),
        create(|client| client.secret_readers = (0..20).map(role).collect()),
        update(&["labels"], |client| client.labels = (0..32).map(|n| (format!("k{n}"), longest_words(255))).collect()),
    ];
    for mutation in good {
        let what: String = format!("{mutation:?}").chars().take(300).collect();
        mutation.dry_run().expect("it has one").send(&daemon.channel).await.expect(&what);
    }
    daemon.stop().await;
}
