//! The rules that a token is held against by itself: algorithm, header, issuer, key, signature, times, scopes.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use keyward::proto;
use keyward::proto::RejectionReason;
use serde_json::{Value, json};

use super::{ask, court, reason, reason_of, sign, verified};
use crate::harness::forge::{
    Fields, SigningKey, TEST_KEY, claims, decoded, id_claims, signing_input, text, with, with_signature, without,
};
use crate::harness::{SCOPES, create_tenant, start_time};

#[tokio::test]
async fn every_algorithm_but_rs256_is_refused() {
    let stage = court().await;
    let payload = text(&claims(&stage.client, start_time()));
    let header = |alg: &str| text(&with(&TEST_KEY.header(), "alg", alg));
    for alg in ["RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256", "RS256 ", "none", "None", "HS256", ""] {
        // Signed well by RS256: the name alone is refused.
        let token = TEST_KEY.sign_text(&header(alg), &payload);
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnsupportedAlgorithm, "{alg:?}");
    }
    let well_signed = [
        TEST_KEY.sign_with(&RSA_PKCS1_SHA384, &header("RS384"), &payload),
        TEST_KEY.sign_with(&RSA_PKCS1_SHA512, &header("RS512"), &payload),
        TEST_KEY.sign_with(&RSA_PSS_SHA256, &header("PS256"), &payload),
        format!("{}.", signing_input(&header("none"), &payload)),
        format!("{}.", signing_input(r#"{"alg":"none"}"#, &payload)),
    ];
    for token in well_signed {
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnsupportedAlgorithm);
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let stage = court().await;
    let payload = text(&claims(&stage.client, start_time()));
    let signed = signing_input(&text(&with(&TEST_KEY.header(), "alg", "HS256")), &payload);
    let public = TEST_KEY.public();
    let modulus = URL_SAFE_NO_PAD.decode(&public.modulus).expect("base64url");
    for secret in [modulus.as_slice(), public.modulus.as_bytes(), b""] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = with_signature(&signed, tag.as_ref());
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnsupportedAlgorithm);
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_header_that_chooses_its_own_key_or_rules_is_refused() {
    let stage = court().await;
    let claims = claims(&stage.client, start_time());
    let public = TEST_KEY.public();
    let jwk = json!({ "kty": "RSA", "kid": public.kid, "n": public.modulus, "e": public.exponent });
    let choices = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", Value::Null),
        ("jku", json!("https://elsewhere.example/jwks.json")),
        ("jwk", jwk),
        ("jwk", Value::Null),
        ("x5u", json!("https://elsewhere.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("typ", json!("dpop+jwt")),
    ];
    for (parameter, value) in choices {
        let token = TEST_KEY.sign(&with(&TEST_KEY.header(), parameter, value.clone()), &claims);
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnsupportedHeader, "{parameter}: {value}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn an_issuer_that_is_no_pool_of_the_brokers_is_unknown() {
    let stage = court().await;
    let good = claims(&stage.client, start_time());
    let issuer = &stage.client.issuer;
    let others =
        ["https://elsewhere.example".to_owned(), format!("{issuer}/"), issuer.to_uppercase(), format!(" {issuer}")];
    for other in others.iter().map(String::as_str).chain(["", "not a url"]) {
        let token = sign(&with(&good, "iss", other));
        assert_eq!(reason(&stage, &token).await, RejectionReason::UnknownIssuer, "{other:?}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_key_that_the_issuer_does_not_publish_is_unknown() {
    let stage = court().await;
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let neighbour = stage.daemon.create_client("umbrella", "billing").await;
    let theirs = decoded(&stage.daemon.token(&neighbour.name).await.access_token, 0)["kid"].clone();
    let claims = claims(&stage.client, start_time());
    let strange = SigningKey::generate();
    let header = TEST_KEY.header();
    let tokens = [
        strange.sign(&strange.header(), &claims),
        TEST_KEY.sign(&with(&header, "kid", theirs), &claims),
        TEST_KEY.sign(&with(&header, "kid", ""), &claims),
        TEST_KEY.sign(&with(&header, "kid", "k".repeat(300)), &claims),
        TEST_KEY.sign(&without(&header, "kid"), &claims),
    ];
    for (i, token) in tokens.iter().enumerate() {
        assert_eq!(reason(&stage, token).await, RejectionReason::UnknownKey, "number {i}");
    }
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_signature_that_is_not_the_keys_is_bad() {
    let stage = court().await;
    let good = stage.daemon.token(&stage.client.name).await.access_token;
    verified(&stage, &good).await;
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    for (byte, bit) in [(0, 7), (100, 3), (signature.len() - 1, 0)] {
        let mut flipped = signature.clone();
        flipped[byte] ^= 1 << bit;
        let token = with_signature(signed, &flipped);
        assert_eq!(reason(&stage, &token).await, RejectionReason::BadSignature, "bit {bit} of byte {byte}");
    }
    let longer: Vec<u8> = signature.iter().copied().chain([0]).collect();
    for cut in [&[][..], &signature[1..], &longer] {
        assert_eq!(reason(&stage, &with_signature(signed, cut)).await, RejectionReason::BadSignature);
    }

    // The header and the claims are signed, too.
    let (header, claims) = (decoded(&good, 0), decoded(&good, 1));
    let changed = [
        signing_input(&text(&header), &text(&with(&claims, "exp", 4_000_000_000_i64))),
        signing_input(&text(&with(&header, "typ", "JWT")), &text(&claims)),
    ];
    for signed in changed {
        assert_eq!(reason(&stage, &with_signature(&signed, &signature)).await, RejectionReason::BadSignature);
    }
    // Another key under the name of a published one.
    let kid = header["kid"].clone();
    let stranger = TEST_KEY.sign(&with(&TEST_KEY.header(), "kid", kid), &claims);
    assert_eq!(reason(&stage, &stranger).await, RejectionReason::BadSignature);
    let other_padding = TEST_KEY.sign_with(&RSA_PSS_SHA256, &text(&TEST_KEY.header()), &text(&claims));
    assert_eq!(reason(&stage, &other_padding).await, RejectionReason::BadSignature);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn only_access_tokens_are_accepted() {
    let stage = court().await;
    let good = claims(&stage.client, start_time());
    for token_use in ["refresh", "", "Access", "ID"] {
        let token = sign(&with(&good, "token_use", token_use));
        assert_eq!(reason(&stage, &token).await, RejectionReason::WrongTokenUse, "{token_use:?}");
    }
    let token = sign(&id_claims(&stage.client, start_time()));
    assert_eq!(reason(&stage, &token).await, RejectionReason::WrongTokenUse);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_expires_once_the_leeway_has_passed_and_no_sooner() {
    let stage = court().await;
    let token = stage.daemon.token(&stage.client.name).await.access_token;
    let edge = start_time() + SignedDuration::from_secs(3600 + 5);
    stage.clock.set(edge - SignedDuration::from_nanos(1));
    verified(&stage, &token).await;
    stage.clock.set(edge);
    assert_eq!(reason(&stage, &token).await, RejectionReason::Expired);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_is_not_valid_before_its_nbf_less_the_leeway() {
    let stage = court().await;
    let token = sign(&with(&claims(&stage.client, start_time()), "nbf", start_time().as_second() + 60));
    stage.clock.set(start_time() + SignedDuration::from_nanos(54_999_999_999));
    assert_eq!(reason(&stage, &token).await, RejectionReason::NotYetValid);
    stage.at_second(55);
    verified(&stage, &token).await;
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_is_not_issued_later_than_now_and_the_leeway() {
    let stage = court().await;
    let token = sign(&with(&claims(&stage.client, start_time()), "iat", start_time().as_second() + 60));
    stage.clock.set(start_time() + SignedDuration::from_nanos(54_999_999_999));
    assert_eq!(reason(&stage, &token).await, RejectionReason::IssuedInFuture);
    stage.at_second(55);
    verified(&stage, &token).await;
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_token_must_grant_every_required_scope() {
    let stage = court().await;
    let good = claims(&stage.client, start_time());
    let demand = |claims: &Fields, scopes: &[&str]| proto::VerifyTokenRequest {
        token: sign(claims),
        required_scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..Default::default()
    };
    let narrow = with(&good, "scope", SCOPES[0]);
    let none = without(&good, "scope");
    let refused = [
        demand(&narrow, &SCOPES),
        demand(&narrow, &SCOPES[1..]),
        demand(&none, &SCOPES[..1]),
        demand(&good, &["orders/rea"]),
        demand(&good, &["orders/reads"]),
        demand(&good, &["Orders/read"]),
    ];
    for request in refused {
        let token = request.token.clone();
        assert_eq!(reason_of(ask(&stage, request).await, &token), RejectionReason::InsufficientScope);
    }
    verified(&stage, &sign(&none)).await;
    stage.daemon.stop().await;
}
