use serde_json::json;

use crate::aws::jwks::parse;

fn kids(keys: serde_json::Value) -> Vec<String> {
    let body = json!({ "keys": keys }).to_string();
    parse(body.as_bytes()).expect("a key set").into_iter().map(|key| key.kid).collect()
}

#[test]
fn rsa_signature_keys_are_kept_as_published() {
    let key = json!({ "kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": "0vx7", "e": "AQAB" });
    let body = json!({ "keys": [key] }).to_string();
    let keys = parse(body.as_bytes()).expect("a key set");
    assert_eq!((keys[0].kid.as_str(), keys[0].modulus.as_str(), keys[0].exponent.as_str()), ("one", "0vx7", "AQAB"));
}

#[test]
fn use_and_alg_may_be_absent() {
    assert_eq!(kids(json!([{ "kty": "RSA", "kid": "bare", "n": "0vx7", "e": "AQAB" }])), ["bare"]);
}

#[test]
fn other_keys_are_left_out_without_losing_ours() {
    let keys = json!([
        { "kty": "EC", "kid": "curve", "crv": "P-256", "x": "a", "y": "b" },
        { "kty": "RSA", "kid": "encryption", "use": "enc", "n": "0vx7", "e": "AQAB" },
        { "kty": "RSA", "kid": "stronger", "alg": "RS512", "n": "0vx7", "e": "AQAB" },
        { "kty": "RSA", "n": "no kid", "e": "AQAB" },
        "not even an object",
        { "kty": "RSA", "kid": "ours", "n": "0vx7", "e": "AQAB" },
    ]);
    assert_eq!(kids(keys), ["ours"]);
}

#[test]
fn what_is_no_key_set_is_told_from_an_empty_one() {
    assert_eq!(parse(br#"{"keys":[]}"#), Some(Vec::new()));
    for body in [&b""[..], b"[]", b"{}", br#"{"keys":{}}"#, br#"{"keys":[{"kty":"RSA""#, b"<html>"] {
        assert_eq!(parse(body), None);
    }
}
