//! JWTs of trusted issuers, and JWT-SVIDs.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::broker::ports::Clock as _;
use keyward::config::{Callers, SpiffeDomain, TokenIssuer};
use keyward::proto;
use keyward::runtime::clock::SystemClock;
use serde_json::{Value, json};
use tonic::Code;

use super::issuer::{Documents, Issuer};
use super::{AUDIENCE, assert_refused, bearer, call, only, operator, trusted};
use crate::harness::forge::{fields, signing_input, text, with, with_signature, without};
use crate::harness::{Daemon, details, refusal, start_time};
use crate::peers::moto_python;

const KUBERNETES: &str = "https://kubernetes.default.svc.cluster.local";
const EVE: &str = "system:serviceaccount:operators:eve";
const INVALID: &str = "CREDENTIALS_INVALID";

fn callers(issuer: &Issuer) -> Callers {
    Callers {
        issuer: vec![trusted(issuer)],
        grant: vec![operator(&format!("token:{KUBERNETES}#system:serviceaccount:operators:*"))],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_a_caller_by_any_of_its_keys() {
    let issuer = Issuer::new(KUBERNETES);
    let (daemon, clock) = Daemon::start_at_rest_with(only(callers(&issuer))).await;
    for kid in ["rsa", "ec", "ed"] {
        let token = issuer.signed(kid, &issuer.claims(EVE, start_time()));
        bearer(&daemon.channel, &token).await.expect(kid);
        call(&daemon.channel, &[&format!("bearer {token}")]).await.expect("a scheme's case does not count");
        let typed =
            fields(json!({ "alg": if kid == "rsa" { "RS256" } else if kid == "ec" { "ES256" } else { "EdDSA" },
            "kid": kid, "typ": "at+jwt" }));
        bearer(&daemon.channel, &issuer.signed_as(kid, &typed, &issuer.claims(EVE, start_time()))).await.expect(kid);
    }
    let several = with(&issuer.claims(EVE, start_time()), "aud", json!(["https://other", AUDIENCE]));
    bearer(&daemon.channel, &issuer.signed("rsa", &several)).await.expect("one of several audiences");

    // Known, and nothing to Keyward.
    let nobody = issuer.token("system:serviceaccount:acme:orders", start_time());
    assert_eq!(
        refusal(bearer(&daemon.channel, &nobody).await),
        (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
    );

    // Remembered tokens expire like others.
    let token = issuer.token(EVE, start_time());
    bearer(&daemon.channel, &token).await.expect("good");
    clock.advance(Duration::from_secs(3_604));
    bearer(&daemon.channel, &token).await.expect("within the leeway");
    clock.advance(Duration::from_secs(1));
    assert_refused(bearer(&daemon.channel, &token).await, INVALID, "the token has expired");
    daemon.stop().await;
}

#[tokio::test]
async fn a_service_account_token_as_kubernetes_makes_it_is_a_tenants_client() {
    let issuer = Issuer::new(KUBERNETES);
    let mut callers = callers(&issuer);
    callers.grant.push(keyward::config::CallerGrant {
        caller: format!("token:{KUBERNETES}#system:serviceaccount:{{tenant}}:{{client}}"),
        ..Default::default()
    });
    let (daemon, _) = Daemon::start_at_rest_with(only(callers)).await;
    let second = start_time().as_second();
    // As the API server writes it (TokenRequest, authentication.k8s.io/v1), without a typ.
    let claims = fields(json!({
        "aud": [AUDIENCE], "exp": second + 3607, "iat": second, "iss": KUBERNETES, "nbf": second,
        "jti": "f0f2f9a4-5c3b-4a27-9d3a-0123456789ab",
        "kubernetes.io": {
            "namespace": "operators",
            "node": { "name": "worker", "uid": "5b0a4a5e-8d1c-4b6e-9d0f-0123456789ab" },
            "pod": { "name": "orders-7d9c", "uid": "646fbaf4-1c1a-4d7b-8a5e-0123456789ab" },
            "serviceaccount": { "name": "eve", "uid": "d1a7c3a2-40f7-4b7a-9a3e-0123456789ab" },
            "warnafter": second + 3607,
        },
        "sub": EVE,
    }));
    let answer = bearer(&daemon.channel, &issuer.signed("rsa", &claims)).await;
    // It is both an operator and, as the second grant has it, the client `eve` of the tenant `operators`.
    answer.expect("an operator");
    daemon.stop().await;
}

#[tokio::test]
async fn every_forged_or_strange_token_is_refused() {
    let issuer = Issuer::new(KUBERNETES);
    let roomy = |config: &mut keyward::config::Config| {
        only(callers(&issuer))(config);
        config.limits.failures_per_second = 1_000;
    };
    let (daemon, _) = Daemon::start_at_rest_with(roomy).await;
    let now = start_time();
    let good = issuer.claims(EVE, now);
    let header = fields(json!({ "alg": "RS256", "kid": "rsa" }));
    let signed = |claims| issuer.signed("rsa", &claims);
    let headed = |name: &str, value: Value| issuer.signed_as("rsa", &with(&header, name, value), &good);
    let second = now.as_second();
    bearer(&daemon.channel, &signed(good.clone())).await.expect("the one that all others are made from");

    let unsigned =
        |alg: &str| format!("{}.", signing_input(&json!({ "alg": alg, "kid": "rsa" }).to_string(), &text(&good)));
    // HS256, with what everybody can read of the RSA key as the secret.
    let public = issuer.key_set()["keys"][0].clone();
    let hs256 = |secret: &[u8]| {
        let input = signing_input(&json!({ "alg": "HS256", "kid": "rsa" }).to_string(), &text(&good));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        with_signature(&input, aws_lc_rs::hmac::sign(&key, input.as_bytes()).as_ref())
    };
    let modulus = URL_SAFE_NO_PAD.decode(public["n"].as_str().expect("n")).expect("base64url");
    let token = signed(good.clone());
    let (head, rest) = token.split_once('.').expect("dots");
    let doubled = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#));

    for (token, message) in [
        (unsigned("none"), "the token's alg is not"),
        (unsigned("None"), "the token's alg is not"),
        (unsigned("RS256"), "the token's signature is not"),
        (unsigned(""), "the token's alg is not"),
        (hs256(public.to_string().as_bytes()), "the token's alg is not"),
        (hs256(&modulus), "the token's alg is not"),
        (headed("alg", json!("RS512")), "the token's alg is not"),
        (headed("alg", json!("ES256")), "the token's alg is not that of its key"),
        (issuer.signed_as("ec", &with(&header, "alg", "ES256"), &good), "the token's alg is not that of its key"),
        (issuer.signed_as("ed", &with(&header, "kid", "ec"), &good), "the token's alg is not that of its key"),
        (issuer.signed_as("other", &header, &good), "the token's signature is not"),
        (headed("kid", json!("gone")), "the token's issuer publishes no key"),
        (headed("kid", json!("")), "the token's header names no kid"),
        (issuer.signed_as("rsa", &without(&header, "kid"), &good), "the token's header names no kid"),
        (headed("crit", json!(["exp"])), "the token cannot be accepted: its header says crit"),
        (headed("jku", json!("https://evil.example/jwks")), "the token cannot be accepted: its header says"),
        (headed("jwk", public.clone()), "the token cannot be accepted: its header says"),
        (headed("x5u", json!("https://evil.example/x")), "the token cannot be accepted: its header says"),
        (headed("x5c", json!([])), "the token cannot be accepted: its header says"),
        (headed("typ", json!("logout+jwt")), "the token cannot be accepted: its typ"),
        (doubled, "the token cannot be accepted: its header is not an object of distinct names"),
        (signed(with(&good, "iss", "https://evil.example")), "the token is of no issuer"),
        (signed(with(&good, "iss", format!("{KUBERNETES}/"))), "the token is of no issuer"),
        (signed(with(&good, "iss", Value::Null)), "the token is of no issuer"),
        (signed(without(&good, "iss")), "the token is of no issuer"),
        (signed(with(&good, "aud", "https://other")), "the token is for another audience"),
        (signed(with(&good, "aud", json!([]))), "the token is for another audience"),
        (signed(with(&good, "aud", format!("{AUDIENCE}.evil"))), "the token is for another audience"),
        (signed(without(&good, "aud")), "the token names no audience"),
        (signed(with(&good, "aud", json!({ "a": AUDIENCE }))), "the token cannot be accepted"),
        (signed(without(&good, "exp")), "the token never expires"),
        (signed(with(&good, "exp", second - 5)), "the token has expired"),
        (signed(with(&good, "exp", "never")), "the token cannot be accepted"),
        (signed(with(&good, "exp", json!(1e300))), "the token cannot be accepted"),
        (signed(with(&good, "exp", -1)), "the token cannot be accepted"),
        (signed(with(&good, "nbf", second + 6)), "the token is not valid yet"),
        (signed(with(&good, "iat", second + 6)), "the token was issued in the future"),
        (signed(without(&good, "sub")), "the token cannot be accepted: sub"),
        (signed(with(&good, "sub", "")), "the token cannot be accepted: sub"),
        (signed(with(&good, "sub", "a b")), "the token cannot be accepted: sub"),
        (signed(with(&good, "sub", format!("{EVE}\0"))), "the token cannot be accepted: sub"),
        (signed(with(&good, "sub", "\u{430}dmin")), "the token cannot be accepted: sub"),
        (signed(with(&good, "sub", "a".repeat(1_025))), "the token cannot be accepted: sub"),
        (format!("{head}.{rest}.{rest}"), "the token cannot be accepted: it has more"),
        (token.trim_end_matches(|c| c != '.').to_owned(), "the token's signature is not"),
        (token[..token.len() - 2].to_owned(), "the token"),
        (format!("{head}.{head}.{}", rest.split_once('.').expect("dots").1), "the token"),
        ("opaque".to_owned(), "the token cannot be accepted: it has no dots"),
        (format!("{token}="), "the token cannot be accepted"),
    ] {
        assert_refused(bearer(&daemon.channel, &token).await, INVALID, message);
    }
    // Longer ones do not get past the limit of headers.
    let long = signed(with(&good, "more", "a".repeat(12_000)));
    assert_eq!(keyward::callers::Unproven::read(&long).err(), Some("it is longer than 16,384 bytes"));

    for (header, reason) in [
        (format!("Bearer {token} {token}"), INVALID),
        (format!("Bearer  {token}"), INVALID),
        ("Bearer ".to_owned(), INVALID),
        ("Bearer".to_owned(), INVALID),
        (token.clone(), INVALID),
        (format!("Negotiate {token}"), INVALID),
        (format!("Bearer {token},Bearer {token}"), INVALID),
    ] {
        assert_refused(call(&daemon.channel, &[&header]).await, reason, "the");
    }
    assert_refused(call(&daemon.channel, &[]).await, "CREDENTIALS_MISSING", "the call has no credential");
    let twice = [format!("Bearer {token}"), format!("Bearer {token}")];
    let answer = call(&daemon.channel, &[&twice[0], &twice[1]]).await;
    assert_refused(answer, "CREDENTIALS_AMBIGUOUS", "the call has more than one authorization header");
    daemon.stop().await;
}

/// The platform's own access tokens, which tenants show to services, are nobody's word here: a service that is shown one
/// could call with it. Not even where somebody has made the pool an issuer of callers.
#[tokio::test]
async fn an_access_token_of_a_tenant_that_another_service_was_shown_is_no_credential() {
    let (first, clock) = Daemon::start_at_rest().await;
    first.put_orders_api().await;
    first.create_tenant("acme").await;
    let client = first.create_client("acme", "orders").await;
    let stolen = first.token(&client.name).await.access_token;

    let issuer = Issuer::new(&client.issuer);
    let kid = crate::harness::forge::decoded(&stolen, 0)["kid"].clone();
    let mut callers = callers(&Issuer::new(KUBERNETES));
    let daemon = first.restart_with(only(callers.clone())).await;
    assert_refused(bearer(&daemon.channel, &stolen).await, INVALID, "the token is of no issuer");

    // With the pool's name, its audience never fits: there is none.
    issuer.publish(&{
        let mut set = issuer.key_set();
        set["keys"][0]["kid"] = kid.clone();
        set
    });
    callers.issuer = vec![trusted(&issuer)];
    let daemon = daemon.restart_with(only(callers)).await;
    let claims = crate::harness::forge::decoded(&stolen, 1);
    let same = issuer.signed_as("rsa", &fields(json!({ "alg": "RS256", "kid": kid })), &claims);
    assert_refused(bearer(&daemon.channel, &same).await, INVALID, "the token names no audience");
    drop(clock);
    daemon.stop().await;
}

#[tokio::test]
async fn a_jwt_svid_is_its_spiffe_id_of_its_own_trust_domain() {
    let (ours, theirs) = (Issuer::new("spire"), Issuer::new("spire"));
    let mut bundle = ours.key_set();
    bundle["keys"][1]["use"] = json!("jwt-svid");
    bundle["keys"][2]["use"] = json!("x509-svid");
    bundle["spiffe_sequence"] = json!(7);
    bundle["spiffe_refresh_hint"] = json!(300);
    ours.publish(&bundle);
    let domain = |trust_domain: &str, issuer: &Issuer| SpiffeDomain {
        trust_domain: trust_domain.to_owned(),
        jwt_bundle_file: Some(issuer.file.clone()),
        audience: AUDIENCE.to_owned(),
        ..Default::default()
    };
    let only_x509 = SpiffeDomain { trust_domain: "x509.example".to_owned(), ..Default::default() };
    let both = Issuer::new("https://oidc.spire");
    let callers = Callers {
        spiffe: vec![domain("example.org", &ours), domain("example.com", &theirs), only_x509],
        issuer: vec![trusted(&both)],
        grant: vec![operator("spiffe://example.org/operators/*"), operator("spiffe://example.com/operators/*")],
        ..Default::default()
    };
    let (daemon, _) = Daemon::start_at_rest_with(only(callers)).await;
    let id = "spiffe://example.org/operators/eve";
    let good = without(&ours.claims(id, start_time()), "iss");
    let header = fields(json!({ "alg": "ES256", "kid": "ec", "typ": "JOSE" }));
    bearer(&daemon.channel, &ours.signed_as("ec", &header, &good)).await.expect("an operator");
    bearer(&daemon.channel, &ours.signed("ec", &ours.claims(id, start_time()))).await.expect("iss is its own affair");

    for (token, message) in [
        // The other domain's keys do not speak for this one, nor these for the other.
        (theirs.signed("ec", &good), "the token's signature is not"),
        (ours.signed("ec", &with(&good, "sub", "spiffe://example.com/operators/eve")), "the token's signature is not"),
        (ours.signed("ed", &good), "the token's issuer publishes no key"),
        (ours.signed("ec", &with(&good, "sub", "spiffe://example.net/operators/eve")), "the token is of no issuer"),
        (ours.signed("ec", &with(&good, "sub", "spiffe://x509.example/operators/eve")), "the token is of no issuer"),
        (ours.signed("ec", &with(&good, "sub", "spiffe://example.org")), "the token is of no issuer"),
        (ours.signed("ec", &with(&good, "sub", "spiffe://Example.org/operators/eve")), "the token is of no issuer"),
        (ours.signed("ec", &without(&good, "aud")), "the token names no audience"),
        (ours.signed("ec", &with(&good, "aud", "other")), "the token is for another audience"),
        (ours.signed("ec", &without(&good, "exp")), "the token never expires"),
    ] {
        assert_refused(bearer(&daemon.channel, &token).await, INVALID, message);
    }
    let confused = both.signed("ec", &both.claims(id, start_time()));
    assert_refused(bearer(&daemon.channel, &confused).await, "CREDENTIALS_AMBIGUOUS", "the token is both");
    daemon.stop().await;
}

#[tokio::test]
async fn keys_are_found_by_discovery_read_seldom_and_kept_when_they_cannot_be_read() {
    let (documents, server) = Documents::start().await;
    let base = format!("http://{}", server.address);
    let issuer = Issuer::new(&base);
    documents.put("/.well-known/openid-configuration", &json!({ "issuer": base, "jwks_uri": format!("{base}/keys") }));
    let folder = tempfile::tempdir().expect("a folder");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "of-the-pod\n").expect("written");
    let discovered = TokenIssuer {
        issuer: base.clone(),
        audience: AUDIENCE.to_owned(),
        token_file: Some(token_file),
        ..Default::default()
    };
    let callers =
        Callers { issuer: vec![discovered], grant: vec![operator(&format!("token:{base}#*"))], ..Default::default() };
    let (daemon, clock) = Daemon::start_at_rest_with(only(callers)).await;
    let token = issuer.token("eve", start_time());

    // Nobody can tell while the keys were never read; that is no refusal.
    let status = bearer(&daemon.channel, &token).await.expect_err("nobody can tell");
    let told = details(&status);
    assert_eq!((told.code, told.reason.as_str(), told.retry), (Code::Unavailable, "KEYS_UNAVAILABLE", true));
    assert_eq!(documents.count(), 2);

    documents.put("/keys", &issuer.key_set());
    bearer(&daemon.channel, &token).await.expect_err("it is not asked again so soon");
    assert_eq!(documents.count(), 2);
    clock.advance(Duration::from_secs(1));
    let askers = (0..20).map(|_| bearer(&daemon.channel, &token));
    assert!(futures::future::join_all(askers).await.iter().all(Result::is_ok));
    assert_eq!(documents.count(), 4, "twenty callers, one reading");
    assert_eq!(*documents.shown.lock().expect("unharmed"), "Bearer of-the-pod");

    // Made-up kids cost the issuer one reading for each floor.
    let header = fields(json!({ "alg": "RS256", "kid": "made-up" }));
    let strange = issuer.signed_as("rsa", &header, &issuer.claims("eve", start_time()));
    for _ in 0..5 {
        assert_refused(bearer(&daemon.channel, &strange).await, INVALID, "the token's issuer publishes no key");
    }
    assert_eq!(documents.count(), 4);
    clock.advance(Duration::from_secs(30));
    assert_refused(bearer(&daemon.channel, &strange).await, INVALID, "the token's issuer publishes no key");
    assert_eq!(documents.count(), 6);

    // A failed reading keeps the keys, and of others nobody can tell: the next comes when callers are told to ask again.
    documents.put_answer("/keys", 500, Vec::new(), Vec::new());
    for (seconds, count) in [(30, 8), (0, 8), (1, 10)] {
        clock.advance(Duration::from_secs(seconds));
        let told = details(&bearer(&daemon.channel, &strange).await.expect_err("nobody can tell"));
        assert_eq!((told.code, told.reason.as_str(), told.retry), (Code::Unavailable, "KEYS_UNAVAILABLE", true));
        assert_eq!(documents.count(), count);
        bearer(&daemon.channel, &token).await.expect("by the keys of before");
    }

    // One that succeeds replaces them, and what a key that is gone has signed is remembered no more.
    let mut fewer = issuer.key_set();
    fewer["keys"].as_array_mut().expect("keys").remove(0);
    documents.put("/keys", &fewer);
    clock.advance(Duration::from_secs(30));
    assert_refused(bearer(&daemon.channel, &strange).await, INVALID, "the token's issuer publishes no key");
    assert_refused(bearer(&daemon.channel, &token).await, INVALID, "the token's issuer publishes no key");
    daemon.stop().await;
}

/// Each a place whose keys must not be used, though they are the issuer's.
#[tokio::test]
async fn keys_are_not_taken_from_where_they_must_not_be() {
    let (documents, server) = Documents::start().await;
    let base = format!("http://{}", server.address);
    let issuer = Issuer::new(&base);
    let well_known = "/.well-known/openid-configuration";
    let set = issuer.key_set();
    documents.put("/keys", &set);
    documents.put_answer("/moved", 302, vec![("location", format!("{base}/keys"))], Vec::new());
    documents.put_answer("/long", 200, Vec::new(), {
        let mut text = set.to_string().into_bytes();
        text.resize(300_000, b' ');
        text
    });
    documents.put_answer("/partial", 206, Vec::new(), set.to_string().into_bytes());
    documents.put_answer("/text", 200, Vec::new(), b"keys".to_vec());
    let (daemon, clock) = Daemon::start_at_rest_with(only(Callers {
        issuer: vec![TokenIssuer { issuer: base.clone(), audience: AUDIENCE.to_owned(), ..Default::default() }],
        grant: vec![operator(&format!("token:{base}#*"))],
        ..Default::default()
    }))
    .await;
    let token = issuer.token("eve", start_time());
    for document in [
        json!({ "issuer": format!("{base}/"), "jwks_uri": format!("{base}/keys") }),
        json!({ "issuer": "https://evil.example", "jwks_uri": format!("{base}/keys") }),
        json!({ "jwks_uri": format!("{base}/keys") }),
        json!({ "issuer": base, "jwks_uri": format!("{base}/moved") }),
        json!({ "issuer": base, "jwks_uri": format!("{base}/long") }),
        json!({ "issuer": base, "jwks_uri": format!("{base}/partial") }),
        json!({ "issuer": base, "jwks_uri": format!("{base}/text") }),
        json!({ "issuer": base, "jwks_uri": "http://issuer.example/keys" }),
        json!({ "issuer": base, "jwks_uri": "file:///etc/passwd" }),
        json!({ "issuer": base }),
    ] {
        documents.put(well_known, &document);
        let status = bearer(&daemon.channel, &token).await.expect_err("nobody can tell");
        assert_eq!(details(&status).reason, "KEYS_UNAVAILABLE", "{document}");
        clock.advance(Duration::from_secs(30));
    }
    documents.put(well_known, &json!({ "issuer": base, "jwks_uri": format!("{base}/keys") }));
    bearer(&daemon.channel, &token).await.expect("the place itself is good");
    daemon.stop().await;
}

/// Tokens and keys that joserfc has made, which knows nothing of us.
#[tokio::test]
async fn tokens_of_another_library_are_read() {
    const MAKE: &str = r#"
import json, sys
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
now = int(sys.argv[1])
made = {"keys": [], "tokens": []}
for key, alg in [(RSAKey.generate_key(2048, auto_kid=True), "RS256"), (ECKey.generate_key("P-256", auto_kid=True), "ES256"),
                 (OKPKey.generate_key("Ed25519", auto_kid=True), "EdDSA")]:
    claims = {"iss": sys.argv[2], "sub": "eve", "aud": sys.argv[3], "iat": now, "exp": now + 600}
    made["keys"].append(key.as_dict(private=False))
    made["tokens"].append(jwt.encode({"alg": alg, "kid": key.kid}, claims, key, algorithms=[alg]))
print(json.dumps(made))
"#;
    let now = SystemClock.now().as_second().to_string();
    let made = Command::new(moto_python()).args(["-c", MAKE, &now, "https://other.example", AUDIENCE]).output();
    let made = made.expect("python runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let issuer = Issuer::new("https://other.example");
    issuer.publish(&json!({ "keys": made["keys"] }));
    let callers = Callers {
        issuer: vec![trusted(&issuer)],
        grant: vec![operator("token:https://other.example#eve")],
        ..Default::default()
    };
    let daemon = Daemon::start_with(Arc::new(SystemClock), only(callers)).await;
    let tokens = made["tokens"].as_array().expect("tokens");
    assert_eq!(tokens.len(), 3);
    for token in tokens {
        bearer(&daemon.channel, token.as_str().expect("a token")).await.expect("an operator");
    }
    daemon.stop().await;
}

/// What a refusal leaves behind: an event of nobody's, without the token.
#[tokio::test]
async fn a_refusal_is_an_event_of_nobody() {
    let issuer = Issuer::new(KUBERNETES);
    let (daemon, _) = Daemon::start_at_rest_with(only(callers(&issuer))).await;
    let wrong = issuer.signed("rsa", &with(&issuer.claims(EVE, start_time()), "aud", "other"));
    assert_refused(bearer(&daemon.channel, &wrong).await, INVALID, "the token is for another audience");
    let mut request = tonic::Request::new(proto::ListAuditEventsRequest::default());
    let token = issuer.token(EVE, start_time());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let events = daemon.audit().list_audit_events(request).await.expect("events").into_inner().audit_events;
    let event = events.iter().find(|event| event.reason == INVALID).expect("the refusal");
    assert_eq!(
        (event.principal.as_str(), event.method.as_str()),
        ("anonymous", "keyward.v1.TenantService/ListTenants")
    );
    assert!(!format!("{events:?}").contains(&wrong[..20]));
    daemon.stop().await;
}
