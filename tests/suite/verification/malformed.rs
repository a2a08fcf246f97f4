//! What is no JWT at all.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use keyward::proto;
use keyward::proto::RejectionReason;
use serde_json::json;
use tonic::Code;

use super::{court, reason, sign, verified};
use crate::harness::forge::{TEST_KEY, claims, text, with, without};
use crate::harness::{details, start_time};

#[tokio::test]
async fn what_has_not_three_parts_of_base64url_is_malformed() {
    let stage = court().await;
    let good = sign(&claims(&stage.client, start_time()));
    verified(&stage, &good).await;
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let standard = |part: &str, engine: &dyn Fn(Vec<u8>) -> String| engine(URL_SAFE_NO_PAD.decode(part).expect("ours"));
    let forms = [
        "token".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}.{signature}."),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}. {signature}"),
        format!("Bearer {good}"),
        format!("{good}\n"),
        format!("{header}.{payload}.{}", standard(signature, &|bytes| URL_SAFE.encode(bytes))),
        format!("{header}.{payload}.{}", standard(signature, &|bytes| STANDARD.encode(bytes))),
        format!("{header}.{payload}!.{signature}"),
        format!("{header}\u{e9}.{payload}.{signature}"),
    ];
    for form in forms {
        assert_eq!(reason(&stage, &form).await, RejectionReason::Malformed, "{form}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_header_or_a_payload_that_is_no_object_of_distinct_names_is_malformed() {
    let stage = court().await;
    let (header, payload) = (text(&TEST_KEY.header()), text(&claims(&stage.client, start_time())));
    let repeated = |json: &str, member: &str| format!("{{{member},{}", &json[1..]);
    let tokens = [
        TEST_KEY.sign_text("", &payload),
        TEST_KEY.sign_text("null", &payload),
        TEST_KEY.sign_text("[]", &payload),
        TEST_KEY.sign_text("\"RS256\"", &payload),
        TEST_KEY.sign_text(&header[1..], &payload),
        TEST_KEY.sign_text(&format!("{header} x"), &payload),
        TEST_KEY.sign_text(&repeated(&header, r#""alg":"RS256""#), &payload),
        TEST_KEY.sign_text(&repeated(&header, r#""cty":"a","cty":"a""#), &payload),
        TEST_KEY.sign_text(&header, ""),
        TEST_KEY.sign_text(&header, "7"),
        TEST_KEY.sign_text(&header, &format!("[{payload}]")),
        TEST_KEY.sign_text(&header, &payload[1..]),
        TEST_KEY.sign_text(&header, &repeated(&payload, r#""exp":9999999999"#)),
        TEST_KEY.sign_text(&header, &repeated(&payload, r#""iss":"https://elsewhere.example""#)),
        TEST_KEY.sign_text(&header, &repeated(&payload, r#""client_id":"another""#)),
        TEST_KEY.sign_text(&header, &repeated(&payload, r#""sub":"another""#)),
        TEST_KEY.sign_text(&header, &repeated(&payload, r#""\u0073ub":"another""#)),
    ];
    for (i, token) in tokens.iter().enumerate() {
        assert_eq!(reason(&stage, token).await, RejectionReason::Malformed, "number {i}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_claim_that_is_missing_or_of_the_wrong_type_is_malformed() {
    let stage = court().await;
    let good = claims(&stage.client, start_time());
    for claim in ["iss", "client_id", "token_use", "exp", "iat"] {
        assert_eq!(reason(&stage, &sign(&without(&good, claim))).await, RejectionReason::Malformed, "without {claim}");
        for value in [json!(null), json!([]), json!({}), json!(true)] {
            let token = sign(&with(&good, claim, value.clone()));
            assert_eq!(reason(&stage, &token).await, RejectionReason::Malformed, "{claim} is {value}");
        }
    }
    let wrong = [
        ("exp", json!("1767229200")),
        ("iat", json!("now")),
        ("exp", json!(i64::MAX)),
        ("iat", json!(i64::MIN)),
        ("nbf", json!("soon")),
        ("nbf", json!(i64::MAX)),
        ("jti", json!(7)),
        ("scope", json!(["orders/read"])),
        ("client_id", json!("")),
        ("iss", json!(7)),
    ];
    for (claim, value) in wrong {
        let token = sign(&with(&good, claim, value.clone()));
        assert_eq!(reason(&stage, &token).await, RejectionReason::Malformed, "{claim} is {value}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_is_empty_or_too_long_is_the_callers_mistake() {
    let stage = court().await;
    for token in [String::new(), "a".repeat(16_385)] {
        let request = proto::VerifyTokenRequest { token, ..Default::default() };
        let error = details(&stage.daemon.verification().verify_token(request).await.expect_err("refused"));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert_eq!(error.fields, ["token"]);
    }
    assert_eq!(reason(&stage, &"a".repeat(16_384)).await, RejectionReason::Malformed);
    stage.daemon.stop().await;
}
