//! A verifier says what `VerifyToken` says, of every kind of token and whatever happens to whose it is.

use aws_lc_rs::hmac;
use keyward::client::{Demand, NotVerified, ScopeSet, TenantId, Verifier};
use keyward::proto;
use keyward::proto::revoke_tokens_request::Target;
use keyward::proto::verify_token_response::Verdict;
use serde_json::json;

use super::{clock, patient_stage, until, verifier};
use crate::harness::forge::{
    Fields, SigningKey, TEST_KEY, claims, decoded, id_claims, persons_access_claims, signing_input, text, with,
    with_signature, without,
};
use crate::harness::ports::Stage;
use crate::harness::{SCOPES, create_interactive, create_tenant, start_time};

/// What of a verdict both must say: whose the token is, or which rule it fails.
type Said = Result<(String, Vec<String>), String>;

async fn asked(stage: &Stage, token: &str, demand: &Demand) -> Said {
    let request = proto::VerifyTokenRequest {
        token: token.to_owned(),
        required_scopes: demand.scopes.iter().map(ToString::to_string).collect(),
        tenant: demand.tenant.as_ref().map(TenantId::name).unwrap_or_default(),
        ..Default::default()
    };
    let answer = stage.daemon.verification().verify_token(request).await.expect("an answer");
    match answer.into_inner().verdict.expect("a verdict") {
        Verdict::Verified(verified) => Ok((verified.client, verified.scopes)),
        Verdict::Rejected(rejected) => Err(format!("{:?} {}", rejected.reason(), rejected.detail)),
    }
}

async fn judged(verifier: &Verifier, token: &str, demand: &Demand) -> Said {
    match verifier.verify(token, demand).await {
        Ok(identity) => {
            let scopes = identity.claims.scopes.iter().map(ToString::to_string).collect();
            Ok((identity.client.to_string(), scopes))
        }
        Err(NotVerified::Rejected(rejection)) => Err(format!("{:?} {}", rejection.rule, rejection.detail)),
        Err(NotVerified::CannotTell(why)) => panic!("{why:?}"),
    }
}

/// Fails the test unless both come to say the same of it; what that is. The daemon is asked first, so it says it already.
async fn both(stage: &Stage, verifier: &Verifier, token: &str, demand: &Demand) -> Said {
    let said = asked(stage, token, demand).await;
    let last = std::cell::RefCell::new(None);
    let agree = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        until(async || {
            *last.borrow_mut() = Some(judged(verifier, token, demand).await);
            last.borrow().as_ref() == Some(&said)
        }),
    );
    assert!(agree.await.is_ok(), "the daemon says {said:?} and the verifier {:?}", last.borrow());
    said
}

#[tokio::test]
async fn of_every_kind_of_token_it_says_what_the_daemon_says() {
    let stage = patient_stage().await;
    stage.keys.publish(TEST_KEY.public());
    create_tenant(&stage.daemon.channel, "umbrella", proto::Isolation::UserPool).await;
    let neighbour = stage.daemon.create_client("umbrella", "billing").await;
    let own = stage.daemon.token(&stage.client.name).await.access_token;
    let theirs = stage.daemon.token(&neighbour.name).await.access_token;
    let their_kid = decoded(&theirs, 0)["kid"].clone();
    let verifier = verifier(&stage.daemon.channel, clock(&stage.clock)).await;

    let good = claims(&stage.client, start_time());
    let now = start_time().as_second();
    let header = TEST_KEY.header();
    let sign = |claims: &Fields| TEST_KEY.sign(&header, claims);
    let headed = |name: &str, value: serde_json::Value| TEST_KEY.sign(&with(&header, name, value), &good);
    let strange = SigningKey::generate();
    let mut tampered = sign(&good);
    tampered.replace_range(tampered.len() - 8..tampered.len() - 4, "AAAA");
    let hs256 = {
        let signed = signing_input(&text(&with(&header, "alg", "HS256")), &text(&good));
        let key = hmac::Key::new(hmac::HMAC_SHA256, TEST_KEY.public().modulus.as_bytes());
        with_signature(&signed, hmac::sign(&key, signed.as_bytes()).as_ref())
    };
    let tokens = [
        ("its own", own, ""),
        ("of a pool of the tenant's own", theirs, ""),
        ("forged well", sign(&good), ""),
        ("without a jti", sign(&without(&good, "jti")), ""),
        ("with an aud", sign(&with(&good, "aud", "somebody")), ""),
        ("not a token", "abc".to_owned(), "Malformed"),
        ("two parts", "e30.e30".to_owned(), "Malformed"),
        ("without exp", sign(&without(&good, "exp")), "Malformed"),
        ("without client_id", sign(&without(&good, "client_id")), "Malformed"),
        ("a claim twice", TEST_KEY.sign_text(&text(&header), r#"{"iss":"a","iss":"b"}"#), "Malformed"),
        ("alg none", format!("{}.", signing_input(r#"{"alg":"none"}"#, &text(&good))), "UnsupportedAlgorithm"),
        ("alg HS256 with the public key", hs256, "UnsupportedAlgorithm"),
        ("alg RS384", headed("alg", json!("RS384")), "UnsupportedAlgorithm"),
        ("x5c", headed("x5c", json!(["MIIB"])), "UnsupportedHeader"),
        ("jwk", headed("jwk", json!({})), "UnsupportedHeader"),
        ("crit", headed("crit", json!(["exp"])), "UnsupportedHeader"),
        ("typ", headed("typ", json!("dpop+jwt")), "UnsupportedHeader"),
        ("another issuer", sign(&with(&good, "iss", "https://elsewhere.example")), "UnknownIssuer"),
        ("an issuer with a slash", sign(&with(&good, "iss", format!("{}/", stage.client.issuer))), "UnknownIssuer"),
        ("a kid of nobody", strange.sign(&strange.header(), &good), "UnknownKey"),
        ("a kid of another issuer", headed("kid", their_kid), "UnknownKey"),
        ("without a kid", TEST_KEY.sign(&without(&header, "kid"), &good), "UnknownKey"),
        ("a signature of another", strange.sign(&header, &good), "BadSignature"),
        ("a signature that was changed", tampered, "BadSignature"),
        ("an ID token", sign(&id_claims(&stage.client, start_time())), "WrongTokenUse"),
        ("an ID token without aud", sign(&with(&good, "token_use", "id")), "Malformed"),
        ("a person's token", sign(&persons_access_claims(&stage.client, start_time())), "WrongClientKind"),
        ("expired", sign(&with(&good, "exp", now - 5)), "Expired"),
        ("expired within the leeway", sign(&with(&good, "exp", now - 4)), ""),
        ("not yet valid", sign(&with(&good, "nbf", now + 6)), "NotYetValid"),
        ("not yet valid within the leeway", sign(&with(&good, "nbf", now + 5)), ""),
        ("issued later", sign(&with(&good, "iat", now + 6)), "IssuedInFuture"),
        ("a client of nobody", sign(&with(&good, "client_id", "nobody")), "UnknownClient"),
        ("a client of another issuer", sign(&with(&good, "client_id", &*neighbour.app_client_id)), "UnknownClient"),
    ];
    for (what, token, rule) in tokens {
        let said = both(&stage, &verifier, &token, &Demand::default()).await;
        let failed = said.as_ref().err().map_or("", |said| said.split(' ').next().unwrap_or_default());
        assert_eq!(failed, rule, "{what}: {said:?}");
    }

    let tenant = |id: &str| Some(TenantId::parse("tenant", id).expect("valid"));
    let scopes = |scopes: &[&str]| ScopeSet::parse("scopes", scopes).expect("valid");
    for (demand, rule) in [
        (Demand { scopes: scopes(&SCOPES), tenant: tenant("acme") }, ""),
        (Demand { scopes: scopes(&[]), tenant: tenant("umbrella") }, "WrongTenant"),
        (Demand { scopes: scopes(&["orders/read", "orders/delete"]), tenant: None }, "InsufficientScope"),
    ] {
        let said = both(&stage, &verifier, &sign(&good), &demand).await;
        let failed = said.as_ref().err().map_or("", |said| said.split(' ').next().unwrap_or_default());
        assert_eq!(failed, rule, "{demand:?}: {said:?}");
    }
    drop(verifier);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn whatever_happens_to_whose_it_is_it_says_what_the_daemon_says() {
    let stage = patient_stage().await;
    stage.keys.publish(TEST_KEY.public());
    let verifier = verifier(&stage.daemon.channel, clock(&stage.clock)).await;
    let sign = |client: &proto::Client, jti: &str, second: i64| {
        let issued = start_time() + jiff::SignedDuration::from_secs(second);
        TEST_KEY.sign(&TEST_KEY.header(), &with(&claims(client, issued), "jti", jti))
    };
    let revoke = async |target: Target| {
        let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
        stage.daemon.clients().revoke_tokens(request).await.expect("revoked");
    };
    let check = async |token: &str, rule: &str| {
        let said = both(&stage, &verifier, token, &Demand::default()).await;
        let failed = said.as_ref().err().map_or("", |said| said.split(' ').next().unwrap_or_default());
        assert_eq!(failed, rule, "{said:?}");
    };

    let one = sign(&stage.client, "one", 0);
    let other = sign(&stage.client, "other", 0);
    check(&one, "").await;
    revoke(Target::TokenId("one".to_owned())).await;
    check(&one, "Revoked").await;
    check(&other, "").await;

    // A rotation disturbs nobody, and neither does a replacement.
    let request =
        proto::RotateClientSecretRequest { name: stage.client.name.clone(), immediate: true, ..Default::default() };
    stage.daemon.clients().rotate_client_secret(request).await.expect("rotated");
    check(&other, "").await;
    let request = proto::ReplaceClientRequest { name: stage.client.name.clone(), ..Default::default() };
    stage.daemon.clients().replace_client(request).await.expect("replaced");
    check(&other, "").await;
    let replaced = stage.daemon.token(&stage.client.name).await.access_token;
    check(&replaced, "").await;

    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    check(&other, "TenantSuspended").await;
    let resume = proto::ResumeTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().resume_tenant(resume).await.expect("resumed");
    check(&other, "").await;

    stage.at_second(60);
    revoke(Target::Client(stage.client.name.clone())).await;
    check(&other, "Revoked").await;
    let after = sign(&stage.client, "after", 60);
    check(&after, "").await;
    stage.at_second(120);
    revoke(Target::Tenant("tenants/acme".to_owned())).await;
    check(&after, "Revoked").await;
    let last = sign(&stage.client, "last", 120);
    check(&last, "").await;

    let request =
        proto::ReplaceClientRequest { name: stage.client.name.clone(), immediate: true, ..Default::default() };
    stage.daemon.clients().replace_client(request).await.expect("replaced");
    let request = proto::GetClientRequest { name: stage.client.name.clone() };
    let client = stage.daemon.clients().get_client(request).await.expect("the client").into_inner();
    let newest = sign(&client, "newest", 120);
    check(&newest, "").await;

    let delete = proto::DeleteClientRequest { name: client.name.clone(), ..Default::default() };
    stage.daemon.clients().delete_client(delete).await.expect("deleted");
    check(&newest, "ClientDeleted").await;
    until(async || {
        let request = proto::GetClientRequest { name: client.name.clone() };
        stage.daemon.clients().get_client(request).await.is_err()
    })
    .await;
    // Another one of the same name owns none of its tokens.
    let again = stage.daemon.create_client("acme", "checkout").await;
    check(&sign(&again, "again", 120), "").await;
    check(&newest, "ClientDeleted").await;

    let delete = proto::DeleteTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().delete_tenant(delete).await.expect("deleted");
    check(&newest, "TenantDeleted").await;
    drop(verifier);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn people_are_refused_by_it_whatever_becomes_of_their_client() {
    let stage = patient_stage().await;
    stage.keys.publish(TEST_KEY.public());
    let portal = create_interactive(&stage.daemon.channel, "acme", "portal").await;
    let verifier = verifier(&stage.daemon.channel, clock(&stage.clock)).await;
    let sign = |claims: Fields| TEST_KEY.sign(&TEST_KEY.header(), &claims);
    let access = sign(persons_access_claims(&portal, start_time()));
    let id = sign(id_claims(&portal, start_time()));
    let check = async || {
        for (token, rule) in [(&access, "WrongClientKind"), (&id, "WrongTokenUse")] {
            let said = both(&stage, &verifier, token, &Demand::default()).await;
            let failed = said.as_ref().err().map_or("", |said| said.split(' ').next().unwrap_or_default());
            assert_eq!(failed, rule, "{said:?}");
        }
    };
    check().await;
    let suspend = proto::SuspendTenantRequest { name: "tenants/acme".to_owned(), ..Default::default() };
    stage.daemon.tenants().suspend_tenant(suspend).await.expect("suspended");
    check().await;
    let delete = proto::DeleteClientRequest { name: portal.name.clone(), ..Default::default() };
    stage.daemon.clients().delete_client(delete).await.expect("deleted");
    check().await;
    drop(verifier);
    stage.daemon.stop().await;
}

#[tokio::test]
async fn a_key_that_its_issuer_has_begun_to_sign_with_disturbs_nobody() {
    let stage = patient_stage().await;
    let before = stage.daemon.token(&stage.client.name).await.access_token;
    let verifier = verifier(&stage.daemon.channel, clock(&stage.clock)).await;
    let reads = stage.keys.reads();
    stage.keys.publish(TEST_KEY.public());
    // The default of `verification.key_refetch_floor`, below which the daemon would not look either.
    stage.at_second(30);
    let new = TEST_KEY.sign(&TEST_KEY.header(), &claims(&stage.client, start_time()));
    let others = futures::future::join_all((0..20).map(|_| super::rule(&verifier, &new))).await;
    assert_eq!(others, vec![None; 20]);
    assert_eq!(stage.keys.reads(), reads + 1);
    assert_eq!(super::rule(&verifier, &before).await, None);
    drop(verifier);
    stage.daemon.stop().await;
}
