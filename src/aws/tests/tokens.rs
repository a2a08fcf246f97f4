use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::aws::oauth::{basic, form_encoded, judge};
use crate::aws::token_answer::{Answer, token_of};
use crate::broker::ports::Fault;
use crate::domain::id::AppClientId;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::ClientSecret;
use crate::domain::token::AccessToken;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({ "alg": "RS256", "kid": "one" })), part(claims))
}

fn token(answer: Value) -> Result<AccessToken, &'static str> {
    let answer: Answer = serde_json::from_value(answer).expect("an answer");
    let wanted = ScopeSet::parse("scopes", &["orders/read", "orders/write"]).expect("scopes");
    token_of(answer, &wanted, at(5_000))
}

#[test]
fn a_jwt_tells_its_times_and_scopes_by_itself() {
    let jwt = jwt(&json!({ "iat": 1_000, "exp": 4_600, "scope": "orders/read", "jti": "one" }));
    let token = token(json!({ "access_token": jwt, "token_type": "Bearer", "expires_in": 60 })).expect("a token");
    assert_eq!((token.issue_time, token.expire_time), (at(1_000), at(4_600)));
    assert_eq!(token.scopes.to_string(), "orders/read");
    assert_eq!(token.expose(), jwt);
}

#[test]
fn a_jwt_without_a_scope_grants_none() {
    let jwt = jwt(&json!({ "iat": 1_000, "exp": 4_600 }));
    assert!(token(json!({ "access_token": jwt, "token_type": "Bearer" })).expect("a token").scopes.is_empty());
}

#[test]
fn the_answers_scope_is_what_was_granted() {
    let jwt = jwt(&json!({ "iat": 1_000, "exp": 4_600, "scope": "orders/read orders/write" }));
    let token = token(json!({ "access_token": jwt, "token_type": "bearer", "scope": "orders/write" }));
    assert_eq!(token.expect("a token").scopes.to_string(), "orders/write");
}

#[test]
fn an_opaque_token_lasts_from_now_and_grants_what_was_asked_for() {
    let token = token(json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 3_600 }));
    let token = token.expect("a token");
    assert_eq!((token.issue_time, token.expire_time), (at(5_000), at(8_600)));
    assert_eq!(token.scopes.to_string(), "orders/read orders/write");
}

#[test]
fn what_is_no_usable_token_is_none() {
    for answer in [
        json!({ "access_token": "", "token_type": "Bearer", "expires_in": 3_600 }),
        json!({ "access_token": "opaque", "token_type": "mac", "expires_in": 3_600 }),
        json!({ "access_token": "opaque", "token_type": "Bearer" }),
        json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": i64::MAX }),
    ] {
        assert!(token(answer.clone()).is_err(), "{answer}");
    }
}

#[test]
fn both_parts_of_the_basic_header_are_form_encoded() {
    // RFC 6749, appendix B has this example of the encoding: " %&+£€".
    assert_eq!(form_encoded(" %&+£€").as_str(), "+%25%26%2B%C2%A3%E2%82%AC");
    assert_eq!(form_encoded("https://api/a b/*-._~:").as_str(), "https%3A%2F%2Fapi%2Fa+b%2F*-._%7E%3A");
    let client = AppClientId::parse("client", "id:with%colon").expect("an id");
    let secret = ClientSecret::parse("secret", "plus+plus+plus+plus+plus+").expect("a secret");
    let header = basic(&client, &secret).expect("a header");
    assert!(header.is_sensitive());
    let encoded = header.to_str().expect("ASCII").strip_prefix("Basic ").expect("Basic").to_owned();
    let pair = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
    assert_eq!(pair, b"id%3Awith%25colon:plus%2Bplus%2Bplus%2Bplus%2Bplus%2B");
}

#[test]
fn refusals_are_told_apart_by_the_errors_of_rfc_6749() {
    let judged = |status, body: &str| judge(StatusCode::from_u16(status).expect("a status"), body.as_bytes());
    for status in [400, 401] {
        let (fault, words) = judged(status, r#"{"error":"invalid_client"}"#);
        assert_eq!((fault, words), (Fault::InvalidClient, format!("HTTP {status} invalid_client")));
    }
    for code in ["invalid_scope", "unauthorized_client", "invalid_request", "invalid_grant", "unsupported_grant_type"] {
        assert_eq!(judged(400, &format!(r#"{{"error":"{code}"}}"#)).0, Fault::Refused, "{code}");
    }
}

#[test]
fn throttling_is_recognised_however_it_is_said() {
    let judged = |status, body: &str| judge(StatusCode::from_u16(status).expect("a status"), body.as_bytes()).0;
    assert_eq!(judged(429, ""), Fault::Throttled);
    assert_eq!(judged(400, r#"{"error":"TooManyRequestsException"}"#), Fault::Throttled);
    assert_eq!(judged(400, r#"{"message":"Rate exceeded"}"#), Fault::Throttled);
    // A scope may be called anything; its refusal is none of rate.
    assert_eq!(judged(400, r#"{"error":"invalid_scope","error_description":"throttle/rate limit"}"#), Fault::Refused);
    assert_eq!(judged(400, "<html>"), Fault::Refused);
}

#[test]
fn trouble_at_the_endpoint_is_not_the_clients_fault() {
    let judged = |status, body: &str| judge(StatusCode::from_u16(status).expect("a status"), body.as_bytes()).0;
    for status in [500, 501, 502, 503, 504, 408] {
        assert_eq!(judged(status, r#"{"error":"invalid_client"}"#), Fault::Unavailable, "{status}");
    }
    for status in [302, 403, 404] {
        assert_eq!(judged(status, ""), Fault::Refused, "{status}");
    }
}

#[test]
fn of_an_error_body_only_the_code_is_repeated() {
    let body = r#"{"error":"invalid_request\nforged line","error_description":"client_secret=hunter2hunter2"}"#;
    let (_, words) = judge(StatusCode::BAD_REQUEST, body.as_bytes());
    assert_eq!(words, "HTTP 400 invalid_requestforgedline");
}
