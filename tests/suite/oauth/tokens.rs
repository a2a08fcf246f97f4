//! The client-credentials grant: whose it is, what it answers, and each way to be refused.

use std::time::Duration;

use keyward::broker::ports::Fault;
use keyward::proto::{self, AuditOutcome};
use serde_json::json;

use super::{CHECKOUT, Site, basic, reveal};
use crate::harness::audit_lines::{audit_lines, handed_out};
use crate::harness::rotations::{eventually, rotate, rotate_at_once};
use crate::harness::{SCOPES, events, folder};

const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn a_client_gets_its_token_by_basic_and_by_post_and_it_is_the_one_that_is_held() {
    let site = Site::set().await;
    let by_basic = site.ask("").await;
    let body = format!("{GRANT}&client_id={}&client_secret={}", site.id, site.secret);
    let by_post = site.post("/oauth2/token", None, &body).await;
    // A client that says who it is again, as some libraries do.
    let both = site.ask(&format!("&client_id={}", site.id)).await;
    let held = site.daemon().token(CHECKOUT).await;
    for answer in [&by_basic, &by_post, &both] {
        assert_eq!(answer.token(), held.access_token);
        assert_eq!(answer.json["token_type"], "Bearer");
        assert_eq!(answer.json["expires_in"], 3_600);
        assert_eq!(answer.json["scope"], SCOPES.join(" "));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
        assert_eq!(answer.header("x-request-id").map(str::len), Some(16));
    }
    assert_eq!(site.stage.fetches.count(), 1, "it was fetched once");
    site.stop().await;
}

#[tokio::test]
async fn how_long_a_token_lasts_is_told_as_it_is_when_it_is_answered() {
    let site = Site::set().await;
    let first = site.ask("").await;
    site.stage.clock.advance(Duration::from_millis(1_500_500));
    let second = site.ask("").await;
    assert_eq!(
        (first.token(), &second.json["expires_in"]),
        (second.token(), &json!(2_099)),
        "not what it was at first"
    );
    site.stop().await;
}

#[tokio::test]
async fn scopes_are_narrowed_and_never_widened() {
    let site = Site::set().await;
    let narrow = site.ask("&scope=orders%2Fread").await;
    assert_eq!((narrow.status, &narrow.json["scope"]), (200, &json!("orders/read")));
    let all = site.ask("&scope=orders/write+orders/read").await;
    assert_eq!(all.json["scope"], SCOPES.join(" "));
    // No value is as if it were not there.
    assert_eq!(site.ask("&scope=").await.json["scope"], SCOPES.join(" "));
    for bad in
        ["orders/delete", "orders/read+other/x", "orders", "orders/read++orders/write", "+orders/read", "%22/%5C"]
    {
        assert_eq!(site.ask(&format!("&scope={bad}")).await.refusal(), (400, "invalid_scope"), "{bad}");
    }
    site.stop().await;
}

#[tokio::test]
async fn each_bad_request_is_named_as_the_rfc_names_it() {
    let site = Site::set().await;
    let login = site.basic();
    let post = format!("client_id={}&client_secret={}", site.id, site.secret);
    let wrong = basic(&site.id, "not the secret");
    let token = "/oauth2/token";
    for (path, authorization, body, expected) in [
        (token, Some(login.as_str()), "", (400, "invalid_request")),
        (token, Some(&*login), "grant_type=", (400, "invalid_request")),
        (token, Some(&*login), "grant_type=password", (400, "unsupported_grant_type")),
        (token, Some(&*login), "grant_type=Client_Credentials", (400, "unsupported_grant_type")),
        (token, Some(&*login), &format!("{GRANT}&{GRANT}"), (400, "invalid_request")),
        (token, Some(&*login), &format!("{GRANT}&scope=%"), (400, "invalid_request")),
        (token, Some(&*login), &format!("{GRANT}&aws_client_metadata=%7B%7D"), (400, "invalid_request")),
        (token, Some(&*login), &format!("{GRANT}&{post}"), (400, "invalid_request")),
        (token, Some(&*login), &format!("{GRANT}&client_id=another"), (400, "invalid_request")),
        ("/oauth2/token?scope=orders/read", Some(&*login), GRANT, (400, "invalid_request")),
        (&format!("/oauth2/token?{post}"), None, GRANT, (400, "invalid_request")),
        (token, Some(&*wrong), GRANT, (401, "invalid_client")),
        (token, Some("Basic ****"), GRANT, (401, "invalid_client")),
        (token, Some("Bearer a.b.c"), GRANT, (401, "invalid_client")),
        (token, Some(&*login.replace("Basic", "Bearer")), GRANT, (401, "invalid_client")),
        (token, Some(&*login), &format!("{GRANT}&scope=%22%5C%C3%A4"), (400, "invalid_scope")),
        (token, None, GRANT, (400, "invalid_client")),
        (token, None, &format!("{GRANT}&client_id={}", site.id), (400, "invalid_client")),
        (token, None, &format!("{GRANT}&client_id={}&client_secret=wrong", site.id), (400, "invalid_client")),
        (token, None, &format!("{GRANT}&client_id=nobody&client_secret={}", site.secret), (400, "invalid_client")),
        ("/oauth2/tokens", Some(&*login), GRANT, (404, "invalid_request")),
    ] {
        let answer = site.post(path, authorization, body).await;
        assert_eq!(answer.refusal(), expected, "{path} {body}: {answer:?}");
        // RFC 9110, section 15.5.2: with 401, and only with 401.
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.is_some_and(|it| it.starts_with("Basic ")), expected.0 == 401, "{answer:?}");
        let told = answer.json["error_description"].as_str().expect("a description");
        assert!(!told.contains(&site.secret) && !told.contains(&site.id), "{told}");
        // RFC 6749, section 5.2.
        assert!(told.chars().all(|c| matches!(c, ' '..='~') && c != '"' && c != '\\'), "{told}");
    }
    for (name, value) in [("content-type", "application/json"), ("content-type", "text/plain")] {
        let headers = [(name, value), ("authorization", &*login)];
        let answer = super::post(&site.http, &format!("{}{token}", site.url), headers, GRANT).await;
        assert_eq!(answer.refusal(), (400, "invalid_request"), "{value}");
    }
    let got = site.get(token).await;
    assert_eq!((got.refusal(), got.header("allow")), ((405, "invalid_request"), Some("POST")));
    assert_eq!(site.stage.fetches.count(), 0, "nothing of that reached the pool");
    site.stop().await;
}

#[tokio::test]
async fn what_is_suspended_deleted_or_revoked_gets_what_grpc_would_give_it() {
    let site = Site::set().await;
    let before = site.ask("").await.token().to_owned();
    let mut tenants = site.daemon().tenants();
    let name = || "tenants/acme".to_owned();
    tenants
        .suspend_tenant(proto::SuspendTenantRequest { name: name(), ..Default::default() })
        .await
        .expect("suspended");
    assert_eq!(site.ask("").await.refusal(), (400, "unauthorized_client"));
    let resume = proto::ResumeTenantRequest { name: name(), ..Default::default() };
    tenants.resume_tenant(resume).await.expect("resumed");
    assert_eq!(site.ask("").await.token(), before);

    let target = Some(proto::revoke_tokens_request::Target::Client(CHECKOUT.to_owned()));
    let request = proto::RevokeTokensRequest { target, reason: "a test".to_owned(), ..Default::default() };
    site.daemon().clients().revoke_tokens(request).await.expect("revoked");
    site.stage.clock.advance(Duration::from_secs(2));
    assert_ne!(site.ask("").await.token(), before, "a revoked token is not given out");

    let delete = proto::DeleteClientRequest { name: CHECKOUT.to_owned(), ..Default::default() };
    site.daemon().clients().delete_client(delete).await.expect("deleted");
    eventually("nobody has the id any more", || async {
        let answer = site.ask("").await;
        assert_ne!(answer.status, 200);
        answer.refusal() == (401, "invalid_client")
    })
    .await;
    site.stop().await;
}

#[tokio::test]
async fn both_secrets_are_good_during_an_overlap() {
    let mut site = Site::set().await;
    let old = site.basic();
    rotate(&site.daemon().channel, CHECKOUT).await;
    renew(&mut site).await;
    for login in [&old, &site.basic()] {
        assert_eq!(site.post("/oauth2/token", Some(login), GRANT).await.status, 200);
    }
    site.stop().await;
}

#[tokio::test]
async fn a_compromised_secret_is_refused() {
    let mut site = Site::set().await;
    let compromised = site.basic();
    rotate_at_once(&site.daemon().channel, CHECKOUT).await;
    renew(&mut site).await;
    eventually("the compromised secret is refused", || async {
        site.post("/oauth2/token", Some(&compromised), GRANT).await.status == 401
    })
    .await;
    assert_eq!(site.ask("").await.status, 200);
    site.stop().await;
}

/// Waits for another secret to be current, and has the client know it.
async fn renew(site: &mut Site) {
    let current = || reveal(&site.stage.daemon.channel, CHECKOUT);
    eventually("the new secret is current", || async { current().await != site.secret }).await;
    let secret = current().await;
    site.secret = secret;
}

#[tokio::test]
async fn that_nobody_can_tell_now_is_said_with_the_time_to_ask_again() {
    let site = Site::set().await;
    site.stage.fetches.fail(Fault::Unavailable);
    let answer = site.ask("").await;
    assert_eq!(answer.refusal(), (503, "temporarily_unavailable"));
    let seconds: u64 = answer.header("retry-after").expect("a time").parse().expect("a number");
    assert!((1..10).contains(&seconds), "{seconds}");
    site.stage.fetches.recover();
    site.stage.clock.advance(Duration::from_secs(seconds));
    let token = site.ask("").await.token().to_owned();
    // What is held and good is served while the pool is away.
    site.stage.fetches.fail(Fault::Unavailable);
    assert_eq!(site.ask("").await.token(), token);
    site.stop().await;
}

#[tokio::test]
async fn guesses_are_limited_by_where_they_come_from_and_then_nobody_looks_at_one() {
    let site = Site::set_with(|config| config.limits.failures_per_second = 1).await;
    let mut seen = Vec::new();
    for guess in 0..12 {
        let login = basic(&site.id, &format!("guess{guess}"));
        let answer = site.post("/oauth2/token", Some(&login), GRANT).await;
        let (status, error) = answer.refusal();
        seen.push((status, error.to_owned(), answer.header("retry-after").map(str::to_owned)));
    }
    assert!(seen[..10].iter().all(|answer| answer.0 == 401), "{seen:?}");
    let limited = (429, "temporarily_unavailable".to_owned(), Some("1".to_owned()));
    assert_eq!(seen[10..], [limited.clone(), limited], "ten seconds' worth may come at once");
    assert_eq!(site.ask("").await.status, 429, "a good one is not looked at either");
    site.stage.clock.advance(Duration::from_secs(1));
    assert_eq!(site.ask("").await.status, 200);
    let denied = events(&site.daemon().channel).await;
    let denied = denied.iter().filter(|event| event.outcome() == AuditOutcome::Denied).count();
    assert_eq!(denied, 10, "who is limited costs no event");
    site.stop().await;
}

#[tokio::test]
async fn each_client_has_a_rate() {
    let site = Site::set_with(|config| (config.limits.calls_per_second, config.limits.calls_burst) = (1, 3)).await;
    for _ in 0..3 {
        assert_eq!(site.ask("").await.status, 200);
    }
    let answer = site.ask("").await;
    assert_eq!((answer.refusal(), answer.header("retry-after")), ((429, "temporarily_unavailable"), Some("1")));
    site.stop().await;
}

#[tokio::test]
async fn policies_decide_about_a_client_as_they_do_over_grpc() {
    let (_folder, path) = folder();
    let policies = path.join("no-night.cedar");
    let forbid = "@id(\"frozen\") forbid (principal == Keyward::Caller::\"client:tenants/acme/clients/checkout\", \
                  action == Keyward::Action::\"GetToken\", resource) when { context.scopes.contains(\"orders/write\") };";
    std::fs::write(&policies, forbid).expect("written");
    let site = Site::set_with(|config| config.permission.policies = Some(policies)).await;
    assert_eq!(site.ask("&scope=orders/write").await.refusal(), (400, "unauthorized_client"));
    assert_eq!(site.ask("&scope=orders/read").await.status, 200);
    let events = events(&site.daemon().channel).await;
    let denied = events.iter().find(|event| event.outcome() == AuditOutcome::Denied).expect("on record");
    assert_eq!(
        (&*denied.principal, &*denied.method, &*denied.resource, &*denied.reason),
        ("client:tenants/acme/clients/checkout", "oauth2/token", CHECKOUT, "PERMISSION_DENIED")
    );
    site.stop().await;
}

#[tokio::test]
async fn what_is_given_out_and_what_is_denied_is_on_record_without_the_token_or_the_secret() {
    let (_folder, path) = folder();
    let file = path.join("audit.jsonl");
    let wanted = file.clone();
    let site = Site::set_with(|config| (config.audit.file, config.audit.required) = (Some(wanted), true)).await;
    let request = site.http.post(format!("{}/oauth2/token", site.url)).header("x-request-id", "my-call");
    let request = request.header("authorization", site.basic()).header("content-type", super::FORM);
    let given = super::answer(request.body(format!("{GRANT}&scope=orders/read"))).await;
    assert_eq!(given.header("x-request-id"), Some("my-call"));
    let lines = audit_lines(&file);
    let outs = handed_out(&lines);
    let out = outs.last().expect("a line");
    assert_eq!(
        (&out["principal"], &out["method"], &out["resource"], &out["call_id"], &out["scopes"]),
        (
            &json!(format!("client:{CHECKOUT}")),
            &json!("oauth2/token"),
            &json!(CHECKOUT),
            &json!("my-call"),
            &json!(["orders/read"])
        )
    );
    site.post("/oauth2/token", Some(&basic(&site.id, "wrong")), GRANT).await;
    let events = events(&site.daemon().channel).await;
    let denied = events.iter().find(|event| event.outcome() == AuditOutcome::Denied).expect("on record");
    assert_eq!(
        (&*denied.principal, &*denied.method, &*denied.reason),
        ("anonymous", "oauth2/token", "CREDENTIALS_INVALID")
    );
    let text = std::fs::read_to_string(&file).expect("read");
    assert!(!text.contains(given.token()) && !text.contains(&site.secret));
    site.stop().await;
}
