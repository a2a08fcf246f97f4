//! Who is let through, as whom, and why others are not.

use keyward::proto;
use tonic::Code;

use super::{Told, check, denied, question};
use crate::harness::forge::{Fields, PERSON, TEST_KEY, claims, id_claims, persons_access_claims, with};
use crate::harness::ports::Stage;
use crate::harness::{create_interactive, details, start_time};

/// A route's rule that any good token keeps.
const ANY: (&str, &str) = ("keyward.scopes", "");
const INVALID: (&str, &str) = ("www-authenticate", "Bearer error=\"invalid_token\"");

/// A stage on which every issuer also publishes the test's own key.
async fn court() -> Stage {
    let stage = Stage::set().await;
    stage.keys.publish(TEST_KEY.public());
    stage
}

fn sign(claims: &Fields) -> String {
    TEST_KEY.sign(&TEST_KEY.header(), claims)
}

async fn ask(stage: &Stage, extensions: &[(&str, &str)], headers: &[(&str, &str)]) -> Told {
    let answer = check(&stage.daemon.channel, question(extensions, headers)).await.expect("an answer");
    Told::of(&answer)
}

/// With this token. Nothing of it may be in the answer.
async fn show(stage: &Stage, extensions: &[(&str, &str)], token: &str) -> Told {
    let told = ask(stage, extensions, &[("authorization", &format!("Bearer {token}"))]).await;
    let text = format!("{told:?}");
    let pieces = token.as_bytes().chunks(12).filter(|piece| piece.len() == 12);
    for piece in pieces {
        let piece = std::str::from_utf8(piece).expect("ASCII");
        assert!(!text.contains(piece), "{piece} of the token is in {text}");
    }
    told
}

fn let_through(scopes: &str) -> Told {
    let set = [("x-keyward-tenant", "tenants/acme"), ("x-keyward-client", "tenants/acme/clients/checkout")];
    let scopes = (!scopes.is_empty()).then_some(("x-keyward-scopes", scopes));
    let remove = if scopes.is_none() { vec!["x-keyward-scopes".to_owned()] } else { Vec::new() };
    let set = set.into_iter().chain(scopes).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Told::GoOn { set, remove }
}

#[tokio::test]
async fn whoever_has_what_the_route_asks_for_goes_on_by_name() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let all = || let_through("orders/read orders/write");
    for scopes in ["", "orders/read", "orders/write orders/read", " orders/read\n"] {
        assert_eq!(show(&stage, &[("keyward.scopes", scopes)], &token).await, all(), "{scopes:?}");
    }
    assert_eq!(show(&stage, &[ANY, ("keyward.tenant", "tenants/acme"), ("others", "x")], &token).await, all());
    let narrow = sign(&with(&claims(&stage.client, start_time()), "scope", "orders/read"));
    assert_eq!(show(&stage, &[("keyward.scopes", "orders/read")], &narrow).await, let_through("orders/read"));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_lacks_a_scope_is_told_which_the_route_asks_for() {
    let stage = court().await;
    let narrow = sign(&with(&claims(&stage.client, start_time()), "scope", "orders/read"));
    let told = show(&stage, &[("keyward.scopes", "orders/write orders/read")], &narrow).await;
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"orders/read orders/write\"";
    assert_eq!(told, denied(403, &[("www-authenticate", challenge)], "INSUFFICIENT_SCOPE"));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_is_rejected_is_answered_with_the_reason_of_the_contract() {
    let stage = court().await;
    stage.daemon.create_tenant("initech").await;
    let good = claims(&stage.client, start_time());
    let now = start_time().as_second();
    for (token, reason) in [
        ("no.token.this".to_owned(), "MALFORMED"),
        (format!("{} x", sign(&good)), "MALFORMED"),
        ("x".repeat(16_385), "MALFORMED"),
        (TEST_KEY.sign(&with(&TEST_KEY.header(), "alg", "none"), &good), "UNSUPPORTED_ALGORITHM"),
        (TEST_KEY.sign(&with(&TEST_KEY.header(), "crit", "x"), &good), "UNSUPPORTED_HEADER"),
        (sign(&with(&good, "iss", "https://issuer.example.org/pool")), "UNKNOWN_ISSUER"),
        (TEST_KEY.sign(&with(&TEST_KEY.header(), "kid", "another"), &good), "UNKNOWN_KEY"),
        (format!("{}AAAA", sign(&good)), "BAD_SIGNATURE"),
        (sign(&id_claims(&stage.client, start_time())), "WRONG_TOKEN_USE"),
        (sign(&with(&good, "exp", now - 3_600)), "EXPIRED"),
        (sign(&with(&good, "nbf", now + 3_600)), "NOT_YET_VALID"),
        (sign(&with(&good, "iat", now + 3_600)), "ISSUED_IN_FUTURE"),
        (sign(&with(&good, "client_id", "nobody")), "UNKNOWN_CLIENT"),
    ] {
        assert_eq!(show(&stage, &[ANY], &token).await, denied(401, &[INVALID], reason), "{reason}");
    }
    let rule = [ANY, ("keyward.tenant", "tenants/initech")];
    assert_eq!(show(&stage, &rule, &sign(&good)).await, denied(401, &[INVALID], "WRONG_TENANT"));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_person_goes_on_by_name_where_the_route_says_so_and_nowhere_else() {
    let stage = court().await;
    let portal = create_interactive(&stage.daemon.channel, "acme", "portal").await;
    let access = persons_access_claims(&portal, start_time());
    let id = id_claims(&portal, start_time());
    let through = |scopes: &[(&str, &str)]| {
        let set = [
            ("x-keyward-tenant", "tenants/acme"),
            ("x-keyward-client", "tenants/acme/clients/portal"),
            ("x-keyward-subject", PERSON),
            ("x-keyward-username", "ada"),
            ("x-keyward-groups", "readers writers"),
        ];
        let set = set.iter().chain(scopes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let remove = if scopes.is_empty() { vec!["x-keyward-scopes".to_owned()] } else { Vec::new() };
        Told::GoOn { set: set.collect(), remove }
    };
    let (people, ids) = (("keyward.token_use", "access"), ("keyward.token_use", "id"));
    let told = show(&stage, &[("keyward.scopes", "orders/read"), people], &sign(&access)).await;
    assert_eq!(told, through(&[("x-keyward-scopes", "openid orders/read")]));
    assert_eq!(show(&stage, &[ANY, ids], &sign(&id)).await, through(&[]));
    for (rule, claims, reason) in [
        (&[ANY][..], &access, "WRONG_CLIENT_KIND"),
        (&[ANY], &id, "WRONG_TOKEN_USE"),
        (&[ANY, people], &id, "WRONG_TOKEN_USE"),
        (&[ANY, ids], &access, "WRONG_TOKEN_USE"),
    ] {
        assert_eq!(show(&stage, rule, &sign(claims)).await, denied(401, &[INVALID], reason), "{rule:?}");
    }

    // What no header can have is left out, and what came under its name with it.
    let odd =
        with(&with(&access, "username", "ad\u{e9}"), "cognito:groups", serde_json::json!(["two words", "readers"]));
    let headers = [("authorization", format!("Bearer {}", sign(&odd))), ("x-keyward-username", "eve".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let Told::GoOn { set, remove } = ask(&stage, &[ANY, people], &headers).await else { panic!("denied") };
    assert_eq!(
        (set.get("x-keyward-groups").map(String::as_str), remove.as_slice()),
        (Some("readers"), &["x-keyward-username".to_owned()][..])
    );
    stage.daemon.stop().await;
}

#[tokio::test]
async fn what_changes_is_felt_by_the_next_request() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let through = || let_through("orders/read orders/write");
    for _ in 0..3 {
        assert_eq!(show(&stage, &[ANY], &token).await, through());
    }
    let name = || "tenants/acme".to_owned();
    let suspend = proto::SuspendTenantRequest { name: name(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    assert_eq!(show(&stage, &[ANY], &token).await, denied(401, &[INVALID], "TENANT_SUSPENDED"));
    let resume = proto::ResumeTenantRequest { name: name(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(resume).await.expect("resumed");
    assert_eq!(show(&stage, &[ANY], &token).await, through());
    let target = Some(proto::revoke_tokens_request::Target::Token(token.clone()));
    let revoke = proto::RevokeTokensRequest { target, reason: "seen".to_owned(), ..Default::default() };
    stage.daemon.clients().revoke_tokens(revoke).await.expect("revoked");
    assert_eq!(show(&stage, &[ANY], &token).await, denied(401, &[INVALID], "REVOKED"));
    stage.at_second(7_200);
    assert_eq!(show(&stage, &[ANY], &token).await, denied(401, &[INVALID], "EXPIRED"));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn without_one_bearer_token_nobody_goes_on() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let bearer = format!("Bearer {token}");
    let none = || denied(401, &[("www-authenticate", "Bearer realm=\"keyward\"")], "CREDENTIALS_MISSING");
    assert_eq!(ask(&stage, &[ANY], &[]).await, none());
    for value in ["", "Bearer", "Basic b3JkZXJzOnNlY3JldA==", "Digest a=b, c=d", token.as_str()] {
        assert_eq!(ask(&stage, &[ANY], &[("authorization", value)]).await, none(), "{value}");
    }
    let two = || denied(400, &[("www-authenticate", "Bearer error=\"invalid_request\"")], "CREDENTIALS_AMBIGUOUS");
    for other in [bearer.as_str(), "Basic b3JkZXJzOnNlY3JldA=="] {
        let headers = [("authorization", bearer.as_str()), ("authorization", other)];
        assert_eq!(ask(&stage, &[ANY], &headers).await, two());
    }
    // As Envoy sends two without `encode_raw_headers`.
    let joined = format!("{bearer},{bearer}");
    assert_eq!(ask(&stage, &[ANY], &[("authorization", &joined)]).await, two());
    // What is not HTTP has no headers.
    let mut question = question(&[ANY], &[]);
    question.attributes.as_mut().expect("attributes").request = None;
    let answer = check(&stage.daemon.channel, question).await.expect("an answer");
    assert_eq!(Told::of(&answer), none());
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_route_whose_rule_cannot_be_read_lets_nobody_through() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let scopes = ("keyward.scopes", "orders/read");
    for rule in [
        &[][..],
        &[("keyward.scope", "orders/read")],
        &[("scopes", "orders/read")],
        &[scopes, ("keyward.tenants", "tenants/acme")],
        &[scopes, ("Keyward.tenant", "tenants/acme")],
        &[scopes, ("keyward-tenant", "tenants/acme")],
        &[scopes, ("keyward.tenant", "acme")],
        &[scopes, ("keyward.tenant", "")],
        &[("keyward.scopes", "read")],
        &[("keyward.scopes", "orders/re\"ad")],
    ] {
        let told = show(&stage, rule, &token).await;
        assert_eq!(told, denied(500, &[], "FIELD_INVALID"), "{rule:?}");
    }
    let answer = check(&stage.daemon.channel, Default::default()).await.expect("an answer");
    assert_eq!(Told::of(&answer), denied(500, &[], "FIELD_INVALID"));
    stage.daemon.stop().await;
}

#[tokio::test]
async fn when_nobody_can_tell_the_answer_is_a_denial_and_says_when_to_ask_again() {
    let stage = court().await;
    let token = sign(&claims(&stage.client, start_time()));
    stage.keys.fail(true);
    let told = show(&stage, &[ANY], &token).await;
    let Told::Deny { status, headers, body } = &told else { panic!("{told:?}") };
    assert_eq!((*status, body.as_str()), (503, "{\"reason\":\"KEYS_UNAVAILABLE\"}"));
    let seconds: u64 = headers["retry-after"].parse().expect("seconds");
    assert!((1..=60).contains(&seconds) && !headers.contains_key("www-authenticate"), "{headers:?}");
    stage.daemon.stop().await;
}

#[tokio::test]
async fn names_that_came_are_overwritten_or_taken_away() {
    let stage = court().await;
    let good = claims(&stage.client, start_time());
    let came = |token: &str| {
        let token = format!("Bearer {token}");
        let spoofed = ["x-keyward-tenant", "x-keyward-client", "x-keyward-scopes", "X-Keyward-Admin", "x-keyward-"];
        [("authorization".to_owned(), token)]
            .into_iter()
            .chain(spoofed.map(|name| (name.to_owned(), "evil".to_owned())))
    };
    for (scope, told) in [
        ("orders/read", Some("orders/read")),
        // Cognito's own have no slash; what no header can have is left out.
        ("b\u{e9} a\r\nx-admin:1 openid c\"", Some("openid")),
        ("\r\n", None),
        ("", None),
    ] {
        let headers: Vec<_> = came(&sign(&with(&good, "scope", scope))).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let Told::GoOn { set, mut remove } = ask(&stage, &[ANY], &headers).await else { panic!("{scope:?}") };
        assert_eq!(set.get("x-keyward-scopes").map(String::as_str), told, "{scope:?}");
        assert_eq!((set["x-keyward-tenant"].as_str(), set.len()), ("tenants/acme", 2 + usize::from(told.is_some())));
        remove.sort();
        let scopes = told.is_none().then_some("x-keyward-scopes");
        let expected: Vec<_> = ["x-keyward-", "x-keyward-admin"].into_iter().chain(scopes).collect();
        assert_eq!(remove, expected, "what is set must not be removed: Envoy removes last");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_an_error_and_no_answer() {
    let stage = court().await;
    let long = "x".repeat(300 * 1024);
    let status =
        check(&stage.daemon.channel, question(&[ANY], &[("authorization", &long)])).await.expect_err("too long");
    assert_eq!((status.code(), details(&status).reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    stage.daemon.stop().await;
}
